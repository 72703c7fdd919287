//! Places with addresses, which of them give first, and the events of articles that run low or are back.

use crate::world::*;
use oms_domain::customer::Country;
use oms_domain::stock::Strategy;
use oms_domain::stock::site::{PRIORITY_DEFAULT, Site, SiteAddress};
use oms_store::*;
use serde_json::json;

on_both!(places, near_places_and_preferred_places_give_first, low_and_back_once_per_crossing);

fn at_code(country: &str, postal_code: &str) -> SiteChange {
    let address = SiteAddress {
        line1: Some(line("Weg 1")),
        line2: None,
        city: None,
        region: None,
        postal_code: line(postal_code),
        country: Country::parse(country).unwrap(),
    };
    SiteChange { address: Some(address), ..SiteChange::default() }
}

async fn places(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 1).await;
    let change = at_code("DE", "10115");
    let (put, site) = store.put_location(&place("berlin"), &change, at(1)).await.unwrap();
    assert_eq!((put, &site.address, site.priority), (Put::Replaced, &change.address, PRIORITY_DEFAULT));
    let named = SiteChange { name: Some(line("The barn")), priority: Some(7), address: None };
    let (put, site) = store.put_location(&place("aachen"), &named, at(2)).await.unwrap();
    let expected = Site { location: place("aachen"), name: named.name.clone(), address: None, priority: 7 };
    assert_eq!((put, site), (Put::Created, expected.clone()));
    let (_, berlin) = store.put_location(&place("berlin"), &named, at(3)).await.unwrap();
    assert_eq!((&berlin.address, berlin.priority), (&change.address, 7), "what is not named stays");
    assert_eq!(store.locations(None, 9).await.unwrap(), [expected, berlin.clone()]);
    assert_eq!(store.locations(Some(&place("aachen")), 1).await.unwrap(), [berlin]);
    // a place that was made by its address takes receipts and corrections
    assert!(matches!(store.adjust(&movement("a", "aachen", 1), at(4)).await.unwrap(), Moved::Done(_)));
}

async fn near_places_and_preferred_places_give_first(world: World) {
    let store = &world.store;
    for (name, country, code) in
        [("abroad", "FR", "10115"), ("far", "DE", "80331"), ("near", "DE", "10117"), ("here", "DE", "10115")]
    {
        world.stocked("a", name, 10).await;
        store.put_location(&place(name), &at_code(country, code), at(0)).await.unwrap();
    }
    let first = SiteChange { priority: Some(1), ..SiteChange::default() };
    store.put_location(&place("far"), &first, at(0)).await.unwrap();
    world.placed("o", 0).await;
    let from = async |order: &str, strategy, units| {
        let wish = Reserve { strategy, ..wish(order, 1, &[("a", units)]) };
        let Reserved::Held { allocations, .. } = store.reserve(&wish, at(1)).await.unwrap() else { panic!() };
        allocations.iter().map(|a| format!("{} {}", a.location, a.lines[0].quantity)).collect::<Vec<_>>()
    };
    assert_eq!(from("o", Strategy::Nearest, 14).await, ["here 10", "near 4"]);
    assert_eq!(from("without-a-row", Strategy::Nearest, 1).await, ["far 1"]);
    assert_eq!(from("p", Strategy::Priority, 10).await, ["abroad 1", "far 9"]);
    assert_eq!(from("f", Strategy::FewestShipments, 9).await, ["abroad 9"]);
    // an order that waits is served by the same rule: what "near" has left, and later what "here" gets back rather than "near"
    world.placed("w", 0).await;
    let waits = Reserve { strategy: Strategy::Nearest, ..patient("w", 0, &[("a", 12)]) };
    store.reserve(&waits, at(2)).await.unwrap();
    store.release(&order_id("o"), at(4)).await.unwrap();
    let Reserved::Held { allocations, waiting } = store.reserve(&waits, at(5)).await.unwrap() else { panic!() };
    let given: Vec<_> = allocations.iter().map(|a| (a.location.as_str(), a.lines[0].quantity)).collect();
    assert_eq!((given, waiting.len()), (vec![("here", 6), ("near", 6)], 0));
    world.balanced(5).await;
}

async fn low_and_back_once_per_crossing(world: World) {
    let store = &world.store;
    let watched = Product { low_stock_at: Some(3), ..product("a", 1_000) };
    store.put_product(&watched, at(0)).await.unwrap();
    assert_eq!(store.product(&sku("a")).await.unwrap(), Some(watched));
    let mut seen = 0;
    let mut events = async || {
        let rows = store.unpublished(99).await.unwrap();
        let rows: Vec<_> = rows.into_iter().filter(|r| r.subject == Subject::Sku(sku("a"))).collect();
        let new: Vec<_> = rows[seen..].iter().map(|r| (r.kind.clone(), r.body["available"].as_i64().unwrap())).collect();
        seen = rows.len();
        assert_eq!(rows.iter().map(|r| r.seq).collect::<Vec<_>>(), (1..=seen as u64).collect::<Vec<_>>());
        new
    };
    let event = |kind: &str, available: i64| (kind.to_owned(), available);
    store.receive(&movement("a", "berlin", 4), at(1)).await.unwrap();
    assert_eq!(events().await, [event("stock.back", 4)]);
    world.reserve("o", &[("a", 1)], 2).await;
    assert_eq!(events().await, [event("stock.low", 3)]);
    world.reserve("p", &[("a", 3)], 3).await;
    assert_eq!(events().await, [], "once per crossing, not per order");
    store.reserve(&patient("w", 1, &[("a", 2)]), at(4)).await.unwrap();
    store.receive(&movement("a", "aachen", 2), at(5)).await.unwrap();
    assert_eq!(events().await, [], "all of it went to somebody who waited");
    store.release(&order_id("o"), at(6)).await.unwrap();
    store.release(&order_id("p"), at(6)).await.unwrap();
    assert_eq!(events().await, [event("stock.back", 1)]);
    // over all places together, and under concurrency
    let racers = |n: usize| {
        let store = store.clone();
        async move { store.reserve(&wish(&format!("r-{n}"), 1, &[("a", 1)]), at(7)).await.unwrap() }
    };
    race(4, racers).await;
    assert_eq!(events().await, [event("stock.low", 3)]);
    let row = store.unpublished(99).await.unwrap().pop().unwrap();
    let body =
        json!({"id": row.event_id, "type": "stock.low", "sku": "a", "available": 3, "threshold": 3, "seq": 4, "at": kept(7)});
    assert_eq!(row.body, body);
    assert!(store.audit_orders(None, 9).await.unwrap().iter().all(|o| o.outbox_count == o.timeline_count));
}
