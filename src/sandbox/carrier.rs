//! The sandbox carrier over HTTP, in the protocol of `docs/carrier.md`: `OMS__CARRIER__HTTP__BASE_URL=http://127.0.0.1:8080/sandbox/carrier`.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use oms_gateways::carrier::{CarrierCall, SandboxCarrier};
use serde_json::json;

use crate::wiring::now;

/// Where it is served.
pub(super) const PATH: &str = "/sandbox/carrier/v1/{*path}";

/// The handler, whose answers and refusals are the protocol's and not problem documents.
pub(super) fn routes(carrier: SandboxCarrier) -> MethodRouter {
    any(serve).with_state(carrier)
}

async fn serve(
    State(carrier): State<SandboxCarrier>,
    Path(path): Path<String>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: String,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let refusal = |status: StatusCode, code: &str| (status, axum::Json(json!({"error": {"code": code}}))).into_response();
    // any token will do, but a client that sends none is set up wrongly
    if !text("authorization").is_some_and(|value| value.starts_with("Bearer ")) {
        return refusal(StatusCode::UNAUTHORIZED, "no_token");
    }
    if !matches!(method, Method::GET | Method::POST) {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "unknown_method");
    }
    let query = query.unwrap_or_default();
    let post = method == Method::POST;
    let call = CarrierCall { post, path: &path, query: &query, body: &body, key: text("idempotency-key"), now: now() };
    let (status, body) = carrier.http(call).await;
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), axum::Json(body)).into_response()
}
