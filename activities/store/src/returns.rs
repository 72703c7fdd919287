//! Returns: accepted under the lock of the order's row, so that nothing comes back twice.

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, Sku};
use oms_domain::refund::RefundId;
use oms_domain::returning::{Inspected, Return, ReturnId, ReturnState};
use oms_domain::stock::Quantity;
use serde_json::Value;

use crate::Result;
use crate::store::{Store, run};

/// A return that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReturn {
    /// Its id; a repeat has the same.
    pub id: ReturnId,
    /// Of which order.
    pub order_id: OrderId,
    /// What is to come back.
    pub lines: Vec<Quantity>,
    /// The shipping fee goes back with the goods.
    pub refund_shipping: bool,
    /// Nobody needs to say yes.
    pub auto_approve: bool,
    /// The goods are at the shop already: their parcel came back to the sender.
    pub arrived: bool,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub actor: String,
    /// What its run is patient with, as the run's input has it.
    pub terms: Value,
}

/// A return.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReturn {
    /// Its id.
    pub id: ReturnId,
    /// Of which order.
    pub order_id: OrderId,
    /// Its whole state.
    pub body: Return,
    /// The number of its run's last record; 0 before the first.
    pub rev: u64,
    /// The shipping fee goes back with the goods.
    pub refund_shipping: bool,
    /// Nobody needs to say yes.
    pub auto_approve: bool,
    /// The place that the parcel comes back to.
    pub location: Location,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub actor: String,
    /// What its run is patient with.
    pub terms: Value,
    /// When it was asked for.
    pub created_at: Instant,
    /// When it last changed.
    pub updated_at: Instant,
    /// The refunds that its receipts have led to.
    pub refunds: Vec<ReturnRefund>,
}

/// A refund of a return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnRefund {
    /// Its id.
    pub id: RefundId,
    /// When nothing more was owed of it.
    pub settled_at: Option<Instant>,
}

impl StoredReturn {
    /// The cursor behind this return.
    pub fn cursor(&self) -> ReturnCursor {
        ReturnCursor { created_at: self.created_at, id: self.id.clone() }
    }

    /// Since when nothing is owed of it any more: it is over, and every refund of it is settled. None if it led to none.
    pub fn refunded_at(&self) -> Option<Instant> {
        let settled: Option<Vec<Instant>> = self.refunds.iter().map(|refund| refund.settled_at).collect();
        settled.filter(|_| self.body.state == ReturnState::Completed)?.into_iter().max()
    }
}

/// The last return of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnCursor {
    /// When it was asked for.
    pub created_at: Instant,
    /// Its id.
    pub id: ReturnId,
}

/// The answer to [`Store::request_return`].
#[derive(Debug, Clone, PartialEq)]
pub enum ReturnRequested {
    /// Accepted.
    Accepted(StoredReturn),
    /// Accepted before under this id.
    Known(StoredReturn),
    /// More units than were delivered and are in no other return.
    TooMany {
        /// Of what.
        sku: Sku,
        /// How many are left.
        returnable: u32,
    },
    /// There is no such order.
    UnknownOrder,
}

/// Units of a return that go back on the shelf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestockUnits {
    /// Which return.
    pub return_id: ReturnId,
    /// Of which order.
    pub order_id: OrderId,
    /// The receipt's number within the return, from 1.
    pub receipt: u32,
    /// What came; only units to sell again are put back.
    pub units: Vec<Inspected>,
    /// Who inspected.
    pub actor: String,
}

impl Store {
    /// Accepts a return of units that were delivered and are in no other one. Idempotent by id.
    pub async fn request_return(&self, new: &NewReturn, now: Instant) -> Result<ReturnRequested> {
        run!(self, returns::request(new, now))
    }

    /// Writes a return's state if `rev` is news; answers the row's newest record.
    /// Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown return.
    pub async fn record_return(&self, id: &ReturnId, rev: u64, body: &Return, now: Instant) -> Result<u64> {
        run!(self, returns::record(id, rev, body, now))
    }

    /// Puts units back on the shelf, each receipt once; orders that wait get them. `false`: it was done before.
    /// Errors: [`StoreError::Conflict`](crate::StoreError) for an article that was never in the catalogue.
    pub async fn restock(&self, units: &RestockUnits, now: Instant) -> Result<bool> {
        run!(self, restocks::restock(units, now))
    }

    /// One return.
    pub async fn return_(&self, id: &ReturnId) -> Result<Option<StoredReturn>> {
        run!(self, returns::one(id))
    }

    /// The order's returns, oldest first.
    pub async fn returns_of(&self, order_id: &OrderId) -> Result<Vec<StoredReturn>> {
        run!(self, returns::of_order(order_id))
    }

    /// A page of returns, newest first, after the cursor. One query.
    pub async fn returns(
        &self,
        state: Option<ReturnState>,
        after: Option<&ReturnCursor>,
        limit: u32,
    ) -> Result<Vec<StoredReturn>> {
        run!(self, returns::page(state, after, limit))
    }

    /// Returns whose run nobody has made sure of, oldest first.
    pub async fn unstarted_returns(&self, limit: u32) -> Result<Vec<StoredReturn>> {
        run!(self, returns::unstarted(limit))
    }

    /// Notes that a return has its run.
    pub async fn mark_return_started(&self, id: &ReturnId, now: Instant) -> Result<()> {
        run!(self, returns::mark_started(id, now))
    }
    /// Returns at whose run nobody has looked since `before`, those waiting longest first; looked at from now on, so that of several
    /// processes one does it.
    pub async fn returns_to_look_after(&self, before: Instant, limit: u32, now: Instant) -> Result<Vec<StoredReturn>> {
        run!(self, returns::to_look_after(before, limit, now))
    }

    /// Notes that the run of a return has ended well: nobody looks at it any more.
    pub async fn return_is_over(&self, id: &ReturnId) -> Result<()> {
        run!(self, returns::looked_after(id))
    }
}
