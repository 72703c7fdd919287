//! The sandbox in Stripe's wire format, driven by Stripe's own Python client.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use oms_gateways::payment::{SandboxPayments, StripeCall};
use oms_gateways::sandbox::Sandbox;
use std::time::SystemTime;

use crate::peer::{needs_python, python};

const DRIVE: &str = r#"
import json, sys, time
import stripe

stripe.api_key, stripe.api_base, stripe.max_network_retries = "sk_test_sandbox", sys.argv[1], 0
PI = stripe.PaymentIntent

def make(**more):
    return PI.create(amount=2000, currency="eur", payment_method="pm_card_visa", capture_method="manual", confirm=True, **more)

held = make(metadata={"shop": "ours"}, idempotency_key="k1")
assert held.status == "requires_capture" and held.amount_capturable == 2000, held
again = make(metadata={"shop": "ours"}, idempotency_key="k1")
assert again.id == held.id and again.last_response.headers["idempotent-replayed"] == "true"
try:
    make(metadata={"shop": "theirs"}, idempotency_key="k1")
    raise SystemExit("a key was taken for two requests")
except stripe.IdempotencyError:
    pass
part = PI.capture(held.id, amount_to_capture=500, final_capture=False)
assert part.status == "requires_capture" and part.amount_received == 500 and part.amount_capturable == 1500, part
done = PI.capture(held.id, amount_to_capture=700, metadata={"parcel": "2"})
assert done.status == "succeeded" and done.amount_received == 1200 and done.metadata.parcel == "2", done
whole = PI.retrieve(held.id, expand=["latest_charge"])
assert whole.latest_charge.amount_captured == 1200, whole
try:
    PI.capture(held.id)
    raise SystemExit("captured twice")
except stripe.InvalidRequestError as e:
    assert e.code == "payment_intent_unexpected_state", e.code
refund = stripe.Refund.create(payment_intent=held.id, amount=200, metadata={"why": "late"})
assert refund.status == "succeeded" and refund.amount == 200 and refund.metadata.why == "late"
try:
    stripe.Refund.create(payment_intent=held.id, amount=1001)
    raise SystemExit("returned more than was taken")
except stripe.InvalidRequestError:
    pass
assert stripe.Refund.retrieve(refund.id).payment_intent == held.id
assert [r.id for r in stripe.Refund.list(payment_intent=held.id)] == [refund.id]
try:
    PI.create(amount=2000, currency="eur", payment_method="pm_card_chargeDeclined", confirm=True)
    raise SystemExit("not declined")
except stripe.CardError as e:
    assert e.code == "card_declined" and e.http_status == 402, e
draft = PI.create(amount=300, currency="usd")
assert draft.status == "requires_payment_method"
draft = PI.modify(draft.id, payment_method="pm_card_visa", metadata={"step": "two"})
assert draft.status == "requires_confirmation" and draft.metadata.step == "two"
draft = PI.confirm(draft.id)
assert draft.status == "succeeded" and draft.amount_received == 300
gone = PI.cancel(make().id)
assert gone.status == "canceled" and gone.amount_capturable == 0
acting = PI.create(amount=100, currency="eur", payment_method="pm_card_authenticationRequired", confirm=True)
assert acting.status == "requires_action" and acting.next_action.redirect_to_url.url
found = PI.search(query="metadata['shop']:'ours'")
assert [i.id for i in found.auto_paging_iter()] == [held.id]
everything = [i.id for i in PI.list(limit=2).auto_paging_iter()]
assert len(everything) == len(set(everything)) == 5 and everything[-1] == held.id, everything
assert len(list(PI.list(created={"gte": int(time.time()) + 3600}))) == 0
events = stripe.Event.list(type="payment_intent.succeeded")
assert {e.data.object.id for e in events} == {held.id, draft.id}
try:
    PI.retrieve("pay_none")
    raise SystemExit("found what is not there")
except stripe.InvalidRequestError as e:
    assert e.http_status == 404 and e.code == "resource_missing"
print("driven")
"#;

async fn serve(State(payments): State<SandboxPayments>, verb: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let (post, body) = (verb == Method::POST, String::from_utf8(body.to_vec()).unwrap());
    let call = StripeCall {
        post,
        path: uri.path().strip_prefix("/v1/").unwrap(),
        parameters: if post { &body } else { uri.query().unwrap_or_default() },
        key: headers.get("idempotency-key").and_then(|k| k.to_str().ok()),
        now: oms_domain::instant(SystemTime::now()),
    };
    let answer = payments.stripe(call).await;
    let mut response = (StatusCode::from_u16(answer.status).unwrap(), answer.body.to_string()).into_response();
    if answer.replayed {
        response.headers_mut().insert("idempotent-replayed", "true".parse().unwrap());
    }
    response
}

#[tokio::test]
#[ignore = "needs stripe's python client"]
async fn stripes_own_client_drives_the_sandbox() {
    needs_python("stripe");
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::open(dir.path()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(serve).with_state(sandbox.payments.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    assert_eq!(python(DRIVE, &[&base]).await, "driven\n");
    let held = sandbox.payments.payments(None).await.unwrap();
    assert_eq!(held.iter().map(|p| p.captured.minor).sum::<i64>(), 1500, "the ledger is the sandbox's own");
}
