//! Messages to customers: rows that a record makes, claimed in batches, sent or dropped once.

use oms_domain::Instant;
use oms_domain::ids::{MessageId, OrderId, ShipmentId};
use oms_domain::life::Why;
use oms_domain::message::{Channel, Subject, Topic};
use oms_domain::money::Money;

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
        /// It cannot be sent; a review item says why.
        Failed = "failed",
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
    /// The told fact's key on the timeline; unknown for messages of the first version.
    pub fact_key: Option<String>,
    /// The told fact's reason.
    pub detail: Option<String>,
    /// The money that the told fact moved.
    pub amount: Option<Money>,
    /// When a person wanted it sent again, if one did.
    pub asked_at: Option<Instant>,
    /// Where it stands.
    pub state: MessageState,
    /// The order now.
    pub order: StoredOrder,
}

impl StoredMessage {
    /// What decides whether the message still makes sense.
    pub fn subject(&self) -> Subject<'_> {
        let round = self.fact_key.as_deref().and_then(|key| key.strip_prefix("question/")).and_then(|n| n.parse().ok());
        Subject { topic: self.topic, shipment: self.shipment.as_ref(), round, since: self.asked_at.unwrap_or(self.fact_at) }
    }
}

/// What becomes of the wish to send a message once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resent {
    /// A message of its own goes out.
    Done(MessageRow),
    /// The first one is still on its way.
    OnItsWay,
    /// It no longer makes sense; why.
    Stale(&'static str),
    /// The order has no such message.
    Unknown,
}

/// A person's wish to send a message once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resend {
    /// Whose.
    pub order_id: OrderId,
    /// Which message.
    pub message: MessageId,
    /// Names the wish: the same one again is answered with its first message.
    pub request: String,
    /// Why.
    pub reason: Why,
    /// Who wants it.
    pub actor: String,
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
    /// Why it was dropped, or cannot be sent.
    pub why: Option<String>,
    /// The message that it repeats at a person's wish.
    pub resent_of: Option<MessageId>,
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

    /// Batches claimed (or last known to be alive) before the given instant that still have messages to send, oldest first.
    pub async fn claimed_batches(&self, claimed_before: Instant, limit: u32) -> Result<Vec<Batch>> {
        run!(self, messages::batches(claimed_before, limit))
    }

    /// Notes that somebody is about to send a batch's messages: other batches are looked at first.
    pub async fn batch_is_alive(&self, batch_id: &str, now: Instant) -> Result<()> {
        run!(self, messages::alive(batch_id, now))
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

    /// Notes that the message cannot be sent, and opens its review item (`message_failed`). A repeat, or one for a settled message,
    /// changes nothing.
    pub async fn mark_failed(&self, id: &MessageId, why: &str, now: Instant) -> Result<()> {
        run!(self, messages::fail(id, why, now))
    }

    /// Lets a failed message go out after all, because a person resolved its review item; `false`: it has not failed.
    pub async fn retry_message(&self, id: &MessageId, now: Instant) -> Result<bool> {
        run!(self, messages::retry(id, now))
    }

    /// Sends a settled message once more, as a message of its own with an id of its own; the wish is put on the order's timeline.
    pub async fn resend_message(&self, wish: &Resend, now: Instant) -> Result<Resent> {
        run!(self, messages::resend(wish, now))
    }

    /// The order's messages, oldest first.
    pub async fn messages_of(&self, order_id: &OrderId) -> Result<Vec<MessageRow>> {
        run!(self, messages::messages_of(order_id))
    }
}
