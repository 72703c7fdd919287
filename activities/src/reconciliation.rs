//! The comparison of our books with those of others. What is judged is in `oms_domain::reconciliation`; here books are read, and
//! remedies carried out by the same calls and under the same keys as the steps that they undo.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

mod reading;
mod remedies;

use futures::future::BoxFuture;
use oms_contract::definitions::markers;
use oms_contract::reconciliation::{Begin, Begun, Compare, Compared, Finish, SettleFindings, SettledFindings};
use oms_contract::start::OrderStart;
use oms_domain::ids::OrderId;
use oms_domain::reconciliation::{Day, Finding, standing};
use oms_gateways::carrier::Carrier;
use oms_gateways::payment::PaymentGateway;
use oms_store::{ReportCounts, ReportState, Store};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// Findings acted on by one attempt.
const AT_ONCE: u32 = 10;
/// Review items closed at once.
const ITEMS_AT_ONCE: u32 = 100;

/// After so many attempts, about two minutes, a remedy that fails is a person's: it must not keep the others waiting.
const ATTEMPTS_MAX: u32 = 12;

/// Whether trying a remedy once more will not help.
fn is_hopeless(ctx: &ActivityContext, error: &ActivityError) -> bool {
    let refused = matches!(error, ActivityError::Application(failure) if failure.is_non_retryable());
    refused || ctx.info().attempt >= ATTEMPTS_MAX
}

/// The engine did not answer.
#[derive(Debug)]
pub struct EngineSilent(pub String);

impl fmt::Display for EngineSilent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The engine's runs of orders, as the comparison sees them.
pub trait Runs: Send + Sync {
    /// Which of these orders have an open run. Errors: [`EngineSilent`].
    fn open<'a>(&'a self, orders: &'a [OrderId]) -> BoxFuture<'a, Result<BTreeSet<OrderId>, EngineSilent>>;

    /// Starts a run for an order whose last one did not end well; answers `false` if it ended well. An open run is as good.
    /// Errors: [`EngineSilent`].
    fn restart(&self, start: OrderStart) -> BoxFuture<'_, Result<bool, EngineSilent>>;
}

/// Compares books.
pub struct ReconciliationActivities {
    /// The database.
    pub store: Store,
    /// The payment gateway.
    pub gateway: Arc<dyn PaymentGateway>,
    /// The carrier.
    pub carrier: Arc<dyn Carrier>,
    /// The engine.
    pub runs: Arc<dyn Runs>,
    /// The time.
    pub clock: Clock,
}

impl ReconciliationActivities {
    /// Closes the review items of what this comparison looked at and found in order.
    async fn close_items(&self, begun: &Begun) -> Result<(), ActivityError> {
        loop {
            let items = self.store.items_in_order(begun.since, begun.started_at, begun.before, ITEMS_AT_ONCE).await;
            let items = items.map_err(failure::store)?;
            for item in &items {
                self.store.settle_item(item, (self.clock)()).await.map_err(failure::store)?;
            }
            if items.len() < ITEMS_AT_ONCE as usize {
                return Ok(());
            }
        }
    }
}

#[activities]
impl ReconciliationActivities {
    /// Open the report.
    #[activity(definition = markers::Begin)]
    pub async fn begin(self: Arc<Self>, _ctx: ActivityContext, input: Begin) -> Result<Begun, ActivityError> {
        let now = (self.clock)();
        let date = input.date.unwrap_or_else(|| Day::of(now));
        self.store.begin_report(&date, now).await.map_err(failure::store)?;
        Ok(Begun { date, started_at: now, since: now - input.window, before: now - input.grace })
    }

    /// Compare one page of somebody's books, twice.
    #[activity(definition = markers::Compare)]
    pub async fn compare(self: Arc<Self>, _ctx: ActivityContext, input: Compare) -> Result<Compared, ActivityError> {
        let first = self.read(&input).await?;
        let mut findings = Vec::new();
        if !first.findings.is_empty() {
            tokio::time::sleep(input.second_reading).await;
            findings = standing(&first.findings, self.read(&input).await?.findings);
            self.store.write_findings(&input.begun.date, &findings, (self.clock)()).await.map_err(failure::store)?;
        }
        Ok(Compared { entries: first.entries, found: findings.len() as u64, next: first.next })
    }

    /// Do something about a few findings.
    #[activity(definition = markers::Settle)]
    pub async fn settle(self: Arc<Self>, ctx: ActivityContext, input: SettleFindings) -> Result<SettledFindings, ActivityError> {
        let findings = self.store.unsettled_findings(&input.date, AT_ONCE).await.map_err(failure::store)?;
        for finding in &findings {
            let (action, item) = match self.remedy(finding, &input).await {
                // without its order, whose row may be what cannot be written to
                Err(error) if is_hopeless(&ctx, &error) => self.queue(&Finding { order: None, ..finding.clone() }).await?,
                done => done?,
            };
            let done = (action, item.as_deref());
            self.store.settle_finding(&input.date, finding, done, (self.clock)()).await.map_err(failure::store)?;
        }
        Ok(SettledFindings { more: findings.len() >= AT_ONCE as usize })
    }

    /// Close the report, and the review items of what is in order again.
    #[activity(definition = markers::Finish)]
    pub async fn finish(self: Arc<Self>, _ctx: ActivityContext, input: Finish) -> Result<(), ActivityError> {
        let begun = &input.begun;
        if !input.failed {
            self.close_items(begun).await?;
        }
        let compared = ReportCounts {
            orders: input.counts.orders,
            payments: input.counts.payments,
            bookings: input.counts.bookings,
            reservations: input.counts.reservations,
        };
        let state = if input.failed { ReportState::Failed } else { ReportState::Finished };
        self.store.finish_report(&begun.date, state, compared, (self.clock)()).await.map_err(failure::store)
    }
}
