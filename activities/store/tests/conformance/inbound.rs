//! What others report: kept once, claimed by one, settled once, given up with a review item.

use oms_domain::Instant;
use oms_domain::review::UNROUTED_REPORT;
use oms_domain::shipment::ShipmentStatus;
use oms_store::*;

use crate::world::*;

on_both!(
    a_report_is_kept_once,
    what_is_due_is_claimed_by_one,
    what_is_settled_stays_so,
    what_never_appears_is_given_up_once,
    old_reports_go_and_open_ones_stay,
    payments_and_packages_lead_to_their_orders,
);

fn report(event: &str, due_at: Option<Instant>) -> NewInbound {
    NewInbound {
        source: "payment".to_owned(),
        event_id: event.to_owned(),
        kind: "payment_intent.canceled".to_owned(),
        body: format!("{{\"id\": \"{event}\"}}"),
        due_at,
    }
}

async fn stored(world: &World, event: &str, due_at: i64) -> String {
    let report = report(event, Some(at(due_at)));
    assert!(world.store.receive_inbound(&report, at(0)).await.unwrap());
    report.id()
}

async fn state(world: &World, id: &str) -> InboundState {
    world.store.inbound(id).await.unwrap().unwrap().state
}

fn ids(rows: &[Inbound]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

async fn a_report_is_kept_once(world: World) {
    let (store, one) = (world.store.clone(), report("evt_1", Some(at(5))));
    let answers = race(8, |_| {
        let (store, one) = (store.clone(), one.clone());
        async move { store.receive_inbound(&one, at(1)).await.unwrap() }
    })
    .await;
    assert_eq!(answers.iter().filter(|new| **new).count(), 1);
    // another body under the same event changes nothing
    let again = NewInbound { body: "{}".to_owned(), ..one.clone() };
    assert!(!store.receive_inbound(&again, at(9)).await.unwrap());
    let row = store.inbound(&one.id()).await.unwrap().unwrap();
    assert_eq!((row.body.as_str(), row.state), ("{\"id\": \"evt_1\"}", InboundState::Stored));
    assert_eq!(row.received_at.timestamp_micros(), at(1).timestamp_micros());
    // the same event id of somebody else is another report
    let other = NewInbound { source: "carrier:http".to_owned(), due_at: None, ..one.clone() };
    assert!(store.receive_inbound(&other, at(2)).await.unwrap());
    assert_eq!(state(&world, &other.id()).await, InboundState::Ignored);
    assert!(store.inbound("nothing").await.unwrap().is_none());
}

async fn what_is_due_is_claimed_by_one(world: World) {
    let store = world.store.clone();
    for n in 0..20 {
        stored(&world, &format!("evt_{n}"), 10).await;
    }
    let later = stored(&world, "later", 11).await;
    assert!(store.claim_inbound(at(40), 99, at(9)).await.unwrap().is_empty());
    let claims = race(4, |_| {
        let store = store.clone();
        async move { store.claim_inbound(at(40), 7, at(10)).await.unwrap() }
    })
    .await;
    let mut all: Vec<String> = claims.into_iter().flatten().map(|row| row.id).collect();
    let claimed = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), claimed, "no report has two claims");
    let rest = store.claim_inbound(at(40), 99, at(11)).await.unwrap();
    assert_eq!(claimed + rest.len(), 21);
    assert!(ids(&rest).contains(&later.as_str()));
    // whoever claimed may be gone
    let again = store.claim_inbound(at(70), 99, at(40)).await.unwrap();
    assert_eq!(again.len(), 21);
    assert!(again.iter().all(|row| row.attempts == 2));
}

async fn what_is_settled_stays_so(world: World) {
    let store = &world.store;
    let order = new_order("one").id;
    let id = stored(&world, "evt_1", 5).await;
    store.put_off_inbound(&id, InboundState::Parked, at(8)).await.unwrap();
    assert_eq!(state(&world, &id).await, InboundState::Parked);
    assert!(store.claim_inbound(at(9), 9, at(7)).await.unwrap().is_empty());
    assert_eq!(ids(&store.claim_inbound(at(9), 9, at(8)).await.unwrap()), [id.as_str()]);
    store.settle_inbound(&id, InboundState::Routed, Some(&order), at(9)).await.unwrap();
    // late hands
    store.put_off_inbound(&id, InboundState::Parked, at(10)).await.unwrap();
    store.settle_inbound(&id, InboundState::Ignored, None, at(10)).await.unwrap();
    let row = store.inbound(&id).await.unwrap().unwrap();
    assert_eq!((row.state, row.order_id), (InboundState::Routed, Some(order)));
    assert!(store.claim_inbound(at(99), 9, at(50)).await.unwrap().is_empty());
}

async fn what_never_appears_is_given_up_once(world: World) {
    let store = &world.store;
    let id = stored(&world, "evt_1", 5).await;
    let item = NewItem {
        id: "item-0001".to_owned(),
        kind: UNROUTED_REPORT.to_owned(),
        order_id: None,
        shipment_id: None,
        subject: "evt_1".to_owned(),
        detail: "nothing here is what it is about".to_owned(),
        source: ItemSource::Carrier,
    };
    assert!(store.expire_inbound(&id, &item, at(100)).await.unwrap());
    assert!(!store.expire_inbound(&id, &NewItem { id: "item-0002".to_owned(), ..item }, at(101)).await.unwrap());
    assert_eq!(state(&world, &id).await, InboundState::Expired);
    let items = store.review_items(&ItemFilter::default(), None, 9).await.unwrap();
    assert_eq!(items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["item-0001"]);
}

async fn old_reports_go_and_open_ones_stay(world: World) {
    let store = &world.store;
    let (old, young, open) = (stored(&world, "old", 5).await, stored(&world, "young", 5).await, stored(&world, "open", 5).await);
    store.settle_inbound(&old, InboundState::Routed, None, at(10)).await.unwrap();
    store.settle_inbound(&young, InboundState::Ignored, None, at(20)).await.unwrap();
    assert_eq!(store.purge_inbound(at(20), 9).await.unwrap(), 1);
    assert!(store.inbound(&old).await.unwrap().is_none());
    assert_eq!(store.purge_inbound(at(1_000), 9).await.unwrap(), 1);
    assert!(store.inbound(&young).await.unwrap().is_none());
    assert_eq!(state(&world, &open).await, InboundState::Stored);
}

async fn payments_and_packages_lead_to_their_orders(world: World) {
    let store = &world.store;
    let order = world.placed("one", 1).await.id;
    assert_eq!(store.order_of_payment("pi_1").await.unwrap(), None);
    store.record_void(&order, "one/void/1", Some("pi_1"), at(2)).await.unwrap();
    assert_eq!(store.order_of_payment("pi_1").await.unwrap(), Some(order));
    let mut booked = life(oms_domain::order::Status::Confirmed);
    for (number, tracking) in [(1, "T-1"), (2, "T-2")] {
        let mut parcel = shipment("one", number, ShipmentStatus::Booked);
        parcel.note_package(Some("dhl"), Some(tracking));
        parcel.note_package(Some("dhl"), Some("T-both"));
        booked.shipments.push(parcel);
    }
    store.record(&record("one", 1, booked, Vec::new()), at(3)).await.unwrap();
    let first = shipment("one", 1, ShipmentStatus::Booked).id;
    assert_eq!(store.shipment_of_package("T-1").await.unwrap(), Some(first));
    assert_eq!(store.shipment_of_package("T-both").await.unwrap(), None, "it tells nothing");
    assert_eq!(store.shipment_of_package("T-3").await.unwrap(), None);
}
