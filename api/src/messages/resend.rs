//! `POST /v1/orders/{id}/messages/{message_id}/resend`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_domain::ids::{MessageId, OrderId};
use oms_domain::life::Why;
use oms_store::{MessageRow, Resend, Resent};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MessageView;
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, Ticket, answer, begin, claim};
use crate::orders::command::ACTOR;
use crate::problem::{Code, Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::AppState;

/// Why a message is sent again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResendMessage {
    #[schema(value_type = schema::Reason)]
    reason: String,
}

/// Send a message again
///
/// It goes out as a message of its own, with an id of its own; the order's timeline says who wanted it and why.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/messages/{message_id}/resend",
    tag = "orders",
    params(
        ("id" = String, Path, description = "The order's id"),
        ("message_id" = String, Path, description = "The message's id"),
        KeyHeader
    ),
    request_body = ResendMessage,
    responses(
        (status = 201, description = "The message that goes out", body = MessageView),
        (status = 409, description = "`not_allowed_now`: it is still on its way, or what it tells is no longer true",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resend(
    State(state): State<AppState>,
    Path((id, message)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(body): Json<ResendMessage>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let reason = findings.body("/reason", Why::parse(&body.reason));
    let Some(reason) = reason else { return Err(findings.into_problem()) };
    let order_id = state.order(&id).await?.id;
    let message = MessageId::parse(message).map_err(|_| missing())?;
    let path = format!("POST /v1/orders/{order_id}/messages/{message}/resend");
    let ticket = match begin(&state, claim(&key, &path, &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } => {
            let first = row(&state, &order_id, &subject).await?;
            return Ok(answer(status, true, MessageView::from(&first)));
        }
    };
    let request = ticket.update_id("resend", message.as_str());
    let wish = Resend { order_id, message, request, reason, actor: ACTOR.to_owned() };
    match carry_out(&state, &wish).await {
        Ok(row) => settle(&state, ticket, &row).await,
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}

async fn carry_out(state: &AppState, wish: &Resend) -> Result<MessageRow, Problem> {
    match state.store.resend_message(wish, state.now()).await? {
        Resent::Done(row) => Ok(row),
        Resent::OnItsWay => Err(Problem::new(Code::NotAllowedNow, "the message is still on its way; it goes out by itself")),
        Resent::Stale(why) => Err(Problem::new(Code::NotAllowedNow, format!("the message is no longer true: {why}"))),
        Resent::Unknown => Err(missing()),
    }
}

async fn settle(state: &AppState, ticket: Ticket, row: &MessageRow) -> Result<Response, Problem> {
    let replayed = ticket.replayed;
    ticket.finish(state, StatusCode::CREATED, row.id.as_str()).await;
    Ok(answer(StatusCode::CREATED, replayed, MessageView::from(row)))
}

async fn row(state: &AppState, order: &OrderId, id: &str) -> Result<MessageRow, Problem> {
    state.store.messages_of(order).await?.into_iter().find(|row| row.id.as_str() == id).ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::not_found("message")
}
