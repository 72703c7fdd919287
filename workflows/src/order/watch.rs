//! Companions of an order's life: native cancels, ends of holds, and the watch that calls a person when nothing moves.

use futures::FutureExt;
use oms_contract::command::Cancel;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::life::Why;
use oms_domain::review::{NO_SCAN, STUCK};
use oms_domain::shipment::Shipment;
use std::time::Duration;
use temporalio_workflow::CancellableFuture;
use temporalio_workflow::workflows::select;

use super::desk::{Desk, after};
use super::{Order, fund};

/// A cancel from the Temporal UI or CLI is the `cancel` command, judged by the state machine like any other.
pub(super) async fn translate_native_cancel(desk: Desk) {
    let _ = desk.ctx().cancelled().await;
    let now = desk.now();
    if let Ok(reason) = Why::parse("cancellation requested in Temporal") {
        let command = Cancel { reason, actor: None };
        desk.write(|s| {
            if let Err(refusal) = s.apply_cancel(&command, "temporal", now) {
                let fact = Fact::new("ignored/native", FactKind::SignalIgnored, now).by("temporal");
                s.journal.publish(fact.because(format!("native cancel: {refusal}")));
            }
        });
    }
    std::future::pending().await
}

/// Ends holds at the time they name.
pub(super) async fn end_holds(desk: Desk) {
    let next_end = |s: &Order| s.life.holds.iter().filter_map(|h| h.until).min();
    loop {
        desk.until(|s| next_end(s).is_some()).await;
        let Some(end) = desk.read(next_end) else { continue };
        let over = !desk.until_or_at(end, "a hold ends", |s| next_end(s) != Some(end)).await;
        if !over && desk.read(|s| s.start.shape >= 4) {
            continue;
        }
        let (end, now) = (desk.time_of(end), desk.now());
        desk.write(|s| {
            for hold in s.life.expire_holds(end) {
                s.moved_at = now;
                s.over.insert(hold.id.as_str().to_owned());
                s.journal.publish(Fact::new(format!("hold/{}/expired", hold.id), FactKind::HoldExpired, now));
            }
        });
    }
}

/// The change after which each parcel of a split order has a deadline of its own; before it one served them all.
const NO_SCAN_PER_PARCEL: &str = "no_scan_per_parcel";

/// What a wait that ends by itself may be late before a person is called.
const LATE_MAX: Duration = Duration::from_secs(60);

/// When a person is called because a hold that names no end was forgotten, if one keeps the order. What goes on under it, such as the
/// renewal of funds, is no reason to wait longer. Runs that began before such holds had a deadline go on without one.
fn forgotten(order: &Order) -> Option<Instant> {
    let deadlines = &order.start.deadlines;
    let endless = order.life.holds.iter().filter(|hold| hold.until.is_none() && order.start.shape >= 3);
    Some(after(endless.map(|hold| hold.placed_at).min()?, deadlines.hold.max(deadlines.stuck)))
}

/// Whether a step of ours is under way, such as taking the money for what has left: that never takes as long as a parcel may. Runs that
/// began before the watch knew that wait as long as for a parcel.
fn is_working(order: &Order) -> bool {
    order.start.shape >= 4 && (!order.in_flight.is_empty() || order.life.owes_captures())
}

/// Whether only those who carry the parcels can move the order on.
fn is_with_carriers(order: &Order) -> bool {
    let under_way = order.start.shape < 4 || order.under_way().next().is_some();
    order.life.departed() && under_way && !is_working(order)
}

/// When a person is called because the order as a whole stands still.
fn standstill(order: &Order) -> Instant {
    if let Some(forgotten) = forgotten(order).filter(|_| !order.life.departed()) {
        return forgotten;
    }
    let deadlines = &order.start.deadlines;
    let heard = order.under_way().map(|s| order.heard(&s.id)).fold(order.moved_at, Instant::max);
    let still = if is_with_carriers(order) { after(heard, deadlines.no_scan) } else { after(order.moved_at, deadlines.stuck) };
    let still = order.still_until.map_or(still, |until| still.max(after(until, LATE_MAX)));
    // what such a hold keeps from being done is no reason to call before the hold itself is one
    let kept = forgotten(order).filter(|_| order.start.shape >= 4);
    kept.map_or(still, |at| still.max(at))
}

/// When a person is called because what is ours to do stands still.
fn stuck(order: &Order) -> Instant {
    if let Some(forgotten) = forgotten(order) {
        return forgotten;
    }
    let still = after(order.moved_at, order.start.deadlines.stuck);
    order.still_until.map_or(still, |until| still.max(after(until, LATE_MAX)))
}

/// Whether there is more to do for us than to wait for parcels.
fn is_ours(order: &Order) -> bool {
    !order.life.all_departed() || is_working(order)
}

/// Parcels under way, and when a person is called about each that none was called about yet.
fn silent_at(order: &Order) -> impl Iterator<Item = (&ShipmentId, Instant)> {
    let flagged = |s: &&Shipment| order.life.attention.iter().any(|a| a.code == NO_SCAN && a.shipment.as_ref() == Some(&s.id));
    let at = |s: &Shipment| after(order.heard(&s.id), order.start.deadlines.no_scan);
    order.under_way().filter(move |s| !flagged(s)).map(move |s| (&s.id, at(s)))
}

/// Whether nothing can stand still any more: only the last record is on its way, which takes as long as it takes. Runs that began before
/// the watch knew that go on watching.
fn is_over(order: &Order) -> bool {
    order.start.shape >= 3 && order.life.status.is_terminal()
}

