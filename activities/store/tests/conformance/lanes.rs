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
    a_quiet_round_writes_nothing_and_a_busy_one_twice,
    sinks_do_not_wait_for_each_other,
    a_new_sink_begins_with_what_is_unpublished,
);

/// Adds a fact to an order that was placed.
async fn happen(store: &Store, order: &str, number: u64) {
    let fact = vec![fact(&format!("f-{number}"), FactKind::HoldPlaced)];
    store.append(&order_id(order), &fact, Append::default(), None, at(5)).await.unwrap();
}

fn hook() -> NewWebhook {
    NewWebhook {
        id: "hook-aaaa".to_owned(),
        url: "https://example.com/".to_owned(),
        description: None,
        kinds: Vec::new(),
        secret: WebhookSecret("whsec_one".to_owned()),
    }
}

/// Leaves a lane behind a place; answers whether it was still leased.
async fn leave(store: &Store, sink: &str, lane: u32, owner: &str, position: u64, sinks: &[&str], now: i64) -> bool {
    let end = LaneEnd { lane, position, rests_until: None };
    store.leave_lanes(sink, owner, &[end], sinks, at(now)).await.unwrap().is_empty()
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
    let mut ends = Vec::new();
    for lane in store.lease_lanes("sink", relay, 4, at(now + 5), at(now)).await.unwrap() {
        let rows = store.events_in_lane(&lane, 3).await.unwrap();
        for row in &rows {
            told.lock().unwrap().entry(row.subject.to_string()).or_default().push(row.seq);
        }
        if dice.below(4) > 0 {
            let last = rows.last().and_then(|row| row.position).unwrap();
            ends.push(LaneEnd { lane: lane.lane, position: last, rests_until: None });
        }
    }
    store.leave_lanes("sink", relay, &ends, &["sink"], at(now)).await.unwrap();
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
    assert!(!leave(store, "sink", lane, "dead", last, &["sink"], 21).await, "it rose too late");
    assert_eq!(store.unpublished(9).await.unwrap().len(), 1);
    assert!(leave(store, "sink", lane, "heir", last, &["sink"], 22).await);
    assert_eq!(store.unpublished(9).await.unwrap(), []);
    // one that fails keeps the others off for as long as it says
    happen(store, "o", 2).await;
    store.place_events(9).await.unwrap();
    store.lease_lanes("sink", "heir", 16, at(40), at(23)).await.unwrap();
    let tired = LaneEnd { lane, position: last, rests_until: Some(at(30)) };
    assert!(store.leave_lanes("sink", "heir", &[tired], &["sink"], at(24)).await.unwrap().is_empty());
    assert_eq!(store.lease_lanes("sink", "dead", 16, at(40), at(29)).await.unwrap(), []);
    assert_eq!(store.lease_lanes("sink", "dead", 16, at(40), at(30)).await.unwrap().len(), 1);
}

