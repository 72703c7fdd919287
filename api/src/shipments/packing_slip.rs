//! `GET /v1/shipments/{id}/packing-slip`.

mod sheet;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use oms_domain::ids::ShipmentId;

use super::label::NOTHING_RUNS;
use crate::extract::Path;
use crate::problem::Problem;
use crate::state::AppState;

/// Print a shipment's packing slip
///
/// In the customer's language, on sheets of A4 one below the other.
#[utoipa::path(
    get,
    path = "/v1/shipments/{id}/packing-slip",
    tag = "shipments",
    params(("id" = String, Path, description = "The shipment's id")),
    responses((status = 200, description = "Sheets to print", body = String, content_type = "image/svg+xml"))
)]
pub(crate) async fn packing_slip(State(state): State<AppState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let missing = || Problem::not_found("shipment");
    let id = ShipmentId::parse(id).map_err(|_| missing())?;
    let stored = state.store.shipment(&id).await?.ok_or_else(missing)?;
    let order = state.store.order(&stored.order_id).await?.ok_or_else(missing)?;
    let drawn = sheet::draw(&order, &stored.shipment, &state.settings.shop);
    Ok(([(header::CONTENT_TYPE, "image/svg+xml"), NOTHING_RUNS], drawn).into_response())
}
