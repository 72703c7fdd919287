//! `POST /v1/orders/{id}/refunds`.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use oms_contract::refund::Terms;
use oms_domain::ids::Invalid;
use oms_domain::life::Why;
use oms_domain::money::{Currency, Money};
use oms_domain::refund::{Ask, Excess, RefundId, RefundState};
use oms_store::{NewRefund, RefundRequested, StoredRefund};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::{RefundView, quantities, start_of};
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::orders::body::LineBody;
use crate::orders::place::preferred_wait;
use crate::problem::{Code, Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::AppState;

/// What is to go back. Without `lines`, `amount` and `shipping`: everything that is left.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundOrder {
    /// Units that were paid for, each with its share of the tax as it was frozen with the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    lines: Option<Vec<LineBody>>,
    /// A sum, whatever it is for; not together with the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<RefundAmount>,
    /// The shipping fee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shipping: Option<bool>,
    #[schema(value_type = schema::Reason)]
    reason: String,
}

/// A sum in the order's currency.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundAmount {
    /// Minor units.
    #[schema(minimum = 1, example = 500)]
    amount: i64,
    #[schema(value_type = schema::CurrencyCode)]
    currency: String,
}

/// Give money back
///
/// All refunds together never exceed what was taken, also under concurrency, and also after the order has ended.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/refunds",
    tag = "refunds",
    params(
        ("id" = String, Path, description = "The order's id"),
        KeyHeader,
        ("Prefer" = Option<String>, Header, description = "`wait=N`: answer once the gateway has, or after N seconds (30 at most)")
    ),
    request_body = RefundOrder,
    responses(
        (status = 201, description = "Accepted; it is tried until nothing is owed", body = RefundView, headers(
            ("Location" = String, description = "The refund's path"),
            ("Idempotency-Replayed" = String, description = "`true` if the key was seen before"),
        )),
        (status = 409, description = "`refund_exceeds_captured`, with what is `refundable`",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn request(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    headers: HeaderMap,
    Json(body): Json<RefundOrder>,
) -> Result<Response, Problem> {
    let order = state.order(&id).await?;
    let (ask, reason) = body.parse(order.currency)?;
    let refund_id = match &key.0 {
        Some(key) => RefundId::from_key(order.id.as_str(), key),
        None => RefundId::from_random(rand::random()),
    };
    let (ticket, replayed) = match begin(&state, claim(&key, &format!("POST /v1/orders/{id}/refunds"), &body)?).await? {
        Begun::Go(ticket) => {
            let replayed = ticket.replayed;
            (Some(ticket), replayed)
        }
        Begun::Done { .. } => (None, true),
    };
    let terms = Terms { deadlines: state.settings.deadlines, patience: state.settings.patience };
    let new = NewRefund {
        id: refund_id,
        order_id: order.id.clone(),
        ask,
        reason: String::from(reason),
        actor: "api".to_owned(),
        terms: terms.keep(),
    };
    // a key that was answered finds its refund again
    match accept(&state, &new).await {
        Ok(refund) => {
            if let Some(ticket) = ticket {
                start(&state, &refund).await;
                ticket.finish(&state, StatusCode::CREATED, refund.id.as_str()).await;
            }
            Ok(shown(&state, &headers, refund, replayed).await)
        }
        Err(problem) => match ticket {
            Some(ticket) => Err(ticket.refused(&state, problem).await),
            None => Err(problem),
        },
    }
}

async fn accept(state: &AppState, new: &NewRefund) -> Result<StoredRefund, Problem> {
    match state.store.request_refund(new, state.now()).await? {
        RefundRequested::Accepted(refund) | RefundRequested::Known(refund) => Ok(refund),
        RefundRequested::TooMuch(excess) => Err(too_much(&excess)),
        RefundRequested::UnknownOrder => Err(Problem::not_found("order")),
    }
}

fn too_much(excess: &Excess) -> Problem {
    let detail = match &excess.units {
        Some(units) => {
            format!("of {} only {} more paid units can be refunded; {} can go back", units.sku, units.quantity, excess.refundable)
        }
        None => format!("only {} can go back: what was taken and is in no refund yet", excess.refundable),
    };
    Problem::new(Code::RefundExceedsCaptured, detail).with_refundable(excess.refundable)
}

/// Starts the refund's run. The row is on record, so whoever cannot reach the engine now leaves the start to the workers.
async fn start(state: &AppState, refund: &StoredRefund) {
    match state.engine.start_refund(start_of(refund)).await {
        Ok(()) => {
            if let Err(error) = state.store.mark_refund_started(&refund.id, state.now()).await {
                tracing::debug!(%error, "a refund's start was not noted");
            }
        }
        Err(error) => tracing::warn!(%error, refund_id = %refund.id, "a refund's run is left to the workers to start"),
    }
}

/// The answer, once the gateway has answered or the preferred wait is over.
async fn shown(state: &AppState, headers: &HeaderMap, mut refund: StoredRefund, replayed: bool) -> Response {
    let wait = preferred_wait(headers);
    let until = Instant::now() + Duration::from_secs(wait.unwrap_or(0));
    while refund.state == RefundState::Requested && Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
        if let Ok(Some(now)) = state.store.refund(&refund.id).await {
            refund = now;
        }
    }
    let mut response = answer(StatusCode::CREATED, replayed, RefundView::from(&refund));
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/refunds/{}", refund.id)) {
        headers.insert(header::LOCATION, location);
    }
    if let Some(applied) = wait.and_then(|n| HeaderValue::from_str(&format!("wait={n}")).ok()) {
        headers.insert(HeaderName::from_static("preference-applied"), applied);
    }
    response
}