async fn a_quiet_round_writes_nothing_and_a_busy_one_twice(world: World) {
    let store = &world.store;
    let sinks = ["one", "two"];
    for n in 0..40 {
        world.placed(&format!("o-{n}"), 0).await;
        happen(store, &format!("o-{n}"), 1).await;
    }
    store.open_lanes(&sinks, at(0)).await.unwrap();
    let mut before = store.transactions();
    let mut cost = async || {
        let (now, was) = (store.transactions(), before);
        before = now;
        now - was
    };
    assert_eq!((store.place_events(99).await.unwrap(), cost().await), (40, 1));
    for sink in sinks {
        let lanes = store.lease_lanes(sink, "relay", LANES, at(20), at(1)).await.unwrap();
        assert!(lanes.len() > 8, "orders lie in many lanes: {lanes:?}");
        let mut ends = Vec::new();
        for lane in &lanes {
            let last = store.events_in_lane(lane, 99).await.unwrap().pop().and_then(|row| row.position).unwrap();
            ends.push(LaneEnd { lane: lane.lane, position: last, rests_until: None });
        }
        assert!(store.leave_lanes(sink, "relay", &ends, &sinks, at(2)).await.unwrap().is_empty());
        assert_eq!(cost().await, 2, "however many lanes");
    }
    assert_eq!(store.unpublished(9).await.unwrap(), []);
    // quiet: webhooks too
    store.create_webhook(&hook(), 9, at(2)).await.unwrap();
    cost().await;
    store.place_events(99).await.unwrap();
    for sink in sinks {
        assert_eq!(store.lease_lanes(sink, "relay", LANES, at(30), at(3)).await.unwrap(), []);
        assert!(store.leave_lanes(sink, "relay", &[], &sinks, at(3)).await.unwrap().is_empty());
    }
    store.owe_webhooks(99, at(3)).await.unwrap();
    assert_eq!(store.due_webhooks(at(3)).await.unwrap(), []);
    assert_eq!(store.claim_deliveries("hook-aaaa", "relay", at(30), 9, at(3)).await.unwrap(), []);
    assert_eq!(cost().await, 0);
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
        assert!(leave(store, sink, lane.lane, "relay", place, &both, now).await);
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

const INSERT_LATE: &str = "INSERT INTO outbox (order_id, seq, event_id, kind, body, created_at)
     VALUES ('late-order', 1, 'late', 'hold.placed', '{}', now())";

/// An event whose number is the lowest commits last: a reader that has read past it meanwhile still gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn an_event_that_commits_late_is_not_skipped() {
    let world = World::postgres().await;
    let store = &world.store;
    world.placed("o", 0).await;
    store.create_webhook(&hook(), 9, at(0)).await.unwrap();
    store.open_lanes(&["sink"], at(0)).await.unwrap();
    let mut slow = crate::postgres::Session::begin(&world.url).await;
    slow.run(INSERT_LATE).await;
    for number in 1..=2 {
        happen(store, "o", number).await;
    }
    assert_eq!(store.place_events(99).await.unwrap(), 2, "what is not committed has no place");
    let first = store.events_after(0, 99).await.unwrap();
    assert_eq!(first.iter().map(|row| row.position).collect::<Vec<_>>(), [Some(1), Some(2)]);
    store.owe_webhooks(99, at(1)).await.unwrap();
    world.publish(1).await;
    slow.commit().await;
    assert_eq!(store.events_after(2, 99).await.unwrap(), [], "committed, and still without a place: told to nobody");
    assert_eq!(store.place_events(99).await.unwrap(), 1);
    let then = store.events_after(2, 99).await.unwrap();
    assert_eq!(then.iter().map(|row| (row.event_id.as_str(), row.position)).collect::<Vec<_>>(), [("late", Some(3))]);
    assert!(then[0].id < first[0].id, "by its number it would have been passed over");
    // whoever else follows has it too
    store.owe_webhooks(99, at(2)).await.unwrap();
    let owed = store.deliveries("hook-aaaa", None, None, 9).await.unwrap();
    assert_eq!(owed.iter().map(|row| row.position).collect::<Vec<_>>(), [3, 2, 1]);
    let mut told = Vec::new();
    for lane in store.lease_lanes("sink", "relay", LANES, at(20), at(2)).await.unwrap() {
        told.extend(store.events_in_lane(&lane, 9).await.unwrap().into_iter().map(|row| row.event_id));
    }
    assert!(told.contains(&"late".to_owned()), "{told:?}");
}

/// A placer that is slow to commit: the next one waits for it, or a reader could see the higher places first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn a_placer_waits_for_the_one_before() {
    let world = World::postgres().await;
    let store = &world.store;
    world.placed("o", 0).await;
    happen(store, "o", 1).await;
    let mut slow = crate::postgres::Session::begin(&world.url).await;
    slow.run("SELECT position FROM outbox_end FOR NO KEY UPDATE").await;
    slow.run("UPDATE outbox SET position = 1 WHERE position IS NULL").await;
    slow.run("UPDATE outbox_end SET position = 1").await;
    happen(store, "o", 2).await;
    let next = tokio::spawn({
        let store = store.clone();
        async move { store.place_events(99).await.unwrap() }
    });
    slow.until_awaited().await;
    assert_eq!(store.events_after(0, 99).await.unwrap(), []);
    slow.commit().await;
    assert_eq!(next.await.unwrap(), 1, "it places what the one before has not");
    let rows = store.events_after(0, 99).await.unwrap();
    assert_eq!(rows.iter().map(|row| (row.position, row.seq)).collect::<Vec<_>>(), [(Some(1), 1), (Some(2), 2)]);
}
