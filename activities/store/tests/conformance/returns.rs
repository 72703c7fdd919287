//! Returns: nothing comes back twice, and what comes back is on the shelf once.

use crate::world::*;
use oms_domain::order::Status;
use oms_domain::returning::{Condition, Inspected, Return, ReturnId, ReturnState};
use oms_domain::shipment::ShipmentStatus;
use oms_store::*;
use serde_json::json;

on_both!(
    only_what_was_delivered,
    what_came_back_by_itself,
    one_of_two_takes_the_last_unit,
    records_go_forward,
    refunds_are_shown,
    lists,
    restocked_once,
    one_looks_after_a_run,
    one_that_cannot_be_read_keeps_nobody_waiting,
);

fn asked(order: &str, id: &str, units: u32) -> NewReturn {
    NewReturn {
        id: ReturnId::from_key(&order_id(order), id),
        order_id: order_id(order),
        lines: quantities(&[("a", units)]),
        refund_shipping: true,
        auto_approve: false,
        arrived: false,
        reason: "too small".to_owned(),
        actor: "api".to_owned(),
        terms: json!({}),
    }
}

/// An order of two `a`, delivered from Berlin.
async fn delivered(world: &World, key: &str) {
    world.placed(key, 0).await;
    let mut state = life(Status::Completed);
    state.shipments = vec![shipment(key, 1, ShipmentStatus::Delivered)];
    world.store.record(&record(key, 1, state, Vec::new()), at(1)).await.unwrap();
}

fn accepted(answer: ReturnRequested) -> StoredReturn {
    match answer {
        ReturnRequested::Accepted(stored) => stored,
        other => panic!("{other:?}"),
    }
}

async fn only_what_was_delivered(world: World) {
    let store = &world.store;
    assert_eq!(store.request_return(&asked("nobody-there", "1", 1), at(2)).await.unwrap(), ReturnRequested::UnknownOrder);
    world.placed("unsent", 0).await;
    let none = ReturnRequested::TooMany { sku: sku("a"), returnable: 0 };
    assert_eq!(store.request_return(&asked("unsent", "1", 1), at(2)).await.unwrap(), none);
    delivered(&world, "o").await;
    let first = accepted(store.request_return(&asked("o", "1", 1), at(2)).await.unwrap());
    assert_eq!((first.location.clone(), first.rev, first.refund_shipping), (place("berlin"), 0, true));
    assert_eq!(store.request_return(&asked("o", "1", 1), at(3)).await.unwrap(), ReturnRequested::Known(first.clone()));
    let one = ReturnRequested::TooMany { sku: sku("a"), returnable: 1 };
    assert_eq!(store.request_return(&asked("o", "2", 2), at(3)).await.unwrap(), one);
    // a rejected return claims nothing
    let rejected = Return { state: ReturnState::Rejected, ..first.body.clone() };
    store.record_return(&first.id, 1, &rejected, at(4)).await.unwrap();
    accepted(store.request_return(&asked("o", "2", 2), at(5)).await.unwrap());
}

async fn what_came_back_by_itself(world: World) {
    let store = &world.store;
    world.placed("o", 0).await;
    let mut state = life(Status::Shipped);
    let back = shipment("o", 2, ShipmentStatus::ReturnedToSender);
    state.shipments = vec![shipment("o", 1, ShipmentStatus::Delivered), back];
    store.record(&record("o", 1, state, Vec::new()), at(1)).await.unwrap();
    let arrived = |id: &str, units| NewReturn { arrived: true, auto_approve: true, ..asked("o", id, units) };
    let first = accepted(store.request_return(&arrived("1", 2), at(2)).await.unwrap());
    assert!(first.body.arrived && first.auto_approve);
    let none = ReturnRequested::TooMany { sku: sku("a"), returnable: 0 };
    assert_eq!(store.request_return(&arrived("2", 1), at(3)).await.unwrap(), none, "nothing comes back twice");
    // what the customer has is another parcel
    assert!(!accepted(store.request_return(&asked("o", "3", 2), at(4)).await.unwrap()).body.arrived);
    assert_eq!(store.request_return(&asked("o", "4", 1), at(5)).await.unwrap(), none);
}

