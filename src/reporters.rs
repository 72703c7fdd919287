//! Those who report to us by webhook: their formats in the API's words. A reporter is one only while its secret is set.

use std::sync::Arc;

use axum::http::HeaderMap;
use oms_api::inbound::{About, NotTaken, ParcelNews, Report, Reporter, Reporters};
use oms_domain::Instant;
use oms_gateways::carrier::http::tracking::{self, TrackingError, TrackingEvent};
use oms_gateways::payment::stripe::webhook::{self, PaymentEvent, WebhookError};
use oms_gateways::secret::Secret;

use crate::settings::ReportSecrets;

/// Those whose secrets are set.
pub(crate) fn of(secrets: &ReportSecrets) -> Reporters {
    let mut reporters = Reporters::default();
    if !secrets.payments.is_empty() {
        reporters.payments = Some(Arc::new(Stripe(secrets.payments.clone())));
    }
    if !secrets.carrier.is_empty() {
        reporters.carriers.insert(secrets.carrier_code.clone(), Arc::new(Carrier(secrets.carrier.clone())));
    }
    reporters
}

/// A header's text; empty if there is none, or not just one: no signature is.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or_default(),
        _ => "",
    }
}

/// Stripe, and the sandbox in its format.
struct Stripe(Vec<Secret>);

/// Events after which an order may have something to learn that it does not cause itself: its customer has acted, or a hold on funds was
/// ended elsewhere. What our own captures and refunds cause is answered to us when we ask for them.
const NEWS: [&str; 3] = ["payment_intent.amount_capturable_updated", "payment_intent.payment_failed", "payment_intent.canceled"];

impl Reporter for Stripe {
    fn receive(&self, body: &[u8], headers: &HeaderMap, now: Instant) -> Result<Report, NotTaken> {
        let event = webhook::receive(body, header(headers, "stripe-signature"), &self.0, now);
        event.map(payment_report).map_err(|error| payment_error(&error))
    }

    fn read(&self, body: &[u8]) -> Result<Report, NotTaken> {
        webhook::parse(body).map(payment_report).map_err(|error| payment_error(&error))
    }
}

fn payment_error(error: &WebhookError) -> NotTaken {
    match error {
        WebhookError::Signature(error) => NotTaken::NotGenuine(error.to_string()),
        WebhookError::NotAnEvent => NotTaken::NotAReport(error.to_string()),
    }
}

fn payment_report(event: PaymentEvent) -> Report {
    let about = if NEWS.contains(&event.kind.as_str()) {
        About::Payment { order: event.order, payment_id: event.payment_id }
    } else {
        About::Nothing
    };
    Report { event_id: event.id, kind: event.kind, about }
}

/// A carrier over the protocol of docs/carrier.md.
struct Carrier(Vec<Secret>);

impl Reporter for Carrier {
    fn receive(&self, body: &[u8], headers: &HeaderMap, now: Instant) -> Result<Report, NotTaken> {
        let event = tracking::receive(body, header(headers, "carrier-signature"), &self.0, now);
        event.map(parcel_report).map_err(|error| parcel_error(&error))
    }

    fn read(&self, body: &[u8]) -> Result<Report, NotTaken> {
        tracking::parse(body).map(parcel_report).map_err(|error| parcel_error(&error))
    }
}

fn parcel_error(error: &TrackingError) -> NotTaken {
    match error {
        TrackingError::Signature(error) => NotTaken::NotGenuine(error.to_string()),
        TrackingError::NotAReport => NotTaken::NotAReport(error.to_string()),
    }
}

fn parcel_report(event: TrackingEvent) -> Report {
    let news = ParcelNews { shipment: event.shipment, tracking_number: event.tracking_number, scan: event.scan, at: event.at };
    Report { event_id: event.id, kind: event.code, about: About::Parcel(news) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_signature_header_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(header(&headers, "x"), "");
        headers.append("x", "one".parse().unwrap());
        assert_eq!(header(&headers, "x"), "one");
        headers.append("x", "two".parse().unwrap());
        assert_eq!(header(&headers, "x"), "");
    }

    #[test]
    fn what_we_cause_ourselves_is_no_news() {
        let stripe = Stripe(Vec::new());
        let of = |kind: &str| {
            let body = format!(
                r#"{{"id": "evt_1", "type": "{kind}", "data": {{"object": {{"object": "payment_intent", "id": "pi_1"}}}}}}"#
            );
            stripe.read(body.as_bytes()).unwrap().about
        };
        assert_eq!(of("payment_intent.canceled"), About::Payment { order: None, payment_id: Some("pi_1".to_owned()) });
        assert_eq!(of("payment_intent.succeeded"), About::Nothing);
        assert_eq!(of("brand.new"), About::Nothing);
    }

    #[test]
    fn only_who_has_a_secret_reports() {
        let secrets = |payments: usize, carrier: usize| ReportSecrets {
            payments: vec![Secret::new("a"); payments],
            carrier: vec![Secret::new("b"); carrier],
            carrier_code: "dhl".to_owned(),
        };
        let none = of(&secrets(0, 0));
        assert!(none.payments.is_none() && none.carriers.is_empty());
        let both = of(&secrets(1, 2));
        assert!(both.payments.is_some() && both.carriers.contains_key("dhl"));
    }
}
