//! A Temporal Schedule that is there after the call, as it is wanted, whoever made it before.

use std::time::Duration;

use temporalio_client::Client;
use temporalio_client::schedules::{
    CreateScheduleOptions, ScheduleAction, ScheduleError, ScheduleIntervalSpec, ScheduleOverlapPolicy, ScheduleSpec,
};
use temporalio_common::HasWorkflowDefinition;
use temporalio_common::data_converters::TemporalSerializable;
use tonic::Code;

/// What is started again and again, and when.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The schedule's id.
    pub id: String,
    /// Pause between two starts; they lie on whole multiples of it since 1970, in UTC.
    pub every: Duration,
    /// How much later than that.
    pub offset: Duration,
    /// The task queue.
    pub queue: String,
    /// Beginning of the workflow ids; the server adds the time.
    pub workflow_id: String,
}

impl Plan {
    fn spec(&self) -> ScheduleSpec {
        let mut spec = ScheduleSpec::default();
        spec.intervals = vec![ScheduleIntervalSpec::new(self.every, Some(self.offset))];
        spec
    }
}

/// Why there is no such schedule.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The server knows no schedules, or does not let us make one. Waiting does not mend it.
    #[error("the Temporal server does not let us keep schedule {id} ({reason}): let an operator create it")]
    Refused {
        /// The schedule.
        id: String,
        /// What the server said.
        reason: String,
    },
    /// It did not answer well; worth another try.
    #[error("schedule {id} could not be kept: {reason}")]
    Failed {
        /// The schedule.
        id: String,
        /// What the server said.
        reason: String,
    },
}

/// Creates the schedule, or brings the one that exists up to date. A start that falls into a run that is still open is skipped.
/// Whether an operator paused it stays as it is. Idempotent.
///
/// # Errors
/// [`PlanError`].
pub async fn keep<W>(client: &Client, plan: &Plan, workflow: W, input: W::Input) -> Result<(), PlanError>
where
    W: HasWorkflowDefinition,
    W::Input: TemporalSerializable + Send + Sync + 'static,
{
    let action = ScheduleAction::start_workflow(workflow, input, plan.queue.clone(), plan.workflow_id.clone());
    let options = CreateScheduleOptions::builder()
        .action(action.clone())
        .spec(plan.spec())
        .overlap_policy(ScheduleOverlapPolicy::Skip)
        .build();
    let exists = match client.create_schedule(plan.id.clone(), options).await {
        Ok(_) => return Ok(()),
        Err(ScheduleError::Rpc(status)) if status.code() == Code::AlreadyExists => client.get_schedule_handle(plan.id.clone()),
        Err(error) => return Err(failed(plan, error)),
    };
    let spec = plan.spec();
    let update = exists.update(
        move |schedule| {
            schedule.set_spec(spec).set_action(action).set_overlap_policy(ScheduleOverlapPolicy::Skip);
        },
        Default::default(),
    );
    update.await.map_err(|error| failed(plan, error))
}

fn failed(plan: &Plan, error: ScheduleError) -> PlanError {
    let (id, reason) = (plan.id.clone(), error.to_string());
    match error {
        ScheduleError::Rpc(status)
            if matches!(status.code(), Code::PermissionDenied | Code::Unimplemented | Code::Unauthenticated) =>
        {
            PlanError::Refused { id, reason }
        }
        _ => PlanError::Failed { id, reason },
    }
}
