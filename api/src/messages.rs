//! Messages to an order's customer: which there are, and sending one again.

mod list;
mod resend;

use chrono::{DateTime, Utc};
use oms_store::MessageRow;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list::list)).routes(routes!(resend::resend))
}

/// A message to the order's customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(crate) struct MessageView {
    id: String,
    /// What it tells: `confirmed`, `shipped`, `question`, …
    #[schema(value_type = String, example = "confirmed")]
    topic: &'static str,
    /// `mail` or `sms`.
    #[schema(value_type = String, example = "mail")]
    channel: &'static str,
    /// `pending`, `claimed`, `sent`, `dropped` or `failed`; a failed one has a review item.
    #[schema(value_type = String, example = "sent")]
    state: &'static str,
    /// When it was sent, dropped or given up; before that, when the told fact happened.
    at: DateTime<Utc>,
    /// Why it was dropped, or cannot be sent.
    why: Option<String>,
    shipment_id: Option<String>,
    /// The message that it repeats at a person's wish.
    resent_of: Option<String>,
}

impl From<&MessageRow> for MessageView {
    fn from(row: &MessageRow) -> Self {
        Self {
            id: row.id.to_string(),
            topic: row.topic.as_str(),
            channel: row.channel.as_str(),
            state: row.state.as_str(),
            at: row.settled_at.unwrap_or(row.fact_at),
            why: row.why.clone(),
            shipment_id: row.shipment.as_ref().map(ToString::to_string),
            resent_of: row.resent_of.as_ref().map(ToString::to_string),
        }
    }
}
