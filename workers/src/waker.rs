//! Tells orders that wait for stock that some arrived: the transaction that books it leaves a wake for each order that it served, and
//! this delivers them as signals. It also takes back promises that ran out on articles that nobody touches, so that whoever waits
//! for those units gets them.

use futures::stream::{self, StreamExt};
use oms_contract::names::order_workflow;
use oms_contract::workflow::{Order, StockArrivedSignal};
use oms_store::Wake;
use std::time::Duration;
use temporalio_client::WorkflowSignalOptions;
use temporalio_client::errors::WorkflowInteractionError;
use tokio_util::sync::CancellationToken;

use crate::{Parts, call_options};

const EVERY: Duration = Duration::from_millis(250);
const TAKE_BACK_EVERY: Duration = Duration::from_secs(1);
const WAKES_MAX: u32 = 500;
const LAPSED_MAX: u32 = 100;
const SIGNALS_AT_ONCE: usize = 16;

/// Wakes until told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Some(Err(error)) = stop.run_until_cancelled(wake(&parts)).await {
            tracing::warn!(%error, "orders could not be told that stock arrived; tried again soon");
        }
    }
}

/// Takes promises back that have run out, until told to stop: by itself, because an engine that is silent must not keep units from those
/// who can have them.
pub(crate) async fn take_back(parts: Parts, stop: CancellationToken) {
    let mut pause = Duration::ZERO;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = TAKE_BACK_EVERY;
        match parts.store.take_back_lapsed(LAPSED_MAX, (parts.clock)()).await {
            // there may be more
            Ok(LAPSED_MAX) => pause = EVERY,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "promises that ran out could not be taken back; tried again soon"),
        }
    }
}

async fn wake(parts: &Parts) -> Result<(), oms_store::StoreError> {
    let wakes = parts.store.wakes(WAKES_MAX).await?;
    let mut answers = stream::iter(wakes).map(|wake| deliver(parts, wake)).buffer_unordered(SIGNALS_AT_ONCE);
    let mut outcome = Ok(());
    while let Some(answer) = answers.next().await {
        outcome = outcome.and(answer);
    }
    outcome
}

/// A run that is over or was never there needs no wake; one that cannot be reached now gets it with the next look.
async fn deliver(parts: &Parts, wake: Wake) -> Result<(), oms_store::StoreError> {
    let handle = parts.client.get_workflow_handle::<Order>(order_workflow(&wake.order_id));
    let options = WorkflowSignalOptions::builder().rpc_options(call_options()).build();
    match handle.signal(StockArrivedSignal, (), options).await {
        Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => parts.store.woken(&wake).await,
        Err(error) => {
            tracing::warn!(%error, order_id = %wake.order_id, "an order could not be told that stock arrived; tried again soon");
            Ok(())
        }
    }
}
