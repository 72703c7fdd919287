//! Our books against those of gateway, carrier and engine: every orphan is made by hand in a real world, found, and repaired or
//! given to a person, once. And what has outlived its time goes.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use oms_contract::activity::effect_key;
use oms_contract::names::Queue;
use oms_contract::reconciliation::{ReconcileStart, SCHEDULE, SCHEDULED, reconcile_workflow};
use oms_contract::workflow as mark;
use oms_domain::ids::{Location, OrderId, ShipmentId};
use oms_domain::life::Why;
use oms_domain::order::Status;
use oms_domain::payment::PaymentMethod;
use oms_domain::reconciliation::{Action, Day, FindingKind};
use oms_domain::review::Resolution;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_domain::stock::{Quantity, Strategy};
use oms_gateways::carrier::{BookRequest, BookingStatus, Carrier, Route};
use oms_gateways::payment::{
    Authorization, AuthorizeRequest, CaptureRequest, PaymentGateway, RefundRequest, SandboxPayment, VoidRequest,
};
use oms_store::{
    Claimed, CommitStock, ItemFilter, ItemResolution, ItemSource, ItemState, KeyClaim, Report, ReportState, Reserve, Reserved,
};
use oms_workers::{Reconciliation, Retention};
use serde_json::json;
use temporalio_client::schedules::ScheduleOverlapPolicy;
use temporalio_client::{WorkflowStartOptions, WorkflowTerminateOptions};

use crate::support::books::balanced;
use crate::support::http::fresh;
use crate::support::stack::shared;
use crate::support::until;
use crate::support::world::{PATIENT, World, eur, now, sku};

/// Compares now; nothing counts as too young.
pub async fn compare(world: &World, date: Option<&str>) -> Report {
    let day = date.map_or_else(|| Day::of(now()), |text| Day::parse(text).unwrap());
    let start = ReconcileStart {
        date: Some(day.clone()),
        grace: Duration::ZERO,
        second_reading: Duration::from_millis(200),
        page: 2,
        patience: world.patience,
        ..ReconcileStart::default()
    };
    let options = WorkflowStartOptions::new(Queue::Orders.name(), reconcile_workflow(&day)).build();
    let run = world.client.start_workflow(mark::Reconcile, start, options).await.unwrap();
    tokio::time::timeout(PATIENT, run.get_result(Default::default())).await.unwrap().unwrap();
    let report = world.store.report(&day).await.unwrap().unwrap();
    assert_eq!(report.state, ReportState::Finished);
    report
}

/// What the report of a day says: by kind and subject.
async fn found(world: &World, report: &Report) -> BTreeMap<(FindingKind, String), Action> {
    let findings = world.store.findings(&report.day, 999).await.unwrap();
    findings.into_iter().map(|f| ((f.finding.kind, f.finding.subject), f.action)).collect()
}

/// Open review items of comparisons, by kind and subject.
async fn queued(world: &World) -> Vec<(String, String)> {
    let filter = ItemFilter { state: Some(ItemState::Open), source: Some(ItemSource::Reconciliation), ..ItemFilter::default() };
    let items = world.store.review_items(&filter, None, 99).await.unwrap();
    let mut items: Vec<_> = items.into_iter().map(|i| (i.kind, i.subject)).collect();
    items.sort();
    items
}

fn nobody(name: &str) -> OrderId {
    OrderId::from_key("default", "nobody", name)
}

/// Funds held at the gateway behind our back.
async fn authorize(world: &World, order: &OrderId, key: &str) -> String {
    let request = AuthorizeRequest {
        key: key.to_owned(),
        order_id: order.clone(),
        amount: eur(500),
        method: PaymentMethod("pm_card_visa".into()),
        now: now(),
    };
    match world.sandbox.payments.authorize(request).await.unwrap() {
        Authorization::Held { payment_id, .. } => payment_id,
        other => panic!("{other:?}"),
    }
}

async fn payments_of(world: &World, order: &OrderId) -> Vec<SandboxPayment> {
    world.sandbox.payments.payments(Some(order)).await.unwrap()
}

async fn take(world: &World, payment_id: &str, amount: i64) {
    let request = CaptureRequest {
        key: format!("by-hand/{payment_id}"),
        payment_id: payment_id.to_owned(),
        amount: eur(amount),
        now: now(),
    };
    world.sandbox.payments.capture(request).await.unwrap();
}

