//! What commands to an order have in common: who answers, the run or, once it has closed, the row.

use oms_contract::workflow::Order;
use oms_domain::ids::OrderId;
use oms_domain::life::{Life, Refusal};
use oms_store::StoredOrder;
use temporalio_common::UpdateDefinition;

use crate::engine::EngineError;
use crate::problem::Problem;
use crate::state::AppState;

/// Who acts when an order is steered over HTTP, until there is identity.
pub(crate) const ACTOR: &str = "api";

/// The verdict on a command.
pub(crate) enum Verdict<T> {
    /// Of the order's run.
    Run(T),
    /// The run has closed; of the row as it will stay.
    Row(Box<StoredOrder>),
}

/// Asks the order's run, or finds it closed. Errors: the run's refusal with what may be asked instead; 503 if there is no run yet.
pub(crate) async fn ask<U>(
    state: &AppState,
    order: StoredOrder,
    update: U,
    input: U::Input,
    update_id: String,
) -> Result<Verdict<U::Output>, Problem>
where
    U: UpdateDefinition<Workflow = Order>,
    U::Input: Send,
    U::Output: 'static,
{
    if order.life.status.is_terminal() {
        return Ok(Verdict::Row(Box::new(order)));
    }
    match state.engine.update(&order.id, update, input, update_id).await {
        Ok(answer) => Ok(Verdict::Run(answer)),
        Err(EngineError::Refused(refusal)) => Err(refuse(state, &order.id, refusal).await),
        Err(EngineError::NoRun) => {
            let order = state.order(order.id.as_str()).await?;
            if order.life.status.is_terminal() { Ok(Verdict::Row(Box::new(order))) } else { Err(EngineError::NoRun.into()) }
        }
        Err(error) => Err(error.into()),
    }
}

/// The run's refusal, with what may be asked of the order instead.
async fn refuse(state: &AppState, id: &OrderId, refusal: Refusal) -> Problem {
    match state.store.order(id).await {
        Ok(Some(order)) => refused(refusal, &order.life),
        _ => Problem::refused(refusal, Vec::new()),
    }
}

/// A refusal of an order in this state.
pub(crate) fn refused(refusal: Refusal, life: &Life) -> Problem {
    Problem::refused(refusal, life.allowed_actions())
}
