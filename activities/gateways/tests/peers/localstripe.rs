//! The Stripe adapter against localstripe, which ignores idempotency keys and knows neither search nor several captures.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, SystemTime};

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::money::{Currency, Money};
use oms_domain::payment::{PaymentMethod, PaymentStatus};
use oms_domain::reconciliation::GatewayPayment;
use oms_gateways::GatewayError;
use oms_gateways::payment::stripe::{StripePayments, StripeSettings, webhook};
use oms_gateways::payment::{
    Authorization, AuthorizeRequest, Capture, CaptureRequest, Operation, PaymentGateway, Refund, RefundRequest, Void, VoidRequest,
};
use oms_gateways::secret::Secret;
use oms_gateways::signature::SignatureError;
use serde_json::Value;

use crate::peer::{Peer, Road, free_port, needs_python, tls, until};

const KEY: &str = "sk_test_12345678";

/// localstripe, and what it holds.
struct Stripe {
    port: u16,
    web: reqwest::Client,
    _peer: Peer,
}

impl Stripe {
    async fn start() -> Self {
        tls();
        needs_python("localstripe");
        let port = free_port();
        let mut command = Command::new("python3");
        command.args(["-m", "localstripe", "--from-scratch", "--port", &port.to_string()]);
        Self { port, web: reqwest::Client::new(), _peer: Peer::start(command, port).await }
    }

    fn gateway_at(port: u16) -> StripePayments {
        StripePayments::new(StripeSettings {
            secret_key: Secret::new(KEY),
            base_url: format!("http://127.0.0.1:{port}"),
            timeout: Duration::from_secs(10),
            return_url: None,
            multicapture: false,
        })
        .unwrap()
    }

