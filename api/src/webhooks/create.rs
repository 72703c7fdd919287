//! `POST /v1/webhooks`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_store::NewWebhook;

use super::body::{CreateWebhook, secret};
use super::{WEBHOOKS_MAX, WebhookView, find};
use crate::extract::Json;
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::problem::{Code, Problem};
use crate::schema::KeyHeader;
use crate::state::AppState;

/// Register a webhook
///
/// It is told of what happens from now on; `replay` sends what was before. The answer shows the secret, once: a repeat under the same
/// `Idempotency-Key` does not, `rotate` gives a new one.
#[utoipa::path(
    post,
    path = "/v1/webhooks",
    tag = "events",
    params(KeyHeader),
    request_body = CreateWebhook,
    responses(
        (status = 201, description = "The webhook, with its secret", body = WebhookView),
        (status = 409, description = "`not_allowed_now`: there are 100 already", body = crate::problem::ProblemBody,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    key: IdempotencyKey,
    Json(body): Json<CreateWebhook>,
) -> Result<Response, Problem> {
    let wish = body.parse(state.settings.webhooks.allow_private)?;
    let ticket = match begin(&state, claim(&key, "POST /v1/webhooks", &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } => return Ok(answer(status, true, WebhookView::of(find(&state, &subject).await?))),
    };
    let id = ticket.update_id("webhook", "");
    let secret = secret();
    let new = NewWebhook { id, url: wish.url, description: wish.description, kinds: wish.kinds, secret: secret.clone() };
    let full = || Problem::new(Code::NotAllowedNow, format!("there are {WEBHOOKS_MAX} webhooks already; delete one"));
    let made = state.store.create_webhook(&new, WEBHOOKS_MAX, state.now()).await.map_err(Problem::from);
    match made.and_then(|made| made.ok_or_else(full)) {
        Ok(webhook) => {
            let replayed = ticket.replayed;
            ticket.finish(&state, StatusCode::CREATED, &webhook.id).await;
            Ok(answer(StatusCode::CREATED, replayed, WebhookView::of(webhook).with_secret(&secret)))
        }
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}
