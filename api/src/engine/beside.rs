//! Stories beside an order's run: refunds and returns.

use futures::FutureExt;
use oms_contract::names::{Queue, refund_workflow, return_workflow};
use oms_contract::refund::RefundStart;
use oms_contract::returning::ReturnStart;
use oms_contract::workflow::{Refund, Return};
use oms_domain::ids::OrderId;
use oms_domain::returning::ReturnId;
use temporalio_client::{WorkflowExecuteUpdateOptions, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use temporalio_common::UpdateDefinition;

use super::{Engine, EngineError, PATIENCE_MAX, patient, refused, rpc, started};

fn options(id: String, summary: String) -> WorkflowStartOptions {
    WorkflowStartOptions::new(Queue::Orders.name(), id)
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .static_summary(summary)
        .rpc_options(rpc(PATIENCE_MAX))
        .build()
}

impl Engine {
    /// Starts a refund's run. A run that exists, open or closed, is as good. Errors: [`EngineError`]; the start may still have happened.
    pub async fn start_refund(&self, start: RefundStart) -> Result<(), EngineError> {
        let options = options(refund_workflow(&start.refund_id), format!("refund of {}", start.amount));
        let client = self.client().await?;
        patient(&client, async { started(client.start_workflow(Refund, start, options).await) }).await
    }

    /// Starts a return's run. A run that exists, open or closed, is as good. Errors: [`EngineError`]; the start may still have happened.
    pub async fn start_return(&self, start: ReturnStart) -> Result<(), EngineError> {
        let options = options(return_workflow(&start.return_id), format!("return to order {}", start.order_id));
        let client = self.client().await?;
        patient(&client, async { started(client.start_workflow(Return, start, options).await) }).await
    }

    /// Sends a return a command and waits for its verdict. The same `update_id` is judged once. Errors: as [`update`](Self::update).
    pub async fn update_return<U>(
        &self,
        (order, id): (&OrderId, &ReturnId),
        update: U,
        input: U::Input,
        update_id: String,
    ) -> Result<U::Output, EngineError>
    where
        U: UpdateDefinition<Workflow = Return>,
        U::Input: Send,
        U::Output: 'static,
    {
        let _turn = self.turn(order).await?;
        let client = self.client().await?;
        let handle = client.get_workflow_handle::<Return>(return_workflow(id));
        let options = WorkflowExecuteUpdateOptions::builder().update_id(update_id).rpc_options(rpc(PATIENCE_MAX)).build();
        patient(&client, handle.execute_update(update, input, options).map(|answer| answer.map_err(refused))).await
    }
}
