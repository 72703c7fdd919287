//! Places, and lanes shared by relays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::world::*;
use oms_domain::event::FactKind;
use oms_store::*;

on_both!(
    no_place_is_passed_over,
    two_relays_keep_each_order_in_order,
    a_dead_relay_loses_its_lanes_by_time,
    sinks_do_not_wait_for_each_other,
    a_new_sink_begins_with_what_is_unpublished,
);

/// Adds a fact to an order that was placed.
async fn happen(store: &Store, order: &str, number: u64) {
    let fact = vec![fact(&format!("f-{number}"), FactKind::HoldPlaced)];
    store.append(&order_id(order), &fact, Append::default(), None, at(5)).await.unwrap();
}

/// Writers commit in any order while placers place and a reader follows: it must see everything, each order in its order.
async fn no_place_is_passed_over(world: World) {
    const ORDERS: usize = 8;
    const FACTS: u64 = 12;
    for n in 0..ORDERS {
        world.placed(&format!("o-{n}"), 0).await;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..ORDERS {
        let store = world.store.clone();
        tasks.spawn(async move {
            for number in 0..FACTS {
                happen(&store, &format!("o-{n}"), number).await;
            }
        });
    }
    for _ in 0..2 {
        let store = world.store.clone();
        tasks.spawn(async move {
            while store.events_after(0, 999).await.unwrap().len() < ORDERS * FACTS as usize {
                store.place_events(7).await.unwrap();
            }
        });
    }
    let (mut after, mut seen) = (0, Vec::new());
    while seen.len() < ORDERS * FACTS as usize {
        let page = world.store.events_after(after, 5).await.unwrap();
        after = page.last().and_then(|row| row.position).unwrap_or(after);
        seen.extend(page);
    }
    tasks.join_all().await;
    let places: Vec<u64> = seen.iter().map(|row| row.position.unwrap()).collect();
    assert_eq!(places, (1..=seen.len() as u64).collect::<Vec<_>>(), "no place is empty, none is filled late");
    let mut orders: BTreeMap<String, u64> = BTreeMap::new();
    for row in &seen {
        let last = orders.entry(row.subject.to_string()).or_default();
        *last += 1;
        assert_eq!(row.seq, *last, "{row:?}");
    }
}

/// Who was told what: a sink that forgets nothing.
type Told = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

/// One round of a relay; some of its rounds are cut short after the sink has the events and before the lane moves.
async fn round(store: &Store, relay: &str, told: &Told, now: i64, dice: &mut Dice) {
    for lane in store.lease_lanes("sink", relay, 4, at(now + 5), at(now)).await.unwrap() {
        let rows = store.events_in_lane(&lane, 3).await.unwrap();
        for row in &rows {
            told.lock().unwrap().entry(row.subject.to_string()).or_default().push(row.seq);
        }
        if dice.below(4) > 0 {
            let last = rows.last().and_then(|row| row.position).unwrap();
            store.advance_lane("sink", lane.lane, relay, last, &["sink"], at(now)).await.unwrap();
        }
    }
}

async fn two_relays_keep_each_order_in_order(world: World) {
    const FACTS: u64 = 6;
    for n in 0..10 {
        world.placed(&format!("o-{n}"), 0).await;
    }
    world.store.open_lanes(&["sink"], at(0)).await.unwrap();
    let told = Told::default();
    let relays = race(3, |n| {
        let (store, told) = (world.store.clone(), told.clone());
        async move {
            let mut dice = Dice(n as u64 + 1);
            for now in 0..200 {
                if n == 0 && now < FACTS as i64 {
                    for order in 0..10 {
                        happen(&store, &format!("o-{order}"), now as u64).await;
                    }
                }
                store.place_events(20).await.unwrap();
                round(&store, &format!("relay-{n}"), &told, now, &mut dice).await;
                if now > FACTS as i64 && store.unpublished(1).await.unwrap().is_empty() {
                    return;
                }
            }
            panic!("events are left");
        }
    });
    relays.await;
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 10);
    for (order, numbers) in told.iter() {
        let mut known = 0;
        for number in numbers {
            assert!(*number <= known + 1, "{order} was told {number} after {known}: {numbers:?}");
            known = known.max(*number);
        }
        assert_eq!(known, FACTS, "{order}: {numbers:?}");
    }
}

async fn a_dead_relay_loses_its_lanes_by_time(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    happen(store, "o", 1).await;
    store.place_events(9).await.unwrap();
    store.open_lanes(&["sink"], at(0)).await.unwrap();
    let dead = store.lease_lanes("sink", "dead", 16, at(20), at(0)).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(store.lease_lanes("sink", "heir", 16, at(30), at(19)).await.unwrap(), []);
    assert_eq!(store.lease_lanes("sink", "heir", 16, at(40), at(20)).await.unwrap(), dead);
    let (lane, last) = (dead[0].lane, store.events_in_lane(&dead[0], 9).await.unwrap()[0].position.unwrap());
    assert!(!store.advance_lane("sink", lane, "dead", last, &["sink"], at(21)).await.unwrap(), "it rose too late");
    assert_eq!(store.unpublished(9).await.unwrap().len(), 1);
    assert!(store.advance_lane("sink", lane, "heir", last, &["sink"], at(22)).await.unwrap());
    assert_eq!(store.unpublished(9).await.unwrap(), []);
    // one that fails keeps the others off for as long as it says
    happen(store, "o", 2).await;
    store.place_events(9).await.unwrap();
    store.lease_lanes("sink", "heir", 16, at(40), at(23)).await.unwrap();
    store.release_lane("sink", lane, "heir", Some(at(30))).await.unwrap();
    assert_eq!(store.lease_lanes("sink", "dead", 16, at(40), at(29)).await.unwrap(), []);
    assert_eq!(store.lease_lanes("sink", "dead", 16, at(40), at(30)).await.unwrap().len(), 1);
}

async fn sinks_do_not_wait_for_each_other(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    let both = ["fast", "slow"];
    store.open_lanes(&both, at(0)).await.unwrap();
    for number in 1..=3 {
        happen(store, "o", number).await;
    }
    store.place_events(9).await.unwrap();
    let advance = async |sink: &'static str, place: u64, now: i64| {
        let lane = store.lease_lanes(sink, "relay", 16, at(now + 9), at(now)).await.unwrap().pop().unwrap();
        assert!(store.advance_lane(sink, lane.lane, "relay", place, &both, at(now)).await.unwrap());
        store.unpublished(9).await.unwrap().len()
    };
    assert_eq!(advance("fast", 3, 1).await, 3, "published is what all have");
    assert_eq!(advance("slow", 1, 2).await, 2);
    assert_eq!(advance("slow", 3, 3).await, 0);
    assert_eq!(store.lease_lanes("fast", "relay", 16, at(9), at(4)).await.unwrap(), [], "nothing is left to do");
}

async fn a_new_sink_begins_with_what_is_unpublished(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    for number in 1..=2 {
        happen(store, "o", number).await;
    }
    world.publish(9).await;
    happen(store, "o", 3).await;
    store.place_events(9).await.unwrap();
    store.open_lanes(&["new"], at(10)).await.unwrap();
    let lanes = store.lease_lanes("new", "relay", 16, at(20), at(11)).await.unwrap();
    let rows = store.events_in_lane(&lanes[0], 9).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [3]);
    // without sinks an event is published once it has a place
    store.open_lanes(&[], at(12)).await.unwrap();
    assert_eq!(store.unpublished(9).await.unwrap(), []);
}
