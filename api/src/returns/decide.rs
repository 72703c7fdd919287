//! `POST /v1/returns/{id}/approve` and `POST /v1/returns/{id}/reject`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_contract::returning::{ApproveReturn, RejectReturn};
use oms_contract::workflow::{ApproveReturnUpdate, RejectReturnUpdate};
use oms_domain::life::Why;
use oms_domain::returning::Return;
use oms_store::StoredReturn;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReturnView;
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, Ticket, answer, begin, claim};
use crate::problem::{Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::AppState;

/// The shop takes the goods back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApproveBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Reason>)]
    reason: Option<String>,
}

/// The shop does not take the goods back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectBody {
    #[schema(value_type = schema::Reason)]
    reason: String,
}

/// Approve a return
///
/// A label is booked, and the customer is told.
#[utoipa::path(
    post,
    path = "/v1/returns/{id}/approve",
    tag = "returns",
    params(("id" = String, Path, description = "The return's id"), KeyHeader),
    request_body = ApproveBody,
    responses(
        (status = 200, description = "Approved", body = ReturnView),
        (status = 409, description = "`not_allowed_now`: it is decided already",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn approve(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<ApproveBody>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let reason = findings.body_opt("/reason", body.reason.as_deref().map(Why::parse));
    findings.check()?;
    let stored = state.stored_return(&id).await?;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/returns/{id}/approve"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, ReturnView::from(&stored))),
    };
    let update = (ApproveReturnUpdate, ticket.update_id("approve", &id));
    let command = ApproveReturn { reason, actor: Some("api".to_owned()) };
    let judged = state.steer_return(stored, update, command, Return::check_decide).await;
    settle(&state, ticket, judged).await
}

/// Reject a return
#[utoipa::path(
    post,
    path = "/v1/returns/{id}/reject",
    tag = "returns",
    params(("id" = String, Path, description = "The return's id"), KeyHeader),
    request_body = RejectBody,
    responses(
        (status = 200, description = "Rejected", body = ReturnView),
        (status = 409, description = "`not_allowed_now`: it is decided already",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn reject(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<RejectBody>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let reason = findings.body("/reason", Why::parse(&body.reason));
    let Some(reason) = reason else { return Err(findings.into_problem()) };
    let stored = state.stored_return(&id).await?;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/returns/{id}/reject"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, ReturnView::from(&stored))),
    };
    let update = (RejectReturnUpdate, ticket.update_id("reject", &id));
    let command = RejectReturn { reason, actor: Some("api".to_owned()) };
    let judged = state.steer_return(stored, update, command, Return::check_decide).await;
    settle(&state, ticket, judged).await
}

/// Answers with the return, and remembers or gives back the key.
pub(super) async fn settle(state: &AppState, ticket: Ticket, judged: Result<StoredReturn, Problem>) -> Result<Response, Problem> {
    match judged {
        Ok(stored) => {
            let replayed = ticket.replayed;
            ticket.finish(state, StatusCode::OK, stored.id.as_str()).await;
            Ok(answer(StatusCode::OK, replayed, ReturnView::from(&stored)))
        }
        Err(problem) => Err(ticket.refused(state, problem).await),
    }
}