/// An order whose courier is booked.
async fn booked(world: &World, key: &str) -> OrderId {
    let id = world.place(key, "pm_card_visa", &[("mug", 2)]).await;
    until("the courier is booked", PATIENT, || async {
        let order = world.order(&id).await;
        let booked = |s: ShipmentStatus| s == ShipmentStatus::Booked;
        (!order.life.shipments.is_empty() && order.life.shipments.iter().all(|s| booked(s.status))).then_some(())
    })
    .await;
    id
}

async fn terminate(world: &World, id: &OrderId) {
    world.run(id).terminate(WorkflowTerminateOptions::default()).await.unwrap();
}

#[tokio::test]
async fn books_in_order_find_nothing_and_a_run_ended_by_hand_is_unwound() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 20, 1_000).await;
    let (kept, lost) = (booked(&world, "kept").await, booked(&world, "lost").await);
    let calm = compare(&world, None).await;
    assert_eq!(found(&world, &calm).await, BTreeMap::new());
    let c = calm.compared;
    assert_eq!((c.orders, c.payments, c.bookings, c.reservations), (2, 2, 2, 2));

    terminate(&world, &lost).await;
    let report = compare(&world, None).await;
    let expected = BTreeMap::from([((FindingKind::Terminated, lost.to_string()), Action::Repaired)]);
    assert_eq!(found(&world, &report).await, expected);
    world.reaches(&lost, Status::Cancelled).await;
    world.ends(&lost).await;
    balanced(&world).await;
    assert_eq!(compare(&world, None).await.findings, 1, "nothing new, and what was repaired today stays in today's report");
    assert_eq!(world.order(&kept).await.life.status, Status::Confirmed);
    assert_eq!(queued(&world).await, []);
    world.end().await;
}

