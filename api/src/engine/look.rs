//! What the engine itself knows of an order's run: attempts that fail, and a run that nobody carries out.

use oms_contract::failure::FailureKind;
use oms_contract::names::order_workflow;
use oms_contract::workflow::Order;
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use temporalio_client::{WorkflowDescribeOptions, WorkflowExecutionStatus};
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeWorkflowExecutionResponse;

use super::{CALL_MAX, Engine, EngineError, bounded, rpc, unreached};

/// An order's run from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// It goes on.
    pub open: bool,
    /// The pending activity that has failed most often.
    pub trouble: Option<Trouble>,
    /// The attempt at which the run's own next step is, once it has failed: workers fail at it again and again.
    pub failing_attempt: Option<u32>,
    /// Since when the run's next step waits for a worker that takes it.
    pub unserved_since: Option<Instant>,
}

/// An activity that failed and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Its name.
    pub activity: String,
    /// What the last attempt said, if the words are ours; else what is known of it.
    pub message: String,
    /// Number of the attempt that comes next or runs.
    pub attempt: u32,
    /// When the next attempt starts, unless it runs.
    pub next_attempt_at: Option<Instant>,
}

impl Engine {
    /// Looks at an order's run from outside, which works even when no worker does. Errors: [`EngineError`].
    pub async fn look(&self, order: &OrderId) -> Result<Look, EngineError> {
        bounded(CALL_MAX, async {
            let handle = self.client().await?.get_workflow_handle::<Order>(order_workflow(order));
            let options = WorkflowDescribeOptions::builder().rpc_options(rpc(CALL_MAX)).build();
            let described = handle.describe(options).await.map_err(unreached)?;
            let open = described.status() == WorkflowExecutionStatus::Running;
            Ok(seen(open, described.raw()))
        })
        .await
    }
}

fn seen(open: bool, raw: &DescribeWorkflowExecutionResponse) -> Look {
    let task = raw.pending_workflow_task.as_ref().filter(|_| open);
    let waiting = task.filter(|task| task.started_time.is_none());
    Look {
        open,
        trouble: raw.pending_activities.iter().filter_map(trouble).max_by_key(|trouble| trouble.attempt),
        failing_attempt: task.and_then(|task| u32::try_from(task.attempt).ok()).filter(|attempt| *attempt > 1),
        unserved_since: waiting.and_then(|task| task.scheduled_time.as_ref()).and_then(|at| instant(at.seconds, at.nanos)),
    }
}

fn trouble(activity: &PendingActivityInfo) -> Option<Trouble> {
    let failure = activity.last_failure.as_ref()?;
    Some(Trouble {
        activity: activity.activity_type.as_ref().map(|kind| kind.name.clone()).unwrap_or_default(),
        message: words(failure),
        attempt: u32::try_from(activity.attempt).unwrap_or_default(),
        next_attempt_at: activity.next_attempt_schedule_time.as_ref().and_then(|at| instant(at.seconds, at.nanos)),
    })
}

/// Sentences of our own failure classes; what a panic or the engine itself said stays inside.
fn words(failure: &Failure) -> String {
    match &failure.failure_info {
        Some(FailureInfo::ApplicationFailureInfo(info)) if FailureKind::ALL.iter().any(|kind| kind.name() == info.r#type) => {
            failure.message.clone()
        }
        Some(FailureInfo::TimeoutFailureInfo(_)) => "the attempt did not end in time".to_owned(),
        Some(FailureInfo::CanceledFailureInfo(_)) => "the attempt was called back".to_owned(),
        _ => "the attempt ended in a defect; see the worker's log".to_owned(),
    }
}

fn instant(seconds: i64, nanos: i32) -> Option<Instant> {
    Instant::from_timestamp(seconds, u32::try_from(nanos).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use temporalio_common::protos::temporal::api::common::v1::ActivityType;
    use temporalio_common::protos::temporal::api::failure::v1::ApplicationFailureInfo;
    use temporalio_common::protos::temporal::api::workflow::v1::PendingWorkflowTaskInfo;

    fn pending(kind: &str, message: &str, attempt: i32) -> PendingActivityInfo {
        let info = ApplicationFailureInfo { r#type: kind.to_owned(), ..Default::default() };
        PendingActivityInfo {
            activity_type: Some(ActivityType { name: "payment.capture".to_owned() }),
            attempt,
            last_failure: Some(Failure {
                message: message.to_owned(),
                failure_info: Some(FailureInfo::ApplicationFailureInfo(info)),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn the_worst_activity_is_named_and_foreign_words_stay_inside() {
        let raw = DescribeWorkflowExecutionResponse {
            pending_activities: vec![
                PendingActivityInfo { attempt: 9, ..Default::default() },
                pending("unavailable", "the outside party does not answer", 2),
                pending("panic", "secret words", 3),
            ],
            pending_workflow_task: Some(PendingWorkflowTaskInfo { attempt: 4, ..Default::default() }),
            ..Default::default()
        };
        let look = seen(true, &raw);
        let trouble = look.trouble.unwrap();
        assert_eq!((trouble.attempt, trouble.activity.as_str()), (3, "payment.capture"));
        assert!(!trouble.message.contains("secret"));
        assert_eq!(look.failing_attempt, Some(4));
        assert_eq!(seen(false, &raw).failing_attempt, None, "a closed run fails at nothing");
        assert_eq!(words(pending("unavailable", "ours", 1).last_failure.as_ref().unwrap()), "ours");
    }
}
