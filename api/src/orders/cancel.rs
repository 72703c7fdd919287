//! `POST /v1/orders/{id}/cancel`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_contract::command::Cancel;
use oms_contract::workflow::CancelUpdate;
use oms_domain::life::{CancelVerdict, Why};
use oms_domain::order::Status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::command::{Verdict, ask, refused};
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, Ticket, answer, begin, claim};
use crate::problem::{Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::{AppState, SETTLE_MAX};

/// Why an order is cancelled.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelOrder {
    #[schema(value_type = schema::Reason)]
    reason: String,
}

/// What became of a cancel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cancelled {
    /// `cancelled`: every undo is done. `cancelling`: accepted, the undo runs.
    #[schema(value_type = String, example = "cancelling")]
    result: &'static str,
}

/// Cancel an order
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/cancel",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id"), KeyHeader),
    request_body = CancelOrder,
    responses(
        (status = 200, description = "Accepted, or done before", body = Cancelled),
        (status = 409, description = "`too_late` after shipping, `not_allowed_now` on a rejected or completed order; with `allowed_actions`",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<CancelOrder>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let reason = findings.body("/reason", Why::parse(&body.reason));
    let Some(reason) = reason else { return Err(findings.into_problem()) };
    let order = state.order(&id).await?;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/orders/{id}/cancel"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => {
            let result =
                if order.life.status == Status::Cancelled { CancelVerdict::Cancelled } else { CancelVerdict::Cancelling };
            return Ok(answer(status, true, Cancelled { result: result.as_str() }));
        }
    };
    let update_id = ticket.update_id("cancel", &id);
    let command = Cancel { reason, actor: Some("api".to_owned()) };
    let judged = match ask(&state, order, CancelUpdate, command, update_id).await {
        Ok(Verdict::Run(run)) if run.result == CancelVerdict::Cancelling => {
            let shown = state.watch_for(&id, run.rev).await;
            Ok(if shown == Some(Status::Cancelled) { CancelVerdict::Cancelled } else { CancelVerdict::Cancelling })
        }
        Ok(Verdict::Run(run)) => Ok(run.result),
        Ok(Verdict::Row(mut order)) => {
            let verdict = order.life.cancel();
            verdict.map_err(|refusal| refused(refusal, &order.life))
        }
        Err(problem) => Err(problem),
    };
    settle(&state, ticket, judged).await
}

async fn settle(state: &AppState, ticket: Ticket, judged: Result<CancelVerdict, Problem>) -> Result<Response, Problem> {
    match judged {
        Ok(verdict) => {
            let replayed = ticket.replayed;
            ticket.finish(state, StatusCode::OK, verdict.as_str()).await;
            Ok(answer(StatusCode::OK, replayed, Cancelled { result: verdict.as_str() }))
        }
        Err(problem) => Err(ticket.refused(state, problem).await),
    }
}

impl AppState {
    /// Waits a little until the row shows a record; answers the order's status then. `None`: the row cannot be read now.
    async fn watch_for(&self, id: &str, rev: u64) -> Option<Status> {
        let id = oms_domain::ids::OrderId::parse(id).ok()?;
        self.watch(&id, SETTLE_MAX, |order| order.rev >= rev).await.ok().map(|order| order.life.status)
    }
}
