//! Shipments: each is booked, leaves, is paid for and arrives on its own.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use oms_contract::activity::Commit;
use oms_contract::definitions::Inventory;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::order::Status;
use oms_domain::review::{DEFECT, LOST, NO_SCAN, RETURNED_TO_SENDER, Resolution};
use oms_domain::shipment::{Shipment, ShipmentStatus};
use temporalio_workflow::workflows::{join, join_all};

use super::book::{Way, book, call_off};
use super::desk::{Desk, after};
use super::{Order, Stop, pay, refund, shortage, undo};
use crate::saga::Step;

/// Sees every shipment through, those included that come later, when goods arrive or lines change.
pub(super) async fn all(desk: &Desk) -> Result<(), Stop> {
    let (parcels, rest) = join!(parcels(desk.clone(), 0), follow_up(desk));
    parcels.and(rest)
}

/// Sees the shipments from number `first` on through, and then those that came meanwhile.
fn parcels(desk: Desk, first: usize) -> LocalBoxFuture<'static, Result<(), Stop>> {
    async move {
        let ids: Vec<ShipmentId> = desk.read(|s| s.life.shipments.iter().skip(first).map(|s| s.id.clone()).collect());
        let known = first + ids.len();
        let here = join_all(ids.into_iter().map(|id| fulfil(desk.clone(), id).boxed_local()));
        let later = async {
            desk.until(|s| s.life.shipments.len() > known || s.is_planned()).await;
            if desk.read(|s| s.life.shipments.len() > known) { parcels(desk.clone(), known).await } else { Ok(()) }
        };
        let (ends, later) = join!(here, later);
        ends.into_iter().collect::<Result<(), Stop>>().and(later)
    }
    .boxed_local()
}

/// Adds shipments for goods that come later.
async fn follow_up(desk: &Desk) -> Result<(), Stop> {
    loop {
        desk.until(|s| s.is_planned() || !s.life.waiting.is_empty() && !s.life.editing).await;
        if desk.read(Order::is_planned) {
            return if desk.read(|s| s.life.status == Status::Cancelling) { Err(Stop::Cancelled) } else { Ok(()) };
        }
        if let Err(stop) = shortage::rest(desk).await {
            if desk.read(|s| s.life.status != Status::Cancelling) {
                // parcels may be under way: the order waits for a person and does not end half done
                desk.raise(
                    DEFECT,
                    None,
                    "the wait for the rest of the goods ended, and the order cannot be cancelled",
                    desk.now(),
                );
                desk.until(Order::is_planned).await;
            }
            return Err(stop);
        }
        desk.write(Order::add_shipments);
    }
}

async fn fulfil(desk: Desk, id: ShipmentId) -> Result<(), Stop> {
    stay_open(&desk, &id).await?;
    let way = book(&desk, &id).await?;
    if way == Way::Replaced {
        return Ok(());
    }
    desk.waiting(id.as_str(), "the warehouse, to hand the parcel over to the carrier");
    desk.until(|s| s.has_departed(&id) || s.is_replaced(&id) || s.life.status == Status::Cancelling).await;
    if desk.read(|s| s.life.status == Status::Cancelling) {
        return Err(Stop::Cancelled);
    }
    desk.waiting(id.as_str(), "");
    if desk.read(|s| s.is_replaced(&id)) {
        // units of it were cancelled; a parcel that left all the same needs its courier, and the editor follows it
        if !desk.read(|s| s.has_departed(&id)) {
            undo::take_bookings_back(&desk, &id).await;
        }
        return Ok(());
    }
    let Some(shipment) = desk.read(|s| s.shipment(&id)) else { return Ok(()) };
    join!(commit(&desk, &shipment), pay::capture(&desk, &shipment), call_off(&desk, &id, way));
    arrive(&desk, &shipment).await;
    Ok(())
}

