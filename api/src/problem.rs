//! The one place where an error becomes an answer: RFC 9457 `application/problem+json` with a stable `code`.
//!
//! Words of other rooms (SQL, gRPC, panics) stop here: they go to the log, never to the client.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oms_domain::ids::Invalid;
use oms_domain::life::{Refusal, RefusalCode};
use oms_domain::order::Action;
use oms_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::EngineError;
use crate::schema::Money;

/// Seconds after which a client may try again when something is gone.
const RETRY_AFTER_S: &str = "1";

/// Declares the codes with their wire names, statuses and titles.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal, $status:ident, $title:literal;)*) => {
        /// The stable code of a problem. Clients branch on it; it never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }
        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The wire name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// The HTTP status it is answered with.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The problem's class in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The body is no JSON, or could not be read.
    Malformed = "malformed", BAD_REQUEST, "The request cannot be read";
    /// The request is not signed by whom it says it is from, or was long ago.
    Unauthorized = "unauthorized", UNAUTHORIZED, "Not authenticated";
    /// No such path or thing.
    NotFound = "not_found", NOT_FOUND, "Not found";
    /// No courier is booked for the shipment, or this carrier gives no labels.
    NoLabel = "no_label", NOT_FOUND, "No label";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    /// The parcel has left.
    TooLate = "too_late", CONFLICT, "Too late";
    /// Not in this status.
    NotAllowedNow = "not_allowed_now", CONFLICT, "Not allowed now";
    /// It would leave less on the shelf than is promised to orders.
    BelowReserved = "below_reserved", CONFLICT, "Less than is reserved";
    /// More is asked back than was taken and is in no other refund.
    RefundExceedsCaptured = "refund_exceeds_captured", CONFLICT, "More than was taken";
    /// More units are to come back than were delivered and are in no other return.
    ReturnExceedsDelivered = "return_exceeds_delivered", CONFLICT, "More than was delivered";
    /// Somebody else settled the review item first.
    AlreadyResolved = "already_resolved", CONFLICT, "Already resolved";
    /// The change could not be made; the order stands as it was.
    EditRefused = "edit_refused", CONFLICT, "Change refused";
    /// The order has changed since the version that `If-Match` names.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "Precondition failed";
    /// The body is larger than 256 KiB.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "Request too large";
    /// The body is not `application/json`.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type";
    /// Well-formed, but against a rule; `errors` says which.
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY, "Validation failed";
    /// A string holds what looks like a payment card number.
    CardNumberRefused = "card_number_refused", UNPROCESSABLE_ENTITY, "Card numbers are refused";
    /// The article is not in the catalogue.
    UnknownSku = "unknown_sku", UNPROCESSABLE_ENTITY, "Unknown SKU";
    /// The place never had a receipt.
    UnknownLocation = "unknown_location", UNPROCESSABLE_ENTITY, "Unknown location";
    /// A line is priced in another currency than the order's.
    CurrencyMismatch = "currency_mismatch", UNPROCESSABLE_ENTITY, "Currency mismatch";
    /// The `Idempotency-Key` came before with another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "Idempotency-Key reused";
    /// The `event_id` came before with another type.
    EventIdReused = "event_id_reused", UNPROCESSABLE_ENTITY, "event_id reused";
    /// The client sends more requests than it may. Go on after `Retry-After` seconds.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// A defect of ours; the log has it under the request's id.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error";
    /// Something we need is gone, or we are overloaded. Try again after `Retry-After` seconds.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Unavailable";
}

/// One broken rule. Never repeats the value: it may be personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProblemError)]
pub struct FieldError {
    /// JSON Pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Name of the query parameter, path parameter or header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Which rule: `missing`, `unknown_field`, `invalid_type`, `invalid`, or the problem's own code.
    #[schema(value_type = String)]
    pub code: &'static str,
    /// The rule in words.
    pub detail: String,
}

impl FieldError {
    /// A broken rule at a place of the body.
    pub fn at(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, code, detail: detail.into() }
    }

    /// A broken rule of a query parameter, path parameter or header.
    pub fn of(parameter: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(parameter.into()), code, detail: detail.into() }
    }
}

/// One dependency as `/readyz` sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// What was asked: `database` or `temporal`.
    #[schema(value_type = String)]
    pub name: &'static str,
    /// Whether it answered as it should.
    pub ok: bool,
    /// What is wrong, with the remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// An error on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    allowed_actions: Option<Vec<Action>>,
    alternative: Option<Action>,
    // boxed: rare, and every fallible function here returns this type
    refundable: Option<Box<Money>>,
    checks: Vec<Check>,
}

