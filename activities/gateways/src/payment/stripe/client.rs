//! Calls to a Stripe-compatible server, and what their refusals mean.

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::objects::{ErrorBody, ErrorEnvelope};
use super::{PARTY, StripeSettings};
use crate::GatewayError;
use crate::web::{self, Form, WebError};

/// Pinned, so that a change of the account's default version changes nothing here.
const VERSION: &str = "2024-06-20";

/// Why a call has no answer to work with.
#[derive(Debug)]
pub(super) enum Failure {
    /// The card was refused (402).
    Card(Box<ErrorBody>),
    /// The request was refused (400, 404): nothing happened.
    Refused(Box<Refusal>),
    /// No answer, or one that says nothing about the request.
    Gateway(GatewayError),
}

/// A refused request.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) error: ErrorBody,
}

impl Refusal {
    /// The machine-readable reason, without anything that the request said.
    pub(super) fn code(&self) -> &str {
        self.error.code.as_deref().unwrap_or("invalid_request")
    }
}

impl Failure {
    /// A refusal that no business answer covers: our request or the account is at fault, so an operator must look.
    pub(super) fn unexpected(self) -> GatewayError {
        let (status, error) = match self {
            Self::Gateway(error) => return error,
            Self::Card(error) => (402, *error),
            Self::Refused(refusal) => (refusal.status, refusal.error),
        };
        let word = |w: Option<String>| w.unwrap_or_else(|| "-".to_owned());
        let (code, field) = (word(error.code), word(error.param));
        GatewayError::unavailable(format!(
            "{PARTY} refused the request: {status}, code {code}, field {field}; see its dashboard's log"
        ))
    }
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        Self::Gateway(error)
    }
}

/// An answer, and whether it is a stored one to an earlier request under the same key.
pub(super) struct Answer<T> {
    pub(super) body: T,
    pub(super) replayed: bool,
}

/// The server as it is called.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    base: String,
    headers: HeaderMap,
}

impl Http {
    pub(super) fn new(settings: &StripeSettings) -> Result<Self, WebError> {
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", settings.secret_key.reveal()));
        let mut bearer =
            bearer.map_err(|_| WebError::Client { detail: "the secret key holds characters that no key has".into() })?;
        bearer.set_sensitive(true);
        headers.insert("authorization", bearer);
        headers.insert("stripe-version", HeaderValue::from_static(VERSION));
        Ok(Self { client: web::client(settings.timeout)?, base: web::base(PARTY, &settings.base_url)?, headers })
    }

    /// Reads. Whatever goes wrong, nothing happened.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Failure> {
        let request = self.client.get(format!("{}/v1/{path}", self.base)).query(query);
        Ok(self.call(request, false).await?.body)
    }

    /// Acts, under an idempotency key.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, form: &Form, key: &str) -> Result<Answer<T>, Failure> {
        let request = self
            .client
            .post(format!("{}/v1/{path}", self.base))
            .header("idempotency-key", key)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(web::encode(form));
        self.call(request, true).await
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder, acts: bool) -> Result<Answer<T>, Failure> {
        let response = request.headers(self.headers.clone()).send().await.map_err(|e| web::lost(PARTY, acts, e))?;
        if !response.status().is_success() {
            return Err(failure(response, acts).await);
        }
        let replayed = response.headers().get("idempotent-replayed").is_some_and(|v| v == "true");
        let bytes = response.bytes().await.map_err(|e| web::lost(PARTY, acts, e))?;
        let body = serde_json::from_slice(&bytes).map_err(|_| {
            let detail = format!("{PARTY}'s answer cannot be read");
            if acts { GatewayError::unknown_outcome(detail) } else { GatewayError::unavailable(detail) }
        })?;
        Ok(Answer { body, replayed })
    }
}

/// What an answer other than 2xx means.
async fn failure(response: Response, acts: bool) -> Failure {
    let status = response.status();
    let request_id = response.headers().get("request-id").and_then(|v| v.to_str().ok()).unwrap_or("-").to_owned();
    let bytes = response.bytes().await.unwrap_or_default();
    let error = serde_json::from_slice::<ErrorEnvelope>(&bytes).unwrap_or_default().error;
    let detail = format!("{PARTY} answers {}, request {request_id}", status.as_u16());
    match status {
        StatusCode::PAYMENT_REQUIRED => Failure::Card(Box::new(error)),
        // the same key is being worked on, or was used for something else: only looking tells
        StatusCode::CONFLICT => GatewayError::unknown_outcome(detail).into(),
        StatusCode::BAD_REQUEST if error.kind == "idempotency_error" => GatewayError::unknown_outcome(detail).into(),
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Failure::Refused(Box::new(Refusal { status: status.as_u16(), error })),
        StatusCode::TOO_MANY_REQUESTS => GatewayError::unavailable(detail).into(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            GatewayError::unavailable(format!("{detail}: correct STRIPE_SECRET_KEY or its permissions")).into()
        }
        // a server error may have come after the effect
        _ if status.is_server_error() && acts && status != StatusCode::SERVICE_UNAVAILABLE => {
            GatewayError::unknown_outcome(detail).into()
        }
        _ => GatewayError::unavailable(detail).into(),
    }
}
