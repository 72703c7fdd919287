//! Shipments: each is booked, leaves, is paid for and arrives on its own.

use futures::FutureExt;
use oms_contract::activity::{Book, Booked, CancelBooking, Commit};
use oms_contract::definitions::{Inventory, Shipping};
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::order::Status;
use oms_domain::shipment::{Shipment, ShipmentStatus};
use temporalio_workflow::workflows::{join, join_all};

use super::desk::{Desk, Interrupted, after};
use super::undo::Pending;
use super::{Order, Stop, pay};
use crate::saga::{Step, Undo};

/// The flag of a shipment that no carrier takes.
const BOOKING_REFUSED: &str = "booking_refused";

/// Sees every shipment through.
pub(super) async fn all(desk: &Desk) -> Result<(), Stop> {
    let ids: Vec<ShipmentId> = desk.read(|s| s.life.shipments.iter().map(|s| s.id.clone()).collect());
    let ends = join_all(ids.into_iter().map(|id| fulfil(desk.clone(), id).boxed_local())).await;
    ends.into_iter().collect()
}

async fn fulfil(desk: Desk, id: ShipmentId) -> Result<(), Stop> {
    let overtaken = book(&desk, &id).await?;
    desk.waiting(id.as_str(), "the warehouse, to hand the parcel over to the carrier");
    desk.until(|s| s.has_departed(&id) || s.life.status == Status::Cancelling).await;
    if desk.read(|s| s.life.status == Status::Cancelling) {
        return Err(Stop::Cancelled);
    }
    desk.waiting(id.as_str(), "");
    let Some(shipment) = desk.read(|s| s.shipment(&id)) else { return Ok(()) };
    join!(commit(&desk, &shipment), pay::capture(&desk, &shipment), call_off(&desk, &id, overtaken));
    desk.waiting(id.as_str(), "the carrier, to deliver the parcel");
    desk.until(|s| s.shipment(&id).is_some_and(|s| s.status == ShipmentStatus::Delivered)).await;
    desk.waiting(id.as_str(), "");
    Ok(())
}

/// A booking whose parcel left before it was made, by its revision.
type Overtaken = Option<u32>;

/// Books a courier, unless the parcel has left without one.
async fn book(desk: &Desk, id: &ShipmentId) -> Result<Overtaken, Stop> {
    let start = desk.start();
    let mut revision = 1;
    loop {
        let Some(shipment) = desk.read(|s| s.shipment(id)) else { return Ok(None) };
        let input = Book { order_id: start.order_id.clone(), shipment_id: id.clone(), revision, location: shipment.location };
        desk.write(|s| s.register(Pending::CancelBooking { shipment: id.clone(), revision }));
        match desk.step(Step::Book, || Shipping::book, input, Some(id)).await {
            Ok(Booked::Booked { carrier, tracking_number }) => {
                booked(desk, id, &carrier, &tracking_number);
                return Ok(None);
            }
            Ok(Booked::Refused { code }) => {
                let now = desk.now();
                let key = format!("booking/{id}/refused/{revision}");
                desk.publish(Fact::new(key, FactKind::ShipmentBookingRefused, now).because(code).about(id));
                desk.raise(BOOKING_REFUSED, "the carrier refused the parcel; it is asked again later", now);
                desk.waiting(id.as_str(), "the next try to book a courier after a refusal");
                let again = after(now, start.deadlines.capture_retry);
                let moved = |s: &Order| s.has_departed(id) || s.life.status == Status::Cancelling;
                desk.until_or_at(again, "next try to book a courier", moved).await;
                revision += 1;
            }
            Err(Interrupted::Stopped) => return Err(Stop::Cancelled),
            Err(Interrupted::Overtaken) => return Ok(Some(revision)),
        }
    }
}

/// Takes back a booking that was overtaken: the attempt may have had its effect all the same, and no courier may come for a parcel
/// that is gone. Under a hold nobody calls the carrier, so it waits for the release.
async fn call_off(desk: &Desk, id: &ShipmentId, overtaken: Overtaken) {
    let Some(revision) = overtaken else { return };
    desk.until(|s| s.life.holds.is_empty()).await;
    let input = CancelBooking { order_id: desk.read(|s| s.start.order_id.clone()), shipment_id: id.clone(), revision };
    desk.undo(Undo::CancelBooking, || Shipping::cancel, input).await;
}

fn booked(desk: &Desk, id: &ShipmentId, carrier: &str, tracking_number: &str) {
    let now = desk.now();
    desk.write(|s| {
        if let Some(shipment) = s.life.shipments.iter_mut().find(|s| s.id == *id) {
            if shipment.carrier.is_none() {
                shipment.carrier = Some(carrier.to_owned());
            }
            shipment.note_package(None, Some(tracking_number));
            if shipment.status == ShipmentStatus::Pending {
                shipment.status = ShipmentStatus::Booked;
            }
        }
        let key = format!("booked/{id}");
        s.journal.publish(Fact::new(key, FactKind::ShipmentBooked, now).about(id));
    });
    desk.clear(BOOKING_REFUSED);
}

/// Books the goods out: at once, also under a hold, because they are gone.
async fn commit(desk: &Desk, shipment: &Shipment) {
    let input = Commit {
        order_id: desk.read(|s| s.start.order_id.clone()),
        shipment_id: shipment.id.clone(),
        location: shipment.location.clone(),
        lines: shipment.lines.clone(),
    };
    if desk.step(Step::Commit, || Inventory::commit, input, Some(&shipment.id)).await.is_err() {
        return;
    }
    let key = format!("committed/{}", shipment.id);
    let fact = Fact::new(key, FactKind::StockCommitted, desk.now()).about(&shipment.id);
    // the capture, on its way beside us, brings a record of its own unless a hold keeps it
    if desk.read(|s| s.life.holds.is_empty() && s.life.payment.captured != s.start.total) {
        desk.note(fact);
    } else {
        desk.publish(fact);
    }
}

impl Order {
    /// The shipment as it stands.
    pub(super) fn shipment(&self, id: &ShipmentId) -> Option<Shipment> {
        self.life.shipments.iter().find(|s| s.id == *id).cloned()
    }
}
