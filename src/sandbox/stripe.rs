//! The sandbox gateway over HTTP in Stripe's wire format: `stripe.api_base = "http://127.0.0.1:8080/sandbox/stripe"`.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use oms_gateways::payment::{SandboxPayments, StripeCall};
use serde_json::json;

use crate::wiring::now;

/// Where it is served.
pub(super) const PATH: &str = "/sandbox/stripe/v1/{*path}";

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The handler, whose answers and refusals are Stripe's and not problem documents.
pub(super) fn routes(payments: SandboxPayments) -> MethodRouter {
    any(serve).with_state(payments)
}

async fn serve(
    State(payments): State<SandboxPayments>,
    Path(path): Path<String>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: String,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // any key will do, but a client that sends none is set up wrongly
    if !text("authorization").is_some_and(|value| value.starts_with("Bearer ") || value.starts_with("Basic ")) {
        let error = json!({"error": {"type": "invalid_request_error", "message": "no API key was sent; any will do here"}});
        return (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response();
    }
    let post = match method {
        Method::POST => true,
        Method::GET => false,
        _ => {
            let error = json!({"error": {"type": "invalid_request_error", "message": "the sandbox knows GET and POST only"}});
            return (StatusCode::METHOD_NOT_ALLOWED, axum::Json(error)).into_response();
        }
    };
    let key = text("idempotency-key").map(str::to_owned);
    let parameters = if post { body } else { query.unwrap_or_default() };
    // a client that hangs up ends its wait, not what it has asked for
    let served = tokio::spawn(async move {
        let call = StripeCall { post, path: &path, parameters: &parameters, key: key.as_deref(), now: now() };
        payments.stripe(call).await
    });
    let Ok(answer) = served.await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(answer.body)).into_response();
    if answer.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
