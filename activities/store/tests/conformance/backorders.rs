//! Orders that wait for stock.

use std::collections::BTreeMap;

use crate::world::*;
use oms_domain::shortage::ShortagePolicy::{Reject, ShipAvailable, Wait};
use oms_domain::stock::Quantity;
use oms_store::*;

on_both!(
    what_is_there_and_the_rest_later,
    five_hundred_in_the_order_of_their_placing,
    newcomers_come_last,
    everything_that_frees_units_feeds_waiters,
    several_articles_and_places,
    wakes_are_not_lost,
    release_leaves_the_queue,
    changes_up_and_down,
    changes_are_numbered,
    refused_changes_change_nothing,
    changes_count_what_left,
    changes_of_what_ran_out,
    races_of_waiters,
    races_for_a_new_shelf,
    races_between_goods_and_their_order,
);

/// What an order has and what it waits for.
fn held(answer: &Reserved) -> (BTreeMap<(String, String), u32>, Vec<Quantity>) {
    let Reserved::Held { allocations, waiting } = answer else { panic!("{answer:?}") };
    let lines = allocations.iter().flat_map(|a| a.lines.iter().map(move |l| (a, l)));
    (lines.map(|(a, l)| ((a.location.to_string(), l.sku.to_string()), l.quantity)).collect(), waiting.clone())
}
fn has(lines: &[(&str, &str, u32)]) -> BTreeMap<(String, String), u32> {
    lines.iter().map(|(place, name, n)| ((place.to_string(), name.to_string()), *n)).collect()
}
async fn receive(world: &World, name: &str, place: &str, units: i64, now: i64) {
    let moved = world.store.receive(&movement(name, place, units), at(now)).await.unwrap();
    assert!(matches!(moved, Moved::Done(_)), "{moved:?}");
}
async fn lacks(world: &World, order: &str) -> u32 {
    world.store.waiting(&order_id(order)).await.unwrap().iter().map(|q| q.quantity).sum()
}

async fn what_is_there_and_the_rest_later(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 2).await;
    world.stocked("b", "berlin", 0).await;
    let wish = patient("o", 5, &[("a", 3), ("b", 1)]);
    let first = store.reserve(&wish, at(10)).await.unwrap();
    assert_eq!(held(&first), (has(&[("berlin", "a", 2)]), quantities(&[("a", 1), ("b", 1)])));
    assert_eq!(store.reserve(&wish, at(11)).await.unwrap(), first);
    let level = store.stock(&sku("a"), at(99_999)).await.unwrap().unwrap();
    assert_eq!((level.reserved, level.available, level.waiting), (2, 0, 1), "what a waiting order has does not run out");
    receive(&world, "a", "aachen", 5, 12).await;
    let answer = store.reserve(&wish, at(13)).await.unwrap();
    assert_eq!(held(&answer), (has(&[("aachen", "a", 1), ("berlin", "a", 2)]), quantities(&[("b", 1)])));
    assert_eq!(world.available("a", 13).await, 4);
    // of what was promised, a parcel leaves; the answer still lists it
    store.commit_stock(&parcel("o", "berlin", &[("a", 2)]), at(14)).await.unwrap();
    assert_eq!(store.reserve(&wish, at(15)).await.unwrap(), answer);
    receive(&world, "b", "berlin", 1, 16).await;
    let (lines, waiting) = held(&store.reserve(&wish, at(17)).await.unwrap());
    assert_eq!((lines.values().sum::<u32>(), waiting.len()), (4, 0));
    world.balanced(17).await;
}

