//! Orders' lives, fate by fate, on a real engine, database and sandbox. Each ends with the books.

use std::time::Duration;

use oms_contract::names::{Queue, order_workflow};
use oms_contract::workflow as mark;
use oms_domain::order::{Reason, Status};
use oms_domain::party::Party;
use oms_domain::payment::PaymentStatus;
use oms_domain::shipment::{ScanResult, ScanType, ShipmentStatus};
use oms_gateways::faults::{Fault, FaultMode};
use oms_gateways::payment::{Authentication, PaymentGateway, VoidRequest};
use oms_store::MessageState;
use oms_temporal::worker::WorkerTuning;
use temporalio_client::errors::WorkflowUpdateError;
use temporalio_client::{UntypedSignal, WorkflowCancelOptions};
use temporalio_common::data_converters::RawValue;

use crate::support::books;
use crate::support::until;
use crate::support::world::{PATIENT, World, now, sku};

async fn booked(world: &World, id: &oms_domain::ids::OrderId) {
    until("every shipment has a courier", PATIENT, || async {
        let shipments = world.order(id).await.life.shipments;
        (!shipments.is_empty() && shipments.iter().all(|s| s.status == ShipmentStatus::Booked)).then_some(())
    })
    .await;
}

async fn captured(world: &World, id: &oms_domain::ids::OrderId) {
    until("the money is taken", PATIENT, || async {
        let order = world.order(id).await;
        (order.life.payment.captured == order.totals.total).then_some(())
    })
    .await;
}

async fn stock(world: &World, name: &str) -> (u64, u64, u64) {
    let level = world.store.stock(&sku(name), now()).await.unwrap().unwrap();
    (level.on_hand, level.reserved, level.available)
}

async fn timeline(world: &World, id: &oms_domain::ids::OrderId) -> Vec<String> {
    world.store.timeline(id).await.unwrap().into_iter().map(|e| e.kind).collect()
}

