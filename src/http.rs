//! A small typed client of our own API: what the admin commands, the simulator and the demo's actors speak.

use std::fmt;
use std::time::{Duration, SystemTime};

use oms_domain::Instant;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod views;

pub(crate) use views::{Order, Page, SandboxPayment, Shipment, ShipmentLine, Stock, TimelineEntry};

/// `Prefer: wait` answers after at most 30 s; this leaves room for it.
const ANSWER_MAX: Duration = Duration::from_secs(40);
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Where the API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiTarget {
    /// `http://host:port`, with or without a slash at the end.
    pub(crate) base_url: String,
}

/// Why a call brought nothing. Shown to people: one sentence, then the lines of [`ApiError::lines`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody answered.
    #[error("no answer from the API at {base_url} ({detail}): start it with `oms up`, or name another with --api URL")]
    Unreachable {
        /// Where.
        base_url: String,
        /// What the system said.
        detail: String,
    },
    /// The API said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// Whoever answered is not our API.
    #[error("the answer from {base_url} cannot be read ({detail}): check that the `oms` API listens there")]
    Unreadable {
        /// Where.
        base_url: String,
        /// What is wrong.
        detail: String,
    },
}

impl ApiError {
    /// What the API added to its sentence: pointers of a bad body, commands that are allowed instead.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Refused(problem) => problem.lines(),
            _ => Vec::new(),
        }
    }

    /// Whether the same call may succeed a little later: no answer, 5xx, or too many at once.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => problem.status >= 500 || problem.status == 429,
            Self::Unreadable { .. } => false,
        }
    }

    /// The stable code, if the API refused.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

/// An RFC 9457 problem document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: u16,
    /// The stable code.
    pub(crate) code: String,
    /// What kind of problem.
    pub(crate) title: String,
    /// What happened here, and the remedy.
    pub(crate) detail: Option<String>,
    /// What to do, where the API says it apart from `detail`.
    pub(crate) remedy: Option<String>,
    /// What is wrong where in the body.
    pub(crate) errors: Vec<FieldError>,
    /// Commands that are allowed instead.
    pub(crate) allowed_actions: Option<Vec<String>>,
}

/// One thing wrong with a body or query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct FieldError {
    /// JSON pointer into the body.
    pub(crate) pointer: Option<String>,
    /// Name of the query parameter, path parameter or header.
    pub(crate) parameter: Option<String>,
    /// The stable code.
    pub(crate) code: String,
    /// The broken rule.
    pub(crate) detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = self.detail.as_deref().filter(|d| !d.is_empty()).unwrap_or(&self.title);
        write!(f, "{sentence} ({} {})", self.status, self.code)
    }
}

impl Problem {
    fn lines(&self) -> Vec<String> {
        let at = |e: &FieldError| e.pointer.clone().or_else(|| e.parameter.clone()).unwrap_or_default();
        let mut lines: Vec<String> = self.errors.iter().map(|e| format!("{}: {} ({})", at(e), e.detail, e.code)).collect();
        lines.extend(self.remedy.clone());
        if let Some(actions) = &self.allowed_actions {
            lines.push(format!("allowed now: {}", if actions.is_empty() { "nothing".to_owned() } else { actions.join(", ") }));
        }
        lines
    }
}

/// A text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && text.len() > 2) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

/// Now, by this machine's clock.
pub(crate) fn now() -> Instant {
    oms_domain::instant(SystemTime::now())
}

/// One call, before it is sent.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    key: Option<String>,
    wait: Option<u64>,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), body: None, key: None, wait: None }
    }

    /// GET `path`.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// POST `body` to `path`.
    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, path) }
    }

    /// PUT `body` at `path`.
    pub(crate) fn put(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PUT, path) }
    }

    /// DELETE `path`.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// With a query parameter.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// With an `Idempotency-Key`.
    pub(crate) fn keyed(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With `Prefer: wait`, in seconds; 0 waits for nothing.
    pub(crate) fn waiting(mut self, seconds: u64) -> Self {
        self.wait = (seconds > 0).then_some(seconds);
        self
    }
}

/// A client of one API. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    base_url: String,
    http: reqwest::Client,
}