async fn five_hundred_in_the_order_of_their_placing(world: World) {
    const ORDERS: u64 = 500;
    let seed = std::env::var("OMS_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_122);
    println!("OMS_TEST_SEED={seed}");
    let mut dice = Dice(seed);
    world.stocked("a", "berlin", 0).await;
    // they come in another order than they were placed in; 7 is no divisor of 500
    let wants: Vec<u32> = (0..ORDERS).map(|_| dice.below(4) as u32 + 1).collect();
    for n in 0..ORDERS {
        let n = (n * 7) % ORDERS;
        let wish = patient(&format!("w-{n}"), n as i64, &[("a", wants[n as usize])]);
        world.store.reserve(&wish, at(1_000)).await.unwrap();
    }
    let all: u32 = wants.iter().sum();
    let (mut received, mut now) = (0u32, 1_000);
    while received < all {
        now += 1;
        let units = (dice.below(60) as u32 + 1).min(all - received);
        receive(&world, "a", ["aachen", "berlin"][dice.below(2) as usize], i64::from(units), now).await;
        received += units;
        let level = world.store.stock(&sku("a"), at(now)).await.unwrap().unwrap();
        assert_eq!((level.available, level.waiting), (0, u64::from(all - received)));
        let mut before = 0;
        for (n, want) in wants.iter().enumerate() {
            // all of them sometimes, and always those at the border
            let near = before < received + 10 && before + 10 + want > received;
            if near || dice.below(20) == 0 {
                let expected = (before + want).saturating_sub(received).min(*want);
                assert_eq!(lacks(&world, &format!("w-{n}")).await, expected, "order {n} after {received} units");
            }
            before += want;
        }
        let late = format!("late-{now}");
        assert!(matches!(world.store.reserve(&wish(&late, 1, &[("a", 1)]), at(now)).await.unwrap(), Reserved::OutOfStock { .. }));
    }
    assert_eq!(world.store.wakes(1_000).await.unwrap().len(), ORDERS as usize);
    for (n, want) in wants.iter().enumerate() {
        let again = patient(&format!("w-{n}"), n as i64, &[("a", *want)]);
        let (lines, waiting) = held(&world.store.reserve(&again, at(now)).await.unwrap());
        assert_eq!((lines.values().sum::<u32>(), waiting.len()), (*want, 0));
    }
    world.balanced(now).await;
}

async fn newcomers_come_last(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 2).await;
    world.reserve("holder", &[("a", 2)], 0).await;
    store.reserve(&patient("waits", 50, &[("a", 2)]), at(100)).await.unwrap();
    // the promise has run out, nobody has taken it back; a newcomer does, and finds somebody before it, though placed later
    let early = store.reserve(&patient("early", 1, &[("a", 1)]), at(700)).await.unwrap();
    assert_eq!(held(&early), (has(&[]), quantities(&[("a", 1)])));
    assert_eq!(lacks(&world, "waits").await, 0);
    store.reserve(&patient("later", 60, &[("a", 1)]), at(701)).await.unwrap();
    receive(&world, "a", "berlin", 1, 702).await;
    assert_eq!((lacks(&world, "early").await, lacks(&world, "later").await), (0, 1), "within the queue the placing counts");
    world.balanced(702).await;
}

async fn everything_that_frees_units_feeds_waiters(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 9).await;
    world.reserve("lapses", &[("a", 2)], 0).await;
    for order in ["released", "shrinks", "renews"] {
        let mut wish = wish(order, 1, &[("a", 2)]);
        wish.expires_at = at(9_000);
        store.reserve(&wish, at(0)).await.unwrap();
    }
    store.reserve(&patient("waits", 1, &[("a", 30)]), at(2)).await.unwrap();
    assert_eq!(lacks(&world, "waits").await, 29);
    store.release(&order_id("released"), at(3)).await.unwrap();
    assert_eq!(lacks(&world, "waits").await, 27);
    assert_eq!(store.take_back_lapsed(9, at(599)).await, Ok(0));
    assert_eq!(store.take_back_lapsed(9, at(600)).await, Ok(1));
    assert_eq!(lacks(&world, "waits").await, 25);
    store.change_reservation(&another("shrinks", 1, Reject, &[("a", 1)]), at(601)).await.unwrap();
    assert_eq!(lacks(&world, "waits").await, 24);
    let mut fewer = wish("renews", 2, &[("a", 1)]);
    fewer.expires_at = at(9_000);
    let kept = store.reserve(&fewer, at(602)).await.unwrap();
    assert_eq!(held(&kept).0.values().sum::<u32>(), 1, "a newer wish keeps what the older one had before anybody else gets it");
    assert_eq!(lacks(&world, "waits").await, 23);
    store.adjust(&movement("a", "berlin", 3), at(603)).await.unwrap();
    assert_eq!(lacks(&world, "waits").await, 20);
    let (reason, actor) = ("stocktake".to_owned(), "clerk".to_owned());
    let count = Count { sku: sku("a"), location: place("berlin"), on_hand: 17, reason, actor, key: None };
    store.count(&count, at(604)).await.unwrap();
    assert_eq!(lacks(&world, "waits").await, 15);
    // a parcel of another order takes promises back on its way
    let mut short = wish("short", 1, &[("b", 1)]);
    world.stocked("b", "berlin", 2).await;
    short.lines.extend(quantities(&[("b", 1)]));
    short.expires_at = at(700);
    store.reserve(&short, at(605)).await.unwrap();
    store.reserve(&patient("waits-b", 1, &[("b", 2)]), at(606)).await.unwrap();
    let departed = store.depart(&parcel("stray", "berlin", &[("b", 1)]), at(700)).await.unwrap();
    assert_eq!((departed.missing.len(), lacks(&world, "waits-b").await), (0, 1), "the parcel is gone, one unit is left");
    world.balanced(700).await;
}

