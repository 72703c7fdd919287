//! Companions of an order's life: native cancels, ends of holds, and the watch that calls a person when nothing moves.

use futures::FutureExt;
use oms_contract::command::Cancel;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::life::Why;
use oms_domain::review::{NO_SCAN, STUCK};
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
        desk.until_or_at(end, "a hold ends", |s| next_end(s) != Some(end)).await;
        let now = desk.now();
        desk.write(|s| {
            for hold in s.life.expire_holds(now) {
                s.moved_at = now;
                s.journal.publish(Fact::new(format!("hold/{}/expired", hold.id), FactKind::HoldExpired, now));
            }
        });
    }
}

/// The flag of an order that stands still, and of a parcel of which nobody hears.
fn flag(order: &Order) -> (&'static str, &'static str) {
    if order.life.departed() {
        (NO_SCAN, "the parcel left and was not reported delivered in time")
    } else {
        (STUCK, "the order has not moved in time; see what it waits on")
    }
}

/// What a wait that ends by itself may be late before a person is called.
const LATE_MAX: Duration = Duration::from_secs(60);

/// When a person is called unless something moves.
fn deadline(order: &Order) -> Instant {
    let deadlines = &order.start.deadlines;
    let still = after(order.moved_at, if order.life.departed() { deadlines.no_scan } else { deadlines.stuck });
    order.still_until.map_or(still, |until| still.max(after(until, LATE_MAX)))
}

/// The next renewal of the hold on funds that the treasurer has not been told of. What was told takes as long as it takes: a timer
/// for it would fire at once, again and again.
fn renewal(order: &Order) -> Option<Instant> {
    fund::renewal_due(order).filter(|due| *due > order.looked_at)
}

/// The deadline as readers and the watchdog see it: none for an order that has ended, or that a person holds without an end.
pub(super) fn due(order: &Order) -> Option<Instant> {
    if order.life.status.is_terminal() {
        return None;
    }
    let ends = order.life.holds.iter().map(|hold| hold.until).collect::<Option<Vec<_>>>()?;
    Some(ends.into_iter().map(|end| after(end, LATE_MAX)).fold(deadline(order), Instant::max))
}

/// Calls a person when nothing moves, and looks at the clock for the treasurer. One timer serves all stages: when it fires it looks
/// how long the order has really stood still.
pub(super) async fn call_a_person(desk: Desk) {
    let mut called: Option<Instant> = None;
    loop {
        if let Some(still) = called {
            // a hold is a known reason to stand still; its release is a move
            let moves = |s: &Order| s.moved_at > still;
            match desk.read(renewal) {
                Some(at) => desk.until_or_at(at, "the hold on the funds ends soon", moves).await,
                None => {
                    desk.until(|s| moves(s) || renewal(s).is_some()).await;
                    true
                }
            };
            let now = desk.now();
            desk.write(|s| s.looked_at = now);
            if desk.read(moves) {
                let (code, _) = desk.read(flag);
                for code in [code, STUCK] {
                    desk.clear(code, None);
                }
                called = None;
            }
            continue;
        }
        let next = |s: &Order| renewal(s).map_or(deadline(s), |at| at.min(deadline(s)));
        let due = desk.read(next);
        let mut timer = desk.timer(due, "a person looks if nothing moves until then");
        // a later deadline needs no new timer, an earlier one does
        let mut earlier = Box::pin(desk.until(|s| next(s) < due).fuse());
        let fired = select! {
            _ = timer => true,
            () = earlier => false,
        };
        if !fired {
            timer.cancel();
            continue;
        }
        let now = desk.now();
        desk.write(|s| s.looked_at = now);
        if desk.read(deadline) > now {
            continue;
        }
        let ((code, detail), held) = desk.read(|s| (flag(s), !s.life.holds.is_empty()));
        if !held {
            desk.raise(code, None, detail, now);
        }
        called = Some(desk.read(|s| s.moved_at));
    }
}
