//! The janitor: deletes what has outlived its time, in small batches. Nothing younger than thirty days goes, and nothing of which the
//! engine still shows the run.

use oms_domain::Instant;
use oms_domain::reconciliation::Day;
use oms_store::{EndedCursor, Store, StoreError};
use oms_temporal::bootstrap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::Parts;

/// Nothing younger is deleted, whatever is set.
const FLOOR: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Calls that had to wait for their turn are forgotten so long after it.
const PARKED_KEPT: Duration = Duration::from_secs(3_600);
/// Rows per transaction, orders per page.
const BATCH: u32 = 200;
/// Pause between two batches, so that the shop's own work goes first.
const BREATH: Duration = Duration::from_millis(20);

/// What is deleted at which age. None: never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Timelines of orders that have ended, by the order's last change.
    pub timeline: Option<Duration>,
    /// Published events.
    pub outbox: Option<Duration>,
    /// Orders that have ended, with all their rows, by their last change; closed review items, idempotency keys, reports, alerts,
    /// re-drives and imports that are done.
    pub orders: Option<Duration>,
}

impl Retention {
    /// With no age below thirty days and what the engine's namespace keeps; `None` as the second if nothing had to be raised.
    fn at_least(self, kept: Duration) -> (Self, Option<Duration>) {
        let floor = FLOOR.max(kept);
        let ages = [self.timeline, self.outbox, self.orders];
        let raised = ages.into_iter().flatten().any(|age| age < floor).then_some(floor);
        let raise = |age: Option<Duration>| age.map(|age| age.max(floor));
        (Self { timeline: raise(self.timeline), outbox: raise(self.outbox), orders: raise(self.orders) }, raised)
    }

    fn is_off(self) -> bool {
        self == Self::default()
    }
}

/// Deletes until told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    let mut set = parts.retention;
    if !set.is_off() {
        let Some(raised) = stop.run_until_cancelled(ages(&parts)).await else { return };
        set = raised;
    }
    loop {
        match stop.run_until_cancelled(sweep(&parts.store, set, (parts.clock)())).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "what has outlived its time could not be deleted; tried again later"),
            None => return,
        }
        if stop.run_until_cancelled(tokio::time::sleep(parts.janitor_every)).await.is_none() {
            return;
        }
    }
}

/// The ages in force. Waits for an engine that does not tell what it keeps: too early is worse than late.
async fn ages(parts: &Parts) -> Retention {
    let kept = loop {
        if let Some(kept) = bootstrap::retention(&parts.client).await {
            break kept;
        }
        tracing::warn!("the Temporal server does not tell how long it keeps closed runs; nothing is deleted until it does");
        tokio::time::sleep(parts.janitor_every.min(Duration::from_secs(60))).await;
    };
    let (ages, raised) = parts.retention.at_least(kept);
    if let Some(floor) = raised {
        let days = floor.as_secs().div_ceil(24 * 3_600);
        tracing::warn!(days, "retention is set below 30 days or what the Temporal namespace keeps; the larger age is used");
    }
    ages
}

/// Deletes everything that is too old now.
async fn sweep(store: &Store, ages: Retention, now: Instant) -> Result<(), StoreError> {
    // others' reports may name people, and nobody asks for them again: whatever is set
    while store.purge_inbound(now - FLOOR, BATCH).await? >= u64::from(BATCH) {
        tokio::time::sleep(BREATH).await;
    }
    while store.purge_parked_calls(now - PARKED_KEPT, BATCH).await? >= u64::from(BATCH) {
        tokio::time::sleep(BREATH).await;
    }
    if let Some(age) = ages.outbox {
        while store.purge_outbox(now - age, BATCH).await? >= u64::from(BATCH) {
            tokio::time::sleep(BREATH).await;
        }
    }
    if let Some(age) = ages.orders {
        orders(store, now - age, now).await?;
    }
    if let Some(age) = ages.timeline {
        timelines(store, now - age).await?;
    }
    Ok(())
}

async fn orders(store: &Store, before: Instant, now: Instant) -> Result<(), StoreError> {
    let mut after: Option<EndedCursor> = None;
    loop {
        let page = store.ended_before(before, after.as_ref(), BATCH).await?;
        for order in &page {
            store.purge_order(&order.id, before, now).await?;
        }
        after = page.last().cloned();
        if page.len() < BATCH as usize {
            break;
        }
        tokio::time::sleep(BREATH).await;
    }
    while store.purge_items(before, BATCH).await? >= u64::from(BATCH) {
        tokio::time::sleep(BREATH).await;
    }
    while store.purge_keys(before, BATCH).await? >= u64::from(BATCH) {
        tokio::time::sleep(BREATH).await;
    }
    store.purge_reports(&Day::of(before), BATCH).await?;
    while store.purge_alerts(before, BATCH).await? >= u64::from(BATCH) {
        tokio::time::sleep(BREATH).await;
    }
    while store.purge_redrives(before, BATCH).await? > 0 {
        tokio::time::sleep(BREATH).await;
    }
    while store.purge_imports(before, BATCH).await? > 0 {
        tokio::time::sleep(BREATH).await;
    }
    Ok(())
}

async fn timelines(store: &Store, before: Instant) -> Result<(), StoreError> {
    let mut after: Option<EndedCursor> = None;
    loop {
        let page = store.with_timeline_before(before, after.as_ref(), BATCH).await?;
        for order in &page {
            store.purge_timeline(&order.id, before).await?;
        }
        after = page.last().cloned();
        if page.len() < BATCH as usize {
            return Ok(());
        }
        tokio::time::sleep(BREATH).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3_600);

    #[test]
    fn no_age_is_below_thirty_days_or_what_the_engine_keeps() {
        let set = Retention { timeline: Some(90 * DAY), outbox: Some(DAY), orders: None };
        let (ages, raised) = set.at_least(7 * DAY);
        assert_eq!(ages, Retention { outbox: Some(30 * DAY), ..set });
        assert_eq!(raised, Some(30 * DAY));
        let (ages, raised) = Retention { outbox: Some(40 * DAY), ..set }.at_least(365 * DAY);
        assert_eq!((ages.timeline, ages.outbox, ages.orders), (Some(365 * DAY), Some(365 * DAY), None));
        assert_eq!(raised, Some(365 * DAY));
        assert_eq!(set.at_least(DAY).0.at_least(DAY).1, None);
    }
}
