//! A courier for each shipment: booked once nothing speaks against it, and called off when the parcel took another way.

use oms_contract::activity::{Book, Booked, CancelBooking};
use oms_contract::definitions::Shipping;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::order::Status;
use oms_domain::review::{BOOKING_REFUSED, Resolution};
use oms_domain::shipment::{Shipment, ShipmentStatus};

use super::desk::{Desk, Interrupted, after};
use super::undo::{self, Pending};
use super::{Order, Stop};
use crate::saga::{Step, Undo};

/// How the way to a booking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A courier comes, or the parcel is with one.
    Booked,
    /// The parcel left before this booking (by its revision) was made.
    Overtaken(u32),
    /// An edit replaced the shipment.
    Replaced,
}

/// Books a courier, unless the parcel has left without one.
pub(super) async fn book(desk: &Desk, id: &ShipmentId) -> Result<Way, Stop> {
    let mut revision = 1;
    loop {
        if desk.read(|s| s.is_replaced(id)) {
            // an attempt that was called back may have had its effect
            undo::take_bookings_back(desk, id).await;
            desk.clear(BOOKING_REFUSED, Some(id));
            return Ok(Way::Replaced);
        }
        let Some(shipment) = desk.read(|s| s.shipment(id)) else { return Ok(Way::Replaced) };
        if desk.read(|s| s.is_settled(&shipment)) {
            return Ok(Way::Booked);
        }
        if let Some(number) = settled_outside(desk, id) {
            // an attempt that a hold called back may have had its effect
            undo::take_bookings_back(desk, id).await;
            booked(desk, id, None, &number);
            return Ok(Way::Booked);
        }
        let order_id = desk.read(|s| s.start.order_id.clone());
        let input = Book { order_id, shipment_id: id.clone(), revision, location: shipment.location };
        let pending = Pending::CancelBooking { shipment: id.clone(), revision };
        desk.write(|s| s.register(pending.clone()));
        let addresses = desk.read(|s| s.addresses);
        let answer = desk.step(Step::Book, || Shipping::book, input, Some(id)).await;
        let redirected = desk.read(|s| s.addresses != addresses && !s.has_departed(id));
        match answer {
            // it answered although it was called back: the label may have the old address
            Ok(Booked::Booked { .. }) if redirected => {
                undo::take_back(desk, &pending).await;
                desk.write(|s| s.undo.retain(|p| *p != pending));
                revision += 1;
            }
            Ok(Booked::Booked { carrier, tracking_number }) => {
                booked(desk, id, Some(&carrier), &tracking_number);
                return Ok(Way::Booked);
            }
            Ok(Booked::Refused { code }) => {
                if refused(desk, id, revision, code).await {
                    return Ok(Way::Booked);
                }
                revision += 1;
            }
            Err(Interrupted::Stopped) => return Err(Stop::Cancelled),
            Err(Interrupted::Overtaken) => return Ok(Way::Overtaken(revision)),
            // the next turn of the loop takes back what was booked, or does as a person decided
            Err(Interrupted::Replaced | Interrupted::Settled) => {}
            Err(Interrupted::Redirected) => {
                // the attempt may have had its effect, with the old address on the label
                undo::take_back(desk, &pending).await;
                desk.write(|s| s.undo.retain(|p| *p != pending));
                revision += 1;
            }
        }
    }
}

/// No carrier takes the parcel: waits for a person, the next try or the parcel itself; answers whether it goes by another way.
async fn refused(desk: &Desk, id: &ShipmentId, revision: u32, code: String) -> bool {
    let now = desk.now();
    let key = format!("booking/{id}/refused/{revision}");
    desk.publish(Fact::new(key, FactKind::ShipmentBookingRefused, now).because(code).about(id));
    desk.raise(BOOKING_REFUSED, Some(id), "the carrier refused the parcel; it is asked again later", now);
    let again = after(now, desk.start().deadlines.capture_retry);
    desk.waiting_until(id.as_str(), "the next try to book a courier after a refusal", Some(again));
    let nudges = desk.read(|s| s.nudges);
    let moved = |s: &Order| s.has_departed(id) || s.is_replaced(id) || s.life.status == Status::Cancelling || s.nudges > nudges;
    desk.until_or_at(again, "next try to book a courier", moved).await;
    let Some(number) = settled_outside(desk, id) else { return false };
    booked(desk, id, None, &number);
    true
}

/// The number under which a person has sent the parcel by another way.
fn settled_outside(desk: &Desk, id: &ShipmentId) -> Option<String> {
    let resolved = desk.take_resolution(BOOKING_REFUSED, Some(id))?;
    resolved.reference.filter(|_| resolved.action == Resolution::UseExternalReference)
}

/// Takes back a booking that was overtaken: the attempt may have had its effect all the same, and no courier may come for a parcel
/// that is gone. Under a hold nobody calls the carrier, so it waits for the release.
pub(super) async fn call_off(desk: &Desk, id: &ShipmentId, way: Way) {
    let Way::Overtaken(revision) = way else { return };
    desk.until(|s| s.life.holds.is_empty()).await;
    let input = CancelBooking { order_id: desk.read(|s| s.start.order_id.clone()), shipment_id: id.clone(), revision };
    desk.undo(Undo::CancelBooking, || Shipping::cancel, input).await;
}

impl Order {
    /// Whether the shipment was booked before this run had its say: a reset run has it from its row.
    fn is_settled(&self, shipment: &Shipment) -> bool {
        self.adopted.contains(&shipment.id) && shipment.status != ShipmentStatus::Pending
    }
}

fn booked(desk: &Desk, id: &ShipmentId, carrier: Option<&str>, tracking_number: &str) {
    let now = desk.now();
    desk.write(|s| {
        if let Some(shipment) = s.life.shipments.iter_mut().find(|s| s.id == *id) {
            if shipment.carrier.is_none() {
                shipment.carrier = carrier.map(ToOwned::to_owned);
            }
            shipment.note_package(None, Some(tracking_number));
            if shipment.status == ShipmentStatus::Pending {
                shipment.status = ShipmentStatus::Booked;
            }
        }
        let key = format!("booked/{id}");
        s.journal.publish(Fact::new(key, FactKind::ShipmentBooked, now).about(id));
    });
    desk.clear(BOOKING_REFUSED, Some(id));
}
