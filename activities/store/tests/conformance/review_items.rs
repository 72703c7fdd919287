//! The review queue: opened once, closed once, by whomever.

use crate::world::*;
use oms_domain::event::FactKind::*;
use oms_domain::life::{Life, Why};
use oms_domain::order::Status;
use oms_domain::review::{Attention, Resolution};
use oms_store::*;

on_both!(
    flags_are_mirrored,
    a_person_resolves_in_a_record,
    items_beside_the_run,
    resolved_after_the_end,
    one_resolver_wins,
    lists_and_counts,
    flags_from_before_the_queue,
);

fn flag(code: &str, since: i64) -> Attention {
    Attention::new(code, None, format!("{code}: look"), at(since))
}

fn flagged(status: Status, flags: &[Attention]) -> Life {
    Life { attention: flags.to_vec(), ..life(status) }
}

fn decision(action: Resolution, actor: &str) -> ItemResolution {
    ItemResolution { action, reference: Some("T-7".to_owned()), reason: Why::parse("seen to").unwrap(), actor: actor.to_owned() }
}

fn item(id: &str, kind: &str, order: Option<&str>, source: ItemSource) -> NewItem {
    NewItem {
        id: id.to_owned(),
        kind: kind.to_owned(),
        order_id: order.map(order_id),
        shipment_id: None,
        subject: order.unwrap_or(id).to_owned(),
        detail: "look".to_owned(),
        source,
    }
}

async fn open_now(world: &World) -> Vec<String> {
    let open = ItemFilter { state: Some(ItemState::Open), ..ItemFilter::default() };
    world.store.review_items(&open, None, 99).await.unwrap().into_iter().map(|i| i.kind).collect()
}

async fn needs_attention(world: &World, key: &str) -> bool {
    let filter = OrderFilter { needs_attention: Some(true), ..OrderFilter::default() };
    let found = world.store.orders(&filter, None, 99).await.unwrap().iter().any(|o| o.id == order_id(key));
    assert_eq!(found, world.store.order(&order_id(key)).await.unwrap().unwrap().items_open);
    found
}

async fn flags_are_mirrored(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    let (stuck, lost) = (flag("stuck", 1), Attention { shipment: Some(shipment_id("o", 1)), ..flag("lost", 2) });
    let up = record("o", 1, flagged(Status::Confirmed, &[stuck.clone(), lost.clone()]), vec![]);
    for now in [3, 4] {
        store.record(&up, at(now)).await.unwrap();
    }
    assert_eq!(open_now(&world).await, ["stuck", "lost"]);
    let seen = store.review_item(&lost.item(&order_id("o"))).await.unwrap().unwrap();
    assert_eq!((seen.source, seen.opened_at, seen.shipment_id), (ItemSource::Order, kept(2), Some(shipment_id("o", 1))));
    assert_eq!((seen.subject.as_str(), seen.detail.as_str()), (shipment_id("o", 1).as_str(), "lost: look"));
    assert!(needs_attention(&world, "o").await);

    store.record(&record("o", 2, flagged(Status::Confirmed, std::slice::from_ref(&lost)), vec![]), at(5)).await.unwrap();
    assert_eq!(open_now(&world).await, ["lost"]);
    let settled = store.review_item(&stuck.item(&order_id("o"))).await.unwrap().unwrap();
    assert_eq!((settled.state, settled.closed_at, settled.resolution), (ItemState::Settled, Some(kept(5)), None));
    store.record(&up, at(6)).await.unwrap();
    assert_eq!(open_now(&world).await, ["lost"], "a late record opens nothing again");

    let again = flag("stuck", 7);
    store.record(&record("o", 3, flagged(Status::Confirmed, &[again]), vec![]), at(7)).await.unwrap();
    assert_eq!(open_now(&world).await, ["stuck"], "the same flag, raised anew, is an item of its own");
    store.record(&record("o", 4, life(Status::Confirmed), vec![]), at(8)).await.unwrap();
    assert!(open_now(&world).await.is_empty() && !needs_attention(&world, "o").await);

    let once_more = record("o", 5, flagged(Status::Confirmed, std::slice::from_ref(&lost)), vec![]);
    store.record(&once_more, at(9)).await.unwrap();
    assert_eq!(open_now(&world).await, ["lost"], "a run that was reset raises the very same flag");
    assert!(needs_attention(&world, "o").await);
}

