//! Orders at a bend whose run is set back, or ended by hand and unwound: parties see the same keys, and every order ends.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use oms_contract::command::{Edit, Review};
use oms_contract::names::{Queue, order_workflow};
use oms_contract::refund::RequestRefund;
use oms_contract::start::{OrderLine, OrderStart, SHAPE, Unwind};
use oms_contract::workflow as mark;
use oms_domain::customer::Line;
use oms_domain::ids::{HoldId, OrderId};
use oms_domain::life::Why;
use oms_domain::order::Status;
use oms_domain::pricing::{PriceRules, PricedLine};
use oms_domain::refund::RefundId;
use oms_domain::review::ReviewDecision;
use oms_domain::risk::RiskRules;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_domain::shortage::{OnShortage, ShortagePolicy};
use oms_gateways::carrier::BookingStatus;
use oms_gateways::payment::OperationResult;
use oms_store::StoredOrder;
use oms_temporal::worker::WorkerTuning;
use serde_json::json;
use temporalio_client::grpc::WorkflowService;
use temporalio_client::{NamespacedClient, WorkflowStartOptions};
use temporalio_common::UpdateDefinition;
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflowservice::v1::ResetWorkflowExecutionRequest;

use crate::moments::signal;
use crate::support::world::{PATIENT, World, eur, now, report, sku, uuid};
use crate::support::{books, until};

const PRICE: i64 = 1_999;
const RULES: PriceRules = PriceRules { shipping_minor: 490, tax_bps: 1_900 };
const AT_ONCE: usize = 4;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bend {
    /// It waits for goods.
    Waits,
    /// It waits for a person.
    InReview,
    /// Its lines were changed, and a courier is booked.
    Edited,
    /// It has left, is paid, and the money went back.
    Refunded,
    /// A part has left, the rest waits for goods.
    PartlyShipped,
}

impl Bend {
    /// Whether the article lacks units until somebody receives more.
    fn is_short(self) -> bool {
        matches!(self, Self::Waits | Self::PartlyShipped)
    }
}

fn why() -> Why {
    Why::parse("for a test").unwrap()
}

async fn ask<U>(world: &World, id: &OrderId, update: U, input: U::Input)
where
    U: UpdateDefinition<Workflow = mark::Order>,
    U::Input: Send,
    U::Output: 'static,
{
    world.run(id).execute_update(update, input, Default::default()).await.unwrap();
}

async fn shows(world: &World, id: &OrderId, what: &str, seen: impl Fn(&StoredOrder) -> bool) -> StoredOrder {
    until(&format!("{id} shows {what}"), PATIENT, || async { Some(world.order(id).await).filter(&seen) }).await
}

async fn booked(world: &World, id: &OrderId) {
    shows(world, id, "a courier", |order| {
        let live: Vec<_> = order.life.live_shipments().map(|s| s.status).collect();
        !live.is_empty() && !live.contains(&ShipmentStatus::Pending)
    })
    .await;
}

/// Brings an order to its bend. Each has an article of its own.
async fn bring(world: &World, bend: Bend, key: &str) -> OrderId {
    world.shelf(key, "berlin", if bend.is_short() { 2 } else { 5 }, PRICE).await;
    let on_shortage = match bend {
        Bend::Waits => OnShortage { policy: ShortagePolicy::Wait, max: None },
        Bend::PartlyShipped => OnShortage { policy: ShortagePolicy::ShipAvailable, max: None },
        _ => OnShortage::default(),
    };
    let terms = |start: &mut OrderStart| {
        if bend == Bend::InReview {
            start.risk = RiskRules { amount_min: Some(1), ..RiskRules::default() };
        }
    };
    let units = if bend.is_short() { 5 } else { 2 };
    let id = world.place_under(key, "pm_card_visa", &[(key, units)], on_shortage, terms).await;
    match bend {
        Bend::Waits => drop(shows(world, &id, "that it waits", |order| order.life.status == Status::Backordered).await),
        Bend::InReview => drop(shows(world, &id, "that it is in review", |order| order.life.review.is_some()).await),
        Bend::Edited => {
            let hold = world.hold(&id, None).await;
            shows(world, &id, "that it is confirmed", |order| order.life.status == Status::Confirmed).await;
            edit(world, &id, key, 3).await;
            shows(world, &id, "the edit", |order| order.lines[0].quantity == 3).await;
            world.release(&id, &hold).await;
            booked(world, &id).await;
        }
        Bend::Refunded | Bend::PartlyShipped => {
            booked(world, &id).await;
            world.scan(&id, 1, ScanType::Shipped).await;
            shows(world, &id, "that it is paid", |order| order.life.payment.captured == order.life.shipments[0].amount).await;
            if bend == Bend::Refunded {
                let refund = RequestRefund {
                    lines: Vec::new(),
                    amount: Some(eur(500)),
                    shipping: false,
                    reason: why(),
                    refund_id: Some(RefundId::from_key(id.as_str(), "test")),
                    actor: None,
                };
                ask(world, &id, mark::RefundUpdate, refund).await;
                shows(world, &id, "the refund", |order| order.life.payment.refunded == eur(500)).await;
            }
        }
    }
    id
}

