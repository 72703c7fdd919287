//! The sandbox gateway in Stripe's wire format: enough of it that Stripe's own client, or our adapter, cannot tell. The ledger is the same;
//! only what it has no room for (metadata, intents before they are confirmed) is kept beside it.
//!
//! Like Stripe: one answer per idempotency key, kept; a key used for another request is refused; lists run from the newest to the oldest.
//! Unlike Stripe: parameters that are not known are ignored, and search shows everything at once.

use oms_domain::Instant;
use oms_domain::ids::derive;
use serde_json::{Value, json};
use sqlx::Row;
use std::sync::atomic::{AtomicU64, Ordering};

use super::SandboxPayments;
use crate::GatewayError;
use crate::ledger::{Ledger, LedgerError};
use parameters::Parameters;

mod intents;
mod lists;
mod parameters;
mod refunds;
mod rows;
#[cfg(test)]
mod tests;

pub(super) use rows::annotate;

/// Names of operations without an idempotency key must differ.
static UNNAMED: AtomicU64 = AtomicU64::new(0);

/// A call in Stripe's wire format.
#[derive(Debug, Clone, Copy)]
pub struct StripeCall<'a> {
    /// Whether it is a POST; else a GET.
    pub post: bool,
    /// The path behind `/v1/`.
    pub path: &'a str,
    /// The query of a GET, the form of a POST.
    pub parameters: &'a str,
    /// `Idempotency-Key`.
    pub key: Option<&'a str>,
    /// Now.
    pub now: Instant,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq)]
pub struct StripeAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON body.
    pub body: Value,
    /// Whether it is the kept answer of an earlier call (`Idempotent-Replayed`).
    pub replayed: bool,
}

impl StripeAnswer {
    fn fresh(status: u16, body: Value) -> Self {
        Self { status, body, replayed: false }
    }
}

/// A refusal in Stripe's words.
#[derive(Debug)]
struct Refusal {
    status: u16,
    error: Value,
}

impl Refusal {
    fn new(status: u16, kind: &str, code: &str, param: Option<&str>) -> Self {
        let message = format!("{code} (sandbox)");
        Self { status, error: json!({"type": kind, "code": code, "param": param, "message": message}) }
    }

    fn invalid(code: &str, param: Option<&str>) -> Self {
        Self::new(400, "invalid_request_error", code, param)
    }

    fn missing(param: &str) -> Self {
        Self::new(404, "invalid_request_error", "resource_missing", Some(param))
    }
}

impl From<LedgerError> for Refusal {
    fn from(_: LedgerError) -> Self {
        Self::new(503, "api_error", "ledger_unavailable", None)
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        LedgerError::from(error).into()
    }
}

impl From<GatewayError> for Refusal {
    fn from(error: GatewayError) -> Self {
        // as Stripe's: what it says of itself tells nothing about the effect
        match error {
            GatewayError::Unavailable { .. } | GatewayError::LeftAlone { .. } => Self::new(503, "api_error", "unavailable", None),
            GatewayError::UnknownOutcome { .. } => Self::new(500, "api_error", "internal", None),
        }
    }
}

/// An operation's name in the ledger: the caller's key, or one of its own.
fn operation(call: &StripeCall<'_>) -> String {
    call.key.map_or_else(
        || {
            let (process, n) = (std::process::id().to_string(), UNNAMED.fetch_add(1, Ordering::Relaxed).to_string());
            format!("stripe/{}", derive(&["unnamed", &process, &n, &call.now.to_rfc3339()]).simple())
        },
        str::to_owned,
    )
}

impl SandboxPayments {
    /// Answers a call in Stripe's wire format.
    pub async fn stripe(&self, call: StripeCall<'_>) -> StripeAnswer {
        let answer = match call.key.filter(|_| call.post) {
            Some(key) => self.once(key, call).await,
            None => self.route(call).await.map(|body| StripeAnswer::fresh(200, body)),
        };
        answer.unwrap_or_else(|refusal| StripeAnswer::fresh(refusal.status, json!({"error": refusal.error})))
    }

    /// One answer per key. What fails without an effect is not kept, so a repeat tries again.
    async fn once(&self, key: &str, call: StripeCall<'_>) -> Result<StripeAnswer, Refusal> {
        let request = format!("{} {}", call.path, call.parameters);
        let kept = sqlx::query("SELECT request, status, body FROM stripe_keys WHERE key = $1");
        if let Some(row) = kept.bind(key).fetch_optional(self.ledger.reader()).await? {
            if row.try_get::<&str, _>("request")? != request {
                return Err(Refusal::new(400, "idempotency_error", "idempotency_key_in_use", None));
            }
            let body = serde_json::from_str(row.try_get("body")?).map_err(|_| LedgerError::Unreadable("answer"))?;
            let status = row.try_get::<i64, _>("status")?;
            return Ok(StripeAnswer { status: u16::try_from(status).unwrap_or(500), body, replayed: true });
        }
        let answer = match self.route(call).await {
            Ok(body) => StripeAnswer::fresh(200, body),
            Err(refusal) if refusal.status == 402 => StripeAnswer::fresh(402, json!({"error": refusal.error})),
            Err(refusal) => return Err(refusal),
        };
        let mut transaction = self.ledger.begin().await?;
        sqlx::query(
            "INSERT INTO stripe_keys (key, request, status, body, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO NOTHING",
        )
        .bind(key)
        .bind(&request)
        .bind(i64::from(answer.status))
        .bind(answer.body.to_string())
        .bind(call.now)
        .execute(&mut *transaction)
        .await?;
        Ledger::commit(transaction).await?;
        Ok(answer)
    }

    async fn route(&self, call: StripeCall<'_>) -> Result<Value, Refusal> {
        let given = Parameters::read(call.parameters);
        let segments: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match (call.post, segments.as_slice()) {
            (true, ["payment_intents"]) => self.create_intent(&call, &given).await,
            (false, ["payment_intents"]) => self.list_intents(&given).await,
            (false, ["payment_intents", "search"]) => self.search_intents(&given).await,
            (false, ["payment_intents", id]) => self.read_intent(id, &given).await,
            (true, ["payment_intents", id]) => self.update_intent(id, &given).await,
            (true, ["payment_intents", id, "confirm"]) => self.confirm_intent(id, &call, &given).await,
            (true, ["payment_intents", id, "capture"]) => self.capture_intent(id, &call, &given).await,
            (true, ["payment_intents", id, "cancel"]) => self.cancel_intent(id, &call, &given).await,
            (true, ["refunds"]) => self.create_refund(&call, &given).await,
            (false, ["refunds"]) => self.list_refunds(&given).await,
            (false, ["refunds", id]) => self.read_refund(id).await,
            (false, ["payment_methods", id]) => lists::method(id),
            (false, ["events"]) => self.list_events(&given).await,
            _ => Err(Refusal::new(404, "invalid_request_error", "url_unknown", None)),
        }
    }
}
