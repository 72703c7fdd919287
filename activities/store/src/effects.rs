//! Every effect that an order had outside of its own row, and what became of its undo.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::money::Money;

use crate::Result;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// What kind of effect.
    EffectKind {
        /// Stock was promised.
        Reserve = "reserve",
        /// Goods were booked out.
        Commit = "commit",
        /// Funds were held.
        Authorize = "authorize",
        /// Money was taken.
        Capture = "capture",
        /// Held funds were let go.
        Void = "void",
        /// Money was given back.
        Refund = "refund",
        /// A courier was booked.
        Book = "book",
        /// A courier was called off.
        CancelBooking = "cancel_booking",
        /// The customer was told.
        Message = "message",
    }
}
words! {
    /// What became of an effect's undo.
    UndoState {
        /// Nothing is to be undone.
        None = "none",
        /// The order is being taken back, or was, and the effect still stands.
        Pending = "pending",
        /// Undone.
        Done = "done",
        /// The undo was refused for good; a person is called.
        Failed = "failed",
        /// It will not be undone any more: the parcel has left.
        Waived = "waived",
    }
}

/// Who gave up on taking an effect back, or on bringing it about, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waived {
    /// The actor.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Instant,
}

/// One effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Its idempotency key, as outside parties know it; names the effect within the order.
    pub key: String,
    /// What kind.
    pub kind: EffectKind,
    /// When it came about, or was last heard of.
    pub at: Instant,
    /// Where it stands, in a word: `held`, `confirmed`, `released`, `authorized`, `declined`, `captured`, `refused`, `booked`, `sent`, …
    pub state: String,
    /// The money it moved.
    pub amount: Option<Money>,
    /// What it is called outside: a payment's id, a parcel's number, a topic and channel.
    pub reference: Option<String>,
    /// What became of its undo.
    pub undo: UndoState,
    /// The idempotency key of the undo, once there is one or one is due.
    pub undo_key: Option<String>,
    /// Who waived it: reported the parcel gone that was to stay, or settled outside what the gateway refused to take.
    pub waived: Option<Waived>,
}

impl Store {
    /// Everything that the order did to the world, oldest first. Empty for an unknown order.
    pub async fn effects(&self, order_id: &OrderId) -> Result<Vec<Effect>> {
        run!(self, effects::effects(order_id))
    }
}
