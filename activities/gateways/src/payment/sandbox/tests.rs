use super::*;
use crate::faults::{Fault, SLOW};
use crate::sandbox::{AUTHORIZATION_LIFETIME, Sandbox};
use oms_domain::ids::OrderId;
use oms_domain::money::{Currency, Money};
use std::sync::Arc;

fn now() -> Instant {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}

fn order(key: &str) -> OrderId {
    OrderId::from_key("default", "public", key)
}

fn authorize(key: &str, method: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        key: format!("{key}/authorize"),
        order_id: order(key),
        amount: eur(1_000),
        method: PaymentMethod(method.into()),
        now: now(),
    }
}

fn capture(key: &str, payment_id: &str, minor: i64) -> CaptureRequest {
    CaptureRequest { key: key.into(), payment_id: payment_id.into(), amount: eur(minor), now: now() }
}

fn refund(key: &str, payment_id: &str, minor: i64) -> RefundRequest {
    RefundRequest { key: key.into(), payment_id: payment_id.into(), amount: eur(minor), now: now() }
}

fn void(key: &str) -> VoidRequest {
    VoidRequest { key: format!("{key}/void"), authorize_key: format!("{key}/authorize"), order_id: order(key), now: now() }
}

fn refused(code: &str) -> Capture {
    Capture::Refused { code: code.into() }
}

async fn held(payments: &SandboxPayments, key: &str) -> String {
    match payments.authorize(authorize(key, "pm_card_visa")).await.unwrap() {
        Authorization::Held { payment_id, amount, expires_at } => {
            assert_eq!((amount, expires_at), (eur(1_000), now() + AUTHORIZATION_LIFETIME));
            payment_id
        }
        other => panic!("{other:?}"),
    }
}

