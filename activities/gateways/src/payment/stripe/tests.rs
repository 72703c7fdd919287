use super::*;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use oms_domain::money::{Currency, Money};
use std::collections::VecDeque;
use std::sync::Mutex as Lock;

/// What a server answers next, and what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Lock<VecDeque<(u16, String, bool)>>>,
    asked: Arc<Lock<Vec<String>>>,
}

impl Script {
    fn answer(&self, status: u16, body: &str) {
        self.answers.lock().unwrap().push_back((status, body.to_owned(), false));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

async fn serve(State(script): State<Script>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let key = parts.headers.get("idempotency-key").map_or("-", |k| k.to_str().unwrap()).to_owned();
    let line = format!("{} {} {key} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
    script.asked.lock().unwrap().push(line.trim_end().to_owned());
    let Some((status, body, replayed)) = script.answers.lock().unwrap().pop_front() else {
        std::future::pending::<()>().await;
        unreachable!()
    };
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    if replayed {
        response.headers_mut().insert("idempotent-replayed", "true".parse().unwrap());
    }
    response
}

async fn scripted() -> (Script, StripePayments) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let script = Script::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(serve).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (script, gateway(base_url))
}

fn gateway(base_url: String) -> StripePayments {
    let timeout = Duration::from_millis(600);
    let secret_key = Secret::new("sk_test_hunter2");
    StripePayments::new(StripeSettings { secret_key, base_url, timeout, return_url: None, multicapture: true }).unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}

fn now() -> Instant {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

fn request() -> AuthorizeRequest {
    AuthorizeRequest {
        key: "order-0001/authorize/1".into(),
        order_id: OrderId::parse("order-0001").unwrap(),
        amount: eur(2000),
        method: PaymentMethod("pm_1".into()),
        now: now(),
    }
}

const NONE: &str = r#"{"data": []}"#;

#[tokio::test]
async fn an_authorization_looks_first_and_asks_once_under_our_key() {
    let (script, gateway) = scripted().await;
    script.answer(200, NONE);
    script.answer(200, r#"{"customer": "cus_7"}"#);
    script.answer(
        200,
        r#"{"id": "pi_1", "amount": 2000, "currency": "eur", "status": "requires_capture", "created": 1772359200,
        "latest_charge": {"payment_method_details": {"card": {"capture_before": 1772964000}}}}"#,
    );
    let answer = gateway.authorize(request()).await.unwrap();
    let expires_at = "2026-03-08T10:00:00Z".parse().unwrap();
    assert_eq!(answer, Authorization::Held { payment_id: "pi_1".into(), amount: eur(2000), expires_at });
    let asked = script.asked();
    assert!(
        asked[0].starts_with("GET /v1/payment_intents/search?query=metadata%5B%27oms_key%27%5D%3A%27order-0001"),
        "{asked:?}"
    );
    assert_eq!(asked[1], "GET /v1/payment_methods/pm_1 -");
    assert!(asked[2].starts_with("POST /v1/payment_intents order-0001/authorize/1 amount=2000&currency=eur&"), "{asked:?}");
    for field in ["capture_method=manual", "confirm=true", "metadata%5Boms_order%5D=order-0001", "customer=cus_7"] {
        assert!(asked[2].contains(field), "{field} in {}", asked[2]);
    }
}

#[tokio::test]
async fn a_stored_answer_is_not_believed_but_looked_at() {
    let (script, gateway) = scripted().await;
    script.answer(200, NONE);
    script.answer(404, "{}");
    script.answers.lock().unwrap().push_back((200, r#"{"id": "pi_1", "status": "requires_action"}"#.into(), true));
    script
        .answer(200, r#"{"id": "pi_1", "amount": 2000, "currency": "eur", "status": "requires_capture", "created": 1772359200}"#);
    let answer = gateway.authorize(request()).await.unwrap();
    assert!(matches!(answer, Authorization::Held { .. }), "the customer has authenticated since: {answer:?}");
}

#[tokio::test]
async fn a_payment_that_was_made_and_not_confirmed_is_no_answer_and_is_confirmed() {
    let (script, gateway) = scripted().await;
    let made = r#"{"id": "pi_1", "amount": 2000, "currency": "eur", "status": "requires_confirmation", "created": 1772359200}"#;
    let found = format!(r#"{{"data": [{made}]}}"#);
    let key = request().key;
    script.answer(200, &found);
    script.answer(200, made);
    assert_eq!(gateway.lookup(&key).await.unwrap(), None, "nothing took effect under the key");
    script.answer(200, &found);
    script.answer(200, made);
    script.answer(200, &made.replace("requires_confirmation", "requires_capture"));
    let answer = gateway.authorize(request()).await.unwrap();
    assert!(matches!(answer, Authorization::Held { .. }), "{answer:?}");
    assert!(script.asked().last().unwrap().starts_with("POST /v1/payment_intents/pi_1/confirm"), "{:?}", script.asked());
}

#[tokio::test]
async fn refusals_of_cards_are_answers() {
    let (script, gateway) = scripted().await;
    let cases = [
        (
            402,
            r#"{"error": {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds",
            "payment_intent": {"id": "pi_9"}}}"#,
            Some("pi_9"),
            "insufficient_funds",
        ),
        (402, r#"{"error": {"code": "card_declined", "decline_code": "generic_decline"}}"#, None, "card_declined"),
        (402, "", None, "card_declined"),
        (
            400,
            r#"{"error": {"type": "invalid_request_error", "code": "resource_missing", "param": "payment_method"}}"#,
            None,
            "unknown_method",
        ),
        (400, r#"{"error": {"code": "amount_too_small", "param": "amount"}}"#, None, "amount_too_small"),
    ];
    for (status, body, payment, code) in cases {
        script.answer(200, NONE);
        script.answer(200, "{}");
        script.answer(status, body);
        let answer = gateway.authorize(request()).await.unwrap();
        assert_eq!(answer, Authorization::Declined { payment_id: payment.map(str::to_owned), code: code.into() });
    }
}

#[tokio::test]
async fn what_is_no_answer_is_unavailable_or_unknown_and_shows_no_secret() {
    let (script, gateway) = scripted().await;
    let secret = r#"{"error": {"message": "zoe@example.com hunter2", "type": "api_error"}}"#;
    // (status, whether the server may have acted)
    let cases = [(429, false), (401, false), (403, false), (503, false), (500, true), (502, true), (409, true)];
    for (status, acted) in cases {
        script.answer(200, NONE);
        script.answer(200, "{}");
        script.answer(status, secret);
        let error = gateway.authorize(request()).await.unwrap_err();
        assert_eq!(matches!(error, GatewayError::UnknownOutcome { .. }), acted, "{status}: {error}");
        assert!(!error.to_string().contains("zoe") && !error.to_string().contains("hunter2"), "{error}");
    }
    // the key was used for something else; an answer that cannot be read; our own request is wrong, which no customer's fault
    let cases = [
        (400, r#"{"error": {"type": "idempotency_error"}}"#, true),
        (200, "<html>", true),
        (400, r#"{"error": {"type": "invalid_request_error", "code": "parameter_unknown", "param": "confirm"}}"#, false),
    ];
    for (status, body, acted) in cases {
        script.answer(200, NONE);
        script.answer(200, "{}");
        script.answer(status, body);
        let error = gateway.authorize(request()).await.unwrap_err();
        assert_eq!(matches!(error, GatewayError::UnknownOutcome { .. }), acted, "{body}: {error}");
    }
    // reading acts on nothing
    script.answer(500, "");
    let error = gateway.authorize(request()).await.unwrap_err();
    assert!(matches!(error, GatewayError::Unavailable { .. }), "{error}");
    // silence
    script.answer(200, NONE);
    script.answer(200, "{}");
    let error = gateway.authorize(request()).await.unwrap_err();
    assert!(matches!(error, GatewayError::UnknownOutcome { .. }), "{error}");
    assert!(!format!("{gateway:?}").contains("hunter2"));
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = gateway(format!("http://{}", listener.local_addr().unwrap()));
    drop(listener);
    assert!(matches!(gateway.authorize(request()).await, Err(GatewayError::Unavailable { .. })));
    assert!(matches!(gateway.lookup("order-0001/void/1").await, Err(GatewayError::Unavailable { .. })));
}

#[tokio::test]
async fn where_the_card_allows_it_each_share_is_a_capture_of_the_one_intent() {
    let (script, gateway) = scripted().await;
    let capture =
        |key: &str, amount| CaptureRequest { key: key.into(), payment_id: "pi_1".into(), amount: eur(amount), now: now() };
    let standing = |received: i64, notes: &str| {
        format!(
            r#"{{"id": "pi_1", "amount": 2000, "amount_received": {received}, "currency": "eur", "status": "requires_capture",
            "metadata": {{{notes}}}, "latest_charge": {{"payment_method_details": {{"card": {{"multicapture": {{"status": "available"}}}}}}}}}}"#
        )
    };
    script.answer(200, &standing(0, ""));
    script.answer(200, "{}");
    let first = gateway.capture(capture("order-0001-1/capture/1", 1500)).await.unwrap();
    assert_eq!(first, Capture::Taken { amount: eur(1500) });
    let asked = script.asked();
    let note = format!("metadata%5B{}%5D=taken+1500", notes::field("order-0001-1/capture/1"));
    assert!(
        asked[1].starts_with("POST /v1/payment_intents/pi_1/capture order-0001-1/capture/1 amount_to_capture=1500"),
        "{asked:?}"
    );
    assert!(asked[1].contains("final_capture=false") && asked[1].contains(&note), "{asked:?}");

    let noted = format!(r#""{}": "taken 1500""#, notes::field("order-0001-1/capture/1"));
    script.answer(200, &standing(1500, &noted));
    let again = gateway.capture(capture("order-0001-1/capture/1", 1500)).await.unwrap();
    assert_eq!((again, script.asked().len()), (first, 1), "a repeat asks for nothing");

    script.answer(200, &standing(1500, &noted));
    script.answer(200, "{}");
    let last = gateway.capture(capture("order-0001-2/capture/1", 500)).await.unwrap();
    assert_eq!(last, Capture::Taken { amount: eur(500) });
    assert!(!script.asked()[1].contains("final_capture=false"), "nothing is left to be held");
}

/// The key of a second share, for which an intent of its own was made.
const LATER: &str = "order-0001-2/capture/1";

fn later() -> CaptureRequest {
    CaptureRequest { key: LATER.into(), payment_id: "pi_1".into(), amount: eur(500), now: now() }
}

/// The first intent as it stands then.
fn root_of_later() -> String {
    format!(
        r#"{{"id": "pi_1", "amount": 2000, "amount_received": 1500, "currency": "eur", "status": "succeeded",
        "metadata": {{"{}": "taken 1500", "{}": "later 500 pi_2"}}}}"#,
        notes::field("order-0001-1/capture/1"),
        notes::field(LATER)
    )
}

/// That intent.
fn share(status: &str) -> String {
    format!(r#"{{"id": "pi_2", "amount": 500, "currency": "eur", "status": "{status}"}}"#)
}

#[tokio::test]
async fn a_later_share_that_was_made_and_not_confirmed_is_confirmed() {
    let (script, gateway) = scripted().await;
    script.answer(200, &root_of_later());
    script.answer(200, &share("requires_confirmation"));
    script.answer(200, &share("succeeded"));
    assert_eq!(gateway.capture(later()).await.unwrap(), Capture::Taken { amount: eur(500) });
    let asked = script.asked();
    assert!(asked[2].starts_with(&format!("POST /v1/payment_intents/pi_2/confirm {LATER}/confirm")), "{asked:?}");
}

#[tokio::test]
async fn a_later_share_that_was_held_and_not_taken_is_taken() {
    let (script, gateway) = scripted().await;
    let held = || {
        script.answer(200, &root_of_later());
        script.answer(200, &share("requires_capture"));
    };
    held();
    script.answer(200, &share("succeeded"));
    assert_eq!(gateway.capture(later()).await.unwrap(), Capture::Taken { amount: eur(500) });
    let asked = script.asked();
    assert!(asked[2].starts_with(&format!("POST /v1/payment_intents/pi_2/capture {LATER}/later/capture")), "{asked:?}");

    held();
    script.answer(500, "{}");
    let error = gateway.capture(later()).await.unwrap_err();
    assert!(matches!(error, GatewayError::UnknownOutcome { .. }), "{error}");
    script.asked();

    // the hold has ended meanwhile: noted, and never asked for again
    held();
    script.answer(400, r#"{"error": {"type": "invalid_request_error", "code": "capture_charge_authorization_expired"}}"#);
    script.answer(200, "{}");
    let refused = Capture::Refused { code: "authorization_expired".into() };
    assert_eq!(gateway.capture(later()).await.unwrap(), refused);
    let asked = script.asked();
    assert!(asked[3].starts_with("POST /v1/payment_intents/pi_1 ") && asked[3].contains("refused"), "{asked:?}");
}

/// On a server that notes and captures in two requests: the first attempt's capture may be on its way still, and would take besides.
#[tokio::test]
async fn a_share_whose_capture_was_begun_does_not_give_way() {
    let (script, gateway) = scripted().await;
    learn(&gateway.limits.no_capture_metadata);
    let mut keys = ["order-0001-1/capture/1", "order-0001-2/capture/1"];
    keys.sort_by_key(|key| notes::field(key));
    let [first, mine] = keys;
    let standing = |notes: &str| {
        format!(r#"{{"id": "pi_1", "amount": 2000, "currency": "eur", "status": "requires_capture", "metadata": {{{notes}}}}}"#)
    };
    let both = format!(r#""{}": "taking 1500", "{}": "taking 500""#, notes::field(first), notes::field(mine));
    let request = CaptureRequest { key: mine.into(), payment_id: "pi_1".into(), amount: eur(500), now: now() };
    for answer in [standing(&both), "{}".into(), standing(&both), "{}".into(), "{}".into()] {
        script.answer(200, &answer);
    }
    assert_eq!(gateway.capture(request).await.unwrap(), Capture::Taken { amount: eur(500) });
    let asked = script.asked();
    assert!(asked[3].starts_with(&format!("POST /v1/payment_intents/pi_1/capture {mine} ")), "{asked:?}");
}

#[tokio::test]
async fn an_expired_hold_is_refused_for_good() {
    let (script, gateway) = scripted().await;
    script.answer(
        200,
        r#"{"id": "pi_1", "amount": 2000, "currency": "eur", "status": "canceled", "cancellation_reason": "automatic"}"#,
    );
    script.answer(200, "{}");
    let key = "order-0001-1/capture/1".to_owned();
    let request = CaptureRequest { key, payment_id: "pi_1".into(), amount: eur(2000), now: now() };
    let refused = Capture::Refused { code: "authorization_expired".into() };
    assert_eq!(gateway.capture(request).await.unwrap(), refused);
    assert!(script.asked()[1].contains("refused+authorization_expired"));
}

#[test]
fn methods_are_tokens_of_the_gateway() {
    let gateway = {
        let _ = rustls::crypto::ring::default_provider().install_default();
        gateway("https://api.stripe.com/".into())
    };
    let knows = |text: &str| gateway.knows_method(&PaymentMethod(text.into()));
    assert!(knows("pm_card_visa") && knows("pm_1NxYz") && knows("card_1"));
    assert!(!knows("pm_") && !knows("4242424242424242") && !knows("pm_../refunds") && !knows("tok_visa"));
    for url in ["api.stripe.com", "ftp://api.stripe.com", ""] {
        let settings = StripeSettings { base_url: url.into(), ..(*gateway.settings).clone() };
        assert!(matches!(StripePayments::new(settings), Err(WebError::BadUrl { .. })), "{url}");
    }
}

#[test]
fn where_the_customer_must_go_is_read() {
    let intent: objects::Intent = serde_json::from_str(
        r#"{"status": "requires_action", "next_action": {"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example/3ds"}}}"#,
    )
    .unwrap();
    assert_eq!(intent.action_url(), Some("https://bank.example/3ds"));
}
