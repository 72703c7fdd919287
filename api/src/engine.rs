//! The order engine as HTTP handlers see it: typed calls, each bounded, so that an engine that is dead *or silent* becomes an error
//! about a second later and never a hanging request.

mod beside;
mod look;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use oms_contract::command::{PaymentNews, Resolve, StatusAnswer};
use oms_contract::names::{Queue, aftermath_workflow, order_workflow};
use oms_contract::reconciliation::{ReconcileStart, reconcile_workflow};
use oms_contract::search;
use oms_contract::start::{AftermathStart, OrderStart};
use oms_contract::workflow::{Aftermath, NudgeSignal, Order, PaymentNewsSignal, Reconcile, ResolveUpdate, StatusQuery};
use oms_domain::ids::{CustomerId, OrderId};
use oms_domain::life::Refusal;
use oms_domain::order::Status;
use oms_domain::reconciliation::Day;
use oms_temporal::connect::{ConnectSettings, connect};
use oms_temporal::describe::{CallError, RunState, describe};
use temporalio_client::errors::{WorkflowInteractionError, WorkflowQueryError, WorkflowStartError, WorkflowUpdateError};
use temporalio_client::{
    Client, RetryOptions, RpcOptions, WorkflowExecuteUpdateOptions, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions,
};
use temporalio_common::UpdateDefinition;
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;
use temporalio_common::search_attributes::SearchAttributes;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status as RpcStatus};

pub use look::{Look, Trouble};

/// A dead or silent engine is given up after this long.
const CALL_MAX: Duration = Duration::from_secs(1);

/// Starts and commands may take this long while the engine is alive: it and its workers may be busy without being gone.
const PATIENCE_MAX: Duration = Duration::from_secs(6);

/// After this silence of a start or command the engine is asked whether it lives.
const DOUBT_AFTER: Duration = Duration::from_millis(400);

/// Pause between two attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Why the engine gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It cannot be reached, is silent, or no worker took the command in time. What was asked may still happen.
    #[error("the engine is not available: {detail}")]
    Unavailable {
        /// For operators.
        detail: String,
    },
    /// The order has no open run: not started yet, or closed.
    #[error("the order has no open run")]
    NoRun,
    /// The order refused the command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine or we made a mistake.
    #[error("the engine refused: {detail}")]
    Internal {
        /// For operators.
        detail: String,
    },
}

impl EngineError {
    fn unavailable(detail: impl std::fmt::Display) -> Self {
        Self::Unavailable { detail: detail.to_string() }
    }

    fn rpc(status: &RpcStatus) -> Self {
        let detail = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            Code::NotFound => Self::NoRun,
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Unknown
            | Code::Internal
            // the run's workflow task has just failed, as one does while a worker dies: it is tried again
            | Code::FailedPrecondition => Self::Unavailable { detail },
            _ => Self::Internal { detail },
        }
    }
}

/// What operators filter an order by in the Temporal UI. No personal data.
#[derive(Debug, Clone)]
pub struct Labels {
    /// The shop's own id of the customer.
    pub customer: CustomerId,
    /// The sales channel.
    pub channel: Option<String>,
}

/// Commands that may be under way on one order at once. The engine takes ten per run and beyond that refuses, and the SDK's worker
/// stumbles over bursts of them; those who wait here lose nothing, because a run judges commands one after the other anyway.
const COMMANDS_PER_ORDER: usize = 2;

/// Stripes over which orders are spread; two orders that share one only wait for each other.
const STRIPES: usize = 256;

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    client: watch::Receiver<Option<Client>>,
    turns: Arc<[Semaphore]>,
}

impl Engine {
    /// An engine that connects in the background and tries again until it succeeds, so that the API can start, and read, while
    /// the engine is gone. Must be called within a tokio runtime; the attempts end when the last clone is dropped.
    pub fn connect_lazily(settings: ConnectSettings) -> Self {
        let (found, client) = watch::channel(None);
        tokio::spawn(async move {
            let search = async {
                loop {
                    match connect(&settings).await {
                        Ok(client) => break client,
                        Err(error) => tracing::debug!(%error, "not connected to the engine yet"),
                    }
                    sleep(RECONNECT_PAUSE).await;
                }
            };
            tokio::select! {
                client = search => {
                    tracing::info!("connected to the engine");
                    found.send_replace(Some(client));
                }
                () = found.closed() => {}
            }
        });
        Self { client, turns: turns() }
    }

