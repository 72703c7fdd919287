//! `GET /v1/refunds/{id}` and `GET /v1/orders/{id}/refunds`.

use axum::Json;
use axum::extract::State;
use oms_domain::refund::RefundId;
use serde::Serialize;
use utoipa::ToSchema;

use super::RefundView;
use crate::extract::Path;
use crate::problem::Problem;
use crate::state::AppState;

/// An order's refunds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refunds)]
pub(crate) struct RefundsView {
    /// Oldest first.
    data: Vec<RefundView>,
}

/// Read a refund
#[utoipa::path(
    get,
    path = "/v1/refunds/{id}",
    tag = "refunds",
    params(("id" = String, Path, description = "The refund's id")),
    responses((status = 200, description = "The refund", body = RefundView))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<RefundView>, Problem> {
    let missing = || Problem::not_found("refund");
    let id = RefundId::parse(id).map_err(|_| missing())?;
    let refund = state.store.refund(&id).await?.ok_or_else(missing)?;
    Ok(Json(RefundView::from(&refund)))
}

/// List an order's refunds
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/refunds",
    tag = "refunds",
    params(("id" = String, Path, description = "The order's id")),
    responses((status = 200, description = "All of them, oldest first", body = RefundsView))
)]
pub(crate) async fn of_order(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<RefundsView>, Problem> {
    let order = state.order(&id).await?;
    let refunds = state.store.refunds(&order.id).await?;
    Ok(Json(RefundsView { data: refunds.iter().map(RefundView::from).collect() }))
}
