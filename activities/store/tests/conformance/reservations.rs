//! Reservations and departures.

use crate::world::*;
use oms_store::*;

on_both!(
    held_released_and_repeated,
    same_sku_on_two_lines,
    fewest_places,
    sixty_four_racers_for_three,
    one_order_raced,
    reversed_lines_do_not_deadlock,
    release_before_reserve,
    expiry_sells_at_once,
    a_later_revision_replaces_the_earlier,
    commit_moves_the_goods,
    commit_after_release_is_a_departure,
    commit_and_depart_never_both,
    races_of_everything,
);

async fn held_released_and_repeated(world: World) {
    world.stocked("a", "berlin", 3).await;
    let first = world.reserve("o", &[("a", 2)], 0).await;
    assert!(matches!(&first, Reserved::Held { allocations, .. } if allocations[0].lines == quantities(&[("a", 2)])));
    assert_eq!(world.reserve("o", &[("a", 2)], 1).await, first);
    assert_eq!(world.available("a", 1).await, 1);
    assert_eq!(world.reserve("p", &[("a", 2)], 1).await, Reserved::OutOfStock { short: vec![sku("a")] });
    assert_eq!(world.reserve("q", &[("nothing", 1), ("a", 1)], 1).await, Reserved::OutOfStock { short: vec![sku("nothing")] });
    assert!(world.store.release(&order_id("o"), at(2)).await.unwrap());
    assert!(!world.store.release(&order_id("o"), at(3)).await.unwrap());
    assert_eq!(world.reserve("o", &[("a", 2)], 4).await, Reserved::Released);
    assert!(matches!(world.reserve("p", &[("a", 3)], 4).await, Reserved::Held { .. }), "no stock is not remembered");
    world.balanced(4).await;
}

async fn same_sku_on_two_lines(world: World) {
    world.stocked("a", "berlin", 3).await;
    assert_eq!(world.reserve("o", &[("a", 2), ("a", 2)], 0).await, Reserved::OutOfStock { short: vec![sku("a")] });
    let Reserved::Held { allocations, .. } = world.reserve("p", &[("a", 1), ("a", 2)], 0).await else { panic!() };
    assert_eq!(allocations[0].lines, quantities(&[("a", 3)]));
}

async fn fewest_places(world: World) {
    world.stocked("a", "aachen", 1).await;
    world.stocked("a", "berlin", 1).await;
    world.stocked("b", "berlin", 1).await;
    let Reserved::Held { allocations, waiting } = world.reserve("o", &[("b", 1), ("a", 1)], 0).await else { panic!() };
    assert_eq!(allocations.len(), 1);
    assert_eq!(allocations[0].location, place("berlin"));
    let repeat = world.reserve("o", &[("b", 1), ("a", 1)], 0).await;
    assert_eq!(repeat, Reserved::Held { allocations, waiting });
}

async fn sixty_four_racers_for_three(world: World) {
    world.stocked("a", "berlin", 3).await;
    let answers = race(64, |n| {
        let store = world.store.clone();
        async move { store.reserve(&wish(&format!("racer-{n}"), 1, &[("a", 1)]), at(0)).await.unwrap() }
    })
    .await;
    let won = answers.iter().filter(|a| matches!(a, Reserved::Held { .. })).count();
    assert_eq!(won, 3);
    assert_eq!(world.available("a", 0).await, 0);
    world.balanced(0).await;
}

async fn one_order_raced(world: World) {
    world.stocked("a", "berlin", 100).await;
    let answers = race(32, |_| {
        let store = world.store.clone();
        async move { store.reserve(&wish("o", 1, &[("a", 2)]), at(0)).await.unwrap() }
    })
    .await;
    assert!(answers.iter().all(|a| *a == answers[0] && matches!(a, Reserved::Held { .. })));
    assert_eq!(world.available("a", 0).await, 98);
}