async fn edit(world: &World, id: &OrderId, article: &str, quantity: u32) {
    let total = eur(PRICE).times(quantity).unwrap();
    let name = Line::parse(article).unwrap();
    let line = PricedLine { sku: sku(article), name, quantity, unit_price: eur(PRICE), discount: None, total };
    let (edit_id, totals) = (format!("edit-{id}"), RULES.on(total).unwrap());
    world.store.propose_edit(&edit_id, id, &[line], &totals, now()).await.unwrap();
    let lines = vec![OrderLine { sku: sku(article), quantity, total }];
    ask(world, id, mark::EditUpdate, Edit { edit_id, lines, totals, cancels: false, if_rev: None, reason: None, actor: None })
        .await;
}

/// Sees an order through from its bend, or from anywhere before it: what was reported is reported again.
async fn complete(world: &World, bend: Bend, id: &OrderId, key: &str) {
    let run = world.run(id);
    if bend.is_short() {
        world.receive(key, "berlin", 3).await;
    }
    let began = std::time::Instant::now();
    let end = loop {
        if let Ok(end) = tokio::time::timeout(Duration::from_millis(300), run.get_result(Default::default())).await {
            break end.unwrap();
        }
        assert!(began.elapsed() < PATIENT, "{bend:?} {id} never ends: {:?}", world.order(id).await.life);
        if bend == Bend::InReview {
            let approve = Review { decision: ReviewDecision::Approve, reason: why(), actor: None };
            let _ = run.execute_update(mark::ReviewUpdate, approve, Default::default()).await;
        }
        for shipment in world.order(id).await.life.live_shipments().filter(|s| s.status != ShipmentStatus::Pending) {
            let number = shipment.id.as_str().rsplit_once('-').unwrap().1.parse().unwrap();
            for kind in [ScanType::Shipped, ScanType::Delivered] {
                let _ = run.execute_update(mark::ShipmentEventUpdate, report(id, number, kind), Default::default()).await;
            }
        }
    };
    let order = shows(world, id, "its end", |order| order.life.status.is_terminal()).await;
    assert_eq!((end.status, order.life.status), (Status::Completed, Status::Completed), "{bend:?} {id}");
    assert_eq!(order.life.payment.captured, order.totals.total, "{bend:?} {id}");
    assert!(order.life.attention.is_empty(), "{bend:?} {id}: {:?}", order.life.attention);
    let shipped = order.lines.iter().map(|line| i64::from(line.quantity)).sum::<i64>();
    let level = world.store.stock(&sku(key), now()).await.unwrap().unwrap();
    assert_eq!((i64::try_from(level.on_hand).unwrap(), level.reserved), (5 - shipped, 0), "{bend:?} {id}");
}

