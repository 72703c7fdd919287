//! Listing and searching orders and shipments.

use crate::world::*;
use oms_domain::ids::{CustomerId, HoldId};
use oms_domain::life::{Hold, HoldKind, Why};
use oms_domain::order::{Reason, Status};
use oms_domain::review::Attention;
use oms_domain::shipment::ShipmentStatus;
use oms_store::*;

on_both!(every_filter, pages_while_new_ones_arrive, shipments_by_status_and_place, counts, overdue, evidence, effects);

async fn found(world: &World, filter: OrderFilter) -> Vec<String> {
    let found = world.store.orders(&filter, None, 100).await.unwrap();
    found.into_iter().map(|o| ["x", "y", "z"].iter().find(|k| order_id(k) == o.id).unwrap().to_string()).collect()
}

async fn every_filter(world: World) {
    let store = &world.store;
    for (n, key) in ["x", "y", "z"].into_iter().enumerate() {
        world.placed(key, n as i64).await;
    }
    let mut x = life(Status::Rejected);
    x.reason = Some(Reason::OutOfStock);
    x.raise(Attention::new("stuck", None, "look at it", at(1)));
    store.record(&record("x", 1, x, vec![]), at(3)).await.unwrap();
    let mut y = life(Status::Confirmed);
    y.holds = ["fraud", "address"]
        .map(|kind| Hold {
            id: HoldId::from_key(&order_id("y"), kind),
            kind: HoldKind::parse(kind).unwrap(),
            reason: Why::parse("odd").unwrap(),
            actor: "ops".to_owned(),
            placed_at: at(1),
            until: None,
        })
        .to_vec();
    let mut parcel = shipment("y", 1, ShipmentStatus::Booked);
    parcel.note_package(Some("DHL"), Some("T-1"));
    parcel.note_package(None, Some("T-2"));
    y.shipments = vec![parcel];
    store.record(&record("y", 1, y.clone(), vec![]), at(3)).await.unwrap();
    assert_eq!(store.order(&order_id("y")).await.unwrap().unwrap().life, y);

    let all = OrderFilter::default();
    assert_eq!(found(&world, all.clone()).await, ["z", "y", "x"]);
    let f = |change: fn(&mut OrderFilter)| {
        let mut filter = OrderFilter::default();
        change(&mut filter);
        found(&world, filter)
    };
    assert_eq!(f(|f| f.status = Some(Status::Confirmed)).await, ["y"]);
    assert_eq!(f(|f| f.reason = Some(Reason::OutOfStock)).await, ["x"]);
    assert_eq!(f(|f| f.customer = Some(CustomerId::parse("c-1").unwrap())).await.len(), 3);
    assert_eq!(f(|f| f.customer = Some(CustomerId::parse("c-2").unwrap())).await.len(), 0);
    assert_eq!(f(|f| f.sku = Some(sku("a"))).await.len(), 3);
    assert_eq!(f(|f| f.sku = Some(sku("A"))).await.len(), 0);
    assert_eq!(f(|f| f.reference = Some("ref-1".to_owned())).await.len(), 3);
    assert_eq!(f(|f| f.email = Some("ADA@example.com".to_owned())).await.len(), 3);
    assert_eq!(f(|f| f.tracking_number = Some("T-2".to_owned())).await, ["y"]);
    assert_eq!(f(|f| f.hold = Some("address".to_owned())).await, ["y"]);
    assert_eq!(f(|f| f.needs_attention = Some(true)).await, ["x"]);
    assert_eq!(f(|f| f.needs_attention = Some(false)).await, ["z", "y"]);
    // each costs (20.00 + 4.90) with 19 %
    for (min, max, count) in [(2_963, 2_963, 3), (2_964, 9_999, 0), (0, 2_962, 0)] {
        let filter = OrderFilter { total_min: Some(min), total_max: Some(max), ..all.clone() };
        assert_eq!(found(&world, filter).await.len(), count, "{min} to {max}");
    }
    assert_eq!(f(|f| f.placed_after = Some(at(1))).await, ["z", "y"]);
    assert_eq!(f(|f| f.placed_before = Some(at(1))).await, ["x"]);
    let both = |f: &mut OrderFilter| {
        f.status = Some(Status::Confirmed);
        f.hold = Some("fraud".to_owned());
        f.needs_attention = Some(false);
    };
    assert_eq!(f(both).await, ["y"]);
    y.holds.clear();
    store.record(&record("y", 2, y, vec![]), at(4)).await.unwrap();
    assert_eq!(f(|f| f.hold = Some("fraud".to_owned())).await.len(), 0, "a released hold is not found");
}