/// The document, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:oms:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words.
    #[schema(value_type = String)]
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The stable code.
    #[schema(value_type = String, example = "validation_failed")]
    code: &'static str,
    /// What is wrong here, with the remedy.
    detail: String,
    /// Which rules the request broke.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// For a command refused with 409: what may be asked of the order now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    allowed_actions: Option<Vec<&'static str>>,
    /// For a cancel that is `too_late`: what may be asked instead, `return`. It is open to units that were delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    alternative: Option<&'static str>,
    /// For `refund_exceeds_captured`: what can still go back.
    #[serde(skip_serializing_if = "Option::is_none")]
    refundable: Option<Money>,
    /// For `/readyz`: each dependency.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    checks: Vec<Check>,
}

impl Problem {
    /// A problem with its one sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            allowed_actions: None,
            alternative: None,
            refundable: None,
            checks: Vec::new(),
        }
    }

    /// A problem about one or more places of the request.
    pub fn invalid(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.detail.clone(),
            many => format!("{} rules are broken; see errors", many.len()),
        };
        Self { errors, ..Self::new(code, detail) }
    }

    /// One broken rule at a place of the body.
    pub fn at(pointer: impl Into<String>, code: Code, detail: impl Into<String>) -> Self {
        Self::invalid(code, vec![FieldError::at(pointer, code.as_str(), detail)])
    }

    /// The path names nothing.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("no such {what}"))
    }

    /// Something we need is gone.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, detail)
    }

    /// A defect; the caller has logged it.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "this is a defect of ours; the log has it under this request's x-request-id")
    }

    /// A command that the order refuses, with what may be asked of it now.
    pub fn refused(refusal: Refusal, allowed: Vec<Action>) -> Self {
        let code = match refusal.code {
            RefusalCode::TooLate => Code::TooLate,
            RefusalCode::NotAllowedNow => Code::NotAllowedNow,
            RefusalCode::NotFound => Code::NotFound,
            RefusalCode::EventIdReused => return Self::at("/event_id", Code::EventIdReused, refusal.detail),
            RefusalCode::ValidationFailed => Code::ValidationFailed,
            RefusalCode::PreconditionFailed => Code::PreconditionFailed,
        };
        let allowed = (code.status() == StatusCode::CONFLICT).then_some(allowed);
        Self { allowed_actions: allowed, ..Self::new(code, refusal.detail) }
    }

    /// Adds what may be asked of the order now.
    pub fn with_allowed(mut self, allowed: Vec<Action>) -> Self {
        self.allowed_actions = Some(allowed);
        self
    }

    /// Adds what may be asked instead.
    pub fn with_alternative(mut self, alternative: Action) -> Self {
        self.alternative = Some(alternative);
        self
    }

    /// Adds what can still go back.
    pub fn with_refundable(mut self, refundable: oms_domain::money::Money) -> Self {
        self.refundable = Some(Box::new(refundable.into()));
        self
    }

    /// Adds the dependencies as they were found.
    pub fn with_checks(mut self, checks: Vec<Check>) -> Self {
        self.checks = checks;
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The places of the request that break a rule.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => {
                tracing::warn!(%error, "the database did not answer");
                Self::unavailable("the database does not answer; try again")
            }
            StoreError::NewerSchema { .. } | StoreError::OldSchema { .. } => {
                tracing::error!(%error, "the database's schema does not fit");
                Self::unavailable("the database's schema does not fit this version; see /readyz")
            }
            StoreError::Corrupt { .. } | StoreError::BadUrl { .. } | StoreError::Conflict { .. } => {
                tracing::error!(%error, "the store refused");
                Self::internal()
            }
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable { .. } => {
                tracing::warn!(%error, "the engine did not answer");
                Self::unavailable("the order engine does not answer; try again, with an Idempotency-Key the same one")
            }
            EngineError::NoRun => {
                tracing::warn!("an order has no run");
                Self::unavailable(
                    "the order has no open run: it is not started yet, or its run was ended from outside; try again",
                )
            }
            EngineError::Refused(refusal) => Self::refused(refusal, Vec::new()),
            EngineError::Internal { .. } => {
                tracing::error!(%error, "the engine refused");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemBody {
            kind: format!("urn:oms:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: self.detail,
            errors: self.errors,
            allowed_actions: self.allowed_actions.map(|actions| actions.into_iter().map(Action::as_str).collect()),
            alternative: self.alternative.map(Action::as_str),
            refundable: self.refundable.map(|refundable| *refundable),
            checks: self.checks,
        };
        let mut response = (status, axum::Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}

/// The media type of every error.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Collects every broken rule of one request, so that the client learns of all of them at once.
#[derive(Debug, Default)]
pub struct Findings {
    errors: Vec<FieldError>,
}

impl Findings {
    /// Takes a field of the body, or notes the rule that it breaks.
    pub fn body<T>(&mut self, pointer: impl Into<String>, value: Result<T, Invalid>) -> Option<T> {
        value.map_err(|invalid| self.errors.push(FieldError::at(pointer, "invalid", invalid.rule))).ok()
    }

    /// Takes an optional field of the body.
    pub fn body_opt<T>(&mut self, pointer: &str, value: Option<Result<T, Invalid>>) -> Option<T> {
        value.and_then(|value| self.body(pointer, value))
    }

    /// Takes a parameter, or notes the rule that it breaks.
    pub fn parameter<T>(&mut self, name: &str, value: Result<T, Invalid>) -> Option<T> {
        value.map_err(|invalid| self.errors.push(FieldError::of(name, "invalid", invalid.rule))).ok()
    }

    /// Takes an optional parameter.
    pub fn parameter_opt<T>(&mut self, name: &str, value: Option<Result<T, Invalid>>) -> Option<T> {
        value.and_then(|value| self.parameter(name, value))
    }

    /// Notes a broken rule.
    pub fn push(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// Everything that was found.
    pub fn into_problem(self) -> Problem {
        Problem::invalid(Code::ValidationFailed, self.errors)
    }

    /// What was found so far.
    ///
    /// # Errors
    /// [`Problem`] with every broken rule.
    pub fn check(self) -> Result<(), Problem> {
        if self.is_clean() { Ok(()) } else { Err(self.into_problem()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_code_with_its_status() {
        let table: Vec<String> = Code::ALL.iter().map(|c| format!("{} {}", c.status().as_u16(), c.as_str())).collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        400 malformed
        401 unauthorized
        404 not_found
        404 no_label
        405 method_not_allowed
        409 too_late
        409 not_allowed_now
        409 below_reserved
        409 refund_exceeds_captured
        409 return_exceeds_delivered
        409 already_resolved
        409 edit_refused
        412 precondition_failed
        413 too_large
        415 unsupported_media_type
        422 validation_failed
        422 card_number_refused
        422 unknown_sku
        422 unknown_location
        422 currency_mismatch
        422 idempotency_key_reused
        422 event_id_reused
        429 rate_limited
        500 internal
        503 unavailable
        ");
    }

    async fn json(problem: Problem) -> serde_json::Value {
        let response = problem.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn shapes() {
        let refusal = Refusal::new(RefusalCode::TooLate, "the parcel has left");
        assert_eq!(
            json(Problem::refused(refusal, vec![Action::PlaceHold])).await,
            json!({
                "type": "urn:oms:problem:too_late", "title": "Too late", "status": 409, "code": "too_late",
                "detail": "the parcel has left", "allowed_actions": ["place_hold"]
            })
        );
        let errors = vec![FieldError::at("/lines/0/sku", "invalid", "a rule"), FieldError::of("limit", "invalid", "another")];
        assert_eq!(
            json(Problem::invalid(Code::ValidationFailed, errors)).await,
            json!({
                "type": "urn:oms:problem:validation_failed", "title": "Validation failed", "status": 422, "code": "validation_failed",
                "detail": "2 rules are broken; see errors",
                "errors": [
                    {"pointer": "/lines/0/sku", "code": "invalid", "detail": "a rule"},
                    {"parameter": "limit", "code": "invalid", "detail": "another"},
                ]
            })
        );
    }

    #[tokio::test]
    async fn the_words_of_other_rooms_stay_inside() {
        let secrets = [
            Problem::from(StoreError::Unavailable { detail: "secret".into() }),
            Problem::from(StoreError::Corrupt { detail: "secret".into() }),
            Problem::from(StoreError::Conflict { detail: "secret".into() }),
            Problem::from(EngineError::Unavailable { detail: "secret".into() }),
            Problem::from(EngineError::Internal { detail: "secret".into() }),
        ];
        for problem in secrets {
            assert!(!json(problem).await.to_string().contains("secret"));
        }
        let gone = Problem::unavailable("gone").into_response();
        assert_eq!(gone.headers()[header::RETRY_AFTER], RETRY_AFTER_S);
    }
}
