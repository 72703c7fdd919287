//! Recorded histories of the stories beside an order's run: refunds, returns, what follows a late report, messages, comparisons.
//!
//! `OMS_RECORD_HISTORIES=1 cargo test --test it replay` records them anew, with those of orders (`tests/replay.rs`). Refunds and returns
//! carry the number of their shape (`STORY_SHAPE`), unless it is the first; the others have had one only.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use oms_contract::command::Resolve;
use oms_contract::names::{Queue, aftermath_workflow, mailout_workflow, refund_workflow, return_workflow};
use oms_contract::reconciliation::reconcile_workflow;
use oms_contract::refund::STORY_SHAPE;
use oms_contract::start::{AftermathStart, MailoutStart};
use oms_contract::workflow as mark;
use oms_domain::ids::{Location, OrderId, ShipmentId};
use oms_domain::life::Why;
use oms_domain::party::Party;
use oms_domain::refund::{Ask, RefundId, RefundState};
use oms_domain::returning::{Condition, ReturnId, ReturnState};
use oms_domain::review::Resolution;
use oms_domain::shipment::ScanType;
use oms_domain::stock::Quantity;
use oms_gateways::faults::{Fault, FaultMode};
use oms_gateways::payment::{PaymentGateway, RefundRequest};
use oms_temporal::replay::{ReplayError, download_history, replay};
use oms_workflows::aftermath::Aftermath;
use oms_workflows::mailout::Mailout;
use oms_workflows::order::Order;
use oms_workflows::reconcile::Reconcile;
use oms_workflows::refund::Refund;
use oms_workflows::returning::Returning;
use serde_json::Value;
use temporalio_client::WorkflowStartOptions;

use crate::reconciliation::compare;
use crate::refunds::{self, delivered, open_item, refund_is};
use crate::replay::{anonymous, booked, folder};
use crate::returns::{self, approve, receive, unit};
use crate::support::until;
use crate::support::world::{PATIENT, World, now, report, sku};

/// Replays a history against the workflow that its file's name begins with.
pub async fn replay_named(name: &str, history: &[u8]) -> Result<(), ReplayError> {
    match name.split('-').next().unwrap() {
        "order" => replay::<Order>(history).await,
        "refund" => replay::<Refund>(history).await,
        "return" => replay::<Returning>(history).await,
        "aftermath" => replay::<Aftermath>(history).await,
        "mailout" => replay::<Mailout>(history).await,
        "reconcile" => replay::<Reconcile>(history).await,
        other => panic!("{name}: there is no workflow {other}"),
    }
}

fn decision(item: String, action: Resolution) -> Resolve {
    let reference = (action == Resolution::UseExternalReference).then(|| "elsewhere-1".to_owned());
    Resolve { item, action, reference, reason: Why::parse("for the record").unwrap(), actor: None }
}

async fn settle_refund(world: &World, id: &RefundId, kind: &str, action: Resolution) {
    let item = until(&format!("a person is called about {id}"), PATIENT, || async {
        Some(open_item(world, kind).await).filter(|item| item.subject == id.as_str())
    })
    .await;
    let run = world.client.get_workflow_handle::<mark::Refund>(refund_workflow(id));
    run.execute_update(mark::ResolveRefundUpdate, decision(item.id, action), Default::default()).await.unwrap();
}