async fn pages_while_new_ones_arrive(world: World) {
    for n in 0..25 {
        // several orders share one instant
        world.placed(&format!("first-{n}"), n / 4).await;
    }
    let mut seen = Vec::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = world.store.orders(&OrderFilter::default(), cursor.as_ref(), 4).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(last.cursor());
        seen.extend(page.iter().map(|o| o.id.to_string()));
        world.placed(&format!("later-{}", seen.len()), 100).await;
    }
    let before: std::collections::BTreeSet<_> = (0..25).map(|n| order_id(&format!("first-{n}")).to_string()).collect();
    assert_eq!(seen.len(), 25, "each once");
    assert_eq!(seen.into_iter().collect::<std::collections::BTreeSet<_>>(), before);
    let mut audited = Vec::new();
    while let page = world.store.audit_orders(audited.last(), 10).await.unwrap()
        && !page.is_empty()
    {
        audited.extend(page.into_iter().map(|o| o.id));
    }
    assert!(audited.len() > 25 && audited.is_sorted());
}

async fn shipments_by_status_and_place(world: World) {
    let store = &world.store;
    for key in ["x", "y"] {
        world.placed(key, 0).await;
        let mut life = life(Status::Confirmed);
        life.shipments = vec![shipment(key, 1, ShipmentStatus::Booked), shipment(key, 2, ShipmentStatus::Pending)];
        life.shipments[1].location = place("aachen");
        store.record(&record(key, 1, life, vec![]), at(1)).await.unwrap();
    }
    let all = store.shipments(ShipmentFilter::default(), None, 9).await.unwrap();
    assert_eq!(all.len(), 4);
    assert!(all.is_sorted_by_key(|s| s.shipment.id.to_string()) && all.iter().all(|s| s.test));
    let rest = store.shipments(ShipmentFilter::default(), Some(&all[1].shipment.id), 9).await.unwrap();
    assert_eq!(rest, all[2..]);
    let filter = ShipmentFilter { status: Some(ShipmentStatus::Pending), location: Some(place("aachen")) };
    assert_eq!(store.shipments(filter.clone(), None, 9).await.unwrap().len(), 2);
    let filter = ShipmentFilter { location: Some(place("berlin")), ..filter };
    assert_eq!(store.shipments(filter, None, 9).await.unwrap(), []);
    assert_eq!(store.shipment(&shipment_id("x", 2)).await.unwrap().unwrap().order_id, order_id("x"));
    assert_eq!(store.shipment(&shipment_id("x", 3)).await.unwrap(), None);
}

async fn counts(world: World) {
    let store = &world.store;
    for (n, status) in Status::ALL.into_iter().enumerate() {
        let key = format!("o-{n}");
        world.placed(&key, 0).await;
        let build = (status != Status::Confirmed).then(|| "0.2.0".to_owned());
        store.record(&Record { build, ..record(&key, 1, life(status), vec![]) }, at(1)).await.unwrap();
    }
    world.placed("extra", 0).await;
    let mut expected: Vec<_> = Status::ALL.into_iter().map(|s| (s, if s == Status::Placed { 2 } else { 1 })).collect();
    expected.sort();
    assert_eq!(store.count_orders_by_status().await.unwrap(), expected);
    let going = Status::ALL.into_iter().filter(|s| !s.is_terminal()).count() as u64;
    let open = store.count_open_orders_by_shape_and_build().await.unwrap();
    let counted: std::collections::BTreeMap<_, _> = open.into_iter().map(|o| ((o.shape, o.build), o.count)).collect();
    // the confirmed one and the extra one were written by nobody who said so
    assert_eq!(counted, [((2, None), 2), ((2, Some("0.2.0".to_owned())), going - 1)].into());
}

