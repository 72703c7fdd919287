//! Orders: the one writer of an order's row and timeline, and how orders are read.

use std::time::Duration;

use oms_domain::Instant;
use oms_domain::customer::{Address, Customer, Line};
use oms_domain::event::Fact;
use oms_domain::ids::{CustomerId, OrderId, ShipmentId, Sku};
use oms_domain::life::Life;
use oms_domain::money::{Currency, Money};
use oms_domain::order::{Reason, Status};
use oms_domain::payment::PaymentMethod;
use oms_domain::pricing::{Discount, PriceRules, PricedLine, Totals};
use oms_domain::review::Attention;
use oms_domain::risk::Evidence;
use oms_domain::shipment::{Scan, ScanResult, ShipmentStatus};
use oms_domain::shortage::OnShortage;

use crate::Result;
use crate::review_items::{NewItem, ResolvedItem};
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
    /// Whom the bill is for, if it is somebody else. Personal data.
    pub bill_to: Option<Address>,
    /// Its currency.
    pub currency: Currency,
    /// How it is paid.
    pub payment_method: PaymentMethod,
    /// What, priced.
    pub lines: Vec<PricedLine>,
    /// Its sums.
    pub totals: Totals,
    /// Money off, as it was granted at the intake.
    pub discounts: Vec<Discount>,
    /// The price rules of its intake; none on orders of the first version.
    pub price_rules: Option<PriceRules>,
    /// What to do when stock is short.
    pub on_shortage: OnShortage,
    /// Where it stands; shipments refined with what the warehouse reported.
    pub life: Life,
    /// Whether a person must look: for a flag of its own, or for an open review item about it.
    pub items_open: bool,
    /// Where the customer authenticates the payment, while that is needed and the gateway has a page for it.
    pub action_url: Option<String>,
    /// The shape of the workflow that it was started for.
    pub shape: u32,
    /// The build of the worker that wrote the last record.
    pub build: Option<String>,
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
    /// Lines and sums changed.
    pub amend: Option<Amend>,
    /// The parcel goes to the address of this proposal.
    pub address: Option<String>,
    /// Review items that a person resolved.
    pub resolved: Vec<ResolvedItem>,
    /// The build of the worker that writes.
    pub build: Option<String>,
}

/// An order's lines and sums from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amend {
    /// The proposal whose lines become the order's; without one the order's own lines get the quantities of `lines`.
    pub edit: Option<String>,
    /// The lines, in the order of the row's; a quantity of zero takes the line off.
    pub lines: Vec<AmendedLine>,
    /// The sums.
    pub totals: Totals,
}

/// One line of an [`Amend`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmendedLine {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
    /// The price of all of them.
    pub total: Money,
}

/// The order's row after a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The number of the last record; to the repeat of an order's last one its own, whatever was appended since.
    pub rev: u64,
    /// The number of the last fact.
    pub seq: u64,
    /// Where the order stands.
    pub status: Status,
    /// The reservation that was to be confirmed has run out: nothing at all was written.
    pub lapsed: bool,
    /// The row was ahead: facts and reports were written, but not the state, lines and address of this record.
    pub behind: bool,
    /// The record was to confirm an order that was confirmed before, and its state was not written: its run was reset, and
    /// [`Store::standing`] tells what it has forgotten.
    pub confirmed_before: bool,
}

/// How far an order has come, for a run that was reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub life: Life,
    /// Its lines.
    pub lines: Vec<PricedLine>,
    /// Its sums.
    pub totals: Totals,
    /// The number of the last change of its promise.
    pub last_change: u32,
    /// Keys of its facts.
    pub told: Vec<String>,
}

/// What a story beside or after the order's run changes. While the run is open it is the row's one writer: then only review items
/// are taken from here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Append {
    /// A flag to raise, once per code and shipment.
    pub attention: Option<Attention>,
    /// A shipment that has come further.
    pub shipment_status: Option<(ShipmentId, ShipmentStatus)>,
    /// Review items to open.
    pub opened: Vec<NewItem>,
    /// Review items that settled themselves.
    pub settled: Vec<String>,
    /// Review items that a person resolved.
    pub resolved: Vec<ResolvedItem>,
    /// The order counts as unchanged: what a comparison repairs must not keep it from comparing the rest.
    pub quiet: bool,
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
    pub sku: Option<Sku>,
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
    /// Its total is at least this, in minor units.
    pub total_min: Option<i64>,
    /// Its total is at most this, in minor units.
    pub total_max: Option<i64>,
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

    /// How far an order has come. Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown order.
    pub async fn standing(&self, order_id: &OrderId) -> Result<Standing> {
        run!(self, standing::of(order_id))
    }

    /// Writes what a story beside or after the run has to say, under the next numbers. Idempotent by fact key. Only a closed
    /// order's state is changed, and gets a new version.
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

    /// What the shop's risk rules look at. Every order is judged by those that its customer placed within `window` up to and
    /// including it, so that the answer is the same whenever it is asked.
    /// Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown order.
    pub async fn evidence(&self, order_id: &OrderId, window: Duration) -> Result<Evidence> {
        run!(self, evidence::evidence(order_id, window))
    }

    /// What happened to the order: its facts in their order, and between them the reports that decided nothing.
    pub async fn timeline(&self, id: &OrderId) -> Result<Vec<TimelineEntry>> {
        run!(self, timeline::timeline(id))
    }
}
