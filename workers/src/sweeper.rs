//! Sweeps intakes that never became orders: a crash between the intake's transaction and the workflow's start leaves a row that
//! nobody was promised. The same key finishes it; otherwise it goes, ten minutes after its last intake.

use oms_contract::names::order_workflow;
use oms_contract::workflow::Order;
use oms_domain::Instant;
use std::time::Duration;
use temporalio_client::errors::WorkflowInteractionError;
use tokio_util::sync::CancellationToken;

use crate::Parts;

const EVERY: Duration = Duration::from_secs(60);
const AFTER: Duration = Duration::from_secs(600);
const AT_ONCE_MAX: u32 = 100;

/// Sweeps until told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Err(error) = sweep(&parts, (parts.clock)() - AFTER).await {
            tracing::warn!(%error, "the sweep of unfinished intakes failed; it is tried again in a minute");
        }
    }
}

/// Removes what was taken in before `before` and has no run. A row whose run exists is only waiting for its first record.
async fn sweep(parts: &Parts, before: Instant) -> Result<(), oms_store::StoreError> {
    for row in parts.store.unstarted(before, AT_ONCE_MAX).await? {
        let handle = parts.client.get_workflow_handle::<Order>(order_workflow(&row.id));
        match handle.describe(Default::default()).await {
            Err(WorkflowInteractionError::NotFound(_)) => {
                if parts.store.forget(&row.id, row.intake_at).await? {
                    tracing::info!(order_id = %row.id, "removed an intake that was never answered");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, order_id = %row.id, "could not ask for the run of an intake"),
        }
    }
    Ok(())
}