async fn several_articles_and_places(world: World) {
    let store = &world.store;
    for name in ["a", "b"] {
        world.stocked(name, "berlin", 0).await;
    }
    receive(&world, "b", "munich", 1, 0).await;
    store.reserve(&patient("o", 1, &[("a", 2), ("b", 1)]), at(1)).await.unwrap();
    let mut held_by = wish("h", 1, &[("a", 4)]);
    receive(&world, "a", "aachen", 2, 2).await;
    assert_eq!(lacks(&world, "o").await, 0);
    store.reserve(&patient("p", 2, &[("a", 2), ("b", 1)]), at(3)).await.unwrap();
    receive(&world, "b", "munich", 1, 4).await;
    // two places get units in one moment: those come from where the order has something already
    held_by.lines = quantities(&[("a", 4)]);
    store.reserve(&patient("q", 1, &[("a", 4)]), at(4)).await.unwrap();
    receive(&world, "a", "aachen", 2, 5).await;
    receive(&world, "a", "munich", 2, 5).await;
    assert_eq!((lacks(&world, "q").await, lacks(&world, "p").await), (0, 2));
    store.release(&order_id("q"), at(6)).await.unwrap();
    let (lines, waiting) = held(&store.reserve(&patient("p", 2, &[("a", 2), ("b", 1)]), at(7)).await.unwrap());
    assert_eq!((lines, waiting), (has(&[("munich", "a", 2), ("munich", "b", 1)]), Vec::new()));
    world.balanced(7).await;
}

async fn wakes_are_not_lost(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 0).await;
    store.reserve(&patient("o", 1, &[("a", 3)]), at(1)).await.unwrap();
    assert_eq!(store.wakes(9).await.unwrap(), []);
    receive(&world, "a", "berlin", 1, 2).await;
    let first = store.wakes(9).await.unwrap().remove(0);
    assert_eq!((&first.order_id, first.created_at), (&order_id("o"), kept(2)));
    // in the same instant, while the first is on its way
    receive(&world, "a", "berlin", 1, 2).await;
    store.woken(&first).await.unwrap();
    let second = store.wakes(9).await.unwrap().remove(0);
    assert_ne!(second, first);
    store.woken(&second).await.unwrap();
    store.woken(&second).await.unwrap();
    assert_eq!(store.wakes(9).await.unwrap(), []);
}

async fn release_leaves_the_queue(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 1).await;
    world.stocked("b", "berlin", 0).await;
    store.reserve(&patient("o", 1, &[("a", 2), ("b", 1)]), at(1)).await.unwrap();
    store.reserve(&patient("p", 2, &[("a", 1)]), at(2)).await.unwrap();
    receive(&world, "b", "berlin", 1, 3).await;
    assert!(store.release(&order_id("o"), at(4)).await.unwrap());
    assert_eq!((lacks(&world, "o").await, lacks(&world, "p").await), (0, 0));
    let woken: Vec<_> = store.wakes(9).await.unwrap().into_iter().map(|w| w.order_id).collect();
    assert_eq!(woken, [order_id("p")]);
    receive(&world, "b", "berlin", 1, 5).await;
    assert_eq!(world.available("b", 5).await, 2);
    assert_eq!(store.reserve(&patient("o", 1, &[("a", 2), ("b", 1)]), at(6)).await.unwrap(), Reserved::Released);
    assert_eq!(store.change_reservation(&another("o", 1, Wait, &[("a", 1)]), at(6)).await.unwrap(), Reserved::Released);
    world.balanced(6).await;
}

