//! Undo: what was begun is taken back, newest first, until it is done.

use oms_contract::activity::{CancelBooking, Commit, Release, Void};
use oms_contract::definitions::{Inventory, Payments, Shipping};
use oms_contract::names::Queue;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::life::{DEPARTED_AFTER_CANCEL, LOST};
use oms_domain::money::Money;
use oms_domain::order::Status;
use oms_domain::payment::PaymentStatus;
use oms_domain::shipment::{Shipment, ShipmentStatus};

use super::desk::Desk;
use super::{Order, Stop};
use crate::saga::Undo;

/// An undo that is owed: registered before its step runs, so that a step with an unknown outcome is undone too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    /// Take the promise of stock back.
    Release,
    /// Release the held funds.
    Void {
        /// Of this authorization.
        revision: u32,
    },
    /// Take the courier's booking back.
    CancelBooking {
        /// Of this shipment.
        shipment: ShipmentId,
        /// And this attempt.
        revision: u32,
    },
}

impl Order {
    /// Owes an undo from now on.
    pub(super) fn register(&mut self, pending: Pending) {
        if !self.undo.contains(&pending) {
            self.undo.push(pending);
        }
    }
}

/// Takes everything back and answers the terminal status.
pub(super) async fn unwind(desk: &Desk, stop: Stop) -> Status {
    if let Stop::Refused(reason) = stop {
        // a cancel that was accepted before the refusal came stands
        desk.write(|s| {
            if s.life.status != Status::Cancelling {
                s.life.refusing = Some(reason);
            }
        });
    }
    while let Some(pending) = desk.read(|s| s.undo.last().cloned()) {
        take_back(desk, &pending).await;
        desk.write(|s| s.undo.retain(|p| *p != pending));
    }
    desk.write(|s| {
        for shipment in s.life.shipments.iter_mut().filter(|s| !s.status.departed()) {
            shipment.status = ShipmentStatus::Cancelled;
        }
        s.life.attention.retain(|a| a.code == DEPARTED_AFTER_CANCEL || a.code == LOST);
    });
    while follow_departures(desk).await {}
    if desk.read(|s| s.life.status == Status::Cancelling) { Status::Cancelled } else { Status::Rejected }
}

async fn take_back(desk: &Desk, pending: &Pending) {
    let order_id = desk.read(|s| s.start.order_id.clone());
    match pending {
        Pending::Release => {
            let released = desk.undo(Undo::Release, || Inventory::release, Release { order_id }).await;
            if released {
                desk.note(Fact::new("released", FactKind::StockReleased, desk.now()));
            }
        }
        Pending::Void { revision } => {
            let voided = desk.undo(Undo::Void, || Payments::void, Void { order_id, revision: *revision }).await;
            let now = desk.now();
            desk.write(|s| {
                let payment = &mut s.life.payment;
                if voided.released {
                    s.journal.note(Fact::new("voided/1", FactKind::PaymentVoided, now).moving(payment.authorized));
                }
                if payment.status != PaymentStatus::Declined {
                    payment.status = PaymentStatus::Voided;
                }
                payment.authorized = Money::zero(payment.authorized.currency);
                payment.authorization_expires_at = None;
            });
        }
        Pending::CancelBooking { shipment, revision } => {
            let input = CancelBooking { order_id, shipment_id: shipment.clone(), revision: *revision };
            let undone = desk.undo(Undo::CancelBooking, || Shipping::cancel, input).await;
            if undone.cancelled {
                let key = format!("booking/{shipment}/cancelled/{revision}");
                desk.note(Fact::new(key, FactKind::ShipmentBookingCancelled, desk.now()).about(shipment));
            }
        }
    }
}

/// Lets the stock follow parcels that left although the order was cancelled; answers whether there was one.
pub(super) async fn follow_departures(desk: &Desk) -> bool {
    let next = desk.read(|s| {
        let cancelled = matches!(s.life.status, Status::Cancelling | Status::Cancelled);
        s.life.shipments.iter().find(|x| cancelled && x.status.departed() && !s.followed.contains(&x.id)).cloned()
    });
    let Some(shipment) = next else { return false };
    follow(desk, &shipment).await;
    desk.write(|s| s.followed.push(shipment.id.clone()));
    true
}

async fn follow(desk: &Desk, shipment: &Shipment) {
    let input = Commit {
        order_id: desk.read(|s| s.start.order_id.clone()),
        shipment_id: shipment.id.clone(),
        location: shipment.location.clone(),
        lines: shipment.lines.clone(),
    };
    let departed =
        desk.must(Queue::Inventory, "book out a parcel that left a cancelled order", || Inventory::depart, input).await;
    let now = desk.now();
    if !departed.missing.is_empty() {
        desk.raise("stock_short_after_departure", "goods left that the books promise to others; count the shelf", now);
    }
    let key = format!("departed/{}", shipment.id);
    desk.publish(Fact::new(key, FactKind::StockDeparted, now).about(&shipment.id));
}