    fn gateway(&self) -> StripePayments {
        Self::gateway_at(self.port)
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let body = self.web.get(url).bearer_auth(KEY).send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    async fn post(&self, path: &str, form: &str) -> Value {
        let request = self.web.post(format!("http://127.0.0.1:{}{path}", self.port)).bearer_auth(KEY);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        let body = request.send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// The intents of an order, at the peer itself.
    async fn intents(&self, order: &OrderId) -> Vec<Value> {
        let all = self.get("/v1/payment_intents?limit=1000").await["data"].as_array().unwrap().clone();
        all.into_iter().filter(|i| i["metadata"]["oms_order"] == order.as_str()).collect()
    }

    /// The refunds under our keys, at the peer itself.
    async fn refunds(&self) -> Vec<Value> {
        let all = self.get("/v1/refunds?limit=1000").await["data"].as_array().unwrap().clone();
        all.into_iter().filter(|r| r["metadata"]["oms_key"].is_string()).collect()
    }
}

fn now() -> Instant {
    oms_domain::instant(SystemTime::now())
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}

fn order(key: &str) -> OrderId {
    OrderId::from_key("default", "public", key)
}

fn authorize(order: &OrderId, amount: i64, method: &str) -> AuthorizeRequest {
    let (key, method) = (format!("{order}/authorize/1"), PaymentMethod(method.into()));
    AuthorizeRequest { key, order_id: order.clone(), amount: eur(amount), method, now: now() }
}

fn capture(order: &OrderId, shipment: u32, payment: &str, amount: i64) -> CaptureRequest {
    let key = format!("{}/capture/1", ShipmentId::of(order, shipment));
    CaptureRequest { key, payment_id: payment.into(), amount: eur(amount), now: now() }
}

fn void(order: &OrderId) -> VoidRequest {
    let (key, authorize_key) = (format!("{order}/void/1"), format!("{order}/authorize/1"));
    VoidRequest { key, authorize_key, order_id: order.clone(), now: now() }
}

fn refund(id: &str, payment: &str, amount: i64) -> RefundRequest {
    RefundRequest { key: format!("{id}/refund/1/1"), payment_id: payment.into(), amount: eur(amount), now: now() }
}

async fn held(gateway: &StripePayments, request: AuthorizeRequest) -> String {
    let amount = request.amount;
    match gateway.authorize(request).await.unwrap() {
        Authorization::Held { payment_id, amount: held, expires_at } => {
            assert!(held == amount && expires_at > now(), "{held} {expires_at}");
            payment_id
        }
        other => panic!("{other:?}"),
    }
}

/// The whole list, by small pages.
async fn books(gateway: &StripePayments) -> BTreeMap<String, GatewayPayment> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = gateway.payments(now() - chrono::TimeDelta::hours(1), after.as_deref(), 2).await.unwrap();
        all.extend(page.entries.into_iter().map(|p| (p.payment_id.clone(), p)));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test]
#[ignore = "needs localstripe"]
async fn an_order_is_paid_once_whatever_is_repeated() {
    let stripe = Stripe::start().await;
    let (one, other, order) = (stripe.gateway(), stripe.gateway(), order("once"));
    one.check().await.unwrap();
    let payment = held(&one, authorize(&order, 2000, "pm_card_visa")).await;
    for gateway in [&one, &other] {
        assert_eq!(held(gateway, authorize(&order, 2000, "pm_card_visa")).await, payment);
        let known = gateway.lookup(&format!("{order}/authorize/1")).await.unwrap();
        assert!(matches!(known, Some(Operation::Authorize(Authorization::Held { .. }))), "{known:?}");
    }
    assert_eq!(one.lookup(&format!("{order}-1/capture/1")).await.unwrap(), None);
    for gateway in [&one, &other, &one] {
        let taken = gateway.capture(capture(&order, 1, &payment, 2000)).await.unwrap();
        assert_eq!(taken, Capture::Taken { amount: eur(2000) });
    }
    let known = other.lookup(&format!("{order}-1/capture/1")).await.unwrap();
    assert_eq!(known, Some(Operation::Capture(Capture::Taken { amount: eur(2000) })));
    for gateway in [&one, &other, &one] {
        let returned = gateway.refund(refund("refund-0001", &payment, 700)).await.unwrap();
        assert_eq!(returned, Refund::Returned { amount: eur(700) });
    }
    let known = other.lookup("refund-0001/refund/1/1").await.unwrap();
    assert_eq!(known, Some(Operation::Refund(Refund::Returned { amount: eur(700) })));
    // localstripe itself would return more than it took
    for _ in 0..2 {
        let refused = one.refund(refund("refund-0002", &payment, 1301)).await.unwrap();
        assert_eq!(refused, Refund::Refused { code: "amount_exceeds_captured".into() });
    }
    assert_eq!(one.refund(refund("refund-0003", &payment, 1300)).await.unwrap(), Refund::Returned { amount: eur(1300) });
    assert_eq!((stripe.intents(&order).await.len(), stripe.refunds().await.len()), (1, 2));
    let books = books(&other).await;
    let entry = &books[&payment];
    assert_eq!((entry.captured, entry.refunded, entry.held), (eur(2000), eur(2000), eur(0)));
    assert_eq!((entry.status, entry.order.as_ref()), (PaymentStatus::Refunded, Some(&order)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs localstripe"]
async fn shares_that_are_taken_at_once_are_each_taken_once() {
    let stripe = Stripe::start().await;
    let gateways = [stripe.gateway(), stripe.gateway()];
    for round in 0..24 {
        let order = order(&format!("split-{round}"));
        let shares = if round % 2 == 0 { [1000, 1000] } else { [1300, 700] };
        let payment = held(&gateways[0], authorize(&order, 2000, "pm_card_visa")).await;
        let take = async |number: usize| {
            let request = capture(&order, u32::try_from(number).unwrap() + 1, &payment, shares[number]);
            loop {
                match gateways[number].capture(request.clone()).await {
                    Ok(taken) => return assert_eq!(taken, Capture::Taken { amount: eur(shares[number]) }),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::join!(take(0), take(1));
        let charges = |intent: &Value| intent["charges"]["data"].as_array().unwrap().clone();
        let all: Vec<Value> = stripe.intents(&order).await.iter().flat_map(charges).filter(|c| c["captured"] == true).collect();
        let kept = all.iter().map(|c| c["amount"].as_i64().unwrap() - c["amount_refunded"].as_i64().unwrap());
        assert_eq!(kept.sum::<i64>(), 2000, "round {round}: {all:?}");
        let entry = &books(&gateways[1]).await[&payment];
        assert_eq!((entry.captured, entry.refunded, entry.held), (eur(2000), eur(0), eur(0)), "round {round}");
        for number in 0..2 {
            take(number).await;
        }
        assert_eq!(stripe.intents(&order).await.len(), 2, "asked again, nothing more is taken");
    }
}

#[tokio::test]
#[ignore = "needs localstripe"]
async fn what_was_done_before_its_answer_was_lost_is_found_and_not_repeated() {
    let stripe = Stripe::start().await;
    let road = Road::to(stripe.port).await;
    let (order, gateway) = (order("lost"), Stripe::gateway_at(road.port));
    let unknown = |error: GatewayError| assert!(matches!(error, GatewayError::UnknownOutcome { .. }), "{error}");
    road.lose("POST /v1/payment_intents HTTP");
    unknown(gateway.authorize(authorize(&order, 2000, "pm_card_visa")).await.unwrap_err());
    assert!(road.has_lost());
    let payment = held(&gateway, authorize(&order, 2000, "pm_card_visa")).await;
    assert_eq!(stripe.intents(&order).await.len(), 1);

    // the first try tells the adapter that captures take no metadata here; the answer to the second is lost
    road.lose(&format!("POST /v1/payment_intents/{payment}/capture"));
    unknown(gateway.capture(capture(&order, 1, &payment, 1500)).await.unwrap_err());
    road.lose(&format!("POST /v1/payment_intents/{payment}/capture"));
    unknown(gateway.capture(capture(&order, 1, &payment, 1500)).await.unwrap_err());
    assert_eq!(gateway.capture(capture(&order, 1, &payment, 1500)).await.unwrap(), Capture::Taken { amount: eur(1500) });

    road.lose("POST /v1/refunds");
    unknown(gateway.refund(refund("refund-0001", &payment, 1000)).await.unwrap_err());
    assert_eq!(gateway.refund(refund("refund-0001", &payment, 1000)).await.unwrap(), Refund::Returned { amount: eur(1000) });
    assert_eq!((stripe.intents(&order).await.len(), stripe.refunds().await.len()), (1, 1));
    let entry = &books(&gateway).await[&payment];
    assert_eq!((entry.captured, entry.refunded, entry.status), (eur(1500), eur(1000), PaymentStatus::Captured));
}

#[tokio::test]
#[ignore = "needs localstripe"]
async fn refusals_are_answers_and_stay_so() {
    let stripe = Stripe::start().await;
    let gateway = stripe.gateway();
    for _ in 0..2 {
        let order = order("declined");
        let answer = gateway.authorize(authorize(&order, 2000, "pm_card_chargeCustomerFail")).await.unwrap();
        assert!(matches!(&answer, Authorization::Declined { code, .. } if code == "card_declined"), "{answer:?}");
        assert_eq!(stripe.intents(&order).await.len(), 1);
    }
    let answer = gateway.authorize(authorize(&order("nobody"), 2000, "pm_unknown")).await.unwrap();
    assert_eq!(answer, Authorization::Declined { payment_id: None, code: "unknown_method".into() });
    let answer = gateway.capture(capture(&order("nobody"), 1, "pi_unknown", 1)).await.unwrap();
    assert_eq!(answer, Capture::Refused { code: "payment_not_found".into() });
    let order = order("held");
    let payment = held(&gateway, authorize(&order, 2000, "pm_card_visa")).await;
    let answer = gateway.capture(capture(&order, 1, &payment, 2001)).await.unwrap();
    assert_eq!(answer, Capture::Refused { code: "amount_exceeds_authorized".into() });
    let answer = gateway.refund(refund("refund-0001", &payment, 1)).await.unwrap();
    assert_eq!(answer, Refund::Refused { code: "amount_exceeds_captured".into() });
    let other = Money::new(5, Currency::parse("USD").unwrap());
    let answer = gateway.capture(CaptureRequest { amount: other, ..capture(&order, 2, &payment, 5) }).await.unwrap();
    assert_eq!(answer, Capture::Refused { code: "currency_mismatch".into() });
    // without a key that looks like one, nobody is served
    let settings = StripeSettings {
        secret_key: Secret::new("wrong"),
        base_url: format!("http://127.0.0.1:{}", stripe.port),
        timeout: Duration::from_secs(10),
        return_url: None,
        multicapture: false,
    };
    let error = StripePayments::new(settings).unwrap().check().await.unwrap_err();
    assert!(matches!(&error, GatewayError::Unavailable { detail } if detail.contains("STRIPE_SECRET_KEY")), "{error}");
}

#[tokio::test]
#[ignore = "needs localstripe"]
async fn a_void_ends_the_hold_and_one_that_comes_first_stops_it() {
    let stripe = Stripe::start().await;
    let gateway = stripe.gateway();
    let order_held = order("held");
    let payment = held(&gateway, authorize(&order_held, 2000, "pm_card_visa")).await;
    for _ in 0..2 {
        assert_eq!(gateway.void(void(&order_held)).await.unwrap(), Void::Released { payment_id: payment.clone() });
    }
    let known = gateway.lookup(&format!("{order_held}/void/1")).await.unwrap();
    assert_eq!(known, Some(Operation::Void(Void::Released { payment_id: payment.clone() })));
    let late = gateway.authorize(authorize(&order_held, 2000, "pm_card_visa")).await.unwrap();
    assert!(matches!(&late, Authorization::Declined { code, .. } if code == "voided"), "{late:?}");
    let late = gateway.capture(capture(&order_held, 1, &payment, 2000)).await.unwrap();
    assert_eq!(late, Capture::Refused { code: "voided".into() });

    let order_first = order("first");
    for _ in 0..2 {
        assert_eq!(gateway.void(void(&order_first)).await.unwrap(), Void::Nothing);
    }
    let known = gateway.lookup(&format!("{order_first}/void/1")).await.unwrap();
    assert_eq!(known, Some(Operation::Void(Void::Nothing)));
    assert_eq!(gateway.lookup(&format!("{order_first}/authorize/1")).await.unwrap(), None);
    let late = gateway.authorize(authorize(&order_first, 2000, "pm_card_visa")).await.unwrap();
    assert_eq!(late, Authorization::Declined { payment_id: None, code: "voided".into() });
    assert_eq!(stripe.intents(&order_first).await.len(), 1, "the marker itself");
    let books = books(&gateway).await;
    assert_eq!(books.len(), 1, "a marker is no payment: {books:?}");
    assert_eq!((books[&payment].status, books[&payment].held), (PaymentStatus::Voided, eur(0)));
}

#[tokio::test]
#[ignore = "needs localstripe"]
async fn split_shipments_take_what_was_held_and_no_more() {
    let stripe = Stripe::start().await;
    let (gateway, order) = (stripe.gateway(), order("split"));
    let payment = held(&gateway, authorize(&order, 2000, "pm_card_visa")).await;
    // all parcels leave at once
    let (one, two, three) = tokio::join!(
        gateway.capture(capture(&order, 1, &payment, 900)),
        gateway.capture(capture(&order, 2, &payment, 600)),
        gateway.capture(capture(&order, 3, &payment, 501)),
    );
    let answers = [one.unwrap(), two.unwrap(), three.unwrap()];
    let refused = answers.iter().filter(|a| matches!(a, Capture::Refused { .. })).count();
    assert_eq!(refused, 1, "2001 of 2000: {answers:?}");
    let books_before = books(&gateway).await;
    for _ in 0..2 {
        for (n, amount) in [(1, 900), (2, 600), (3, 501)] {
            let again = gateway.capture(capture(&order, n, &payment, amount)).await.unwrap();
            assert_eq!(again, answers[n as usize - 1], "parcel {n}");
        }
    }
    let books = books(&gateway).await;
    assert_eq!(books, books_before, "repeats take nothing");
    assert_eq!(books.len(), 1, "a later share counts with its first intent: {books:?}");
    let taken: i64 = answers.iter().map(|a| if let Capture::Taken { amount } = a { amount.minor } else { 0 }).sum();
    assert_eq!((books[&payment].captured, books[&payment].held), (eur(taken), eur(0)));
    assert_eq!(stripe.intents(&order).await.len(), 2, "one per share");
    // a refund larger than any one share goes back through both
    for _ in 0..2 {
        let returned = gateway.refund(refund("refund-0001", &payment, taken)).await.unwrap();
        assert_eq!(returned, Refund::Returned { amount: eur(taken) });
    }
    assert_eq!(stripe.refunds().await.len(), 2);
    // what is voided is not taken by another intent either
    assert_eq!(gateway.void(void(&order)).await.unwrap(), Void::Nothing);
    let late = gateway.capture(capture(&order, 4, &payment, 1)).await.unwrap();
    assert_eq!(late, Capture::Refused { code: "voided".into() });
}

#[tokio::test]
#[ignore = "needs localstripe"]
async fn a_customer_who_must_authenticate_decides_what_the_key_comes_to() {
    let stripe = Stripe::start().await;
    let gateway = stripe.gateway();
    for (name, success) in [("does", true), ("fails", false)] {
        let card = "type=card&card[number]=4000002500003155&card[exp_month]=12&card[exp_year]=2040&card[cvc]=123";
        let method = stripe.post("/v1/payment_methods", card).await["id"].as_str().unwrap().to_owned();
        let order = order(name);
        let answer = gateway.authorize(authorize(&order, 2000, &method)).await.unwrap();
        let Authorization::ActionRequired { payment_id, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(books(&gateway).await[&payment_id].status, PaymentStatus::RequiresAction);
        let secret = stripe.intents(&order).await[0]["client_secret"].as_str().unwrap().to_owned();
        let form = format!("client_secret={secret}&success={success}");
        stripe.post(&format!("/v1/payment_intents/{payment_id}/_authenticate"), &form).await;
        let answer = gateway.authorize(authorize(&order, 2000, &method)).await.unwrap();
        match answer {
            Authorization::Held { payment_id: same, .. } => assert!(success && same == payment_id),
            Authorization::Declined { code, .. } => {
                assert!(!success);
                assert_eq!(code, "payment_intent_authentication_failure");
            }
            Authorization::ActionRequired { .. } => panic!("{answer:?}"),
        }
        assert_eq!(stripe.intents(&order).await.len(), 1);
    }
}

#[tokio::test]
#[ignore = "needs localstripe"]
async fn its_reports_are_genuine_and_name_the_order() {
    let stripe = Stripe::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let take = axum::routing::post(move |headers: axum::http::HeaderMap, body: axum::body::Bytes| async move {
        let header = headers["stripe-signature"].to_str().unwrap().to_owned();
        tell.send((header, body.to_vec())).unwrap();
    });
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/", take)).await });
    stripe.post("/_config/webhooks/w1", &format!("url={url}/&secret=whsec_peer")).await;
    let (gateway, order) = (stripe.gateway(), order("reported"));
    let payment = held(&gateway, authorize(&order, 2000, "pm_card_visa")).await;
    gateway.capture(capture(&order, 1, &payment, 2000)).await.unwrap();
    let (header, body) = until("a report", || std::future::ready(told.try_recv().ok())).await;
    let secrets = [Secret::new("whsec_other"), Secret::new("whsec_peer")];
    let event = webhook::receive(&body, &header, &secrets, now()).unwrap();
    assert_eq!((event.kind.as_str(), event.payment_id.as_deref()), ("payment_intent.succeeded", Some(payment.as_str())));
    assert_eq!(event.order, Some(order));
    assert_eq!(webhook::receive(&body, &header, &secrets[..1], now()), Err(SignatureError::Forged.into()));
}
