//! Our own adapter against the sandbox over HTTP; Stripe's client drives it in `tests/peers`.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method as Verb, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::money::{Currency, Money};
use oms_domain::payment::{PaymentMethod, PaymentStatus};
use std::time::{Duration, SystemTime};

use super::*;
use crate::faults::{Fault, FaultMode};
use crate::payment::stripe::{StripePayments, StripeSettings};
use crate::payment::{
    Authentication, Authorization, AuthorizeRequest, Capture, CaptureRequest, Operation, PaymentGateway, Refund, RefundRequest,
    Void, VoidRequest,
};
use crate::sandbox::Sandbox;
use crate::secret::Secret;
use oms_domain::party::Party;

async fn serve(State(payments): State<SandboxPayments>, verb: Verb, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let post = verb == Verb::POST;
    let answer = payments
        .stripe(StripeCall {
            post,
            path: uri.path().strip_prefix("/v1/").unwrap(),
            parameters: if post { &body } else { uri.query().unwrap_or_default() },
            key: headers.get("idempotency-key").and_then(|k| k.to_str().ok()),
            now: now(),
        })
        .await;
    let mut response = (StatusCode::from_u16(answer.status).unwrap(), answer.body.to_string()).into_response();
    if answer.replayed {
        response.headers_mut().insert("idempotent-replayed", "true".parse().unwrap());
    }
    response
}

struct World {
    sandbox: Sandbox,
    gateway: StripePayments,
    _dir: tempfile::TempDir,
}

