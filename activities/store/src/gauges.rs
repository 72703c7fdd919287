//! Counts over all orders, for whoever watches them. Every one is answered from an index.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::order::Status;

use crate::Result;
use crate::store::{Store, run};

/// How long after its intake an order is overdue whose run has not said when it expects to be done.
pub const UNDATED_HOURS: i64 = 48;

/// An order that should have moved by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverdueOrder {
    /// Its id.
    pub id: OrderId,
    /// Where it stands.
    pub status: Status,
    /// When a person was to be called unless it moved; `None`: its run never said, see [`UNDATED_HOURS`].
    pub due_at: Option<Instant>,
    /// When it last changed.
    pub updated_at: Instant,
    /// The number of its last record.
    pub rev: u64,
}

/// Open orders of one shape, last recorded by one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrders {
    /// The shape of their workflow.
    pub shape: u32,
    /// The build that wrote their last record; `None`: nothing was recorded yet, or by a version that did not say.
    pub build: Option<String>,
    /// How many.
    pub count: u64,
}

impl Store {
    /// How many orders stand where. Statuses without orders are left out.
    pub async fn count_orders_by_status(&self) -> Result<Vec<(Status, u64)>> {
        run!(self, gauges::by_status())
    }

    /// How many events have not reached every sink yet.
    pub async fn count_unpublished_events(&self) -> Result<u64> {
        run!(self, gauges::unpublished())
    }

    /// How many orders are open, by the shape they were started for and the build that wrote their last record.
    pub async fn count_open_orders_by_shape_and_build(&self) -> Result<Vec<OpenOrders>> {
        run!(self, gauges::open_by_shape_and_build())
    }

    /// Orders whose run has recorded something and which are overdue, longest overdue first, without those of which an open item of
    /// the watchdog says so already.
    pub async fn overdue_orders(&self, now: Instant, limit: u32) -> Result<Vec<OverdueOrder>> {
        run!(self, gauges::overdue(now, limit))
    }
}
