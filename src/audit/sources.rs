//! The four sources, read side by side: SQL, the gateway's own ledger, Temporal's open runs, messages written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use oms_contract::names::{order_of_workflow, order_workflow, refund_workflow};
use oms_contract::workflow::Order;
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::party::Party;
use oms_domain::reconciliation::CarrierBooking;
use oms_domain::refund::RefundId;
use oms_gateways::GatewayError;
use oms_gateways::carrier::Carrier;
use oms_gateways::payment::{OperationKind, OperationResult, PaymentGateway, SandboxOperation, SandboxPayment};
use oms_gateways::sandbox::Sandbox;
use oms_store::{
    ItemFilter, ItemSource, ItemState, MessageRow, MessageState, OrderAudit, PaymentOperation, ReviewItem, StockAudit, Store,
    StoredRefund,
};
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{Client, WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowListOptions};

use super::order_rules::KEPT_AT_LEAST;
use crate::http::now;
use crate::settings::Settings;
use crate::stack::Stack;
use crate::wiring;

/// Orders per page of the reading.
const PAGE: u32 = 500;
/// Entries per page of a real party's list.
const LEDGER_PAGE: u32 = 100;
/// Small reads under way at once.
const READS_AT_ONCE: usize = 4;
const OPEN_RUNS: &str = "WorkflowType = 'Order' AND ExecutionStatus = 'Running'";

/// An order with all that SQL holds about it.
#[derive(Debug, Clone)]
pub(crate) struct OrderBooks {
    /// Its row and sums.
    pub(crate) row: OrderAudit,
    /// Our own ledger of it.
    pub(crate) payments: Vec<PaymentOperation>,
    /// Its refunds.
    pub(crate) refunds: Vec<StoredRefund>,
    /// Its messages.
    pub(crate) messages: Vec<MessageRow>,
    /// Its messages that failed and are in the review queue, or were resolved there.
    pub(crate) failures_seen: BTreeSet<String>,
}

/// What Temporal says is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    /// Orders with an open run, and when it began.
    pub(crate) open: BTreeMap<OrderId, Instant>,
    /// Refunds that owe money and have an open run.
    pub(crate) refunds: BTreeSet<RefundId>,
}

/// Names of the files that the sandbox parties were given; `None` where a real party takes the messages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    /// Message ids of `mail/*.eml`.
    pub(crate) mail: Option<BTreeSet<String>>,
    /// Message ids of `sms/*.json`.
    pub(crate) sms: Option<BTreeSet<String>>,
    /// Those of them that are so old that their orders may have been removed by age.
    pub(crate) old: BTreeSet<String>,
}

/// One reading of everything.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// Orders whose timeline was changed after it was written, and from which number on.
    pub(crate) altered: BTreeMap<OrderId, u64>,
    /// When the reading was done.
    pub(crate) now: Instant,
    /// Whether nothing works on the books.
    pub(crate) stopped: bool,
    /// SQL: every shelf.
    pub(crate) stock: Vec<StockAudit>,
    /// SQL: every order.
    pub(crate) orders: Vec<OrderBooks>,
    /// SQL: what is open in the review queue, oldest first.
    pub(crate) items: Vec<ReviewItem>,
    /// SQL: alerts to operators, which are written where messages are.
    pub(crate) alerts: BTreeSet<String>,
    /// The payment gateway's own ledger.
    pub(crate) payments: Vec<SandboxPayment>,
    /// Whether a real gateway pays what is not a test: of its payments only the sums are known.
    pub(crate) real_gateway: bool,
    /// The carrier's own list.
    pub(crate) bookings: Vec<CarrierBooking>,
    /// Temporal.
    pub(crate) runs: Runs,
    /// The folders.
    pub(crate) written: Written,
}

/// Which parties are not played by files in the data directory.
#[derive(Clone)]
pub(crate) struct Outside {
    /// The real gateway, if there is one.
    gateway: Option<Arc<dyn PaymentGateway>>,
    /// The real carrier, if there is one.
    carrier: Option<Arc<dyn Carrier>>,
    /// Whether mail goes to the folder.
    mail_in_folder: bool,
    /// Whether text messages go to the folder.
    sms_in_folder: bool,
}

impl Outside {
    /// As the settings choose. Errors: the settings of one of them cannot be used.
    pub(crate) fn of(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            gateway: wiring::real_payments(settings)?,
            carrier: wiring::real_carrier(settings)?,
            mail_in_folder: settings.is_sandbox(Party::Mail),
            sms_in_folder: settings.is_sandbox(Party::Sms),
        })
    }
}

/// Where the sources are read.
#[derive(Clone)]
pub(crate) struct Desk {
    /// SQL.
    pub(crate) store: Store,
    /// Temporal.
    pub(crate) client: Client,
    /// The sandbox parties.
    pub(crate) sandbox: Sandbox,
    /// Folder of `mail/` and `sms/`.
    pub(crate) data_dir: PathBuf,
    /// Who is not played there.
    pub(crate) outside: Outside,
    /// Whether nothing works on the books: what was on its way when the stack stopped is still on its way.
    pub(crate) stopped: bool,
}