async fn row(payments: &SandboxPayments, key: &str) -> SandboxPayment {
    let mut rows = payments.payments(Some(&order(key))).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn listed(payment: &SandboxPayment) -> Vec<String> {
    payment.operations.iter().map(|o| format!("{} {} {}", o.kind.as_str(), o.amount.minor, o.result.as_str())).collect()
}

async fn open(dir: &tempfile::TempDir) -> Sandbox {
    Sandbox::open(dir.path()).await.unwrap()
}

#[tokio::test]
async fn every_operation_happens_once_per_key() {
    let dir = tempfile::tempdir().unwrap();
    let payments = open(&dir).await.payments;
    let id = held(&payments, "a").await;
    for _ in 0..3 {
        assert_eq!(held(&payments, "a").await, id);
        assert_eq!(payments.capture(capture("c1", &id, 400)).await.unwrap(), Capture::Taken { amount: eur(400) });
        assert_eq!(payments.refund(refund("r1", &id, 100)).await.unwrap(), Refund::Returned { amount: eur(100) });
        assert_eq!(payments.void(void("a")).await.unwrap(), Void::Released { payment_id: id.clone() });
    }
    let payment = row(&payments, "a").await;
    assert_eq!(listed(&payment), ["authorize 1000 ok", "capture 400 ok", "refund 100 ok", "void 600 ok"]);
    assert_eq!((payment.authorized, payment.captured, payment.refunded), (eur(1_000), eur(400), eur(100)));
    assert_eq!(payment.status, PaymentStatus::Captured);
    assert_eq!(payments.lookup("c1").await.unwrap(), Some(Operation::Capture(Capture::Taken { amount: eur(400) })));
    assert_eq!(payments.lookup("never").await.unwrap(), None);
    assert!(payments.capture(capture("r1", &id, 1)).await.is_err(), "a key names one operation");
    assert_eq!(row(&payments, "a").await.operations.len(), 4);
}

#[tokio::test]
async fn the_ledger_is_written_as_the_api_promises() {
    let dir = tempfile::tempdir().unwrap();
    let payments = open(&dir).await.payments;
    let id = held(&payments, "a").await;
    let expected = serde_json::json!([{
        "payment_id": id, "order_id": order("a"), "status": "authorized",
        "authorized": {"amount": 1000, "currency": "EUR"}, "captured": {"amount": 0, "currency": "EUR"},
        "refunded": {"amount": 0, "currency": "EUR"},
        "operations": [{"key": "a/authorize", "kind": "authorize", "amount": {"amount": 1000, "currency": "EUR"},
                        "result": "ok", "at": "2026-03-01T10:00:00Z"}],
    }]);
    assert_eq!(serde_json::to_value(payments.payments(None).await.unwrap()).unwrap(), expected);
}

#[tokio::test]
async fn never_more_is_taken_than_held_nor_returned_than_taken() {
    let dir = tempfile::tempdir().unwrap();
    let payments = open(&dir).await.payments;
    let id = held(&payments, "a").await;
    for _ in 0..2 {
        assert_eq!(payments.capture(capture("c0", &id, 1_001)).await.unwrap(), refused("amount_exceeds_authorized"));
    }
    assert_eq!(payments.capture(capture("c1", &id, 600)).await.unwrap(), Capture::Taken { amount: eur(600) });
    assert_eq!(row(&payments, "a").await.status, PaymentStatus::PartiallyCaptured);
    assert_eq!(payments.capture(capture("c2", &id, 401)).await.unwrap(), refused("amount_exceeds_authorized"));
    assert_eq!(payments.capture(capture("c3", &id, -1)).await.unwrap(), refused("amount_invalid"));
    let yen = Money::new(1, Currency::parse("JPY").unwrap());
    assert_eq!(
        payments.capture(CaptureRequest { amount: yen, ..capture("c4", &id, 0) }).await.unwrap(),
        refused("currency_mismatch")
    );
    assert_eq!(payments.capture(capture("c5", "pay_unknown", 1)).await.unwrap(), refused("payment_not_found"));
    assert_eq!(
        payments.refund(refund("r0", &id, 601)).await.unwrap(),
        Refund::Refused { code: "amount_exceeds_captured".into() }
    );
    assert_eq!(payments.capture(capture("c6", &id, 400)).await.unwrap(), Capture::Taken { amount: eur(400) });
    assert_eq!(row(&payments, "a").await.status, PaymentStatus::Captured);
    assert_eq!(payments.void(void("a")).await.unwrap(), Void::Nothing, "nothing is held any more");
    assert_eq!(payments.refund(refund("r1", &id, 999)).await.unwrap(), Refund::Returned { amount: eur(999) });
    assert_eq!(row(&payments, "a").await.status, PaymentStatus::Captured);
    assert_eq!(payments.refund(refund("r2", &id, 2)).await.unwrap(), Refund::Refused { code: "amount_exceeds_captured".into() });
    assert_eq!(payments.refund(refund("r3", &id, 1)).await.unwrap(), Refund::Returned { amount: eur(1) });
    let payment = row(&payments, "a").await;
    assert_eq!(payment.status, PaymentStatus::Refunded);
    assert_eq!(payment.operations.iter().filter(|o| o.result == OperationResult::Declined).count(), 6);
}

#[tokio::test]
async fn a_hold_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let payments = open(&dir).await.payments;
    let id = held(&payments, "a").await;
    let at = |key: &str, now| CaptureRequest { now, ..capture(key, &id, 500) };
    let end = now() + AUTHORIZATION_LIFETIME;
    assert_eq!(payments.capture(at("c1", end - Duration::from_secs(1))).await.unwrap(), Capture::Taken { amount: eur(500) });
    assert_eq!(payments.capture(at("c2", end)).await.unwrap(), refused("authorization_expired"));
}

#[tokio::test]
async fn a_void_releases_everything_or_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let payments = open(&dir).await.payments;
    let id = held(&payments, "a").await;
    assert_eq!(payments.void(void("a")).await.unwrap(), Void::Released { payment_id: id.clone() });
    let payment = row(&payments, "a").await;
    assert_eq!((payment.status, payment.authorized), (PaymentStatus::Voided, eur(1_000)));
    assert_eq!(payments.capture(capture("c1", &id, 1)).await.unwrap(), refused("voided"));
    let again = VoidRequest { key: "a/void/2".into(), ..void("a") };
    assert_eq!(payments.void(again).await.unwrap(), Void::Nothing);
    let voided = Authorization::Declined { payment_id: Some(id), code: "voided".into() };
    assert_eq!(payments.authorize(authorize("a", "pm_card_visa")).await.unwrap(), voided);

    let id = held(&payments, "b").await;
    payments.capture(capture("c2", &id, 300)).await.unwrap();
    assert_eq!(payments.void(void("b")).await.unwrap(), Void::Released { payment_id: id.clone() });
    assert_eq!(payments.capture(capture("c3", &id, 1)).await.unwrap(), refused("voided"));
    let payment = row(&payments, "b").await;
    assert_eq!((payment.status, payment.captured), (PaymentStatus::Captured, eur(300)));
}

