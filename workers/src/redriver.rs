//! Works off bulk re-drives: one order after the other at the asked rate, one process at a time. Nothing it does repeats an effect:
//! activities are tried under their own keys, and a run that was reset asks under the same keys as before.

use oms_contract::names::order_workflow;
use oms_contract::workflow::{NudgeSignal, Order};
use oms_domain::ids::OrderId;
use oms_store::{Redrive, RedriveFrom, RedriveOutcome, StoreError};
use oms_temporal::describe::{CallError, Remedy, RunState, describe};
use oms_temporal::reset::{Retried, reset_to_last_task, retry_activities_now};
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{RetryOptions, RpcOptions, WorkflowSignalOptions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Parts;

const EVERY: Duration = Duration::from_secs(1);
/// How long a job belongs to its holder without a sign of life; longer than a batch can take.
const LEASE: Duration = Duration::from_secs(60);
const CALL_MAX: Duration = Duration::from_secs(5);
/// How long a reset run gets for its first task before it is nudged.
const FIRST_TASK_MAX: Duration = Duration::from_secs(5);
const FIRST_TASK_POLL: Duration = Duration::from_millis(100);

/// An order that could not be done so often counts as failed: while others could be done, and while none could.
const TRIES_MAX: u32 = 5;
const OUTAGE_TRIES_MAX: u32 = 600;

/// How often orders of the job in hand could not be done.
type Tries = BTreeMap<OrderId, u32>;
/// What was done with an order, and what was found, in words.
type Done = (RedriveOutcome, String);

/// The engine or the database gave no answer: the order is tried again.
#[derive(Debug, thiserror::Error)]
enum NotNow {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] CallError),
    #[error("{0}")]
    Silent(String),
}

impl NotNow {
    /// Whether it will be the same the next time.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Corrupt { .. } | StoreError::Conflict { .. }) | Self::Engine(CallError::Refused(_))
        )
    }
}

/// Works until told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    let holder = uuid::Builder::from_random_bytes(rand::rng().random()).into_uuid().to_string();
    let mut tries = Tries::new();
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        loop {
            match parts.store.lease_redrive(&holder, LEASE, (parts.clock)()).await {
                Ok(Some(job)) if !stop.is_cancelled() => match batch(&parts, &job, &mut tries, &stop).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(%error, redrive = job.id, "a re-drive pauses; it goes on soon");
                        break;
                    }
                },
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(%error, "could not look for re-drives");
                    break;
                }
            }
        }
    }
}

/// One second's worth of orders; answers whether there were any.
async fn batch(parts: &Parts, job: &Redrive, tries: &mut Tries, stop: &CancellationToken) -> Result<bool, NotNow> {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / job.rate.max(1));
    let mut working = JoinSet::new();
    let orders = parts.store.redrive_to_do(&job.id, job.rate).await?;
    tries.retain(|order, _| orders.contains(order));
    if orders.is_empty() {
        // its last outcomes were noted, and yet it is not done: else it would be leased for ever
        parts.store.finish_redrive(&job.id, (parts.clock)()).await?;
        return Ok(false);
    }
    for order in orders {
        pace.tick().await;
        if stop.is_cancelled() {
            break;
        }
        let (parts, job) = (parts.clone(), job.clone());
        working.spawn(async move {
            let driven = drive_and_note(&parts, &job, &order).await;
            (order, driven)
        });
    }
    pace.tick().await;
    let mut failed = Vec::new();
    let mut done = 0;
    let mut all = Ok(true);
    while let Some(ended) = working.join_next().await {
        match ended {
            Ok((_, Ok(()))) => done += 1,
            Ok((order, Err(error))) => failed.push((order, error)),
            Err(panic) => all = Err(NotNow::Silent(panic.to_string())),
        }
    }
    let tries_max = if done > 0 { TRIES_MAX } else { OUTAGE_TRIES_MAX };
    for (order, error) in failed {
        let so_often = tries.entry(order.clone()).or_default();
        *so_often += 1;
        if error.is_final() || *so_often >= tries_max {
            // others of the same job are still to be done
            tracing::warn!(%error, %order, redrive = job.id, "an order cannot be re-driven");
            let detail = format!("it could not be done, tried {so_often} times; the worker's log has the cause");
            note(parts, job, &order, (RedriveOutcome::Failed, detail)).await?;
        } else {
            all = all.and(Err(error));
        }
    }
    all
}

