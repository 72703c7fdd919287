//! `GET /v1/imports/{id}`.

use axum::Json;
use axum::extract::State;

use super::{ImportView, find};
use crate::extract::Path;
use crate::problem::Problem;
use crate::state::AppState;

/// Read an import's progress
#[utoipa::path(
    get,
    path = "/v1/imports/{id}",
    tag = "imports",
    params(("id" = String, Path, description = "The import's id")),
    responses((status = 200, description = "How far it is", body = ImportView))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<ImportView>, Problem> {
    let import = find(&state, &id).await?;
    Ok(Json(ImportView::of(&import, state.now())))
}