#[tokio::test]
async fn a_void_that_comes_first_stops_the_authorization() {
    let dir = tempfile::tempdir().unwrap();
    let payments = open(&dir).await.payments;
    for _ in 0..2 {
        assert_eq!(payments.void(void("a")).await.unwrap(), Void::Nothing);
    }
    assert_eq!(payments.payments(None).await.unwrap(), []);
    assert_eq!(payments.lookup("a/authorize").await.unwrap(), None);
    for _ in 0..2 {
        let late = payments.authorize(authorize("a", "pm_card_visa")).await.unwrap();
        assert!(matches!(late, Authorization::Declined { ref code, .. } if code == "voided"), "{late:?}");
    }
    let payment = row(&payments, "a").await;
    assert_eq!((payment.status, payment.authorized), (PaymentStatus::Declined, eur(0)));
    assert_eq!(listed(&payment), ["void 0 ok", "authorize 1000 declined"]);
}

#[tokio::test]
async fn declined_methods_leave_a_row_without_money() {
    let dir = tempfile::tempdir().unwrap();
    let payments = open(&dir).await.payments;
    for (method, expected) in [("pm_card_chargeDeclined", "card_declined"), ("pm_nobody_knows", "unknown_method")] {
        let answer = payments.authorize(authorize(method, method)).await.unwrap();
        let Authorization::Declined { payment_id: Some(id), code } = answer else { panic!("{answer:?}") };
        assert_eq!(code, expected);
        assert_eq!(payments.capture(capture(&format!("{method}/c"), &id, 1)).await.unwrap(), refused("not_authorized"));
        assert_eq!(payments.void(void(method)).await.unwrap(), Void::Nothing);
        let payment = row(&payments, method).await;
        assert_eq!((payment.status, payment.authorized), (PaymentStatus::Declined, eur(0)));
        assert_eq!(listed(&payment)[0], "authorize 1000 declined");
    }
    assert!(Method::ALL.iter().all(|m| payments.knows_method(&PaymentMethod(m.as_str().into()))));
    assert!(!payments.knows_method(&PaymentMethod("pm_nobody_knows".into())) && payments.is_sandbox());
}

#[tokio::test]
async fn the_customer_authenticates_or_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let payments = open(&dir).await.payments.with_pages("https://shop.example.com");
    let ask = async |key: &str| payments.authorize(authorize(key, "pm_card_authenticationRequired")).await.unwrap();
    let mut ids = Vec::new();
    for key in ["yes", "no", "gone"] {
        let Authorization::ActionRequired { payment_id, action_url } = ask(key).await else { panic!("no action required") };
        assert_eq!(action_url, Some(format!("https://shop.example.com/v1/sandbox/pay/{payment_id}")));
        let again = payments.lookup(&format!("{key}/authorize")).await.unwrap();
        let asked = Authorization::ActionRequired { payment_id: payment_id.clone(), action_url };
        assert_eq!(again, Some(Operation::Authorize(asked)), "whoever asks by the key is sent to the same page");
        assert_eq!(payments.capture(capture(&format!("{key}/c"), &payment_id, 1)).await.unwrap(), refused("not_authorized"));
        assert_eq!(row(&payments, key).await.status, PaymentStatus::RequiresAction);
        ids.push(payment_id);
    }
    let later = now() + Duration::from_secs(3_600);
    payments.authenticate(&ids[0], Authentication::Succeed, later).await.unwrap();
    let expires_at = later + AUTHORIZATION_LIFETIME;
    assert_eq!(ask("yes").await, Authorization::Held { payment_id: ids[0].clone(), amount: eur(1_000), expires_at });
    assert_eq!(row(&payments, "yes").await.authorized, eur(1_000));

    payments.authenticate(&ids[1], Authentication::Fail, later).await.unwrap();
    let failed = Authorization::Declined { payment_id: Some(ids[1].clone()), code: "authentication_failed".into() };
    assert_eq!(payments.lookup("no/authorize").await.unwrap(), Some(Operation::Authorize(failed)));
    assert_eq!(listed(&row(&payments, "no").await)[0], "authorize 1000 declined");

    assert_eq!(payments.void(void("gone")).await.unwrap(), Void::Released { payment_id: ids[2].clone() });
    for (id, expected) in
        [(&ids[0], PaymentStatus::Authorized), (&ids[1], PaymentStatus::Declined), (&ids[2], PaymentStatus::Voided)]
    {
        let error = payments.authenticate(id, Authentication::Succeed, later).await.unwrap_err();
        assert!(matches!(error, AuthenticateError::NotAwaiting { status } if status == expected), "{error}");
    }
    let error = payments.authenticate("pay_unknown", Authentication::Succeed, later).await.unwrap_err();
    assert!(matches!(error, AuthenticateError::NotFound));
}