async fn refunds_are_shown(world: World) {
    use oms_domain::refund::{Ask, RefundId};
    let store = &world.store;
    world.placed("o", 0).await;
    let mut state = life(Status::Completed);
    state.shipments = vec![shipment("o", 1, ShipmentStatus::Delivered)];
    state.payment.captured = eur(2_000);
    state.payment.authorized = eur(2_000);
    store.record(&record("o", 1, state, Vec::new()), at(1)).await.unwrap();
    let held = AuthorizationRow {
        payment_id: Some("pay_1".to_owned()),
        outcome: AuthorizationOutcome::Held,
        amount: eur(2_000),
        expires_at: None,
        code: None,
        action_url: None,
    };
    store.record_authorization(&order_id("o"), "k/authorize/1", held, at(1)).await.unwrap();
    store
        .record_capture(&order_id("o"), "k/capture/1", "pay_1", &shipment_id("o", 1), eur(2_000), CaptureOutcome::Captured, at(1))
        .await
        .unwrap();
    let stored = accepted(store.request_return(&asked("o", "1", 2), at(2)).await.unwrap());
    let body = Return { state: ReturnState::Completed, receipts: 2, ..stored.body.clone() };
    store.record_return(&stored.id, 1, &body, at(3)).await.unwrap();
    let shown = async || store.return_(&stored.id).await.unwrap().unwrap();
    assert_eq!((shown().await.refunds.len(), shown().await.refunded_at()), (0, None), "its receipts led to no refund");
    // of its two receipts one led to a refund
    let refund = NewRefund {
        id: RefundId::from_key(stored.id.as_str(), "2"),
        order_id: order_id("o"),
        ask: Ask { amount: Some(eur(500)), ..Ask::default() },
        reason: "return".to_owned(),
        actor: "api".to_owned(),
        terms: json!({}),
    };
    let RefundRequested::Accepted(refund) = store.request_refund(&refund, at(4)).await.unwrap() else { panic!() };
    assert_eq!(shown().await.refunds, [ReturnRefund { id: refund.id.clone(), settled_at: None }]);
    assert_eq!(shown().await.refunded_at(), None);
    store.close_refund(&refund.id, "by hand", at(5)).await.unwrap();
    assert_eq!(shown().await.refunded_at(), Some(kept(5)));
    let listed = store.returns_of(&order_id("o")).await.unwrap().remove(0);
    assert_eq!((listed.refunds, store.returns(None, None, 9).await.unwrap().remove(0).refunds.len()), (shown().await.refunds, 1));
}

async fn one_of_two_takes_the_last_unit(world: World) {
    for round in 0..50 {
        let key = format!("race-{round}");
        delivered(&world, &key).await;
        let wins = race(2, |runner| {
            let (store, new) = (world.store.clone(), asked(&key, &runner.to_string(), 2));
            async move { matches!(store.request_return(&new, at(2)).await.unwrap(), ReturnRequested::Accepted(_)) }
        })
        .await;
        assert_eq!(wins.iter().filter(|won| **won).count(), 1, "round {round}");
    }
}

async fn records_go_forward(world: World) {
    let store = &world.store;
    delivered(&world, "o").await;
    let stored = accepted(store.request_return(&asked("o", "1", 1), at(2)).await.unwrap());
    let approved = Return { state: ReturnState::Approved, ..stored.body.clone() };
    assert_eq!(store.record_return(&stored.id, 3, &approved, at(3)).await.unwrap(), 3);
    assert_eq!(store.record_return(&stored.id, 2, &stored.body, at(4)).await.unwrap(), 3, "a late one changes nothing");
    let now = store.return_(&stored.id).await.unwrap().unwrap();
    assert_eq!((now.body, now.rev, now.updated_at), (approved.clone(), 3, kept(3)));
    assert!(store.record_return(&ReturnId::from_key(&order_id("x"), "x"), 1, &approved, at(3)).await.is_err());
}

