//! `POST /v1/orders/{id}/decision`: the shop decides for its customer. The customer's own way is [`crate::decisions`].

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_contract::command::Decide;
use oms_contract::workflow::DecideUpdate;
use oms_domain::ids::Invalid;
use oms_domain::shortage::Decision;
use oms_store::StoredOrder;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::command::{ACTOR, Verdict, ask, refused};
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::problem::{Findings, Problem};
use crate::schema::KeyHeader;
use crate::state::{AppState, SETTLE_MAX};

/// What to do about a long wait for stock.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecideWait {
    /// `wait`: as long again. `ship_available`: what is there ships, the rest is dropped. `cancel`: what has not shipped is dropped.
    #[schema(pattern = "^(wait|ship_available|cancel)$", example = "wait")]
    pub(crate) decision: String,
}

/// What was decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Decided {
    /// `wait`, `ship_available` or `cancel`.
    #[schema(value_type = String, example = "wait")]
    pub(crate) result: &'static str,
}

impl DecideWait {
    pub(crate) fn parse(&self) -> Result<Decision, Problem> {
        let mut findings = Findings::default();
        let decision = Decision::parse(&self.decision).ok_or_else(|| Invalid::new("wait, ship_available or cancel"));
        findings.body("/decision", decision).ok_or_else(|| findings.into_problem())
    }
}

/// Decide about a long wait for stock, for the customer
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/decision",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id"), KeyHeader),
    request_body = DecideWait,
    responses(
        (status = 200, description = "Decided", body = Decided),
        (status = 409, description = "`not_allowed_now`: nothing is to be decided, or it was decided before; with `allowed_actions`",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn decide(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<DecideWait>,
) -> Result<Response, Problem> {
    let decision = body.parse()?;
    let order = state.order(&id).await?;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/orders/{id}/decision"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, Decided { result: decision.as_str() })),
    };
    let update_id = ticket.update_id("decide", &id);
    let command = Decide { decision, round: None, actor: Some(ACTOR.to_owned()) };
    match carry(&state, order, command, update_id).await {
        Ok(()) => {
            let replayed = ticket.replayed;
            ticket.finish(&state, StatusCode::OK, decision.as_str()).await;
            Ok(answer(StatusCode::OK, replayed, Decided { result: decision.as_str() }))
        }
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}

/// Tells the run, and waits a little until the row shows it. Errors: 409 if nothing is to be decided (any more).
pub(crate) async fn carry(state: &AppState, order: StoredOrder, command: Decide, update_id: String) -> Result<(), Problem> {
    let (id, round) = (order.id.clone(), command.round);
    match ask(state, order, DecideUpdate, command, update_id).await? {
        Verdict::Run(run) => {
            // the decision stands; a row that cannot be read now does not change that
            let _ = state.watch(&id, SETTLE_MAX, |order| order.rev >= run.rev).await;
            Ok(())
        }
        Verdict::Row(order) => order.life.check_decision(round).map_err(|refusal| refused(refusal, &order.life)),
    }
}