/// What the gateway and the carrier have done for an order, by key.
async fn ledgers(world: &World, id: &OrderId) -> BTreeSet<String> {
    let refund = RefundId::from_key(id.as_str(), "test");
    let neutral = |key: &str| key.replace(id.as_str(), "ID").replace(refund.as_str(), "REFUND");
    let mut all = BTreeSet::new();
    for operation in world.sandbox.payments.payments(Some(id)).await.unwrap().iter().flat_map(|p| &p.operations) {
        all.insert(format!("{} {} {:?}", neutral(&operation.key), operation.amount, operation.result));
    }
    for booking in world.sandbox.carrier.bookings().await.unwrap() {
        if booking.shipment_id.as_str().starts_with(id.as_str()) {
            all.insert(neutral(&booking.book_key));
        }
    }
    all
}

/// The activities that the run has decided on: what, and the end of the task that did.
async fn decided(world: &World, id: &OrderId) -> Vec<(String, i64)> {
    let mut decided: Vec<(String, i64)> = Vec::new();
    for event in world.run(id).fetch_history(Default::default()).into_events().await.unwrap() {
        if let Some(Attributes::ActivityTaskScheduledEventAttributes(a)) = event.attributes
            && !decided.iter().any(|(_, task)| *task == a.workflow_task_completed_event_id)
        {
            decided.push((a.activity_type.unwrap().name, a.workflow_task_completed_event_id));
        }
    }
    decided
}

/// Sets the order's run back to just before a task ended.
async fn reset_to(world: &World, id: &OrderId, task: i64) {
    let request = ResetWorkflowExecutionRequest {
        namespace: world.client.namespace(),
        workflow_execution: Some(WorkflowExecution { workflow_id: order_workflow(id), run_id: String::new() }),
        reason: "test".into(),
        workflow_task_finish_event_id: task,
        request_id: uuid(),
        ..Default::default()
    };
    world.client.clone().reset_workflow_execution(tonic::Request::new(request)).await.unwrap();
}

