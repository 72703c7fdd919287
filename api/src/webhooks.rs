//! Webhooks: who is told of events over HTTP.

mod body;
mod create;
mod deliveries;
mod read;
mod steer;

use chrono::{DateTime, Utc};
use oms_domain::event::event_type;
use oms_store::Webhook;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::state::AppState;

/// Webhooks of a shop at most: each costs a request per event.
const WEBHOOKS_MAX: u32 = 100;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create::create))
        .routes(routes!(read::list))
        .routes(routes!(read::read))
        .routes(routes!(read::delete))
        .routes(routes!(steer::enable))
        .routes(routes!(steer::rotate))
        .routes(routes!(steer::replay))
        .routes(routes!(deliveries::list))
}

/// An address that is told of events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookView {
    id: String,
    url: String,
    description: Option<String>,
    /// The types of events that it is told of; empty: all.
    #[schema(example = json!(["oms.order.confirmed.v1"]))]
    events: Vec<String>,
    /// `enabled`, or `disabled` after it has failed for too long.
    #[schema(value_type = String, example = "enabled")]
    state: &'static str,
    /// Why it is disabled.
    why: Option<String>,
    disabled_at: Option<DateTime<Utc>>,
    /// Since when every request has failed; null if the last one was taken.
    failing_since: Option<DateTime<Utc>>,
    /// It is left alone until then, because request after request has failed; then one event tries.
    rests_until: Option<DateTime<Utc>>,
    /// The secret before the present one signs too until then.
    old_secret_until: Option<DateTime<Utc>>,
    /// The position of the last event that was looked at for it.
    #[schema(example = "123")]
    position: String,
    /// Events that it is owed.
    pending: u64,
    created_at: DateTime<Utc>,
    /// What its requests are signed with. Shown once, by the answer that made it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl WebhookView {
    fn of(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            description: webhook.description,
            events: webhook.kinds.iter().map(|kind| event_type(kind)).collect(),
            state: webhook.state.as_str(),
            why: webhook.why,
            disabled_at: webhook.disabled_at,
            failing_since: webhook.failing_since,
            rests_until: webhook.rests_until,
            old_secret_until: webhook.old_secret_until,
            position: webhook.position.to_string(),
            pending: webhook.pending,
            created_at: webhook.created_at,
            secret: None,
        }
    }

    fn with_secret(self, secret: &oms_store::WebhookSecret) -> Self {
        Self { secret: Some(secret.0.clone()), ..self }
    }
}

/// The webhook. Errors: 404.
async fn find(state: &AppState, id: &str) -> Result<Webhook, Problem> {
    let missing = || Problem::not_found("webhook");
    // what no webhook is called is not asked for: Postgres takes no zero byte
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(missing());
    }
    state.store.webhook(id).await?.ok_or_else(missing)
}