impl Api {
    /// A client of the API at `target`. Errors: the system lacks what HTTP needs.
    pub(crate) fn new(target: &ApiTarget) -> anyhow::Result<Self> {
        // reqwest comes without a TLS provider of its own; a second install is refused and changes nothing
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().connect_timeout(CONNECT_MAX).timeout(ANSWER_MAX).build()?;
        Ok(Self { base_url: target.base_url.trim_end_matches('/').to_owned(), http })
    }

    /// Sends a call and answers its JSON (null for an empty answer). Errors: [`ApiError`].
    pub(crate) async fn send(&self, call: Call) -> Result<Value, ApiError> {
        let mut request = self.http.request(call.method, format!("{}{}", self.base_url, call.path));
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        if let Some(key) = &call.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(seconds) = call.wait {
            request = request.header("Prefer", format!("wait={seconds}"));
        }
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        self.read(status, &bytes)
    }

    /// As [`send`](Self::send), read as a `T`. Errors: [`ApiError`].
    pub(crate) async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, ApiError> {
        let value = self.send(call).await?;
        self.typed(value)
    }

    /// Reads an answer as a `T`. Errors: [`ApiError::Unreadable`].
    pub(crate) fn typed<T: DeserializeOwned>(&self, value: Value) -> Result<T, ApiError> {
        serde_json::from_value(value).map_err(|e| self.unreadable(e.to_string()))
    }

    fn read(&self, status: StatusCode, bytes: &[u8]) -> Result<Value, ApiError> {
        if status.is_success() {
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(bytes).map_err(|e| self.unreadable(e.to_string()));
        }
        match serde_json::from_slice::<Problem>(bytes) {
            Ok(mut problem) => {
                problem.status = status.as_u16();
                Err(ApiError::Refused(Box::new(problem)))
            }
            Err(_) => Err(self.unreadable(format!("{status} without a problem document"))),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> ApiError {
        // the deepest cause says what happened ("connection refused"); the layers above only that something did
        let mut deepest: &dyn std::error::Error = error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        let detail = if error.is_timeout() { "it took too long".to_owned() } else { deepest.to_string() };
        ApiError::Unreachable { base_url: self.base_url.clone(), detail }
    }

    fn unreadable(&self, detail: impl Into<String>) -> ApiError {
        ApiError::Unreadable { base_url: self.base_url.clone(), detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> Api {
        Api::new(&ApiTarget { base_url: "http://127.0.0.1:1/".to_owned() }).unwrap()
    }

    #[test]
    fn a_refusal_is_a_sentence_with_pointers() {
        let body = br#"{"type":"about:blank","title":"Invalid","status":422,"code":"validation_failed","detail":"the body breaks a rule",
            "errors":[{"pointer":"/lines/0/quantity","code":"out_of_range","detail":"1 to 10,000"}],"allowed_actions":["cancel"]}"#;
        let error = api().read(StatusCode::UNPROCESSABLE_ENTITY, body).unwrap_err();
        assert_eq!(error.to_string(), "the body breaks a rule (422 validation_failed)");
        assert_eq!(error.lines(), ["/lines/0/quantity: 1 to 10,000 (out_of_range)", "allowed now: cancel"]);
        assert_eq!((error.code(), error.may_pass()), (Some("validation_failed"), false));
    }

    #[test]
    fn somebody_else_on_the_port_is_told_apart() {
        let error = api().read(StatusCode::NOT_FOUND, b"<html>").unwrap_err();
        assert!(matches!(error, ApiError::Unreadable { .. }), "{error}");
        assert_eq!(api().read(StatusCode::NO_CONTENT, b"").unwrap(), Value::Null);
    }

    #[test]
    fn ids_cannot_leave_their_segment() {
        assert_eq!(segment("a-1_x.y"), "a-1_x.y");
        assert_eq!(segment("../v1"), "..%2Fv1");
        assert_eq!(segment(".."), "%2E%2E");
    }

    #[tokio::test]
    async fn nobody_there_is_a_sentence_with_the_remedy() {
        let error = api().send(Call::get("/v1/orders")).await.unwrap_err();
        assert!(error.may_pass() && error.to_string().contains("start it with `oms up`"), "{error}");
    }
}
