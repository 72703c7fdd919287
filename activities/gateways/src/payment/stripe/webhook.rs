//! What Stripe reports by webhook: whether it is genuine, and what it is about. No state: who calls keeps what it has seen.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use serde_json::Value;

use super::notes::ORDER;
use crate::secret::Secret;
use crate::signature::{self, SignatureError};

/// Why a report is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// It is not genuine: compare STRIPE_WEBHOOK_SECRET with the endpoint's signing secret.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Signed well, but no event.
    #[error("the report is no Stripe event")]
    NotAnEvent,
}

/// A report, as far as it matters here: what it says is asked of Stripe itself, under our own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentEvent {
    /// The event's id: the same in every delivery.
    pub id: String,
    /// Its type, such as `payment_intent.amount_capturable_updated`.
    pub kind: String,
    /// The payment, if it is about one.
    pub payment_id: Option<String>,
    /// Our order, if the payment is of one.
    pub order: Option<OrderId>,
    /// When it happened.
    pub at: Option<Instant>,
}

/// Checks a report's `Stripe-Signature` and reads it. `body` is the body byte by byte as it came; any of `secrets` may have signed, so that a
/// secret can be changed without losing reports. Errors: [`WebhookError`].
pub fn receive(body: &[u8], header: &str, secrets: &[Secret], now: Instant) -> Result<PaymentEvent, WebhookError> {
    signature::verify(body, header, secrets, now)?;
    parse(body)
}

/// Reads an event, of whatever version. Errors: [`WebhookError::NotAnEvent`].
pub fn parse(body: &[u8]) -> Result<PaymentEvent, WebhookError> {
    let event: Value = serde_json::from_slice(body).map_err(|_| WebhookError::NotAnEvent)?;
    let text = |value: &Value| value.as_str().filter(|t| !t.is_empty() && t.len() <= 255).map(str::to_owned);
    let id = text(&event["id"]).ok_or(WebhookError::NotAnEvent)?;
    let kind = text(&event["type"]).ok_or(WebhookError::NotAnEvent)?;
    let object = &event["data"]["object"];
    let payment_id = match object["object"].as_str() {
        Some("payment_intent") => text(&object["id"]),
        // charges, refunds and disputes name it, expanded or not
        _ => text(&object["payment_intent"]).or_else(|| text(&object["payment_intent"]["id"])),
    };
    let order = object["metadata"][ORDER].as_str().and_then(|id| OrderId::parse(id).ok());
    let at = event["created"].as_i64().and_then(|at| Instant::from_timestamp(at, 0));
    Ok(PaymentEvent { id, kind, payment_id, order, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id": "evt_1", "type": "payment_intent.succeeded", "created": 1767225600, "data": {"object":
        {"object": "payment_intent", "id": "pi_1", "metadata": {"oms_order": "order-0001"}}}, "brand_new": []}"#;

    fn now() -> Instant {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn secret(word: &str) -> Secret {
        Secret::new(word)
    }

    #[test]
    fn a_genuine_report_is_read() {
        let header = signature::sign(BODY, &secret("whsec_a"), now());
        let event = receive(BODY, &header, &[secret("whsec_a")], now()).unwrap();
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("evt_1", "payment_intent.succeeded"));
        assert_eq!(event.payment_id.as_deref(), Some("pi_1"));
        assert_eq!(event.order.map(|o| o.to_string()).as_deref(), Some("order-0001"));
        assert_eq!(event.at, Some(now()));
    }

    #[test]
    fn reports_of_charges_name_their_payment_and_others_none() {
        let of = |object: &str| {
            parse(format!(r#"{{"id": "evt_1", "type": "x", "data": {{"object": {object}}}}}"#).as_bytes()).unwrap().payment_id
        };
        assert_eq!(of(r#"{"object": "charge", "id": "ch_1", "payment_intent": "pi_1"}"#).as_deref(), Some("pi_1"));
        assert_eq!(of(r#"{"object": "dispute", "payment_intent": {"id": "pi_2"}}"#).as_deref(), Some("pi_2"));
        assert_eq!(of(r#"{"object": "customer", "id": "cus_1"}"#), None);
        assert_eq!(parse(b"[]"), Err(WebhookError::NotAnEvent));
        assert_eq!(parse(b"{\"id\": \"\", \"type\": \"x\"}"), Err(WebhookError::NotAnEvent));
    }
}
