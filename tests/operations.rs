//! Operators' tools: what stands still is seen from outside, a class of activities pauses for everybody, and orders are set going again
//! in bulk, without any effect happening twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, stream};
use oms_contract::names::{Queue, mailout_workflow, order_workflow};
use oms_contract::workflow as mark;
use oms_domain::ids::OrderId;
use oms_domain::message::Channel;
use oms_domain::order::Status;
use oms_domain::party::Party;
use oms_domain::review::STUCK;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_gateways::faults::{Fault, FaultMode};
use oms_gateways::payment::{OperationKind, OperationResult};
use oms_store::{
    Dependency, ItemFilter, ItemState, MessageState, NO_ACKNOWLEDGEMENT, NewRedrive, OrderFilter, Redrive, RedriveFilter,
    RedriveFrom, RedriveState, ReviewItem, SILENT, SwitchState, TERMINATED, WORKFLOW_TASK_FAILING,
};
use oms_temporal::describe::{describe, reported_failing};
use oms_temporal::replay::download_history;
use oms_temporal::worker::WorkerTuning;
use oms_workers::watchdog;
use serde_json::json;
use temporalio_client::{UntypedWorkflow, WorkflowIdReusePolicy, WorkflowStartOptions};
use temporalio_common::data_converters::RawValue;
use temporalio_common::protos::temporal::api::common::v1::Payload;
use tokio_util::sync::CancellationToken;

use crate::support::http::{fresh, order};
use crate::support::stack::shared;
use crate::support::world::{PATIENT, World, now};
use crate::support::{books, until};

const ASK: Duration = Duration::from_secs(5);

fn quick() -> WorkerTuning {
    WorkerTuning { graceful_shutdown: Duration::from_secs(1), ..Default::default() }
}

async fn switch(world: &World, dependency: Dependency, state: SwitchState) {
    world.store.set_switch(dependency, state, "a test", "tester", now()).await.unwrap();
}

async fn carrier(world: &World, mode: FaultMode) {
    world.sandbox.faults.set(Party::Carrier, &Fault::lasting(mode)).await.unwrap();
}

async fn terminate(world: &World, id: &OrderId) {
    world.run(id).terminate(Default::default()).await.unwrap();
}

async fn items(world: &World, kind: &str, state: ItemState) -> Vec<ReviewItem> {
    let filter = ItemFilter { kind: Some(kind.to_owned()), state: Some(state), ..Default::default() };
    world.store.review_items(&filter, None, 100).await.unwrap()
}

/// Waits for the one item of a kind in a state.
async fn item(world: &World, kind: &str, state: ItemState) -> ReviewItem {
    let what = format!("one item {kind} is {}", state.as_str());
    until(&what, PATIENT, || async { items(world, kind, state).await.into_iter().next() }).await
}

async fn is_booked(world: &World, id: &OrderId) -> bool {
    let shipments = world.order(id).await.life.shipments;
    !shipments.is_empty() && shipments.iter().all(|s| s.status == ShipmentStatus::Booked)
}

