//! Refunds: accepted within what was taken, however many ask at once; noted once.

use crate::world::*;
use oms_domain::order::Status;
use oms_domain::payment::PaymentStatus;
use oms_domain::refund::{Ask, RefundId, RefundState};
use oms_domain::shipment::ShipmentStatus;
use oms_store::*;
use serde_json::json;

on_both!(
    accepted_within_what_was_taken,
    one_of_two_wins,
    sums_never_exceed_what_was_taken,
    the_gateways_answers,
    several_payments,
    starts,
    one_looks_after_a_run,
    one_that_cannot_be_read_keeps_nobody_waiting,
);

fn asked(order: &str, id: &str, ask: Ask) -> NewRefund {
    NewRefund {
        id: RefundId::from_key(order, id),
        order_id: order_id(order),
        ask,
        reason: "broken".to_owned(),
        actor: "api".to_owned(),
        terms: json!({"patience": 1}),
    }
}
fn sum(minor: i64) -> Ask {
    Ask { amount: Some(eur(minor)), ..Ask::default() }
}

/// An order of two `a` for 2963, delivered and paid.
async fn paid(world: &World, key: &str) -> StoredOrder {
    let order = world.placed(key, 0).await;
    let mut state = life(Status::Completed);
    state.shipments = vec![shipment(key, 1, ShipmentStatus::Delivered)];
    state.payment.status = PaymentStatus::Captured;
    state.payment.captured = order.totals.total;
    world.store.record(&record(key, 1, state, Vec::new()), at(1)).await.unwrap();
    capture(world, key, "cap", "pi_1", order.totals.total.minor).await;
    order
}

async fn capture(world: &World, key: &str, operation: &str, payment: &str, minor: i64) {
    let (order, shipment, operation) = (order_id(key), shipment_id(key, 1), format!("{key}/{operation}"));
    let taken = CaptureOutcome::Captured;
    world.store.record_capture(&order, &operation, payment, &shipment, eur(minor), taken, at(1)).await.unwrap();
}

fn accepted(answer: RefundRequested) -> StoredRefund {
    match answer {
        RefundRequested::Accepted(refund) => refund,
        other => panic!("{other:?}"),
    }
}

fn said(refund: &StoredRefund, part: u32, revision: u32, outcome: RefundOutcome) -> PayBackRow {
    let code = (outcome == RefundOutcome::Refused).then(|| "closed_account".to_owned());
    PayBackRow { refund_id: refund.id.clone(), part, revision, key: format!("{}/{part}/{revision}", refund.id), outcome, code }
}

async fn accepted_within_what_was_taken(world: World) {
    let store = &world.store;
    let unknown = store.request_refund(&asked("nobody-there", "1", sum(1)), at(2)).await.unwrap();
    assert_eq!(unknown, RefundRequested::UnknownOrder);
    world.placed("unpaid", 0).await;
    let nothing = store.request_refund(&asked("unpaid", "1", Ask::default()), at(2)).await.unwrap();
    assert!(matches!(nothing, RefundRequested::TooMuch(excess) if excess.refundable == eur(0)));

    paid(&world, "o").await;
    let line = Ask { lines: quantities(&[("a", 1)]), ..Ask::default() };
    let first = accepted(store.request_refund(&asked("o", "1", line.clone()), at(2)).await.unwrap());
    assert_eq!((first.amount, first.state, first.created_at), (eur(1_190), RefundState::Requested, kept(2)));
    assert_eq!(first.breakdown.lines[0].quantity, 1);
    assert_eq!((first.terms["patience"].as_i64(), first.parts.len()), (Some(1), 1));
    // the same id is the same refund, whatever it asks
    let again = store.request_refund(&asked("o", "1", sum(1)), at(3)).await.unwrap();
    assert_eq!(again, RefundRequested::Known(first));
    let two = Ask { lines: quantities(&[("a", 2)]), ..Ask::default() };
    let answer = store.request_refund(&asked("o", "2", two), at(3)).await.unwrap();
    let RefundRequested::TooMuch(excess) = answer else { panic!("{answer:?}") };
    assert_eq!((excess.refundable, excess.units.unwrap().quantity), (eur(1_773), 1));
    let over = store.request_refund(&asked("o", "3", sum(1_774)), at(3)).await.unwrap();
    assert!(matches!(over, RefundRequested::TooMuch(_)));
    let rest = accepted(store.request_refund(&asked("o", "4", Ask::default()), at(3)).await.unwrap());
    assert_eq!(rest.amount, eur(1_773));
    assert_eq!(store.refunds(&order_id("o")).await.unwrap().len(), 2);
}

