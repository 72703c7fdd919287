//! Switches, bulk re-drives, the hand-off to the warehouse, counts of what stands still.

use std::time::Duration;

use crate::world::*;
use oms_domain::event::FactKind;
use oms_domain::order::Status;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_store::*;
use serde_json::json;

on_both!(
    switches,
    what_a_redrive_matches,
    a_redrive_is_worked_off_once,
    a_redrive_ends_whoever_is_last,
    a_lease_runs_out,
    hand_offs,
    what_stands_still_is_counted,
    open_orders_by_version,
);

async fn switches(world: World) {
    let store = &world.store;
    let all = store.switches().await.unwrap();
    assert_eq!(all.iter().map(|s| s.dependency).collect::<Vec<_>>(), Dependency::ALL);
    assert!(all.iter().all(|s| s.state == SwitchState::Auto && s.set.is_none()));
    let open = store.set_switch(Dependency::Carrier, SwitchState::Open, "strike", "ada", at(1)).await.unwrap();
    let set = SwitchSet { reason: "strike".into(), actor: "ada".into(), at: kept(1) };
    assert_eq!(open, Switch { dependency: Dependency::Carrier, state: SwitchState::Open, set: Some(set) });
    let again = store.set_switch(Dependency::Carrier, SwitchState::Open, "other words", "bob", at(2)).await.unwrap();
    assert_eq!(again, open, "the first reason stays");
    assert_eq!(store.switch(Dependency::Carrier).await.unwrap(), open);
    assert_eq!(store.switch(Dependency::Payment).await.unwrap().state, SwitchState::Auto);
    let closed = store.set_switch(Dependency::Carrier, SwitchState::Auto, "over", "bob", at(3)).await.unwrap();
    assert_eq!((closed.state, closed.set.unwrap().at), (SwitchState::Auto, kept(3)));
}

/// Three open orders (`a` confirmed, `b` placed, `c` placed later) and an ended one, `d`; `e` was never promised.
async fn five(world: &World) {
    for (n, key) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        world.placed(key, n as i64).await;
    }
    for (key, status) in [("a", Status::Confirmed), ("b", Status::Placed), ("c", Status::Placed), ("d", Status::Completed)] {
        let facts = vec![fact("placed", FactKind::OrderPlaced)];
        world.store.record(&record(key, 1, life(status), facts), at(10)).await.unwrap();
    }
}

async fn open_item(world: &World, kind: &str, key: &str) {
    let item = NewItem {
        id: format!("item-{kind}-{key}"),
        kind: kind.to_owned(),
        order_id: Some(order_id(key)),
        shipment_id: None,
        subject: order_id(key).to_string(),
        detail: "look".to_owned(),
        source: ItemSource::Watchdog,
    };
    assert!(world.store.open_item(&item, at(20)).await.unwrap());
}

fn keys(ids: &[oms_domain::ids::OrderId]) -> String {
    let mut keys: Vec<&str> = ["a", "b", "c", "d", "e"].into_iter().filter(|key| ids.contains(&order_id(key))).collect();
    keys.sort();
    keys.concat()
}

async fn what_a_redrive_matches(world: World) {
    five(&world).await;
    open_item(&world, "silent", "b").await;
    open_item(&world, "terminated", "c").await;
    assert!(world.store.settle_item("item-terminated-c", at(21)).await.unwrap());
    let orders = |orders| RedriveFilter { orders, ..Default::default() };
    let cases = [
        (orders(OrderFilter { status: Some(Status::Confirmed), ..Default::default() }), "a"),
        (orders(OrderFilter { status: Some(Status::Completed), ..Default::default() }), ""),
        (orders(OrderFilter { placed_before: Some(at(2)), ..Default::default() }), "ab"),
        (orders(OrderFilter { placed_after: Some(at(1)), ..Default::default() }), "bc"),
        (orders(OrderFilter { needs_attention: Some(true), ..Default::default() }), "b"),
        (RedriveFilter { kind: Some("silent".into()), ..Default::default() }, "b"),
        (RedriveFilter { kind: Some("terminated".into()), ..Default::default() }, ""),
        (RedriveFilter { ids: ["a", "d", "e", "x"].map(order_id).to_vec(), ..Default::default() }, "ad"),
        (RedriveFilter { ids: vec![order_id("a")], kind: Some("silent".into()), ..Default::default() }, ""),
    ];
    for (filter, expected) in cases {
        let (matched, ids) = world.store.redrive_matches(&filter, 100).await.unwrap();
        assert_eq!((keys(&ids).as_str(), matched), (expected, expected.len() as u64), "{filter:?}");
    }
    let all = RedriveFilter { ids: ["a", "b", "c"].map(order_id).to_vec(), ..Default::default() };
    let (matched, ids) = world.store.redrive_matches(&all, 2).await.unwrap();
    assert_eq!((matched, ids.len()), (3, 2));
}