#[tokio::test]
async fn flaky_fails_twice_per_operation_and_then_works() {
    let dir = tempfile::tempdir().unwrap();
    let payments = open(&dir).await.payments;
    for attempt in 0..2 {
        let error = payments.authorize(authorize("a", "pm_sandbox_flaky")).await.unwrap_err();
        assert!(matches!(error, GatewayError::Unavailable { .. }), "{attempt}: {error}");
        assert_eq!(payments.payments(None).await.unwrap(), [], "no effect, no row");
        assert_eq!(payments.lookup("a/authorize").await.unwrap(), None);
    }
    let answer = payments.authorize(authorize("a", "pm_sandbox_flaky")).await.unwrap();
    let Authorization::Held { payment_id, .. } = answer else { panic!("{answer:?}") };
    for _ in 0..2 {
        assert!(payments.capture(capture("c1", &payment_id, 1_000)).await.is_err());
    }
    payments.capture(capture("c1", &payment_id, 1_000)).await.unwrap();
    let expected = [
        "authorize 1000 failed",
        "authorize 1000 failed",
        "authorize 1000 ok",
        "capture 1000 failed",
        "capture 1000 failed",
        "capture 1000 ok",
    ];
    assert_eq!(listed(&row(&payments, "a").await), expected);
}

#[tokio::test]
async fn a_lost_answer_is_told_by_a_repeat_and_by_a_lookup() {
    let dir = tempfile::tempdir().unwrap();
    let Sandbox { payments, faults, .. } = open(&dir).await;
    // once by the method, once by the fault: the same behaviour
    for (key, method, mode) in
        [("a", "pm_sandbox_commit_then_drop", FaultMode::None), ("b", "pm_card_visa", FaultMode::CommitThenDrop)]
    {
        faults.set(Party::Payment, &Fault::lasting(mode)).await.unwrap();
        let lost = payments.authorize(authorize(key, method)).await.unwrap_err();
        assert!(matches!(lost, GatewayError::UnknownOutcome { .. }), "{lost}");
        let truth = payments.lookup(&format!("{key}/authorize")).await.unwrap();
        let Some(Operation::Authorize(answer @ Authorization::Held { .. })) = truth else { panic!("{truth:?}") };
        assert_eq!(payments.authorize(authorize(key, method)).await.unwrap(), answer);
        let Authorization::Held { payment_id, .. } = answer else { unreachable!() };
        let take = || payments.capture(capture(&format!("{key}/c"), &payment_id, 700));
        assert!(matches!(take().await, Err(GatewayError::UnknownOutcome { .. })));
        assert_eq!(take().await.unwrap(), Capture::Taken { amount: eur(700) });
        assert!(matches!(payments.void(void(key)).await, Err(GatewayError::UnknownOutcome { .. })));
        assert_eq!(payments.void(void(key)).await.unwrap(), Void::Released { payment_id: payment_id.clone() });
        assert_eq!(listed(&row(&payments, key).await), ["authorize 1000 ok", "capture 700 ok", "void 300 ok"]);
    }
}

#[tokio::test]
async fn an_outage_has_no_effect_and_is_listed_once_there_is_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let Sandbox { payments, faults, .. } = open(&dir).await;
    for mode in [FaultMode::Down, FaultMode::Error] {
        faults.set(Party::Payment, &Fault::lasting(mode)).await.unwrap();
        let error = payments.authorize(authorize("a", "pm_card_visa")).await.unwrap_err();
        assert!(matches!(error, GatewayError::Unavailable { .. }), "{error}");
        assert!(payments.void(void("a")).await.is_err());
        assert!(payments.lookup("a/authorize").await.is_err());
    }
    assert_eq!(payments.payments(None).await.unwrap(), []);
    faults.set(Party::Payment, &Fault { operation: Some("capture".into()), ..Fault::lasting(FaultMode::Down) }).await.unwrap();
    let id = held(&payments, "a").await;
    assert!(payments.capture(capture("c", &id, 1_000)).await.is_err());
    faults.set(Party::Payment, &Fault::default()).await.unwrap();
    payments.capture(capture("c", &id, 1_000)).await.unwrap();
    faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    assert!(payments.capture(capture("c", &id, 1_000)).await.is_err(), "a party that is down answers no repeat either");
    let expected = [
        "authorize 1000 failed",
        "void 0 failed",
        "authorize 1000 failed",
        "void 0 failed",
        "authorize 1000 ok",
        "capture 1000 failed",
        "capture 1000 ok",
    ];
    assert_eq!(listed(&row(&payments, "a").await), expected);
}

