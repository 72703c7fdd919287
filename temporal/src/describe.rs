//! How a run stands as the server sees it, without asking a worker.

use std::time::{Duration, SystemTime};

use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::{PendingActivityState, WorkflowExecutionStatus};
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, DescribeWorkflowExecutionResponse, ListWorkflowExecutionsRequest,
};
use thiserror::Error;
use tonic::{Code, Request, Status};

/// A workflow task that was tried this often without success is failing: once is a deployment, twice may be a crash.
const FAILING_ATTEMPTS: u32 = 3;

/// Why a call about a run came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The server refused it; the same call is refused again.
    #[error("the engine refused: {0}")]
    Refused(String),
    /// No answer in time, or none that helps. What was asked may still have happened.
    #[error("the engine did not answer: {0}")]
    Unanswered(String),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let reason = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::NotFound => Self::Refused(reason),
            _ => Self::Unanswered(reason),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with a result.
    Completed,
    /// By itself, with an error: a defect of ours.
    Failed,
    /// It was cancelled and let it happen.
    Cancelled,
    /// From outside.
    Terminated,
    /// It ran into the server's own limit.
    TimedOut,
    /// Another run goes on under the same id.
    ContinuedAsNew,
}

impl Ending {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
            Self::TimedOut => "timed out",
            Self::ContinuedAsNew => "continued as new",
        }
    }
}

/// An activity that failed and waits for its next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingOff {
    /// Its id within the run.
    pub activity_id: String,
    /// Its type.
    pub activity_type: String,
    /// Which attempt comes next.
    pub attempt: u32,
    /// When it comes.
    pub next_at: Option<SystemTime>,
}

/// What makes a run go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It is alive: what pauses is to be tried now.
    Nudge,
    /// It cannot go on by itself: it is to be reset.
    Reset,
}

/// How the latest run of a workflow stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunState {
    /// Which run.
    pub run_id: String,
    /// How it ended; `None` while it is open.
    pub ending: Option<Ending>,
    /// How often its pending workflow task was tried; 0 without one.
    pub task_attempt: u32,
    /// Activities that wait for their next attempt.
    pub backing_off: Vec<BackingOff>,
}

impl RunState {
    /// Whether its workflow task fails or times out again and again.
    pub fn is_failing(&self) -> bool {
        self.ending.is_none() && self.task_attempt >= FAILING_ATTEMPTS
    }

    /// What makes it go on, if it should.
    pub fn remedy(&self) -> Remedy {
        if self.ending.is_some() || self.is_failing() { Remedy::Reset } else { Remedy::Nudge }
    }

    /// How it stands, in words for an operator.
    pub fn in_words(&self) -> String {
        match (self.ending, self.backing_off.len()) {
            (Some(ending), _) => format!("its run is closed ({})", ending.as_str()),
            (None, _) if self.is_failing() => {
                format!("its workflow task was tried {} times without success", self.task_attempt)
            }
            (None, 0) => "its run is open".to_owned(),
            (None, waiting) => format!("its run is open; activities that wait for their next attempt: {waiting}"),
        }
    }
}

