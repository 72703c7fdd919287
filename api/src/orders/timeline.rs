//! `GET /v1/orders/{id}/timeline`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use oms_domain::ids::OrderId;
use oms_store::TimelineEntry;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Path;
use crate::problem::Problem;
use crate::schema::Money;
use crate::state::AppState;

/// What happened to an order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Timeline {
    data: Vec<TimelineView>,
}

/// One thing that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
pub(crate) struct TimelineView {
    /// The fact's number within the order; `null` for a report that decided nothing.
    seq: Option<u64>,
    /// What: `order.confirmed`, `payment.captured`, `scan.picked`, …
    #[serde(rename = "type")]
    kind: String,
    /// When it happened.
    at: DateTime<Utc>,
    /// When we wrote it down.
    recorded_at: DateTime<Utc>,
    /// Who caused it.
    actor: String,
    /// Why.
    reason: Option<String>,
    shipment_id: Option<String>,
    amount: Option<Money>,
    event_id: Option<String>,
}

impl From<TimelineEntry> for TimelineView {
    fn from(entry: TimelineEntry) -> Self {
        Self {
            seq: entry.seq,
            kind: entry.kind,
            at: entry.at,
            recorded_at: entry.recorded_at,
            actor: entry.actor,
            reason: entry.reason,
            shipment_id: entry.shipment.map(|id| id.to_string()),
            amount: entry.amount.map(Into::into),
            event_id: entry.event_id,
        }
    }
}

/// What happened to an order, when, by whom and why
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/timeline",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id")),
    responses((status = 200, description = "Oldest first", body = Timeline))
)]
pub(crate) async fn timeline(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<Timeline>, Problem> {
    let id = OrderId::parse(id).map_err(|_| Problem::not_found("order"))?;
    let entries = state.store.timeline(&id).await?;
    if entries.is_empty() {
        state.order(id.as_str()).await?;
    }
    Ok(Json(Timeline { data: entries.into_iter().map(Into::into).collect() }))
}