async fn one_of_two_wins(world: World) {
    for round in 0..200 {
        let key = format!("race-{round}");
        paid(&world, &key).await;
        let wins = race(2, |runner| {
            let (store, new) = (world.store.clone(), asked(&key, &runner.to_string(), sum(2_963)));
            async move { matches!(store.request_refund(&new, at(2)).await.unwrap(), RefundRequested::Accepted(_)) }
        })
        .await;
        assert_eq!(wins.iter().filter(|won| **won).count(), 1, "round {round}");
    }
}

async fn sums_never_exceed_what_was_taken(world: World) {
    for round in 0..10i64 {
        let key = format!("sums-{round}");
        paid(&world, &key).await;
        race(12, |runner| {
            let ask = match runner % 4 {
                0 => Ask { lines: quantities(&[("a", 1)]), ..Ask::default() },
                1 => Ask { shipping: true, ..Ask::default() },
                2 => Ask::units(quantities(&[("a", 2)]), true),
                _ => sum(400 + round),
            };
            let (store, new) = (world.store.clone(), asked(&key, &runner.to_string(), ask));
            async move {
                let answer = store.request_refund(&new, at(2)).await.unwrap();
                if let RefundRequested::Accepted(refund) = answer {
                    store.record_pay_back(&said(&refund, 1, 1, RefundOutcome::Returned), at(3)).await.unwrap();
                }
            }
        })
        .await;
        let refunds = world.store.refunds(&order_id(&key)).await.unwrap();
        let returned: i64 = refunds.iter().map(|r| r.amount.minor).sum();
        assert!(returned <= 2_963 && refunds.iter().all(|r| r.state == RefundState::Returned), "{refunds:#?}");
        let units: u32 = refunds.iter().flat_map(|r| &r.breakdown.lines).map(|l| l.quantity).sum();
        assert!(units <= 2, "{refunds:#?}");
        let order = world.store.order(&order_id(&key)).await.unwrap().unwrap();
        assert_eq!(order.life.payment.refunded.minor, returned);
    }
}

async fn the_gateways_answers(world: World) {
    let store = &world.store;
    paid(&world, "o").await;
    let refund = accepted(store.request_refund(&asked("o", "1", sum(1_000)), at(2)).await.unwrap());
    let read = async || store.refund(&refund.id).await.unwrap().unwrap();
    let money = async || store.order(&order_id("o")).await.unwrap().unwrap().life.payment;
    for _ in 0..2 {
        store.record_pay_back(&said(&refund, 1, 1, RefundOutcome::Refused), at(3)).await.unwrap();
    }
    let refused = read().await;
    assert_eq!((refused.state, refused.code.as_deref()), (RefundState::Refused, Some("closed_account")));
    assert_eq!(money().await.refunded, eur(0));
    for _ in 0..2 {
        store.record_pay_back(&said(&refund, 1, 2, RefundOutcome::Returned), at(4)).await.unwrap();
    }
    // a late repeat of the refusal changes nothing
    store.record_pay_back(&said(&refund, 1, 1, RefundOutcome::Refused), at(5)).await.unwrap();
    let returned = read().await;
    assert_eq!((returned.state, returned.returned, returned.settled_at), (RefundState::Returned, eur(1_000), Some(kept(4))));
    let payment = money().await;
    assert_eq!((payment.refunded, payment.status), (eur(1_000), PaymentStatus::Captured));

    let rest = accepted(store.request_refund(&asked("o", "2", Ask::default()), at(6)).await.unwrap());
    store.record_pay_back(&said(&rest, 1, 1, RefundOutcome::Refused), at(7)).await.unwrap();
    for _ in 0..2 {
        store.close_refund(&rest.id, "bank-7", at(8)).await.unwrap();
    }
    let closed = store.refund(&rest.id).await.unwrap().unwrap();
    assert_eq!((closed.state, closed.reference.as_deref(), closed.returned), (RefundState::Closed, Some("bank-7"), eur(0)));
    let payment = money().await;
    assert_eq!((payment.refunded, payment.status), (eur(2_963), PaymentStatus::Refunded));
    let operations = store.payment_operations(&order_id("o")).await.unwrap();
    let refunds: Vec<_> = operations.iter().filter(|o| o.kind == OperationKind::Refund).map(|o| o.outcome.as_str()).collect();
    assert_eq!(refunds, ["refused", "returned", "refused"]);
}