async fn lists(world: World) {
    let store = &world.store;
    for n in 0..5 {
        let key = format!("o-{n}");
        delivered(&world, &key).await;
        accepted(store.request_return(&asked(&key, "1", 1), at(n)).await.unwrap());
    }
    let page = store.returns(None, None, 3).await.unwrap();
    let next = store.returns(None, Some(&page[2].cursor()), 3).await.unwrap();
    let seen: Vec<_> = page.iter().chain(&next).map(|r| r.created_at).collect();
    assert_eq!(seen, [4, 3, 2, 1, 0].map(kept));
    let approved = Return { state: ReturnState::Approved, ..page[0].body.clone() };
    store.record_return(&page[0].id, 1, &approved, at(9)).await.unwrap();
    let of = async |state| store.returns(Some(state), None, 9).await.unwrap().len();
    assert_eq!((of(ReturnState::Approved).await, of(ReturnState::Requested).await), (1, 4));
    assert_eq!(store.returns_of(&order_id("o-2")).await.unwrap().len(), 1);
    assert_eq!(store.unstarted_returns(9).await.unwrap().len(), 5);
    store.mark_return_started(&page[0].id, at(9)).await.unwrap();
    assert_eq!(store.unstarted_returns(9).await.unwrap().len(), 4);
}

async fn restocked_once(world: World) {
    let store = &world.store;
    delivered(&world, "o").await;
    let stored = accepted(store.request_return(&asked("o", "1", 2), at(2)).await.unwrap());
    let unit =
        |quantity, condition, location: &str| Inspected { sku: sku("a"), quantity, condition, location: Some(place(location)) };
    let units = vec![
        unit(1, Condition::Restock, "berlin"),
        unit(1, Condition::Restock, "new-place"),
        unit(5, Condition::Scrap, "berlin"),
    ];
    let back = RestockUnits { return_id: stored.id, order_id: order_id("o"), receipt: 1, units, actor: "clerk".to_owned() };
    let firsts = race(8, |_| {
        let (store, back) = (world.store.clone(), back.clone());
        async move { store.restock(&back, at(3)).await.unwrap() }
    })
    .await;
    assert_eq!(firsts.iter().filter(|first| **first).count(), 1);
    assert_eq!(world.available("a", 4).await, 2);
    let second = RestockUnits { receipt: 2, ..back };
    assert!(store.restock(&second, at(5)).await.unwrap());
    assert_eq!(world.available("a", 5).await, 4);
    world.balanced(5).await;
}

/// A started return is looked at by one process at a time, at intervals, until it is over.
async fn one_looks_after_a_run(world: World) {
    let store = &world.store;
    delivered(&world, "o").await;
    let stored = accepted(store.request_return(&asked("o", "1", 1), at(2)).await.unwrap());
    store.mark_return_started(&stored.id, at(3)).await.unwrap();
    assert!(store.returns_to_look_after(at(3), 9, at(4)).await.unwrap().is_empty(), "it was started just now");
    let looks = race(4, |_| {
        let store = world.store.clone();
        async move { store.returns_to_look_after(at(100), 9, at(100)).await.unwrap() }
    })
    .await;
    assert_eq!(looks.concat(), std::slice::from_ref(&stored));
    assert_eq!(
        store.returns_to_look_after(at(101), 9, at(200)).await.unwrap(),
        std::slice::from_ref(&stored),
        "until it is over"
    );
    store.return_is_over(&stored.id).await.unwrap();
    assert!(store.returns_to_look_after(at(999), 9, at(999)).await.unwrap().is_empty());
}

async fn one_that_cannot_be_read_keeps_nobody_waiting(world: World) {
    let store = &world.store;
    delivered(&world, "o").await;
    accepted(store.request_return(&asked("o", "1", 1), at(2)).await.unwrap());
    world.sql("UPDATE returns SET body = '[]'").await;
    delivered(&world, "p").await;
    let good = accepted(store.request_return(&asked("p", "1", 1), at(3)).await.unwrap());
    assert_eq!(store.unstarted_returns(9).await.unwrap(), [good]);
}
