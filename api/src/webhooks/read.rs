//! `GET /v1/webhooks`, `GET` and `DELETE /v1/webhooks/{id}`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{WebhookView, find};
use crate::extract::Path;
use crate::problem::Problem;
use crate::state::AppState;

/// All webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Webhooks {
    data: Vec<WebhookView>,
}

/// List webhooks, oldest first
#[utoipa::path(
    get,
    path = "/v1/webhooks",
    tag = "events",
    responses((status = 200, description = "All of them, without their secrets", body = Webhooks))
)]
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<Webhooks>, Problem> {
    let webhooks = state.store.webhooks().await?;
    Ok(Json(Webhooks { data: webhooks.into_iter().map(WebhookView::of).collect() }))
}

/// Read a webhook
#[utoipa::path(
    get,
    path = "/v1/webhooks/{id}",
    tag = "events",
    params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 200, description = "The webhook, without its secret", body = WebhookView))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<WebhookView>, Problem> {
    Ok(Json(WebhookView::of(find(&state, &id).await?)))
}

/// Delete a webhook, with what it is owed
#[utoipa::path(
    delete,
    path = "/v1/webhooks/{id}",
    tag = "events",
    params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 204, description = "It is gone; a request that is on its way may still arrive"))
)]
pub(crate) async fn delete(State(state): State<AppState>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let webhook = find(&state, &id).await?;
    state.store.delete_webhook(&webhook.id, state.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
