//! `POST /v1/webhooks/{id}/enable`, `/rotate` and `/replay`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_domain::ids::Invalid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::secret;
use super::{WebhookView, find};
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::problem::{Findings, Problem};
use crate::schema::KeyHeader;
use crate::state::AppState;

/// From where events are sent again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayWebhook {
    /// The `position` of the first event to send; 1 is the first of all.
    #[schema(minimum = 1, example = 1)]
    from: u64,
}

/// Serve a disabled webhook again
///
/// It goes on with what it is owed, at once and in order; its review item closes.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/enable",
    tag = "events",
    params(("id" = String, Path, description = "The webhook's id"), KeyHeader),
    responses(
        (status = 200, description = "The webhook", body = WebhookView),
        (status = 422, description = "`validation_failed` or `idempotency_key_reused`", body = crate::problem::ProblemBody,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn enable(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
) -> Result<Response, Problem> {
    let id = find(&state, &id).await?.id;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/webhooks/{id}/enable"), &())?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, WebhookView::of(find(&state, &id).await?))),
    };
    state.store.enable_webhook(&id, state.now()).await?;
    let replayed = ticket.replayed;
    ticket.finish(&state, StatusCode::OK, &id).await;
    Ok(answer(StatusCode::OK, replayed, WebhookView::of(find(&state, &id).await?)))
}

/// Give a webhook a new secret
///
/// The answer shows it, once. For a while requests carry two signatures, of the new secret and of the one before, so that the receiver
/// can change over without missing one.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/rotate",
    tag = "events",
    params(("id" = String, Path, description = "The webhook's id"), KeyHeader),
    responses(
        (status = 200, description = "The webhook, with its new secret", body = WebhookView),
        (status = 422, description = "`validation_failed` or `idempotency_key_reused`", body = crate::problem::ProblemBody,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rotate(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
) -> Result<Response, Problem> {
    let id = find(&state, &id).await?.id;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/webhooks/{id}/rotate"), &())?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, WebhookView::of(find(&state, &id).await?))),
    };
    let (secret, rotation) = (secret(), ticket.update_id("rotate", &id));
    let until = state.now() + state.settings.webhooks.overlap;
    state.store.rotate_webhook(&id, &rotation, &secret, until).await?;
    let replayed = ticket.replayed;
    ticket.finish(&state, StatusCode::OK, &id).await;
    Ok(answer(StatusCode::OK, replayed, WebhookView::of(find(&state, &id).await?).with_secret(&secret)))
}

/// Send events again
///
/// Every event from a position on that the webhook is to be told of, once more and in order, under the ids that they had.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/replay",
    tag = "events",
    params(("id" = String, Path, description = "The webhook's id"), KeyHeader),
    request_body = ReplayWebhook,
    responses((status = 202, description = "They are on their way", body = WebhookView))
)]
pub(crate) async fn replay(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<ReplayWebhook>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let fits = (1..=i64::MAX as u64).contains(&body.from);
    findings.body("/from", if fits { Ok(()) } else { Err(Invalid::new("a position is a whole number from 1 on")) });
    findings.check()?;
    let id = find(&state, &id).await?.id;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/webhooks/{id}/replay"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, WebhookView::of(find(&state, &id).await?))),
    };
    state.store.replay_webhook(&id, body.from).await?;
    let replayed = ticket.replayed;
    ticket.finish(&state, StatusCode::ACCEPTED, &id).await;
    Ok(answer(StatusCode::ACCEPTED, replayed, WebhookView::of(find(&state, &id).await?)))
}
