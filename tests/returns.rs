//! Returns on a real engine, database and sandbox: from the wish to shelf and refund.

use std::time::Duration;

use oms_contract::command::Resolve;
use oms_contract::names::{Queue, return_workflow};
use oms_contract::refund::Terms;
use oms_contract::returning::{ApproveReturn, ReceiveReturn, RejectReturn};
use oms_contract::workflow as mark;
use oms_domain::ids::{Location, OrderId};
use oms_domain::life::Why;
use oms_domain::party::Party;
use oms_domain::refund::{RefundId, RefundState};
use oms_domain::returning::{Condition, Inspected, ReturnId, ReturnState};
use oms_domain::review::Resolution;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_domain::stock::Quantity;
use oms_gateways::carrier::BookingStatus;
use oms_gateways::faults::{Fault, FaultMode};
use oms_store::{ItemFilter, ItemState, NewReturn, ReturnRequested, StoredReturn};
use temporalio_client::{Client, WorkflowHandle};

use crate::pay_page::mail_that_says;
use crate::refunds::{delivered, impatient, item_is, open_item, refund_is, returned, timeline};
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
        arrived: false,
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

pub async fn reject(world: &World, id: &ReturnId) -> bool {
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
    let labelled = is(&world, &id, "labelled", |r| r.body.label.is_some()).await;
    let mail = mail_that_says(&world, "You can send the goods back").await;
    let by = labelled.body.until.unwrap().format("%H:%M UTC").to_string();
    assert!(mail.contains(&format!("/v1/returns/{id}/label")) && mail.contains(&by), "{mail}");
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
async fn goods_that_come_back_before_their_money_is_taken_are_paid_back_afterwards() {
    let mut world = World::new().await;
    world.deadlines.capture_retry = Duration::from_secs(1);
    world.shelf("mug", "berlin", 10, 1999).await;
    let order = world.place("held", "pm_card_visa", &[("mug", 2)]).await;
    until("the courier is booked", PATIENT, || async {
        let life = world.order(&order).await.life;
        life.shipments.iter().any(|s| s.status == ShipmentStatus::Booked).then_some(())
    })
    .await;
    let hold = world.hold(&order, None).await;
    world.scan(&order, 1, ScanType::Shipped).await;
    world.scan(&order, 1, ScanType::Delivered).await;
    let id = ask(&world, &order, "early", 2).await;
    assert!(approve(&world, &id).await);
    receive(&world, &id, vec![unit(2, Condition::Restock)], true).await;
    until("the goods are on the shelf", PATIENT, || async {
        (world.store.stock(&sku("mug"), now()).await.unwrap().unwrap().on_hand == 10).then_some(())
    })
    .await;
    assert_eq!(world.store.refunds(&order).await.unwrap().len(), 0, "nothing was taken yet");
    world.release(&order, &hold).await;
    assert_eq!(ended(&world, &id).await, ReturnState::Completed);
    let refund = refund_is(&world, &RefundId::from_key(id.as_str(), "1"), RefundState::Returned).await;
    assert_eq!(returned(&world, &order).await, (1, refund.amount.minor));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_called_about_a_return_without_an_answer() {
    let mut world = impatient().await;
    let order = delivered(&world, "one", "pm_card_visa", 2).await;
    let faults = world.sandbox.faults.clone();
    faults.set(Party::Carrier, &Fault::lasting(FaultMode::Error)).await.unwrap();
    let id = ask(&world, &order, "r", 1).await;
    let other = ask(&world, &order, "other", 1).await;
    assert!(approve(&world, &id).await && approve(&world, &other).await);
    let called = async |about: &ReturnId| {
        until(&format!("a person is called about {about}"), PATIENT, || async {
            let filter = ItemFilter { state: Some(ItemState::Open), ..Default::default() };
            let items = world.store.review_items(&filter, None, 9).await.unwrap();
            items.into_iter().find(|item| item.subject == about.as_str())
        })
        .await
    };
    let (item, label) = (called(&id).await, called(&other).await);
    assert_eq!((item.kind.as_str(), label.kind.as_str()), ("return_label_unanswered", "return_label_unanswered"));
    // one gets a label of another carrier's, the other one gets its own once the carrier answers
    let command = Resolve {
        item: label.id.clone(),
        action: Resolution::UseExternalReference,
        reference: Some("OTHER-7".into()),
        reason: Why::parse("by another carrier").unwrap(),
        actor: Some("tester".into()),
    };
    run(&world, &other).execute_update(mark::ResolveReturnUpdate, command, Default::default()).await.unwrap();
    let named = is(&world, &other, "labelled", |r| r.body.label.is_some()).await;
    assert_eq!(named.body.label.unwrap().tracking_number, "OTHER-7");
    item_is(&world, &label.id, ItemState::Resolved).await;
    faults.set(Party::Carrier, &Fault::lasting(FaultMode::None)).await.unwrap();
    is(&world, &id, "labelled", |r| r.body.label.is_some()).await;
    item_is(&world, &item.id, ItemState::Settled).await;
    // nobody works on the shelf
    world.stop_workers().await;
    let others: Vec<Queue> = Queue::ALL.into_iter().filter(|queue| *queue != Queue::Inventory).collect();
    world.start_workers(&others).await;
    receive(&world, &id, vec![unit(1, Condition::Restock)], true).await;
    let item = open_item(&world, "return_unanswered").await;
    assert!(item.subject == id.as_str() && item.detail.contains("nobody answered in time"), "{item:?}");
    world.stop_workers().await;
    world.start_workers(&Queue::ALL).await;
    assert_eq!(ended(&world, &id).await, ReturnState::Completed);
    item_is(&world, &item.id, ItemState::Settled).await;
    assert_eq!(world.store.stock(&sku("mug"), now()).await.unwrap().unwrap().on_hand, 9);
    // what another carrier brings back was not booked with ours, or is called off
    receive(&world, &other, vec![unit(1, Condition::Restock)], true).await;
    assert_eq!(ended(&world, &other).await, ReturnState::Completed);
    let bookings = world.sandbox.carrier.bookings().await.unwrap();
    assert!(bookings.iter().all(|b| b.shipment_id.as_str() != other.as_str() || b.status == BookingStatus::Cancelled));
    refund_is(&world, &RefundId::from_key(other.as_str(), "1"), RefundState::Returned).await;
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
    assert!(approved.text_at("/until") > approved.text_at("/requested_at"), "{}", approved.text);
    assert_eq!((&approved.body["refunds"], &approved.body["refunded_at"]), (&json!([]), &json!(null)));
    // the parcel goes from the customer to the shop, and is none of the order's shipments
    let printed = format!("{back}/label");
    let label = until("the parcel has its label", PATIENT, || async {
        Some(http.get(&printed).await).filter(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(label.header("content-type"), "image/svg+xml");
    let (sender, addressee) = label.text.split_once(">To<").unwrap();
    assert!(sender.contains("From Ada Example") && addressee.contains("Returns, berlin"), "{}", label.text);
    http.get(&format!("/v1/shipments/{one}/label")).await.refuses(404, "not_found", None);
    http.get("/v1/returns/nobody-knows/label").await.refuses(404, "not_found", None);
    http.post(&format!("{back}/reject"), &json!({"reason": "no"})).await.refuses(409, "not_allowed_now", None);
    let received = http.post(&format!("{back}/receive"), &receipt).await.is(200);
    assert_eq!(received.text_at("/state"), "completed");
    http.post(&format!("{back}/receive"), &receipt).await.refuses(409, "not_allowed_now", None);
    http.order_where(&id, "refunded", |order| order["totals"]["refunded"]["amount"] == 2_380).await;
    assert_eq!(http.stock(&sku).await, (5, 0, 5));
    let paid = until("the return shows its refund", PATIENT, || async {
        Some(http.get(&back).await.is(200)).filter(|answer| !answer.body["refunded_at"].is_null())
    })
    .await;
    let refund = http.get(&format!("/v1/refunds/{}", paid.text_at("/refunds/0"))).await.is(200);
    assert_eq!((refund.text_at("/state"), paid.body["refunds"].as_array().unwrap().len()), ("returned", 1));
    let listed = http.get("/v1/returns?state=completed&limit=100").await.is(200).body;
    assert!(listed["data"].as_array().unwrap().iter().any(|r| r["id"] == one.as_str()));
    assert_eq!(http.get(&path).await.is(200).body["data"].as_array().unwrap().len(), 1);
    http.get("/v1/returns?state=lost").await.refuses(422, "validation_failed", Some("state"));
}

#[tokio::test]
async fn a_parcel_that_came_back_is_inspected_like_a_return() {
    let http = shared().await.http();
    let sku = fresh("BACK");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order_of("pm_card_visa", &[(&sku, 2)])).await;
    http.booked(&id).await;
    http.move_on(&id, &["shipped", "returned_to_sender"]).await;
    let items = format!("/v1/review-items?order={id}&kind=returned_to_sender");
    let item = until("a person is called", PATIENT, || async {
        http.get(&items).await.is(200).body["data"].as_array().unwrap().first().cloned()
    })
    .await;
    assert!(item["resolutions"].as_array().unwrap().contains(&json!("open_return")), "{item}");
    let item = format!("/v1/review-items/{}", item["id"].as_str().unwrap());
    let wish = json!({"action": "open_return", "reason": "it lies on the dock"});
    let named = json!({"action": "open_return", "reason": "it lies on the dock", "reference": "mine"});
    http.post(&format!("{item}/resolve"), &named).await.refuses(422, "validation_failed", Some("/reference"));
    let key = fresh("key");
    let send = async || {
        let request = http.request(reqwest::Method::POST, &format!("{item}/resolve")).header("Idempotency-Key", &key);
        http.send(request.json(&wish)).await.is(200)
    };
    send().await;
    assert_eq!(send().await.header("idempotency-replayed"), "true");
    http.post(&format!("{item}/resolve"), &wish).await.refuses(409, "already_resolved", None);
    let resolved = http.get(&item).await.is(200);
    assert_eq!((resolved.text_at("/state"), resolved.text_at("/action")), ("resolved", "use_external_reference"));
    let back = format!("/v1/returns/{}", resolved.text_at("/reference"));
    assert_eq!(http.get(&format!("/v1/orders/{id}/returns")).await.is(200).body["data"].as_array().unwrap().len(), 1);
    let open = until("the return is approved", PATIENT, || async {
        Some(http.get(&back).await.is(200)).filter(|answer| answer.text_at("/state") == "approved")
    })
    .await;
    assert_eq!((&open.body["arrived"], &open.body["lines"][0]["quantity"]), (&json!(true), &json!(2)));
    http.get(&format!("{back}/label")).await.refuses(404, "no_label", None);
    // one is sold again, the other is thrown away; both are paid back
    let units = json!([
        {"sku": sku, "quantity": 1, "condition": "restock", "location": "berlin"},
        {"sku": sku, "quantity": 1, "condition": "scrap"},
    ]);
    let received = http.post(&format!("{back}/receive"), &json!({"units": units})).await.is(200);
    assert_eq!(received.text_at("/state"), "completed");
    http.order_where(&id, "refunded", |order| order["totals"]["refunded"]["amount"] == 2_380).await;
    until("it is back on the shelf", PATIENT, || async { (http.stock(&sku).await == (4, 0, 4)).then_some(()) }).await;
    http.reaches(&id, "returned").await;
    // nothing of it comes back twice
    let again = json!({"lines": [{"sku": sku, "quantity": 1}], "reason": "too small"});
    http.post(&format!("/v1/orders/{id}/returns"), &again).await.refuses(409, "return_exceeds_delivered", None);
}