async fn several_payments(world: World) {
    let store = &world.store;
    let order = world.placed("o", 0).await;
    let mut state = life(Status::Completed);
    state.shipments = vec![shipment("o", 1, ShipmentStatus::Delivered)];
    store.record(&record("o", 1, state, Vec::new()), at(1)).await.unwrap();
    capture(&world, "o", "cap-1", "pi_1", 1_000).await;
    capture(&world, "o", "cap-2", "pi_2", order.totals.total.minor - 1_000).await;
    let part = |r: &StoredRefund| r.parts.iter().map(|p| (p.payment_id.clone(), p.amount.minor)).collect::<Vec<_>>();
    let first = accepted(store.request_refund(&asked("o", "1", sum(600)), at(2)).await.unwrap());
    assert_eq!(part(&first), [("pi_1".to_owned(), 600)]);
    let second = accepted(store.request_refund(&asked("o", "2", sum(1_400)), at(2)).await.unwrap());
    assert_eq!(part(&second), [("pi_1".to_owned(), 400), ("pi_2".to_owned(), 1_000)]);
    store.record_pay_back(&said(&second, 2, 1, RefundOutcome::Returned), at(3)).await.unwrap();
    store.record_pay_back(&said(&second, 1, 1, RefundOutcome::Refused), at(3)).await.unwrap();
    assert_eq!(store.refund(&second.id).await.unwrap().unwrap().state, RefundState::Refused);
    store.record_pay_back(&said(&second, 1, 2, RefundOutcome::Returned), at(4)).await.unwrap();
    assert_eq!(store.refund(&second.id).await.unwrap().unwrap().state, RefundState::Returned);
    assert!(store.record_pay_back(&said(&second, 3, 1, RefundOutcome::Returned), at(4)).await.is_err());
}

async fn starts(world: World) {
    let store = &world.store;
    paid(&world, "o").await;
    let refund = accepted(store.request_refund(&asked("o", "1", sum(1)), at(2)).await.unwrap());
    assert_eq!(store.unstarted_refunds(9).await.unwrap(), std::slice::from_ref(&refund));
    for _ in 0..2 {
        store.mark_refund_started(&refund.id, at(3)).await.unwrap();
    }
    assert!(store.unstarted_refunds(9).await.unwrap().is_empty());
}

/// A started refund is looked at by one process at a time, at intervals, until it is over.
async fn one_looks_after_a_run(world: World) {
    let store = &world.store;
    paid(&world, "o").await;
    let refund = accepted(store.request_refund(&asked("o", "1", sum(1)), at(2)).await.unwrap());
    assert!(store.refunds_to_look_after(at(99), 9, at(99)).await.unwrap().is_empty(), "it is not started");
    store.mark_refund_started(&refund.id, at(3)).await.unwrap();
    assert!(store.refunds_to_look_after(at(3), 9, at(4)).await.unwrap().is_empty(), "it was started just now");
    let looks = race(4, |_| {
        let store = world.store.clone();
        async move { store.refunds_to_look_after(at(100), 9, at(100)).await.unwrap() }
    })
    .await;
    assert_eq!(looks.concat(), std::slice::from_ref(&refund));
    assert_eq!(
        store.refunds_to_look_after(at(101), 9, at(200)).await.unwrap(),
        std::slice::from_ref(&refund),
        "until it is over"
    );
    store.refund_is_over(&refund.id).await.unwrap();
    assert!(store.refunds_to_look_after(at(999), 9, at(999)).await.unwrap().is_empty());
}

async fn one_that_cannot_be_read_keeps_nobody_waiting(world: World) {
    let store = &world.store;
    paid(&world, "o").await;
    let bad = accepted(store.request_refund(&asked("o", "1", sum(1)), at(2)).await.unwrap());
    world.sql("UPDATE refunds SET breakdown = '[]'").await;
    paid(&world, "p").await;
    let good = accepted(store.request_refund(&asked("p", "1", sum(1)), at(3)).await.unwrap());
    assert_eq!(store.unstarted_refunds(9).await.unwrap(), std::slice::from_ref(&good));
    for refund in [&bad, &good] {
        store.mark_refund_started(&refund.id, at(4)).await.unwrap();
    }
    assert_eq!(store.refunds_to_look_after(at(99), 9, at(99)).await.unwrap(), [good]);
}