impl Desk {
    /// The sources of a stack, running or stopped.
    pub(crate) fn of(stack: &Stack, outside: Outside, stopped: bool) -> Self {
        Self {
            stopped,
            store: stack.store.clone(),
            client: stack.client.clone(),
            sandbox: stack.sandbox.clone(),
            data_dir: stack.data_dir.clone(),
            outside,
        }
    }

    /// Reads all sources once. SQL comes first: what the others have more by then is younger than the grace it gets.
    /// Errors: a source that does not answer.
    pub(crate) async fn read(&self) -> anyhow::Result<Sources> {
        let rows = self.rows().await.context("reading the orders")?;
        let stock = self.store.audit_stock(now()).await.context("reading the stock")?;
        let orders: Vec<OrderBooks> =
            futures::stream::iter(rows).map(|row| self.order(row)).buffered(READS_AT_ONCE).try_collect().await?;
        let mut payments = self.sandbox.payments.payments(None).await.context("reading the sandbox's ledger")?;
        let first = orders.iter().map(|o| o.row.placed_at).min().unwrap_or_else(now);
        if let Some(gateway) = &self.outside.gateway {
            payments.extend(listed(gateway.as_ref(), first).await.context("reading the gateway's ledger")?);
        }
        let real_gateway = self.outside.gateway.is_some();
        let bookings = match &self.outside.carrier {
            Some(carrier) => booked(carrier.as_ref(), first).await.context("reading the carrier's list")?,
            None => {
                let all = self.sandbox.carrier.bookings().await.context("reading the sandbox's list of bookings")?;
                all.into_iter().map(CarrierBooking::from).collect()
            }
        };
        let items = self.items().await.context("reading the review queue")?;
        let alerts = self.store.audit_alerts().await.context("reading the alerts")?.into_iter().collect();
        let runs = self.runs(&orders).await?;
        let mut old = BTreeSet::new();
        let forgotten = now() - KEPT_AT_LEAST;
        let mut read = |folder: &str, extension: &str| ids(&self.data_dir.join(folder), extension, forgotten, &mut old);
        let mail = if self.outside.mail_in_folder { Some(read("mail", "eml")?) } else { None };
        let sms = if self.outside.sms_in_folder { Some(read("sms", "json")?) } else { None };
        let written = Written { mail, sms, old };
        // on a stopped directory time stood still when the stack did
        let last = orders.iter().map(|o| o.row.updated_at).max().filter(|_| self.stopped);
        let (now, stopped) = (last.unwrap_or_else(now), self.stopped);
        let mut altered = BTreeMap::new();
        let ids: Vec<OrderId> = orders.iter().map(|o| o.row.id.clone()).collect();
        for page in ids.chunks(PAGE as usize) {
            altered.extend(self.store.broken_timelines(page).await.context("reading the timelines")?);
        }
        Ok(Sources { now, stopped, altered, stock, orders, items, alerts, payments, real_gateway, bookings, runs, written })
    }

    async fn items(&self) -> Result<Vec<ReviewItem>, oms_store::StoreError> {
        let filter = ItemFilter { state: Some(ItemState::Open), ..ItemFilter::default() };
        let mut items: Vec<ReviewItem> = Vec::new();
        loop {
            let page = self.store.review_items(&filter, items.last().map(ReviewItem::cursor).as_ref(), PAGE).await?;
            if page.is_empty() {
                return Ok(items);
            }
            items.extend(page);
        }
    }

    async fn rows(&self) -> Result<Vec<OrderAudit>, oms_store::StoreError> {
        let mut rows: Vec<OrderAudit> = Vec::new();
        loop {
            let page = self.store.audit_orders(rows.last().map(|r| &r.id), PAGE).await?;
            if page.is_empty() {
                return Ok(rows);
            }
            rows.extend(page);
        }
    }

    async fn order(&self, row: OrderAudit) -> anyhow::Result<OrderBooks> {
        let payments = self.store.payment_operations(&row.id).await.context("reading our payments")?;
        let messages = self.store.messages_of(&row.id).await.context("reading the messages")?;
        let refunds = match row.open_refunds > 0 || row.life.payment.refunded.minor > 0 {
            true => self.store.refunds(&row.id).await.context("reading the refunds")?,
            false => Vec::new(),
        };
        let failures_seen = match messages.iter().any(|m| m.state == MessageState::Failed) {
            true => self.failures_seen(&row.id).await.context("reading the review queue")?,
            false => BTreeSet::new(),
        };
        Ok(OrderBooks { row, payments, refunds, messages, failures_seen })
    }

    /// Messages of an order that a review item is about, unless it settled itself.
    async fn failures_seen(&self, order: &OrderId) -> Result<BTreeSet<String>, oms_store::StoreError> {
        let filter = ItemFilter { order_id: Some(order.clone()), source: Some(ItemSource::Message), ..ItemFilter::default() };
        let items = self.store.review_items(&filter, None, PAGE).await?;
        Ok(items.into_iter().filter(|i| i.state != ItemState::Settled).map(|i| i.subject).collect())
    }

