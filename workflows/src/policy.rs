//! Retry and timeout policy as data: how each kind of call is repeated. `docs/retries.md` shows the table to operators.

use oms_contract::failure::FailureKind;
use oms_contract::names::Queue;
use oms_contract::start::Patience;
use std::time::Duration;
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, LocalActivityOptions, RetryPolicy,
    WorkflowCancellationToken,
};

/// Growth of the pause between attempts.
pub const BACKOFF: f64 = 2.0;

/// Retried without end, with growing pauses, except for defects.
fn without_end(patience: &Patience) -> RetryPolicy {
    RetryPolicy::builder()
        .initial_interval(patience.first)
        .backoff_coefficient(BACKOFF)
        .maximum_interval(patience.most)
        .non_retryable_error_types(FailureKind::non_retryable())
        .build()
}

/// How long one attempt may take on a queue.
pub fn attempt(queue: Queue, patience: &Patience) -> Duration {
    match queue {
        Queue::Orders | Queue::Inventory => patience.sql_attempt,
        Queue::Payments | Queue::Shipping | Queue::Notifications => patience.gateway_attempt,
    }
}

/// A regular activity on `queue`. It answers a cancel only when the running attempt has ended, so that nothing fires after its undo.
pub fn activity(queue: Queue, patience: &Patience, summary: String, token: WorkflowCancellationToken) -> ActivityOptions {
    let mut options = ActivityOptions::with_start_to_close_timeout(attempt(queue, patience))
        .task_queue(queue.name().to_owned())
        .retry_policy(without_end(patience))
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .summary(summary)
        .build();
    options.cancellation_token = Some(token);
    options
}

/// The same for at most `limit` altogether: then it fails with what its last attempt failed with, if there was one.
pub fn within(limit: Duration, mut options: ActivityOptions) -> ActivityOptions {
    let start_to_close = options.close_timeouts.start_to_close().unwrap_or(limit);
    options.close_timeouts = ActivityCloseTimeouts::ScheduleAndStartToClose { schedule_to_close: limit, start_to_close };
    options
}

/// Pause after the first failure of a record on the workflow's own worker, and the longest.
const LOCAL_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How many attempts fit into `limit` if each fails at once. A schedule-to-close timeout counts from the last attempt there, so a database
/// that refuses at once would keep the workflow's task, and its history growing, for as long as it is away.
fn local_attempts(limit: Duration) -> u32 {
    let (mut pause, most) = LOCAL_PAUSES;
    let (mut attempts, mut waited) = (1, pause);
    while waited <= limit {
        attempts += 1;
        pause = pause.mul_f64(BACKOFF).min(most);
        waited += pause;
    }
    attempts
}

/// A record on the workflow's own worker, for a few seconds; what then still fails moves to the queue.
pub fn local_record(patience: &Patience, token: WorkflowCancellationToken) -> LocalActivityOptions {
    let retry = RetryPolicy::builder()
        .initial_interval(LOCAL_PAUSES.0)
        .backoff_coefficient(BACKOFF)
        .maximum_interval(LOCAL_PAUSES.1)
        .maximum_attempts(local_attempts(patience.local_record))
        .non_retryable_error_types(FailureKind::non_retryable())
        .build();
    let mut options = LocalActivityOptions::builder()
        .retry_policy(retry)
        .schedule_to_close_timeout(patience.local_record)
        .timer_backoff_threshold(patience.local_record)
        .summary("write the order's record".to_owned())
        .build();
    options.cancellation_token = Some(token);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_of_a_local_record_end_with_its_patience() {
        // pauses of 0.1, 0.2, 0.4, 0.8, 1 and 1 s lie between seven
        assert_eq!(local_attempts(Duration::from_secs(4)), 7);
        assert_eq!(local_attempts(Duration::from_millis(99)), 1);
    }
}
