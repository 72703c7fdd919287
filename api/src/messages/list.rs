//! `GET /v1/orders/{id}/messages`.

use axum::Json;
use axum::extract::State;
use oms_domain::ids::OrderId;
use serde::Serialize;
use utoipa::ToSchema;

use super::MessageView;
use crate::extract::Path;
use crate::problem::Problem;
use crate::state::AppState;

/// Messages to the order's customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Messages {
    data: Vec<MessageView>,
}

/// What the order's customer was told
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/messages",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id")),
    responses((status = 200, description = "Oldest first", body = Messages))
)]
pub(crate) async fn list(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<Messages>, Problem> {
    let id = OrderId::parse(id).map_err(|_| Problem::not_found("order"))?;
    let rows = state.store.messages_of(&id).await?;
    if rows.is_empty() {
        state.order(id.as_str()).await?;
    }
    Ok(Json(Messages { data: rows.iter().map(Into::into).collect() }))
}
