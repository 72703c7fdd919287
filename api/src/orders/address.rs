//! `POST /v1/orders/{id}/address`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_contract::command::ChangeAddress;
use oms_contract::workflow::ChangeAddressUpdate;
use oms_domain::customer::{Address, Country, Line};
use oms_domain::ids::derive;
use oms_domain::life::Why;
use oms_store::StoredOrder;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::command::{ACTOR, Verdict, ask, refused};
use super::view::OrderView;
use crate::card::refuse_cards;
use crate::extract::{Path, RawJson, shape};
use crate::idempotency::{Begun, IdempotencyKey, Ticket, answer, begin, claim};
use crate::problem::{Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::{AppState, SETTLE_MAX};

/// Where the parcel goes from now on, as in `ship_to`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveOrder {
    #[schema(value_type = schema::Line)]
    name: String,
    #[schema(value_type = schema::Line)]
    line1: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    line2: Option<String>,
    #[schema(value_type = schema::Line)]
    city: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    region: Option<String>,
    #[schema(value_type = schema::Line)]
    postal_code: String,
    /// ISO 3166-1 alpha-2.
    #[schema(pattern = r"^[A-Z]{2}$", example = "DE")]
    country: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Reason>)]
    reason: Option<String>,
}

impl MoveOrder {
    fn parse(&self) -> Result<(Address, Option<Why>), Problem> {
        let mut findings = Findings::default();
        let name = findings.body("/name", Line::parse(&self.name));
        let line1 = findings.body("/line1", Line::parse(&self.line1));
        let line2 = findings.body_opt("/line2", self.line2.clone().map(Line::parse));
        let city = findings.body("/city", Line::parse(&self.city));
        let region = findings.body_opt("/region", self.region.clone().map(Line::parse));
        let postal_code = findings.body("/postal_code", Line::parse(&self.postal_code));
        let country = findings.body("/country", Country::parse(&self.country));
        let reason = findings.body_opt("/reason", self.reason.clone().map(Why::parse));
        match (name, line1, city, postal_code, country) {
            (Some(name), Some(line1), Some(city), Some(postal_code), Some(country)) if findings.is_clean() => {
                Ok((Address { name, line1, line2, city, region, postal_code, country }, reason))
            }
            _ => Err(findings.into_problem()),
        }
    }
}

/// Send the parcel elsewhere
///
/// Allowed until a label is bought. The answer is the order with its new address.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/address",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id"), KeyHeader),
    request_body = MoveOrder,
    responses(
        (status = 200, description = "The order as it stands now", body = OrderView),
        (status = 409, description = "`too_late` once a label is bought, `not_allowed_now` on an order that has ended or is ending; with \
            `allowed_actions`", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn address(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    RawJson(body): RawJson,
) -> Result<Response, Problem> {
    refuse_cards(&body)?;
    let body: MoveOrder = shape(body)?;
    let (address, reason) = body.parse()?;
    let order = state.order(&id).await?;
    let claim = claim(&key, &format!("POST /v1/orders/{id}/address"), &body)?;
    // of key and body: a key whose request was refused is free for another address
    let change_id = match &claim {
        Some(claim) => derive(&["address", &id, &claim.client, &claim.key, &claim.fingerprint]).to_string(),
        None => uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string(),
    };
    let ticket = match begin(&state, claim).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, shown(&order, &state))),
    };
    match carry(&state, order, &ticket, change_id, (address, reason)).await {
        Ok(order) => {
            let replayed = ticket.replayed;
            ticket.finish(&state, StatusCode::OK, &id).await;
            Ok(answer(StatusCode::OK, replayed, shown(&order, &state)))
        }
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}

fn shown(order: &StoredOrder, state: &AppState) -> OrderView {
    OrderView::of(order, order.updated_at, &state.settings)
}

async fn carry(
    state: &AppState,
    order: StoredOrder,
    ticket: &Ticket,
    change_id: String,
    (address, reason): (Address, Option<Why>),
) -> Result<StoredOrder, Problem> {
    let id = order.id.clone();
    if !order.life.status.is_terminal() {
        state.store.propose_address(&change_id, &id, &address, state.now()).await?;
    }
    let update_id = ticket.update_id("change_address", id.as_str());
    let command = ChangeAddress { change_id, reason, actor: Some(ACTOR.to_owned()) };
    match ask(state, order, ChangeAddressUpdate, command, update_id).await? {
        Verdict::Run(run) => state.watch(&id, SETTLE_MAX, |order| order.rev >= run.rev).await,
        Verdict::Row(order) => match order.life.check_address() {
            Err(refusal) => Err(refused(refusal, &order.life)),
            Ok(()) => Err(Problem::unavailable("the order is not running; try again")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(body: Value) -> Result<(Address, Option<Why>), Problem> {
        shape::<MoveOrder>(body)?.parse()
    }

    fn good() -> Value {
        json!({"name": "Ada", "line1": "Street 1", "city": "Berlin", "postal_code": "10115", "country": "DE"})
    }

    #[test]
    fn an_address_may_have_a_reason_beside_it() {
        let mut body = good();
        assert!(parse(body.clone()).unwrap().1.is_none());
        body["reason"] = json!("moved");
        assert_eq!(parse(body).unwrap().1.unwrap().as_str(), "moved");
    }

    #[test]
    fn every_rule_is_named_at_its_place() {
        for (field, value, code) in [
            ("name", json!(" "), "invalid"),
            ("line2", json!(""), "invalid"),
            ("country", json!("de"), "invalid"),
            ("city", json!(""), "invalid"),
            ("reason", json!(""), "invalid"),
            ("reason", json!(7), "invalid_type"),
            ("line1", json!(7), "invalid_type"),
            ("planet", json!("Mars"), "unknown_field"),
        ] {
            let mut body = good();
            body[field] = value;
            let problem = parse(body).unwrap_err();
            assert_eq!((problem.errors()[0].pointer.clone(), problem.errors()[0].code), (Some(format!("/{field}")), code));
        }
        let mut body = good();
        body.as_object_mut().unwrap().remove("city");
        assert_eq!(parse(body).unwrap_err().errors()[0].code, "missing");
    }
}