    /// An engine behind a client that is connected. The client mends its own connection later.
    pub fn connected(client: Client) -> Self {
        Self { client: watch::channel(Some(client)).1, turns: turns() }
    }

    /// The turn of a command on an order; waits for those before it. Errors: [`EngineError::Unavailable`] when they take too long.
    async fn turn(&self, order: &OrderId) -> Result<SemaphorePermit<'_>, EngineError> {
        let mut hasher = DefaultHasher::new();
        order.as_str().hash(&mut hasher);
        let stripe = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or_default();
        let turn = timeout(PATIENCE_MAX, self.turns[stripe].acquire()).await;
        turn.map_err(|_| EngineError::unavailable("too many commands on one order"))?.map_err(EngineError::unavailable)
    }

    /// The client; while there is none, as soon as there is one within the limit.
    async fn client(&self) -> Result<Client, EngineError> {
        let mut client = self.client.clone();
        let found = timeout(CALL_MAX, client.wait_for(Option::is_some)).await;
        let found = found.map_err(EngineError::unavailable)?.map_err(EngineError::unavailable)?;
        found.clone().ok_or_else(|| EngineError::unavailable("not connected"))
    }

    /// Starts an order's run. A run that exists, open or closed, is as good. Errors: [`EngineError`]; the start may still have happened.
    pub async fn start_order(&self, start: OrderStart, labels: Labels) -> Result<(), EngineError> {
        let id = order_workflow(&start.order_id);
        let units: u64 = start.lines.iter().map(|line| u64::from(line.quantity)).sum();
        let mut options = WorkflowStartOptions::new(Queue::Orders.name(), id)
            .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .static_summary(format!("Order {}: {units} units, {}", start.order_id, start.total))
            .rpc_options(rpc(PATIENCE_MAX))
            .build();
        options.search_attributes = start.search_attributes.then(|| attributes(&start, &labels));
        let client = self.client().await?;
        patient(&client, async { started(client.start_workflow(Order, start, options).await) }).await
    }

    /// Starts what follows a report that came after its order had ended. The same report starts it once.
    pub async fn start_aftermath(&self, start: AftermathStart) -> Result<(), EngineError> {
        let id = aftermath_workflow(&start.scan.shipment, &start.scan.event_id);
        let options = WorkflowStartOptions::new(Queue::Orders.name(), id)
            .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .static_summary(format!("{} reported of order {} after its end", start.scan.kind.as_str(), start.order_id))
            .rpc_options(rpc(PATIENCE_MAX))
            .build();
        let client = self.client().await?;
        patient(&client, async { started(client.start_workflow(Aftermath, start, options).await) }).await
    }

    /// Starts a comparison of our books with those of others. One that is open for that day is as good.
    pub async fn start_reconciliation(&self, day: Day, start: ReconcileStart) -> Result<(), EngineError> {
        let options = WorkflowStartOptions::new(Queue::Orders.name(), reconcile_workflow(&day))
            .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .static_summary(format!("Books compared for {day}"))
            .rpc_options(rpc(PATIENCE_MAX))
            .build();
        let client = self.client().await?;
        patient(&client, async { started(client.start_workflow(Reconcile, start, options).await) }).await
    }

    /// Sends an order a command and waits for its verdict. The same `update_id` is judged once.
    /// Errors: [`EngineError::Refused`] with the order's words; [`EngineError::NoRun`] if it has none that is open.
    pub async fn update<U>(
        &self,
        order: &OrderId,
        update: U,
        input: U::Input,
        update_id: String,
    ) -> Result<U::Output, EngineError>
    where
        U: UpdateDefinition<Workflow = Order>,
        U::Input: Send,
        U::Output: 'static,
    {
        let _turn = self.turn(order).await?;
        self.told(order_workflow(order), update, input, update_id).await
    }

    /// Settles a review item of a story beside an order's run, a refund or a return: their runs take the same update by the same
    /// name. Errors: as [`update`](Self::update).
    pub async fn resolve_beside(&self, workflow_id: String, command: Resolve, update_id: String) -> Result<(), EngineError> {
        self.told(workflow_id, ResolveUpdate, command, update_id).await.map(|_| ())
    }

    async fn told<U>(&self, workflow_id: String, update: U, input: U::Input, update_id: String) -> Result<U::Output, EngineError>
    where
        U: UpdateDefinition<Workflow = Order>,
        U::Input: Send,
        U::Output: 'static,
    {
        let client = self.client().await?;
        let handle = client.get_workflow_handle::<Order>(workflow_id);
        let options = WorkflowExecuteUpdateOptions::builder().update_id(update_id).rpc_options(rpc(PATIENCE_MAX)).build();
        patient(&client, handle.execute_update(update, input, options).map(|answer| answer.map_err(refused))).await
    }

    /// Asks a run to try again now whatever pauses. Errors: [`EngineError::NoRun`] if it has none that is open.
    pub async fn nudge(&self, order: &OrderId) -> Result<(), EngineError> {
        bounded(CALL_MAX, async {
            let handle = self.client().await?.get_workflow_handle::<Order>(order_workflow(order));
            let options = WorkflowSignalOptions::builder().rpc_options(rpc(CALL_MAX)).build();
            handle.signal(NudgeSignal, (), options).await.map_err(unreached)
        })
        .await
    }

    /// Tells a run that the gateway has news about its payment. Errors: [`EngineError::NoRun`] if it has none that is open.
    pub async fn payment_news(&self, order: &OrderId) -> Result<(), EngineError> {
        bounded(CALL_MAX, async {
            let handle = self.client().await?.get_workflow_handle::<Order>(order_workflow(order));
            let options = WorkflowSignalOptions::builder().rpc_options(rpc(CALL_MAX)).build();
            let news = PaymentNews { actor: Some("gateway".to_owned()) };
            handle.signal(PaymentNewsSignal, news, options).await.map_err(unreached)
        })
        .await
    }

    /// Asks a run where its order stands, open or closed.
    pub async fn status(&self, order: &OrderId) -> Result<StatusAnswer, EngineError> {
        bounded(CALL_MAX, async {
            let handle = self.client().await?.get_workflow_handle::<Order>(order_workflow(order));
            let options = WorkflowQueryOptions::builder().rpc_options(rpc(CALL_MAX)).build();
            handle.query(StatusQuery, (), options).await.map_err(|error| match error {
                WorkflowQueryError::NotFound(_) | WorkflowQueryError::Rejected { .. } => EngineError::NoRun,
                WorkflowQueryError::Rpc(status) => EngineError::rpc(&status),
                other => EngineError::Internal { detail: other.to_string() },
            })
        })
        .await
    }

    /// How an order's run stands as the server sees it, without asking a worker. `None`: it never had one. Errors: [`EngineError`].
    pub async fn run_state(&self, order: &OrderId) -> Result<Option<RunState>, EngineError> {
        let client = self.client().await?;
        describe(&client, &order_workflow(order), CALL_MAX).await.map_err(|error| match error {
            CallError::Unanswered(detail) => EngineError::Unavailable { detail },
            CallError::Refused(detail) => EngineError::Internal { detail },
        })
    }

    /// Whether the engine answers and has our namespace.
    pub async fn health(&self) -> Result<(), EngineError> {
        bounded(CALL_MAX, async { namespace_answers(&self.client().await?).await }).await
    }
}

