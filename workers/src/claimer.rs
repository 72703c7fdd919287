//! Claims due messages in batches and starts a `Mailout` for each. A batch that was claimed by a process that died before the start
//! is started again under its id, so a message is claimed for good and sent by one run.

use oms_contract::names::{Queue, mailout_workflow};
use oms_contract::start::MailoutStart;
use oms_contract::workflow::Mailout;
use oms_domain::ids::MessageId;
use rand::RngExt;
use std::time::{Duration, Instant};
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use tokio_util::sync::CancellationToken;

use crate::Parts;

const EVERY: Duration = Duration::from_millis(500);
const REVIVE_EVERY: Duration = Duration::from_secs(30);
const BATCH_MAX: u32 = 50;

/// Claims until told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    let mut revived: Option<Instant> = None;
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        let due = revived.is_none_or(|at| at.elapsed() >= REVIVE_EVERY);
        let outcome = if due { revive(&parts).await } else { Ok(()) };
        if due && outcome.is_ok() {
            revived = Some(Instant::now());
        }
        if let Err(error) = match outcome {
            Ok(()) => claim(&parts).await,
            Err(error) => Err(error),
        } {
            tracing::warn!(%error, "messages could not be claimed; tried again soon");
        }
    }
}

/// Starts what was claimed and has unsent messages; a run that exists answers for itself.
async fn revive(parts: &Parts) -> Result<(), oms_store::StoreError> {
    let before = (parts.clock)() - REVIVE_EVERY;
    for batch in parts.store.claimed_batches(before, BATCH_MAX).await? {
        start(parts, &batch.batch_id, batch.messages).await;
    }
    Ok(())
}

async fn claim(parts: &Parts) -> Result<(), oms_store::StoreError> {
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

/// A start that fails is repeated by [`revive`].
async fn start(parts: &Parts, batch_id: &str, messages: Vec<MessageId>) {
    let input = MailoutStart { messages, patience: parts.patience };
    let options = WorkflowStartOptions::new(Queue::Notifications.name(), mailout_workflow(batch_id))
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .static_summary("messages to customers".to_owned())
        .build();
    match parts.client.start_workflow(Mailout, input, options).await {
        Ok(_) | Err(WorkflowStartError::AlreadyStarted { .. }) => {}
        Err(error) => tracing::warn!(%error, batch_id, "a batch of messages could not be started; tried again soon"),
    }
}
