//! `POST /v1/orders/{id}/review`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_contract::command::Review;
use oms_contract::workflow::ReviewUpdate;
use oms_domain::ids::Invalid;
use oms_domain::life::Why;
use oms_domain::review::ReviewDecision;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::command::{ACTOR, Verdict, ask, refused};
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::problem::{Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::{AppState, SETTLE_MAX};

/// The verdict of a manual review.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewOrder {
    /// `approve`: the order goes on. `reject`: it is rejected.
    #[schema(pattern = "^(approve|reject)$", example = "approve")]
    decision: String,
    #[schema(value_type = schema::Reason)]
    reason: String,
}

/// What became of a review.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reviewed {
    /// `approved` or `rejected`.
    #[schema(value_type = String, example = "approved")]
    result: &'static str,
}

impl From<ReviewDecision> for Reviewed {
    fn from(decision: ReviewDecision) -> Self {
        Self { result: if decision == ReviewDecision::Approve { "approved" } else { "rejected" } }
    }
}

/// Decide an order's manual review
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/review",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id"), KeyHeader),
    request_body = ReviewOrder,
    responses(
        (status = 200, description = "Decided", body = Reviewed),
        (status = 409, description = "`not_allowed_now`: the order is not in review, or somebody else decided; with `allowed_actions`",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn review(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<ReviewOrder>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let decision = ReviewDecision::parse(&body.decision).ok_or_else(|| Invalid::new("approve or reject"));
    let decision = findings.body("/decision", decision);
    let reason = findings.body("/reason", Why::parse(&body.reason));
    let (Some(decision), Some(reason)) = (decision, reason) else { return Err(findings.into_problem()) };
    let order = state.order(&id).await?;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/orders/{id}/review"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, Reviewed::from(decision))),
    };
    let order_id = order.id.clone();
    let update_id = ticket.update_id("review", &id);
    let command = Review { decision, reason, actor: Some(ACTOR.to_owned()) };
    let judged = match ask(&state, order, ReviewUpdate, command, update_id).await {
        Ok(Verdict::Run(run)) => {
            // the verdict stands; a row that cannot be read now does not change that
            let _ = state.watch(&order_id, SETTLE_MAX, |order| order.rev >= run.rev).await;
            Ok(())
        }
        Ok(Verdict::Row(order)) => order.life.check_review().map_err(|refusal| refused(refusal, &order.life)),
        Err(problem) => Err(problem),
    };
    match judged {
        Ok(()) => {
            let replayed = ticket.replayed;
            ticket.finish(&state, StatusCode::OK, decision.as_str()).await;
            Ok(answer(StatusCode::OK, replayed, Reviewed::from(decision)))
        }
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}
