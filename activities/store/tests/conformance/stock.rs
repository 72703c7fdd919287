//! Catalogue, stock and movements.

use crate::world::*;
use oms_domain::money::{Currency, Money};
use oms_domain::shortage::ShortagePolicy;
use oms_store::*;

on_both!(
    catalogue,
    receipts_and_levels,
    adjustments_stop_at_what_is_promised,
    counts_book_the_difference,
    keys_book_once,
    paging,
    movements_sum_to_on_hand,
);

async fn catalogue(world: World) {
    let store = &world.store;
    let mut p = product("a", 1_999);
    assert_eq!(store.product(&p.sku).await.unwrap(), None);
    assert_eq!(store.put_product(&p, at(0)).await.unwrap(), Put::Created);
    p.price = Money::new(7, Currency::parse("KWD").unwrap());
    p.weight_g = None;
    assert_eq!(store.put_product(&p, at(1)).await.unwrap(), Put::Replaced);
    assert_eq!(store.product(&p.sku).await.unwrap(), Some(p.clone()));
    store.put_product(&product("B", 1), at(0)).await.unwrap();
    let names = |page: Vec<Product>| page.into_iter().map(|p| p.sku.to_string()).collect::<Vec<_>>();
    assert_eq!(names(store.products(None, 1).await.unwrap()), ["B"], "sorted by bytes on both databases");
    assert_eq!(names(store.products(Some(&sku("B")), 9).await.unwrap()), ["a"]);
    assert!(matches!(store.put_product(&product("c", -1), at(0)).await, Err(StoreError::Conflict { .. })));
}

async fn receipts_and_levels(world: World) {
    let store = &world.store;
    assert_eq!(store.receive(&movement("a", "berlin", 5), at(0)).await.unwrap(), Moved::UnknownSku);
    assert_eq!(store.stock(&sku("a"), at(0)).await.unwrap(), None);
    world.stocked("a", "berlin", 0).await;
    let empty = store.stock(&sku("a"), at(0)).await.unwrap().unwrap();
    assert_eq!((empty.on_hand, empty.locations.len()), (0, 0));
    assert!(matches!(store.receive(&movement("a", "berlin", 0), at(0)).await, Err(StoreError::Conflict { .. })));
    store.receive(&movement("a", "berlin", 5), at(0)).await.unwrap();
    let Moved::Done(level) = store.receive(&movement("a", "aachen", 2), at(0)).await.unwrap() else { panic!() };
    assert_eq!((level.on_hand, level.reserved, level.available), (7, 0, 7));
    assert_eq!(level.locations.iter().map(|l| l.location.as_str()).collect::<Vec<_>>(), ["aachen", "berlin"]);
    world.balanced(0).await;
}

async fn adjustments_stop_at_what_is_promised(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 5).await;
    world.reserve("o", &[("a", 3)], 0).await;
    let down = |by| movement("a", "berlin", by);
    assert_eq!(store.adjust(&down(-3), at(1)).await.unwrap(), Moved::BelowReserved { on_hand: 5, reserved: 3 });
    assert!(matches!(store.adjust(&down(-2), at(1)).await.unwrap(), Moved::Done(l) if l.available == 0));
    assert_eq!(store.adjust(&down(-1), at(2)).await.unwrap(), Moved::BelowReserved { on_hand: 3, reserved: 3 });
    assert_eq!(store.adjust(&movement("a", "mars", 1), at(2)).await.unwrap(), Moved::UnknownLocation);
    assert_eq!(store.adjust(&movement("x", "berlin", 1), at(2)).await.unwrap(), Moved::UnknownSku);
    // once the promise has run out, nothing holds the units any more
    assert!(matches!(store.adjust(&down(-3), at(600)).await.unwrap(), Moved::Done(l) if l.on_hand == 0));
    world.balanced(600).await;
}