async fn overdue(world: World) {
    let store = &world.store;
    let late = 49 * 3_600;
    for key in ["never", "undated", "dated", "fine", "over"] {
        world.placed(key, 0).await;
    }
    world.placed("young", late - 10).await;
    let due = |status, due_at: Option<i64>| oms_domain::life::Life { due_at: due_at.map(at), ..life(status) };
    for (key, life) in [
        ("undated", due(Status::Placed, None)),
        ("young", due(Status::Placed, None)),
        ("dated", due(Status::Confirmed, Some(10))),
        ("fine", due(Status::Confirmed, Some(late + 1))),
        ("over", due(Status::Cancelled, Some(10))),
    ] {
        store.record(&record(key, 1, life, vec![]), at(2)).await.unwrap();
    }
    let found = store.overdue_orders(at(late), 9).await.unwrap();
    let ids: Vec<_> = found.iter().map(|o| o.id.clone()).collect();
    assert_eq!(ids, [order_id("dated"), order_id("undated")], "longest overdue first");
    let first =
        OverdueOrder { id: order_id("dated"), status: Status::Confirmed, due_at: Some(kept(10)), updated_at: kept(2), rev: 1 };
    assert_eq!(found[0], first);
    assert_eq!(store.overdue_orders(at(late), 1).await.unwrap(), [first]);
    assert_eq!(store.overdue_orders(at(10), 9).await.unwrap(), [], "the end of the time is still in time");

    let item = |id: &str, kind: &str, source| NewItem {
        id: id.to_owned(),
        kind: kind.to_owned(),
        order_id: Some(order_id("dated")),
        shipment_id: None,
        subject: order_id("dated").to_string(),
        detail: "look".to_owned(),
        source,
    };
    // these say nothing about whether its run goes on
    for (id, kind, source) in [
        ("item-0001", NO_ACKNOWLEDGEMENT, ItemSource::Watchdog),
        ("item-0002", REFUND_STUCK, ItemSource::Watchdog),
        ("item-0003", TERMINATED, ItemSource::Reconciliation),
    ] {
        store.open_item(&item(id, kind, source), at(20)).await.unwrap();
    }
    assert_eq!(store.overdue_orders(at(late), 9).await.unwrap().len(), 2);
    store.open_item(&item("item-0004", SILENT, ItemSource::Watchdog), at(20)).await.unwrap();
    let unseen = store.overdue_orders(at(late), 9).await.unwrap();
    assert_eq!(unseen.iter().map(|o| o.id.clone()).collect::<Vec<_>>(), [order_id("undated")], "one is seen already");
    store.settle_item("item-0004", at(21)).await.unwrap();
    assert_eq!(store.overdue_orders(at(late), 9).await.unwrap().len(), 2);
}