impl RefundOrder {
    fn parse(&self, currency: Currency) -> Result<(Ask, Why), Problem> {
        let mut findings = Findings::default();
        let reason = findings.body("/reason", Why::parse(&self.reason));
        let lines = quantities(&mut findings, self.lines.as_deref().unwrap_or_default());
        let shipping = self.shipping.unwrap_or(false);
        if self.amount.is_some() && (!lines.is_empty() || shipping) {
            findings.body::<()>("/amount", Err(Invalid::new("an amount stands alone, without lines and shipping")));
        }
        if self.lines.as_ref().is_some_and(Vec::is_empty) {
            findings.body::<()>("/lines", Err(Invalid::new("name at least one line, or leave lines out")));
        }
        let amount = self.amount.as_ref().and_then(|sum| {
            let given = findings.body("/amount/currency", Currency::parse(&sum.currency))?;
            let own = if given == currency { Ok(given) } else { Err(Invalid::new("the order's own currency")) };
            let own = findings.body("/amount/currency", own)?;
            let above = if sum.amount > 0 { Ok(sum.amount) } else { Err(Invalid::new("an amount is above zero")) };
            findings.body("/amount/amount", above).map(|minor| Money::new(minor, own))
        });
        match reason {
            Some(reason) if findings.is_clean() => Ok((Ask { lines, amount, shipping, up_to: false }, reason)),
            _ => Err(findings.into_problem()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::shape;
    use serde_json::json;

    #[test]
    fn refunds_are_checked() {
        let eur = Currency::parse("EUR").unwrap();
        let parse = |body: serde_json::Value| shape::<RefundOrder>(body).and_then(|body| body.parse(eur));
        let (all, _) = parse(json!({"reason": "broken"})).unwrap();
        assert_eq!(all, Ask::default());
        assert!(parse(json!({"reason": "broken", "lines": [{"sku": "a", "quantity": 1}], "shipping": true})).is_ok());
        for (body, pointer) in [
            (json!({"reason": ""}), "/reason"),
            (json!({"lines": [], "reason": "x"}), "/lines"),
            (json!({"lines": [{"sku": "a b", "quantity": 1}], "reason": "x"}), "/lines/0/sku"),
            (json!({"lines": [{"sku": "a", "quantity": 0}], "reason": "x"}), "/lines/0/quantity"),
            (json!({"amount": {"amount": 0, "currency": "EUR"}, "reason": "x"}), "/amount/amount"),
            (json!({"amount": {"amount": 5, "currency": "JPY"}, "reason": "x"}), "/amount/currency"),
            (json!({"amount": {"amount": 5, "currency": "EUR"}, "shipping": true, "reason": "x"}), "/amount"),
            (json!({"amount": 5, "reason": "x"}), "/amount"),
        ] {
            let problem = parse(body.clone()).unwrap_err();
            assert_eq!(problem.errors()[0].pointer.as_deref(), Some(pointer), "{body}");
        }
    }
}