/// Refunds: that work, that are refused, that get no answer.
async fn refunds(world: &World) -> Vec<(&'static str, String)> {
    let faults = world.sandbox.faults.clone();
    let returned = delivered(world, "returned", "pm_card_visa", 1).await;
    let plain = refunds::ask(world, &returned, "all", Ask::default()).await.id;
    refund_is(world, &plain, RefundState::Returned).await;

    let by_hand = delivered(world, "by-hand", "pm_card_visa", 1).await;
    let payment = world.sandbox.payments.payments(Some(&by_hand)).await.unwrap().remove(0);
    let amount = world.order(&by_hand).await.totals.total;
    let request = RefundRequest { key: "by-hand".into(), payment_id: payment.payment_id, amount, now: now() };
    world.sandbox.payments.refund(request).await.unwrap();
    let refused = refunds::ask(world, &by_hand, "all", Ask::default()).await.id;
    settle_refund(world, &refused, "refund_refused", Resolution::UseExternalReference).await;
    refund_is(world, &refused, RefundState::Closed).await;

    let mut silent = Vec::new();
    for (key, action) in [("late", Resolution::Retry), ("closed", Resolution::UseExternalReference)] {
        let order = delivered(world, key, "pm_card_visa", 1).await;
        faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
        let id = refunds::ask(world, &order, "all", Ask::default()).await.id;
        settle_refund(world, &id, "refund_unanswered", action).await;
        if action == Resolution::Retry {
            open_item(world, "refund_unanswered").await;
        }
        faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
        let state = if action == Resolution::Retry { RefundState::Returned } else { RefundState::Closed };
        refund_is(world, &id, state).await;
        silent.push(refund_workflow(&id));
    }
    let [late, closed] = silent.try_into().unwrap();
    vec![
        ("refund-returned", refund_workflow(&plain)),
        ("refund-refused-closed", refund_workflow(&refused)),
        ("refund-unanswered-returned", late),
        ("refund-unanswered-closed", closed),
    ]
}

