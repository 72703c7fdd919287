//! `GET /metrics`.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::state::AppState;

/// Metrics in the Prometheus text format
///
/// `oms_orders`, `oms_orders_stuck`, `oms_review_items_open` and `oms_orders_open` count what the database holds, at most a few
/// seconds ago; everything else is about this process.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "ops",
    responses((status = 200, description = "All metrics", body = String, content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(state): State<AppState>) -> Response {
    state.metrics.run_upkeep();
    let text = format!("{}{}", state.metrics.render(), state.gauges.render(&state.store, state.now()).await);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
