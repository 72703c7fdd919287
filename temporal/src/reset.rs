//! Setting a run going again: its waiting activities at once, or the run itself from its last good workflow task.

use std::time::Duration;

use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::workflowservice::v1::reset_activity_request::Activity;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    GetWorkflowExecutionHistoryReverseRequest, ResetActivityRequest, ResetWorkflowExecutionRequest,
};
use tonic::Code;

use crate::describe::{CallError, RunState, bounded};

/// Events per page when a history is read from its end.
const PAGE: i32 = 200;

/// What became of activities that were to be tried at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// So many start now.
    Now(usize),
    /// The server cannot do that (it came with server 1.28); they start when their pause is over.
    Unsupported,
}

/// Lets every activity that pauses between two attempts start now, and forget how often it was tried.
///
/// # Errors
/// [`CallError`]. Some may start now already; doing it again does no harm.
pub async fn retry_activities_now(
    client: &Client,
    workflow_id: &str,
    run: &RunState,
    limit: Duration,
) -> Result<Retried, CallError> {
    let mut started = 0;
    for activity in &run.backing_off {
        let body = ResetActivityRequest {
            namespace: client.namespace(),
            execution: Some(execution(workflow_id, &run.run_id)),
            identity: client.identity(),
            activity: Some(Activity::Id(activity.activity_id.clone())),
            ..Default::default()
        };
        match client.connection().workflow_service().reset_activity(bounded(body, limit)).await {
            Ok(_) => started += 1,
            // it has ended in between
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) if status.code() == Code::Unimplemented => return Ok(Retried::Unsupported),
            Err(status) => return Err(status.into()),
        }
    }
    Ok(Retried::Now(started))
}

/// Starts a run anew from its last completed workflow task, or, if none ever completed, from its first one. What the task decided
/// is decided again; signals and updates that came later are heard again. Works on open and closed runs; an open one is ended.
/// Answers the new run's id, the same for the same `request_id`. `None`: there is no task to go back to.
///
/// # Errors
/// [`CallError`]; the reset may still have happened.
pub async fn reset_to_last_task(
    client: &Client,
    workflow_id: &str,
    run_id: &str,
    reason: &str,
    request_id: &str,
    limit: Duration,
) -> Result<Option<String>, CallError> {
    let Some(event_id) = last_good_task(client, workflow_id, run_id, limit).await? else { return Ok(None) };
    let body = ResetWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(execution(workflow_id, run_id)),
        reason: reason.to_owned(),
        workflow_task_finish_event_id: event_id,
        request_id: request_id.to_owned(),
        identity: client.identity(),
        ..Default::default()
    };
    let answer = client.connection().workflow_service().reset_workflow_execution(bounded(body, limit)).await?;
    Ok(Some(answer.into_inner().run_id))
}

/// The event to reset to.
async fn last_good_task(client: &Client, workflow_id: &str, run_id: &str, limit: Duration) -> Result<Option<i64>, CallError> {
    let mut first = None;
    let mut next_page_token = Vec::new();
    loop {
        let body = GetWorkflowExecutionHistoryReverseRequest {
            namespace: client.namespace(),
            execution: Some(execution(workflow_id, run_id)),
            maximum_page_size: PAGE,
            next_page_token,
        };
        let answer = client.connection().workflow_service().get_workflow_execution_history_reverse(bounded(body, limit)).await?;
        let page = answer.into_inner();
        for event in page.history.map(|h| h.events).unwrap_or_default() {
            match task_of(&event) {
                Some(Task::Completed) => return Ok(Some(event.event_id)),
                Some(Task::Begun) => first = Some(event.event_id),
                None => {}
            }
        }
        next_page_token = page.next_page_token;
        if next_page_token.is_empty() {
            return Ok(first);
        }
    }
}

enum Task {
    Completed,
    Begun,
}

fn task_of(event: &HistoryEvent) -> Option<Task> {
    match event.event_type() {
        EventType::WorkflowTaskCompleted => Some(Task::Completed),
        EventType::WorkflowTaskFailed | EventType::WorkflowTaskTimedOut | EventType::WorkflowTaskStarted => Some(Task::Begun),
        _ => None,
    }
}

fn execution(workflow_id: &str, run_id: &str) -> WorkflowExecution {
    WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: run_id.to_owned() }
}