async fn resets(bend: Bend) {
    let world = World::new().await;
    let control = bring(&world, bend, "control").await;
    let points = decided(&world, &control).await;
    complete(&world, bend, &control, "control").await;
    let expected = ledgers(&world, &control).await;
    assert!(expected.len() > 2, "{expected:?}");
    stream::iter(0..points.len())
        .for_each_concurrent(AT_ONCE, |point| {
            let (world, expected) = (&world, &expected);
            async move {
                let key = format!("reset-{point}");
                let id = bring(world, bend, &key).await;
                let decided = decided(world, &id).await;
                let Some((activity, task)) = decided.get(point) else { return };
                reset_to(world, &id, *task).await;
                complete(world, bend, &id, &key).await;
                assert_eq!(ledgers(world, &id).await, *expected, "{bend:?}, reset to before {activity}");
            }
        })
        .await;
    eprintln!("{bend:?}: reset at {} points", points.len());
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_order_that_waits_for_goods_repeats_no_effect() {
    resets(Bend::Waits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_order_in_review_repeats_no_effect() {
    resets(Bend::InReview).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_order_that_was_edited_repeats_no_effect() {
    resets(Bend::Edited).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_order_that_was_refunded_repeats_no_effect() {
    resets(Bend::Refunded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_order_that_has_left_in_part_repeats_no_effect() {
    resets(Bend::PartlyShipped).await;
}

/// A worker that dies after it has written the record that confirms leaves a row that is older than what the next one hears first.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_ended_before_the_row_was_read_again_stays_ended() {
    let mut world = World::idle(WorkerTuning { graceful_shutdown: Duration::from_secs(1), ..Default::default() }).await;
    world.shelf("mug", "berlin", 5, PRICE).await;
    let id = world.place("held", "pm_card_visa", &[("mug", 2)]).await;
    let hold = HoldId::from_key(&id, "first");
    signal(&world, &id, "place_hold", json!({ "id": hold, "kind": "drawn", "reason": "for a test" })).await;
    world.start_workers(&Queue::ALL).await;
    shows(&world, &id, "that it is confirmed", |order| order.life.status == Status::Confirmed && !order.life.holds.is_empty())
        .await;
    world.stop_workers().await;
    let confirming = world.run(&id).fetch_history(Default::default()).into_events().await.unwrap();
    let confirming = confirming.iter().rev().find(|e| e.event_type() == EventType::WorkflowTaskCompleted).unwrap();
    reset_to(&world, &id, confirming.event_id).await;
    signal(&world, &id, "release_hold", json!({ "id": hold })).await;
    world.start_workers(&Queue::ALL).await;
    booked(&world, &id).await;
    assert!(world.order(&id).await.life.holds.is_empty());
    complete(&world, Bend::Edited, &id, "mug").await;
    books::balanced(&world).await;
    world.end().await;
}

/// What a run is started with that takes back what the one before had begun, as the order's row shows it.
async fn unwinding(world: &World, id: &OrderId) -> OrderStart {
    let order = world.order(id).await;
    let bookings = order.life.shipments.iter().flat_map(|s| [(s.id.clone(), 1), (s.id.clone(), 2)]).collect();
    OrderStart {
        order_id: id.clone(),
        placed_at: order.placed_at,
        currency: order.currency,
        lines: order.lines.iter().map(|l| OrderLine { sku: l.sku.clone(), quantity: l.quantity, total: l.total }).collect(),
        total: order.totals.total,
        method: order.payment_method.clone(),
        rules: order.price_rules,
        on_shortage: order.on_shortage,
        strategy: Default::default(),
        risk: Default::default(),
        policies: Default::default(),
        shape: SHAPE,
        // one more than is known of each: undoing what never was is harmless
        unwind: Some(Unwind {
            life: order.life.clone(),
            rev: order.rev,
            authorizations: vec![1, 2, 3],
            bookings,
            reason: "ended by hand".to_owned(),
        }),
        deadlines: world.deadlines,
        patience: world.patience,
        search_attributes: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_run_was_ended_by_hand_is_unwound() {
    let world = World::new().await;
    let bends = [Bend::Waits, Bend::InReview, Bend::Edited];
    let mut orders = Vec::new();
    for (bend, key) in bends.into_iter().zip(["waits", "in-review", "edited"]) {
        orders.push((key, bring(&world, bend, key).await));
    }
    world.shelf("booked", "berlin", 5, PRICE).await;
    let id = world.place("booked", "pm_card_visa", &[("booked", 2)]).await;
    booked(&world, &id).await;
    orders.push(("booked", id));
    for (key, id) in &orders {
        world.run(id).terminate(Default::default()).await.unwrap();
        let start = unwinding(&world, id).await;
        let before = world.store.stock(&sku(key), now()).await.unwrap().unwrap();
        let mut ledger = BTreeSet::new();
        for time in 0..3 {
            let options = WorkflowStartOptions::new(Queue::Orders.name(), order_workflow(id)).build();
            world.client.start_workflow(mark::Order, start.clone(), options).await.unwrap();
            assert_eq!(world.ends(id).await.status, Status::Cancelled, "{key}");
            let order = world.reaches(id, Status::Cancelled).await;
            assert!(order.life.attention.is_empty(), "{key}: {:?}", order.life.attention);
            let level = world.store.stock(&sku(key), now()).await.unwrap().unwrap();
            assert_eq!((level.on_hand, level.reserved), (before.on_hand, 0), "{key}");
            if time > 0 {
                assert_eq!(ledgers(&world, id).await, ledger, "{key}: unwinding it again does nothing");
            }
            ledger = ledgers(&world, id).await;
        }
        let payments = world.sandbox.payments.payments(Some(id)).await.unwrap();
        assert!(payments.iter().all(|p| p.status.as_str() == "voided"), "{key}: {payments:?}");
        let operations = payments.iter().flat_map(|p| &p.operations);
        assert!(operations.into_iter().all(|o| o.result == OperationResult::Ok), "{key}: {payments:?}");
        let bookings = world.sandbox.carrier.bookings().await.unwrap();
        let theirs = bookings.iter().filter(|b| b.shipment_id.as_str().starts_with(id.as_str()));
        assert!(theirs.into_iter().all(|b| b.status == BookingStatus::Cancelled), "{key}");
        let told = world.store.timeline(id).await.unwrap();
        assert_eq!(told.iter().filter(|fact| fact.kind == "order.cancelled").count(), 1, "{key}: {told:?}");
    }
    books::balanced(&world).await;
    world.end().await;
}