async fn a_person_resolves_in_a_record(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    let (refused, stuck) = (flag("capture_refused", 1), flag("stuck", 1));
    store.record(&record("o", 1, flagged(Status::Shipped, &[refused.clone(), stuck.clone()]), vec![]), at(1)).await.unwrap();
    let decided = |flag: &Attention, actor: &str| ResolvedItem {
        item: flag.item(&order_id("o")),
        resolution: decision(Resolution::UseExternalReference, actor),
    };
    // one flag comes down with its item; the other stays up although a person asked for another try
    let resolved = vec![decided(&refused, "ada"), decided(&stuck, "ada")];
    let second = Record { resolved, ..record("o", 2, flagged(Status::Shipped, std::slice::from_ref(&stuck)), vec![]) };
    for now in [2, 3] {
        store.record(&second, at(now)).await.unwrap();
    }
    for flag in [&refused, &stuck] {
        let item = store.review_item(&flag.item(&order_id("o"))).await.unwrap().unwrap();
        assert_eq!((item.state, item.closed_at), (ItemState::Resolved, Some(kept(2))));
        assert_eq!(item.resolution, Some(decision(Resolution::UseExternalReference, "ada")));
    }
    assert!(needs_attention(&world, "o").await, "its flag is still up");
    store.record(&record("o", 3, life(Status::Shipped), vec![]), at(4)).await.unwrap();
    let item = store.review_item(&stuck.item(&order_id("o"))).await.unwrap().unwrap();
    assert_eq!((item.state, needs_attention(&world, "o").await), (ItemState::Resolved, false));
    // an item of another order is not closed from here
    world.placed("p", 0).await;
    store.open_item(&item_of("p"), at(5)).await.unwrap();
    let foreign = ResolvedItem { item: "watch-p".to_owned(), resolution: decision(Resolution::Retry, "ada") };
    store.record(&Record { resolved: vec![foreign], ..record("o", 4, life(Status::Shipped), vec![]) }, at(5)).await.unwrap();
    assert_eq!(store.review_item("watch-p").await.unwrap().unwrap().state, ItemState::Open);
}

fn item_of(key: &str) -> NewItem {
    item(&format!("watch-{key}"), "overdue", Some(key), ItemSource::Watchdog)
}

async fn items_beside_the_run(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    store.record(&record("o", 1, life(Status::Confirmed), vec![]), at(1)).await.unwrap();
    assert!(store.open_item(&item_of("o"), at(2)).await.unwrap());
    assert!(!store.open_item(&item_of("o"), at(3)).await.unwrap());
    assert!(needs_attention(&world, "o").await);
    assert_eq!(store.order(&order_id("o")).await.unwrap().unwrap().updated_at, kept(1), "the call is no move of the order");
    store.record(&record("o", 2, life(Status::Confirmed), vec![]), at(3)).await.unwrap();
    assert!(needs_attention(&world, "o").await, "the run's next record does not hide it");
    assert!(store.settle_item("watch-o", at(4)).await.unwrap());
    assert!(!store.settle_item("watch-o", at(5)).await.unwrap());
    assert!(!store.settle_item("nothing", at(5)).await.unwrap());
    assert!(!store.open_item(&item_of("o"), at(6)).await.unwrap(), "what was closed stays closed");
    assert!(!needs_attention(&world, "o").await);

    let id = order_id("o");
    store.open_item(&item("watch-2", "overdue", Some("o"), ItemSource::Watchdog), at(7)).await.unwrap();
    let outcome = store.resolve_item("watch-2", &decision(Resolution::Retry, "ada"), at(8)).await.unwrap();
    assert!(matches!(outcome, ResolveOutcome::Done(item) if item.state == ItemState::Resolved));
    let order = store.order(&id).await.unwrap().unwrap();
    assert_eq!((order.rev, order.seq, order.items_open), (2, 1, false), "the open run's version is the run's");
    let told = &store.timeline(&id).await.unwrap()[0];
    assert_eq!((told.kind.as_str(), told.actor.as_str()), ("review.resolved", "ada"));
    assert_eq!(told.reason.as_deref(), Some("overdue, retry: seen to"));

    // about nothing of ours, and about an order that we do not know
    assert!(store.open_item(&item("recon-1", "unknown_capture", None, ItemSource::Reconciliation), at(9)).await.unwrap());
    assert!(store.open_item(&item("recon-2", "unknown_order", Some("nobody"), ItemSource::Reconciliation), at(9)).await.unwrap());
    for id in ["recon-1", "recon-2"] {
        let outcome = store.resolve_item(id, &decision(Resolution::UseExternalReference, "ada"), at(10)).await.unwrap();
        assert!(matches!(outcome, ResolveOutcome::Done(_)), "{outcome:?}");
    }
}

