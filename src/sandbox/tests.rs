use super::*;
use axum::body::Body;
use axum::http::Request;
use oms_domain::money::{Currency, Money};
use oms_domain::payment::PaymentMethod;
use oms_gateways::payment::{Authorization, AuthorizeRequest, PaymentGateway};
use serde_json::{Value, json};
use tower::ServiceExt;

struct Bench {
    sandbox: Sandbox,
    routes: axum::Router,
    _dir: tempfile::TempDir,
}

/// The routes on a sandbox of their own; no engine listens behind them.
async fn bench(plays: &[Party]) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::open(dir.path()).await.unwrap();
    let nobody = ConnectSettings { address: "127.0.0.1:1".to_owned(), namespace: "oms".to_owned(), ..Default::default() };
    let routes: axum::Router = router(sandbox.clone(), Herald::connecting(nobody), plays.to_vec()).into();
    Bench { sandbox, routes, _dir: dir }
}

impl Bench {
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.routes.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn waiting_payment(&self, order: &OrderId) -> String {
        let request = AuthorizeRequest {
            key: format!("{order}/authorize"),
            order_id: order.clone(),
            amount: Money::new(1999, Currency::parse("EUR").unwrap()),
            method: PaymentMethod("pm_card_authenticationRequired".to_owned()),
            now: now(),
        };
        match self.sandbox.payments.authorize(request).await.unwrap() {
            Authorization::ActionRequired { payment_id, .. } => payment_id,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn faults_are_set_read_and_refused_with_pointers() {
    let bench = bench(&Party::ALL).await;
    let (status, set) =
        bench.call("PUT", "/v1/sandbox/faults/payment", json!({"mode": "down", "operation": "capture", "for": "PT30S"})).await;
    assert_eq!((status, &set["mode"], &set["operation"]), (200, &json!("down"), &json!("capture")));
    assert!(set["until"].is_string());
    let (_, all) = bench.call("GET", "/v1/sandbox/faults", Value::Null).await;
    let modes: Vec<_> = all["data"].as_array().unwrap().iter().map(|f| (f["party"].clone(), f["mode"].clone())).collect();
    assert_eq!(
        modes,
        [("payment", "down"), ("carrier", "none"), ("mail", "none"), ("sms", "none")].map(|(p, m)| (json!(p), json!(m)))
    );
    for (body, pointer) in [
        (json!({"mode": "loud"}), "/mode"),
        (json!({"mode": "down", "operation": "book"}), "/operation"),
        (json!({"mode": "down", "for": "soon"}), "/for"),
        (json!({"mode": "down", "until": "x"}), "/until"),
        (json!({}), "/mode"),
    ] {
        let (status, problem) = bench.call("PUT", "/v1/sandbox/faults/payment", body.clone()).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{body} {problem}");
    }
    assert_eq!(bench.call("PUT", "/v1/sandbox/faults/weather", json!({"mode": "down"})).await.0, 404);
}

#[tokio::test]
async fn mail_has_a_switch_only_while_it_is_the_sandbox() {
    let bench = bench(&[Party::Payment, Party::Carrier, Party::Sms]).await;
    assert_eq!(bench.call("PUT", "/v1/sandbox/faults/mail", json!({"mode": "down"})).await.0, 404);
    assert_eq!(bench.call("PUT", "/v1/sandbox/faults/sms", json!({"mode": "none"})).await.0, 200);
    let (_, all) = bench.call("GET", "/v1/sandbox/faults", Value::Null).await;
    assert_eq!(all["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_ledger_is_read_whole_or_by_order() {
    let bench = bench(&Party::ALL).await;
    let orders = ["k1", "k2"].map(|key| OrderId::from_key("default", "public", key));
    for order in &orders {
        bench.waiting_payment(order).await;
    }
    let (status, all) = bench.call("GET", "/v1/sandbox/payments", Value::Null).await;
    assert_eq!((status, all["data"].as_array().unwrap().len()), (200, 2));
    let (_, one) = bench.call("GET", &format!("/v1/sandbox/payments?order_id={}", orders[1]), Value::Null).await;
    assert_eq!(one["data"][0]["order_id"], json!(orders[1].as_str()));
    assert_eq!(one["data"][0]["status"], "requires_action");
    assert_eq!(one["data"][0]["operations"][0]["amount"], json!({"amount": 1999, "currency": "EUR"}));
    for bad in ["order_id=%20", "order=x"] {
        assert_eq!(bench.call("GET", &format!("/v1/sandbox/payments?{bad}"), Value::Null).await.0, 422, "{bad}");
    }
}

#[tokio::test]
async fn an_authentication_is_noted_even_if_the_engine_must_be_told_later() {
    let bench = bench(&Party::ALL).await;
    let payment = bench.waiting_payment(&OrderId::from_key("default", "public", "k")).await;
    let path = format!("/v1/sandbox/payments/{payment}/authenticate");
    assert_eq!(bench.call("POST", &path, json!({"outcome": "maybe"})).await.0, 422);
    assert_eq!(bench.call("POST", "/v1/sandbox/payments/absent/authenticate", json!({"outcome": "fail"})).await.0, 404);
    // Nobody listens where the engine should be: the ledger moves on, and the same request may be sent again.
    for _ in 0..2 {
        let (status, problem) = bench.call("POST", &path, json!({"outcome": "succeed"})).await;
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
    }
    let (_, ledger) = bench.call("GET", "/v1/sandbox/payments", Value::Null).await;
    assert_eq!(ledger["data"][0]["status"], "authorized");
    let (status, problem) = bench.call("POST", &path, json!({"outcome": "fail"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("not_allowed_now")));
}

#[tokio::test]
async fn routes_exist_only_while_the_sandbox_plays_the_party() {
    let bench = bench(&[Party::Carrier]).await;
    assert_eq!(bench.call("GET", "/v1/sandbox/payments", Value::Null).await.0, 404);
    assert_eq!(bench.call("GET", "/sandbox/stripe/v1/payment_intents", Value::Null).await.0, 404);
    assert_eq!(bench.call("PUT", "/v1/sandbox/faults/payment", json!({"mode": "down"})).await.0, 404);
    assert_eq!(bench.call("PUT", "/v1/sandbox/faults/carrier", json!({"mode": "none"})).await.0, 200);
    assert_eq!(bench.call("GET", "/sandbox/carrier/v1/labels", Value::Null).await.0, 401, "it is there, and wants a token");
    let bench = self::bench(&[]).await;
    assert_eq!(bench.call("GET", "/v1/sandbox/faults", Value::Null).await.0, 404);
    assert_eq!(bench.call("GET", "/sandbox/carrier/v1/labels", Value::Null).await.0, 404);
}

#[tokio::test]
async fn the_gateway_also_speaks_stripes_wire_format() {
    let bench = bench(&Party::ALL).await;
    let form = "amount=500&currency=eur&payment_method=pm_card_visa&confirm=true&capture_method=manual";
    let make = |authorization: Option<&str>| {
        let mut request = Request::builder().method("POST").uri("/sandbox/stripe/v1/payment_intents");
        request = request.header("idempotency-key", "k1").header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        bench.routes.clone().oneshot(request.body(Body::from(form)).unwrap())
    };
    assert_eq!(make(None).await.unwrap().status(), 401);
    let mut replayed = Vec::new();
    for _ in 0..2 {
        let answer = make(Some("Bearer sk_test_sandbox")).await.unwrap();
        assert_eq!(answer.status(), 200);
        replayed.push(answer.headers().contains_key("idempotent-replayed"));
    }
    assert_eq!(replayed, [false, true]);
    let (_, ledger) = bench.call("GET", "/v1/sandbox/payments", Value::Null).await;
    assert_eq!(ledger["data"].as_array().unwrap().len(), 1);
    assert_eq!(ledger["data"][0]["operations"][0]["key"], "k1");
}
