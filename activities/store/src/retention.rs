//! What has outlived its time: deleted by age, in small batches. Stock's movements stay, because `on_hand` is their sum.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::reconciliation::Day;

use crate::Result;
use crate::store::{Store, run};

/// The last order of a page of ended ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedCursor {
    /// When it last changed.
    pub updated_at: Instant,
    /// Its id.
    pub id: OrderId,
}

impl Store {
    /// Deletes the oldest events that were published before, except those that a webhook, or a sink that was served since, is still to
    /// hear of; answers how many.
    pub async fn purge_outbox(&self, before: Instant, limit: u32) -> Result<u64> {
        run!(self, retention::outbox(before, limit))
    }

    /// Deletes the oldest review items that were closed before; answers how many.
    pub async fn purge_items(&self, before: Instant, limit: u32) -> Result<u64> {
        run!(self, retention::items(before, limit))
    }

    /// Deletes the oldest idempotency keys that were claimed before; answers how many.
    pub async fn purge_keys(&self, before: Instant, limit: u32) -> Result<u64> {
        run!(self, retention::keys(before, limit))
    }

    /// Deletes reports of days before, with their findings, except those whose review item is open; answers how many.
    pub async fn purge_reports(&self, before: &Day, limit: u32) -> Result<u64> {
        run!(self, retention::reports(before, limit))
    }

    /// Orders that ended and have not changed since, longest ago first, behind the cursor.
    pub async fn ended_before(&self, before: Instant, after: Option<&EndedCursor>, limit: u32) -> Result<Vec<EndedCursor>> {
        run!(self, retention::ended_before(before, after, limit))
    }

    /// The same, of those that still have a timeline.
    pub async fn with_timeline_before(
        &self,
        before: Instant,
        after: Option<&EndedCursor>,
        limit: u32,
    ) -> Result<Vec<EndedCursor>> {
        run!(self, retention::with_timeline_before(before, after, limit))
    }

    /// Deletes the oldest alerts made before, and what was noted about items that are gone; answers how many, of whichever were more.
    pub async fn purge_alerts(&self, before: Instant, limit: u32) -> Result<u64> {
        run!(self, retention::alerts(before, limit))
    }

    /// Deletes the oldest re-drives that were done before, with their orders' outcomes; answers how many.
    pub async fn purge_redrives(&self, before: Instant, limit: u32) -> Result<u64> {
        run!(self, retention::redrives(before, limit))
    }

    /// Deletes imports that were done before: their rows first, then they themselves; answers how many of either.
    pub async fn purge_imports(&self, before: Instant, limit: u32) -> Result<u64> {
        run!(self, retention::imports(before, limit))
    }

    /// Deletes the oldest reports of others that were settled before; answers how many.
    pub async fn purge_inbound(&self, before: Instant, limit: u32) -> Result<u64> {
        run!(self, retention::inbound(before, limit))
    }

    /// Deletes the timeline of an order that ended before and waits for nobody; answers whether there was one.
    pub async fn purge_timeline(&self, order: &OrderId, before: Instant) -> Result<bool> {
        run!(self, retention::timeline(order, before))
    }

    /// Deletes an order that ended before and waits for nobody, with all its rows; answers whether it did. An order waits while it
    /// has an open review item, refund or return, stock promised, an unsent message or an unpublished event. Its id stays known, so
    /// that the intake does not take it again, and so do events that somebody is still to hear of.
    pub async fn purge_order(&self, order: &OrderId, before: Instant, now: Instant) -> Result<bool> {
        run!(self, retention::order(order, before, now))
    }
}
