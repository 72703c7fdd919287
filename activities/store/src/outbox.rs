//! The outbox: facts stored with the change, published later.

use oms_domain::Instant;
use oms_domain::ids::OrderId;

use crate::Result;
use crate::store::{Store, run};

/// A fact to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its place in the outbox; ascending per order.
    pub id: i64,
    /// Whose.
    pub order_id: OrderId,
    /// Its number within the order.
    pub seq: u64,
    /// The event's id: the same whenever it is published again.
    pub event_id: String,
    /// The fact's wire name.
    pub kind: String,
    /// The event. Holds no personal data.
    pub body: serde_json::Value,
    /// When it was written.
    pub created_at: Instant,
}

impl Store {
    /// The oldest events that are not published, by id: within an order always in its order.
    pub async fn unpublished(&self, limit: u32) -> Result<Vec<OutboxRow>> {
        run!(self, outbox::unpublished(limit))
    }

    /// Notes that these events are published.
    pub async fn mark_published(&self, ids: &[i64], now: Instant) -> Result<()> {
        run!(self, outbox::mark_published(ids, now))
    }
}