#[tokio::test]
async fn orphans_at_gateway_carrier_and_shelf_are_repaired_where_nothing_can_go_wrong_by_it() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 20, 1_000).await;
    let cancelled = booked(&world, "cancelled").await;
    world.cancel(&cancelled).await.unwrap();
    world.reaches(&cancelled, Status::Cancelled).await;
    world.ends(&cancelled).await;

    // held for an order that does not exist, and for one that was undone
    let ours = authorize(&world, &nobody("a"), &effect_key(nobody("a").as_str(), "authorize", 1)).await;
    let late = authorize(&world, &cancelled, &effect_key(cancelled.as_str(), "authorize", 7)).await;
    // a courier for a shipment that was called off
    let shipment = ShipmentId::of(&cancelled, 1);
    let booking = BookRequest {
        key: effect_key(shipment.as_str(), "book", 7),
        shipment_id: shipment.clone(),
        route: Route::Out { from: Location::parse("berlin").unwrap(), to: world.order(&cancelled).await.ship_to },
        now: now(),
    };
    world.sandbox.carrier.book(booking).await.unwrap();
    // stock of nobody
    let reserve = Reserve {
        order_id: nobody("b"),
        revision: 1,
        lines: vec![Quantity { sku: sku("mug"), quantity: 3 }],
        expires_at: now() + TimeDelta::hours(1),
        policy: Default::default(),
        placed_at: now(),
        strategy: Strategy::default(),
    };
    assert!(matches!(world.store.reserve(&reserve, now()).await.unwrap(), Reserved::Held { .. }));

    let report = compare(&world, None).await;
    let expected = BTreeMap::from([
        ((FindingKind::OrphanPayment, ours), Action::Repaired),
        ((FindingKind::OrphanPayment, late), Action::Repaired),
        ((FindingKind::OrphanBooking, shipment.to_string()), Action::Repaired),
        ((FindingKind::OrphanReservation, nobody("b").to_string()), Action::Repaired),
    ]);
    assert_eq!(found(&world, &report).await, expected);
    for order in [nobody("a"), cancelled.clone()] {
        let open = payments_of(&world, &order).await.into_iter().filter(|p| p.status.as_str() == "authorized").count();
        assert_eq!(open, 0, "{order}");
    }
    let told = world.store.timeline(&cancelled).await.unwrap().into_iter().filter(|e| e.actor == "reconciliation");
    let told: Vec<(String, bool)> = told.map(|e| (e.kind, e.reason.is_some_and(|why| why.contains("cancelled")))).collect();
    assert_eq!(told, [("payment.voided".to_owned(), true), ("shipment.booking_cancelled".to_owned(), true)]);
    let courier = world.sandbox.carrier.bookings().await.unwrap();
    assert!(courier.iter().all(|b| b.status == BookingStatus::Cancelled));
    assert_eq!(world.store.stock(&sku("mug"), now()).await.unwrap().unwrap().available, 20);
    assert_eq!(queued(&world).await, []);
    let tomorrow = compare(&world, Some("2020-01-02")).await;
    assert_eq!(found(&world, &tomorrow).await, BTreeMap::new(), "all is in order again");
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_repaired_safely_is_a_persons_once_and_settles_itself() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 20, 1_000).await;
    let foreign = authorize(&world, &nobody("a"), "somebody-elses-key").await;
    let taken = authorize(&world, &nobody("b"), &effect_key(nobody("b").as_str(), "authorize", 1)).await;
    take(&world, &taken, 500).await;
    let unfunded = booked(&world, "unfunded").await;
    let void = VoidRequest {
        key: "by-hand".into(),
        authorize_key: effect_key(unfunded.as_str(), "authorize", 1),
        order_id: unfunded.clone(),
        now: now(),
    };
    world.sandbox.payments.void(void).await.unwrap();
    let differs = booked(&world, "differs").await;
    let payment = payments_of(&world, &differs).await.remove(0).payment_id;
    take(&world, &payment, 1).await;
    let gone = booked(&world, "gone").await;
    world.scan(&gone, 1, ScanType::Shipped).await;
    until("it is paid", PATIENT, || async { (world.order(&gone).await.life.payment.captured.minor > 0).then_some(()) }).await;
    terminate(&world, &gone).await;
    // its parcel has left, and its run ends before it could put that on record
    let unrecorded = booked(&world, "unrecorded").await;
    let parcel = CommitStock {
        order_id: unrecorded.clone(),
        shipment_id: ShipmentId::of(&unrecorded, 1),
        location: Location::parse("berlin").unwrap(),
        lines: vec![Quantity { sku: sku("mug"), quantity: 2 }],
    };
    world.store.commit_stock(&parcel, now()).await.unwrap();
    terminate(&world, &unrecorded).await;

    let report = compare(&world, Some("2020-01-01")).await;
    let expected = BTreeMap::from([
        ((FindingKind::OrphanPayment, foreign.clone()), Action::Queued),
        ((FindingKind::OrphanPayment, taken.clone()), Action::Queued),
        ((FindingKind::MissingPayment, unfunded.to_string()), Action::Queued),
        ((FindingKind::LedgerMismatch, payment.clone()), Action::Queued),
        ((FindingKind::Terminated, gone.to_string()), Action::Queued),
        ((FindingKind::Terminated, unrecorded.to_string()), Action::Queued),
    ]);
    assert_eq!(found(&world, &report).await, expected);
    let items = queued(&world).await;
    assert_eq!(items.len(), 6, "{items:?}");
    assert_eq!(world.order(&unrecorded).await.life.status, Status::Confirmed, "nothing is taken back");
    assert_eq!(payments_of(&world, &nobody("a")).await[0].status.as_str(), "authorized", "left to the person");

    for date in ["2020-01-01", "2020-01-02"] {
        let again = compare(&world, Some(date)).await;
        assert_eq!(found(&world, &again).await, expected, "{date}");
        assert_eq!(queued(&world).await, items, "{date}: nothing is opened twice");
    }

    let refund = RefundRequest { key: "by-hand/refund".into(), payment_id: taken.clone(), amount: eur(500), now: now() };
    world.sandbox.payments.refund(refund).await.unwrap();
    compare(&world, Some("2020-01-03")).await;
    let left = queued(&world).await;
    assert!(!left.iter().any(|(_, subject)| *subject == taken), "what is in order again settles itself");
    assert_eq!(left.len(), 5, "{left:?}");

    // what a person has dealt with stays closed as long as the figures stay; other figures are news
    let mismatches = async || -> Vec<(ItemState, String)> {
        let filter = ItemFilter { kind: Some("ledger_mismatch".into()), ..ItemFilter::default() };
        let items = world.store.review_items(&filter, None, 9).await.unwrap();
        items.into_iter().map(|item| (item.state, item.id)).collect()
    };
    let dealt = mismatches().await.remove(0).1;
    let resolution = ItemResolution {
        action: Resolution::UseExternalReference,
        reference: Some("paid back by transfer".into()),
        reason: Why::parse("seen").unwrap(),
        actor: "tester".into(),
    };
    world.store.resolve_item(&dealt, &resolution, now()).await.unwrap();
    let mismatch = (FindingKind::LedgerMismatch, payment.clone());
    for _ in 0..2 {
        let accepted = compare(&world, Some("2020-01-03")).await;
        assert_eq!(found(&world, &accepted).await[&mismatch], Action::None);
        assert_eq!(mismatches().await, [(ItemState::Resolved, dealt.clone())]);
    }
    let refund = RefundRequest { key: "by-hand/back".into(), payment_id: payment.clone(), amount: eur(1), now: now() };
    world.sandbox.payments.refund(refund).await.unwrap();
    for _ in 0..2 {
        let second = compare(&world, Some("2020-01-03")).await;
        assert_eq!(found(&world, &second).await[&mismatch], Action::Queued);
        let items = mismatches().await;
        assert_eq!(items.iter().map(|(state, _)| *state).collect::<Vec<_>>(), [ItemState::Resolved, ItemState::Open]);
        let findings = world.store.findings(&second.day, 99).await.unwrap();
        let shown = findings.into_iter().find(|f| f.finding.kind == FindingKind::LedgerMismatch).unwrap().review_item;
        assert_eq!(shown.as_ref(), Some(&items[1].1), "the report names the open item");
    }
    world.end().await;
}

