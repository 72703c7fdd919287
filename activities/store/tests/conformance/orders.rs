//! Listing and searching orders and shipments.

use crate::world::*;
use oms_domain::ids::{CustomerId, HoldId};
use oms_domain::life::{Hold, HoldKind, Why};
use oms_domain::order::{Reason, Status};
use oms_domain::shipment::ShipmentStatus;
use oms_store::*;

on_both!(every_filter, pages_while_new_ones_arrive, shipments_by_status_and_place);

async fn found(world: &World, filter: OrderFilter) -> Vec<String> {
    let found = world.store.orders(&filter, None, 100).await.unwrap();
    found.into_iter().map(|o| ["x", "y", "z"].iter().find(|k| order_id(k) == o.id).unwrap().to_string()).collect()
}

async fn every_filter(world: World) {
    let store = &world.store;
    for (n, key) in ["x", "y", "z"].into_iter().enumerate() {
        world.placed(key, n as i64).await;
    }
    let mut x = life(Status::Rejected);
    x.reason = Some(Reason::OutOfStock);
    x.raise("stuck", "look at it", at(1));
    store.record(&record("x", 1, x, vec![]), at(3)).await.unwrap();
    let mut y = life(Status::Confirmed);
    y.holds = ["fraud", "address"]
        .map(|kind| Hold {
            id: HoldId::from_key(&order_id("y"), kind),
            kind: HoldKind::parse(kind).unwrap(),
            reason: Why::parse("odd").unwrap(),
            actor: "ops".to_owned(),
            placed_at: at(1),
            until: None,
        })
        .to_vec();
    let mut parcel = shipment("y", 1, ShipmentStatus::Booked);
    parcel.note_package(Some("DHL"), Some("T-1"));
    parcel.note_package(None, Some("T-2"));
    y.shipments = vec![parcel];
    store.record(&record("y", 1, y.clone(), vec![]), at(3)).await.unwrap();
    assert_eq!(store.order(&order_id("y")).await.unwrap().unwrap().life, y);

    let all = OrderFilter::default();
    assert_eq!(found(&world, all.clone()).await, ["z", "y", "x"]);
    let f = |change: fn(&mut OrderFilter)| {
        let mut filter = OrderFilter::default();
        change(&mut filter);
        found(&world, filter)
    };
    assert_eq!(f(|f| f.status = Some(Status::Confirmed)).await, ["y"]);
    assert_eq!(f(|f| f.reason = Some(Reason::OutOfStock)).await, ["x"]);
    assert_eq!(f(|f| f.customer = Some(CustomerId::parse("c-1").unwrap())).await.len(), 3);
    assert_eq!(f(|f| f.customer = Some(CustomerId::parse("c-2").unwrap())).await.len(), 0);
    assert_eq!(f(|f| f.sku = Some(sku("a"))).await.len(), 3);
    assert_eq!(f(|f| f.sku = Some(sku("A"))).await.len(), 0);
    assert_eq!(f(|f| f.reference = Some("ref-1".to_owned())).await.len(), 3);
    assert_eq!(f(|f| f.email = Some("ADA@example.com".to_owned())).await.len(), 3);
    assert_eq!(f(|f| f.tracking_number = Some("T-2".to_owned())).await, ["y"]);
    assert_eq!(f(|f| f.hold = Some("address".to_owned())).await, ["y"]);
    assert_eq!(f(|f| f.needs_attention = Some(true)).await, ["x"]);
    assert_eq!(f(|f| f.needs_attention = Some(false)).await, ["z", "y"]);
    assert_eq!(f(|f| f.placed_after = Some(at(1))).await, ["z", "y"]);
    assert_eq!(f(|f| f.placed_before = Some(at(1))).await, ["x"]);
    let both = |f: &mut OrderFilter| {
        f.status = Some(Status::Confirmed);
        f.hold = Some("fraud".to_owned());
        f.needs_attention = Some(false);
    };
    assert_eq!(f(both).await, ["y"]);
    y.holds.clear();
    store.record(&record("y", 2, y, vec![]), at(4)).await.unwrap();
    assert_eq!(f(|f| f.hold = Some("fraud".to_owned())).await.len(), 0, "a released hold is not found");
}

async fn pages_while_new_ones_arrive(world: World) {
    for n in 0..25 {
        // several orders share one instant
        world.placed(&format!("first-{n}"), n / 4).await;
    }
    let mut seen = Vec::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = world.store.orders(&OrderFilter::default(), cursor.as_ref(), 4).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(last.cursor());
        seen.extend(page.iter().map(|o| o.id.to_string()));
        world.placed(&format!("later-{}", seen.len()), 100).await;
    }
    let before: std::collections::BTreeSet<_> = (0..25).map(|n| order_id(&format!("first-{n}")).to_string()).collect();
    assert_eq!(seen.len(), 25, "each once");
    assert_eq!(seen.into_iter().collect::<std::collections::BTreeSet<_>>(), before);
    let mut audited = Vec::new();
    while let page = world.store.audit_orders(audited.last(), 10).await.unwrap()
        && !page.is_empty()
    {
        audited.extend(page.into_iter().map(|o| o.id));
    }
    assert!(audited.len() > 25 && audited.is_sorted());
}

async fn shipments_by_status_and_place(world: World) {
    let store = &world.store;
    for key in ["x", "y"] {
        world.placed(key, 0).await;
        let mut life = life(Status::Confirmed);
        life.shipments = vec![shipment(key, 1, ShipmentStatus::Booked), shipment(key, 2, ShipmentStatus::Pending)];
        life.shipments[1].location = place("aachen");
        store.record(&record(key, 1, life, vec![]), at(1)).await.unwrap();
    }
    let all = store.shipments(ShipmentFilter::default(), None, 9).await.unwrap();
    assert_eq!(all.len(), 4);
    assert!(all.is_sorted_by_key(|s| s.shipment.id.to_string()) && all.iter().all(|s| s.test));
    let rest = store.shipments(ShipmentFilter::default(), Some(&all[1].shipment.id), 9).await.unwrap();
    assert_eq!(rest, all[2..]);
    let filter = ShipmentFilter { status: Some(ShipmentStatus::Pending), location: Some(place("aachen")) };
    assert_eq!(store.shipments(filter.clone(), None, 9).await.unwrap().len(), 2);
    let filter = ShipmentFilter { location: Some(place("berlin")), ..filter };
    assert_eq!(store.shipments(filter, None, 9).await.unwrap(), []);
    assert_eq!(store.shipment(&shipment_id("x", 2)).await.unwrap().unwrap().order_id, order_id("x"));
    assert_eq!(store.shipment(&shipment_id("x", 3)).await.unwrap(), None);
}
