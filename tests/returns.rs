//! Returns on a real engine, database and sandbox: from the wish to shelf and refund.

use std::time::Duration;

use oms_contract::names::{Queue, return_workflow};
use oms_contract::refund::Terms;
use oms_contract::returning::{ApproveReturn, ReceiveReturn, RejectReturn};
use oms_contract::workflow as mark;
use oms_domain::ids::{Location, OrderId};
use oms_domain::life::Why;
use oms_domain::refund::{RefundId, RefundState};
use oms_domain::returning::{Condition, Inspected, ReturnId, ReturnState};
use oms_domain::stock::Quantity;
use oms_gateways::carrier::BookingStatus;
use oms_gateways::faults::{Fault, FaultMode, Party};
use oms_store::{NewReturn, ReturnRequested, StoredReturn};
use temporalio_client::{Client, WorkflowHandle};

use crate::refunds::{delivered, refund_is, returned, timeline};
use crate::support::books;
use crate::support::http::{fresh, order_of};
use crate::support::stack::shared;
use crate::support::until;
use crate::support::world::{PATIENT, World, now, sku};
use serde_json::json;

pub async fn ask(world: &World, order: &OrderId, key: &str, mugs: u32) -> ReturnId {
    let terms = Terms { deadlines: world.deadlines, patience: world.patience };
    let new = NewReturn {
        id: ReturnId::from_key(order, key),
        order_id: order.clone(),
        lines: vec![Quantity { sku: sku("mug"), quantity: mugs }],
        refund_shipping: false,
        auto_approve: false,
        reason: "too small".into(),
        actor: "tester".into(),
        terms: terms.keep(),
    };
    let asked = world.store.request_return(&new, world.now()).await.unwrap();
    assert!(matches!(asked, ReturnRequested::Accepted(_)), "{asked:?}");
    until("the return has its run", PATIENT, || async {
        world.store.return_(&new.id).await.unwrap().filter(|r| r.rev > 0).map(|_| ())
    })
    .await;
    new.id
}

fn run(world: &World, id: &ReturnId) -> WorkflowHandle<Client, mark::Return> {
    world.client.get_workflow_handle::<mark::Return>(return_workflow(id))
}

pub async fn approve(world: &World, id: &ReturnId) -> bool {
    let command = ApproveReturn { reason: None, actor: Some("clerk".into()) };
    run(world, id).execute_update(mark::ApproveReturnUpdate, command, Default::default()).await.is_ok()
}

async fn reject(world: &World, id: &ReturnId) -> bool {
    let command = RejectReturn { reason: Why::parse("worn").unwrap(), actor: Some("clerk".into()) };
    run(world, id).execute_update(mark::RejectReturnUpdate, command, Default::default()).await.is_ok()
}

pub fn unit(quantity: u32, condition: Condition) -> Inspected {
    Inspected { sku: sku("mug"), quantity, condition, location: Some(Location::parse("berlin").unwrap()) }
}

pub async fn receive(world: &World, id: &ReturnId, units: Vec<Inspected>, complete: bool) {
    let command = ReceiveReturn { units, complete, reason: None, actor: Some("clerk".into()) };
    run(world, id).execute_update(mark::ReceiveReturnUpdate, command, Default::default()).await.unwrap();
}

pub async fn is(world: &World, id: &ReturnId, what: &str, holds: impl Fn(&StoredReturn) -> bool) -> StoredReturn {
    until(&format!("return {id} is {what}"), PATIENT, || async {
        world.store.return_(id).await.unwrap().filter(|stored| holds(stored))
    })
    .await
}

