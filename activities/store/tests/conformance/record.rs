//! The one writer: records, confirmations, what comes after the end.

use crate::world::*;
use oms_domain::event::FactKind::*;
use oms_domain::life::Life;
use oms_domain::message::{Channel, Topic};
use oms_domain::order::Status;
use oms_domain::review::Attention;
use oms_domain::shipment::{ScanResult, ScanType, ShipmentStatus};
use oms_store::*;

on_both!(
    facts_once_in_order,
    facts_are_chained,
    older_records_change_nothing,
    concurrent_records,
    confirm_or_lapse,
    confirm_races_expiry,
    scans_from_both_doors,
    append_after_the_end,
    the_last_record_s_repeat,
    append_beside_an_open_run,
    messages_that_repeat,
    due_and_build,
);

async fn facts_once_in_order(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    let shipped = fact("shipped/1", ShipmentShipped).about(&shipment_id("o", 1)).told_as(Topic::Shipped);
    let facts = vec![
        fact("placed", OrderPlaced),
        fact("confirmed", OrderConfirmed).told_as(Topic::Confirmed).moving(eur(7)).because("all well"),
        fact("placed", OrderPlaced),
        shipped.clone(),
    ];
    let first = record("o", 3, life(Status::Confirmed), facts);
    let recorded = store.record(&first, at(1)).await.unwrap();
    assert_eq!(
        recorded,
        Recorded { rev: 3, seq: 3, status: Status::Confirmed, lapsed: false, behind: false, confirmed_before: false }
    );
    assert_eq!(store.record(&first, at(2)).await.unwrap(), recorded);
    let more = vec![fact("confirmed", OrderConfirmed), fact("captured", PaymentCaptured).by("system"), shipped];
    let recorded = store.record(&record("o", 4, life(Status::Confirmed), more), at(3)).await.unwrap();
    assert_eq!((recorded.rev, recorded.seq), (4, 4), "no gap in the numbers");

    let timeline = store.timeline(&order_id("o")).await.unwrap();
    let line: Vec<_> = timeline.iter().map(|e| (e.seq.unwrap(), e.kind.as_str())).collect();
    assert_eq!(line, [(1, "order.placed"), (2, "order.confirmed"), (3, "shipment.shipped"), (4, "payment.captured")]);
    assert_eq!((timeline[1].amount, timeline[1].reason.as_deref()), (Some(eur(7)), Some("all well")));
    assert_eq!((timeline[0].at, timeline[0].recorded_at), (kept(5), kept(1)));
    let outbox = store.unpublished(9).await.unwrap();
    assert_eq!(outbox.iter().map(|r| r.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(outbox[1].body["amount"]["amount"], 7);
    assert_eq!(Some(&outbox[2].event_id), timeline[2].event_id.as_ref());
    let messages = store.messages_of(&order_id("o")).await.unwrap();
    let told = tally(messages.iter().map(|m| (m.topic, m.channel)));
    assert_eq!(told.len(), 3);
    assert!(told.contains_key(&(Topic::Shipped, Channel::Sms)) && told.values().all(|n| *n == 1), "{told:?}");
    let unknown = store.record(&record("nobody", 1, life(Status::Placed), vec![]), at(1)).await;
    assert!(matches!(unknown, Err(StoreError::Conflict { .. })));
}

async fn facts_are_chained(world: World) {
    let store = &world.store;
    let id = world.placed("o", 0).await.id;
    let broken = async || store.broken_timelines(std::slice::from_ref(&id)).await.unwrap();
    let first = record("o", 1, life(Status::Placed), vec![fact("a", OrderPlaced), fact("b", StockReserved)]);
    store.record(&first, at(1)).await.unwrap();
    store.record(&record("o", 2, life(Status::Placed), vec![fact("c", StockReleased)]), at(2)).await.unwrap();
    assert_eq!(broken().await, []);
    world.sql("UPDATE timeline SET reason = 'forged' WHERE seq = 2").await;
    assert_eq!(broken().await, [(id.clone(), 2)]);
    world.sql("UPDATE timeline SET reason = NULL WHERE seq = 2").await;
    assert_eq!(broken().await, []);
    world.sql("UPDATE timeline SET hash = 'f' || hash WHERE seq = 1").await;
    assert_eq!(broken().await, [(id.clone(), 1)]);
    world.sql("UPDATE timeline SET hash = substr(hash, 2) WHERE seq = 1").await;
    world.sql("DELETE FROM timeline WHERE seq = 2").await;
    assert_eq!(broken().await, [(id.clone(), 3)], "what was taken out of the middle is missed");
    world.sql("DELETE FROM timeline WHERE seq = 1").await;
    assert_eq!(broken().await, [], "the oldest go by age");
}

async fn older_records_change_nothing(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    store.record(&record("o", 5, life(Status::Cancelling), vec![]), at(1)).await.unwrap();
    for (rev, status) in [(4, Status::Cancelled), (5, Status::Cancelling), (6, Status::Confirmed)] {
        let recorded = store.record(&record("o", rev, life(status), vec![]), at(2)).await.unwrap();
        assert_eq!((recorded.rev, recorded.status), (5, Status::Cancelling), "{rev} {status}");
    }
    let late = store.record(&record("o", 2, life(Status::Placed), vec![fact("late", OrderPlaced)]), at(3)).await.unwrap();
    assert_eq!((late.rev, late.seq), (5, 1), "a late fact is still a fact");
    let order = store.order(&order_id("o")).await.unwrap().unwrap();
    assert_eq!((order.life.status, order.rev, order.seq), (Status::Cancelling, 5, 1));
    // a run whose worker died before it could answer decides anew: what it knows by then is not lost to the number it had used
    let again = store.record(&record("o", 5, life(Status::Cancelled), vec![]), at(4)).await.unwrap();
    assert_eq!((again.rev, again.status), (6, Status::Cancelled));
    let late = store.record(&record("o", 5, life(Status::Cancelling), vec![]), at(5)).await.unwrap();
    assert_eq!((late.rev, late.status), (6, Status::Cancelled));
}

async fn concurrent_records(world: World) {
    world.placed("o", 0).await;
    race(32, |n| {
        let store = world.store.clone();
        async move {
            let rev = n as u64 / 2 + 1;
            let facts = vec![fact(&format!("f-{rev}"), HoldPlaced), fact("same", OrderPlaced)];
            let status = if rev > 8 { Status::Confirmed } else { Status::Placed };
            let recorded = store.record(&record("o", rev, life(status), facts), at(rev as i64)).await.unwrap();
            assert!(recorded.rev >= rev);
        }
    })
    .await;
    let order = world.store.order(&order_id("o")).await.unwrap().unwrap();
    assert_eq!((order.rev, order.seq, order.life.status), (16, 17, Status::Confirmed));
    let timeline = world.store.timeline(&order_id("o")).await.unwrap();
    assert_eq!(timeline.iter().map(|e| e.seq.unwrap()).collect::<Vec<_>>(), (1..=17).collect::<Vec<_>>());
    assert_eq!(
        world.store.unpublished(99).await.unwrap().iter().map(|r| r.seq).collect::<Vec<_>>(),
        (1..=17).collect::<Vec<_>>()
    );
}

fn confirm(key: &str, rev: u64) -> Record {
    let facts = vec![fact("confirmed", OrderConfirmed).told_as(Topic::Confirmed)];
    Record { confirm: true, ..record(key, rev, life(Status::Confirmed), facts) }
}

async fn confirm_or_lapse(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 4).await;
    for key in ["o", "p", "q"] {
        world.placed(key, 0).await;
    }
    world.reserve("o", &[("a", 2)], 0).await;
    for _ in 0..2 {
        assert!(!store.record(&confirm("o", 1), at(599)).await.unwrap().lapsed);
    }
    assert_eq!(world.available("a", 10_000).await, 2, "a confirmed promise never runs out");
    world.reserve("p", &[("a", 2)], 0).await;
    for key in ["p", "q"] {
        let lapsed = store.record(&confirm(key, 1), at(600)).await.unwrap();
        assert_eq!(
            lapsed,
            Recorded { rev: 0, seq: 0, status: Status::Placed, lapsed: true, behind: false, confirmed_before: false }
        );
    }
    assert_eq!(store.timeline(&order_id("p")).await.unwrap(), [], "nothing at all was written");
    let mut anew = wish("p", 2, &[("a", 2)]);
    anew.expires_at = at(2_000);
    store.reserve(&anew, at(601)).await.unwrap();
    assert!(!store.record(&confirm("p", 1), at(602)).await.unwrap().lapsed);
    store.commit_stock(&parcel("o", "berlin", &[("a", 2)]), at(700)).await.unwrap();
    assert!(!store.record(&confirm("o", 1), at(701)).await.unwrap().lapsed, "a late repeat is not told that it lapsed");
    assert_eq!(world.available("a", 10_000).await, 0);
    world.balanced(10_000).await;
}

/// One order confirms at the last moment while others want its units a moment later: one of the two gets them.
async fn confirm_races_expiry(world: World) {
    world.stocked("a", "berlin", 1).await;
    for round in 0..8 {
        let (owner, rival) = (format!("owner-{round}"), format!("rival-{round}"));
        world.placed(&owner, 0).await;
        world.reserve(&owner, &[("a", 1)], 0).await;
        let (store, confirmed) = (world.store.clone(), confirm(&owner, 1));
        let first = tokio::spawn(async move { store.record(&confirmed, at(599)).await.unwrap().lapsed });
        let (store, mut wanted) = (world.store.clone(), wish(&rival, 1, &[("a", 1)]));
        wanted.expires_at = at(2_000);
        let second = tokio::spawn(async move { store.reserve(&wanted, at(600)).await.unwrap() });
        let (lapsed, reserved) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!(lapsed, matches!(reserved, Reserved::Held { .. }), "round {round}");
        world.balanced(600).await;
        for key in [owner, rival] {
            world.store.release(&order_id(&key), at(601)).await.unwrap();
        }
    }
}

fn confirmed(key: &str) -> Life {
    Life { shipments: vec![shipment(key, 1, ShipmentStatus::Booked)], ..life(Status::Confirmed) }
}

async fn scans_from_both_doors(world: World) {
    use ScanResult::*;
    let store = &world.store;
    world.placed("o", 0).await;
    let mut picked = scan("o", "e-1", ScanType::Picked);
    picked.tracking_number = Some("T-1".to_owned());
    assert_eq!(store.record_scan(&picked, at(1)).await.unwrap(), Scanned::UnknownShipment);
    store.record(&record("o", 1, confirmed("o"), vec![]), at(1)).await.unwrap();
    assert_eq!(store.record_scan(&picked, at(2)).await.unwrap(), Scanned::Result(Applied));
    assert_eq!(store.record_scan(&picked, at(2)).await.unwrap(), Scanned::Result(Duplicate));
    assert_eq!(store.record_scan(&scan("o", "e-1", ScanType::Packed), at(2)).await.unwrap(), Scanned::EventIdReused);
    let shown = store.order(&order_id("o")).await.unwrap().unwrap().life.shipments.remove(0);
    assert_eq!((shown.status, shown.tracking_number.as_deref()), (ShipmentStatus::Picked, Some("T-1")));
    let by = |status| ShipmentFilter { status: Some(status), location: None };
    assert_eq!(store.shipments(by(ShipmentStatus::Picked), None, 9).await.unwrap()[0].shipment, shown);
    assert_eq!(store.shipments(by(ShipmentStatus::Booked), None, 9).await.unwrap(), []);
    let tracked = OrderFilter { tracking_number: Some("T-1".to_owned()), ..OrderFilter::default() };
    assert_eq!(store.orders(&tracked, None, 9).await.unwrap().len(), 1);
    assert_eq!(store.record_scan(&scan("o", "e-2", ScanType::Packed), at(3)).await.unwrap(), Scanned::Result(Applied));
    assert_eq!(store.record_scan(&scan("o", "e-3", ScanType::Picked), at(3)).await.unwrap(), Scanned::Result(Stale));

    let mut after = confirmed("o");
    after.status = Status::Shipped;
    after.shipments[0].status = ShipmentStatus::Shipped;
    let shipped = scan("o", "e-4", ScanType::Shipped);
    let facts = vec![fact("shipped", ShipmentShipped).about(&shipped.shipment)];
    let scans = vec![(shipped.clone(), Applied), (scan("o", "e-5", ScanType::Shipped), Stale), (picked, Duplicate)];
    let second = Record { scans, ..record("o", 2, after, facts) };
    for _ in 0..2 {
        store.record(&second, at(4)).await.unwrap();
    }
    assert_eq!(store.shipment(&shipped.shipment).await.unwrap().unwrap().shipment.status, ShipmentStatus::Shipped);
    assert_eq!(store.record_scan(&scan("o", "e-6", ScanType::Packed), at(5)).await.unwrap(), Scanned::Result(Stale));
    let heard = store.heard(&shipped.shipment, "e-4").await.unwrap().unwrap();
    assert_eq!((heard.kind.as_str(), heard.result), ("shipped", Applied));
    assert!(store.heard(&shipped.shipment, "e-9").await.unwrap().is_none());
    let timeline = store.timeline(&order_id("o")).await.unwrap();
    let kinds: Vec<_> = timeline.iter().map(|e| (e.kind.as_str(), e.seq)).collect();
    let warehouse = ["scan.picked", "scan.packed", "scan.picked"].map(|kind| (kind, None));
    assert_eq!(kinds[..3], warehouse);
    assert_eq!(kinds[3..], [("shipment.shipped", Some(1)), ("scan.shipped", None), ("scan.packed", None)]);
}

async fn append_after_the_end(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    let over = Life { status: Status::Cancelled, ..confirmed("o") };
    store.record(&record("o", 7, over, vec![fact("cancelled", OrderCancelled)]), at(1)).await.unwrap();
    let shipped = scan("o", "e-1", ScanType::Shipped);
    let attention = Attention::new("left_anyway", None, "call the carrier", at(2));
    let change = || Append {
        attention: Some(attention.clone()),
        shipment_status: Some((shipped.shipment.clone(), ShipmentStatus::Shipped)),
        ..Append::default()
    };
    let facts = [fact("aftermath/e-1", StockDeparted).about(&shipped.shipment)];
    let id = order_id("o");
    let run = || store.append(&id, &facts, change(), Some((shipped.clone(), ScanResult::Applied)), at(2));
    let recorded = run().await.unwrap();
    assert_eq!(
        recorded,
        Recorded { rev: 8, seq: 2, status: Status::Cancelled, lapsed: false, behind: false, confirmed_before: false }
    );
    assert_eq!(run().await.unwrap(), recorded);
    let order = store.order(&order_id("o")).await.unwrap().unwrap();
    assert_eq!((order.life.attention.len(), order.life.shipments[0].status), (1, ShipmentStatus::Shipped));
    assert_eq!(store.timeline(&order_id("o")).await.unwrap().len(), 2);
    let attention = OrderFilter { needs_attention: Some(true), ..OrderFilter::default() };
    assert_eq!(store.orders(&attention, None, 9).await.unwrap().len(), 1);
    let appended = race(10, |n| {
        let store = world.store.clone();
        async move {
            store
                .append(&order_id("o"), &[fact(&format!("r-{n}"), HoldPlaced)], Append::default(), None, at(3))
                .await
                .unwrap()
                .seq
        }
    })
    .await;
    assert_eq!(tally(appended).into_keys().collect::<Vec<_>>(), (3..=12).collect::<Vec<_>>());
    assert!(store.append(&order_id("nobody"), &[], Append::default(), None, at(3)).await.is_err());
}

/// The worker of an order's last record died before it could answer, and something was appended before the record is tried again.
async fn the_last_record_s_repeat(world: World) {
    let store = &world.store;
    let id = order_id("o");
    world.placed("o", 0).await;
    let over = Life { status: Status::Cancelled, ..confirmed("o") };
    let last = record("o", 7, over.clone(), vec![fact("cancelled", OrderCancelled)]);
    store.record(&last, at(1)).await.unwrap();
    let attention = Attention::new("left_anyway", None, "call the carrier", at(2));
    let change = Append {
        attention: Some(attention),
        shipment_status: Some((shipment_id("o", 1), ShipmentStatus::Shipped)),
        ..Append::default()
    };
    store.append(&id, &[fact("aftermath/e-1", StockDeparted)], change, None, at(2)).await.unwrap();
    let appended = store.order(&id).await.unwrap().unwrap();
    assert_eq!((appended.rev, appended.life.attention.len()), (8, 1));

    let told = store.record(&last, at(3)).await.unwrap();
    assert_eq!(
        told,
        Recorded { rev: 7, seq: 2, status: Status::Cancelled, lapsed: false, behind: false, confirmed_before: false },
        "its run was not reset"
    );
    assert_eq!(store.order(&id).await.unwrap().unwrap(), appended, "and nothing is taken back");

    // a run that was reset is told so by the first record of its second life, and shows its end under a newer number
    let earlier = store.record(&record("o", 3, confirmed("o"), vec![]), at(4)).await.unwrap();
    assert_eq!((earlier.rev, earlier.status), (8, Status::Cancelled));
    let end = store.record(&record("o", 9, over.clone(), vec![]), at(5)).await.unwrap();
    assert_eq!(end.rev, 9);
    let order = store.order(&id).await.unwrap().unwrap();
    assert_eq!((order.rev, order.life), (9, over));
}

/// A story beside an open run adds facts, reports and items, and leaves the order's state to its run.
async fn append_beside_an_open_run(world: World) {
    let store = &world.store;
    let id = order_id("o");
    world.placed("o", 0).await;
    store.record(&record("o", 3, confirmed("o"), vec![fact("confirmed", OrderConfirmed)]), at(1)).await.unwrap();
    let before = store.order(&id).await.unwrap().unwrap();
    let attention = Attention::new("odd", None, "look", at(2));
    let refused = NewItem {
        id: "item-1".to_owned(),
        kind: "refund_refused".to_owned(),
        order_id: Some(id.clone()),
        shipment_id: None,
        subject: "refund-1".to_owned(),
        detail: "the gateway refused".to_owned(),
        source: ItemSource::Refund,
    };
    let change = || Append {
        attention: Some(attention.clone()),
        shipment_status: Some((shipment_id("o", 1), ShipmentStatus::Shipped)),
        opened: vec![refused.clone()],
        ..Append::default()
    };
    let facts = [fact("refund/1", RefundRequested)];
    let heard = (scan("o", "e-1", ScanType::Shipped), ScanResult::Stale);
    let run = || store.append(&id, &facts, change(), Some(heard.clone()), at(2));
    let appended = run().await.unwrap();
    assert_eq!(
        appended,
        Recorded { rev: 3, seq: 2, status: Status::Confirmed, lapsed: false, behind: false, confirmed_before: false }
    );
    assert_eq!(run().await.unwrap(), appended);
    let after = store.order(&id).await.unwrap().unwrap();
    assert_eq!((after.rev, &after.life, after.seq), (3, &before.life, 2), "the run's state is the run's");
    assert!(after.items_open && !before.items_open);
    assert!(store.heard(&shipment_id("o", 1), "e-1").await.unwrap().is_some());
    // the run goes on without having noticed, and its next record keeps what the story has added
    let mut on = confirmed("o");
    on.status = Status::Shipped;
    let next = store.record(&record("o", 4, on, vec![fact("shipped", ShipmentShipped)]), at(3)).await.unwrap();
    assert_eq!(next, Recorded { rev: 4, seq: 3, status: Status::Shipped, lapsed: false, behind: false, confirmed_before: false });
    assert!(store.order(&id).await.unwrap().unwrap().items_open);
    let kinds: Vec<_> = store.timeline(&id).await.unwrap().into_iter().filter_map(|e| e.seq.map(|_| e.kind)).collect();
    assert_eq!(kinds, ["order.confirmed", "refund.requested", "shipment.shipped"]);
    let settle = Append { settled: vec!["item-1".to_owned()], ..Append::default() };
    store.append(&id, &[fact("refund/1/done", RefundCompleted)], settle, None, at(4)).await.unwrap();
    assert!(!store.order(&id).await.unwrap().unwrap().items_open);
    assert_eq!(store.review_item("item-1").await.unwrap().unwrap().state, ItemState::Settled);
}

/// Topics that repeat make one message per fact, all others one per order and shipment.
async fn messages_that_repeat(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    let told = |key: &str, topic| fact(key, OrderEdited).told_as(topic);
    let facts = vec![
        told("edit/1", Topic::Edited),
        told("edit/2", Topic::Edited),
        told("refund/1", Topic::Refunded).about(&shipment_id("o", 1)),
        told("confirmed/1", Topic::Confirmed),
        told("confirmed/2", Topic::Confirmed),
    ];
    for rev in [1, 2] {
        store.record(&record("o", rev, life(Status::Confirmed), facts.clone()), at(1)).await.unwrap();
    }
    let told = tally(store.messages_of(&order_id("o")).await.unwrap().into_iter().map(|m| m.topic));
    assert_eq!(told, [(Topic::Confirmed, 1), (Topic::Edited, 2), (Topic::Refunded, 1)].into());
}

async fn due_and_build(world: World) {
    let store = &world.store;
    let id = order_id("o");
    let placed = world.placed("o", 0).await;
    assert_eq!((placed.shape, placed.build.as_deref(), placed.items_open), (2, None, false));
    assert_eq!(store.order(&id).await.unwrap().unwrap(), placed);
    let mut going = life(Status::Confirmed);
    going.due_at = Some(at(100));
    let by = |build: Option<&str>, rev, life: &Life| Record {
        build: build.map(str::to_owned),
        ..record("o", rev, life.clone(), vec![])
    };
    store.record(&by(Some("0.2.0"), 1, &going), at(1)).await.unwrap();
    store.record(&by(Some("0.1.0"), 1, &going), at(2)).await.unwrap();
    let order = store.order(&id).await.unwrap().unwrap();
    assert_eq!((order.build.as_deref(), order.life.due_at), (Some("0.2.0"), Some(at(100))), "a late record is no news");
    store.append(&id, &[fact("beside", RefundRequested)], Append::default(), None, at(3)).await.unwrap();
    assert_eq!(store.order(&id).await.unwrap().unwrap().build.as_deref(), Some("0.2.0"));
}