fn turns() -> Arc<[Semaphore]> {
    (0..STRIPES).map(|_| Semaphore::new(COMMANDS_PER_ORDER)).collect()
}

async fn bounded<T>(limit: Duration, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    timeout(limit, call).await.unwrap_or_else(|_| Err(EngineError::unavailable("no answer in time")))
}

/// Waits for a call as long as the engine is alive, up to the limit of patience; gives a dead or silent engine up after a second.
async fn patient<T>(client: &Client, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    tokio::pin!(call);
    let doubt = async {
        sleep(DOUBT_AFTER).await;
        bounded(CALL_MAX - DOUBT_AFTER, namespace_answers(client)).await
    };
    tokio::select! {
        answer = &mut call => return answer,
        alive = doubt => alive?,
    }
    bounded(PATIENCE_MAX - CALL_MAX, call).await
}

/// Retries inside the limit bridge the moment in which a broken connection is made anew; every call of ours may happen twice.
fn rpc(limit: Duration) -> RpcOptions {
    let retries =
        RetryOptions::builder().initial_interval(Duration::from_millis(60)).max_interval(Duration::from_millis(300)).build();
    RpcOptions::builder().timeout(limit).retry_options(retries).build()
}

async fn namespace_answers(client: &Client) -> Result<(), EngineError> {
    let body = DescribeNamespaceRequest { namespace: client.options().namespace.clone(), ..Default::default() };
    let answer = client.connection().workflow_service().describe_namespace(Request::new(body)).await;
    match answer {
        Ok(_) => Ok(()),
        // some servers let a client use a namespace without letting it describe one
        Err(status) if status.code() == Code::PermissionDenied => Ok(()),
        Err(status) if status.code() == Code::NotFound => Err(EngineError::unavailable("the namespace does not exist")),
        Err(status) => Err(EngineError::rpc(&status)),
    }
}