async fn reversed_lines_do_not_deadlock(world: World) {
    for name in ["a", "b", "c", "d"] {
        world.stocked(name, "berlin", 1_000).await;
    }
    let answers = race(48, |n| {
        let store = world.store.clone();
        async move {
            let mut lines = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
            if n % 2 == 0 {
                lines.reverse();
            }
            let order = format!("order-{n}");
            store.reserve(&wish(&order, 1, &lines), at(0)).await.unwrap();
            if n % 3 == 0 {
                store.release(&order_id(&order), at(0)).await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(answers.len(), 48);
    assert_eq!(world.available("d", 0).await, 1_000 - 32);
    world.balanced(0).await;
}

async fn release_before_reserve(world: World) {
    world.stocked("a", "berlin", 3).await;
    assert!(!world.store.release(&order_id("o"), at(0)).await.unwrap());
    assert_eq!(world.reserve("o", &[("a", 1)], 1).await, Reserved::Released);
    assert_eq!(world.available("a", 1).await, 3);
}

async fn expiry_sells_at_once(world: World) {
    world.stocked("a", "berlin", 2).await;
    world.stocked("b", "berlin", 1).await;
    world.reserve("o", &[("a", 2), ("b", 1)], 0).await;
    assert_eq!((world.available("a", 599).await, world.available("a", 600).await), (0, 2));
    assert_eq!(world.reserve("p", &[("a", 2)], 599).await, Reserved::OutOfStock { short: vec![sku("a")] });
    let mut late = wish("p", 1, &[("a", 2)]);
    late.expires_at = at(2_000);
    assert!(matches!(world.store.reserve(&late, at(600)).await.unwrap(), Reserved::Held { .. }));
    assert_eq!(world.available("b", 600).await, 1, "the whole promise was taken back");
    let level = world.store.stock(&sku("a"), at(600)).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.reserved), (2, 2));
    world.balanced(600).await;
}

async fn a_later_revision_replaces_the_earlier(world: World) {
    world.stocked("a", "berlin", 2).await;
    world.reserve("o", &[("a", 2)], 0).await;
    let mut again = wish("o", 2, &[("a", 2)]);
    again.expires_at = at(2_000);
    assert!(matches!(world.store.reserve(&again, at(700)).await.unwrap(), Reserved::Held { .. }));
    assert_eq!(world.available("a", 700).await, 0);
    let mut superseded = wish("p", 2, &[("nothing", 1)]);
    assert!(matches!(world.store.reserve(&superseded, at(700)).await.unwrap(), Reserved::OutOfStock { .. }));
    superseded.order_id = order_id("o");
    superseded.revision = 1;
    assert!(matches!(world.store.reserve(&superseded, at(700)).await.unwrap(), Reserved::Held { .. }), "a repeat of the first");
    assert_eq!(world.available("a", 700).await, 0);
    assert!(world.store.release(&order_id("o"), at(701)).await.unwrap());
    assert_eq!(world.available("a", 701).await, 2);
    world.balanced(701).await;
}

async fn commit_moves_the_goods(world: World) {
    world.stocked("a", "berlin", 5).await;
    let held = world.reserve("o", &[("a", 2)], 0).await;
    let parcel = parcel("o", "berlin", &[("a", 2)]);
    for _ in 0..2 {
        world.store.commit_stock(&parcel, at(1)).await.unwrap();
    }
    let level = world.store.stock(&sku("a"), at(1)).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.reserved, level.available), (3, 0, 3));
    assert_eq!(world.reserve("o", &[("a", 2)], 2).await, held, "a repeat answers the same after the goods are gone");
    assert!(!world.store.release(&order_id("o"), at(3)).await.unwrap(), "there is nothing left to release");
    assert_eq!(world.available("a", 3).await, 3);
    world.balanced(3).await;
}

async fn commit_after_release_is_a_departure(world: World) {
    world.stocked("a", "berlin", 5).await;
    world.reserve("o", &[("a", 2)], 0).await;
    world.store.release(&order_id("o"), at(1)).await.unwrap();
    world.reserve("p", &[("a", 4)], 1).await;
    world.store.commit_stock(&parcel("o", "berlin", &[("a", 2)]), at(2)).await.unwrap();
    let level = world.store.stock(&sku("a"), at(2)).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.reserved), (4, 4), "on_hand follows as far as nobody else's promise is broken");
    world.balanced(2).await;
}

async fn commit_and_depart_never_both(world: World) {
    world.stocked("a", "berlin", 3).await;
    let departed = world.store.depart(&parcel("o", "berlin", &[("a", 5)]), at(0)).await.unwrap();
    assert_eq!(departed.missing, quantities(&[("a", 2)]));
    assert_eq!(world.store.depart(&parcel("o", "berlin", &[("a", 5)]), at(1)).await.unwrap(), departed);
    world.stocked("a", "berlin", 9).await;
    world.store.commit_stock(&parcel("o", "berlin", &[("a", 5)]), at(2)).await.unwrap();
    assert_eq!(world.available("a", 2).await, 9);
    let raced = parcel("p", "berlin", &[("a", 2)]);
    race(16, |n| {
        let (store, raced) = (world.store.clone(), raced.clone());
        async move {
            if n % 2 == 0 {
                store.commit_stock(&raced, at(3)).await.unwrap();
            } else {
                store.depart(&raced, at(3)).await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(world.available("a", 3).await, 7);
    let nowhere = world.store.depart(&parcel("q", "mars", &[("a", 1)]), at(4)).await.unwrap();
    assert_eq!(nowhere.missing, quantities(&[("a", 1)]));
    world.balanced(4).await;
}

/// Lapsed promises are taken back by everybody at once, while their owners release, reserve anew and ship.
async fn races_of_everything(world: World) {
    for name in ["a", "b"] {
        world.stocked(name, "berlin", 40).await;
    }
    for n in 0..20 {
        world.reserve(&format!("old-{n}"), &[("a", 1), ("b", 1)], 0).await;
    }
    race(60, |n| {
        let store = world.store.clone();
        async move {
            let (old, new) = (format!("old-{}", n % 20), format!("new-{n}"));
            let mut wish = wish(if n % 4 == 0 { &old } else { &new }, 2, &[("b", 1), ("a", 1)]);
            wish.expires_at = at(2_000);
            match n % 3 {
                0 => drop(store.release(&order_id(&old), at(700)).await.unwrap()),
                1 => store.commit_stock(&parcel(&old, "berlin", &[("a", 1), ("b", 1)]), at(700)).await.unwrap(),
                _ => {}
            }
            store.reserve(&wish, at(700)).await.unwrap();
        }
    })
    .await;
    world.balanced(700).await;
}
