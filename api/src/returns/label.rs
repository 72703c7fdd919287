//! `GET /v1/returns/{id}/label`.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use oms_domain::ids::ShipmentId;

use crate::extract::Path;
use crate::problem::{Code, Problem};
use crate::shipments::NOTHING_RUNS;
use crate::state::AppState;

/// Print a return's label
#[utoipa::path(
    get,
    path = "/v1/returns/{id}/label",
    tag = "returns",
    params(("id" = String, Path, description = "The return's id")),
    responses(
        (status = 200, description = "What the carrier wants on the parcel that comes back", body = String,
            content_type = "image/svg+xml"),
        (status = 404, description = "`no_label`: no parcel of ours is booked; `not_found`: there is no such return",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn label(State(state): State<AppState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let stored = state.stored_return(&id).await?;
    // the carrier knows a return by its own id
    let parcel = ShipmentId::parse(stored.id.as_str()).map_err(|_| Problem::not_found("return"))?;
    match state.store.label(&parcel).await? {
        Some(label) => Ok(([(header::CONTENT_TYPE, label.media_type.as_str()), NOTHING_RUNS], label.text).into_response()),
        None => Err(Problem::new(Code::NoLabel, "no parcel is booked for this return, or its carrier gives no labels")),
    }
}