async fn counts_book_the_difference(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 5).await;
    world.reserve("o", &[("a", 2)], 0).await;
    let count = |location: &str, on_hand| Count {
        sku: sku("a"),
        location: place(location),
        on_hand,
        reason: "stocktake".to_owned(),
        actor: "clerk".to_owned(),
        key: None,
    };
    assert!(matches!(store.count(&count("berlin", 9), at(1)).await.unwrap(), Moved::Done(l) if l.on_hand == 9));
    assert!(matches!(store.count(&count("berlin", 9), at(1)).await.unwrap(), Moved::Done(l) if l.on_hand == 9));
    assert_eq!(store.count(&count("berlin", 1), at(1)).await.unwrap(), Moved::BelowReserved { on_hand: 9, reserved: 2 });
    assert_eq!(store.count(&count("mars", 1), at(1)).await.unwrap(), Moved::UnknownLocation);
    world.balanced(1).await;
}

async fn keys_book_once(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 0).await;
    let keyed = Movement { key: Some(claim("k", "body")), ..movement("a", "berlin", 5) };
    let refused = Movement { sku: sku("nope"), ..keyed.clone() };
    assert_eq!(store.receive(&refused, at(0)).await.unwrap(), Moved::UnknownSku, "a refusal does not use up the key");
    let answers = race(16, |_| {
        let (store, keyed) = (world.store.clone(), keyed.clone());
        async move { matches!(store.receive(&keyed, at(0)).await.unwrap(), Moved::Done(_)) }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|done| *done).count(), 1);
    assert!(matches!(store.receive(&keyed, at(1)).await.unwrap(), Moved::Replayed(l) if l.on_hand == 5));
    let other = Movement { key: Some(claim("k", "other body")), ..keyed };
    assert_eq!(store.receive(&other, at(1)).await.unwrap(), Moved::KeyReused);
    world.balanced(1).await;
}

async fn paging(world: World) {
    for name in ["a", "b", "c"] {
        world.stocked(name, "berlin", 1).await;
    }
    world.stocked("d", "berlin", 0).await;
    world.reserve("o", &[("b", 1)], 0).await;
    let page = world.store.stocks(Some(&sku("a")), 2, at(1)).await.unwrap();
    assert_eq!(page.iter().map(|l| (l.sku.as_str(), l.available)).collect::<Vec<_>>(), [("b", 0), ("c", 1)]);
    let page = world.store.stocks(Some(&sku("c")), 2, at(1)).await.unwrap();
    assert_eq!(page.len(), 1);
    assert!(page[0].locations.is_empty());
}

/// Random verbs by random orders at random moments: after each, the books balance.
async fn movements_sum_to_on_hand(world: World) {
    let seed = std::env::var("OMS_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_122);
    println!("OMS_TEST_SEED={seed}");
    let mut dice = Dice(seed);
    let (names, places) = (["a", "b", "c"], ["aachen", "berlin"]);
    for name in names {
        world.stocked(name, "berlin", 20).await;
        world.stocked(name, "aachen", 5).await;
    }
    for now in 0..300 {
        let order = format!("order-{}", dice.below(25));
        let name = names[dice.below(3) as usize];
        let location = places[dice.below(2) as usize];
        let units = dice.below(5) as u32 + 1;
        let store = &world.store;
        match dice.below(10) {
            0 => drop(store.receive(&movement(name, location, i64::from(units)), at(now)).await.unwrap()),
            1 => drop(store.adjust(&movement(name, location, 3 - i64::from(units)), at(now)).await.unwrap()),
            2 | 3 => {
                let mut wish = wish(&order, dice.below(2) as u32 + 1, &[(name, units), ("a", 1)]);
                wish.expires_at = at(now + dice.below(30) as i64);
                store.reserve(&wish, at(now)).await.unwrap();
            }
            4 => drop(store.release(&order_id(&order), at(now)).await.unwrap()),
            5 => store.commit_stock(&parcel(&order, location, &[(name, units)]), at(now)).await.unwrap(),
            6 => drop(store.depart(&parcel(&order, location, &[(name, units)]), at(now)).await.unwrap()),
            7 | 8 => drop(store.reserve(&patient(&order, now, &[(name, units), ("b", 1)]), at(now)).await.unwrap()),
            _ => {
                let policy = [ShortagePolicy::Reject, ShortagePolicy::Wait][dice.below(2) as usize];
                let change = another(&order, dice.below(9) as u32, policy, &[(name, units), ("c", 1)]);
                store.change_reservation(&change, at(now)).await.unwrap();
            }
        }
        world.balanced(now).await;
    }
}
