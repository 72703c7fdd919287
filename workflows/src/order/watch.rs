//! Companions of an order's life: native cancels, ends of holds, and the watch that calls a person when nothing moves.

use futures::FutureExt;
use oms_contract::command::Cancel;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::life::Why;
use temporalio_workflow::CancellableFuture;
use temporalio_workflow::workflows::select;

use super::Order;
use super::desk::{Desk, after};

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
        ("no_scan", "the parcel left and was not reported delivered in time")
    } else {
        ("stuck", "the order has not moved in time; see what it waits on")
    }
}

/// When a person is called unless something moves.
fn deadline(order: &Order) -> Instant {
    let deadlines = &order.start.deadlines;
    after(order.moved_at, if order.life.departed() { deadlines.no_scan } else { deadlines.stuck })
}

/// Calls a person when nothing moves. One timer serves all stages: when it fires it looks how long the order has really stood still.
pub(super) async fn call_a_person(desk: Desk) {
    loop {
        let due = desk.read(deadline);
        let mut timer = desk.timer(due, "a person looks if nothing moves until then");
        // a later deadline needs no new timer, an earlier one does
        let mut earlier = Box::pin(desk.until(|s| deadline(s) < due).fuse());
        let fired = select! {
            _ = timer => true,
            () = earlier => false,
        };
        if !fired {
            timer.cancel();
            continue;
        }
        let (still, held) = desk.read(|s| (s.moved_at, !s.life.holds.is_empty()));
        if desk.read(deadline) > desk.now() {
            continue;
        }
        let (code, detail) = desk.read(flag);
        if !held {
            let now = desk.now();
            desk.raise(code, detail, now);
        }
        // a hold is a known reason to stand still; its release is a move
        desk.until(|s| s.moved_at > still).await;
        desk.clear(code);
    }
}