fn redrive(id: &str, keys: &[&str]) -> NewRedrive {
    NewRedrive {
        id: id.to_owned(),
        filter: RedriveFilter { ids: keys.iter().map(|key| order_id(key)).collect(), ..Default::default() },
        asked: json!({"order_ids": keys}),
        from: RedriveFrom::LastTask,
        rate: 10,
        actor: "ada".to_owned(),
    }
}

const LEASE: Duration = Duration::from_secs(60);

async fn a_redrive_is_worked_off_once(world: World) {
    let store = &world.store;
    five(&world).await;
    let begun = store.begin_redrive(&redrive("r-1", &["a", "b", "d"]), at(100)).await.unwrap();
    assert_eq!((begun.state, begun.matched, begun.outcomes), (RedriveState::Running, 3, [0; 4]));
    let again = store.begin_redrive(&redrive("r-1", &["c"]), at(101)).await.unwrap();
    assert_eq!(again, begun, "the same id begins one");
    let nothing = store.begin_redrive(&redrive("r-0", &["x"]), at(102)).await.unwrap();
    assert_eq!((nothing.state, nothing.matched, nothing.finished_at), (RedriveState::Done, 0, Some(kept(102))));

    let holders = race(4, |n| {
        let store = store.clone();
        async move { store.lease_redrive(&format!("holder-{n}"), LEASE, at(110)).await.unwrap() }
    })
    .await;
    assert_eq!(holders.iter().flatten().count(), 1, "one process at a time");

    let to_do = store.redrive_to_do("r-1", 9).await.unwrap();
    assert_eq!(keys(&to_do), "abd");
    for order in &to_do {
        store.note_redriven("r-1", order, RedriveOutcome::Nudged, "told", at(120)).await.unwrap();
    }
    store.note_redriven("r-1", &to_do[0], RedriveOutcome::Failed, "a late repeat", at(130)).await.unwrap();
    assert_eq!(store.redrive_to_do("r-1", 9).await.unwrap(), []);
    let done = store.redrive("r-1").await.unwrap().unwrap();
    assert_eq!((done.state, done.outcomes, done.finished_at), (RedriveState::Done, [3, 0, 0, 0], Some(kept(120))));
    assert_eq!(done.asked, json!({"order_ids": ["a", "b", "d"]}));
    assert_eq!(store.lease_redrive("holder-9", LEASE, at(999)).await.unwrap(), None, "nothing is left");

    let first = store.redrive_orders("r-1", None, 2).await.unwrap();
    let rest = store.redrive_orders("r-1", Some(&first[1].order_id), 2).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert!(first.iter().all(|row| row.outcome == Some(RedriveOutcome::Nudged) && row.detail.as_deref() == Some("told")));
    assert_eq!(store.redrive("r-9").await.unwrap(), None);
}

/// Its last orders are noted at the same moment, each by a transaction that does not see the others'.
async fn a_redrive_ends_whoever_is_last(world: World) {
    five(&world).await;
    for round in 0..40 {
        let id = format!("r-{round}");
        world.store.begin_redrive(&redrive(&id, &["a", "b", "c"]), at(100)).await.unwrap();
        race(3, |n| {
            let (store, id, order) = (world.store.clone(), id.clone(), order_id(["a", "b", "c"][n]));
            async move { store.note_redriven(&id, &order, RedriveOutcome::Nudged, "told", at(110)).await.unwrap() }
        })
        .await;
        assert_eq!(world.store.redrive(&id).await.unwrap().unwrap().state, RedriveState::Done, "round {round}");
    }
    // one that was left behind is ended by whoever finds nothing to do
    world.sql("UPDATE redrives SET state = 'running', finished_at = NULL WHERE id IN ('r-0', 'r-1')").await;
    world.sql("UPDATE redrive_orders SET outcome = NULL, at = NULL WHERE redrive_id = 'r-1'").await;
    for (id, state) in [("r-0", RedriveState::Done), ("r-1", RedriveState::Running)] {
        world.store.finish_redrive(id, at(120)).await.unwrap();
        assert_eq!(world.store.redrive(id).await.unwrap().unwrap().state, state);
    }
}

async fn a_lease_runs_out(world: World) {
    let store = &world.store;
    five(&world).await;
    store.begin_redrive(&redrive("r-1", &["a"]), at(100)).await.unwrap();
    store.begin_redrive(&redrive("r-2", &["b"]), at(101)).await.unwrap();
    let lease = |holder: &'static str, now: i64| async move {
        store.lease_redrive(holder, LEASE, at(now)).await.unwrap().map(|redrive| redrive.id)
    };
    assert_eq!(lease("one", 110).await.as_deref(), Some("r-1"));
    assert_eq!(lease("one", 120).await.as_deref(), Some("r-1"), "it keeps its own");
    assert_eq!(lease("two", 121).await.as_deref(), Some("r-2"), "another process takes another job");
    assert_eq!(lease("three", 122).await, None);
    assert_eq!(lease("three", 120 + 61).await.as_deref(), Some("r-1"), "the first holder has died");
}

