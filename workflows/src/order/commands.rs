//! Commands: what updates and signals do to the order. Verdicts come from the state machine; here they become facts.

use oms_contract::activity::HeardScan;
use oms_contract::command::*;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::HoldId;
use oms_domain::life::{CancelVerdict, DEPARTED_AFTER_CANCEL, Hold, LOST, Refusal, RefusalCode};
use oms_domain::message::Topic;
use oms_domain::order::Status;
use oms_domain::shipment::{Scan, ScanResult, ScanType};

use super::Order;

/// Who acts, as the timeline shows it: what the command says if that is printable, else the door it came through.
fn actor(named: Option<&String>, door: &str) -> String {
    match named {
        Some(name) if (1..=200).contains(&name.len()) && !name.chars().any(char::is_control) => name.clone(),
        _ => door.to_owned(),
    }
}

impl Order {
    /// Asks for the end of the order.
    pub(super) fn apply_cancel(&mut self, command: &Cancel, door: &str, now: Instant) -> Result<CancelAnswer, Refusal> {
        let before = self.life.status;
        let result = self.life.cancel()?;
        if result == CancelVerdict::Cancelling && before != Status::Cancelling {
            self.moved_at = now;
            let fact = Fact::new("cancelling", FactKind::OrderCancelling, now)
                .by(actor(command.actor.as_ref(), door))
                .because(command.reason.as_str());
            self.journal.publish(fact);
        }
        Ok(CancelAnswer { result, rev: self.newest() })
    }

    /// Stops the order for a while.
    pub(super) fn apply_hold(&mut self, command: &PlaceHold, door: &str, now: Instant) -> Result<HoldAnswer, Refusal> {
        if command.until.is_some_and(|until| until <= now) {
            return Err(Refusal::new(RefusalCode::ValidationFailed, "a hold's `until` must lie in the future"));
        }
        let number = self.holds_placed + 1;
        let id = command.id.clone().unwrap_or_else(|| HoldId::from_key(&self.start.order_id, &format!("signal/{number}")));
        let actor = actor(command.actor.as_ref(), door);
        let hold = Hold {
            id: id.clone(),
            kind: command.kind.clone(),
            reason: command.reason.clone(),
            actor: actor.clone(),
            placed_at: now,
            until: command.until,
        };
        if self.life.place_hold(hold)? {
            self.holds_placed = number;
            let fact = Fact::new(format!("hold/{id}/placed"), FactKind::HoldPlaced, now)
                .by(actor)
                .because(format!("{}: {}", command.kind, command.reason));
            self.journal.publish(fact);
        }
        Ok(HoldAnswer { id, rev: self.newest() })
    }

    /// Lets the order go on.
    pub(super) fn apply_release(&mut self, command: &ReleaseHold, door: &str, now: Instant) -> Result<ReleaseAnswer, Refusal> {
        let hold = self.life.release_hold(&command.id)?;
        self.moved_at = now;
        let mut fact =
            Fact::new(format!("hold/{}/released", hold.id), FactKind::HoldReleased, now).by(actor(command.actor.as_ref(), door));
        fact.reason = command.reason.as_ref().map(|reason| reason.as_str().to_owned());
        self.journal.publish(fact);
        Ok(ReleaseAnswer { rev: self.newest() })
    }

    /// Hears a report.
    pub(super) fn apply_report(&mut self, command: &ShipmentEvent, door: &str, now: Instant) -> Result<ShipmentAnswer, Refusal> {
        let result = self.life.report(&command.scan)?;
        match result {
            ScanResult::Duplicate => return Ok(ShipmentAnswer { result, rev: self.journal.rev() }),
            ScanResult::Stale => {}
            ScanResult::Applied => {
                self.moved_at = now;
                self.tell_report(&command.scan, actor(command.actor.as_ref(), door), now);
            }
        }
        self.journal.hear(HeardScan { scan: command.scan.clone(), result });
        Ok(ShipmentAnswer { result, rev: self.journal.next_rev() })
    }

    fn tell_report(&mut self, scan: &Scan, actor: String, now: Instant) {
        let (kind, topic) = match scan.kind {
            ScanType::Picked | ScanType::Packed => return,
            ScanType::Shipped => (FactKind::ShipmentShipped, Some(Topic::Shipped)),
            ScanType::InTransit => (FactKind::ShipmentInTransit, None),
            ScanType::Lost => (FactKind::ShipmentLost, None),
            ScanType::Delivered => (FactKind::ShipmentDelivered, Some(Topic::Delivered)),
            ScanType::ReturnedToSender => (FactKind::ShipmentReturned, None),
        };
        let key = format!("shipment/{}/{}", scan.shipment, scan.kind.as_str());
        let mut fact = Fact::new(key, kind, now).by(actor).about(&scan.shipment);
        fact.tell = topic.filter(|_| self.life.status != Status::Cancelling);
        self.journal.publish(fact);
        match scan.kind {
            ScanType::Lost => self.raise(LOST, "the carrier reports the parcel lost", now),
            ScanType::ReturnedToSender => self.raise("returned_to_sender", "the parcel came back to the sender", now),
            ScanType::Delivered => {
                // a lost parcel that arrives was not lost
                for code in [LOST, "no_scan"] {
                    self.life.clear(code);
                }
            }
            _ => {}
        }
        if matches!(self.life.status, Status::Cancelling | Status::Cancelled) {
            self.raise(DEPARTED_AFTER_CANCEL, "a parcel left although the order was cancelled", now);
        }
    }

    /// The record that shows everything up to now.
    fn newest(&self) -> u64 {
        if self.journal.is_written() { self.journal.rev() } else { self.journal.next_rev() }
    }
}