async fn changes_up_and_down(world: World) {
    let store = &world.store;
    for (name, units) in [("a", 5), ("b", 5), ("c", 0)] {
        world.stocked(name, "berlin", units).await;
    }
    world.reserve("o", &[("a", 4)], 0).await;
    let change = another("o", 1, Reject, &[("a", 2), ("b", 3)]);
    let answer = store.change_reservation(&change, at(1)).await.unwrap();
    assert_eq!(held(&answer), (has(&[("berlin", "a", 2), ("berlin", "b", 3)]), Vec::new()));
    assert_eq!((world.available("a", 1).await, world.available("b", 1).await), (3, 2));
    assert_eq!(world.available("a", 700).await, 5, "under policy reject the promise still runs out");
    let change = another("o", 2, ShipAvailable, &[("a", 7), ("c", 1)]);
    let answer = store.change_reservation(&change, at(2)).await.unwrap();
    assert_eq!(held(&answer), (has(&[("berlin", "a", 5)]), quantities(&[("a", 2), ("c", 1)])));
    assert_eq!((world.available("b", 2).await, world.available("a", 700).await), (5, 0), "and no longer once the order waits");
    receive(&world, "a", "berlin", 1, 3).await;
    let change = another("o", 3, Wait, &[("a", 6)]);
    assert_eq!(held(&store.change_reservation(&change, at(4)).await.unwrap()), (has(&[("berlin", "a", 6)]), Vec::new()));
    receive(&world, "c", "berlin", 1, 5).await;
    assert_eq!(world.available("c", 5).await, 1, "what was dropped is not waited for");
    let nothing = store.change_reservation(&another("o", 4, Reject, &[]), at(6)).await.unwrap();
    assert_eq!(held(&nothing), (has(&[]), Vec::new()));
    assert_eq!(world.available("a", 6).await, 6);
    world.balanced(6).await;
}

async fn changes_are_numbered(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 9).await;
    world.reserve("o", &[("a", 1)], 0).await;
    let two = store.change_reservation(&another("o", 2, Reject, &[("a", 4)]), at(1)).await.unwrap();
    for late in [another("o", 2, Reject, &[("a", 4)]), another("o", 1, Reject, &[("a", 9)]), another("o", 2, Wait, &[("a", 7)])] {
        assert_eq!(store.change_reservation(&late, at(2)).await.unwrap(), two);
    }
    assert_eq!(world.reserve("o", &[("a", 1)], 3).await, two, "a late repeat of the first wish");
    let answers = race(16, |n| {
        let store = world.store.clone();
        let change = another("o", 3 + n as u32 % 4, Reject, &[("a", n as u32 % 4 + 1)]);
        async move { store.change_reservation(&change, at(4)).await.unwrap() }
    })
    .await;
    assert!(answers.iter().all(|a| matches!(a, Reserved::Held { .. })));
    assert_eq!(world.available("a", 5).await, 5, "the newest number has won");
    world.balanced(5).await;
}

async fn refused_changes_change_nothing(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 3).await;
    world.stocked("b", "berlin", 1).await;
    let before = store.reserve(&patient("o", 1, &[("a", 2), ("b", 2)]), at(0)).await.unwrap();
    let short = Reserved::OutOfStock { short: vec![sku("b")] };
    let change = another("o", 1, Reject, &[("a", 1), ("b", 2)]);
    assert_eq!(store.change_reservation(&change, at(1)).await.unwrap(), short);
    assert_eq!(store.reserve(&patient("o", 1, &[("a", 2), ("b", 2)]), at(2)).await.unwrap(), before);
    receive(&world, "b", "berlin", 5, 3).await;
    assert_eq!(store.change_reservation(&change, at(4)).await.unwrap(), short, "the order has gone on: a repeat is refused too");
    let again = another("o", 2, Reject, &[("a", 1), ("b", 2)]);
    assert_eq!(held(&store.change_reservation(&again, at(5)).await.unwrap()).0, has(&[("berlin", "a", 1), ("berlin", "b", 2)]));
    world.balanced(5).await;
}

async fn changes_count_what_left(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 3).await;
    store.reserve(&patient("o", 1, &[("a", 5)]), at(0)).await.unwrap();
    store.commit_stock(&parcel("o", "berlin", &[("a", 2)]), at(1)).await.unwrap();
    let answer = store.change_reservation(&another("o", 1, Wait, &[("a", 2)]), at(2)).await.unwrap();
    assert_eq!(held(&answer), (has(&[("berlin", "a", 2)]), Vec::new()));
    assert_eq!(world.available("a", 2).await, 1, "the third unit is free again, and nobody waits");
    let answer = store.change_reservation(&another("o", 2, Wait, &[("a", 1)]), at(3)).await.unwrap();
    assert_eq!(held(&answer).0, has(&[("berlin", "a", 2)]), "what left does not come back");
    let answer = store.change_reservation(&another("o", 3, Wait, &[("a", 4)]), at(4)).await.unwrap();
    assert_eq!(held(&answer), (has(&[("berlin", "a", 3)]), quantities(&[("a", 1)])));
    world.balanced(4).await;
}

