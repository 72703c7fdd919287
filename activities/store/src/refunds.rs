//! Refunds: accepted under the lock of the order's row, so that together they never exceed what was taken.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::money::Money;
use oms_domain::refund::{Ask, Breakdown, Excess, RefundId, RefundState};
use serde_json::Value;

use crate::Result;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// What became of a refund's share of one payment.
    PartState {
        /// Still owed.
        Open = "open",
        /// The gateway returned it.
        Returned = "returned",
        /// It was returned outside.
        Closed = "closed",
    }
}
words! {
    /// What the gateway said about returning money.
    RefundOutcome {
        /// It is returned.
        Returned = "returned",
        /// No.
        Refused = "refused",
    }
}

/// A refund that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRefund {
    /// Its id; a repeat has the same.
    pub id: RefundId,
    /// Of which order.
    pub order_id: OrderId,
    /// What is asked back.
    pub ask: Ask,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub actor: String,
    /// What its run is patient with, as the run's input has it.
    pub terms: Value,
}

/// A refund's share of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundPart {
    /// Its number, from 1.
    pub part: u32,
    /// The gateway's id of the payment.
    pub payment_id: String,
    /// How much.
    pub amount: Money,
    /// What became of it.
    pub state: PartState,
}

/// A refund.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRefund {
    /// Its id.
    pub id: RefundId,
    /// Of which order.
    pub order_id: OrderId,
    /// Where it stands.
    pub state: RefundState,
    /// How much goes back.
    pub amount: Money,
    /// How much the gateway has returned.
    pub returned: Money,
    /// What was asked.
    pub ask: Ask,
    /// What it is made of.
    pub breakdown: Breakdown,
    /// Through which payments, by number.
    pub parts: Vec<RefundPart>,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub actor: String,
    /// What its run is patient with.
    pub terms: Value,
    /// How often the gateway was asked anew, from 1.
    pub revision: u32,
    /// The gateway's code of the last refusal.
    pub code: Option<String>,
    /// Where it was settled outside.
    pub reference: Option<String>,
    /// When it was asked for.
    pub created_at: Instant,
    /// When it last changed.
    pub updated_at: Instant,
    /// Since when nothing is owed any more.
    pub settled_at: Option<Instant>,
}

/// The answer to [`Store::request_refund`].
#[derive(Debug, Clone, PartialEq)]
pub enum RefundRequested {
    /// Accepted.
    Accepted(StoredRefund),
    /// Accepted before under this id.
    Known(StoredRefund),
    /// More than is left, or nothing is.
    TooMuch(Excess),
    /// There is no such order.
    UnknownOrder,
}

/// What the gateway said about a part of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayBackRow {
    /// Which refund.
    pub refund_id: RefundId,
    /// Which part.
    pub part: u32,
    /// Which attempt, from 1.
    pub revision: u32,
    /// The operation's key.
    pub key: String,
    /// What it said.
    pub outcome: RefundOutcome,
    /// Its code for a refusal.
    pub code: Option<String>,
}

impl Store {
    /// Accepts a refund if what was taken covers it and all others. Idempotent by id.
    pub async fn request_refund(&self, new: &NewRefund, now: Instant) -> Result<RefundRequested> {
        run!(self, refunds::request(new, now))
    }

    /// Notes what the gateway said about a part; a returned part stays returned, and the order's row shows the money.
    /// Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown part.
    pub async fn record_pay_back(&self, row: &PayBackRow, now: Instant) -> Result<()> {
        run!(self, refunds::record(row, now))
    }

    /// Notes that what is still owed was returned outside. A settled refund stays as it is.
    /// Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown refund.
    pub async fn close_refund(&self, id: &RefundId, reference: &str, now: Instant) -> Result<()> {
        run!(self, refunds::close(id, reference, now))
    }

    /// One refund.
    pub async fn refund(&self, id: &RefundId) -> Result<Option<StoredRefund>> {
        run!(self, refunds::refund(id))
    }

    /// The order's refunds, oldest first.
    pub async fn refunds(&self, order_id: &OrderId) -> Result<Vec<StoredRefund>> {
        run!(self, refunds::of_order(order_id))
    }

    /// Refunds whose run nobody has made sure of, oldest first.
    pub async fn unstarted_refunds(&self, limit: u32) -> Result<Vec<StoredRefund>> {
        run!(self, refunds::unstarted(limit))
    }

    /// Notes that a refund has its run.
    pub async fn mark_refund_started(&self, id: &RefundId, now: Instant) -> Result<()> {
        run!(self, refunds::mark_started(id, now))
    }
    /// Refunds at whose run nobody has looked since `before`, those waiting longest first; looked at from now on, so that of several
    /// processes one does it.
    pub async fn refunds_to_look_after(&self, before: Instant, limit: u32, now: Instant) -> Result<Vec<StoredRefund>> {
        run!(self, refunds::to_look_after(before, limit, now))
    }

    /// Notes that the run of a refund has ended well: nobody looks at it any more.
    pub async fn refund_is_over(&self, id: &RefundId) -> Result<()> {
        run!(self, refunds::looked_after(id))
    }
}
