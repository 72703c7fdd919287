//! `PUT /v1/inventory/{sku}/{location}`.

use std::slice;

use axum::extract::State;
use oms_domain::ids::{Invalid, Location, Sku};
use oms_domain::life::Why;
use oms_store::Count;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ACTOR, LevelView, booked};
use crate::answers::Of;
use crate::extract::{Json, Path};
use crate::problem::{Findings, Problem};
use crate::schema;
use crate::state::AppState;

/// Units of a count at most.
pub(super) const ON_HAND_MAX: i64 = 1_000_000_000;

/// What was counted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountBody {
    /// Units on the shelf.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    on_hand: i64,
    #[schema(value_type = schema::Reason)]
    reason: String,
}

/// Book a count
///
/// Books the difference between what was counted and what the books say.
#[utoipa::path(
    put,
    path = "/v1/inventory/{sku}/{location}",
    tag = "inventory",
    params(("sku" = String, Path, description = "The article"), ("location" = String, Path, description = "The place")),
    request_body = CountBody,
    responses(
        (status = 200, description = "Booked; the stock now", body = LevelView),
        (status = 409, description = "`below_reserved`: less was counted than is promised to orders",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn count(
    State(state): State<AppState>,
    Path((sku, location)): Path<(String, String)>,
    Json(body): Json<CountBody>,
) -> Result<axum::Json<LevelView>, Problem> {
    let missing = || Problem::not_found("SKU or location");
    let mut findings = Findings::default();
    let on_hand = Some(body.on_hand).filter(|n| (0..=ON_HAND_MAX).contains(n)).and_then(|n| u64::try_from(n).ok());
    let on_hand = findings.body("/on_hand", on_hand.ok_or_else(|| Invalid::new("on_hand is 0 to 1,000,000,000")));
    let reason = findings.body("/reason", Why::parse(&body.reason));
    let (Some(on_hand), Some(reason)) = (on_hand, reason) else { return Err(findings.into_problem()) };
    let count = Count {
        sku: Sku::parse(sku).map_err(|_| missing())?,
        location: Location::parse(location).map_err(|_| missing())?,
        on_hand,
        reason: reason.into(),
        actor: ACTOR.to_owned(),
        key: None,
    };
    let (level, _) = booked(state.store.count(&count, state.now()).await?, |_| missing())?;
    state.settings.answers.changed(Of::Stock, slice::from_ref(&count.sku)).await;
    Ok(axum::Json(LevelView::from(&level)))
}
