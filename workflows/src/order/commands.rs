//! Commands: what updates and signals do to the order. Verdicts come from the state machine; here they become facts.

use oms_contract::activity::{HeardScan, ResolvedItem};
use oms_contract::command::*;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::{HoldId, ShipmentId};
use oms_domain::life::{CancelVerdict, Hold, Refusal, RefusalCode};
use oms_domain::message::Topic;
use oms_domain::order::Status;
use oms_domain::review::{DEPARTED_AFTER_CANCEL, LOST, NO_SCAN, RETURNED_TO_SENDER, Resolution};
use oms_domain::shipment::{Scan, ScanResult, ScanType};

use temporalio_common::data_converters::RawValue;

use super::{Order, Resolved};

/// Who acts, as the timeline shows it: what the command says if that is printable, else the door it came through.
pub(super) fn actor(named: Option<&String>, door: &str) -> String {
    match named {
        Some(name) if (1..=200).contains(&name.len()) && !name.chars().any(char::is_control) => name.clone(),
        _ => door.to_owned(),
    }
}

impl Order {
    /// Reads a signal's payload and applies it. What cannot be read or is not allowed is noted on the timeline and changes nothing:
    /// a decode error would wedge the run for ever. The note never quotes the payload, which may hold anything.
    pub(super) fn hear<T: serde::de::DeserializeOwned>(
        &mut self,
        now: Instant,
        name: &str,
        input: RawValue,
        apply: impl FnOnce(&mut Self, T) -> Result<(), Refusal>,
    ) {
        let read = input.payloads.first().and_then(|payload| serde_json::from_slice::<T>(&payload.data).ok());
        let outcome = match read {
            Some(command) => apply(self, command),
            None => Err(Refusal::new(RefusalCode::ValidationFailed, "its payload could not be read")),
        };
        if let Err(refusal) = outcome {
            self.ignored_signals = self.ignored_signals.saturating_add(1);
            let fact = Fact::new(format!("ignored/{}", self.ignored_signals), FactKind::SignalIgnored, now)
                .by("temporal")
                .because(format!("signal {name}: {refusal}"));
            self.journal.publish(fact);
        }
    }

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

