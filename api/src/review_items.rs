//! What needs a person: the queue of it, and its typed resolutions.

mod list;
mod resolve;

use chrono::{DateTime, Utc};
use oms_domain::ids::OrderId;
use oms_domain::reconciliation::FindingKind;
use oms_domain::review::{RETURNED_TO_SENDER, Resolution, resolutions};
use oms_store::{ItemFilter, ItemSource, ItemState, ReviewItem};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::state::AppState;

/// The action that opens a return.
const OPEN_RETURN: &str = "open_return";

/// Open items of one order that are told at most.
const OF_ORDER_MAX: u32 = 100;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list::list)).routes(routes!(list::read)).routes(routes!(resolve::resolve))
}

/// Something that needs a person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReviewItem)]
pub(crate) struct ItemView {
    id: String,
    /// A stable word: `capture_refused`, `lost`, `stuck`, `refund_refused`, …
    kind: String,
    /// Who saw it: `order`, `watchdog`, `refund`, `return`, `reconciliation`, `message`, `carrier` or `webhook`.
    #[schema(value_type = String, example = "order")]
    source: &'static str,
    order_id: Option<String>,
    shipment_id: Option<String>,
    /// What it is about: the id of an order, shipment, refund, return, payment, message or webhook.
    subject: String,
    /// A sentence for the operator.
    detail: String,
    /// `open`, `resolved` (by a person) or `settled` (by itself).
    #[schema(value_type = String, example = "open")]
    state: &'static str,
    opened_at: DateTime<Utc>,
    /// How long it has been open, or was.
    age_seconds: u64,
    /// What may be done about it: `retry`, `use_external_reference`, `refund_and_close`, `cancel`, `open_return`. Empty once it is
    /// closed.
    #[schema(value_type = Vec<String>)]
    resolutions: Vec<&'static str>,
    closed_at: Option<DateTime<Utc>>,
    /// What a person decided.
    #[schema(value_type = Option<String>)]
    action: Option<&'static str>,
    /// Where it was settled outside.
    reference: Option<String>,
    /// Why.
    reason: Option<String>,
    /// Who decided.
    actor: Option<String>,
    links: ItemLinks,
}

/// Where to look further.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReviewItemLinks)]
pub(crate) struct ItemLinks {
    #[serde(rename = "self")]
    this: String,
    order: Option<String>,
    timeline: Option<String>,
}

impl ItemView {
    /// The item as it is shown at `now`.
    fn of(item: &ReviewItem, now: DateTime<Utc>) -> Self {
        let age = item.closed_at.unwrap_or(now) - item.opened_at;
        let decided = item.resolution.as_ref();
        let order = item.order_id.as_ref().map(|order| format!("/v1/orders/{order}"));
        Self {
            id: item.id.clone(),
            kind: item.kind.clone(),
            source: item.source.as_str(),
            order_id: item.order_id.as_ref().map(ToString::to_string),
            shipment_id: item.shipment_id.as_ref().map(ToString::to_string),
            subject: item.subject.clone(),
            detail: item.detail.clone(),
            state: item.state.as_str(),
            opened_at: item.opened_at,
            age_seconds: u64::try_from(age.num_seconds()).unwrap_or_default(),
            resolutions: moves(item).iter().map(|action| action.as_str()).chain(opens_return(item)).collect(),
            closed_at: item.closed_at,
            action: decided.map(|decided| decided.action.as_str()),
            reference: decided.and_then(|decided| decided.reference.clone()),
            reason: decided.map(|decided| decided.reason.to_string()),
            actor: decided.map(|decided| decided.actor.clone()),
            links: ItemLinks {
                this: format!("/v1/review-items/{}", item.id),
                timeline: order.as_ref().map(|order| format!("{order}/timeline")),
                order,
            },
        }
    }
}

/// What may be done about an item now.
fn moves(item: &ReviewItem) -> &'static [Resolution] {
    match (item.state, item.source) {
        (ItemState::Open, ItemSource::Reconciliation) => {
            FindingKind::parse(&item.kind).map_or(&[Resolution::UseExternalReference], FindingKind::resolutions)
        }
        (ItemState::Open, _) => resolutions(&item.kind),
        (ItemState::Resolved | ItemState::Settled, _) => &[],
    }
}

/// The move that a parcel has which came back: its goods are inspected as a return's are. To whoever owns the item it is settled
/// elsewhere, namely by that return.
fn opens_return(item: &ReviewItem) -> Option<&'static str> {
    let back = item.state == ItemState::Open && item.kind == RETURNED_TO_SENDER && item.shipment_id.is_some();
    back.then_some(OPEN_RETURN)
}

/// Ids of an order's open items, oldest first.
pub(crate) async fn open_items_of(state: &AppState, order: &OrderId) -> Result<Vec<String>, Problem> {
    let filter = ItemFilter { state: Some(ItemState::Open), order_id: Some(order.clone()), ..Default::default() };
    let items = state.store.review_items(&filter, None, OF_ORDER_MAX).await?;
    Ok(items.into_iter().map(|item| item.id).collect())
}