/// Leaves the order open for changes for as long as the shop wants.
async fn stay_open(desk: &Desk, id: &ShipmentId) -> Result<(), Stop> {
    let window = desk.start().deadlines.change_window;
    if window.is_zero() {
        return Ok(());
    }
    let Some(confirmed_at) = desk.read(|s| s.confirmed_at) else { return Ok(()) };
    let until = after(confirmed_at, window);
    let over = |s: &Order| s.has_departed(id) || s.is_replaced(id) || s.life.status == Status::Cancelling;
    if desk.read(|s| s.start.shape >= 4) || until > desk.now() {
        desk.waiting_until(id.as_str(), "the end of the time in which the order may change", Some(until));
        desk.until_or_at(until, "the order may change until then", over).await;
        desk.waiting(id.as_str(), "");
    }
    if desk.read(|s| s.life.status == Status::Cancelling) { Err(Stop::Cancelled) } else { Ok(()) }
}

/// Waits until the parcel arrives, or a person says that nothing more is expected of it.
async fn arrive(desk: &Desk, shipment: &Shipment) {
    let id = &shipment.id;
    desk.waiting(id.as_str(), "the carrier, to deliver the parcel");
    loop {
        if desk.read(|s| s.closed.contains(id)) {
            break;
        }
        let delivered = |s: &Order| s.shipment(id).is_some_and(|s| s.status == ShipmentStatus::Delivered);
        desk.until(|s| delivered(s) || s.closing(id).is_some()).await;
        if desk.read(delivered) {
            break;
        }
        let Some((code, about)) = desk.read(|s| s.closing(id)) else { continue };
        let Some(resolved) = desk.take_resolution(code, about.as_ref()) else { continue };
        if resolved.action == Resolution::Retry {
            continue;
        }
        if resolved.action == Resolution::RefundAndClose {
            refund::of_shipment(desk, shipment, code);
        }
        close(desk, id, code, about.is_none().then_some(resolved));
        break;
    }
    desk.waiting(id.as_str(), "");
}

/// Nothing more is expected of the parcel. A flag of the whole order is about every parcel under way, so the others see it too.
fn close(desk: &Desk, id: &ShipmentId, code: &str, for_others: Option<super::Resolved>) {
    let now = desk.now();
    desk.write(|s| {
        s.closed.push(id.clone());
        s.resolved.extend(for_others.filter(|_| s.under_way().next().is_some()));
        let fact = Fact::new(format!("closed/{id}"), FactKind::ShipmentClosed, now).about(id).because(code);
        s.journal.publish(fact);
    });
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
    // the capture, if it is on its way beside us, brings a record of its own; runs of before took one for granted unless a hold kept it
    let brings = |s: &Order| match s.start.shape {
        ..4 => s.life.holds.is_empty() && s.life.payment.captured != s.total,
        _ => s.in_flight.iter().any(|(step, id)| *step == Step::Capture && *id == shipment.id),
    };
    if desk.read(brings) {
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

    /// Whether no further shipment will come: everything has left that ever will, nothing is being changed, nothing that is promised
    /// is in no parcel.
    fn is_planned(&self) -> bool {
        let settled = self.life.all_departed() && !self.life.editing && self.is_assigned();
        settled || self.life.status == Status::Cancelling
    }

    /// Parcels that left, have not arrived and are still expected.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &Shipment> {
        let here = |s: &&Shipment| s.status.departed() && s.status != ShipmentStatus::Delivered;
        self.life.live_shipments().filter(here).filter(|s| !self.closed.contains(&s.id))
    }

    /// The flag about this parcel that a person has resolved, and the shipment it names.
    fn closing(&self, id: &ShipmentId) -> Option<(&'static str, Option<ShipmentId>)> {
        let about = |code: &'static str, shipment: Option<&ShipmentId>| {
            let found = self.resolved.iter().any(|r| r.code == code && r.shipment.as_ref() == shipment);
            found.then(|| (code, shipment.cloned()))
        };
        about(LOST, Some(id))
            .or_else(|| about(RETURNED_TO_SENDER, Some(id)))
            .or_else(|| about(NO_SCAN, Some(id)))
            // one for all of them, as runs from before flags named their parcel raised it
            .or_else(|| about(NO_SCAN, None))
    }
}