async fn resolved_after_the_end(world: World) {
    let store = &world.store;
    let id = order_id("o");
    world.placed("o", 0).await;
    let (left, short) = (flag("departed_after_cancel", 1), flag("stock_short_after_departure", 1));
    let over = flagged(Status::Cancelled, &[left.clone(), short.clone()]);
    store.record(&record("o", 7, over, vec![fact("cancelled", OrderCancelled)]), at(1)).await.unwrap();
    let how = decision(Resolution::UseExternalReference, "ada");
    let ResolveOutcome::Done(done) = store.resolve_item(&left.item(&id), &how, at(2)).await.unwrap() else { panic!() };
    assert_eq!((done.state, done.resolution), (ItemState::Resolved, Some(how.clone())));
    let order = store.order(&id).await.unwrap().unwrap();
    assert_eq!((order.rev, order.seq, order.items_open), (8, 2, true));
    assert_eq!(order.life.attention, std::slice::from_ref(&short));
    let again = store.resolve_item(&left.item(&id), &decision(Resolution::Retry, "eve"), at(3)).await.unwrap();
    assert!(matches!(again, ResolveOutcome::AlreadyClosed(item) if item.resolution == Some(how.clone())));
    assert_eq!(store.resolve_item("nothing", &how, at(3)).await.unwrap(), ResolveOutcome::Unknown);
    assert_eq!(store.order(&id).await.unwrap().unwrap().rev, 8, "who came second changed nothing");

    // a story after the end closes the other, and its flag comes down too
    let settle = Append { settled: vec![short.item(&id)], ..Append::default() };
    for _ in 0..2 {
        store.append(&id, &[fact("counted", AttentionCleared)], settle.clone(), None, at(4)).await.unwrap();
    }
    let order = store.order(&id).await.unwrap().unwrap();
    assert_eq!((order.rev, order.seq, order.items_open, order.life.attention.len()), (9, 3, false, 0));
    // and a story's flag opens an item
    let raise = Append { attention: Some(flag("lost", 5)), ..Append::default() };
    store.append(&id, &[fact("lost", ShipmentLost)], raise, None, at(5)).await.unwrap();
    assert_eq!(open_now(&world).await, ["lost"]);
}