async fn changes_of_what_ran_out(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 3).await;
    world.reserve("o", &[("a", 2)], 0).await;
    let answer = store.change_reservation(&another("o", 1, Reject, &[("a", 3)]), at(700)).await.unwrap();
    assert_eq!(held(&answer).0, has(&[("berlin", "a", 3)]));
    assert_eq!(world.available("a", 9_999).await, 0);
    let none = store.change_reservation(&another("never-asked", 1, Wait, &[("a", 1)]), at(701)).await.unwrap();
    assert_eq!(held(&none), (has(&[]), quantities(&[("a", 1)])));
    world.balanced(701).await;
}

/// Orders come, wait, change their minds and go while goods arrive and leave: the books balance, and nothing lies idle.
async fn races_of_waiters(world: World) {
    for name in ["a", "b"] {
        world.stocked(name, "berlin", 5).await;
    }
    for round in 0..4 {
        race(48, |n| {
            let store = world.store.clone();
            async move {
                let now = at(1_000 + round * 700);
                let order = format!("o-{}", n % 12 + round as usize * 6);
                let lines = [("b", n as u32 % 3 + 1), ("a", n as u32 % 2 + 1)];
                match n % 6 {
                    0 => {
                        drop(store.receive(&movement(["a", "b"][n / 6 % 2], ["aachen", "berlin"][n % 2], 4), now).await.unwrap())
                    }
                    1 => drop(store.release(&order_id(&order), now).await.unwrap()),
                    2 => {
                        let change = another(&order, n as u32, [Reject, Wait][n / 6 % 2], &lines);
                        store.change_reservation(&change, now).await.unwrap();
                    }
                    3 => {
                        let expires_at = at(1_300 + round * 700);
                        store
                            .reserve(&Reserve { expires_at, ..wish(&format!("r-{n}-{round}"), 1, &lines) }, now)
                            .await
                            .map(drop)
                            .unwrap();
                    }
                    4 => store.commit_stock(&parcel(&order, "berlin", &[("a", 1)]), now).await.unwrap(),
                    _ => drop(store.reserve(&patient(&order, n as i64, &lines), now).await.unwrap()),
                }
            }
        })
        .await;
        world.balanced(1_000 + round * 700).await;
    }
}

/// The first units of an article come to a place that never had any, in the moment in which somebody starts to wait.
async fn races_for_a_new_shelf(world: World) {
    for round in 0..20 {
        let name = format!("new-{round}");
        world.stocked(&name, "berlin", 0).await;
        race(3, |n| {
            let (store, name) = (world.store.clone(), name.clone());
            async move {
                match n {
                    0 => drop(store.receive(&movement(&name, &format!("place-{round}"), 1), at(1)).await.unwrap()),
                    1 => drop(store.receive(&movement(&name, &format!("other-{round}"), 1), at(1)).await.unwrap()),
                    _ => drop(store.reserve(&patient(&format!("w-{round}"), 1, &[(&name, 2)]), at(1)).await.unwrap()),
                }
            }
        })
        .await;
        assert_eq!(lacks(&world, &format!("w-{round}")).await, 0);
    }
    world.balanced(1).await;
}

/// Goods come for an order in the moment in which it goes, changes or ships: no unit is lost on the way from its queue to its lines.
async fn races_between_goods_and_their_order(world: World) {
    for round in 0..60 {
        let (name, order) = (format!("a-{round}"), format!("o-{round}"));
        world.stocked(&name, "berlin", 1).await;
        world.store.reserve(&patient(&order, 1, &[(&name, 3)]), at(1)).await.unwrap();
        race(4, |n| {
            let (store, name, order) = (world.store.clone(), name.clone(), order.clone());
            async move {
                match (n, round % 3) {
                    (0, _) => drop(store.receive(&movement(&name, "berlin", 2), at(2)).await.unwrap()),
                    (1, 0) => drop(store.release(&order_id(&order), at(2)).await.unwrap()),
                    (1, 1) => drop(store.change_reservation(&another(&order, 1, Wait, &[(&name, 1)]), at(2)).await.unwrap()),
                    (1, _) => store.commit_stock(&parcel(&order, "berlin", &[(&name, 3)]), at(2)).await.unwrap(),
                    _ => drop(store.receive(&movement(&name, "aachen", 1), at(2)).await.unwrap()),
                }
            }
        })
        .await;
        let (level, kept) = (world.store.stock(&sku(&name), at(3)).await.unwrap().unwrap(), [0, 1, 2][round % 3]);
        match kept {
            0 => assert_eq!((level.on_hand, level.available, level.waiting), (5, 5, 0)),
            1 => assert_eq!((level.on_hand, level.available, level.waiting), (5, 4, 0)),
            _ => assert_eq!(level.waiting, 0),
        }
    }
    world.balanced(3).await;
}
