//! Two things in one moment: what somebody was told holds, whatever else happened just then.

use std::time::Duration;

use oms_contract::activity::effect_key;
use oms_contract::command::Resolve;
use oms_contract::names::Queue;
use oms_contract::workflow as mark;
use oms_domain::ids::OrderId;
use oms_domain::life::Why;
use oms_domain::order::Status;
use oms_domain::party::Party;
use oms_domain::review::{CAPTURE_REFUSED, Resolution};
use oms_domain::shipment::{ScanResult, ScanType};
use oms_domain::shortage::{OnShortage, ShortagePolicy};
use oms_gateways::faults::{Fault, FaultMode};
use oms_gateways::payment::{OperationKind, OperationResult, PaymentGateway, VoidRequest};
use serde_json::{Value, json};
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

use crate::replay::replays;
use crate::support::bench::{Bench, Trouble};
use crate::support::world::{PATIENT, World, now, sku};
use crate::support::{books, until};
use crate::time::{booked, flagged, one, told};

pub async fn signal(world: &World, id: &OrderId, name: &str, command: Value) {
    assert!(world.signal(id, name, command.to_string().as_bytes()).await, "{name}: no run");
}

/// How many captures were asked of the gateway and have not been answered.
async fn captures_on_their_way(world: &World, id: &OrderId) -> usize {
    let (mut asked, mut open) = (Vec::new(), 0);
    for event in world.run(id).fetch_history(Default::default()).into_events().await.unwrap() {
        match event.attributes {
            Some(Attributes::ActivityTaskScheduledEventAttributes(a))
                if a.activity_type.as_ref().is_some_and(|t| t.name == "payment.capture") =>
            {
                asked.push(event.event_id);
                open += 1;
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(a)) if asked.contains(&a.scheduled_event_id) => open -= 1,
            _ => {}
        }
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_is_being_asked_again_cannot_be_settled_outside() {
    let mut world = World::new().await;
    world.deadlines.capture_retry = Duration::from_millis(50);
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    // somebody releases the funds behind our back
    let authorize_key = effect_key(id.as_str(), "authorize", 1);
    let behind = VoidRequest { key: "by-hand".into(), authorize_key, order_id: id.clone(), now: now() };
    world.sandbox.payments.void(behind).await.unwrap();
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::Slow)).await.unwrap();
    world.scan(&id, 1, ScanType::Shipped).await;
    let item = flagged(&world, &id, CAPTURE_REFUSED).await;
    until("the gateway is asked again", PATIENT, || async { (captures_on_their_way(&world, &id).await == 1).then_some(()) })
        .await;
    let settle = || async {
        let reason = Why::parse("paid in cash").unwrap();
        let action = Resolution::UseExternalReference;
        let command = Resolve { item: item.clone(), action, reference: Some("cash-17".into()), reason, actor: None };
        world.run(&id).execute_update(mark::ResolveUpdate, command, Default::default()).await
    };
    let refusal = format!("{:?}", settle().await.unwrap_err());
    assert!(refusal.contains("not_allowed_now") && refusal.contains("may still succeed"), "{refusal}");
    assert_eq!(flagged(&world, &id, CAPTURE_REFUSED).await, item, "the item stays open");
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    until("it is settled between two tries", PATIENT, || async { settle().await.ok() }).await;
    world.scan(&id, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    let order = world.order(&id).await;
    assert_eq!(order.life.payment.waived, Some(order.totals.total));
    assert!(order.life.payment.captured.is_zero());
    let theirs = world.sandbox.payments.payments(Some(&id)).await.unwrap();
    let taken =
        |o: &&oms_gateways::payment::SandboxOperation| o.kind == OperationKind::Capture && o.result == OperationResult::Ok;
    assert_eq!(theirs.iter().flat_map(|p| &p.operations).filter(taken).count(), 0);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_customer_decided_holds_though_the_goods_came_in_the_same_moment() {
    let mut world = World::new().await;
    world.on_shortage = OnShortage { policy: ShortagePolicy::Wait, max: Some(Duration::from_millis(50)) };
    world.shelf("mug", "berlin", 2, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 5)]).await;
    until("the customer is asked", PATIENT, || async { world.order(&id).await.life.question }).await;
    // the goods are looked for, and the answer is on its way when the customer decides
    world.stop_workers().await;
    let others: Vec<Queue> = Queue::ALL.into_iter().filter(|queue| *queue != Queue::Inventory).collect();
    world.start_workers(&others).await;
    world.receive("mug", "berlin", 3).await;
    until("the goods are looked for", PATIENT, || async {
        let run = world.run(&id).describe(Default::default()).await.unwrap();
        let looked = |name: &str| name.starts_with("inventory.");
        let pending = &run.raw().pending_activities;
        pending.iter().any(|a| a.activity_type.as_ref().is_some_and(|t| looked(&t.name))).then_some(())
    })
    .await;
    signal(&world, &id, "decide", json!({ "decision": "cancel" })).await;
    one(&world, &id, "order.question_decided").await;
    world.stop_workers().await;
    world.start_workers(&Queue::ALL).await;
    assert_eq!(world.ends(&id).await.status, Status::Cancelled);
    assert_eq!(told(&world, &id, "order.question_decided").await.len(), 1);
    let level = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.available), (5, 5));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_called_about_an_order_whose_last_record_is_late() {
    let mut bench = Bench::new().await;
    bench.world.deadlines.no_scan = Duration::from_secs(1);
    let id = bench.mug("one").await;
    booked(&bench.world, &id).await;
    let ends = Trouble::Database("UPDATE ON orders WHEN NEW.status = 'completed'");
    bench.make(ends, FaultMode::None).await;
    for kind in [ScanType::Shipped, ScanType::Delivered] {
        bench.world.scan(&id, 1, kind).await;
    }
    // by then the time in which a parcel must be heard of has passed twice
    bench.attempted(&id, "orders.record", 7).await;
    bench.mend(ends).await;
    assert_eq!(bench.world.ends(&id).await.status, Status::Completed);
    let order = bench.world.reaches(&id, Status::Completed).await;
    assert!(order.life.attention.is_empty(), "{:?}", order.life.attention);
    assert!(told(&bench.world, &id, "attention.raised").await.is_empty());
    books::balanced(&bench.world).await;
    bench.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_heard_while_the_record_that_confirms_its_shipment_is_on_its_way() {
    let bench = Bench::new().await;
    let confirms = Trouble::Database("UPDATE ON orders WHEN NEW.status = 'confirmed'");
    bench.make(confirms, FaultMode::None).await;
    let id = bench.mug("one").await;
    bench.attempted(&id, "orders.record", 2).await;
    let tasks = bench.world.events(&id).await.iter().filter(|event| *event == "WORKFLOW_TASK_COMPLETED").count();
    assert!(tasks <= 5, "{tasks} workflow tasks: a database that refuses costs attempts, not history");
    let heard = bench.world.scan(&id, 1, ScanType::Shipped).await;
    assert_eq!(heard.result, ScanResult::Applied);
    assert_eq!(bench.world.scan(&id, 1, ScanType::Shipped).await.result, ScanResult::Duplicate);
    let refused = format!("{:?}", bench.world.cancel(&id).await.unwrap_err());
    assert!(refused.contains("too_late"), "it has left: {refused}");
    bench.mend(confirms).await;
    until("it is taken for", PATIENT, || async {
        let order = bench.world.order(&id).await;
        (order.life.payment.captured == order.totals.total).then_some(())
    })
    .await;
    bench.world.scan(&id, 1, ScanType::Delivered).await;
    assert_eq!(bench.world.ends(&id).await.status, Status::Completed);
    assert_eq!(told(&bench.world, &id, "shipment.shipped").await.len(), 1);
    books::balanced(&bench.world).await;
    bench.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_may_arrive_while_the_record_that_confirms_its_order_is_on_its_way() {
    let bench = Bench::new().await;
    let confirms = Trouble::Database("UPDATE ON orders WHEN NEW.status = 'confirmed'");
    bench.make(confirms, FaultMode::None).await;
    let id = bench.mug("one").await;
    bench.attempted(&id, "orders.record", 2).await;
    assert_eq!(bench.world.scan(&id, 1, ScanType::Shipped).await.result, ScanResult::Applied);
    assert_eq!(bench.world.scan(&id, 1, ScanType::Delivered).await.result, ScanResult::Applied);
    bench.mend(confirms).await;
    let end = bench.world.ends(&id).await;
    assert_eq!((end.status, end.life.attention.len()), (Status::Completed, 0), "{end:?}");
    replays(&bench.world, "overtaken-delivered", &id).await;
    books::balanced(&bench.world).await;
    bench.world.end().await;
}
