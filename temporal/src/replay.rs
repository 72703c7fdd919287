//! Recorded histories against today's workflow code: what replays here does not break a running order.

use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{Client, UntypedWorkflow, WorkflowHistory, WorkflowHistoryError};
use temporalio_common::WorkflowDefinition;
use temporalio_sdk::workflow_replayer::{WorkflowReplayError, WorkflowReplayer, WorkflowReplayerOptions};
use temporalio_workflow::workflows::WorkflowImplementation;
use thiserror::Error;

/// Why a history was not fetched or did not replay.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The bytes are no history, or the server did not give one.
    #[error("the history cannot be read: {0}")]
    History(#[from] WorkflowHistoryError),
    /// The server did not give the history.
    #[error("the history cannot be fetched: {0}")]
    Fetch(#[from] WorkflowInteractionError),
    /// The workflow type cannot be registered for replay.
    #[error("the workflow cannot be registered for replay: {0}")]
    Registration(String),
    /// The code and the history disagree; the text names the event.
    #[error(transparent)]
    Replay(#[from] WorkflowReplayError),
}

/// Replays one recorded history (JSON) against workflow `W`.
///
/// # Errors
/// [`ReplayError::Replay`] when the code would have decided differently, others when the input is unusable.
pub async fn replay<W>(history_json: &[u8]) -> Result<(), ReplayError>
where
    W: WorkflowImplementation,
    <W::Run as WorkflowDefinition>::Input: Send,
{
    let options =
        WorkflowReplayerOptions::new().register_workflow::<W>().map_err(|e| ReplayError::Registration(e.to_string()))?.build();
    let history = WorkflowHistory::from_json(history_json)?;
    WorkflowReplayer::new(options)?.replay_workflow(history).await?;
    Ok(())
}

/// Fetches the history of the latest run of `workflow_id` as JSON, in the form that [`replay`] takes.
///
/// # Errors
/// [`ReplayError::History`] when the run is unknown or the server is away.
pub async fn download_history(client: &Client, workflow_id: &str) -> Result<Vec<u8>, ReplayError> {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(workflow_id);
    Ok(handle.fetch_history(Default::default()).to_json().await?)
}
