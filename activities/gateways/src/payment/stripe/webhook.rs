//! What Stripe reports by webhook: whether it is genuine, and what it is about. No state: who calls keeps what it has seen.

use hmac::{Hmac, KeyInit, Mac};
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use serde_json::Value;
use sha2::Sha256;

use super::notes::ORDER;
use crate::secret::Secret;

/// How old, or how far ahead, a report may be: what Stripe's own libraries allow.
pub const TOLERANCE: chrono::TimeDelta = chrono::TimeDelta::seconds(300);

/// Signatures of one report that are looked at: during a rotation there is one per secret.
const SIGNATURES_MAX: usize = 16;

/// Why a report is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The header is missing its time or its signatures.
    #[error("the Stripe-Signature header cannot be read")]
    Unreadable,
    /// It was signed too long ago, or in the future: a replay, or a wrong clock.
    #[error("the report was signed more than {} s from now", TOLERANCE.num_seconds())]
    Stale,
    /// No signature is of one of our secrets.
    #[error("no signature fits: compare STRIPE_WEBHOOK_SECRET with the endpoint's signing secret")]
    Forged,
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
    verify(body, header, secrets, now)?;
    parse(body)
}

/// Whether one of our secrets signed the body, recently. Errors: [`WebhookError`].
pub fn verify(body: &[u8], header: &str, secrets: &[Secret], now: Instant) -> Result<(), WebhookError> {
    let mut at = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" => at = Some(value),
            "v1" if signatures.len() < SIGNATURES_MAX => signatures.push(value),
            // other schemes are older and weaker, or not known yet
            _ => {}
        }
    }
    let at = at.ok_or(WebhookError::Unreadable)?;
    let seconds: i64 = at.parse().map_err(|_| WebhookError::Unreadable)?;
    let signed_at = Instant::from_timestamp(seconds, 0).ok_or(WebhookError::Unreadable)?;
    if signatures.is_empty() {
        return Err(WebhookError::Unreadable);
    }
    let signed = |secret: &Secret, signature: &[u8]| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else { return false };
        mac.update(at.as_bytes());
        mac.update(b".");
        mac.update(body);
        // compares in constant time
        mac.verify_slice(signature).is_ok()
    };
    let signatures: Vec<Vec<u8>> = signatures.into_iter().filter_map(|s| hex::decode(s).ok()).collect();
    if !secrets.iter().any(|secret| signatures.iter().any(|signature| signed(secret, signature))) {
        return Err(WebhookError::Forged);
    }
    // last, so that only a holder of the secret learns what time it is here
    if (now - signed_at).abs() > TOLERANCE { Err(WebhookError::Stale) } else { Ok(()) }
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

/// The header that a report signed by `secret` at `now` carries. For the sandbox, which reports in Stripe's format.
pub fn sign(body: &[u8], secret: &Secret, now: Instant) -> String {
    let at = now.timestamp();
    // HMAC takes keys of any length
    let signature = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).map(|mut mac| {
        mac.update(format!("{at}.").as_bytes());
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    });
    format!("t={at},v1={}", signature.unwrap_or_default())
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
        let header = sign(BODY, &secret("whsec_a"), now());
        let event = receive(BODY, &header, &[secret("whsec_a")], now()).unwrap();
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("evt_1", "payment_intent.succeeded"));
        assert_eq!(event.payment_id.as_deref(), Some("pi_1"));
        assert_eq!(event.order.map(|o| o.to_string()).as_deref(), Some("order-0001"));
        assert_eq!(event.at, Some(now()));
    }

    /// The signature that Stripe's official Python client computes for this body, secret and time.
    #[test]
    fn the_signature_is_stripes() {
        let header = sign(b"{\"id\": \"evt_1\"}", &secret("whsec_test"), now());
        assert_eq!(header, "t=1767225600,v1=cadaa7d3969bfb3d2eb29334f30dba6a9887b21221ab72200cff0ad25e8a7bc0");
    }

    #[test]
    fn what_is_forged_old_or_unreadable_is_refused() {
        let ours = [secret("whsec_a")];
        let header = sign(BODY, &ours[0], now());
        let check = |body: &[u8], header: &str, now| verify(body, header, &ours, now);
        assert_eq!(check(BODY, &header, now()), Ok(()));
        let mut changed = BODY.to_vec();
        changed[0] ^= 1;
        assert_eq!(check(&changed, &header, now()), Err(WebhookError::Forged));
        assert_eq!(check(BODY, &sign(BODY, &secret("other"), now()), now()), Err(WebhookError::Forged));
        for (seconds, expected) in
            [(300, Ok(())), (-300, Ok(())), (301, Err(WebhookError::Stale)), (-301, Err(WebhookError::Stale))]
        {
            assert_eq!(check(BODY, &header, now() + chrono::TimeDelta::seconds(seconds)), expected, "{seconds}");
        }
        // another time with the old signature is a forgery, not a fresh report
        let moved = header.replace("t=1767225600", "t=1767226600");
        assert_eq!(check(BODY, &moved, now() + chrono::TimeDelta::seconds(1000)), Err(WebhookError::Forged));
        for unreadable in ["", "t=1", "v1=ab", "t=x,v1=ab", "t=99999999999999999,v1=ab", "nonsense"] {
            assert_eq!(check(BODY, unreadable, now()), Err(WebhookError::Unreadable), "{unreadable}");
        }
        assert_eq!(check(BODY, "t=1767225600,v1=zz", now()), Err(WebhookError::Forged));
        assert_eq!(check(BODY, &header.replace("v1", "v0"), now()), Err(WebhookError::Unreadable), "weaker schemes do not count");
        assert_eq!(verify(BODY, &header, &[], now()), Err(WebhookError::Forged));
    }

    #[test]
    fn a_secret_is_changed_without_losing_reports() {
        let (old, new) = (secret("whsec_old"), secret("whsec_new"));
        let with_both = format!("{},{}", sign(BODY, &old, now()), sign(BODY, &new, now()).split_once(',').unwrap().1);
        assert_eq!(verify(BODY, &with_both, std::slice::from_ref(&new), now()), Ok(()));
        assert_eq!(verify(BODY, &with_both, std::slice::from_ref(&old), now()), Ok(()));
        assert_eq!(verify(BODY, &sign(BODY, &old, now()), &[new, old], now()), Ok(()));
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
