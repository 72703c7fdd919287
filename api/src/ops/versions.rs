//! `GET /v1/ops/versions`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use oms_contract::start::SHAPE;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::state::AppState;

/// Which versions open orders are of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Versions {
    /// Open orders by version, the oldest shape first.
    data: Vec<OpenVersion>,
    this: ThisVersion,
}

/// Open orders of one version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenVersion {
    /// The shape of the workflow that they were started for.
    shape: u32,
    /// The build of the worker that wrote their last record; `null` before the first one.
    build: Option<String>,
    open_orders: u64,
    oldest_placed_at: DateTime<Utc>,
}

/// The version that answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ThisVersion {
    /// The shape that it starts orders for.
    shape: u32,
    #[schema(value_type = String)]
    build: &'static str,
}

/// Open orders per version
///
/// A version may be removed once no open order is of its shape.
#[utoipa::path(
    get,
    path = "/v1/ops/versions",
    tag = "ops",
    responses((status = 200, description = "Every version that an open order is of, and the one that answers", body = Versions))
)]
pub(crate) async fn versions(State(state): State<AppState>) -> Result<Json<Versions>, Problem> {
    let data = state.store.open_versions().await?;
    let data = data
        .into_iter()
        .map(|open| OpenVersion {
            shape: open.shape,
            build: open.build,
            open_orders: open.open_orders,
            oldest_placed_at: open.oldest_placed_at,
        })
        .collect();
    Ok(Json(Versions { data, this: ThisVersion { shape: SHAPE, build: env!("CARGO_PKG_VERSION") } }))
}