/// How the latest run of a workflow stands. `None`: the server knows none. Takes at most `limit`.
///
/// # Errors
/// [`CallError`].
pub async fn describe(client: &Client, workflow_id: &str, limit: Duration) -> Result<Option<RunState>, CallError> {
    let body = DescribeWorkflowExecutionRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: String::new() }),
    };
    let answer = client.connection().workflow_service().describe_workflow_execution(bounded(body, limit)).await;
    match answer {
        Ok(answer) => Ok(Some(read(answer.into_inner()))),
        // a namespace that is missing says nothing about the run
        Err(status) if status.code() == Code::NotFound && !status.message().to_lowercase().contains("namespace") => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// Ids of open workflows of a type whose workflow task the server reports to be failing, `most` at most. `None`: the server keeps
/// no such reports (they came with server 1.30, as the search attribute `TemporalReportedProblems`).
///
/// # Errors
/// [`CallError`].
pub async fn reported_failing(
    client: &Client,
    workflow_type: &str,
    most: i32,
    limit: Duration,
) -> Result<Option<Vec<String>>, CallError> {
    let body = ListWorkflowExecutionsRequest {
        namespace: client.namespace(),
        page_size: most,
        query: format!(
            "WorkflowType = '{workflow_type}' AND ExecutionStatus = 'Running' AND TemporalReportedProblems IS NOT NULL"
        ),
        ..Default::default()
    };
    match client.connection().workflow_service().list_workflow_executions(bounded(body, limit)).await {
        Ok(answer) => {
            let runs = answer.into_inner().executions.into_iter();
            Ok(Some(runs.filter_map(|run| Some(run.execution?.workflow_id)).collect()))
        }
        // the attribute is unknown
        Err(status) if status.code() == Code::InvalidArgument => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// A call that the server and we give up after `limit`.
pub(crate) fn bounded<T>(body: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(body);
    request.set_timeout(limit);
    request
}

fn read(answer: DescribeWorkflowExecutionResponse) -> RunState {
    let info = answer.workflow_execution_info.unwrap_or_default();
    let task = answer.pending_workflow_task;
    RunState {
        run_id: info.execution.as_ref().map(|e| e.run_id.clone()).unwrap_or_default(),
        ending: ending(info.status()),
        task_attempt: task.map_or(0, |task| u32::try_from(task.attempt).unwrap_or_default()),
        backing_off: answer.pending_activities.iter().filter_map(waiting).collect(),
    }
}

fn waiting(activity: &PendingActivityInfo) -> Option<BackingOff> {
    let scheduled = matches!(activity.state(), PendingActivityState::Scheduled | PendingActivityState::Paused);
    (scheduled && (activity.attempt > 1 || activity.paused)).then(|| BackingOff {
        activity_id: activity.activity_id.clone(),
        activity_type: activity.activity_type.as_ref().map(|t| t.name.clone()).unwrap_or_default(),
        attempt: u32::try_from(activity.attempt).unwrap_or_default(),
        next_at: activity.next_attempt_schedule_time.and_then(|at| SystemTime::try_from(at).ok()),
    })
}

fn ending(status: WorkflowExecutionStatus) -> Option<Ending> {
    match status {
        WorkflowExecutionStatus::Completed => Some(Ending::Completed),
        WorkflowExecutionStatus::Failed => Some(Ending::Failed),
        WorkflowExecutionStatus::Canceled => Some(Ending::Cancelled),
        WorkflowExecutionStatus::Terminated => Some(Ending::Terminated),
        WorkflowExecutionStatus::TimedOut => Some(Ending::TimedOut),
        WorkflowExecutionStatus::ContinuedAsNew => Some(Ending::ContinuedAsNew),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_failing_from_its_third_attempt_on() {
        let run = |ending, task_attempt| RunState { run_id: "r".into(), ending, task_attempt, backing_off: Vec::new() };
        assert!(!run(None, 0).is_failing());
        assert!(!run(None, 2).is_failing());
        assert!(run(None, 3).is_failing());
        assert!(!run(Some(Ending::Terminated), 9).is_failing());
        let remedies = [run(None, 1), run(None, 3), run(Some(Ending::Failed), 0)].map(|r| r.remedy());
        assert_eq!(remedies, [Remedy::Nudge, Remedy::Reset, Remedy::Reset]);
    }

    #[test]
    fn only_activities_between_two_attempts_back_off() {
        let activity = |state, attempt, paused| PendingActivityInfo {
            activity_id: "1".into(),
            state: i32::from(state),
            attempt,
            paused,
            ..Default::default()
        };
        assert!(waiting(&activity(PendingActivityState::Scheduled, 2, false)).is_some());
        assert!(waiting(&activity(PendingActivityState::Scheduled, 1, false)).is_none(), "it waits in its queue");
        assert!(waiting(&activity(PendingActivityState::Started, 2, false)).is_none(), "it runs");
        assert!(waiting(&activity(PendingActivityState::Paused, 1, true)).is_some());
    }
}
