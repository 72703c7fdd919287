//! Messages to customers: rows that a record makes, claimed in batches, sent or dropped once.

use oms_domain::Instant;
use oms_domain::ids::{MessageId, OrderId, ShipmentId};
use oms_domain::message::{Channel, Topic};

use crate::Result;
use crate::orders::StoredOrder;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// Where a message stands.
    MessageState {
        /// Nobody has taken it up.
        Pending = "pending",
        /// A batch has it, for good.
        Claimed = "claimed",
        /// It went out.
        Sent = "sent",
        /// It was dropped as stale.
        Dropped = "dropped",
    }
}

/// A message and the order it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// Whose.
    pub order_id: OrderId,
    /// What it tells.
    pub topic: Topic,
    /// How it travels.
    pub channel: Channel,
    /// The shipment it is about.
    pub shipment: Option<ShipmentId>,
    /// When the told fact happened.
    pub fact_at: Instant,
    /// Where it stands.
    pub state: MessageState,
    /// The order now.
    pub order: StoredOrder,
}

/// A message without its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Its id.
    pub id: MessageId,
    /// What it tells.
    pub topic: Topic,
    /// How it travels.
    pub channel: Channel,
    /// The shipment it is about.
    pub shipment: Option<ShipmentId>,
    /// When the told fact happened.
    pub fact_at: Instant,
    /// Where it stands.
    pub state: MessageState,
    /// The batch that has it.
    pub batch_id: Option<String>,
    /// When it was sent or dropped.
    pub settled_at: Option<Instant>,
    /// Why it was dropped.
    pub why: Option<String>,
}

/// A claimed batch that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its id.
    pub batch_id: String,
    /// Its messages that are neither sent nor dropped.
    pub messages: Vec<MessageId>,
}

impl Store {
    /// Claims the oldest pending messages for a batch, for good; each message goes to one batch.
    pub async fn claim_messages(&self, batch_id: &str, limit: u32, now: Instant) -> Result<Vec<MessageId>> {
        run!(self, messages::claim(batch_id, limit, now))
    }

    /// Batches claimed before the given instant that still have messages to send, oldest first.
    pub async fn claimed_batches(&self, claimed_before: Instant, limit: u32) -> Result<Vec<Batch>> {
        run!(self, messages::batches(claimed_before, limit))
    }

    /// One message with its order.
    pub async fn message(&self, id: &MessageId) -> Result<Option<StoredMessage>> {
        run!(self, messages::message(id))
    }

    /// Notes that the message went out. A repeat, or one for a dropped message, changes nothing.
    pub async fn mark_sent(&self, id: &MessageId, now: Instant) -> Result<()> {
        run!(self, messages::settle(id, MessageState::Sent, None, now))
    }

    /// Notes that the message was dropped, and why. A repeat, or one for a sent message, changes nothing.
    pub async fn mark_dropped(&self, id: &MessageId, why: &str, now: Instant) -> Result<()> {
        run!(self, messages::settle(id, MessageState::Dropped, Some(why), now))
    }

    /// The order's messages, oldest first.
    pub async fn messages_of(&self, order_id: &OrderId) -> Result<Vec<MessageRow>> {
        run!(self, messages::messages_of(order_id))
    }
}
