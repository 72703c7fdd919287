//! `POST /v1/inbound/payments` and `POST /v1/inbound/carriers/{code}`.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use oms_domain::customer::no_control;
use oms_store::NewInbound;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::route::{Fate, Kept, deliver};
use super::{About, CARRIER, NotTaken, PAYMENT, Reporter};
use crate::extract::{Path, RawBody};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// A sender gets its answer within this; what is not routed by then is routed without it.
const ROUTE_MAX: Duration = Duration::from_secs(3);

/// Whoever looks for reports that are due leaves a new one to its request for so long.
const HANDS_OFF: Duration = Duration::from_secs(5);

/// What became of a report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Received {
    /// `accepted`: kept, and routed to its order now or as soon as that is possible. `duplicate`: this event came before. `parked`: nothing
    /// here is what it is about; it is looked for again for 24 hours. `ignored`: kept, and decides nothing here.
    #[schema(value_type = String, example = "accepted")]
    result: &'static str,
}

fn received(result: &'static str) -> Response {
    (StatusCode::ACCEPTED, axum::Json(Received { result })).into_response()
}

/// The payment gateway reports
///
/// A webhook in Stripe's form, signed with `Stripe-Signature`. It decides nothing by itself: the order that it is about asks the gateway.
/// While no secret is set (`STRIPE_WEBHOOK_SECRET`), nothing is taken: 503.
#[utoipa::path(
    post,
    path = "/v1/inbound/payments",
    tag = "inbound",
    operation_id = "receivePaymentReport",
    request_body(content = serde_json::Value, description = "An event as Stripe sends it, of whatever version"),
    responses(
        (status = 202, description = "Kept", body = Received),
        (status = 401, description = "`unauthorized`: not signed with a secret of ours within the last five minutes",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn payments(
    State(state): State<AppState>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    let reporter = state.settings.reporters.payments.clone().ok_or_else(|| {
        Problem::unavailable(
            "reports of payments are not taken, because no secret is set that signs them: set STRIPE_WEBHOOK_SECRET",
        )
    })?;
    take(&state, PAYMENT.to_owned(), reporter.as_ref(), &headers, &body).await
}

/// A carrier reports
///
/// A webhook about a parcel, signed with `Carrier-Signature`; see docs/carrier.md. It is heard as `POST /v1/shipments/{id}/events` would.
/// A code that is not `carrier.http.code`, and every code while `carrier.http.webhook_secret` is not set, is 404.
#[utoipa::path(
    post,
    path = "/v1/inbound/carriers/{code}",
    tag = "inbound",
    operation_id = "receiveCarrierReport",
    params(("code" = String, Path, description = "The carrier's code in our settings")),
    request_body(content = serde_json::Value, description = "`{id, code, occurred_at, tracking_number?, reference?}`; other fields are ignored"),
    responses(
        (status = 202, description = "Kept", body = Received),
        (status = 401, description = "`unauthorized`: not signed with a secret of ours within the last five minutes",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn carrier(
    State(state): State<AppState>,
    Path(code): Path<String>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    let reporter = state.settings.reporters.carriers.get(&code).cloned().ok_or_else(|| {
        let detail = "no reports of such a carrier are taken: set carrier.http.webhook_secret, and post to its carrier.http.code";
        Problem::new(Code::NotFound, detail)
    })?;
    take(&state, format!("{CARRIER}{code}"), reporter.as_ref(), &headers, &body).await
}

/// Keeps a report that is genuine, then routes it.
async fn take(
    state: &AppState,
    source: String,
    reporter: &dyn Reporter,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    let now = state.now();
    let report = reporter.receive(body, headers, now).map_err(|error| not_taken(&source, error))?;
    let text = std::str::from_utf8(body).map_err(|_| Problem::new(Code::Malformed, "the body is not in UTF-8"))?;
    if [&report.event_id, &report.kind].into_iter().any(|word| no_control(word).is_err()) {
        return Err(Problem::new(Code::Malformed, "the event's id or type holds control characters"));
    }
    let row = NewInbound {
        source,
        event_id: report.event_id.clone(),
        kind: report.kind.clone(),
        body: text.to_owned(),
        due_at: (report.about != About::Nothing).then(|| now + HANDS_OFF),
    };
    if !state.store.receive_inbound(&row, now).await? {
        return Ok(received("duplicate"));
    }
    if row.due_at.is_none() {
        return Ok(received("ignored"));
    }
    // it is kept: whatever goes wrong from here on, it is routed later
    let id = row.id();
    let kept = Kept { id: &id, source: &row.source, report: &report, received_at: now };
    Ok(received(match timeout(ROUTE_MAX, deliver(state, &kept, now)).await {
        Ok(Fate::Parked) => "parked",
        Ok(Fate::Ignored) => "ignored",
        Ok(Fate::Routed | Fate::Later) | Err(_) => "accepted",
    }))
}

fn not_taken(source: &str, error: NotTaken) -> Problem {
    tracing::warn!(source, %error, "a report was not taken");
    match error {
        NotTaken::NotGenuine(_) => {
            Problem::new(Code::Unauthorized, "the report is not signed with a secret that is set here, or not just now")
        }
        NotTaken::NotAReport(detail) => Problem::new(Code::Malformed, detail),
    }
}