    /// Stops the order for a while; a hold whose end has passed ends at once.
    pub(super) fn apply_hold(&mut self, command: &PlaceHold, door: &str, now: Instant) -> Result<HoldAnswer, Refusal> {
        if self.start.shape < 4 && command.until.is_some_and(|until| until <= now) {
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
        self.over.insert(hold.id.as_str().to_owned());
        self.moved_at = now;
        let mut fact =
            Fact::new(format!("hold/{}/released", hold.id), FactKind::HoldReleased, now).by(actor(command.actor.as_ref(), door));
        fact.reason = command.reason.as_ref().map(|reason| reason.as_str().to_owned());
        self.journal.publish(fact);
        Ok(ReleaseAnswer { rev: self.newest() })
    }

    /// Hears a report.
    pub(super) fn apply_report(&mut self, command: &ShipmentEvent, door: &str, now: Instant) -> Result<ShipmentAnswer, Refusal> {
        if self.is_coming(&command.scan.shipment) {
            // who reports it has seen it confirmed
            self.life.shipments = self.journal.coming().to_vec();
        }
        let result = self.life.report(&command.scan)?;
        match result {
            ScanResult::Duplicate => return Ok(ShipmentAnswer { result, rev: self.journal.rev() }),
            ScanResult::Stale => self.hear_of(&command.scan.shipment, now),
            ScanResult::Applied => {
                self.moved_at = now;
                self.hear_of(&command.scan.shipment, now);
                self.tell_report(&command.scan, actor(command.actor.as_ref(), door), now);
            }
        }
        self.journal.hear(HeardScan { scan: command.scan.clone(), result });
        Ok(ShipmentAnswer { result, rev: self.journal.next_rev() })
    }

    /// Whether the shipment is one of those that the record on its way confirms: the row shows them a moment before the run knows.
    fn is_coming(&self, shipment: &ShipmentId) -> bool {
        self.start.shape >= 3 && self.life.shipments.is_empty() && self.journal.coming().iter().any(|s| s.id == *shipment)
    }

    /// Whether a report would be heard. Errors: [`Refusal`].
    pub(super) fn check_report(&self, command: &ShipmentEvent) -> Result<(), Refusal> {
        if self.is_coming(&command.scan.shipment) { Ok(()) } else { self.life.check_report(&command.scan) }
    }

    /// A parcel that is heard of is not silent, whatever was said.
    fn hear_of(&mut self, shipment: &ShipmentId, now: Instant) {
        if self.has_departed(shipment) {
            self.heard_at.insert(shipment.clone(), now);
            self.lower(NO_SCAN, Some(shipment), now);
        }
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
        let about = Some(&scan.shipment);
        match scan.kind {
            ScanType::Lost => self.raise(LOST, about, "the carrier reports the parcel lost", now),
            ScanType::ReturnedToSender => self.raise(RETURNED_TO_SENDER, about, "the parcel came back to the sender", now),
            ScanType::Delivered => {
                // a lost parcel that arrives was not lost
                self.strike(LOST, about);
                self.strike(NO_SCAN, None);
            }
            _ => {}
        }
        if matches!(self.life.status, Status::Cancelling | Status::Cancelled) {
            self.raise(DEPARTED_AFTER_CANCEL, about, "a parcel left although the order was cancelled", now);
        } else if self.is_replaced(&scan.shipment) {
            let detail = "a parcel left although a change of the order had replaced it; look at what the other parcels hold";
            self.raise(DEPARTED_AFTER_CANCEL, about, detail, now);
        }
    }

    /// Decides the manual review.
    pub(super) fn apply_review(&mut self, command: &Review, door: &str, now: Instant) -> Result<Accepted, Refusal> {
        self.life.review(command.decision)?;
        self.verdict = Some(command.decision);
        self.moved_at = now;
        let fact = Fact::new("reviewed", FactKind::OrderReviewed, now).by(actor(command.actor.as_ref(), door)).because(format!(
            "{}: {}",
            command.decision.as_str(),
            command.reason
        ));
        self.journal.publish(fact);
        Ok(Accepted { rev: self.newest() })
    }

    /// Sends the parcel elsewhere.
    pub(super) fn apply_address(&mut self, command: &ChangeAddress, door: &str, now: Instant) -> Result<Accepted, Refusal> {
        self.life.check_address()?;
        self.addresses += 1;
        self.moved_at = now;
        let key = format!("address/{}", command.change_id);
        let mut fact = Fact::new(key, FactKind::OrderAddressChanged, now).by(actor(command.actor.as_ref(), door));
        fact.reason = command.reason.as_ref().map(|reason| reason.as_str().to_owned());
        self.journal.publish(fact);
        self.journal.redirect(command.change_id.clone());
        Ok(Accepted { rev: self.newest() })
    }

    /// Changes lines and quantities; the editor carries it out.
    pub(super) fn apply_edit(&mut self, command: &Edit, door: &str, _now: Instant) -> Result<Accepted, Refusal> {
        if self.edits_made.contains(&command.edit_id) {
            return Ok(Accepted { rev: self.newest() });
        }
        self.check_edit(command)?;
        self.life.editing = true;
        self.edit = Some(Edit { actor: Some(actor(command.actor.as_ref(), door)), ..command.clone() });
        Ok(Accepted { rev: self.newest() })
    }

    /// Decides about a long wait.
    pub(super) fn apply_decision(&mut self, command: &Decide, door: &str, now: Instant) -> Result<Accepted, Refusal> {
        let decision = self.life.decide(command.decision, command.round)?;
        self.decision = Some(decision);
        self.moved_at = now;
        let fact = Fact::new(format!("question/{}/decided", self.questions), FactKind::OrderQuestionDecided, now)
            .by(actor(command.actor.as_ref(), door))
            .because(decision.as_str());
        self.journal.publish(fact);
        Ok(Accepted { rev: self.newest() })
    }

    /// Settles what policy could not: the flag is lowered at once, so a second person finds nothing left to resolve.
    pub(super) fn apply_resolve(&mut self, command: &Resolve, door: &str, now: Instant) -> Result<Accepted, Refusal> {
        let flag = self.life.check_resolve(&self.start.order_id, &command.item, command.action)?.clone();
        if command.action == Resolution::UseExternalReference && command.reference.is_none() {
            let detail = "use_external_reference needs the `reference` under which it was settled outside";
            return Err(Refusal::new(RefusalCode::ValidationFailed, detail));
        }
        if self.is_in_flight(&flag.code, flag.shipment.as_ref()) {
            let detail = "the step is being asked again just now and may still succeed; try again in a moment";
            return Err(Refusal::new(RefusalCode::NotAllowedNow, detail));
        }
        let actor = actor(command.actor.as_ref(), door);
        self.strike(&flag.code, flag.shipment.as_ref());
        let mut fact = Fact::new(format!("resolved/{}", command.item), FactKind::ReviewResolved, now)
            .by(actor.clone())
            .because(format!("{}: {}: {}", flag.code, command.action.as_str(), command.reason));
        fact.shipment.clone_from(&flag.shipment);
        self.journal.publish(fact);
        self.journal.resolve(ResolvedItem {
            item: command.item.clone(),
            action: command.action,
            reference: command.reference.clone(),
            reason: command.reason.clone(),
            actor: actor.clone(),
        });
        self.resolved.push(Resolved {
            code: flag.code.clone(),
            shipment: flag.shipment.clone(),
            action: command.action,
            reference: command.reference.clone(),
        });
        self.nudges += 1;
        self.moved_at = now;
        if let Some(id) = flag.shipment.filter(|_| flag.code == NO_SCAN) {
            // a person looked: silence counts anew
            self.heard_at.insert(id, now);
        }
        if command.action == Resolution::Cancel {
            let cancel = Cancel { reason: command.reason.clone(), actor: Some(actor) };
            self.apply_cancel(&cancel, door, now)?;
        }
        Ok(Accepted { rev: self.newest() })
    }

    /// The record that shows everything up to now.
    pub(super) fn newest(&self) -> u64 {
        if self.journal.is_written() { self.journal.rev() } else { self.journal.next_rev() }
    }
}