async fn booked(world: &World, id: &OrderId) {
    until(&format!("{id} has a courier"), PATIENT, || async { is_booked(world, id).await.then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_class_waits_and_goes_on_in_order() {
    let mut world = World::idle(quick()).await;
    world.shelf("mug", "berlin", 100, 1999).await;
    switch(&world, Dependency::Carrier, SwitchState::Open).await;
    world.start_workers(&Queue::ALL).await;
    let mut orders = Vec::new();
    for n in 0..20 {
        let id = world.place(&format!("paused-{n}"), "pm_card_visa", &[("mug", 1)]).await;
        world.reaches(&id, Status::Confirmed).await;
        orders.push(id);
    }
    // the pause is a row: a restart finds it
    world.stop_workers().await;
    world.start_workers(&Queue::ALL).await;
    let last = world.place("after-the-restart", "pm_card_visa", &[("mug", 1)]).await;
    world.reaches(&last, Status::Confirmed).await;
    orders.push(last);
    for id in &orders {
        let run = describe(&world.client, &order_workflow(id), ASK).await.unwrap().unwrap();
        assert!(run.ending.is_none() && run.backing_off.is_empty(), "nothing has failed: {run:?}");
        let life = world.order(id).await.life;
        assert!(life.attention.is_empty() && life.shipments.iter().all(|s| s.status == ShipmentStatus::Pending));
    }
    assert!(world.sandbox.carrier.bookings().await.unwrap().is_empty());

    switch(&world, Dependency::Carrier, SwitchState::Auto).await;
    for id in &orders {
        booked(&world, id).await;
    }
    let bookings = world.sandbox.carrier.bookings().await.unwrap();
    let placed: BTreeMap<String, usize> = orders.iter().enumerate().map(|(n, id)| (format!("{id}-1"), n)).collect();
    let turns: Vec<usize> = bookings.iter().map(|b| placed[&b.shipment_id.to_string()]).collect();
    assert_eq!(turns.iter().collect::<BTreeSet<_>>().len(), orders.len(), "each once: {turns:?}");
    // many run at once, so the order is that of the queue only roughly
    let early = turns[..7].iter().filter(|turn| **turn < 14).count();
    assert!(early >= 6, "first come, first served: {turns:?}");
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_class_stops_and_starts_by_its_switch() {
    let mut world = World::idle(quick()).await;
    world.shelf("mug", "berlin", 1_000, 1999).await;
    world.start_workers(&Queue::ALL).await;
    let first = world.place("running", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &first).await;
    switch(&world, Dependency::Carrier, SwitchState::Open).await;
    // orders are booked until the switch is seen, and then no more
    let mut parked = Vec::new();
    let mut waiting = 0;
    while waiting < 3 {
        assert!(parked.len() < 60, "the switch is not seen");
        let id = world.place(&format!("parked-{}", parked.len()), "pm_card_visa", &[("mug", 1)]).await;
        world.reaches(&id, Status::Confirmed).await;
        let soon = tokio::time::timeout(Duration::from_millis(700), booked(&world, &id)).await;
        waiting = if soon.is_ok() { 0 } else { waiting + 1 };
        parked.push(id);
    }
    switch(&world, Dependency::Carrier, SwitchState::Closed).await;
    for id in &parked {
        booked(&world, id).await;
    }
    assert_eq!(world.sandbox.carrier.bookings().await.unwrap().len(), parked.len() + 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ended_by_hand_is_seen_and_set_going_again() {
    let mut world = World::new().await;
    world.deadlines.stuck = Duration::from_secs(3);
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("ended-by-hand", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    terminate(&world, &id).await;
    let seen = item(&world, TERMINATED, ItemState::Open).await;
    assert_eq!((seen.order_id.as_ref(), seen.subject.as_str()), (Some(&id), id.as_str()));
    assert!(world.order(&id).await.items_open, "the order is listed among those that need a person");
    assert_eq!(world.store.count_stuck_by_status().await.unwrap(), [(Status::Confirmed, 1)]);

    let filter = RedriveFilter { kind: Some(TERMINATED.into()), ..Default::default() };
    let done = redriven(&world, "by-hand", filter.clone(), RedriveFrom::Now).await;
    assert_eq!(done.outcomes, [0, 0, 1, 0], "from now, no run is reset");
    let done = redriven(&world, "by-hand-again", filter, RedriveFrom::LastTask).await;
    assert_eq!(done.outcomes, [0, 1, 0, 0]);
    item(&world, TERMINATED, ItemState::Settled).await;
    deliver(&world, &id).await;
    exactly_once(&world, std::slice::from_ref(&id)).await;
    world.end().await;
}

/// A row that nobody can read hides neither itself nor the trouble of others.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_row_cannot_be_read_is_seen_and_so_are_others() {
    let mut world = World::new().await;
    world.deadlines.stuck = Duration::from_secs(3);
    world.shelf("mug", "berlin", 10, 1999).await;
    let mut orders = Vec::new();
    for key in ["unreadable", "other"] {
        let id = world.place(key, "pm_card_visa", &[("mug", 1)]).await;
        booked(&world, &id).await;
        terminate(&world, &id).await;
        orders.push(id);
    }
    world.sql().await.change("UPDATE orders SET life = '{}' WHERE id = $1", orders[0].as_str()).await;
    let filter = ItemFilter { kind: Some(TERMINATED.into()), state: Some(ItemState::Open), ..Default::default() };
    let items = until("both are seen", PATIENT, || async {
        Some(world.store.review_items(&filter, None, 9).await.unwrap()).filter(|items| items.len() == 2)
    })
    .await;
    let of = |subject: &str| items.iter().find(|item| item.subject == subject).unwrap();
    assert_eq!(of(orders[0].as_str()).order_id, None, "nothing can be written to a row that cannot be read");
    assert_eq!(of(orders[1].as_str()).order_id.as_ref(), Some(&orders[1]));
    let both = RedriveFilter { ids: orders.clone(), ..Default::default() };
    let done = redriven(&world, "both", both, RedriveFrom::LastTask).await;
    assert_eq!(done.outcomes, [0, 1, 0, 1], "a re-drive ends although one of its orders cannot be done");
    world.end().await;
}

/// A parcel may be silent for a week; the money for it may not be missing for so long.
#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_not_taken_calls_a_person_while_the_parcel_travels() {
    let mut world = World::new().await;
    world.deadlines.stuck = Duration::from_secs(2);
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("untaken", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    let fault = Fault { operation: Some("capture".to_owned()), ..Fault::lasting(FaultMode::Down) };
    world.sandbox.faults.set(Party::Payment, &fault).await.unwrap();
    world.scan(&id, 1, ScanType::Shipped).await;
    let seen = item(&world, STUCK, ItemState::Open).await;
    assert_eq!(seen.order_id.as_ref(), Some(&id));
    let flags: Vec<String> = world.order(&id).await.life.attention.into_iter().map(|flag| flag.code).collect();
    assert_eq!(flags, [STUCK], "the parcel has not been silent for long");
    world.sandbox.faults.set(Party::Payment, &Fault::default()).await.unwrap();
    item(&world, STUCK, ItemState::Settled).await;
    world.scan(&id, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    exactly_once(&world, std::slice::from_ref(&id)).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_which_nobody_answers_is_seen() {
    let mut world = World::idle(quick()).await;
    world.deadlines.stuck = Duration::from_secs(6);
    world.shelf("mug", "berlin", 10, 1999).await;
    switch(&world, Dependency::Carrier, SwitchState::Open).await;
    world.start_workers(&Queue::ALL).await;
    let id = world.place("nobody", "pm_card_visa", &[("mug", 1)]).await;
    world.reaches(&id, Status::Confirmed).await;
    world.stop_workers().await;
    assert!(world.order(&id).await.life.attention.is_empty());
    let stop = CancellationToken::new();
    let watching = tokio::spawn(watchdog::run(world.parts.clone(), stop.clone()));
    let seen = item(&world, SILENT, ItemState::Open).await;
    assert_eq!(seen.order_id.as_ref(), Some(&id));
    assert!(now() >= world.order(&id).await.life.due_at.unwrap(), "not before its deadline");
    stop.cancel();
    watching.await.unwrap();
    world.start_workers(&Queue::ALL).await;
    item(&world, SILENT, ItemState::Settled).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_task_that_fails_for_ever_is_seen() {
    let mut world = World::idle(quick()).await;
    world.deadlines.stuck = Duration::from_secs(2);
    world.shelf("mug", "berlin", 10, 1999).await;
    world.start_workers(&Queue::ALL).await;
    let id = world.place("failing", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    terminate(&world, &id).await;
    // a run under the order's id whose input no version of ours could read
    let options = WorkflowStartOptions::new(Queue::Orders.name(), order_workflow(&id))
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .build();
    let garbage = Payload {
        metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
        data: b"\"no order\"".to_vec(),
        ..Default::default()
    };
    world.client.start_workflow(UntypedWorkflow::new("Order"), RawValue::new(vec![garbage]), options).await.unwrap();
    let seen = item(&world, WORKFLOW_TASK_FAILING, ItemState::Open).await;
    assert_eq!(seen.order_id.as_ref(), Some(&id));
    // the server tells by itself, without regard to deadlines, once the task has failed some more
    until("the engine reports it", PATIENT, || async {
        let reported = reported_failing(&world.client, "Order", 10, ASK).await.unwrap().unwrap_or_default();
        reported.contains(&order_workflow(&id)).then_some(())
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_outlive_the_run_of_their_batch() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    world.sandbox.faults.set(Party::Mail, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let id = world.place("told", "pm_card_visa", &[("mug", 1)]).await;
    let message = async |state: MessageState| {
        until(&format!("the mail is {}", state.as_str()), PATIENT, || async {
            let rows = world.store.messages_of(&id).await.unwrap();
            rows.into_iter().find(|m| m.channel == Channel::Mail && m.state == state)
        })
        .await
    };
    let batch = message(MessageState::Claimed).await.batch_id.unwrap();
    let run = world.client.get_workflow_handle::<mark::Mailout>(mailout_workflow(&batch));
    until("the batch has its run", PATIENT, || async { run.describe(Default::default()).await.ok().map(|_| ()) }).await;
    run.terminate(Default::default()).await.unwrap();
    world.sandbox.faults.set(Party::Mail, &Fault::lasting(FaultMode::None)).await.unwrap();
    let sent = message(MessageState::Sent).await;
    assert_eq!(sent.batch_id.as_ref(), Some(&batch), "another run of the same batch");
    tokio::time::timeout(PATIENT, run.get_result(Default::default())).await.unwrap().unwrap();
    // a run that has ended and left a message behind sends nothing more
    let left = "UPDATE messages SET state = 'claimed', settled_at = NULL WHERE id = $1";
    world.sql().await.change(left, sent.id.as_str()).await;
    message(MessageState::Failed).await;
    assert_eq!(item(&world, "message_failed", ItemState::Open).await.subject, sent.id.as_str());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipment_that_no_warehouse_takes_over_is_seen() {
    let mut world = World::idle(quick()).await;
    world.parts.handoff_max = Some(Duration::from_secs(1));
    world.shelf("mug", "berlin", 10, 1999).await;
    world.start_workers(&Queue::ALL).await;
    let id = world.place("unheard", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    let seen = item(&world, NO_ACKNOWLEDGEMENT, ItemState::Open).await;
    let shipment = seen.shipment_id.unwrap();
    assert_eq!(shipment.order().unwrap(), id);
    let told = world.store.timeline(&id).await.unwrap();
    let again: Vec<_> = told.iter().filter(|fact| fact.kind == "shipment.handed_off_again").collect();
    assert_eq!(again.len(), 1, "once: {told:?}");
    assert_eq!(again[0].shipment.as_ref(), Some(&shipment));
    world.store.acknowledge(&shipment, "clerk", now()).await.unwrap();
    item(&world, NO_ACKNOWLEDGEMENT, ItemState::Settled).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_name_the_build_that_wrote_them() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("build", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id).await;
    let history = download_history(&world.client, &order_workflow(&id)).await.unwrap();
    let build = format!("\"buildId\":\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(String::from_utf8(history).unwrap().replace(": ", ":").contains(&build), "{build}");
    world.end().await;
}

async fn redriven(world: &World, name: &str, filter: RedriveFilter, from: RedriveFrom) -> Redrive {
    let (id, asked) = (fresh(name), json!({"test": name}));
    let new = NewRedrive { id: id.clone(), filter, asked, from, rate: 100, actor: "tester".into() };
    world.store.begin_redrive(&new, now()).await.unwrap();
    until(&format!("re-drive {name} is done"), 5 * PATIENT, || async {
        world.store.redrive(&id).await.unwrap().filter(|redrive| redrive.state == RedriveState::Done)
    })
    .await
}

async fn deliver(world: &World, id: &OrderId) {
    booked_or_beyond(world, id).await;
    for kind in [ScanType::Shipped, ScanType::Delivered] {
        world.scan(id, 1, kind).await;
    }
    world.reaches(id, Status::Completed).await;
}

async fn booked_or_beyond(world: &World, id: &OrderId) {
    until(&format!("{id} has a courier"), 3 * PATIENT, || async {
        let shipments = world.order(id).await.life.shipments;
        (!shipments.is_empty() && shipments.iter().all(|s| s.status.rank() >= ShipmentStatus::Booked.rank())).then_some(())
    })
    .await;
}

/// One authorization, one capture, one booking per order, whatever happened on the way.
async fn exactly_once(world: &World, orders: &[OrderId]) {
    let payments = world.sandbox.payments.payments(None).await.unwrap();
    let mut count: BTreeMap<&str, [usize; 3]> = orders.iter().map(|id| (id.as_str(), [0; 3])).collect();
    for payment in &payments {
        for operation in payment.operations.iter().filter(|o| o.result == OperationResult::Ok) {
            let tally = count.get_mut(payment.order_id.as_str()).unwrap();
            match operation.kind {
                OperationKind::Authorize => tally[0] += 1,
                OperationKind::Capture => tally[1] += 1,
                other => panic!("{}: an unexpected {other:?}", payment.order_id),
            }
        }
    }
    for booking in world.sandbox.carrier.bookings().await.unwrap() {
        let order = booking.shipment_id.order().unwrap();
        count.get_mut(order.as_str()).unwrap()[2] += 1;
    }
    let wrong: Vec<_> = count.iter().filter(|(_, tally)| **tally != [1, 1, 1]).collect();
    assert!(wrong.is_empty(), "authorizations, captures, bookings: {wrong:?}");
    books::balanced(world).await;
}

/// Half of the orders wait for their parcel, half are parked behind an outage; of both, some runs are ended by hand.
async fn a_bulk_redrive(orders: usize) {
    let mut world = World::idle(quick()).await;
    // a parked step would be tried again by itself only long after the test
    world.patience.most = Duration::from_secs(600);
    world.shelf("mug", "berlin", 10_000, 1999).await;
    world.start_workers(&Queue::ALL).await;
    let mut ids = Vec::new();
    for n in 0..orders {
        if n == orders / 2 {
            let half: &[OrderId] = &ids;
            stream::iter(half).for_each_concurrent(16, |id| booked(&world, id)).await;
            carrier(&world, FaultMode::Down).await;
        }
        ids.push(world.place(&format!("bulk-{n}"), "pm_card_visa", &[("mug", 1)]).await);
    }
    let (moving, parked) = ids.split_at(orders / 2);
    stream::iter(parked)
        .for_each_concurrent(16, |id| async {
            until("a booking waits for long", 2 * PATIENT, || async {
                let run = describe(&world.client, &order_workflow(id), ASK).await.unwrap().unwrap();
                run.backing_off.iter().any(|activity| activity.attempt >= 6).then_some(())
            })
            .await;
        })
        .await;
    // some of the moving ones have left already
    for id in moving.iter().step_by(7) {
        world.scan(id, 1, ScanType::Shipped).await;
    }
    let mut ended = BTreeSet::new();
    for id in moving.iter().step_by(14).chain(parked.iter().step_by(10)) {
        terminate(&world, id).await;
        ended.insert(id.clone());
    }
    carrier(&world, FaultMode::None).await;

    let filter = RedriveFilter { orders: OrderFilter { placed_before: Some(now()), ..Default::default() }, ..Default::default() };
    let (matched, _) = world.store.redrive_matches(&filter, 1).await.unwrap();
    assert_eq!(matched, orders as u64);
    let done = redriven(&world, "bulk", filter.clone(), RedriveFrom::LastTask).await;
    let [nudged, reset, skipped, failed] = done.outcomes;
    assert_eq!((nudged + reset, skipped, failed), (orders as u64, 0, 0), "{done:?}");
    // runs that were ended by hand; one may have been set going again before its turn came
    assert!((1..=ended.len() as u64).contains(&reset), "{} were ended: {done:?}", ended.len());
    let rows = world.store.redrive_orders(&done.id, None, orders as u32).await.unwrap();
    let at_once = rows.iter().filter(|row| row.detail.as_deref().is_some_and(|d| d.contains("start at once"))).count();
    // the others were tried by themselves before their turn came
    assert!(at_once > 0, "parked steps are tried at once, not after their pause: {:?}", done.outcomes);
    stream::iter(&ids)
        .for_each_concurrent(8, |id| async {
            deliver(&world, id).await;
        })
        .await;
    exactly_once(&world, &ids).await;
    let again = redriven(&world, "bulk-again", filter, RedriveFrom::LastTask).await;
    assert_eq!(again.matched, 0, "what has ended is left alone");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_orders_go_on_and_nothing_happens_twice() {
    a_bulk_redrive(60).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs minutes"]
async fn a_thousand_orders_go_on_and_nothing_happens_twice() {
    a_bulk_redrive(1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_outlives_the_process_that_works_on_it() {
    let mut world = World::idle(quick()).await;
    world.shelf("mug", "berlin", 100, 1999).await;
    world.start_workers(&Queue::ALL).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(world.place(&format!("outlives-{n}"), "pm_card_visa", &[("mug", 1)]).await);
    }
    stream::iter(&ids).for_each_concurrent(8, |id| booked(&world, id)).await;
    let new = NewRedrive {
        id: fresh("outlives"),
        filter: RedriveFilter { ids: ids.clone(), ..Default::default() },
        asked: json!({}),
        from: RedriveFrom::LastTask,
        rate: 5,
        actor: "tester".into(),
    };
    world.store.begin_redrive(&new, now()).await.unwrap();
    let so_far = until("some are done", PATIENT, || async {
        world.store.redrive(&new.id).await.unwrap().map(|r| r.outcomes[0]).filter(|nudged| *nudged >= 5)
    })
    .await;
    world.stop_workers().await;
    assert!(so_far < 30, "it was stopped on its way");
    world.start_workers(&Queue::ALL).await;
    let done = until("it is done", 3 * PATIENT, || async {
        world.store.redrive(&new.id).await.unwrap().filter(|redrive| redrive.state == RedriveState::Done)
    })
    .await;
    assert_eq!(done.outcomes, [30, 0, 0, 0]);
    world.end().await;
}

#[tokio::test]
async fn operators_see_and_steer_over_http() {
    let http = shared().await.http();
    let sku = fresh("OPS");
    http.sell(&sku, "berlin", 10, 1999).await;
    let id = http.confirmed(&order(&sku, 1)).await;

    let listed = http.get("/v1/ops/breakers").await.is(200).body;
    let names: Vec<&str> = listed["data"].as_array().unwrap().iter().map(|b| b["dependency"].as_str().unwrap()).collect();
    assert_eq!(names, ["payment", "carrier", "messages", "stock"]);
    let set = json!({"state": "closed", "reason": "a test"});
    let closed = http.put("/v1/ops/breakers/messages", &set).await.is(200).body;
    assert_eq!((&closed["state"], &closed["reason"], &closed["actor"]), (&json!("closed"), &json!("a test"), &json!("api")));
    assert_eq!(http.get("/v1/ops/breakers/messages").await.is(200).body, closed);
    http.get("/v1/ops/breakers/weather").await.refuses(404, "not_found", None);
    let wrong = json!({"state": "ajar", "reason": "a test"});
    http.put("/v1/ops/breakers/carrier", &wrong).await.refuses(422, "validation_failed", Some("/state"));

    let versions = http.get("/v1/ops/versions").await.is(200).body;
    assert_eq!(versions["this"]["shape"], oms_contract::start::SHAPE);
    let open: i64 = versions["data"].as_array().unwrap().iter().map(|v| v["open_orders"].as_i64().unwrap()).sum();
    assert!(open >= 1, "{versions}");
    let metrics = http.get("/metrics").await.is(200).text;
    for family in [
        "oms_orders{status=\"confirmed\"}",
        "# TYPE oms_orders_stuck gauge",
        "# TYPE oms_review_items_open gauge",
        "oms_orders_open{shape=",
        "oms_events_waiting{for=\"sinks\"} ",
    ] {
        assert!(metrics.contains(family), "{family} is missing:\n{metrics}");
    }

    http.booked(&id).await;
    let path = format!("/v1/shipments/{id}-1/acknowledge");
    let first = http.post(&path, &json!({})).await.is(200).body;
    assert_eq!(http.post(&path, &json!({})).await.is(200).body, first, "the first time stands");
    http.post("/v1/shipments/abcdefgh-1/acknowledge", &json!({})).await.refuses(404, "not_found", None);

    let ask = |dry_run: bool| json!({"filter": {"order_ids": [id]}, "dry_run": dry_run, "rate": 100});
    let planned = http.post("/v1/ops/redrive", &ask(true)).await.is(200).body;
    assert_eq!((&planned["matched"], &planned["data"][0]["would"]), (&json!(1), &json!("nudge")), "{planned}");
    let begun = http.post("/v1/ops/redrive", &ask(false)).await.is(202);
    let location = begun.header("location").to_owned();
    assert_eq!(location, begun.text_at("/links/self"));
    let done = until("the re-drive is done", PATIENT, || async {
        let answer = http.get(&location).await.is(200);
        (answer.body["state"] == "done").then_some(answer.body)
    })
    .await;
    assert_eq!((&done["outcomes"]["nudged"], &done["data"][0]["outcome"]), (&json!(1), &json!("nudged")), "{done}");
    http.get("/v1/ops/redrives/unknown-one").await.refuses(404, "not_found", None);
    http.post("/v1/ops/redrive", &json!({"filter": {}})).await.refuses(422, "validation_failed", Some("/filter"));
}
