//! The outbox: facts stored with the change, published later.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, Sku};
use std::fmt;

use crate::Result;
use crate::store::{Store, run};

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An order.
    Order(OrderId),
    /// An article's stock.
    Sku(Sku),
}

/// Tells an article's events from an order's, whose id holds no slash.
const SKU: &str = "sku/";

impl Subject {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(match text.strip_prefix(SKU) {
            Some(sku) => Self::Sku(Sku::parse(sku)?),
            None => Self::Order(OrderId::parse(text)?),
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(order) => write!(f, "{order}"),
            Self::Sku(sku) => write!(f, "{SKU}{sku}"),
        }
    }
}

/// A fact to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its place in the outbox; ascending per subject.
    pub id: i64,
    /// What it is about.
    pub subject: Subject,
    /// Its number within the subject.
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

    /// An order's events behind the given number, in their order, published or not.
    pub async fn events_of(&self, order: &OrderId, after_seq: u64, limit: u32) -> Result<Vec<OutboxRow>> {
        run!(self, outbox::events_of(order, after_seq, limit))
    }

    /// Notes that these events are published.
    pub async fn mark_published(&self, ids: &[i64], now: Instant) -> Result<()> {
        run!(self, outbox::mark_published(ids, now))
    }
}
