//! What surrounds every request: its id, its line in the log, its metrics, its limits. No path, query string, header or body of a
//! request is logged, only its route's template: they may hold personal data.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::answers;
use crate::doorbell;
use crate::limits;
use crate::problem::{self, Code, Problem};

/// A request may take this long: half a minute of `Prefer: wait` and some work.
const REQUEST_MAX: Duration = Duration::from_secs(35);

/// A file of orders may take this long: half a gigabyte over a slow line.
const UPLOAD_MAX: Duration = Duration::from_secs(3_600);

/// Requests in work at once; more are refused at once rather than queued.
pub(crate) const IN_FLIGHT_MAX: usize = 1_024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUESTS: &str = "oms_http_requests_total";
const DURATION: &str = "oms_http_request_duration_seconds";
const IN_FLIGHT: &str = "oms_http_requests_in_flight";

/// Upper bounds of the duration histogram, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 35.0];

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), &BUCKETS)
}

fn describe() {
    metrics::describe_counter!(REQUESTS, "HTTP requests answered, by method, route template and status");
    metrics::describe_histogram!(
        DURATION,
        metrics::Unit::Seconds,
        "Time to answer an HTTP request, by method and route template"
    );
    metrics::describe_gauge!(IN_FLIGHT, "HTTP requests in work");
    metrics::describe_counter!(limits::LIMITED, "Requests refused because their client sends too many");
    metrics::describe_counter!(
        limits::ALONE,
        "Requests counted by this process alone because the replicas' place for it does not answer"
    );
    metrics::describe_counter!(
        answers::ANSWERS,
        "Answers about an article by where they are from: kept by the replicas, read from SQL, or read alone without their place"
    );
    metrics::describe_gauge!(
        doorbell::RINGS,
        "Whether streams of events are woken over Redis (1), or look by themselves twice a second (0)"
    );
    metrics::describe_counter!("oms_orders_placed_total", "Orders taken in, replays not counted");
    metrics::describe_counter!("oms_import_rows_settled_total", "Rows of imports that were placed or refused");
    metrics::describe_counter!("oms_http_panics_total", "Handlers that panicked");
}

/// Installs the process's metrics recorder. Call once per process, before the router is made.
///
/// # Errors
/// [`BuildError`] if a recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe();
    Ok(handle)
}

/// The outermost layer: id, log line, metrics.
pub(crate) async fn observe(mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let probe = is_probe(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let span = tracing::info_span!("http", request_id = id.to_str().unwrap_or_default(), method, route = route.as_str());
    metrics::gauge!(IN_FLIGHT).increment(1.0);
    let _leave = InFlight;
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (took, status) = (begun.elapsed(), response.status().as_u16());
    metrics::counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => status.to_string()).increment(1);
    metrics::histogram!(DURATION, "method" => method, "route" => route).record(took.as_secs_f64());
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(
        || if probe { tracing::debug!(status, took_ms, "answered") } else { tracing::info!(status, took_ms, "answered") },
    );
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Counts a request out even if its connection goes away before the answer.
struct InFlight;

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!(IN_FLIGHT).decrement(1.0);
    }
}

/// The client's id if it is a plain one, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(b))
    };
    if let Some(given) = request.headers().get(&REQUEST_ID).filter(plain) {
        return given.clone();
    }
    let fresh = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    HeaderValue::from_str(&fresh).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Asked every few seconds by machines.
fn is_probe(request: &Request) -> bool {
    matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics")
}

/// Methods as metric labels; anything a client invents is one label.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// Ends a request that takes too long, and refuses one that comes while too many are in work. Probes and metrics always pass.
pub(crate) async fn limit(State(slots): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let slot = if is_probe(&request) { None } else { Some(slots.try_acquire_owned()) };
    if let Some(Err(_)) = slot {
        return Problem::unavailable("too many requests at once; try again").into_response();
    }
    let upload = request.method() == Method::POST && request.uri().path() == "/v1/imports";
    let most = if upload { UPLOAD_MAX } else { REQUEST_MAX };
    match tokio::time::timeout(most, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the request took too long; what it asked for may still happen").into_response(),
    }
}

/// Turns the errors of the framework (unknown path, wrong method, …) into problem documents.
pub(crate) async fn as_problem(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    // problem documents, pages for people, and the words of a wire format that is not ours; the framework's own answers are plain text or empty
    let starts = |kind: &HeaderValue, with: &str| kind.as_bytes().starts_with(with.as_bytes());
    let told =
        |kind: &HeaderValue| kind == problem::CONTENT_TYPE || starts(kind, "text/html") || starts(kind, "application/json");
    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(told);
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::not_found("path; see /openapi.json"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(Code::MethodNotAllowed, "this path has no such method; see the Allow header")
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::TooLarge, "a body is at most 256 KiB"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(Code::UnsupportedMediaType, "send the body as application/json"),
        StatusCode::SERVICE_UNAVAILABLE => Problem::unavailable("try again"),
        other if other.is_client_error() => Problem::new(Code::Malformed, "the request cannot be read"),
        _ => Problem::internal(),
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut answer = problem.into_response();
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}

/// A handler that panics answers 500; the others go on.
pub(crate) fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let words = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    tracing::error!(cause = words.unwrap_or("unknown"), "a handler panicked");
    metrics::counter!("oms_http_panics_total").increment(1);
    Problem::internal().into_response()
}

/// A recorder's handle for tests, without installing it for the process.
#[cfg(test)]
pub(crate) fn test_metrics() -> PrometheusHandle {
    builder().unwrap().build_recorder().handle()
}
