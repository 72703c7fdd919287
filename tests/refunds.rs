//! Refunds on a real engine, database and sandbox: whatever breaks, the money goes back once, and nothing closes owing any.

use std::time::Duration;

use oms_contract::command::Resolve;
use oms_contract::names::{Queue, refund_workflow};
use oms_contract::refund::Terms;
use oms_contract::workflow as mark;
use oms_domain::ids::OrderId;
use oms_domain::life::Why;
use oms_domain::order::Status;
use oms_domain::party::Party;
use oms_domain::payment::PaymentStatus;
use oms_domain::refund::{Ask, RefundId, RefundState};
use oms_domain::review::Resolution;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_gateways::faults::{Fault, FaultMode};
use oms_gateways::payment::{OperationKind, OperationResult, PaymentGateway, RefundRequest};
use oms_store::{ItemFilter, ItemState, NewRefund, REFUND_STUCK, RefundRequested, ReviewItem, StoredRefund};
use serde_json::json;

use crate::support::books;
use crate::support::http::{fresh, order_of};
use crate::support::stack::shared;
use crate::support::until;
use crate::support::world::{PATIENT, World, eur, now};

/// An order of two mugs that has reached its customer; its run has closed.
pub async fn delivered(world: &World, key: &str, method: &str, mugs: u32) -> OrderId {
    let id = world.place(key, method, &[("mug", mugs)]).await;
    until("a courier is booked", PATIENT, || async {
        let shipments = world.order(&id).await.life.shipments;
        (!shipments.is_empty() && shipments.iter().all(|s| s.status == ShipmentStatus::Booked)).then_some(())
    })
    .await;
    world.scan(&id, 1, ScanType::Shipped).await;
    world.scan(&id, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    world.reaches(&id, Status::Completed).await;
    id
}

pub async fn ask(world: &World, order: &OrderId, key: &str, ask: Ask) -> StoredRefund {
    let terms = Terms { deadlines: world.deadlines, patience: world.patience };
    let new = NewRefund {
        id: RefundId::from_key(order.as_str(), key),
        order_id: order.clone(),
        ask,
        reason: "broken".into(),
        actor: "tester".into(),
        terms: terms.keep(),
    };
    match world.store.request_refund(&new, now()).await.unwrap() {
        RefundRequested::Accepted(refund) => refund,
        other => panic!("{other:?}"),
    }
}

pub async fn refund_is(world: &World, id: &RefundId, state: RefundState) -> StoredRefund {
    until(&format!("refund {id} is {}", state.as_str()), PATIENT, || async {
        world.store.refund(id).await.unwrap().filter(|refund| refund.state == state)
    })
    .await
}

/// What the gateway returned of an order: how often, and how much.
pub async fn returned(world: &World, order: &OrderId) -> (usize, i64) {
    let payments = world.sandbox.payments.payments(Some(order)).await.unwrap();
    let refunds = payments.iter().flat_map(|p| &p.operations);
    let refunds: Vec<_> =
        refunds.filter(|o| o.kind == OperationKind::Refund && o.result == OperationResult::Ok).map(|o| o.amount.minor).collect();
    (refunds.len(), refunds.iter().sum())
}

async fn ended(world: &World, id: &RefundId) -> RefundState {
    until("the refund has its run", PATIENT, || async {
        world.store.unstarted_refunds(9).await.unwrap().is_empty().then_some(())
    })
    .await;
    let run = world.client.get_workflow_handle::<mark::Refund>(refund_workflow(id));
    tokio::time::timeout(PATIENT, run.get_result(Default::default())).await.unwrap().unwrap().state
}

pub async fn open_item(world: &World, kind: &str) -> ReviewItem {
    let filter = ItemFilter { kind: Some(kind.into()), state: Some(ItemState::Open), ..Default::default() };
    until(&format!("an item {kind} is open"), PATIENT, || async {
        world.store.review_items(&filter, None, 9).await.unwrap().pop()
    })
    .await
}

pub async fn timeline(world: &World, id: &OrderId) -> Vec<String> {
    world.store.timeline(id).await.unwrap().into_iter().map(|e| e.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_order_is_refunded() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = delivered(&world, "one", "pm_card_visa", 2).await;
    let total = world.order(&id).await.totals.total.minor;
    let first = ask(&world, &id, "line", Ask { lines: vec![of("mug", 1)], ..Ask::default() }).await;
    assert_eq!(first.amount, eur(2_379));
    let first = refund_is(&world, &first.id, RefundState::Returned).await;
    let rest = ask(&world, &id, "rest", Ask::default()).await;
    assert_eq!(ended(&world, &rest.id).await, RefundState::Returned);
    assert_eq!(returned(&world, &id).await, (2, total));
    let payment = world.order(&id).await.life.payment;
    assert_eq!((payment.refunded.minor, payment.status), (total, PaymentStatus::Refunded));
    assert_eq!(first.returned, first.amount);
    let told = timeline(&world, &id).await;
    for kind in ["refund.requested", "refund.completed"] {
        assert_eq!(told.iter().filter(|k| *k == kind).count(), 2, "{told:?}");
    }
    books::balanced(&world).await;
    world.end().await;
}

fn of(sku: &str, quantity: u32) -> oms_domain::stock::Quantity {
    oms_domain::stock::Quantity { sku: crate::support::world::sku(sku), quantity }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_outages_and_crashes_return_it_once() {
    let mut world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = delivered(&world, "one", "pm_card_visa", 1).await;
    let total = world.order(&id).await.totals.total.minor;
    let faults = world.sandbox.faults.clone();
    faults.set(Party::Payment, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
    let refund = ask(&world, &id, "all", Ask::default()).await;
    until("the gateway has returned it", PATIENT, || async { (returned(&world, &id).await.0 == 1).then_some(()) }).await;
    faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    world.stop_workers().await;
    world.start_workers(&Queue::ALL).await;
    assert!(!world.store.refund(&refund.id).await.unwrap().unwrap().state.is_settled(), "nobody can know yet");
    faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    assert_eq!(ended(&world, &refund.id).await, RefundState::Returned);
    assert_eq!(returned(&world, &id).await, (1, total));
    assert_eq!(world.order(&id).await.life.payment.refunded.minor, total);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_refund_waits_for_a_person() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = delivered(&world, "one", "pm_card_visa", 1).await;
    let total = world.order(&id).await.totals.total;
    // somebody returns the money by hand, so the gateway refuses to do it again
    let payment = world.sandbox.payments.payments(Some(&id)).await.unwrap().remove(0);
    let by_hand = RefundRequest { key: "by-hand".into(), payment_id: payment.payment_id, amount: total, now: now() };
    world.sandbox.payments.refund(by_hand).await.unwrap();
    let refund = ask(&world, &id, "all", Ask::default()).await;
    let run = world.client.get_workflow_handle::<mark::Refund>(refund_workflow(&refund.id));
    let resolve = async |item: &str, action, reference: Option<&str>| {
        let command = Resolve {
            item: item.into(),
            action,
            reference: reference.map(str::to_owned),
            reason: Why::parse("looked at it").unwrap(),
            actor: Some("tester".into()),
        };
        run.execute_update(mark::ResolveRefundUpdate, command, Default::default()).await
    };
    let first = open_item(&world, "refund_refused").await;
    assert_eq!((first.subject.as_str(), first.order_id.as_ref()), (refund.id.as_str(), Some(&id)));
    assert_eq!(refund_is(&world, &refund.id, RefundState::Refused).await.code.as_deref(), Some("amount_exceeds_captured"));
    assert!(resolve("another-item", Resolution::Retry, None).await.is_err());
    assert!(resolve(&first.id, Resolution::Cancel, None).await.is_err());
    resolve(&first.id, Resolution::Retry, None).await.unwrap();
    let second = until("the gateway refused again", PATIENT, || async {
        Some(open_item(&world, "refund_refused").await).filter(|item| item.id != first.id)
    })
    .await;
    assert!(resolve(&second.id, Resolution::UseExternalReference, None).await.is_err(), "a reference is needed");
    resolve(&second.id, Resolution::UseExternalReference, Some("bank-7")).await.unwrap();
    assert_eq!(ended(&world, &refund.id).await, RefundState::Closed);
    let closed = refund_is(&world, &refund.id, RefundState::Closed).await;
    assert_eq!((closed.reference.as_deref(), closed.revision), (Some("bank-7"), 2));
    assert_eq!(world.order(&id).await.life.payment.refunded, total);
    assert_eq!(returned(&world, &id).await, (1, total.minor), "only by hand");
    let told = timeline(&world, &id).await;
    assert_eq!(told.iter().filter(|k| *k == "refund.refused").count(), 2, "{told:?}");
    assert!(told.contains(&"refund.closed".to_owned()));
    world.end().await;
}

async fn resolve(world: &World, refund: &RefundId, item: &str, action: Resolution, reference: Option<&str>) {
    let command = Resolve {
        item: item.into(),
        action,
        reference: reference.map(str::to_owned),
        reason: Why::parse("looked at it").unwrap(),
        actor: Some("tester".into()),
    };
    let run = world.client.get_workflow_handle::<mark::Refund>(refund_workflow(refund));
    run.execute_update(mark::ResolveRefundUpdate, command, Default::default()).await.unwrap();
}

/// A world whose refunds and returns call a person after a second without an answer.
pub async fn impatient() -> World {
    let mut world = World::new().await;
    world.deadlines.unanswered = Duration::from_secs(1);
    world.shelf("mug", "berlin", 10, 1999).await;
    world
}

pub async fn item_is(world: &World, item: &str, state: ItemState) -> ReviewItem {
    until(&format!("item {item} is {}", state.as_str()), PATIENT, || async {
        world.store.review_item(item).await.unwrap().filter(|item| item.state == state)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_called_about_a_refund_without_an_answer() {
    let world = impatient().await;
    let id = delivered(&world, "one", "pm_card_visa", 1).await;
    let total = world.order(&id).await.totals.total;
    let faults = world.sandbox.faults.clone();
    let broken = Fault { operation: Some("refund".into()), ..Fault::lasting(FaultMode::Error) };
    faults.set(Party::Payment, &broken).await.unwrap();
    let refund = ask(&world, &id, "all", Ask::default()).await;
    let item = open_item(&world, "refund_unanswered").await;
    assert_eq!((item.subject.as_str(), item.order_id.as_ref()), (refund.id.as_str(), Some(&id)));
    assert!(item.detail.contains(&total.to_string()) && item.detail.contains("the outside party does not answer"), "{item:?}");
    assert!(world.order(&id).await.items_open, "the order needs attention");
    // trying again now leads to the same question once more, for it is still broken
    resolve(&world, &refund.id, &item.id, Resolution::Retry, None).await;
    item_is(&world, &item.id, ItemState::Resolved).await;
    let second = until("a person is called again", PATIENT, || async {
        Some(open_item(&world, "refund_unanswered").await).filter(|other| other.id != item.id)
    })
    .await;
    assert!(!world.store.refund(&refund.id).await.unwrap().unwrap().state.is_settled());
    faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    assert_eq!(ended(&world, &refund.id).await, RefundState::Returned);
    item_is(&world, &second.id, ItemState::Settled).await;
    assert!(!world.order(&id).await.items_open);
    assert_eq!(returned(&world, &id).await, (1, total.minor));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_without_an_answer_is_settled_outside() {
    let world = impatient().await;
    let id = delivered(&world, "one", "pm_card_visa", 1).await;
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let refund = ask(&world, &id, "all", Ask::default()).await;
    let item = open_item(&world, "refund_unanswered").await;
    resolve(&world, &refund.id, &item.id, Resolution::UseExternalReference, Some("bank-7")).await;
    assert_eq!(ended(&world, &refund.id).await, RefundState::Closed);
    item_is(&world, &item.id, ItemState::Resolved).await;
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    let closed = refund_is(&world, &refund.id, RefundState::Closed).await;
    assert_eq!(closed.reference.as_deref(), Some("bank-7"));
    assert_eq!(returned(&world, &id).await, (0, 0), "nothing fires late");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_refund_returns_nothing_twice() {
    use temporalio_client::NamespacedClient;
    use temporalio_client::grpc::WorkflowService;
    use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
    use temporalio_common::protos::temporal::api::workflowservice::v1::ResetWorkflowExecutionRequest;
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = delivered(&world, "one", "pm_card_visa", 1).await;
    let refund = ask(&world, &id, "some", Ask { amount: Some(eur(500)), ..Ask::default() }).await;
    assert_eq!(ended(&world, &refund.id).await, RefundState::Returned);
    let facts = timeline(&world, &id).await;
    let request = ResetWorkflowExecutionRequest {
        namespace: world.client.namespace(),
        workflow_execution: Some(WorkflowExecution { workflow_id: refund_workflow(&refund.id), run_id: String::new() }),
        reason: "test".into(),
        workflow_task_finish_event_id: 4,
        request_id: crate::support::world::uuid(),
        ..Default::default()
    };
    world.client.clone().reset_workflow_execution(tonic::Request::new(request)).await.unwrap();
    assert_eq!(ended(&world, &refund.id).await, RefundState::Returned);
    assert_eq!(returned(&world, &id).await, (1, 500));
    assert_eq!(world.order(&id).await.life.payment.refunded, eur(500));
    assert_eq!(timeline(&world, &id).await, facts);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_whose_run_was_ended_by_hand_returns_the_money_once() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = delivered(&world, "one", "pm_card_visa", 1).await;
    let total = world.order(&id).await.totals.total.minor;
    let faults = world.sandbox.faults.clone();
    faults.set(Party::Payment, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
    let refund = ask(&world, &id, "all", Ask::default()).await;
    until("the gateway has returned it", PATIENT, || async { (returned(&world, &id).await.0 == 1).then_some(()) }).await;
    let run = world.client.get_workflow_handle::<mark::Refund>(refund_workflow(&refund.id));
    run.terminate(Default::default()).await.unwrap();
    faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    assert!(!world.store.refund(&refund.id).await.unwrap().unwrap().state.is_settled(), "nobody can know yet");
    refund_is(&world, &refund.id, RefundState::Returned).await;
    assert_eq!(ended(&world, &refund.id).await, RefundState::Returned);
    assert_eq!(returned(&world, &id).await, (1, total));
    until("nobody looks at it any more", PATIENT, || async {
        // asking the store would count as a look
        let open = "SELECT COUNT(*) FROM refunds WHERE looked_at IS NOT NULL AND id = $1";
        (world.sql().await.number(open, refund.id.as_str()).await == 0).then_some(())
    })
    .await;
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_whose_run_cannot_go_on_is_a_person_s() {
    use temporalio_client::{UntypedWorkflow, WorkflowIdReusePolicy, WorkflowStartOptions};
    use temporalio_common::data_converters::RawValue;
    use temporalio_common::protos::temporal::api::common::v1::Payload;
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = delivered(&world, "one", "pm_card_visa", 1).await;
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let refund = ask(&world, &id, "all", Ask::default()).await;
    let run = world.client.get_workflow_handle::<mark::Refund>(refund_workflow(&refund.id));
    until("it has its run", PATIENT, || async { run.describe(Default::default()).await.ok().map(|_| ()) }).await;
    run.terminate(Default::default()).await.unwrap();
    // a run under its id whose input no version of ours could read
    let options = WorkflowStartOptions::new(Queue::Orders.name(), refund_workflow(&refund.id))
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .build();
    let garbage = Payload {
        metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
        data: b"\"no refund\"".to_vec(),
        ..Default::default()
    };
    world.client.start_workflow(UntypedWorkflow::new("Refund"), RawValue::new(vec![garbage]), options).await.unwrap();
    let item = open_item(&world, REFUND_STUCK).await;
    assert_eq!((item.subject.as_str(), item.order_id.as_ref()), (refund.id.as_str(), Some(&id)));
    world.end().await;
}

#[tokio::test]
async fn shops_ask_over_http() {
    let http = shared().await.http();
    let sku = fresh("BACK");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order_of("pm_card_visa", &[(&sku, 2)])).await;
    let path = format!("/v1/orders/{id}/refunds");
    let early = http.post(&path, &json!({"reason": "broken"})).await;
    early.refuses(409, "refund_exceeds_captured", None);
    assert_eq!(early.body["refundable"]["amount"], 0);
    http.booked(&id).await;
    http.move_on(&id, &["shipped", "delivered"]).await;
    http.reaches(&id, "completed").await;
    let (key, body) = (fresh("key"), json!({"lines": [{"sku": sku, "quantity": 1}], "reason": "broken"}));
    let send = async || {
        let request = http.request(reqwest::Method::POST, &path).header("Idempotency-Key", &key).header("Prefer", "wait=20");
        http.send(request.json(&body)).await.is(201)
    };
    let first = send().await;
    assert_eq!((first.text_at("/state"), first.body["amount"]["amount"].as_i64()), ("returned", Some(1_190)));
    let again = send().await;
    assert_eq!((again.text_at("/id"), again.header("idempotency-replayed")), (first.text_at("/id"), "true"));
    let read = http.get(first.header("location")).await.is(200);
    assert_eq!(read.body, first.body);
    let over = json!({"amount": {"amount": 1_774, "currency": "EUR"}, "reason": "more"});
    let over = http.post(&path, &over).await;
    over.refuses(409, "refund_exceeds_captured", None);
    assert_eq!(over.body["refundable"]["amount"], 1_773);
    let all = http.post(&path, &json!({"reason": "the rest"})).await.is(201);
    assert_eq!(all.body["amount"]["amount"], 1_773);
    let order = http.order_where(&id, "refunded", |order| order["payment"]["status"] == "refunded").await;
    assert_eq!(order["totals"]["refunded"]["amount"], order["totals"]["total"]["amount"]);
    assert_eq!(http.get(&path).await.is(200).body["data"].as_array().unwrap().len(), 2);
    tokio::time::timeout(Duration::from_secs(5), http.get("/v1/refunds/nobody-knows")).await.unwrap().refuses(
        404,
        "not_found",
        None,
    );
}
