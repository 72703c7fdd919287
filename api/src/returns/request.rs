//! `POST /v1/orders/{id}/returns`.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use oms_contract::refund::Terms;
use oms_domain::ids::{Invalid, OrderId};
use oms_domain::life::Why;
use oms_domain::returning::ReturnId;
use oms_domain::stock::Quantity;
use oms_store::{NewReturn, ReturnRequested, StoredReturn};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ReturnView, start_of};
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::orders::body::LineBody;
use crate::problem::{Code, Findings, Problem};
use crate::refunds::quantities;
use crate::schema::{self, KeyHeader};
use crate::state::AppState;

/// What is to come back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReturnOrder {
    /// Units that were delivered and are in no other return.
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<LineBody>,
    #[schema(value_type = schema::Reason)]
    reason: String,
    /// The shipping fee goes back with the goods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refund_shipping: Option<bool>,
}

/// Take goods back
///
/// The shop approves or rejects; an approved return gets a label; what comes back is inspected and paid back.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/returns",
    tag = "returns",
    params(("id" = String, Path, description = "The order's id"), KeyHeader),
    request_body = ReturnOrder,
    responses(
        (status = 201, description = "Asked for", body = ReturnView, headers(
            ("Location" = String, description = "The return's path"),
            ("Idempotency-Replayed" = String, description = "`true` if the key was seen before"),
        )),
        (status = 409, description = "`return_exceeds_delivered`",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn request(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<ReturnOrder>,
) -> Result<Response, Problem> {
    let (lines, reason) = body.parse()?;
    let order = state.order(&id).await?;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/orders/{id}/returns"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } => {
            return Ok(located(answer(status, true, ReturnView::from(&state.stored_return(&subject).await?)), &subject));
        }
    };
    let terms = Terms { deadlines: state.settings.deadlines, patience: state.settings.patience };
    let new = NewReturn {
        id: key.0.as_ref().map_or_else(|| ReturnId::from_random(rand::random()), |key| ReturnId::from_key(&order.id, key)),
        order_id: order.id,
        lines,
        refund_shipping: body.refund_shipping.unwrap_or(false),
        auto_approve: false,
        arrived: false,
        reason: String::from(reason),
        actor: "api".to_owned(),
        terms: terms.keep(),
    };
    match accept(&state, &new).await {
        Ok(stored) => {
            let (replayed, id) = (ticket.replayed, stored.id.to_string());
            start(&state, &stored).await;
            ticket.finish(&state, StatusCode::CREATED, &id).await;
            Ok(located(answer(StatusCode::CREATED, replayed, ReturnView::from(&stored)), &id))
        }
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}

/// Opens an approved return of a parcel that came back to the sender, once per id: its goods are inspected, put back on the shelf and
/// paid back like those of any other.
pub(crate) async fn open_arrived(
    state: &AppState,
    id: ReturnId,
    order_id: OrderId,
    lines: Vec<Quantity>,
    (reason, actor): (String, String),
) -> Result<StoredReturn, Problem> {
    let terms = Terms { deadlines: state.settings.deadlines, patience: state.settings.patience };
    let new = NewReturn {
        id,
        order_id,
        lines,
        refund_shipping: false,
        auto_approve: true,
        arrived: true,
        reason,
        actor,
        terms: terms.keep(),
    };
    let stored = accept(state, &new).await?;
    start(state, &stored).await;
    Ok(stored)
}

async fn accept(state: &AppState, new: &NewReturn) -> Result<StoredReturn, Problem> {
    match state.store.request_return(new, state.now()).await? {
        ReturnRequested::Accepted(stored) | ReturnRequested::Known(stored) => Ok(stored),
        ReturnRequested::TooMany { sku, returnable } => {
            let detail = format!("of {sku} only {returnable} delivered units are in no other return");
            Err(Problem::new(Code::ReturnExceedsDelivered, detail))
        }
        ReturnRequested::UnknownOrder => Err(Problem::not_found("order")),
    }
}

/// Starts the return's run. The row is on record, so whoever cannot reach the engine now leaves the start to the workers.
async fn start(state: &AppState, stored: &StoredReturn) {
    match state.engine.start_return(start_of(stored)).await {
        Ok(()) => {
            if let Err(error) = state.store.mark_return_started(&stored.id, state.now()).await {
                tracing::debug!(%error, "a return's start was not noted");
            }
        }
        Err(error) => tracing::warn!(%error, return_id = %stored.id, "a return's run is left to the workers to start"),
    }
}

fn located(mut response: Response, id: &str) -> Response {
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/returns/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

impl ReturnOrder {
    fn parse(&self) -> Result<(Vec<Quantity>, Why), Problem> {
        let mut findings = Findings::default();
        let reason = findings.body("/reason", Why::parse(&self.reason));
        let lines = quantities(&mut findings, &self.lines);
        if self.lines.is_empty() {
            findings.body::<()>("/lines", Err(Invalid::new("name at least one line")));
        }
        match reason {
            Some(reason) if findings.is_clean() => Ok((lines, reason)),
            _ => Err(findings.into_problem()),
        }
    }
}
