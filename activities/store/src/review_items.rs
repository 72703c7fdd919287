//! The review queue: what needs a person, opened once, closed once.
//!
//! An order's own flags are mirrored here by its records; watchdog, refunds, returns and the reconciliation open items beside them.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::life::Why;
use oms_domain::review::Resolution;

use crate::Result;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// Who saw that a person is needed.
    ItemSource {
        /// The order's own run, or the story after it.
        Order = "order",
        /// The watchdog: an order is overdue.
        Watchdog = "watchdog",
        /// A refund.
        Refund = "refund",
        /// A return.
        Return = "return",
        /// The comparison of our books with others'.
        Reconciliation = "reconciliation",
        /// A message to a customer.
        Message = "message",
        /// A carrier's report in a word of its own.
        Carrier = "carrier",
        /// An endpoint that events are sent to.
        Webhook = "webhook",
    }
}
words! {
    /// Where an item stands.
    ItemState {
        /// It waits for a person.
        Open = "open",
        /// A person closed it.
        Resolved = "resolved",
        /// It closed itself: what it was about is over.
        Settled = "settled",
    }
}

impl ItemSource {
    /// The source of an item that a story beside the order's run opens: such kinds start with their source's word.
    pub fn of_kind(kind: &str) -> Self {
        match kind.split_once('_').map(|(word, _)| word) {
            Some("refund") => Self::Refund,
            Some("return") => Self::Return,
            Some("message") => Self::Message,
            _ => Self::Order,
        }
    }
}

/// An item to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    /// Its id, derived from what it is about: the same however often it is opened.
    pub id: String,
    /// A stable word: `capture_refused`, `stuck`, `refund_refused`, …
    pub kind: String,
    /// The order it is about, if it is about one.
    pub order_id: Option<OrderId>,
    /// The shipment it is about, if it is about one.
    pub shipment_id: Option<ShipmentId>,
    /// What it is about: the id of an order, shipment, refund, return, payment, message or webhook.
    pub subject: String,
    /// A sentence for the operator.
    pub detail: String,
    /// Who saw it.
    pub source: ItemSource,
}

/// What a person decided about an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemResolution {
    /// How.
    pub action: Resolution,
    /// Where it was settled outside.
    pub reference: Option<String>,
    /// Why.
    pub reason: Why,
    /// Who decided.
    pub actor: String,
}

/// A decision that a record carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedItem {
    /// Which item.
    pub item: String,
    /// What was decided.
    pub resolution: ItemResolution,
}

/// An item of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewItem {
    /// Its id.
    pub id: String,
    /// A stable word.
    pub kind: String,
    /// The order it is about, if it is about one.
    pub order_id: Option<OrderId>,
    /// The shipment it is about, if it is about one.
    pub shipment_id: Option<ShipmentId>,
    /// What it is about.
    pub subject: String,
    /// A sentence for the operator.
    pub detail: String,
    /// Who saw it.
    pub source: ItemSource,
    /// Where it stands.
    pub state: ItemState,
    /// Since when.
    pub opened_at: Instant,
    /// When it closed.
    pub closed_at: Option<Instant>,
    /// What a person decided; `None` on an item that is open or settled itself.
    pub resolution: Option<ItemResolution>,
}

impl ReviewItem {
    /// The cursor behind this item.
    pub fn cursor(&self) -> ItemCursor {
        ItemCursor { opened_at: self.opened_at, id: self.id.clone() }
    }
}

/// The answer to [`Store::resolve_item`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveOutcome {
    /// Closed by this call.
    Done(ReviewItem),
    /// Closed before, by somebody else or by itself; nothing was changed.
    AlreadyClosed(ReviewItem),
    /// There is no such item.
    Unknown,
}

/// Which items to list; everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemFilter {
    /// Of this kind.
    pub kind: Option<String>,
    /// In this state.
    pub state: Option<ItemState>,
    /// About this order.
    pub order_id: Option<OrderId>,
    /// Opened before.
    pub opened_before: Option<Instant>,
    /// Seen by.
    pub source: Option<ItemSource>,
}

/// The last item of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemCursor {
    /// When it was opened.
    pub opened_at: Instant,
    /// Its id.
    pub id: String,
}

impl Store {
    /// Opens an item; `false`: it exists, open or closed. The order it is about needs attention from now on.
    pub async fn open_item(&self, item: &NewItem, now: Instant) -> Result<bool> {
        run!(self, review_items::open(item, now))
    }

    /// Closes an item because what it was about is over; `false`: it is unknown or closed. Leaves the order's own flags alone.
    pub async fn settle_item(&self, id: &str, now: Instant) -> Result<bool> {
        run!(self, review_items::settle(id, now))
    }

    /// Closes an item with a person's decision: one caller wins. The decision goes on the order's timeline; an order's own flag
    /// comes down with its item, which is only right once the order's run has closed (before that the run lowers it).
    pub async fn resolve_item(&self, id: &str, resolution: &ItemResolution, now: Instant) -> Result<ResolveOutcome> {
        run!(self, review_items::resolve(id, resolution, now))
    }

    /// One item.
    pub async fn review_item(&self, id: &str) -> Result<Option<ReviewItem>> {
        run!(self, review_items::item(id))
    }

    /// A page of items, oldest first, after the cursor. One query.
    pub async fn review_items(&self, filter: &ItemFilter, after: Option<&ItemCursor>, limit: u32) -> Result<Vec<ReviewItem>> {
        run!(self, review_items::items(filter, after, limit))
    }

    /// How many items are open, by kind.
    pub async fn count_open_items(&self) -> Result<Vec<(String, u64)>> {
        run!(self, review_items::count_open())
    }
}
