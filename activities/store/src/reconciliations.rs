//! The comparison of our books with those of others: what we hold, by page; what was found, by day.

use std::collections::BTreeMap;

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::order::Status;
use oms_domain::reconciliation::{Action, Day, Finding, OrderBooks, PromiseBooks, Sums};

use crate::Result;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// Where a comparison stands.
    ReportState {
        /// It is under way.
        Running = "running",
        /// All books were compared.
        Finished = "finished",
        /// It ended in a defect.
        Failed = "failed",
    }
}

/// How many entries were compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportCounts {
    /// Orders that have not ended.
    pub orders: u64,
    /// Payments at the gateway.
    pub payments: u64,
    /// Bookings at the carrier.
    pub bookings: u64,
    /// Orders with stock promised.
    pub reservations: u64,
}

/// A day's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The day.
    pub day: Day,
    /// Where it stands.
    pub state: ReportState,
    /// When the day's last comparison began.
    pub started_at: Instant,
    /// When it ended.
    pub finished_at: Option<Instant>,
    /// What it compared; zeros until it has ended.
    pub compared: ReportCounts,
    /// How much the day's comparisons found.
    pub findings: u64,
}

/// A finding and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFinding {
    /// What was found.
    pub finding: Finding,
    /// What was done.
    pub action: Action,
    /// Its item in the review queue.
    pub review_item: Option<String>,
}

/// Where a page of open orders begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCursor {
    /// Orders of this status are walked.
    pub status: Status,
    /// Behind this order.
    pub placed_at: Instant,
    /// Behind this order.
    pub id: OrderId,
}

/// What our ledger says of an order's authorizations and bookings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedOf {
    /// Keys of authorizations that were not refused, newest first.
    pub authorizations: Vec<String>,
    /// Keys of bookings.
    pub bookings: Vec<String>,
}

impl Store {
    /// Opens a day's report, or opens it again: what was found before stays.
    pub async fn begin_report(&self, day: &Day, now: Instant) -> Result<()> {
        run!(self, reconciliations::begin(day, now))
    }

    /// Closes a day's report.
    pub async fn finish_report(&self, day: &Day, state: ReportState, compared: ReportCounts, now: Instant) -> Result<()> {
        run!(self, reconciliations::finish(day, state, compared, now))
    }

    /// Writes findings, each once per day; one that was found before counts as seen again, and something is to be done about it again
    /// unless its review item is open.
    pub async fn write_findings(&self, day: &Day, findings: &[Finding], now: Instant) -> Result<()> {
        run!(self, reconciliations::write(day, findings, now))
    }

    /// The day's findings about which nothing was done yet.
    pub async fn unsettled_findings(&self, day: &Day, limit: u32) -> Result<Vec<Finding>> {
        run!(self, reconciliations::unsettled(day, limit))
    }

    /// Notes what was done about a finding, and its review item, if a person has it; the first word stays.
    pub async fn settle_finding(
        &self,
        day: &Day,
        finding: &Finding,
        (action, item): (Action, Option<&str>),
        now: Instant,
    ) -> Result<()> {
        run!(self, reconciliations::settle(day, finding, (action, item), now))
    }

    /// Open review items of things that began at or after `since` and were not found since `found_before`: they are in order. Not those
    /// of orders that changed after `judged_before`, of which nothing was said.
    pub async fn items_in_order(
        &self,
        since: Instant,
        found_before: Instant,
        judged_before: Instant,
        limit: u32,
    ) -> Result<Vec<String>> {
        run!(self, reconciliations::in_order(since, found_before, judged_before, limit))
    }

    /// A day's report.
    pub async fn report(&self, day: &Day) -> Result<Option<Report>> {
        run!(self, reconciliations::report(day))
    }

    /// A page of reports, newest day first, behind the given one.
    pub async fn reports(&self, after: Option<&Day>, limit: u32) -> Result<Vec<Report>> {
        run!(self, reconciliations::reports(after, limit))
    }

    /// A day's findings, by kind and subject.
    pub async fn findings(&self, day: &Day, limit: u32) -> Result<Vec<StoredFinding>> {
        run!(self, reconciliations::findings(day, limit))
    }

    /// Orders with stock promised that has not left, by id behind the given one.
    pub async fn promised(&self, after: Option<&OrderId>, limit: u32) -> Result<Vec<PromiseBooks>> {
        run!(self, comparison::promised(after, limit))
    }

    /// Orders that have not ended, by status and age behind the cursor; less than `limit` only on the last page. None: a row that
    /// cannot be read.
    pub async fn open_orders_after(
        &self,
        after: Option<&OpenCursor>,
        limit: u32,
    ) -> Result<Vec<(OpenCursor, Option<OrderBooks>)>> {
        run!(self, comparison::open_orders(after, limit))
    }

    /// What our books hold of these orders; those without a row are missing. None: a row that cannot be read.
    pub async fn order_books(&self, orders: &[OrderId]) -> Result<BTreeMap<OrderId, Option<OrderBooks>>> {
        run!(self, comparison::order_books(orders))
    }

    /// What our ledger says was taken and returned, by the gateway's payment id, of these orders.
    pub async fn payment_sums(&self, orders: &[OrderId]) -> Result<BTreeMap<String, Sums>> {
        run!(self, comparison::payment_sums(orders))
    }

    /// What was asked of gateway and carrier for an order, by our ledger.
    pub async fn asked_of(&self, order: &OrderId) -> Result<AskedOf> {
        run!(self, comparison::asked_of(order))
    }
    /// Whether a parcel of the order has left or money was taken for it, by whatever wrote that down: its record may lag behind.
    pub async fn is_past_undo(&self, order: &OrderId) -> Result<bool> {
        run!(self, comparison::past_undo(order))
    }
}