async fn evidence(world: World) {
    let store = &world.store;
    store.put_product(&product("a", 1_000), at(0)).await.unwrap();
    let place = async |key: &str, customer: &str, country: Option<&str>, now: i64| {
        let mut new = new_order(key);
        new.customer.id = CustomerId::parse(customer).unwrap();
        new.bill_to = country.map(|country| oms_domain::customer::Address {
            country: oms_domain::customer::Country::parse(country).unwrap(),
            ..new.ship_to.clone()
        });
        assert!(matches!(store.intake(&new, &RULES, at(now)).await.unwrap(), Intake::Placed(_)));
    };
    place("old", "c-1", None, 0).await;
    place("first", "c-1", Some("DE"), 100).await;
    place("other", "c-2", Some("FR"), 110).await;
    place("second", "c-1", None, 120).await;
    let window = std::time::Duration::from_secs(100);
    let judged = async |key: &str| store.evidence(&order_id(key), window).await.unwrap();
    let first = judged("first").await;
    assert_eq!((first.recent_orders, first.countries_differ), (1, false), "one exactly a window ago is out");
    assert_eq!(first.total, store.order(&order_id("first")).await.unwrap().unwrap().totals.total);
    assert_eq!(judged("second").await.recent_orders, 2);
    let other = judged("other").await;
    assert_eq!((other.recent_orders, other.countries_differ), (1, true));
    let ever = store.evidence(&order_id("second"), std::time::Duration::MAX).await.unwrap();
    assert_eq!(ever.recent_orders, 3);
    assert!(matches!(store.evidence(&order_id("nobody"), window).await, Err(StoreError::Conflict { .. })));
}

