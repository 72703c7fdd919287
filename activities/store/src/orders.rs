//! Orders: the one writer of an order's row and timeline, and how orders are read.

use oms_domain::Instant;
use oms_domain::customer::{Address, Customer, Line};
use oms_domain::event::Fact;
use oms_domain::ids::{CustomerId, OrderId, ShipmentId};
use oms_domain::life::{Attention, Life};
use oms_domain::money::{Currency, Money};
use oms_domain::order::{Reason, Status};
use oms_domain::payment::PaymentMethod;
use oms_domain::pricing::{PricedLine, Totals};
use oms_domain::shipment::{Scan, ScanResult, ShipmentStatus};

use crate::Result;
use crate::store::{Store, run};

/// An order as it stands in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOrder {
    /// Its id.
    pub id: OrderId,
    /// Who placed it.
    pub client: String,
    /// Hex SHA-256 of the request it came from.
    pub fingerprint: String,
    /// The shop's own reference.
    pub reference: Option<Line>,
    /// Where it came from.
    pub channel: Option<Line>,
    /// Who ordered. Personal data.
    pub customer: Customer,
    /// Where to. Personal data.
    pub ship_to: Address,
    /// Its currency.
    pub currency: Currency,
    /// How it is paid.
    pub payment_method: PaymentMethod,
    /// What, priced.
    pub lines: Vec<PricedLine>,
    /// Its sums.
    pub totals: Totals,
    /// Where it stands; shipments refined with what the warehouse reported.
    pub life: Life,
    /// The number of the last record: version and ETag.
    pub rev: u64,
    /// The number of the last fact.
    pub seq: u64,
    /// Placed against a sandbox.
    pub test: bool,
    /// When it was first taken in.
    pub placed_at: Instant,
    /// When it last changed.
    pub updated_at: Instant,
    /// When it was last asked for before its run recorded anything.
    pub intake_at: Instant,
}

/// What a run writes of its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub order_id: OrderId,
    /// The run's number of this record, from 1.
    pub rev: u64,
    /// Where the order stands.
    pub life: Life,
    /// What happened, in order.
    pub facts: Vec<Fact>,
    /// What warehouse and carrier reported, and what became of it.
    pub scans: Vec<(Scan, ScanResult)>,
    /// Confirms the order's reservation in the same transaction.
    pub confirm: bool,
}

/// The order's row after a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The number of the last record.
    pub rev: u64,
    /// The number of the last fact.
    pub seq: u64,
    /// Where the order stands.
    pub status: Status,
    /// The reservation that was to be confirmed has run out: nothing at all was written.
    pub lapsed: bool,
}

/// What a story after the order's end changes of its row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Append {
    /// A flag to raise, once per code.
    pub attention: Option<Attention>,
    /// A shipment that has come further.
    pub shipment_status: Option<(ShipmentId, ShipmentStatus)>,
}

/// Which orders to list; everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Where it stands.
    pub status: Option<Status>,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// Whose.
    pub customer: Option<CustomerId>,
    /// It has a line of this article.
    pub sku: Option<oms_domain::ids::Sku>,
    /// The shop's own reference, exactly.
    pub reference: Option<String>,
    /// The customer's address, without regard to case.
    pub email: Option<String>,
    /// One of its packages has this number.
    pub tracking_number: Option<String>,
    /// It has an open hold of this kind.
    pub hold: Option<String>,
    /// It needs a person, or needs none.
    pub needs_attention: Option<bool>,
    /// Placed at or after.
    pub placed_after: Option<Instant>,
    /// Placed before.
    pub placed_before: Option<Instant>,
}

/// The last order of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// When it was placed.
    pub placed_at: Instant,
    /// Its id.
    pub id: OrderId,
}

impl StoredOrder {
    /// The cursor behind this order.
    pub fn cursor(&self) -> Cursor {
        Cursor { placed_at: self.placed_at, id: self.id.clone() }
    }
}

/// One line of an order's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// The fact's number; `None` for a report that decided nothing.
    pub seq: Option<u64>,
    /// The fact's wire name, or `scan.` and the report's.
    pub kind: String,
    /// When it happened.
    pub at: Instant,
    /// When it was written.
    pub recorded_at: Instant,
    /// Who caused it.
    pub actor: String,
    /// Why; for a report what became of it.
    pub reason: Option<String>,
    /// The shipment it is about.
    pub shipment: Option<ShipmentId>,
    /// The money it moved.
    pub amount: Option<Money>,
    /// The published event's id, or the reporter's id of the report.
    pub event_id: Option<String>,
}

impl Store {
    /// Writes what a run has to say: facts (each once, by key), reports, and, if it is news, where the order stands. Facts make
    /// outbox and message rows. Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown order.
    pub async fn record(&self, record: &Record, now: Instant) -> Result<Recorded> {
        run!(self, record::record(record, now))
    }

    /// Writes what a story after the run's end has to say, under the next numbers. Idempotent by fact key.
    /// Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown order.
    pub async fn append(
        &self,
        order_id: &OrderId,
        facts: &[Fact],
        change: Append,
        scan: Option<(Scan, ScanResult)>,
        now: Instant,
    ) -> Result<Recorded> {
        run!(self, record::append(order_id, facts, &change, scan.as_ref(), now))
    }

    /// One order. One query.
    pub async fn order(&self, id: &OrderId) -> Result<Option<StoredOrder>> {
        run!(self, orders::order(id))
    }

    /// A page of orders, newest first, after the cursor. One query.
    pub async fn orders(&self, filter: &OrderFilter, after: Option<&Cursor>, limit: u32) -> Result<Vec<StoredOrder>> {
        run!(self, orders::orders(filter, after, limit))
    }

    /// What happened to the order: its facts in their order, and between them the reports that decided nothing.
    pub async fn timeline(&self, id: &OrderId) -> Result<Vec<TimelineEntry>> {
        run!(self, timeline::timeline(id))
    }
}