async fn drive_and_note(parts: &Parts, job: &Redrive, order: &OrderId) -> Result<(), NotNow> {
    let done = drive(parts, job, order).await?;
    Ok(note(parts, job, order, done).await?)
}

async fn note(parts: &Parts, job: &Redrive, order: &OrderId, (outcome, detail): Done) -> Result<(), StoreError> {
    parts.store.note_redriven(&job.id, order, outcome, &detail, (parts.clock)()).await
}

async fn drive(parts: &Parts, job: &Redrive, order: &OrderId) -> Result<Done, NotNow> {
    let run = state(parts, order).await?;
    // read after the run: a run that closes by itself has written its last record before
    let Some(row) = parts.store.order(order).await? else {
        return Ok((RedriveOutcome::Skipped, "there is no such order".to_owned()));
    };
    if row.life.status.is_terminal() {
        return Ok((RedriveOutcome::Skipped, format!("the order has ended: {}", row.life.status)));
    }
    let Some(run) = run else {
        return Ok((RedriveOutcome::Failed, "it has no run that could go on; the reconciliation looks after it".to_owned()));
    };
    match (run.remedy(), job.from) {
        (Remedy::Nudge, _) => nudge(parts, order, &run).await,
        (Remedy::Reset, RedriveFrom::LastTask) => reset(parts, job, order, &run).await,
        (Remedy::Reset, RedriveFrom::Now) => {
            Ok((RedriveOutcome::Skipped, format!("{}; only from last_task can it go on", run.in_words())))
        }
    }
}

async fn state(parts: &Parts, order: &OrderId) -> Result<Option<RunState>, NotNow> {
    describe(&parts.client, &order_workflow(order), CALL_MAX).await.map_err(NotNow::from)
}

/// Tells an open run to try again now, and lets its waiting activities start.
async fn nudge(parts: &Parts, order: &OrderId, run: &RunState) -> Result<Done, NotNow> {
    tell(parts, order).await?;
    let detail = match retry_activities_now(&parts.client, &order_workflow(order), run, CALL_MAX).await? {
        Retried::Now(0) => "told to try again now".to_owned(),
        Retried::Now(count) => format!("told to try again now; activities that start at once: {count}"),
        Retried::Unsupported => "told to try again now; the server cannot shorten the pauses of activities".to_owned(),
    };
    Ok((RedriveOutcome::Nudged, detail))
}

async fn tell(parts: &Parts, order: &OrderId) -> Result<(), NotNow> {
    let rpc = RpcOptions::builder().timeout(CALL_MAX).retry_options(RetryOptions::no_retries()).build();
    let options = WorkflowSignalOptions::builder().rpc_options(rpc).build();
    match parts.client.get_workflow_handle::<Order>(order_workflow(order)).signal(NudgeSignal, (), options).await {
        // it has closed in between
        Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
        Err(error) => Err(NotNow::Silent(error.to_string())),
    }
}

/// Starts the run anew from its last good task. A step that was running then ends in a defect of the reset's making, and pauses: so
/// the new run is nudged once it has seen that.
async fn reset(parts: &Parts, job: &Redrive, order: &OrderId, run: &RunState) -> Result<Done, NotNow> {
    let request_id = oms_domain::ids::derive(&["redrive", &job.id, order.as_str()]).to_string();
    let (workflow, reason) = (order_workflow(order), format!("redrive {}", job.id));
    let new = match reset_to_last_task(&parts.client, &workflow, &run.run_id, &reason, &request_id, CALL_MAX).await {
        Ok(new) => new,
        Err(CallError::Refused(reason)) => {
            return Ok((RedriveOutcome::Failed, format!("{}; the engine refused to reset it: {reason}", run.in_words())));
        }
        Err(error) => return Err(error.into()),
    };
    let Some(new) = new else {
        return Ok((RedriveOutcome::Failed, format!("{}; it has no task to go back to", run.in_words())));
    };
    let began = tokio::time::Instant::now();
    while began.elapsed() < FIRST_TASK_MAX {
        match state(parts, order).await {
            Ok(Some(now)) if now.task_attempt == 0 => break,
            _ => tokio::time::sleep(FIRST_TASK_POLL).await,
        }
    }
    if let Err(error) = tell(parts, order).await {
        tracing::debug!(%error, %order, "a reset run was not nudged");
    }
    Ok((RedriveOutcome::Reset, format!("{}; run {new} goes on from its last completed workflow task", run.in_words())))
}