#[tokio::test]
async fn slow_works_after_its_time_and_holds_nobody_else_up() {
    let dir = tempfile::tempdir().unwrap();
    let Sandbox { payments, faults, .. } = open(&dir).await;
    let start = std::time::Instant::now();
    let slow = payments.authorize(authorize("a", "pm_sandbox_slow"));
    let quick = async {
        held(&payments, "b").await;
        start.elapsed()
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert!(matches!(slow.unwrap(), Authorization::Held { .. }));
    assert!(start.elapsed() >= SLOW && quick < SLOW);
    faults.set(Party::Payment, &Fault { operation: Some("void".into()), ..Fault::lasting(FaultMode::Slow) }).await.unwrap();
    let start = std::time::Instant::now();
    assert!(matches!(payments.void(void("b")).await.unwrap(), Void::Released { .. }));
    assert!(start.elapsed() >= SLOW);
}

/// Two sandboxes on one directory share nothing but the file, as two processes do.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_racers_on_one_key_make_one_row() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Arc::new(open(&dir).await), Arc::new(open(&dir).await));
    let mut racers = tokio::task::JoinSet::new();
    for n in 0..50 {
        let sandbox = Arc::clone(if n % 2 == 0 { &one } else { &other });
        racers.spawn(async move { sandbox.payments.authorize(authorize("a", "pm_card_visa")).await.unwrap() });
    }
    let answers = racers.join_all().await;
    assert!(answers.windows(2).all(|w| w[0] == w[1]) && matches!(answers[0], Authorization::Held { .. }));
    assert_eq!(listed(&row(&one.payments, "a").await), ["authorize 1000 ok"]);

    // captures of 30 by 50 racers: 33 fit into 1000
    let id = row(&one.payments, "a").await.payment_id;
    let mut racers = tokio::task::JoinSet::new();
    for n in 0..50 {
        let sandbox = Arc::clone(if n % 2 == 0 { &one } else { &other });
        let request = capture(&format!("c{n}"), &id, 30);
        racers.spawn(async move { sandbox.payments.capture(request).await.unwrap() });
    }
    let taken = racers.join_all().await.into_iter().filter(|a| matches!(a, Capture::Taken { .. })).count();
    assert_eq!(taken, 33);
    assert_eq!(row(&other.payments, "a").await.captured, eur(990));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn void_and_authorize_racing_never_leave_funds_held() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Arc::new(open(&dir).await);
    for n in 0..20 {
        let key = format!("race-{n}");
        let (a, b) = (Arc::clone(&sandbox), Arc::clone(&sandbox));
        let (ka, kb) = (key.clone(), key.clone());
        let authorizing = tokio::spawn(async move { a.payments.authorize(authorize(&ka, "pm_card_visa")).await.unwrap() });
        let voiding = tokio::spawn(async move { b.payments.void(void(&kb)).await.unwrap() });
        let (authorized, voided) = (authorizing.await.unwrap(), voiding.await.unwrap());
        let payment = row(&sandbox.payments, &key).await;
        match voided {
            Void::Released { .. } => assert_eq!(payment.status, PaymentStatus::Voided),
            Void::Nothing => {
                assert_eq!(payment.status, PaymentStatus::Declined);
                assert!(matches!(authorized, Authorization::Declined { .. }));
            }
        }
    }
}

#[tokio::test]
async fn the_gateways_books_are_read_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::open(dir.path()).await.unwrap();
    let early = AuthorizeRequest { now: now() - chrono::TimeDelta::days(2), ..authorize("early", "pm_card_visa") };
    sandbox.payments.authorize(early).await.unwrap();
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        ids.push(held(&sandbox.payments, key).await);
    }
    sandbox.payments.capture(capture("x", &ids[0], 400)).await.unwrap();
    sandbox.payments.refund(refund("y", &ids[0], 100)).await.unwrap();
    sandbox.payments.void(void("b")).await.unwrap();
    let reader: &dyn PaymentGateway = &sandbox.payments;
    let first = reader.payments(now(), None, 2).await.unwrap();
    let second = reader.payments(now(), first.next.as_deref(), 2).await.unwrap();
    let seen: Vec<_> =
        first.entries.iter().chain(&second.entries).map(|p| (p.held.minor, p.captured.minor, p.refunded.minor)).collect();
    assert_eq!(seen, [(600, 400, 100), (0, 0, 0), (1_000, 0, 0)]);
    let a = &first.entries[0];
    assert_eq!((a.order.clone(), a.key.as_str(), second.next), (Some(order("a")), "a/authorize", None));
    sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    assert!(reader.payments(now(), None, 2).await.is_err(), "a gateway that is down lists nothing");
}
