//! Undo: what was begun is taken back, newest first, until it is done.

use oms_contract::activity::{CancelBooking, Commit, Release, Void};
use oms_contract::definitions::{Inventory, Payments, Shipping};
use oms_contract::names::Queue;
use oms_contract::start::Unwind;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::money::Money;
use oms_domain::order::Status;
use oms_domain::payment::PaymentStatus;
use oms_domain::review::{DEPARTED_AFTER_CANCEL, LOST, STOCK_SHORT};
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
    /// The next parcel that left although the order was cancelled, or an edit had replaced it.
    pub(super) fn next_departure(&self) -> Option<&Shipment> {
        let cancelled = matches!(self.life.status, Status::Cancelling | Status::Cancelled);
        let called_off = |id: &ShipmentId| cancelled || self.is_replaced(id);
        let next = |s: &&Shipment| s.status.departed() && called_off(&s.id) && !self.followed.contains(&s.id);
        self.life.shipments.iter().find(next)
    }

    /// Owes an undo from now on.
    pub(super) fn register(&mut self, pending: Pending) {
        if !self.undo.contains(&pending) {
            self.undo.push(pending);
        }
    }
}

/// Takes everything back and answers the terminal status.
pub(super) async fn unwind(desk: &Desk, stop: Stop) -> Status {
    // nothing is waited for any more: an undo that hangs is seen in time
    desk.write(|s| s.still_until = None);
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
        s.life.attention.retain(|a| matches!(a.code.as_str(), DEPARTED_AFTER_CANCEL | LOST | STOCK_SHORT));
        s.life.waiting.clear();
        s.life.question = None;
        s.life.review = None;
        s.life.editing = false;
    });
    while follow_departures(desk).await {}
    if desk.read(|s| s.life.status == Status::Cancelling) { Status::Cancelled } else { Status::Rejected }
}

/// What is owed for everything that an earlier run had begun.
pub(super) fn owed(unwind: &Unwind) -> Vec<Pending> {
    let voids = unwind.authorizations.iter().map(|revision| Pending::Void { revision: *revision });
    let bookings = unwind
        .bookings
        .iter()
        .map(|(shipment, revision)| Pending::CancelBooking { shipment: shipment.clone(), revision: *revision });
    std::iter::once(Pending::Release).chain(voids).chain(bookings).collect()
}

/// Whether this run only takes back what an earlier one, ended by hand, had begun.
pub(super) fn resume(desk: &Desk) -> Result<(), Stop> {
    let Some(unwind) = desk.start().unwind else { return Ok(()) };
    let now = desk.now();
    desk.write(|s| {
        if s.life.status != Status::Cancelling {
            s.life.status = Status::Cancelling;
            let key = format!("cancelling/{}", unwind.rev);
            s.journal.publish(Fact::new(key, FactKind::OrderCancelling, now).because(unwind.reason.as_str()));
        }
    });
    Err(Stop::Cancelled)
}

/// Releases a hold on funds that another one has replaced, or that is not wanted after all.
pub(super) async fn release_hold(desk: &Desk, revision: u32) {
    let order_id = desk.read(|s| s.start.order_id.clone());
    let voided = desk.undo(Undo::Void, || Payments::void, Void { order_id, revision }).await;
    let now = desk.now();
    desk.write(|s| {
        s.undo.retain(|p| *p != Pending::Void { revision });
        if voided.released {
            s.journal.note(Fact::new(format!("voided/{revision}"), FactKind::PaymentVoided, now));
        }
    });
}

/// Takes one thing back, whatever it takes.
pub(super) async fn take_back(desk: &Desk, pending: &Pending) {
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
                    s.journal
                        .note(Fact::new(format!("voided/{revision}"), FactKind::PaymentVoided, now).moving(payment.authorized));
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

/// Takes back what was booked for one shipment.
pub(super) async fn take_bookings_back(desk: &Desk, id: &ShipmentId) {
    let of_it = |p: &&Pending| matches!(p, Pending::CancelBooking { shipment, .. } if shipment == id);
    while let Some(pending) = desk.read(|s| s.undo.iter().rev().find(of_it).cloned()) {
        take_back(desk, &pending).await;
        desk.write(|s| s.undo.retain(|p| *p != pending));
    }
}

/// Lets the stock follow parcels that left although they were called off; answers whether there was one.
pub(super) async fn follow_departures(desk: &Desk) -> bool {
    let Some(shipment) = desk.read(|s| s.next_departure().cloned()) else { return false };
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
        desk.raise(STOCK_SHORT, Some(&shipment.id), "goods left that the books promise to others; count the shelf", now);
    }
    let key = format!("departed/{}", shipment.id);
    desk.publish(Fact::new(key, FactKind::StockDeparted, now).about(&shipment.id));
}
