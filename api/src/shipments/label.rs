//! `GET /v1/shipments/{id}/label`.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use oms_domain::ids::ShipmentId;

use crate::extract::Path;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// A document to print runs nothing and loads nothing.
pub(crate) const NOTHING_RUNS: (header::HeaderName, &str) =
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox");

/// Print a shipment's label
#[utoipa::path(
    get,
    path = "/v1/shipments/{id}/label",
    tag = "shipments",
    params(("id" = String, Path, description = "The shipment's id")),
    responses(
        (status = 200, description = "What the carrier wants on the parcel", body = String, content_type = "image/svg+xml"),
        (status = 404, description = "`no_label`: no courier is booked; `not_found`: there is no such shipment",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn label(State(state): State<AppState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let missing = || Problem::not_found("shipment");
    let id = ShipmentId::parse(id).map_err(|_| missing())?;
    // the parcel of a return is none of the order's shipments, and has a label of its own
    state.store.shipment(&id).await?.ok_or_else(missing)?;
    let Some(label) = state.store.label(&id).await? else {
        return Err(Problem::new(Code::NoLabel, "no courier is booked for this shipment, or its carrier gives no labels"));
    };
    Ok(([(header::CONTENT_TYPE, label.media_type.as_str()), NOTHING_RUNS], label.text).into_response())
}
