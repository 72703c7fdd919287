//! `POST /v1/orders/{id}/holds` and `DELETE /v1/orders/{id}/holds/{hold}`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_contract::command::{PlaceHold, ReleaseHold};
use oms_contract::workflow::{PlaceHoldUpdate, ReleaseHoldUpdate};
use oms_domain::Instant;
use oms_domain::ids::{HoldId, Invalid};
use oms_domain::life::{HoldKind, Why};
use oms_store::StoredOrder;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::command::{ACTOR, Verdict, ask, refused};
use super::view::{HoldView, OrderView};
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, Ticket, answer, begin, claim};
use crate::page::instant;
use crate::problem::{Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::{AppState, SETTLE_MAX};

/// A stop.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldOrder {
    /// What kind, in the shop's own words.
    #[schema(pattern = r"^[A-Za-z0-9_.-]{1,64}$", example = "fraud")]
    kind: String,
    #[schema(value_type = schema::Reason)]
    reason: String,
    /// When it ends by itself; never without it. Must lie ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<chrono::DateTime<chrono::Utc>>)]
    until: Option<String>,
}

/// Stop an order for a while
///
/// While any hold is open, no capture and no booking starts.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/holds",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id"), KeyHeader),
    request_body = HoldOrder,
    responses(
        (status = 201, description = "The hold", body = HoldView),
        (status = 409, description = "`not_allowed_now`: the order has ended or is ending; with `allowed_actions`",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn hold(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<HoldOrder>,
) -> Result<Response, Problem> {
    let (kind, reason, until) = body.parse(state.now())?;
    let order = state.order(&id).await?;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/orders/{id}/holds"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } => {
            let first: HoldView = serde_json::from_str(&subject).map_err(|_| Problem::internal())?;
            return Ok(answer(status, true, first));
        }
    };
    let hold_id = match &key.0 {
        Some(key) => HoldId::from_key(&order.id, key),
        None => HoldId::parse(uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string())
            .map_err(|_| Problem::internal())?,
    };
    match place(&state, order, &ticket, hold_id, (kind, reason, until)).await {
        Ok(view) => {
            let replayed = ticket.replayed;
            let subject = serde_json::to_string(&view).map_err(|_| Problem::internal())?;
            ticket.finish(&state, StatusCode::CREATED, &subject).await;
            Ok(answer(StatusCode::CREATED, replayed, view))
        }
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}

async fn place(
    state: &AppState,
    order: StoredOrder,
    ticket: &Ticket,
    hold_id: HoldId,
    (kind, reason, until): (HoldKind, Why, Option<Instant>),
) -> Result<HoldView, Problem> {
    let (id, asked_at) = (order.id.clone(), state.now());
    let command =
        PlaceHold { id: Some(hold_id.clone()), kind: kind.clone(), reason: reason.clone(), until, actor: Some(ACTOR.to_owned()) };
    let update_id = ticket.update_id("place_hold", id.as_str());
    let run = match ask(state, order, PlaceHoldUpdate, command, update_id).await? {
        Verdict::Run(run) => run,
        Verdict::Row(order) => {
            order.life.check_hold().map_err(|refusal| refused(refusal, &order.life))?;
            return Err(Problem::unavailable("the order is not running; try again"));
        }
    };
    // the hold stands; a row that cannot be read now does not change that
    let seen = state.watch(&id, SETTLE_MAX, |order| order.rev >= run.rev).await.ok();
    let shown = seen.and_then(|order| order.life.holds.iter().find(|h| h.id == run.id).map(HoldView::from));
    Ok(shown.unwrap_or_else(|| HoldView {
        id: run.id.to_string(),
        kind: kind.to_string(),
        reason: reason.to_string(),
        actor: ACTOR.to_owned(),
        placed_at: asked_at,
        until,
    }))
}

impl HoldOrder {
    fn parse(&self, now: Instant) -> Result<(HoldKind, Why, Option<Instant>), Problem> {
        let mut findings = Findings::default();
        let kind = findings.body("/kind", HoldKind::parse(&self.kind));
        let reason = findings.body("/reason", Why::parse(&self.reason));
        let ahead = |at: Instant| if at > now { Ok(at) } else { Err(Invalid::new("until lies ahead")) };
        let until = findings.body_opt("/until", self.until.as_deref().map(|text| instant(text).and_then(ahead)));
        match (kind, reason) {
            (Some(kind), Some(reason)) if findings.is_clean() => Ok((kind, reason, until)),
            _ => Err(findings.into_problem()),
        }
    }
}

/// Let an order go on
#[utoipa::path(
    delete,
    path = "/v1/orders/{id}/holds/{hold}",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id"), ("hold" = String, Path, description = "The hold's id")),
    responses((status = 200, description = "The order without the hold", body = OrderView))
)]
pub(crate) async fn release(
    State(state): State<AppState>,
    Path((id, hold)): Path<(String, String)>,
) -> Result<axum::Json<OrderView>, Problem> {
    let order = state.order(&id).await?;
    let hold = HoldId::parse(hold).map_err(|_| Problem::not_found("hold"))?;
    let update_id = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    let (order_id, command) = (order.id.clone(), ReleaseHold { id: hold, reason: None, actor: Some(ACTOR.to_owned()) });
    match ask(&state, order, ReleaseHoldUpdate, command, update_id).await? {
        Verdict::Run(run) => {
            let order = state.watch(&order_id, SETTLE_MAX, |order| order.rev >= run.rev).await?;
            Ok(axum::Json(OrderView::of(&order, order.updated_at, &state.settings)))
        }
        // holds end with the order
        Verdict::Row(_) => Err(Problem::not_found("open hold; see holds of the order")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_are_checked() {
        let now = instant("2026-01-01T00:00:00Z").unwrap();
        let body = |kind: &str, reason: &str, until: Option<&str>| HoldOrder {
            kind: kind.to_owned(),
            reason: reason.to_owned(),
            until: until.map(str::to_owned),
        };
        assert!(body("fraud", "odd", Some("2026-01-01T00:00:01Z")).parse(now).is_ok());
        for (body, pointer) in [
            (body("", "odd", None), "/kind"),
            (body("a b", "odd", None), "/kind"),
            (body("fraud", "", None), "/reason"),
            (body("fraud", &"x".repeat(501), None), "/reason"),
            (body("fraud", "odd", Some("2026-01-01T00:00:00Z")), "/until"),
            (body("fraud", "odd", Some("tomorrow")), "/until"),
        ] {
            let problem = body.parse(now).unwrap_err();
            assert_eq!(problem.errors()[0].pointer.as_deref(), Some(pointer));
        }
    }
}