async fn effects(world: World) {
    use UndoState::{Done, None as Nothing, Pending};
    let store = &world.store;
    let (id, parcel_id) = (order_id("o"), shipment_id("o", 1));
    world.stocked("a", "berlin", 5).await;
    world.placed("o", 0).await;
    world.reserve("o", &[("a", 2)], 1).await;
    let held = AuthorizationRow {
        payment_id: Some("pay_1".to_owned()),
        outcome: AuthorizationOutcome::Held,
        amount: eur(2_957),
        expires_at: None,
        code: None,
        action_url: None,
    };
    store.record_authorization(&id, &format!("{id}/authorize/1"), held.clone(), at(2)).await.unwrap();
    let booking = BookingRow {
        key: format!("{parcel_id}/book/1"),
        order_id: id.clone(),
        shipment_id: parcel_id.clone(),
        carrier: "DHL".to_owned(),
        tracking_number: "T-1".to_owned(),
        reference: "ref".to_owned(),
        label: None,
        at: at(3),
    };
    store.record_booking(&booking).await.unwrap();
    let mut going = life(Status::Confirmed);
    going.shipments = vec![shipment("o", 1, ShipmentStatus::Booked)];
    let confirmed = fact("confirmed", oms_domain::event::FactKind::OrderConfirmed);
    let confirmed = confirmed.told_as(oms_domain::message::Topic::Confirmed);
    store.record(&Record { confirm: true, ..record("o", 1, going.clone(), vec![confirmed]) }, at(4)).await.unwrap();
    let seen = async || {
        let effects = store.effects(&id).await.unwrap();
        effects.into_iter().map(|e| (e.kind.as_str(), e.state, e.undo)).collect::<Vec<_>>()
    };
    let expected = |reserve: (&str, UndoState), money: (&str, UndoState), book: (&str, UndoState)| {
        let mut all = vec![
            ("reserve", reserve.0.to_owned(), reserve.1),
            ("authorize", money.0.to_owned(), money.1),
            ("book", book.0.to_owned(), book.1),
            ("message", "pending".to_owned(), Nothing),
        ];
        all.sort_by_key(|e| e.0);
        all
    };
    let sorted = async || {
        let mut all = seen().await;
        all.sort_by_key(|e| e.0);
        all
    };
    assert_eq!(sorted().await, expected(("confirmed", Nothing), ("held", Nothing), ("booked", Nothing)));
    let all = store.effects(&id).await.unwrap();
    assert!(all.is_sorted_by_key(|e| e.at));
    let money = all.iter().find(|e| e.kind == EffectKind::Authorize).unwrap();
    assert_eq!((money.amount, money.reference.as_deref(), &money.undo_key), (Some(eur(2_957)), Some("pay_1"), &None));

    going.status = Status::Cancelling;
    store.record(&record("o", 2, going.clone(), vec![]), at(5)).await.unwrap();
    assert_eq!(sorted().await, expected(("confirmed", Pending), ("held", Pending), ("booked", Pending)));
    store.release(&id, at(6)).await.unwrap();
    store.record_void(&id, &format!("{id}/void/1"), Some("pay_1"), at(7)).await.unwrap();
    store.record_booking_cancelled(&booking.key, at(8)).await.unwrap();
    going.status = Status::Cancelled;
    store.record(&record("o", 3, going, vec![]), at(9)).await.unwrap();
    let mut done = expected(("released", Done), ("voided", Done), ("cancelled", Done));
    done.extend([("void", "voided".to_owned(), Nothing), ("cancel_booking", "cancelled".to_owned(), Nothing)]);
    done.sort_by_key(|e| e.0);
    assert_eq!(sorted().await, done);
    let undo = store.effects(&id).await.unwrap().into_iter().find(|e| e.kind == EffectKind::Book).unwrap().undo_key;
    assert_eq!(undo, Some(format!("{parcel_id}/cancel/1")));
    assert_eq!(store.effects(&order_id("nobody")).await.unwrap(), []);

    // goods and money of a parcel that left
    world.placed("p", 0).await;
    world.reserve("p", &[("a", 2)], 1).await;
    store.record_authorization(&order_id("p"), "p/authorize/1", held, at(2)).await.unwrap();
    store.commit_stock(&parcel("p", "berlin", &[("a", 2)]), at(3)).await.unwrap();
    let (p, left) = (order_id("p"), shipment_id("p", 1));
    let captured = CaptureOutcome::Captured;
    store.record_capture(&p, "p-1/capture/1", "pay_1", &left, eur(2_957), captured, at(4)).await.unwrap();
    let kinds: Vec<_> = store.effects(&p).await.unwrap().into_iter().map(|e| (e.kind, e.state, e.undo)).collect();
    for kind in [(EffectKind::Commit, "committed"), (EffectKind::Capture, "captured")] {
        assert!(kinds.contains(&(kind.0, kind.1.to_owned(), Nothing)), "{kinds:?}");
    }

    // whoever reported a parcel gone that was to stay waived the undo; and a person settled the money outside
    let reported = fact("shipment/left", oms_domain::event::FactKind::ShipmentShipped).by("depot 7").about(&left);
    let mut taken = life(Status::Cancelled);
    taken.shipments = vec![shipment("p", 1, ShipmentStatus::Shipped)];
    let booked = BookingRow { key: format!("{left}/book/1"), order_id: p.clone(), shipment_id: left.clone(), ..booking };
    store.record_booking(&booked).await.unwrap();
    store.record(&record("p", 1, taken, vec![reported]), at(6)).await.unwrap();
    let waived = async |kind: EffectKind| store.effects(&p).await.unwrap().into_iter().rfind(|e| e.kind == kind).unwrap();
    let book = waived(EffectKind::Book).await;
    let why = book.waived.unwrap();
    assert_eq!((book.undo, why.by.as_str(), why.at), (UndoState::Waived, "depot 7", kept(5)));
    assert!(why.reason.contains("shipment.shipped"), "{why:?}");
    assert_eq!(waived(EffectKind::Capture).await.waived, None, "it was taken");
    store.record_capture(&p, "p-1/capture/2", "pay_1", &left, eur(2_957), CaptureOutcome::Refused, at(7)).await.unwrap();
    assert_eq!(waived(EffectKind::Capture).await.waived, None, "nobody has decided");
    let resolved =
        fact("resolved/x", oms_domain::event::FactKind::ReviewResolved).by("clerk").because("by transfer").about(&left);
    let settled = fact("waived/x", oms_domain::event::FactKind::PaymentSettledOutside).because("T-1").about(&left);
    store.append(&p, &[resolved, settled], Append::default(), None, at(8)).await.unwrap();
    let why = waived(EffectKind::Capture).await.waived.unwrap();
    assert_eq!((why.by.as_str(), why.reason.as_str()), ("clerk", "by transfer"));
}