fn started<H>(answer: Result<H, WorkflowStartError>) -> Result<(), EngineError> {
    match answer {
        Ok(_) | Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(()),
        // the namespace itself is missing
        Err(WorkflowStartError::Rpc(status)) if status.code() == Code::NotFound => {
            Err(EngineError::unavailable(status.message()))
        }
        Err(WorkflowStartError::Rpc(status)) => Err(EngineError::rpc(&status)),
        Err(other) => Err(EngineError::Internal { detail: other.to_string() }),
    }
}

fn unreached(error: WorkflowInteractionError) -> EngineError {
    match error {
        WorkflowInteractionError::NotFound(_) => EngineError::NoRun,
        WorkflowInteractionError::Rpc(status) => EngineError::rpc(&status),
        other => EngineError::Internal { detail: other.to_string() },
    }
}

fn refused(error: WorkflowUpdateError) -> EngineError {
    match error {
        WorkflowUpdateError::NotFound(_) => EngineError::NoRun,
        WorkflowUpdateError::Failed(failure) => match refusal_in(&failure) {
            Some(refusal) => EngineError::Refused(refusal),
            None if failure.message.contains("completed") => EngineError::NoRun,
            None => EngineError::Internal { detail: failure.message },
        },
        WorkflowUpdateError::Rpc(status) => EngineError::rpc(&status),
        other => EngineError::Internal { detail: other.to_string() },
    }
}

/// The order's own words, wherever in the chain of causes they stand.
fn refusal_in(failure: &Failure) -> Option<Refusal> {
    let mut next = Some(failure);
    while let Some(failure) = next {
        let words = &failure.message;
        // some layers put their own words before ours
        let at = std::iter::once(0).chain(words.match_indices(": ").map(|(at, _)| at + 2));
        if let Some(refusal) = at.filter_map(|at| Refusal::parse(&words[at..])).next() {
            return Some(refusal);
        }
        next = failure.cause.as_deref();
    }
    None
}

fn attributes(start: &OrderStart, labels: &Labels) -> SearchAttributes {
    let mut updates = vec![
        search::ORDER_STATUS.value_set(Status::Placed.as_str().to_owned()),
        search::CUSTOMER_ID.value_set(labels.customer.as_str().to_owned()),
        search::SKUS.value_set(search::skus_that_fit(start.lines.iter().map(|line| &line.sku))),
        search::NEEDS_ATTENTION.value_set(false),
        search::TOTAL_MINOR.value_set(start.total.minor),
    ];
    if let Some(channel) = &labels.channel {
        updates.push(search::CHANNEL.value_set(channel.clone()));
    }
    SearchAttributes::new(updates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oms_domain::life::RefusalCode;

    fn failure(message: &str, cause: Option<Failure>) -> Failure {
        Failure { message: message.to_owned(), cause: cause.map(Box::new), ..Default::default() }
    }

    #[test]
    fn a_refusal_is_found_in_the_chain() {
        let ours = failure("too_late: the parcel has left: sorry", None);
        for wrapped in
            [ours.clone(), failure("update rejected", Some(ours)), failure("Error: too_late: the parcel has left: sorry", None)]
        {
            let refusal = refusal_in(&wrapped).unwrap();
            assert_eq!((refusal.code, refusal.detail.as_str()), (RefusalCode::TooLate, "the parcel has left: sorry"));
        }
        assert_eq!(refusal_in(&failure("boom: bang", None)), None);
    }
}
