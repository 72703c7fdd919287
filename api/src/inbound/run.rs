//! Routes the reports that their own request could not: the engine was away, what they are about was not here, a process was killed
//! between storing and routing. Any number of processes do so side by side.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use oms_domain::Instant;
use oms_store::Inbound;
use tokio::time::sleep;

use super::route::{Kept, deliver, park};
use crate::problem::Problem;
use crate::state::AppState;

/// How often it is looked for reports that are due.
#[derive(Debug, Clone, Copy)]
pub struct InboundPace {
    /// Pause after a look that found none.
    pub idle: Duration,
}

impl Default for InboundPace {
    fn default() -> Self {
        Self { idle: Duration::from_secs(1) }
    }
}

/// Reports per look, and how many of them at once.
const BATCH: u32 = 64;
const AT_ONCE: usize = 8;

/// Longer than a batch takes. A second process that takes over does no harm.
const LEASE: Duration = Duration::from_secs(120);

/// Routes until `shutdown` completes.
pub async fn run(state: AppState, pace: InboundPace, shutdown: impl Future<Output = ()>) {
    let work = async {
        loop {
            match turn(&state, state.now()).await {
                Ok(looked_at) if looked_at >= BATCH as usize => {}
                Ok(_) => sleep(pace.idle).await,
                Err(problem) => {
                    tracing::warn!(code = problem.code().as_str(), "reports of others wait until the database answers");
                    sleep(pace.idle).await;
                }
            }
        }
    };
    tokio::pin!(shutdown);
    tokio::select! {
        () = shutdown => {}
        () = work => {}
    }
}

/// One look for reports that are due; answers how many were.
pub(crate) async fn turn(state: &AppState, now: Instant) -> Result<usize, Problem> {
    let due = state.store.claim_inbound(now + LEASE, BATCH, now).await?;
    let count = due.len();
    stream::iter(due).for_each_concurrent(AT_ONCE, |row| again(state, row, now)).await;
    Ok(count)
}

async fn again(state: &AppState, row: Inbound, now: Instant) {
    let report = state.settings.reporters.of(&row.source).map(|reporter| reporter.read(row.body.as_bytes()));
    match report {
        Some(Ok(report)) => {
            let kept = Kept { id: &row.id, source: &row.source, report: &report, received_at: row.received_at };
            deliver(state, &kept, now).await
        }
        // its secret was taken out of the settings: whoever reads such reports may come back
        Some(Err(_)) | None => park(state, &row, now).await,
    };
}
