//! The intake of new orders, and the sweeper's verbs.

use crate::world::*;
use std::time::Duration;

use oms_domain::customer::{Address, Customer, Line};
use oms_domain::ids::OrderId;
use oms_domain::message::{Channel, Locale};
use oms_domain::money::{Currency, Money};
use oms_domain::order::Status;
use oms_domain::pricing::{Discount, DiscountCode, LineRef, PriceRules};
use oms_domain::shortage::{OnShortage, ShortagePolicy};
use oms_store::*;

on_both!(prices_freeze, what_it_brings_along, refusals, a_hundred_with_one_key, a_hundred_without, unstarted_and_forgotten);

async fn prices_freeze(world: World) {
    let placed = world.placed("k", 0).await;
    assert_eq!((placed.totals.subtotal, placed.totals.total), (eur(2_000), eur(2_963)));
    assert_eq!((placed.rev, placed.seq, placed.placed_at), (0, 0, kept(0)));
    assert_eq!(world.store.order(&placed.id).await.unwrap(), Some(placed.clone()), "as it was answered");
    world.store.put_product(&product("a", 9), at(1)).await.unwrap();
    let Intake::Known(known) = world.store.intake(&new_order("k"), &RULES, at(2)).await.unwrap() else { panic!() };
    assert_eq!(known, StoredOrder { intake_at: kept(2), ..placed });
    // the terms too: whoever starts its run later starts it on those
    let later = NewOrder { terms: serde_json::json!({"deadlines": 8}), ..new_order("k") };
    assert!(matches!(world.store.intake(&later, &RULES, at(3)).await.unwrap(), Intake::Known(_)));
    assert_eq!(world.store.order_terms(&order_id("k")).await.unwrap().unwrap()["deadlines"], 7);
    assert_eq!(world.store.order_terms(&order_id("l")).await.unwrap(), None);
    world.sql("UPDATE orders SET terms = NULL").await;
    assert_eq!(world.store.order_terms(&order_id("k")).await.unwrap(), None, "placed before they were kept");
}

async fn what_it_brings_along(world: World) {
    let store = &world.store;
    store.put_product(&product("a", 1_000), at(0)).await.unwrap();
    store.put_product(&product("b", 300), at(0)).await.unwrap();
    let off = |minor: i64, line: Option<(&str, u32)>| Discount {
        code: DiscountCode::parse("SPRING").unwrap(),
        amount: eur(minor),
        line: line.map(|(name, nth)| LineRef { sku: sku(name), nth }),
    };
    let lines = |names: &[&str]| names.iter().map(|n| NewLine { sku: sku(n), quantity: 1 }).collect::<Vec<_>>();
    let new = NewOrder {
        lines: lines(&["a", "b"]),
        discounts: vec![off(100, Some(("b", 0))), off(12, None)],
        on_shortage: OnShortage { policy: ShortagePolicy::Wait, max: Some(Duration::from_secs(86_400)) },
        bill_to: Some(Address { city: Line::parse("Wien").unwrap(), ..new_order("k").ship_to }),
        customer: Customer { locale: Some(Locale::Es), notify: vec![Channel::Mail], ..new_order("k").customer },
        ..new_order("k")
    };
    let Intake::Placed(placed) = store.intake(&new, &RULES, at(0)).await.unwrap() else { panic!() };
    let shares: Vec<_> = placed.lines.iter().map(|l| (l.discount.unwrap().minor, l.total.minor)).collect();
    assert_eq!(shares, [(10, 990), (102, 198)], "1000 and 200 share 12");
    assert_eq!((placed.totals.subtotal, placed.totals.discount), (eur(1_188), Some(eur(112))));
    assert_eq!((&placed.discounts, placed.on_shortage, placed.price_rules), (&new.discounts, new.on_shortage, Some(RULES)));
    assert_eq!((&placed.bill_to, &placed.customer), (&new.bill_to, &new.customer));
    let read = store.order(&placed.id).await.unwrap().unwrap();
    assert_eq!(read, placed, "as it was answered");
    let known = store.intake(&new, &PriceRules::default(), at(0)).await.unwrap();
    assert_eq!(known, Intake::Known(placed), "rules freeze as prices do");

    let intake = async |discounts: Vec<Discount>| {
        let new = NewOrder { lines: lines(&["a", "b"]), discounts, ..new_order("l") };
        store.intake(&new, &RULES, at(1)).await.unwrap()
    };
    let too_large = |discount| Intake::DiscountTooLarge { discount };
    assert_eq!(intake(vec![off(300, Some(("b", 0))), off(1, Some(("b", 0)))]).await, too_large(1));
    assert_eq!(intake(vec![off(1_301, None)]).await, too_large(0));
    let Intake::Placed(free) = intake(vec![off(1_300, None)]).await else { panic!() };
    assert_eq!((free.totals.subtotal, free.totals.discount), (eur(0), Some(eur(1_300))));
}

