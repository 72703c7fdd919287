//! Sweeps intakes that never became orders: a crash between the intake's transaction and the workflow's start leaves a row that
//! nobody was promised. The same key finishes it; otherwise it goes, ten minutes after its last intake.

use oms_contract::names::order_workflow;
use oms_domain::Instant;
use oms_temporal::describe::describe;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::{CALL_MAX, Parts};

const EVERY: Duration = Duration::from_secs(60);
const AFTER: Duration = Duration::from_secs(600);
const AT_ONCE_MAX: u32 = 100;

/// Sweeps until told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Some(Err(error)) = stop.run_until_cancelled(sweep(&parts, (parts.clock)() - AFTER)).await {
            tracing::warn!(%error, "the sweep of unfinished intakes failed; it is tried again in a minute");
        }
    }
}

/// Removes what was taken in before `before` and has no run. A row whose run exists is only waiting for its first record.
async fn sweep(parts: &Parts, before: Instant) -> Result<(), oms_store::StoreError> {
    for row in parts.store.unstarted(before, AT_ONCE_MAX).await? {
        match describe(&parts.client, &order_workflow(&row.id), CALL_MAX).await {
            // the server knows no such run; that it does not know the namespace would be an error
            Ok(None) => {
                if parts.store.forget(&row.id, row.intake_at).await? {
                    tracing::info!(order_id = %row.id, "removed an intake that was never answered");
                }
            }
            Ok(Some(_)) => {}
            Err(error) => tracing::warn!(%error, order_id = %row.id, "could not ask for the run of an intake"),
        }
    }
    Ok(())
}
