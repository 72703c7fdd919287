//! Orders that wait for stock: who waits for what, and whose run must hear that it arrived. They are served by whatever transaction
//! makes units available, first placed first served.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::stock::Quantity;

use crate::Result;
use crate::store::{Store, run};

/// An order whose run must hear that stock arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    /// Which.
    pub order_id: OrderId,
    /// Tells this wake from a later one of the same order.
    pub version: i64,
    /// When the stock arrived.
    pub created_at: Instant,
}

impl Store {
    /// What an order waits for, by SKU.
    pub async fn waiting(&self, order: &OrderId) -> Result<Vec<Quantity>> {
        run!(self, backorders::waiting(order))
    }

    /// Takes back promises that ran out and gives them to whoever waits; answers how many there were. Every verb does that for the
    /// articles that it touches; this is for those that nobody touches.
    pub async fn take_back_lapsed(&self, limit: u32, now: Instant) -> Result<u32> {
        run!(self, backorders::take_back(limit, now))
    }

    /// The oldest wakes that are not delivered.
    pub async fn wakes(&self, limit: u32) -> Result<Vec<Wake>> {
        run!(self, backorders::wakes(limit))
    }

    /// Notes that a wake is delivered. One that was written meanwhile stays.
    pub async fn woken(&self, wake: &Wake) -> Result<()> {
        run!(self, backorders::woken(wake))
    }
}