fn refusal(outcome: Result<impl std::fmt::Debug, WorkflowUpdateError>) -> String {
    match outcome {
        Err(WorkflowUpdateError::Failed(failure)) => format!("{failure:?}"),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// The budget: events and workflow tasks per order are the currency of throughput.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_order_stays_in_its_budget() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    booked(&world, &id).await;
    let events = world.events(&id).await;
    // the record that confirms is the first marker
    let confirmed = events.iter().position(|e| e == "MARKER_RECORDED").unwrap() + 1;
    assert!(confirmed <= 22, "{confirmed} events up to confirmed: {events:#?}");
    world.scan(&id, 1, ScanType::Shipped).await;
    captured(&world, &id).await;
    world.scan(&id, 1, ScanType::Delivered).await;
    let end = world.ends(&id).await;
    assert_eq!(end.status, Status::Completed);
    let events = world.events(&id).await;
    let tasks = events.iter().filter(|e| *e == "WORKFLOW_TASK_COMPLETED").count();
    assert!(events.len() <= 60 && tasks <= 9, "{} events, {tasks} tasks: {events:#?}", events.len());
    assert_eq!(stock(&world, "mug").await, (8, 0, 8));
    let order = world.order(&id).await;
    assert_eq!(order.life.payment.status, PaymentStatus::Captured);
    let settled = |state| matches!(state, MessageState::Sent | MessageState::Dropped);
    let told = until("every message is settled", PATIENT, || async {
        let rows = world.store.messages_of(&id).await.unwrap();
        (rows.len() >= 5 && rows.iter().all(|m| settled(m.state))).then_some(rows)
    })
    .await;
    assert_eq!(std::fs::read_dir(world.dir.path().join("mail")).map_or(0, |d| d.count()), 3);
    // confirmed by mail; shipped and delivered by mail and, with a phone number, by text message
    assert_eq!(told.len(), 5);
    let mut told = timeline(&world, &id).await;
    // goods and money are booked side by side
    told[6..8].sort();
    assert_eq!(
        told,
        [
            "order.placed",
            "stock.reserved",
            "payment.authorized",
            "order.confirmed",
            "shipment.booked",
            "shipment.shipped",
            "payment.captured",
            "stock.committed",
            "shipment.delivered",
            "order.completed"
        ]
    );
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_payment_releases_the_stock() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_chargeDeclined", &[("mug", 2)]).await;
    let order = world.reaches(&id, Status::Rejected).await;
    assert_eq!(order.life.reason, Some(Reason::PaymentDeclined));
    assert_eq!(stock(&world, "mug").await, (10, 0, 10));
    assert_eq!(world.ends(&id).await.status, Status::Rejected);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_only_unavailable_items_is_rejected() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 1, 1999).await;
    world.shelf("ghost", "berlin", 0, 1999).await;
    let none = world.place("none", "pm_card_visa", &[("ghost", 1)]).await;
    let short = world.place("short", "pm_card_visa", &[("mug", 1), ("mug", 1)]).await;
    for id in [&none, &short] {
        assert_eq!(world.reaches(id, Status::Rejected).await.life.reason, Some(Reason::OutOfStock));
    }
    assert_eq!(stock(&world, "mug").await, (1, 0, 1));
    assert!(world.sandbox.payments.payments(None).await.unwrap().is_empty(), "no money is asked for what is not there");
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_shipments_share_the_total_to_the_cent() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 5, 1999).await;
    world.shelf("pot", "madrid", 5, 3333).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1), ("pot", 1), ("mug", 1)]).await;
    booked(&world, &id).await;
    let order = world.order(&id).await;
    assert_eq!(order.totals.subtotal.minor, 7_331);
    assert_eq!(order.life.shipments.len(), 2);
    assert_eq!(order.life.shipments.iter().map(|s| s.amount.minor).sum::<i64>(), order.totals.total.minor);
    world.scan(&id, 1, ScanType::Shipped).await;
    let part = world.reaches(&id, Status::PartiallyShipped).await;
    assert!(refusal(world.cancel(&id).await).contains("too_late"));
    assert_eq!(part.life.shipments[1].status, ShipmentStatus::Booked);
    world.scan(&id, 2, ScanType::Delivered).await;
    world.scan(&id, 1, ScanType::Delivered).await;
    let order = world.reaches(&id, Status::Completed).await;
    assert_eq!(order.life.payment.captured, order.totals.total);
    world.ends(&id).await;
    let events = world.events(&id).await;
    assert!(events.len() < 90, "{} events of a split order: {events:#?}", events.len());
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_wins_before_the_parcel_leaves_and_undoes_everything() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    // while the gateway thinks, once confirmed, and once the courier is booked
    let early = world.place("early", "pm_sandbox_slow", &[("mug", 1)]).await;
    assert_eq!(world.cancel(&early).await.unwrap().result.as_str(), "cancelling");
    let booked_one = world.place("booked", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &booked_one).await;
    world.cancel(&booked_one).await.unwrap();
    for id in [&early, &booked_one] {
        let order = world.reaches(id, Status::Cancelled).await;
        assert!(order.life.payment.authorized.is_zero());
        assert_eq!(world.ends(id).await.status, Status::Cancelled);
    }
    assert_eq!(stock(&world, "mug").await, (10, 0, 10));
    let shipped = world.place("shipped", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &shipped).await;
    world.scan(&shipped, 1, ScanType::Shipped).await;
    assert!(refusal(world.cancel(&shipped).await).contains("too_late"));
    world.scan(&shipped, 1, ScanType::Delivered).await;
    world.reaches(&shipped, Status::Completed).await;
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_cancel_is_the_cancel_command() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    world.run(&id).cancel(WorkflowCancelOptions::builder().reason("button").build()).await.unwrap();
    assert_eq!(world.ends(&id).await.status, Status::Cancelled);
    // after the parcel has left the button changes nothing
    let gone = world.place("two", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &gone).await;
    world.scan(&gone, 1, ScanType::Shipped).await;
    world.run(&gone).cancel(Default::default()).await.unwrap();
    until("the refusal is on the timeline", PATIENT, || async {
        timeline(&world, &gone).await.contains(&"signal.ignored".to_owned()).then_some(())
    })
    .await;
    world.scan(&gone, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&gone).await.status, Status::Completed);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_booked_or_taken_under_a_hold() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    world.sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    world.reaches(&id, Status::Confirmed).await;
    // the booking fails and backs off when the hold comes; the carrier recovers under the hold
    until("the booking has failed once", PATIENT, || async {
        let pending = world.run(&id).describe(Default::default()).await.unwrap();
        format!("{:?}", pending.raw()).contains("unavailable").then_some(())
    })
    .await;
    let hold = serde_json::json!({"kind": "fraud", "reason": "looks odd", "actor": "rita"});
    assert!(world.signal(&id, "place_hold", hold.to_string().as_bytes()).await);
    let held =
        until("the hold is on record", PATIENT, || async { Some(world.order(&id).await).filter(|o| !o.life.holds.is_empty()) })
            .await;
    assert_eq!(held.life.holds[0].actor, "rita");
    until("the booking was called back", PATIENT, || async {
        world.events(&id).await.contains(&"ACTIVITY_TASK_CANCELED".to_owned()).then_some(())
    })
    .await;
    world.sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::None)).await.unwrap();
    let before = scheduled(&world, &id).await;
    world.scan(&id, 1, ScanType::Shipped).await;
    until("the goods are booked out at once", PATIENT, || async { (stock(&world, "mug").await == (9, 0, 9)).then_some(()) })
        .await;
    let under = scheduled(&world, &id).await;
    assert_eq!(under[before.len()..], ["inventory.commit"], "only the commit runs under a hold");
    assert!(
        world.sandbox.carrier.bookings().await.unwrap().iter().all(|b| b.status != oms_gateways::carrier::BookingStatus::Booked)
    );

    let release = serde_json::json!({"id": held.life.holds[0].id, "actor": "rita"});
    assert!(world.signal(&id, "release_hold", release.to_string().as_bytes()).await);
    captured(&world, &id).await;
    world.scan(&id, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    let told = world.store.timeline(&id).await.unwrap();
    assert!(told.iter().any(|e| e.kind == "hold.released" && e.actor == "rita"));
    books::balanced(&world).await;
    world.end().await;
}