/// When a person is called unless something moves. `called`: how the order stood when one was called about the whole of it.
fn deadline(order: &Order, called: Option<Instant>) -> Option<Instant> {
    if is_over(order) {
        return None;
    }
    let quiet = called.is_some_and(|at| order.moved_at <= at);
    if order.per_parcel != Some(true) || order.under_way().next().is_none() {
        return (!quiet).then(|| standstill(order));
    }
    let rest = (!quiet && is_ours(order)).then(|| stuck(order));
    silent_at(order).map(|(_, at)| at).chain(rest).min()
}

/// The next renewal of the hold on funds that the treasurer has not been told of. What was told takes as long as it takes: a timer
/// for it would fire at once, again and again.
fn renewal(order: &Order) -> Option<Instant> {
    fund::renewal_due(order).filter(|due| *due > order.looked_at)
}

/// The deadline as readers and the watchdog see it: none for an order that has ended. One that a person holds without an end has none in
/// runs that began before such holds had a deadline.
pub(super) fn due(order: &Order) -> Option<Instant> {
    if order.life.status.is_terminal() {
        return None;
    }
    let holds = &order.life.holds;
    if order.start.shape < 3 && holds.iter().any(|hold| hold.until.is_none()) {
        return None;
    }
    let ends = holds.iter().filter_map(|hold| hold.until).map(|end| after(end, LATE_MAX));
    let deadline = deadline(order, None).unwrap_or_else(|| standstill(order));
    Some(ends.chain(forgotten(order)).fold(deadline, Instant::max))
}

/// Calls a person when nothing moves, and looks at the clock for the treasurer. One timer serves all stages: when it fires it looks
/// how long the order has really stood still.
pub(super) async fn call_a_person(desk: Desk) {
    let mut called: Option<Instant> = None;
    loop {
        // a hold is a known reason to stand still, as long as nobody can have forgotten it; its release is a move
        let moved = |s: &Order| called.is_some_and(|at| s.moved_at > at);
        if desk.read(moved) {
            let code = desk.read(|s| if s.life.departed() { NO_SCAN } else { STUCK });
            let now = desk.time_of(desk.read(|s| s.passed));
            let forgotten = desk.read(forgotten).is_some_and(|at| at <= now);
            for code in [code, STUCK].into_iter().filter(|code| *code != STUCK || !forgotten) {
                desk.clear(code, None);
            }
            called = None;
            continue;
        }
        let next = |s: &Order| renewal(s).into_iter().chain(deadline(s, called)).min();
        let Some(due) = desk.read(next) else {
            desk.until(|s| next(s).is_some() || moved(s)).await;
            continue;
        };
        // a later deadline needs no new timer, an earlier one does
        let earlier = desk.until(|s| next(s).is_some_and(|at| at < due) || moved(s));
        if fires(&desk, due, earlier).await {
            let now = desk.time_of(due);
            desk.write(|s| s.looked_at = s.looked_at.max(now));
            if let Some(at) = call(&desk, called, now) {
                called = Some(at);
            }
        }
    }
}

/// Waits until `due`; `false` when `earlier` comes before it.
async fn fires(desk: &Desk, due: Instant, earlier: impl Future<Output = ()>) -> bool {
    let mut timer = desk.timer(due, "a person looks if nothing moves until then");
    let mut earlier = Box::pin(earlier.fuse());
    let mut splits = Box::pin(desk.until(|s| s.per_parcel.is_none() && s.is_split()).fuse());
    loop {
        select! {
            _ = timer => {
                desk.passed(due);
                return true;
            }
            () = earlier => {
                timer.cancel();
                return false;
            }
            () = splits => {
                // asked only where it makes a difference: the answer costs the history of an order two events
                let per_parcel = desk.ctx().patched(NO_SCAN_PER_PARCEL);
                desk.write(|s| s.per_parcel = Some(per_parcel));
            }
        }
    }
}

/// Raises the flags that are due by `now`; answers how the order stood if a person was called about the whole of it.
fn call(desk: &Desk, called: Option<Instant>, now: Instant) -> Option<Instant> {
    desk.write(|s| {
        if is_over(s) {
            return None;
        }
        let quiet = called.is_some_and(|at| s.moved_at <= at);
        let under_way = s.under_way().next().is_some();
        let apart = under_way && s.per_parcel == Some(true);
        let silent: Vec<ShipmentId> = silent_at(s).filter(|(_, at)| !apart || *at <= now).map(|(id, _)| id.clone()).collect();
        let over = if apart { is_ours(s) && stuck(s) <= now } else { standstill(s) <= now };
        let whole = over && !quiet;
        let open = s.life.holds.is_empty();
        let forgotten = forgotten(s).is_some_and(|at| at <= now);
        let ours = apart || !under_way || is_working(s);
        if apart || whole && open && !ours {
            for id in &silent {
                s.raise(NO_SCAN, Some(id), "the parcel left and was not reported delivered in time", now);
            }
        }
        if forgotten && !quiet {
            s.raise(STUCK, None, "a hold that names no end has stood for too long; release it, or cancel the order", now);
        } else if whole && open && ours {
            s.raise(STUCK, None, "the order has not moved in time; see what it waits on", now);
        }
        whole.then_some(s.moved_at)
    })
}

impl Order {
    /// When something was last heard of a parcel.
    fn heard(&self, id: &ShipmentId) -> Instant {
        self.heard_at.get(id).copied().unwrap_or(self.moved_at)
    }

    /// Whether a parcel has left while more of the order is to come on its own.
    fn is_split(&self) -> bool {
        self.life.departed() && (self.life.live_shipments().nth(1).is_some() || !self.life.waiting.is_empty())
    }
}
