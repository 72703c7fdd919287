//! `POST /v1/inventory/receipts` and `POST /v1/inventory/adjustments`.

use std::slice;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_domain::ids::{Invalid, Location, Sku};
use oms_domain::life::Why;
use oms_store::Movement;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ACTOR, LevelView, booked};
use crate::answers::Of;
use crate::extract::Json;
use crate::idempotency::{IdempotencyKey, answer, claim};
use crate::problem::{Code, Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::AppState;

/// Units of one movement at most, either way.
pub(super) const UNITS_MAX: i64 = 1_000_000;

/// Goods that came in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receipt {
    #[schema(value_type = schema::SkuText)]
    sku: String,
    /// Comes into being with its first receipt.
    #[schema(value_type = schema::LocationText)]
    location: String,
    #[schema(minimum = 1, maximum = 1_000_000)]
    quantity: i64,
    #[schema(value_type = schema::Reason)]
    reason: String,
}

/// A correction of either sign.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adjustment {
    #[schema(value_type = schema::SkuText)]
    sku: String,
    #[schema(value_type = schema::LocationText)]
    location: String,
    /// Not zero.
    #[schema(minimum = -1_000_000, maximum = 1_000_000)]
    quantity: i64,
    #[schema(value_type = schema::Reason)]
    reason: String,
}

/// Book goods in
#[utoipa::path(
    post,
    path = "/v1/inventory/receipts",
    tag = "inventory",
    params(KeyHeader),
    request_body = Receipt,
    responses((status = 201, description = "Booked; the stock now", body = LevelView))
)]
pub(crate) async fn receive(
    State(state): State<AppState>,
    key: IdempotencyKey,
    Json(body): Json<Receipt>,
) -> Result<Response, Problem> {
    let Receipt { sku, location, quantity, reason } = &body;
    let rule = (1..=UNITS_MAX).contains(quantity).then_some(*quantity).ok_or("a receipt is 1 to 1,000,000 units");
    let mut movement = movement(sku, location, rule, reason)?;
    movement.key = claim(&key, "POST /v1/inventory/receipts", &body)?;
    let (level, replayed) = booked(state.store.receive(&movement, state.now()).await?, unknown)?;
    state.settings.answers.changed(Of::Stock, slice::from_ref(&movement.sku)).await;
    Ok(answer(StatusCode::CREATED, replayed, LevelView::from(&level)))
}

/// Book a correction
#[utoipa::path(
    post,
    path = "/v1/inventory/adjustments",
    tag = "inventory",
    params(KeyHeader),
    request_body = Adjustment,
    responses(
        (status = 201, description = "Booked; the stock now", body = LevelView),
        (status = 409, description = "`below_reserved`: less than is promised to orders would be left",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn adjust(
    State(state): State<AppState>,
    key: IdempotencyKey,
    Json(body): Json<Adjustment>,
) -> Result<Response, Problem> {
    let Adjustment { sku, location, quantity, reason } = &body;
    let allowed = *quantity != 0 && (-UNITS_MAX..=UNITS_MAX).contains(quantity);
    let rule = allowed.then_some(*quantity).ok_or("an adjustment is up to 1,000,000 units of either sign, and not zero");
    let mut movement = movement(sku, location, rule, reason)?;
    movement.key = claim(&key, "POST /v1/inventory/adjustments", &body)?;
    let (level, replayed) = booked(state.store.adjust(&movement, state.now()).await?, unknown)?;
    state.settings.answers.changed(Of::Stock, slice::from_ref(&movement.sku)).await;
    Ok(answer(StatusCode::CREATED, replayed, LevelView::from(&level)))
}

fn movement(sku: &str, location: &str, quantity: Result<i64, &str>, reason: &str) -> Result<Movement, Problem> {
    let mut findings = Findings::default();
    let sku = findings.body("/sku", Sku::parse(sku));
    let location = findings.body("/location", Location::parse(location));
    let quantity = findings.body("/quantity", quantity.map_err(Invalid::new));
    let reason = findings.body("/reason", Why::parse(reason));
    match (sku, location, quantity, reason) {
        (Some(sku), Some(location), Some(quantity), Some(reason)) => {
            Ok(Movement { sku, location, quantity, reason: reason.into(), actor: ACTOR.to_owned(), key: None })
        }
        _ => Err(findings.into_problem()),
    }
}

fn unknown(code: Code) -> Problem {
    match code {
        Code::UnknownSku => Problem::at("/sku", code, "this SKU is not in the catalogue"),
        _ => Problem::at("/location", code, "this place never had a receipt; a place comes into being with its first one"),
    }
}
