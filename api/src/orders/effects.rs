//! `GET /v1/orders/{id}/effects`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use oms_domain::ids::OrderId;
use oms_store::{Effect, UndoState};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Path;
use crate::problem::Problem;
use crate::schema::Money;
use crate::state::AppState;

/// What an order did to the world.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Effects {
    data: Vec<EffectView>,
}

/// One outside effect and what became of its undo.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Effect)]
pub(crate) struct EffectView {
    /// Its idempotency key, as outside parties know it.
    key: String,
    /// `reserve`, `commit`, `authorize`, `capture`, `void`, `refund`, `book`, `cancel_booking` or `message`.
    #[schema(value_type = String, example = "authorize")]
    kind: &'static str,
    /// When it came about, or was last heard of.
    at: DateTime<Utc>,
    /// Where it stands, in a word: `held`, `authorized`, `captured`, `booked`, `sent`, …
    state: String,
    amount: Option<Money>,
    /// What it is called outside: a payment's id, a parcel's number, a topic and channel.
    reference: Option<String>,
    /// `none`: nothing is to be undone. `pending`, `done`, `failed` (a person is called), or `waived`: the parcel has left.
    #[schema(value_type = String, example = "none")]
    undo: &'static str,
    /// The idempotency key of the undo, once there is one or one is due.
    undo_key: Option<String>,
    /// Who waived the undo, or settled outside what the gateway refused to take, and why.
    waived: Option<WaivedView>,
}

/// Who gave up on an effect.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Waived)]
pub(crate) struct WaivedView {
    by: String,
    reason: String,
    at: DateTime<Utc>,
}

impl From<Effect> for EffectView {
    fn from(effect: Effect) -> Self {
        Self {
            key: effect.key,
            kind: effect.kind.as_str(),
            at: effect.at,
            state: effect.state,
            amount: effect.amount.map(Into::into),
            reference: effect.reference,
            undo: effect.undo.as_str(),
            undo_key: effect.undo_key,
            waived: effect.waived.map(|waived| WaivedView { by: waived.by, reason: waived.reason, at: waived.at }),
        }
    }
}

/// Effects that are still to be taken back. `None`: the database does not say now.
pub(crate) async fn remaining(state: &AppState, order: &OrderId) -> Option<Vec<EffectView>> {
    let effects = state.store.effects(order).await.map_err(|error| tracing::debug!(%error, "effects could not be read")).ok()?;
    Some(effects.into_iter().filter(|effect| effect.undo == UndoState::Pending).map(Into::into).collect())
}

/// Every outside effect of an order, and the state of its undo
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/effects",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id")),
    responses((status = 200, description = "Oldest first", body = Effects))
)]
pub(crate) async fn effects(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<Effects>, Problem> {
    let order = state.order(&id).await?;
    let data = state.store.effects(&order.id).await?.into_iter().map(Into::into).collect();
    Ok(Json(Effects { data }))
}