#[tokio::test]
async fn an_order_that_cannot_be_read_is_a_persons_and_stops_nobody() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 20, 1_000).await;
    let (bad, lost) = (booked(&world, "bad").await, booked(&world, "lost").await);
    world.sql().await.change("UPDATE orders SET life = '{}' WHERE id = $1", bad.as_str()).await;
    terminate(&world, &lost).await;
    let report = compare(&world, None).await;
    let expected = BTreeMap::from([
        ((FindingKind::Unreadable, bad.to_string()), Action::Queued),
        ((FindingKind::Terminated, lost.to_string()), Action::Repaired),
    ]);
    assert_eq!(found(&world, &report).await, expected);
    assert_eq!(queued(&world).await, [("unreadable".to_owned(), bad.to_string())]);
    let held = payments_of(&world, &bad).await;
    assert_eq!(held[0].status.as_str(), "authorized", "of money for an order that cannot be read nothing is known");
    world.reaches(&lost, Status::Cancelled).await;
    world.end().await;
}

#[tokio::test]
async fn the_schedule_is_there_and_reports_are_read_over_http() {
    let mut world = World::idle(Default::default()).await;
    world.parts.reconciliation = Reconciliation::default();
    world.start_workers(&Queue::ALL).await;
    let schedule = world.client.get_schedule_handle(SCHEDULE);
    let described = until("the schedule is there", PATIENT, || async { schedule.describe(Default::default()).await.ok() }).await;
    let next = described.future_action_times();
    let of_day = next[0].duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() % (24 * 3_600);
    assert_eq!(of_day, 2 * 3_600, "at 02:00 UTC");
    world.stop_workers().await;
    // another process starts with another setting
    world.parts.reconciliation.every = Some(Duration::from_secs(6 * 3_600));
    world.start_workers(&[Queue::Orders]).await;
    until("it is brought up to date", PATIENT, || async {
        let next = schedule.describe(Default::default()).await.unwrap().future_action_times();
        (next[1].duration_since(next[0]).unwrap() == Duration::from_secs(6 * 3_600)).then_some(())
    })
    .await;
    world.stop_workers().await;
    world.start_workers(&Queue::ALL).await;
    schedule.trigger(ScheduleOverlapPolicy::Unspecified, Default::default()).await.unwrap();
    let report = until("a scheduled comparison ends", PATIENT, || async {
        world.store.report(&Day::of(now())).await.unwrap().filter(|r| r.state == ReportState::Finished)
    })
    .await;
    assert_eq!(report.findings, 0);
    let action = schedule.describe(Default::default()).await.unwrap().recent_actions();
    assert!(action[0].workflow_id.starts_with(SCHEDULED), "{action:?}");
    world.end().await;

    let http = shared().await.http();
    let asked =
        http.request(reqwest::Method::POST, "/v1/reconciliations").header("Idempotency-Key", fresh("key")).json(&json!({}));
    let started = http.send(asked).await.is(202);
    let date = started.text_at("/date").to_owned();
    let read = async || http.get(started.text_at("/report")).await;
    let report = until("the comparison ends", PATIENT, || async {
        let answer = read().await;
        (answer.status == 200 && answer.text_at("/state") == "finished").then_some(answer)
    })
    .await;
    assert!(report.body["findings"].is_array() && report.body["compared"]["orders"].is_number(), "{}", report.text);
    let listed = http.get("/v1/reconciliations?limit=1").await.is(200);
    assert_eq!(listed.text_at("/data/0/date"), date);
    http.get("/v1/reconciliations/2020-02-30").await.refuses(404, "not_found", None);
    http.post("/v1/reconciliations", &json!({"date": "2999-01-01"})).await.refuses(422, "validation_failed", Some("/date"));
}