async fn world(multicapture: bool) -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::open(dir.path()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(serve).with_state(sandbox.payments.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let settings = StripeSettings {
        secret_key: Secret::new("sk_test_sandbox"),
        base_url,
        timeout: Duration::from_secs(10),
        return_url: None,
        multicapture,
    };
    World { sandbox, gateway: StripePayments::new(settings).unwrap(), _dir: dir }
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

fn authorize(order: &OrderId, method: &str) -> AuthorizeRequest {
    let (key, method) = (format!("{order}/authorize/1"), PaymentMethod(method.into()));
    AuthorizeRequest { key, order_id: order.clone(), amount: eur(2000), method, now: now() }
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

async fn held(gateway: &StripePayments, order: &OrderId) -> String {
    match gateway.authorize(authorize(order, "pm_card_visa")).await.unwrap() {
        Authorization::Held { payment_id, amount, expires_at } => {
            assert_eq!(amount, eur(2000));
            assert!(expires_at > now() + chrono::TimeDelta::days(6), "{expires_at}");
            payment_id
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn our_adapter_pays_an_order_once_over_http() {
    let World { sandbox, gateway, _dir } = world(true).await;
    let order = order("once");
    let payment = held(&gateway, &order).await;
    for _ in 0..2 {
        assert_eq!(held(&gateway, &order).await, payment);
        for (shipment, amount) in [(1, 1500), (2, 400)] {
            let taken = gateway.capture(capture(&order, shipment, &payment, amount)).await.unwrap();
            assert_eq!(taken, Capture::Taken { amount: eur(amount) });
        }
        let refused = gateway.capture(capture(&order, 3, &payment, 101)).await.unwrap();
        assert_eq!(refused, Capture::Refused { code: "amount_exceeds_authorized".into() });
        let returned = gateway.refund(refund("refund-0001", &payment, 1600)).await.unwrap();
        assert_eq!(returned, Refund::Returned { amount: eur(1600) });
        let refused = gateway.refund(refund("refund-0002", &payment, 301)).await.unwrap();
        assert_eq!(refused, Refund::Refused { code: "amount_exceeds_captured".into() });
    }
    let known = gateway.lookup(&format!("{order}-2/capture/1")).await.unwrap();
    assert_eq!(known, Some(Operation::Capture(Capture::Taken { amount: eur(400) })));
    let known = gateway.lookup("refund-0001/refund/1/1").await.unwrap();
    assert_eq!(known, Some(Operation::Refund(Refund::Returned { amount: eur(1600) })));
    // the rest is let go; what was taken stays
    assert_eq!(gateway.void(void(&order)).await.unwrap(), Void::Released { payment_id: payment.clone() });

    let ledger = sandbox.payments.payments(Some(&order)).await.unwrap();
    assert_eq!(ledger.len(), 1, "one payment whatever is repeated");
    assert_eq!((ledger[0].captured, ledger[0].refunded, ledger[0].status), (eur(1900), eur(1600), PaymentStatus::Captured));
    let keys: Vec<&str> = ledger[0].operations.iter().map(|o| o.key.as_str()).collect();
    let expected = [
        format!("{order}/authorize/1"),
        format!("{order}-1/capture/1"),
        format!("{order}-2/capture/1"),
        "refund-0001/refund/1/1".into(),
        format!("{order}/void/1"),
    ];
    assert_eq!(keys, expected, "the sandbox's ledger knows every operation by our key");
    let entry = gateway.payments(now() - chrono::TimeDelta::hours(1), None, 100).await.unwrap().entries.remove(0);
    assert_eq!((entry.payment_id, entry.captured, entry.refunded, entry.held), (payment, eur(1900), eur(1600), eur(0)));
}

#[tokio::test]
async fn a_lost_answer_is_found_and_nothing_is_done_twice() {
    let World { sandbox, gateway, _dir } = world(false).await;
    let order = order("lost");
    sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
    let error = gateway.authorize(authorize(&order, "pm_card_visa")).await.unwrap_err();
    assert!(matches!(error, GatewayError::UnknownOutcome { .. }), "{error}");
    let payment = held(&gateway, &order).await;
    assert!(gateway.capture(capture(&order, 1, &payment, 1500)).await.is_err());
    assert_eq!(gateway.capture(capture(&order, 1, &payment, 1500)).await.unwrap(), Capture::Taken { amount: eur(1500) });
    assert!(gateway.refund(refund("refund-0001", &payment, 500)).await.is_err());
    assert_eq!(gateway.refund(refund("refund-0001", &payment, 500)).await.unwrap(), Refund::Returned { amount: eur(500) });
    let ledger = sandbox.payments.payments(Some(&order)).await.unwrap();
    assert_eq!((ledger.len(), ledger[0].captured, ledger[0].refunded), (1, eur(1500), eur(500)));

    sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let error = gateway.authorize(authorize(&super::tests::order("down"), "pm_card_visa")).await.unwrap_err();
    assert!(matches!(error, GatewayError::Unavailable { .. }), "{error}");
    sandbox.faults.set(Party::Payment, &Fault::default()).await.unwrap();
    held(&gateway, &super::tests::order("down")).await;
}

#[tokio::test]
async fn a_share_that_came_second_is_taken_by_a_payment_of_its_own() {
    let World { sandbox, gateway, _dir } = world(false).await;
    let order = order("second");
    let payment = held(&gateway, &order).await;
    let second = capture(&order, 2, &payment, 500);
    assert_eq!(gateway.capture(capture(&order, 1, &payment, 1500)).await.unwrap(), Capture::Taken { amount: eur(1500) });
    // both were under way: the server has refused the second one's capture and keeps that answer under its key
    let refused = sandbox.payments.capture(second.clone()).await.unwrap();
    assert_eq!(refused, Capture::Refused { code: "voided".into() });
    assert_eq!(gateway.capture(second.clone()).await.unwrap(), Capture::Taken { amount: eur(500) });
    assert_eq!(gateway.capture(second).await.unwrap(), Capture::Taken { amount: eur(500) });
    let ledger = sandbox.payments.payments(Some(&order)).await.unwrap();
    assert_eq!(ledger.iter().map(|p| p.captured.minor).collect::<Vec<_>>(), [1500, 500]);
}

#[tokio::test]
async fn refusals_voids_and_customers_who_must_act() {
    let World { sandbox, gateway, _dir } = world(false).await;
    let declined = gateway.authorize(authorize(&order("declined"), "pm_card_chargeDeclined")).await.unwrap();
    assert!(
        matches!(&declined, Authorization::Declined { code, payment_id: Some(_) } if code == "card_declined"),
        "{declined:?}"
    );
    let unknown = gateway.authorize(authorize(&order("unknown"), "pm_unknown")).await.unwrap();
    assert_eq!(unknown, Authorization::Declined { payment_id: None, code: "unknown_method".into() });
    // a void before its authorization
    let first = order("first");
    assert_eq!(gateway.void(void(&first)).await.unwrap(), Void::Nothing);
    let late = gateway.authorize(authorize(&first, "pm_card_visa")).await.unwrap();
    assert_eq!(late, Authorization::Declined { payment_id: None, code: "voided".into() });
    // after it
    let after = order("after");
    let payment = held(&gateway, &after).await;
    for _ in 0..2 {
        assert_eq!(gateway.void(void(&after)).await.unwrap(), Void::Released { payment_id: payment.clone() });
    }
    // a customer who authenticates between two questions under one key
    let asked = order("asked");
    let request = || authorize(&asked, "pm_card_authenticationRequired");
    let answer = gateway.authorize(request()).await.unwrap();
    let Authorization::ActionRequired { payment_id, .. } = answer else { panic!("{answer:?}") };
    sandbox.payments.authenticate(&payment_id, Authentication::Succeed, now()).await.unwrap();
    assert!(matches!(gateway.authorize(request()).await.unwrap(), Authorization::Held { .. }));
}

#[tokio::test]
async fn a_key_has_one_answer_and_one_request() {
    let dir = tempfile::tempdir().unwrap();
    let payments = Sandbox::open(dir.path()).await.unwrap().payments;
    let call = |path, parameters, key| StripeCall { post: true, path, parameters, key, now: now() };
    let form = "amount=500&currency=eur&payment_method=pm_card_visa&confirm=true&capture_method=manual";
    let first = payments.stripe(call("payment_intents", form, Some("k1"))).await;
    assert_eq!((first.status, first.replayed, first.body["status"].as_str()), (200, false, Some("requires_capture")));
    let again = payments.stripe(call("payment_intents", form, Some("k1"))).await;
    assert_eq!((again.replayed, &again.body), (true, &first.body));
    let other = payments.stripe(call("payment_intents", "amount=501&currency=eur", Some("k1"))).await;
    assert_eq!((other.status, other.body["error"]["type"].as_str()), (400, Some("idempotency_error")));
    let declined = "amount=500&currency=eur&payment_method=pm_card_chargeDeclined&confirm=true";
    for replayed in [false, true] {
        let answer = payments.stripe(call("payment_intents", declined, Some("k2"))).await;
        assert_eq!(
            (answer.status, answer.replayed, answer.body["error"]["code"].as_str()),
            (402, replayed, Some("card_declined"))
        );
    }
    // without a key each call is new
    let ids =
        [payments.stripe(call("payment_intents", form, None)).await, payments.stripe(call("payment_intents", form, None)).await];
    assert_ne!(ids[0].body["id"], ids[1].body["id"]);
    for (path, parameters, status) in [
        ("payment_intents", "currency=eur", 400),
        ("payment_intents", "amount=5&currency=xyz", 400),
        ("payment_intents/pay_none/capture", "", 404),
        ("refunds", "amount=5", 400),
        ("accounts", "", 404),
    ] {
        let answer = payments.stripe(call(path, parameters, None)).await;
        assert_eq!((answer.status, answer.body["error"]["type"].as_str()), (status, Some("invalid_request_error")), "{path}");
    }
}
