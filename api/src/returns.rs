//! Returns: goods that come back.

mod decide;
mod label;
mod read;
mod receive;
pub(crate) mod request;

use std::time::Duration;

use chrono::{DateTime, Utc};
use oms_contract::refund::{STORY_SHAPE, Terms};
use oms_contract::returning::{ReturnAnswer, ReturnStart};
use oms_contract::workflow::Return as ReturnRun;
use oms_domain::life::Refusal;
use oms_domain::returning::{Return, ReturnId};
use oms_store::StoredReturn;
use serde::Serialize;
use temporalio_common::UpdateDefinition;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::engine::EngineError;
use crate::orders::view::QuantityView;
use crate::problem::Problem;
use crate::state::{AppState, SETTLE_MAX};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(request::request, read::of_order))
        .routes(routes!(read::list))
        .routes(routes!(read::read))
        .routes(routes!(label::label))
        .routes(routes!(decide::approve))
        .routes(routes!(decide::reject))
        .routes(routes!(receive::receive))
}

/// Goods that come back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Return)]
pub(crate) struct ReturnView {
    id: String,
    order_id: String,
    /// `requested`, `approved`, `rejected`, `received` (some of it came), `completed` or `expired`.
    #[schema(value_type = String, example = "requested")]
    state: &'static str,
    /// What is to come back.
    lines: Vec<QuantityView>,
    /// What came back, as it was inspected.
    units: Vec<InspectedView>,
    /// The shipping fee goes back with the goods.
    refund_shipping: bool,
    reason: String,
    actor: String,
    /// Why the shop does not take the goods back.
    rejected_because: Option<String>,
    /// The place that the parcel comes back to.
    location: String,
    /// The parcel's label; `GET /v1/returns/{id}/label` has it to print.
    label: Option<LabelView>,
    /// The goods are at the shop already: their parcel came back to the sender, so there is no label.
    arrived: bool,
    /// Until when goods are taken back, once it is approved.
    until: Option<DateTime<Utc>>,
    /// Ids of the refunds that it has led to, one per receipt at most.
    refunds: Vec<String>,
    /// Since when all of them are settled and nothing more comes.
    refunded_at: Option<DateTime<Utc>>,
    requested_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Grows with every change.
    version: u64,
}

/// Units as the inspection found them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Inspected)]
pub(crate) struct InspectedView {
    sku: String,
    quantity: u32,
    /// `restock`, `scrap` or `rejected`.
    #[schema(value_type = String, example = "restock")]
    condition: &'static str,
    location: Option<String>,
}

/// The parcel's label.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReturnLabel)]
pub(crate) struct LabelView {
    carrier: String,
    tracking_number: String,
}

impl From<&StoredReturn> for ReturnView {
    fn from(stored: &StoredReturn) -> Self {
        let body = &stored.body;
        let unit = |u: &oms_domain::returning::Inspected| InspectedView {
            sku: u.sku.to_string(),
            quantity: u.quantity,
            condition: u.condition.as_str(),
            location: u.location.as_ref().map(ToString::to_string),
        };
        let label = |l: &oms_domain::returning::ReturnLabel| LabelView {
            carrier: l.carrier.clone(),
            tracking_number: l.tracking_number.clone(),
        };
        Self {
            id: stored.id.to_string(),
            order_id: stored.order_id.to_string(),
            state: body.state.as_str(),
            lines: body.lines.iter().map(QuantityView::from).collect(),
            units: body.units.iter().map(unit).collect(),
            refund_shipping: stored.refund_shipping,
            reason: stored.reason.clone(),
            actor: stored.actor.clone(),
            rejected_because: body.rejected_because.clone(),
            location: stored.location.to_string(),
            label: body.label.as_ref().map(label),
            arrived: body.arrived,
            until: body.until,
            refunds: stored.refunds.iter().map(|refund| refund.id.to_string()).collect(),
            refunded_at: stored.refunded_at(),
            requested_at: stored.created_at,
            updated_at: stored.updated_at,
            version: stored.rev,
        }
    }
}

/// The input of a return's run.
fn start_of(stored: &StoredReturn) -> ReturnStart {
    ReturnStart {
        return_id: stored.id.clone(),
        order_id: stored.order_id.clone(),
        asked: Return { arrived: stored.body.arrived, ..Return::requested(stored.body.lines.clone()) },
        refund_shipping: stored.refund_shipping,
        auto_approve: stored.auto_approve,
        location: stored.location.clone(),
        requested_at: stored.created_at,
        reason: stored.reason.clone(),
        actor: stored.actor.clone(),
        terms: Terms::read(&stored.terms),
        shape: STORY_SHAPE,
    }
}

impl AppState {
    /// The return's row. Errors: 404.
    async fn stored_return(&self, id: &str) -> Result<StoredReturn, Problem> {
        let missing = || Problem::not_found("return");
        let id = ReturnId::parse(id).map_err(|_| missing())?;
        self.store.return_(&id).await?.ok_or_else(missing)
    }

    /// Asks a return's run for its verdict, or, once it has closed, its row (`judge`); answers the row that shows it.
    async fn steer_return<U>(
        &self,
        stored: StoredReturn,
        (update, update_id): (U, String),
        input: U::Input,
        judge: impl Fn(&Return) -> Result<(), Refusal>,
    ) -> Result<StoredReturn, Problem>
    where
        U: UpdateDefinition<Workflow = ReturnRun, Output = ReturnAnswer>,
        U::Input: Send,
    {
        if stored.rev == 0 {
            self.engine.start_return(start_of(&stored)).await?;
        }
        match self.engine.update_return((&stored.order_id, &stored.id), update, input, update_id).await {
            Ok(answer) => Ok(self.watch_return(stored, answer.rev).await),
            Err(EngineError::Refused(refusal)) => Err(Problem::refused(refusal, Vec::new())),
            Err(EngineError::NoRun) => {
                let stored = self.stored_return(stored.id.as_str()).await?;
                judge(&stored.body).map_err(|refusal| Problem::refused(refusal, Vec::new()))?;
                Err(EngineError::NoRun.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits a little until the row shows a record. The verdict stands; a row that cannot be read now does not change that.
    async fn watch_return(&self, mut seen: StoredReturn, rev: u64) -> StoredReturn {
        let until = Instant::now() + SETTLE_MAX;
        while seen.rev < rev && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
            if let Ok(Some(now)) = self.store.return_(&seen.id).await {
                seen = now;
            }
        }
        seen
    }
}
