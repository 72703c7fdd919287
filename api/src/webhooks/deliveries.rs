//! `GET /v1/webhooks/{id}/deliveries`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use oms_domain::event::event_type;
use oms_domain::ids::Invalid;
use oms_store::{DeliveryState, DeliveryView as Delivery};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::find;
use crate::extract::{Path, Query};
use crate::page::{self, CursorKey, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::state::AppState;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDeliveries {
    /// `pending` or `delivered`; both without it.
    #[param(pattern = "^(pending|delivered)$")]
    state: Option<String>,
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The place of a page's last event.
struct Before(u64);

impl CursorKey for Before {
    const KIND: &'static str = "delivery";
    fn write(&self) -> String {
        self.0.to_string()
    }
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|n| i64::try_from(*n).is_ok()).map(Self)
    }
}

/// An event that a webhook was or is to be told of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(crate) struct DeliveryView {
    /// The event's place among all.
    #[schema(example = "123")]
    position: String,
    event_id: String,
    #[serde(rename = "type")]
    #[schema(example = "oms.order.confirmed.v1")]
    kind: String,
    /// What it is about.
    subject: String,
    /// `pending` or `delivered`.
    #[schema(value_type = String, example = "delivered")]
    state: &'static str,
    /// How often it was sent.
    attempts: u64,
    /// When it is sent next; null once it is delivered. An event waits for those of its subject before it.
    due_at: Option<DateTime<Utc>>,
    /// The receiver's last status; null if it did not answer.
    status: Option<u16>,
    /// What was wrong the last time.
    error: Option<String>,
    attempted_at: Option<DateTime<Utc>>,
}

impl DeliveryView {
    fn of(row: &Delivery) -> Self {
        Self {
            position: row.position.to_string(),
            event_id: row.event_id.clone(),
            kind: event_type(&row.kind),
            subject: row.subject.clone(),
            state: row.state.as_str(),
            attempts: row.attempts,
            due_at: (row.state == DeliveryState::Pending).then_some(row.due_at),
            status: row.status,
            error: row.error.clone(),
            attempted_at: row.attempted_at,
        }
    }
}

/// List what a webhook was and is to be told, newest event first
#[utoipa::path(
    get,
    path = "/v1/webhooks/{id}/deliveries",
    tag = "events",
    params(("id" = String, Path, description = "The webhook's id"), ListDeliveries),
    responses((status = 200, description = "One page", body = Page<DeliveryView>))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<ListDeliveries>,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    let mut findings = Findings::default();
    let wanted = query.state.map(|word| DeliveryState::parse(&word).ok_or_else(|| Invalid::new("pending or delivered")));
    let wanted = findings.parameter_opt("state", wanted);
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let before = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode::<Before>));
    findings.check()?;
    let id = find(&state, &id).await?.id;
    let rows = state.store.deliveries(&id, wanted, before.map(|before| before.0), one_more(limit)).await?;
    Ok(Json(Page::of(rows, limit, |row: &Delivery| page::encode(&Before(row.position)), DeliveryView::of)))
}