/// Returns: that come, that never come, that are not wanted, that get no label.
async fn returned_goods(world: &mut World) -> Vec<(&'static str, String)> {
    let faults = world.sandbox.faults.clone();
    let order = delivered(world, "returns", "pm_card_visa", 4).await;
    let came = returns::ask(world, &order, "came", 2).await;
    assert!(approve(world, &came).await);
    returns::is(world, &came, "labelled", |r| r.body.label.is_some()).await;
    receive(world, &came, vec![unit(1, Condition::Restock)], false).await;
    receive(world, &came, vec![unit(1, Condition::Scrap)], true).await;
    assert_eq!(returns::ended(world, &came).await, ReturnState::Completed);

    let rejected = returns::ask(world, &order, "rejected", 1).await;
    assert!(returns::reject(world, &rejected).await);
    assert_eq!(returns::ended(world, &rejected).await, ReturnState::Rejected);

    world.deadlines.return_ = Duration::from_secs(3);
    let expired = returns::ask(world, &order, "expired", 1).await;
    assert!(approve(world, &expired).await);
    assert_eq!(returns::ended(world, &expired).await, ReturnState::Expired);
    world.deadlines.return_ = Duration::from_secs(3_600);

    faults.set(Party::Carrier, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let silent = returns::ask(world, &order, "silent", 1).await;
    assert!(approve(world, &silent).await);
    open_item(world, "return_label_unanswered").await;
    faults.set(Party::Carrier, &Fault::lasting(FaultMode::None)).await.unwrap();
    returns::is(world, &silent, "labelled", |r| r.body.label.is_some()).await;
    receive(world, &silent, vec![unit(1, Condition::Restock)], true).await;
    assert_eq!(returns::ended(world, &silent).await, ReturnState::Completed);
    let of = |id: &ReturnId| return_workflow(id);
    vec![
        ("return-completed", of(&came)),
        ("return-rejected", of(&rejected)),
        ("return-expired", of(&expired)),
        ("return-label-unanswered", of(&silent)),
    ]
}

/// A parcel that left although its order was cancelled.
async fn aftermath(world: &World) -> (&'static str, String) {
    let order: OrderId = world.place("left", "pm_card_visa", &[("mug", 1)]).await;
    booked(world, &order).await;
    world.cancel(&order).await.unwrap();
    world.ends(&order).await;
    let start = AftermathStart {
        order_id: order.clone(),
        scan: report(&order, 1, ScanType::Shipped).scan,
        location: Location::parse("berlin").unwrap(),
        lines: vec![Quantity { sku: sku("mug"), quantity: 1 }],
        reported_at: now(),
        patience: world.patience,
    };
    let id = aftermath_workflow(&ShipmentId::of(&order, 1), "shipped-1");
    let options = WorkflowStartOptions::new(Queue::Orders.name(), id.clone()).build();
    let run = world.client.start_workflow(mark::Aftermath, start, options).await.unwrap();
    tokio::time::timeout(PATIENT, run.get_result(Default::default())).await.unwrap().unwrap();
    ("aftermath-departed", id)
}

/// A batch of messages; nobody else may send any.
async fn mailout(world: &mut World) -> (&'static str, String) {
    world.stop_workers().await;
    let messages = world.store.claim_messages("recorded", 3, now()).await.unwrap();
    assert_eq!(messages.len(), 3);
    let options = WorkflowStartOptions::new(Queue::Notifications.name(), mailout_workflow("recorded")).build();
    let start = MailoutStart { messages, patience: world.patience };
    let run = world.client.start_workflow(mark::Mailout, start, options).await.unwrap();
    world.start_workers(&Queue::ALL).await;
    tokio::time::timeout(PATIENT, run.get_result(Default::default())).await.unwrap().unwrap();
    ("mailout-sent", mailout_workflow("recorded"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_story_replays_as_it_was_lived() {
    let mut world = World::idle(Default::default()).await;
    let others: Vec<Queue> = Queue::ALL.into_iter().filter(|queue| *queue != Queue::Notifications).collect();
    world.start_workers(&others).await;
    world.deadlines.unanswered = Duration::from_secs(1);
    world.shelf("mug", "berlin", 100, 1999).await;
    let mut stories = refunds(&world).await;
    stories.extend(returned_goods(&mut world).await);
    stories.push(aftermath(&world).await);
    stories.push(mailout(&mut world).await);
    let report = compare(&world, Some("2026-03-01")).await;
    stories.push(("reconcile-finished", reconcile_workflow(&report.day)));
    let record = std::env::var_os("OMS_RECORD_HISTORIES").is_some();
    for (story, id) in stories {
        let history = download_history(&world.client, &id).await.unwrap();
        replay_named(story, &history).await.unwrap_or_else(|e| panic!("{story}: {e}"));
        if record {
            let shaped = story.starts_with("refund") || story.starts_with("return");
            let name = if shaped { format!("{story}.{STORY_SHAPE}.json") } else { format!("{story}.json") };
            std::fs::write(folder().join(name), anonymous(&history)).unwrap();
        }
    }
    world.end().await;
}

/// The same history of a run that was started with another input.
pub fn begun_otherwise(history: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(history).unwrap();
    let pointer = "/events/0/attributes/WorkflowExecutionStartedEventAttributes/input/payloads/0/data";
    let data = value.pointer_mut(pointer).unwrap();
    let mut input: Value = serde_json::from_slice(&STANDARD.decode(data.as_str().unwrap()).unwrap()).unwrap();
    change(&mut input);
    *data = STANDARD.encode(serde_json::to_vec(&input).unwrap()).into();
    serde_json::to_vec(&value).unwrap()
}

/// The same history of a run that was started before its input had a shape.
fn of_the_first_shape(history: &[u8]) -> Vec<u8> {
    begun_otherwise(history, |input| {
        assert_eq!(input.as_object_mut().unwrap().remove("shape"), Some(STORY_SHAPE.into()));
    })
}

/// As long as answers come, refunds and returns of the first shape decide as those of today do; without one they pause, as they did.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_shape_differs_only_without_an_answer() {
    for (name, same) in [
        ("refund-returned.1.json", true),
        ("refund-refused-closed.1.json", true),
        ("return-completed.1.json", true),
        ("return-rejected.1.json", true),
        ("return-expired.1.json", true),
        ("refund-unanswered-closed.1.json", false),
        ("return-label-unanswered.1.json", false),
    ] {
        let history = of_the_first_shape(&std::fs::read(folder().join(name)).unwrap());
        let replayed = replay_named(name, &history).await;
        assert_eq!(replayed.is_ok(), same, "{name}: {replayed:?}");
    }
}