    /// Lists the open runs. The list lags behind, so wherever it contradicts SQL the run itself is asked.
    async fn runs(&self, orders: &[OrderBooks]) -> anyhow::Result<Runs> {
        let mut listed = self.client.list_workflows(OPEN_RUNS, WorkflowListOptions::default());
        let mut open = BTreeMap::new();
        while let Some(run) = listed.next().await {
            let run = run.context("listing the open runs in Temporal")?;
            if let Some(order) = order_of_workflow(run.id()) {
                open.insert(order, run.start_time().map_or_else(now, Instant::from));
            }
        }
        let doubtful = orders.iter().map(|o| &o.row).filter(|row| row.status.is_terminal() == open.contains_key(&row.id));
        let asked: Vec<(OrderId, Option<Instant>)> = futures::stream::iter(doubtful.map(|row| row.id.clone()))
            .map(|id| async { self.open_since(&order_workflow(&id)).await.map(|since| (id, since)) })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        for (id, since) in asked {
            match since {
                Some(since) => open.insert(id, since),
                None => open.remove(&id),
            };
        }
        let mut refunds = BTreeSet::new();
        for refund in orders.iter().flat_map(|o| &o.refunds).filter(|r| r.settled_at.is_none()) {
            if self.open_since(&refund_workflow(&refund.id)).await?.is_some() {
                refunds.insert(refund.id.clone());
            }
        }
        Ok(Runs { open, refunds })
    }

    /// When a run began, if it is open.
    async fn open_since(&self, workflow_id: &str) -> anyhow::Result<Option<Instant>> {
        let handle = self.client.get_workflow_handle::<Order>(workflow_id);
        match handle.describe(WorkflowDescribeOptions::default()).await {
            Ok(run) => {
                let open = matches!(run.status(), WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Paused);
                Ok(open.then(|| run.start_time().map_or_else(now, Instant::from)))
            }
            Err(WorkflowInteractionError::NotFound(_)) => Ok(None),
            Err(error) => Err(error).context("asking Temporal for a run"),
        }
    }
}

/// A real gateway's list since the first order was placed, in the shape of the sandbox's ledger: each payment with its authorization as the
/// only operation. Payments that name no order of ours are none of ours.
async fn listed(gateway: &dyn PaymentGateway, since: Instant) -> Result<Vec<SandboxPayment>, GatewayError> {
    let (mut payments, mut after) = (Vec::new(), None);
    loop {
        let page = gateway.payments(since, after.as_deref(), LEDGER_PAGE).await?;
        for payment in page.entries {
            let Some(order_id) = payment.order else { continue };
            let (kind, result) = (OperationKind::Authorize, OperationResult::Ok);
            let authorized = SandboxOperation { key: payment.key, kind, amount: payment.authorized, result, at: payment.at };
            payments.push(SandboxPayment {
                payment_id: payment.payment_id,
                order_id,
                status: payment.status,
                authorized: payment.authorized,
                captured: payment.captured,
                refunded: payment.refunded,
                operations: vec![authorized],
            });
        }
        after = page.next;
        if after.is_none() {
            return Ok(payments);
        }
    }
}

/// A real carrier's list since the first order was placed.
async fn booked(carrier: &dyn Carrier, since: Instant) -> Result<Vec<CarrierBooking>, GatewayError> {
    let (mut bookings, mut after) = (Vec::new(), None);
    loop {
        let page = carrier.bookings(since, after.as_deref(), LEDGER_PAGE).await?;
        bookings.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return Ok(bookings);
        }
    }
}

/// The message ids that files of a folder are named after; those of files that were written before `forgotten` go to `old` too. A
/// folder that is missing is empty.
fn ids(folder: &Path, extension: &str, forgotten: Instant, old: &mut BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ids),
        Err(error) => return Err(error).with_context(|| format!("reading {}", folder.display())),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
        let path = entry.path();
        // a name with a dot in front is a file that is still being written
        let id = path.file_stem().and_then(|s| s.to_str()).filter(|s| !s.starts_with('.'));
        if let (Some(id), true) = (id, path.extension().is_some_and(|e| e == extension)) {
            ids.insert(id.to_owned());
            let written = entry.metadata().and_then(|file| file.modified()).ok().map(oms_domain::instant);
            if written.is_some_and(|at| at < forgotten) {
                old.insert(id.to_owned());
            }
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn half_written_files_are_no_messages() {
        let dir = tempfile::tempdir().unwrap();
        let (long_ago, mut old) = (Instant::UNIX_EPOCH, BTreeSet::new());
        assert!(ids(&dir.path().join("mail"), "eml", long_ago, &mut old).unwrap().is_empty());
        for name in ["m-1.eml", ".m-2.eml.7-0.tmp", "notes.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(ids(dir.path(), "eml", long_ago, &mut old).unwrap().into_iter().collect::<Vec<_>>(), ["m-1"]);
        assert!(old.is_empty());
        ids(dir.path(), "eml", now() + TimeDelta::days(1), &mut old).unwrap();
        assert_eq!(old.into_iter().collect::<Vec<_>>(), ["m-1"], "by its age the order of it may be gone");
    }
}