/// Two people press the button at the same moment, a hundred times: one of them wins each time, and only their words are kept.
async fn one_resolver_wins(world: World) {
    world.placed("o", 0).await;
    let flags: Vec<Attention> = (0..100).map(|n| flag(&format!("flag_{n}"), n)).collect();
    world.store.record(&record("o", 1, flagged(Status::Cancelled, &flags), vec![]), at(1)).await.unwrap();
    for (round, flag) in flags.iter().enumerate() {
        let id = flag.item(&order_id("o"));
        let outcomes = race(2, |n| {
            let (store, id) = (world.store.clone(), id.clone());
            async move { store.resolve_item(&id, &decision(Resolution::Retry, &format!("actor-{n}")), at(2)).await.unwrap() }
        })
        .await;
        let winners: Vec<&ReviewItem> =
            outcomes.iter().filter_map(|o| if let ResolveOutcome::Done(item) = o { Some(item) } else { None }).collect();
        assert_eq!(winners.len(), 1, "round {round}: {outcomes:?}");
        assert_eq!(world.store.review_item(&id).await.unwrap().as_ref(), Some(winners[0]));
        assert!(
            outcomes.iter().all(|o| matches!(o, ResolveOutcome::Done(i) | ResolveOutcome::AlreadyClosed(i) if i == winners[0]))
        );
    }
    let order = world.store.order(&order_id("o")).await.unwrap().unwrap();
    assert_eq!((order.rev, order.seq, order.life.attention.len(), order.items_open), (101, 100, 0, false));
}

async fn lists_and_counts(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    for n in 0..10 {
        let kind = if n % 2 == 0 { "even" } else { "odd" };
        let (order, source) = if n < 3 { (Some("o"), ItemSource::Watchdog) } else { (None, ItemSource::Message) };
        // several share one instant
        store.open_item(&item(&format!("item-{n}"), kind, order, source), at(n / 2)).await.unwrap();
    }
    store.settle_item("item-0", at(20)).await.unwrap();
    assert_eq!(store.count_open_items().await.unwrap(), [("even".to_owned(), 4), ("odd".to_owned(), 5)]);
    let found = async |filter: ItemFilter| {
        let found = store.review_items(&filter, None, 99).await.unwrap();
        found.into_iter().map(|i| i.id.trim_start_matches("item-").to_owned()).collect::<Vec<_>>().join("")
    };
    let all = ItemFilter::default;
    assert_eq!(found(all()).await, "0123456789");
    assert_eq!(found(ItemFilter { kind: Some("even".to_owned()), ..all() }).await, "02468");
    assert_eq!(found(ItemFilter { state: Some(ItemState::Open), ..all() }).await, "123456789");
    assert_eq!(found(ItemFilter { state: Some(ItemState::Settled), ..all() }).await, "0");
    assert_eq!(found(ItemFilter { order_id: Some(order_id("o")), ..all() }).await, "012");
    assert_eq!(found(ItemFilter { source: Some(ItemSource::Message), ..all() }).await, "3456789");
    assert_eq!(found(ItemFilter { opened_before: Some(at(2)), ..all() }).await, "0123");
    let (kind, state) = (Some("odd".to_owned()), Some(ItemState::Open));
    assert_eq!(found(ItemFilter { kind, state, opened_before: Some(at(2)), ..all() }).await, "13");
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.review_items(&all(), cursor.as_ref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(last.cursor());
        seen.extend(page.into_iter().map(|i| i.id));
    }
    assert_eq!(seen, (0..10).map(|n| format!("item-{n}")).collect::<Vec<_>>());
}

/// A database of the version before has flags without items; migrating it opens them, once.
async fn flags_from_before_the_queue(world: World) {
    let store = &world.store;
    let (left, lost) = (flag("departed_after_cancel", 1), flag("lost", 2));
    for (key, flags) in [("o", vec![left.clone(), lost]), ("p", vec![left.clone()]), ("q", vec![])] {
        world.placed(key, 0).await;
        store.record(&record(key, 1, flagged(Status::Cancelled, &flags), vec![]), at(3)).await.unwrap();
    }
    world.sql("DELETE FROM review_items").await;
    for _ in 0..2 {
        store.migrate().await.unwrap();
        assert_eq!(tally(open_now(&world).await), [("departed_after_cancel".to_owned(), 2), ("lost".to_owned(), 1)].into());
    }
    let item = left.item(&order_id("p"));
    store.resolve_item(&item, &decision(Resolution::UseExternalReference, "ada"), at(4)).await.unwrap();
    store.migrate().await.unwrap();
    assert!(!needs_attention(&world, "p").await);
    assert_eq!(store.review_item(&item).await.unwrap().unwrap().state, ItemState::Resolved);
}
