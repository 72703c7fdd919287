//! Plain figures from which `oms audit` proves the books.

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, Sku};
use oms_domain::life::Life;
use oms_domain::money::Money;
use oms_domain::order::{Reason, Status};
use oms_domain::pricing::Totals;

use crate::Result;
use crate::store::{Store, run};

/// One shelf. In balanced books `on_hand = movements_sum`, `reserved = open_reserved_sum` and `reserved <= on_hand`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockAudit {
    /// What.
    pub sku: Sku,
    /// Where.
    pub location: Location,
    /// Units on the shelf.
    pub on_hand: i64,
    /// Units promised, with those whose promise ran out and was not taken back yet.
    pub reserved: i64,
    /// Sum of all movements.
    pub movements_sum: i64,
    /// Sum of all reservation lines that are neither gone nor given back.
    pub open_reserved_sum: i64,
    /// Units of the article that orders wait for, wherever they come from. Nothing of it is free while there are any.
    pub waiting_sum: i64,
    /// The same without promises that ran out.
    pub live_reserved_sum: i64,
}

/// One order and everything that SQL knows around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderAudit {
    /// The order.
    pub id: OrderId,
    /// Where it stands.
    pub status: Status,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// The number of the last record; 0: no run has recorded anything.
    pub rev: u64,
    /// The number of the last fact.
    pub seq: u64,
    /// It needs a person.
    pub needs_attention: bool,
    /// Placed against a sandbox.
    pub test: bool,
    /// What it costs.
    pub totals: Totals,
    /// Its whole state: shipments with their amounts, and the money as the run sees it.
    pub life: Life,
    /// When it was placed.
    pub placed_at: Instant,
    /// When it last changed.
    pub updated_at: Instant,
    /// When it was last asked for before its run recorded anything.
    pub intake_at: Instant,
    /// Units ordered.
    pub ordered_units: u64,
    /// Units promised to it that neither left nor were given back, confirmed or not.
    pub held_units: u64,
    /// Units that it waits for in the queues of their articles.
    pub queued_units: u64,
    /// Units that left out of its reservation.
    pub committed_units: u64,
    /// Units that movements say left for it.
    pub departed_units: u64,
    /// Bookings that were not taken back.
    pub open_bookings: u64,
    /// Refunds that still owe money.
    pub open_refunds: u64,
    /// Funds held, by our ledger.
    pub ledger_authorized: Money,
    /// Funds taken, by our ledger.
    pub ledger_captured: Money,
    /// Voids, by our ledger.
    pub ledger_voids: u64,
    /// Facts on its timeline.
    pub timeline_count: u64,
    /// The highest number on its timeline; 0 without facts.
    pub timeline_max_seq: u64,
    /// Its rows in the outbox.
    pub outbox_count: u64,
    /// The oldest of them that is not published.
    pub outbox_unpublished_since: Option<Instant>,
    /// Its messages.
    pub messages_count: u64,
    /// The oldest fact of those that are neither sent nor dropped.
    pub messages_open_since: Option<Instant>,
}

impl Store {
    /// Every shelf, by SKU and place.
    pub async fn audit_stock(&self, now: Instant) -> Result<Vec<StockAudit>> {
        run!(self, audit::stock(now))
    }

    /// The ids of all alerts to operators that go by mail.
    pub async fn audit_alerts(&self) -> Result<Vec<String>> {
        run!(self, audit::alerts())
    }

    /// Orders among these whose facts were changed, or taken out of the middle, after they were written, and the first number that shows it.
    pub async fn broken_timelines(&self, orders: &[OrderId]) -> Result<Vec<(OrderId, u64)>> {
        run!(self, chain::broken(orders))
    }

    /// A page of orders by id, after the given one.
    pub async fn audit_orders(&self, after: Option<&OrderId>, limit: u32) -> Result<Vec<OrderAudit>> {
        run!(self, audit::orders(after, limit))
    }
}