async fn booked(world: &World, key: &str, now: i64) {
    let mut life = life(Status::Confirmed);
    life.shipments = vec![shipment(key, 1, ShipmentStatus::Booked)];
    world.placed(key, 0).await;
    world.store.record(&record(key, 1, life, vec![fact("placed", FactKind::OrderPlaced)]), at(now)).await.unwrap();
}

async fn hand_offs(world: World) {
    let store = &world.store;
    for key in ["a", "b", "c"] {
        booked(&world, key, 10).await;
    }
    let waiting = |now: i64| async move {
        let rows = store.unacknowledged(at(now), None, 9).await.unwrap();
        keys(&rows.iter().map(|row| row.order_id.clone()).collect::<Vec<_>>())
    };
    assert_eq!(waiting(10).await, "", "not before their time");
    assert_eq!(waiting(11).await, "abc");
    let rows = store.unacknowledged(at(11), None, 1).await.unwrap();
    assert_eq!((rows.len(), rows[0].since), (1, kept(10)));
    // of one that a person knows, or has decided, nobody is called again
    let known = NewItem {
        id: "item-known".to_owned(),
        kind: NO_ACKNOWLEDGEMENT.to_owned(),
        order_id: Some(order_id("c")),
        shipment_id: Some(shipment_id("c", 1)),
        subject: shipment_id("c", 1).to_string(),
        detail: "look".to_owned(),
        source: ItemSource::Watchdog,
    };
    store.open_item(&known, at(12)).await.unwrap();
    assert_eq!(waiting(13).await, "ab");
    store.settle_item("item-known", at(14)).await.unwrap();
    assert_eq!(waiting(15).await, "abc");
    assert_eq!(store.unacknowledged(at(11), Some(&rows[0].shipment_id), 9).await.unwrap().len(), 2);

    // the warehouse is told once more of each, and once only
    assert!(store.to_hand_off_again(at(10), 9).await.unwrap().is_empty(), "not before their time");
    let again = store.to_hand_off_again(at(11), 9).await.unwrap();
    assert_eq!(again.len(), 3);
    for _ in 0..2 {
        store.hand_off_again(&again[1], at(16)).await.unwrap();
    }
    let told = store.timeline(&again[1].order_id).await.unwrap();
    let told: Vec<_> = told.iter().filter(|e| e.kind == "shipment.handed_off_again").map(|e| e.shipment.as_ref()).collect();
    assert_eq!(told, [Some(&again[1].shipment_id)]);
    let left = store.to_hand_off_again(at(11), 9).await.unwrap();
    assert_eq!(keys(&left.iter().map(|row| row.order_id.clone()).collect::<Vec<_>>()), "ac");

    let first = store.acknowledge(&shipment_id("a", 1), "clerk", at(20)).await.unwrap();
    assert_eq!(first, Acknowledged::At(kept(20)));
    assert_eq!(store.acknowledge(&shipment_id("a", 1), "clerk", at(30)).await.unwrap(), first, "the first one stays");
    let told = store.timeline(&order_id("a")).await.unwrap();
    let told: Vec<_> = told.iter().map(|e| (e.kind.as_str(), e.actor.as_str())).filter(|e| e.0 != "order.placed").collect();
    assert_eq!(told, [("shipment.acknowledged", "clerk")], "once");
    let unknown = store.acknowledge(&shipment_id("x", 1), "clerk", at(20)).await.unwrap();
    assert_eq!(unknown, Acknowledged::UnknownShipment);
    store.record_scan(&scan("b", "e-1", ScanType::Picked), at(21)).await.unwrap();
    assert_eq!(waiting(99).await, "c");
    for (key, waits) in [("a", false), ("b", false), ("c", true), ("x", false)] {
        assert_eq!(store.awaits_acknowledgement(&shipment_id(key, 1)).await.unwrap(), waits, "{key}");
    }
}

async fn what_stands_still_is_counted(world: World) {
    five(&world).await;
    assert_eq!(world.store.count_stuck_by_status().await.unwrap(), []);
    open_item(&world, SILENT, "b").await;
    open_item(&world, TERMINATED, "b").await;
    open_item(&world, WORKFLOW_TASK_FAILING, "c").await;
    open_item(&world, NO_ACKNOWLEDGEMENT, "a").await;
    assert_eq!(world.store.count_stuck_by_status().await.unwrap(), [(Status::Placed, 2)], "each order once");
}

async fn open_orders_by_version(world: World) {
    five(&world).await;
    let versions = world.store.open_versions().await.unwrap();
    let counted: u64 = versions.iter().map(|v| v.open_orders).sum();
    assert_eq!(counted, 4, "{versions:?}");
    assert!(versions.iter().any(|v| v.oldest_placed_at == kept(0)), "{versions:?}");
}
