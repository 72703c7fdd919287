//! Starts the runs of refunds and returns whose rows have none yet: whoever writes the row (an order's run, a return, an API process that
//! died right after), gets it done. A run that exists answers for itself.

use oms_contract::names::{Queue, refund_workflow, return_workflow};
use oms_contract::refund::{Part, RefundStart, STORY_SHAPE, Terms};
use oms_contract::returning::ReturnStart;
use oms_contract::workflow::{Refund, Return};
use oms_store::{StoreError, StoredRefund, StoredReturn};
use std::time::Duration;
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use tokio_util::sync::CancellationToken;

use crate::{Parts, call_options};

const EVERY: Duration = Duration::from_millis(250);
const AT_ONCE: u32 = 50;

/// Starts until told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        // each by itself: what stops the one must not stop the other
        if let Some(Err(error)) = stop.run_until_cancelled(start_refunds(&parts)).await {
            tracing::warn!(%error, "refunds could not be started; tried again soon");
        }
        if let Some(Err(error)) = stop.run_until_cancelled(start_returns(&parts)).await {
            tracing::warn!(%error, "returns could not be started; tried again soon");
        }
    }
}

async fn start_refunds(parts: &Parts) -> Result<(), StoreError> {
    for refund in parts.store.unstarted_refunds(AT_ONCE).await? {
        let id = refund.id.clone();
        if start_refund(parts, refund, WorkflowIdReusePolicy::RejectDuplicate).await {
            parts.store.mark_refund_started(&id, (parts.clock)()).await?;
        }
    }
    Ok(())
}

async fn start_returns(parts: &Parts) -> Result<(), StoreError> {
    for stored in parts.store.unstarted_returns(AT_ONCE).await? {
        let id = stored.id.clone();
        if start_return(parts, stored, WorkflowIdReusePolicy::RejectDuplicate).await {
            parts.store.mark_return_started(&id, (parts.clock)()).await?;
        }
    }
    Ok(())
}

/// Starts a refund's run once more, unless one has ended well; answers whether it has one now.
pub(crate) async fn restart_refund(parts: &Parts, refund: StoredRefund) -> bool {
    start_refund(parts, refund, WorkflowIdReusePolicy::AllowDuplicateFailedOnly).await
}

/// Starts a return's run once more, unless one has ended well; answers whether it has one now.
pub(crate) async fn restart_return(parts: &Parts, stored: StoredReturn) -> bool {
    start_return(parts, stored, WorkflowIdReusePolicy::AllowDuplicateFailedOnly).await
}

async fn start_refund(parts: &Parts, refund: StoredRefund, reuse: WorkflowIdReusePolicy) -> bool {
    let options = options(refund_workflow(&refund.id), format!("refund of {}", refund.amount), reuse);
    started(parts.client.start_workflow(Refund, refund_start(refund), options).await)
}

async fn start_return(parts: &Parts, stored: StoredReturn, reuse: WorkflowIdReusePolicy) -> bool {
    let options = options(return_workflow(&stored.id), format!("return to order {}", stored.order_id), reuse);
    started(parts.client.start_workflow(Return, return_start(stored), options).await)
}

fn options(id: String, summary: String, reuse: WorkflowIdReusePolicy) -> WorkflowStartOptions {
    WorkflowStartOptions::new(Queue::Orders.name(), id)
        .id_reuse_policy(reuse)
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .static_summary(summary)
        .rpc_options(call_options())
        .build()
}

fn started<H>(answer: Result<H, WorkflowStartError>) -> bool {
    match answer {
        Ok(_) | Err(WorkflowStartError::AlreadyStarted { .. }) => true,
        Err(error) => {
            tracing::warn!(%error, "a refund or return could not be started; tried again soon");
            false
        }
    }
}

fn refund_start(refund: StoredRefund) -> RefundStart {
    let part = |p: oms_store::RefundPart| Part { part: p.part, payment_id: p.payment_id, amount: p.amount };
    RefundStart {
        refund_id: refund.id,
        order_id: refund.order_id,
        amount: refund.amount,
        parts: refund.parts.into_iter().map(part).collect(),
        requested_at: refund.created_at,
        reason: refund.reason,
        actor: refund.actor,
        terms: Terms::read(&refund.terms),
        shape: STORY_SHAPE,
    }
}

fn return_start(stored: StoredReturn) -> ReturnStart {
    ReturnStart {
        return_id: stored.id,
        order_id: stored.order_id,
        asked: stored.body,
        refund_shipping: stored.refund_shipping,
        auto_approve: stored.auto_approve,
        location: stored.location,
        requested_at: stored.created_at,
        reason: stored.reason,
        actor: stored.actor,
        terms: Terms::read(&stored.terms),
        shape: STORY_SHAPE,
    }
}