pub async fn ended(world: &World, id: &ReturnId) -> ReturnState {
    tokio::time::timeout(PATIENT, run(world, id).get_result(Default::default())).await.unwrap().unwrap().state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_whose_run_was_ended_by_hand_goes_on_with_what_it_knew() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let order = delivered(&world, "one", "pm_card_visa", 2).await;
    let id = ask(&world, &order, "r", 2).await;
    assert!(approve(&world, &id).await);
    is(&world, &id, "labelled", |r| r.body.label.is_some()).await;
    run(&world, &id).terminate(Default::default()).await.unwrap();
    until("it has an open run again", PATIENT, || async {
        use temporalio_client::WorkflowExecutionStatus::Running;
        let run = run(&world, &id).describe(Default::default()).await.unwrap();
        (run.status() == Running).then_some(())
    })
    .await;
    receive(&world, &id, vec![unit(2, Condition::Restock)], true).await;
    assert_eq!(ended(&world, &id).await, ReturnState::Completed);
    let refund = refund_is(&world, &RefundId::from_key(id.as_str(), "1"), RefundState::Returned).await;
    assert_eq!(returned(&world, &order).await, (1, refund.amount.minor));
    assert_eq!(world.store.stock(&sku("mug"), now()).await.unwrap().unwrap().on_hand, 10);
    let back = world.sandbox.carrier.bookings().await.unwrap();
    assert_eq!(back.iter().filter(|b| b.shipment_id.as_str() == id.as_str()).count(), 1, "one parcel");
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goods_come_back_to_the_shelf_and_money_to_the_customer() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let order = delivered(&world, "one", "pm_card_visa", 4).await;
    let id = ask(&world, &order, "r", 4).await;
    assert!(approve(&world, &id).await);
    is(&world, &id, "labelled", |r| r.body.label.is_some()).await;
    receive(&world, &id, vec![unit(1, Condition::Restock), unit(1, Condition::Scrap)], false).await;
    is(&world, &id, "partly received", |r| r.body.state == ReturnState::Received).await;
    receive(&world, &id, vec![unit(1, Condition::Rejected)], true).await;
    assert_eq!(ended(&world, &id).await, ReturnState::Completed);
    let refund = refund_is(&world, &RefundId::from_key(id.as_str(), "1"), RefundState::Returned).await;
    // two mugs with their tax; the shipping fee stays
    assert_eq!(refund.amount.minor, 4_757);
    assert_eq!(returned(&world, &order).await, (1, 4_757));
    assert_eq!(world.store.refunds(&order).await.unwrap().len(), 1, "what is not taken back is not paid back");
    let level = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.available), (7, 7));
    let bookings = world.sandbox.carrier.bookings().await.unwrap();
    let back: Vec<_> = bookings.iter().filter(|b| b.shipment_id.as_str() == id.as_str()).map(|b| b.status).collect();
    assert_eq!(back, [BookingStatus::Booked]);
    let told = timeline(&world, &order).await;
    for kind in ["return.requested", "return.approved", "return.labelled", "return.received", "return.completed"] {
        assert!(told.iter().any(|k| k == kind), "{kind}: {told:?}");
    }
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_admins_one_decides() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let order = delivered(&world, "one", "pm_card_visa", 8).await;
    for round in 0..8 {
        let id = ask(&world, &order, &format!("r-{round}"), 1).await;
        let (yes, no) = tokio::join!(approve(&world, &id), reject(&world, &id));
        assert!(yes != no, "round {round}: {yes} {no}");
        let state = if yes { ReturnState::Approved } else { ReturnState::Rejected };
        is(&world, &id, "decided", |r| r.body.state == state).await;
        if no {
            assert_eq!(ended(&world, &id).await, ReturnState::Rejected);
            assert!(!approve(&world, &id).await);
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_comes_expires_and_its_label_is_called_off() {
    let mut world = World::new().await;
    world.deadlines.return_ = Duration::from_secs(4);
    world.shelf("mug", "berlin", 10, 1999).await;
    let order = delivered(&world, "one", "pm_card_visa", 2).await;
    let id = ask(&world, &order, "r", 1).await;
    assert!(approve(&world, &id).await);
    is(&world, &id, "labelled", |r| r.body.label.is_some()).await;
    assert_eq!(ended(&world, &id).await, ReturnState::Expired);
    let bookings = world.sandbox.carrier.bookings().await.unwrap();
    let back: Vec<_> = bookings.iter().filter(|b| b.shipment_id.as_str() == id.as_str()).map(|b| b.status).collect();
    assert_eq!(back, [BookingStatus::Cancelled]);
    assert!(world.store.refunds(&order).await.unwrap().is_empty());
    // the units may be returned another time, and a request that nobody decides ends too
    let other = ask(&world, &order, "again", 2).await;
    assert_eq!(ended(&world, &other).await, ReturnState::Expired);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_and_outages_lose_nothing() {
    let mut world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let order = delivered(&world, "one", "pm_card_visa", 2).await;
    let faults = world.sandbox.faults.clone();
    faults.set(Party::Carrier, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
    let id = ask(&world, &order, "r", 2).await;
    assert!(approve(&world, &id).await);
    until("the carrier has a booking", PATIENT, || async {
        let bookings = world.sandbox.carrier.bookings().await.unwrap();
        bookings.iter().any(|b| b.shipment_id.as_str() == id.as_str()).then_some(())
    })
    .await;
    world.stop_workers().await;
    faults.set(Party::Carrier, &Fault::lasting(FaultMode::None)).await.unwrap();
    faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    world.start_workers(&Queue::ALL).await;
    is(&world, &id, "labelled", |r| r.body.label.is_some()).await;
    receive(&world, &id, vec![unit(2, Condition::Restock)], false).await;
    world.stop_workers().await;
    world.start_workers(&Queue::ALL).await;
    assert_eq!(ended(&world, &id).await, ReturnState::Completed);
    faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    refund_is(&world, &RefundId::from_key(id.as_str(), "1"), RefundState::Returned).await;
    assert_eq!(returned(&world, &order).await, (1, 4_758));
    let level = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    assert_eq!(level.on_hand, 10);
    let bookings = world.sandbox.carrier.bookings().await.unwrap();
    assert_eq!(bookings.iter().filter(|b| b.shipment_id.as_str() == id.as_str()).count(), 1);
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test]
async fn shops_steer_returns_over_http() {
    let http = shared().await.http();
    let sku = fresh("HOME");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order_of("pm_card_visa", &[(&sku, 2)])).await;
    let (path, wish) =
        (format!("/v1/orders/{id}/returns"), json!({"lines": [{"sku": sku, "quantity": 2}], "reason": "too small"}));
    http.post(&path, &wish).await.refuses(409, "return_exceeds_delivered", None);
    http.booked(&id).await;
    http.move_on(&id, &["shipped", "delivered"]).await;
    http.reaches(&id, "completed").await;
    let asked = http.post(&path, &wish).await.is(201);
    let (back, one) = (asked.header("location").to_owned(), asked.text_at("/id").to_owned());
    http.post(&path, &wish).await.refuses(409, "return_exceeds_delivered", None);
    let receipt = json!({"units": [{"sku": sku, "quantity": 2, "condition": "restock", "location": "berlin"}]});
    http.post(&format!("{back}/receive"), &receipt).await.refuses(409, "not_allowed_now", None);
    let approved = http.post(&format!("{back}/approve"), &json!({})).await.is(200);
    assert_eq!(approved.text_at("/state"), "approved");
    http.post(&format!("{back}/reject"), &json!({"reason": "no"})).await.refuses(409, "not_allowed_now", None);
    let received = http.post(&format!("{back}/receive"), &receipt).await.is(200);
    assert_eq!(received.text_at("/state"), "completed");
    http.post(&format!("{back}/receive"), &receipt).await.refuses(409, "not_allowed_now", None);
    http.order_where(&id, "refunded", |order| order["totals"]["refunded"]["amount"] == 2_380).await;
    assert_eq!(http.stock(&sku).await, (5, 0, 5));
    let listed = http.get("/v1/returns?state=completed&limit=100").await.is(200).body;
    assert!(listed["data"].as_array().unwrap().iter().any(|r| r["id"] == one.as_str()));
    assert_eq!(http.get(&path).await.is(200).body["data"].as_array().unwrap().len(), 1);
    http.get("/v1/returns?state=lost").await.refuses(422, "validation_failed", Some("state"));
}