async fn refusals(world: World) {
    let store = &world.store;
    world.placed("k", 0).await;
    let other = NewOrder { fingerprint: "0".repeat(64), ..new_order("k") };
    assert_eq!(store.intake(&other, &RULES, at(1)).await.unwrap(), Intake::KeyReused);
    let usd = Currency::parse("USD").unwrap();
    store.put_product(&Product { price: Money::new(5, usd), ..product("usd", 1) }, at(0)).await.unwrap();
    store.put_product(&product("dear", i64::MAX / 2), at(0)).await.unwrap();
    let with = |names: &[&str]| NewOrder {
        lines: names.iter().map(|name| NewLine { sku: sku(name), quantity: 3 }).collect(),
        ..new_order("l")
    };
    let intake = async |new: NewOrder| store.intake(&new, &RULES, at(1)).await.unwrap();
    assert_eq!(intake(with(&["a", "x", "usd", "y"])).await, Intake::UnknownSku { lines: vec![1, 3] });
    assert_eq!(intake(with(&["a", "usd"])).await, Intake::CurrencyMismatch { lines: vec![1], expected: usd });
    assert_eq!(intake(with(&["dear"])).await, Intake::TooLarge);
    assert_eq!(store.order(&order_id("l")).await.unwrap(), None, "a refusal leaves nothing");
    assert!(matches!(intake(with(&["a", "a"])).await, Intake::Placed(_)), "and does not use up the key");
}

async fn a_hundred_with_one_key(world: World) {
    world.store.put_product(&product("a", 1), at(0)).await.unwrap();
    let answers = race(100, |n| {
        let store = world.store.clone();
        async move {
            let mut new = new_order("k");
            if n % 10 == 9 {
                new.fingerprint = "0".repeat(64);
            }
            match store.intake(&new, &RULES, at(n as i64)).await.unwrap() {
                Intake::Placed(_) => "placed",
                Intake::Known(_) => "known",
                Intake::KeyReused => "reused",
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    let counts = tally(answers);
    assert_eq!(counts["placed"], 1);
    // whichever of the two requests came first, the other one's attempts are refused
    assert!(matches!((counts["known"], counts["reused"]), (89, 10) | (9, 90)), "{counts:?}");
    assert_eq!(world.store.orders(&OrderFilter::default(), None, 100).await.unwrap().len(), 1);
}

async fn a_hundred_without(world: World) {
    world.store.put_product(&product("a", 1), at(0)).await.unwrap();
    race(100, |n| {
        let store = world.store.clone();
        async move {
            let new = NewOrder { id: OrderId::from_random([n as u8; 16]), ..new_order("-") };
            assert!(matches!(store.intake(&new, &RULES, at(0)).await.unwrap(), Intake::Placed(_)));
        }
    })
    .await;
    assert_eq!(world.store.orders(&OrderFilter::default(), None, 1_000).await.unwrap().len(), 100);
}

async fn unstarted_and_forgotten(world: World) {
    let store = &world.store;
    for (key, now) in [("old", 0), ("newer", 10), ("started", 0)] {
        world.placed(key, now).await;
    }
    store.record(&record("started", 1, life(Status::Placed), vec![]), at(1)).await.unwrap();
    let old = Unstarted { id: order_id("old"), intake_at: kept(0) };
    assert_eq!(store.unstarted(at(10), 9).await.unwrap(), std::slice::from_ref(&old));
    store.intake(&new_order("old"), &RULES, at(20)).await.unwrap();
    assert!(!store.forget(&old.id, old.intake_at).await.unwrap(), "somebody asked for it meanwhile");
    assert!(!store.forget(&order_id("started"), at(0)).await.unwrap());
    store.intake(&new_order("started"), &RULES, at(30)).await.unwrap();
    assert_eq!(store.order(&order_id("started")).await.unwrap().unwrap().intake_at, kept(0), "a started order is not touched");
    assert!(store.forget(&old.id, at(20)).await.unwrap());
    assert_eq!(store.order(&old.id).await.unwrap(), None);
    assert!(matches!(store.intake(&new_order("old"), &RULES, at(40)).await.unwrap(), Intake::Placed(_)));
}