async fn scheduled(world: &World, id: &oms_domain::ids::OrderId) -> Vec<String> {
    use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
    let events = world.run(id).fetch_history(Default::default()).into_events().await.unwrap();
    events
        .into_iter()
        .filter_map(|e| match e.attributes {
            Some(Attributes::ActivityTaskScheduledEventAttributes(a)) => a.activity_type.map(|t| t.name),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_signal_leaves_the_run_healthy() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    let names = ["cancel", "place_hold", "release_hold", "shipment_event"];
    for name in names {
        for garbage in [&b"{\"x\":1}"[..], b"not json", b"", b"[]", b"\"Canary\"", b"{\"reason\":\"\"}"] {
            assert!(world.signal(&id, name, garbage).await);
        }
        let none = world.run(&id);
        none.signal(UntypedSignal::new(name), RawValue::new(Vec::new()), Default::default()).await.unwrap();
    }
    for garbage in [&b"not json"[..], b"{}"] {
        assert!(world.signal(&id, "payment_news", garbage).await);
        assert!(world.signal(&id, "no_such_signal", garbage).await);
    }
    let ignored = until("every one is noted", PATIENT, || async {
        let told = world.store.timeline(&id).await.unwrap();
        let ignored: Vec<_> = told.into_iter().filter(|e| e.kind == "signal.ignored").collect();
        (ignored.len() == names.len() * 7).then_some(ignored)
    })
    .await;
    assert!(ignored.iter().all(|e| e.actor == "temporal" && !e.reason.as_deref().unwrap_or_default().contains("Canary")));
    assert!(!world.events(&id).await.contains(&"WORKFLOW_TASK_FAILED".to_owned()));
    assert!(world.signal(&id, "cancel", b"{\"reason\":\"enough\",\"actor\":\"rita\"}").await);
    assert_eq!(world.ends(&id).await.status, Status::Cancelled);
    assert!(world.store.timeline(&id).await.unwrap().iter().any(|e| e.kind == "order.cancelling" && e.actor == "rita"));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authentication_nobody_finishes_ends_at_its_deadline() {
    let mut world = World::new().await;
    world.deadlines.payment_action = Duration::from_secs(2);
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_authenticationRequired", &[("mug", 1)]).await;
    let waiting =
        until("a person is called", PATIENT, || async { Some(world.order(&id).await).filter(|o| !o.life.attention.is_empty()) })
            .await;
    assert_eq!((waiting.life.status, waiting.life.payment.status), (Status::Placed, PaymentStatus::RequiresAction));
    let order = world.reaches(&id, Status::Rejected).await;
    assert_eq!(order.life.reason, Some(Reason::PaymentActionExpired));
    assert_eq!(stock(&world, "mug").await, (10, 0, 10));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_authenticates_gets_the_order() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let good = world.place("good", "pm_card_authenticationRequired", &[("mug", 1)]).await;
    let bad = world.place("bad", "pm_card_authenticationRequired", &[("mug", 1)]).await;
    for (id, outcome) in [(&good, Authentication::Succeed), (&bad, Authentication::Fail)] {
        until("a person is called", PATIENT, || async {
            Some(world.order(id).await).filter(|o| o.life.payment.status == PaymentStatus::RequiresAction)
        })
        .await;
        authenticate(&world, id, outcome).await;
    }
    let confirmed = world.reaches(&good, Status::Confirmed).await;
    assert!(confirmed.life.attention.is_empty());
    assert_eq!(world.reaches(&bad, Status::Rejected).await.life.reason, Some(Reason::PaymentDeclined));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_capture_never_ends_the_order_silently() {
    let mut world = World::new().await;
    world.deadlines.capture_retry = Duration::from_secs(1);
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    // somebody releases the funds behind our back
    let key = oms_contract::activity::effect_key(id.as_str(), "authorize", 1);
    let behind = VoidRequest { key: "by-hand".into(), authorize_key: key, order_id: id.clone(), now: now() };
    world.sandbox.payments.void(behind).await.unwrap();
    world.scan(&id, 1, ScanType::Shipped).await;
    world.scan(&id, 1, ScanType::Delivered).await;
    let refused = until("it is refused twice", PATIENT, || async {
        let told = timeline(&world, &id).await;
        (told.iter().filter(|k| *k == "payment.capture_refused").count() >= 2).then_some(told)
    })
    .await;
    assert!(!refused.contains(&"order.completed".to_owned()));
    let order = world.order(&id).await;
    assert!(order.life.attention.iter().any(|a| a.code == "capture_refused"));
    assert_eq!(order.life.status, Status::Shipped);
    assert!(order.life.payment.captured.is_zero());
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_found_and_nothing_happens_twice() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    world.sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
    let lost = world.place("lost", "pm_sandbox_commit_then_drop", &[("mug", 1)]).await;
    let flaky = world.place("flaky", "pm_sandbox_flaky", &[("mug", 1)]).await;
    for id in [&lost, &flaky] {
        booked(&world, id).await;
        world.scan(id, 1, ScanType::Delivered).await;
        let order = world.reaches(id, Status::Completed).await;
        let theirs = world.sandbox.payments.payments(Some(id)).await.unwrap();
        assert_eq!(theirs.len(), 1);
        assert_eq!(theirs[0].captured, order.totals.total);
    }
    assert_eq!(world.sandbox.carrier.bookings().await.unwrap().len(), 2);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_parks_orders_and_fails_none() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let stays = world.place("stays", "pm_card_visa", &[("mug", 1)]).await;
    let goes = world.place("goes", "pm_card_visa", &[("mug", 1)]).await;
    until("the authorization has failed", PATIENT, || async {
        let pending = world.run(&goes).describe(Default::default()).await.unwrap();
        format!("{:?}", pending.raw()).contains("unavailable").then_some(())
    })
    .await;
    // a cancel calls back the step that only backs off; its undo waits for the gateway
    world.cancel(&goes).await.unwrap();
    world.reaches(&goes, Status::Cancelling).await;
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    world.reaches(&goes, Status::Cancelled).await;
    world.reaches(&stays, Status::Confirmed).await;
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_runs_out_is_asked_for_anew_or_the_order_is_refused() {
    let mut world = World::new().await;
    world.deadlines.reservation = Duration::from_secs(2);
    world.shelf("mug", "berlin", 1, 1999).await;
    // the customer takes longer to authenticate than the stock is promised
    let alone = world.place("alone", "pm_card_authenticationRequired", &[("mug", 1)]).await;
    promise_runs_out(&world, &alone).await;
    authenticate(&world, &alone, Authentication::Succeed).await;
    world.reaches(&alone, Status::Confirmed).await;
    assert!(timeline(&world, &alone).await.contains(&"stock.lapsed".to_owned()));
    world.cancel(&alone).await.unwrap();
    world.reaches(&alone, Status::Cancelled).await;

    let late = world.place("late", "pm_card_authenticationRequired", &[("mug", 1)]).await;
    promise_runs_out(&world, &late).await;
    let quick = world.place("quick", "pm_card_visa", &[("mug", 1)]).await;
    world.reaches(&quick, Status::Confirmed).await;
    authenticate(&world, &late, Authentication::Succeed).await;
    let order = world.reaches(&late, Status::Rejected).await;
    assert_eq!(order.life.reason, Some(Reason::OutOfStock));
    assert!(order.life.payment.authorized.is_zero());
    books::balanced(&world).await;
    world.end().await;
}

/// Waits until the order waits for its customer and its stock is sellable again.
async fn promise_runs_out(world: &World, id: &oms_domain::ids::OrderId) {
    until("the customer must authenticate", PATIENT, || async {
        Some(world.order(id).await).filter(|o| o.life.payment.status == PaymentStatus::RequiresAction)
    })
    .await;
    until("the promise has run out", PATIENT, || async { (stock(world, "mug").await.2 == 1).then_some(()) }).await;
}

async fn authenticate(world: &World, id: &oms_domain::ids::OrderId, outcome: Authentication) {
    let payment = world.sandbox.payments.payments(Some(id)).await.unwrap().remove(0);
    world.sandbox.payments.authenticate(&payment.payment_id, outcome, now()).await.unwrap();
    world.run(id).signal(mark::PaymentNewsSignal, Default::default(), Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_parcel_calls_a_person_and_may_still_arrive() {
    let mut world = World::new().await;
    world.deadlines.no_scan = Duration::from_secs(2);
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    world.scan(&id, 1, ScanType::Shipped).await;
    until("nobody heard of it in time", PATIENT, || async {
        world.order(&id).await.life.attention.iter().any(|a| a.code == "no_scan").then_some(())
    })
    .await;
    assert_eq!(world.scan(&id, 1, ScanType::Lost).await.result, ScanResult::Applied);
    assert_eq!(world.scan(&id, 1, ScanType::InTransit).await.result, ScanResult::Stale);
    assert_eq!(world.scan(&id, 1, ScanType::Lost).await.result, ScanResult::Duplicate);
    until("a person is called", PATIENT, || async {
        world.order(&id).await.life.attention.iter().any(|a| a.code == "lost").then_some(())
    })
    .await;
    assert_eq!(world.scan(&id, 1, ScanType::Delivered).await.result, ScanResult::Applied);
    let order = world.reaches(&id, Status::Completed).await;
    assert!(order.life.attention.is_empty());
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_that_leaves_while_the_cancel_is_undone_is_followed_by_the_stock() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    booked(&world, &id).await;
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    world.cancel(&id).await.unwrap();
    world.reaches(&id, Status::Cancelling).await;
    assert_eq!(world.scan(&id, 1, ScanType::Shipped).await.result, ScanResult::Applied);
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    let order = world.reaches(&id, Status::Cancelled).await;
    assert!(order.life.attention.iter().any(|a| a.code == "departed_after_cancel"));
    assert_eq!(stock(&world, "mug").await, (8, 0, 8));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_locked_for_seconds_parks_orders() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    let mut thief = world.sql().await;
    thief.lock().await;
    // the outage itself: longer than the database waits for a lock and than a record tries on its own worker
    tokio::time::sleep(Duration::from_secs(12)).await;
    thief.unlock().await;
    booked(&world, &id).await;
    world.scan(&id, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_run_repeats_no_effect() {
    use temporalio_client::NamespacedClient;
    use temporalio_client::grpc::WorkflowService;
    use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
    use temporalio_common::protos::temporal::api::workflowservice::v1::ResetWorkflowExecutionRequest;
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    let request = ResetWorkflowExecutionRequest {
        namespace: world.client.namespace(),
        workflow_execution: Some(WorkflowExecution { workflow_id: order_workflow(&id), run_id: String::new() }),
        reason: "test".into(),
        workflow_task_finish_event_id: 4,
        request_id: crate::support::world::uuid(),
        ..Default::default()
    };
    let mut rpc = world.client.clone();
    rpc.reset_workflow_execution(tonic::Request::new(request)).await.unwrap();
    let before = world.order(&id).await.rev;
    until("the new run has come as far", PATIENT, || async {
        let status = world.run(&id).query(mark::StatusQuery, (), Default::default()).await.ok()?;
        (status.status == Status::Confirmed).then_some(())
    })
    .await;
    world.scan(&id, 1, ScanType::Delivered).await;
    let order = world.reaches(&id, Status::Completed).await;
    assert!(order.rev > before);
    let theirs = world.sandbox.payments.payments(Some(&id)).await.unwrap();
    assert_eq!(theirs.len(), 1);
    assert_eq!(world.sandbox.carrier.bookings().await.unwrap().len(), 1);
    assert_eq!(stock(&world, "mug").await, (9, 0, 9));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_at_its_time() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    world.sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    world.reaches(&id, Status::Confirmed).await;
    let forever = world.hold(&id, None).await;
    world.hold(&id, Some(now() + Duration::from_secs(2))).await;
    world.sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::None)).await.unwrap();
    until("one of two holds has ended", PATIENT, || async {
        (world.order(&id).await.life.holds.len() == 1 && timeline(&world, &id).await.contains(&"hold.expired".to_owned()))
            .then_some(())
    })
    .await;
    assert!(world.sandbox.carrier.bookings().await.unwrap().is_empty(), "the other hold still stands");
    world.release(&id, &forever).await;
    booked(&world, &id).await;
    world.cancel(&id).await.unwrap();
    assert_eq!(world.ends(&id).await.status, Status::Cancelled);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lives_are_the_same_without_the_workflow_cache() {
    let tuning = WorkerTuning { max_cached_workflows: 0, graceful_shutdown: Duration::from_secs(1), ..Default::default() };
    let mut world = World::idle(tuning).await;
    // the SDK drops local activities of a worker without a cache
    world.patience.local_record = Duration::ZERO;
    world.start_workers(&Queue::ALL).await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let done = world.place("done", "pm_card_visa", &[("mug", 1)]).await;
    let gone = world.place("gone", "pm_card_visa", &[("mug", 1)]).await;
    let no = world.place("no", "pm_card_chargeDeclined", &[("mug", 1)]).await;
    booked(&world, &done).await;
    booked(&world, &gone).await;
    world.cancel(&gone).await.unwrap();
    world.scan(&done, 1, ScanType::Shipped).await;
    captured(&world, &done).await;
    world.scan(&done, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&done).await.status, Status::Completed);
    assert_eq!(world.ends(&gone).await.status, Status::Cancelled);
    assert_eq!(world.ends(&no).await.status, Status::Rejected);
    for id in [&done, &gone, &no] {
        assert!(!world.events(id).await.contains(&"WORKFLOW_TASK_FAILED".to_owned()));
    }
    books::balanced(&world).await;
    world.end().await;
}
