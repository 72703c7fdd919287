//! The comparison of our books with those of others: its schedule, and the engine's runs as it sees them.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use oms_activities::reconciliation::{EngineSilent, ReconciliationActivities, Runs};
use oms_contract::names::{Queue, order_workflow};
use oms_contract::reconciliation::{ReconcileStart, SCHEDULE, SCHEDULED};
use oms_contract::start::OrderStart;
use oms_contract::workflow::{Order, Reconcile};
use oms_domain::ids::OrderId;
use oms_temporal::describe::describe;
use oms_temporal::schedule::{Plan, PlanError, keep};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use tokio_util::sync::CancellationToken;

use crate::{CALL_MAX, Parts, call_options};

const HOUR: Duration = Duration::from_secs(3_600);
/// Small questions to the engine under way at once.
const AT_ONCE: usize = 8;
/// Pause before a schedule that could not be kept is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// When our books are compared with those of others, and on which terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// Pause between two comparisons. None: only when somebody asks.
    pub every: Option<Duration>,
    /// How much later than a multiple of the pause since 1970, UTC.
    pub offset: Duration,
    /// Window, grace, page and pauses of scheduled comparisons.
    pub terms: ReconcileStart,
}

impl Default for Reconciliation {
    /// Every day at 02:00 UTC.
    fn default() -> Self {
        Self { every: Some(24 * HOUR), offset: 2 * HOUR, terms: ReconcileStart::default() }
    }
}

/// The activities of a comparison.
pub(crate) fn activities(parts: &Parts) -> ReconciliationActivities {
    ReconciliationActivities {
        store: parts.store.clone(),
        gateway: parts.gateways.payments.clone(),
        carrier: parts.gateways.carrier.clone(),
        runs: Arc::new(EngineRuns { client: parts.client.clone() }),
        clock: parts.clock.clone(),
    }
}

/// Sees to it that the schedule is there; ends when it is.
pub(crate) async fn keep_schedule(parts: Parts, stop: CancellationToken) {
    let Some(every) = parts.reconciliation.every else { return };
    let plan = Plan {
        id: SCHEDULE.to_owned(),
        every,
        offset: parts.reconciliation.offset,
        queue: Queue::Orders.name().to_owned(),
        workflow_id: SCHEDULED.to_owned(),
    };
    loop {
        match keep(&parts.client, &plan, Reconcile, parts.reconciliation.terms.clone()).await {
            Ok(()) => return,
            Err(error @ PlanError::Refused { .. }) => {
                tracing::warn!(%error, "books are compared only when somebody asks");
                return;
            }
            // also when another process was faster; the next attempt finds its schedule
            Err(error) => tracing::warn!(%error, "tried again soon"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
            return;
        }
    }
}

/// The engine's runs.
struct EngineRuns {
    client: Client,
}

impl EngineRuns {
    async fn is_open(&self, order: &OrderId) -> Result<bool, EngineSilent> {
        match describe(&self.client, &order_workflow(order), CALL_MAX).await {
            Ok(run) => Ok(run.is_some_and(|run| run.ending.is_none())),
            Err(error) => Err(EngineSilent(error.to_string())),
        }
    }

    async fn start(&self, start: OrderStart) -> Result<bool, EngineSilent> {
        let options = WorkflowStartOptions::new(Queue::Orders.name(), order_workflow(&start.order_id))
            .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicateFailedOnly)
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .static_summary(format!("Order {}: takes back what a lost run had begun", start.order_id))
            .rpc_options(call_options())
            .build();
        match self.client.start_workflow(Order, start, options).await {
            Ok(_) => Ok(true),
            Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(false),
            Err(error) => Err(EngineSilent(error.to_string())),
        }
    }
}

impl Runs for EngineRuns {
    fn open<'a>(&'a self, orders: &'a [OrderId]) -> BoxFuture<'a, Result<BTreeSet<OrderId>, EngineSilent>> {
        // each is asked for by itself: the engine's list lags behind
        let asked = stream::iter(orders).map(|order| async { Ok((order.clone(), self.is_open(order).await?)) });
        let open = asked.buffer_unordered(AT_ONCE).try_filter_map(|(order, open)| async move { Ok(open.then_some(order)) });
        open.try_collect().boxed()
    }

    fn restart(&self, start: OrderStart) -> BoxFuture<'_, Result<bool, EngineSilent>> {
        self.start(start).boxed()
    }
}