#[tokio::test]
async fn what_has_outlived_its_time_goes_and_an_open_case_stays() {
    let mut world = World::new().await;
    world.shelf("mug", "berlin", 20, 1_000).await;
    let (ended, waits, open) = (booked(&world, "ended").await, booked(&world, "waits").await, booked(&world, "open").await);
    for id in [&ended, &waits] {
        world.cancel(id).await.unwrap();
        world.ends(id).await;
    }
    let item = oms_store::NewItem {
        id: "item-0001".into(),
        kind: "orphan_payment".into(),
        order_id: Some(waits.clone()),
        shipment_id: None,
        subject: "pay_1".into(),
        detail: "somebody's".into(),
        source: ItemSource::Reconciliation,
    };
    world.store.open_item(&item, now()).await.unwrap();
    until("all is told", PATIENT, || async {
        let mut unsent = 0;
        for id in [&ended, &waits] {
            unsent += world
                .store
                .messages_of(id)
                .await
                .unwrap()
                .iter()
                .filter(|m| !matches!(m.state.as_str(), "sent" | "dropped"))
                .count();
        }
        (unsent == 0 && world.store.unpublished(9).await.unwrap().is_empty()).then_some(())
    })
    .await;
    world.stop_workers().await;

    // a day is set, but nothing younger than thirty goes
    let day = Some(Duration::from_secs(24 * 3_600));
    world.parts.retention = Retention { timeline: day, outbox: day, orders: day };
    world.parts.janitor_every = Duration::from_millis(100);
    let old = KeyClaim { client: "public".into(), key: "old".into(), fingerprint: "f".into() };
    let claimed_at = now() - TimeDelta::days(10);
    world.store.claim_key(&old, claimed_at).await.unwrap();
    for (days, gone) in [(29, false), (31, true)] {
        let shift = TimeDelta::days(days);
        world.parts.clock = std::sync::Arc::new(move || now() + shift);
        world.start_workers(&[Queue::Orders]).await;
        if gone {
            until("the order is gone", PATIENT, || async { world.store.order(&ended).await.unwrap().is_none().then_some(()) })
                .await;
        } else {
            // keys go after orders, and this one is older
            until("the janitor was here", PATIENT, || async {
                (world.store.claim_key(&old, claimed_at).await.unwrap() == Claimed::Fresh).then_some(())
            })
            .await;
            assert!(world.store.order(&ended).await.unwrap().is_some());
            assert!(!world.store.timeline(&ended).await.unwrap().is_empty());
        }
        world.stop_workers().await;
    }
    for kept in [&waits, &open] {
        assert!(world.store.order(kept).await.unwrap().is_some(), "{kept}");
        assert!(!world.store.timeline(kept).await.unwrap().is_empty(), "{kept}");
    }
    let shelf = world.store.audit_stock(now()).await.unwrap().remove(0);
    assert_eq!((shelf.on_hand, shelf.reserved), (shelf.movements_sum, shelf.open_reserved_sum));
    world.end().await;
}
