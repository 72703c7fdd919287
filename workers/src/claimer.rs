//! Claims due messages in batches and starts a `Mailout` for each. A batch that was claimed by a process that died before the start
//! is started again under its id, so a message is claimed for good and sent by one run.

use oms_contract::names::{Queue, mailout_workflow};
use oms_contract::start::MailoutStart;
use oms_contract::workflow::Mailout;
use oms_domain::ids::MessageId;
use oms_store::StoreError;
use rand::RngExt;
use std::time::{Duration, Instant};
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use tokio_util::sync::CancellationToken;

use crate::{Parts, call_options};

const EVERY: Duration = Duration::from_millis(500);
/// Batches that may have no run are looked at once in so many of the watchdog's rounds: every half minute.
const ROUNDS: u32 = 2;
const BATCH_MAX: u32 = 50;
const LEFT_BEHIND: &str =
    "the run that had to send it has ended without saying what became of it; the worker's log has the cause";

/// Claims until told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    let revive_every = ROUNDS * parts.watch_every;
    let mut revived: Option<Instant> = None;
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if revived.is_none_or(|at| at.elapsed() >= revive_every) {
            match stop.run_until_cancelled(revive(&parts)).await {
                Some(Ok(())) => revived = Some(Instant::now()),
                Some(Err(error)) => tracing::warn!(%error, "batches of messages could not be looked at; tried again soon"),
                None => return,
            }
        }
        // what is claimed and not started when it stops is started by whoever looks next
        if let Some(Err(error)) = stop.run_until_cancelled(claim(&parts)).await {
            tracing::warn!(%error, "messages could not be claimed; tried again soon");
        }
    }
}

/// Starts what was claimed and has unsent messages; an open run answers for itself. What a run has left behind that ended by itself,
/// nobody will send: a person is called.
async fn revive(parts: &Parts) -> Result<(), StoreError> {
    let before = (parts.clock)() - ROUNDS * parts.watch_every;
    for batch in parts.store.claimed_batches(before, BATCH_MAX).await? {
        match start(parts, &batch.batch_id, batch.messages.clone()).await {
            // the others' turn
            Started::Open => parts.store.batch_is_alive(&batch.batch_id, (parts.clock)()).await?,
            Started::Ended => {
                for message in &batch.messages {
                    parts.store.mark_failed(message, LEFT_BEHIND, (parts.clock)()).await?;
                }
            }
            Started::No => {}
        }
    }
    Ok(())
}

async fn claim(parts: &Parts) -> Result<(), StoreError> {
    loop {
        let batch_id = uuid::Builder::from_random_bytes(rand::rng().random()).into_uuid().to_string();
        let messages = parts.store.claim_messages(&batch_id, BATCH_MAX, (parts.clock)()).await?;
        let full = messages.len() >= BATCH_MAX as usize;
        if !messages.is_empty() {
            start(parts, &batch_id, messages).await;
        }
        if !full {
            return Ok(());
        }
    }
}

/// What became of a start.
enum Started {
    /// The batch has an open run.
    Open,
    /// Its run has ended by itself.
    Ended,
    /// Nobody knows; it is repeated by [`revive`].
    No,
}

/// A run that was ended from outside is followed by another, with what it has not sent.
async fn start(parts: &Parts, batch_id: &str, messages: Vec<MessageId>) -> Started {
    let input = MailoutStart { messages, patience: parts.patience };
    let options = WorkflowStartOptions::new(Queue::Notifications.name(), mailout_workflow(batch_id))
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicateFailedOnly)
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .static_summary("messages to customers".to_owned())
        .rpc_options(call_options())
        .build();
    match parts.client.start_workflow(Mailout, input, options).await {
        Ok(_) => Started::Open,
        Err(WorkflowStartError::AlreadyStarted { .. }) => Started::Ended,
        Err(error) => {
            tracing::warn!(%error, batch_id, "a batch of messages could not be started; tried again soon");
            Started::No
        }
    }
}
