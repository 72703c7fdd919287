//! Proposals that an order's run takes up, and the links in which a customer decides.

use crate::world::*;
use oms_domain::customer::Address;
use oms_domain::event::FactKind::*;
use oms_domain::order::Status;
use oms_domain::pricing::{PricedLine, Totals};
use oms_store::*;

on_both!(addresses, edits, edits_that_were_refused, lines_are_taken_off, decisions);

fn priced(name: &str, quantity: u32, unit: i64) -> PricedLine {
    let unit_price = eur(unit);
    let total = unit_price.times(quantity).unwrap();
    PricedLine { sku: sku(name), name: line(name), quantity, unit_price, discount: None, total }
}

fn totals(lines: &[PricedLine]) -> Totals {
    RULES.totals(lines, eur(0).currency).unwrap()
}

async fn found_by(world: &World, name: &str) -> usize {
    let filter = OrderFilter { sku: Some(sku(name)), ..OrderFilter::default() };
    world.store.orders(&filter, None, 9).await.unwrap().len()
}

async fn addresses(world: World) {
    let store = &world.store;
    let id = order_id("o");
    let before = world.placed("o", 0).await.ship_to;
    let moved = |street: &str| Address { line1: line(street), ..before.clone() };
    let shown = async || store.order(&id).await.unwrap().unwrap().ship_to;
    store.propose_address("change-1", &id, &moved("Weg 2"), at(1)).await.unwrap();
    store.propose_address("change-1", &id, &moved("Weg 3"), at(2)).await.unwrap();
    store.propose_address("change-2", &id, &moved("Weg 4"), at(2)).await.unwrap();
    assert_eq!(shown().await, before, "a proposal is no change");
    let changed =
        |rev, change: &str| Record { address: Some(change.to_owned()), ..record("o", rev, life(Status::Confirmed), vec![]) };
    for now in [3, 4] {
        store.record(&changed(2, "change-1"), at(now)).await.unwrap();
        assert_eq!(shown().await, moved("Weg 2"), "the first proposal under the id counts");
    }
    store.record(&changed(3, "change-2"), at(5)).await.unwrap();
    store.record(&changed(2, "change-1"), at(6)).await.unwrap();
    assert_eq!(shown().await, moved("Weg 4"), "a late record is no news");
    world.placed("p", 0).await;
    store.propose_address("change-p", &order_id("p"), &moved("Weg 5"), at(7)).await.unwrap();
    for (rev, foreign) in [(4, "change-p"), (5, "nothing")] {
        assert_eq!(store.record(&changed(rev, foreign), at(8)).await.unwrap().rev, rev, "a wrong name stops no order");
        assert_eq!(shown().await, moved("Weg 4"));
    }
    assert!(store.propose_address("change-3", &order_id("nobody"), &before, at(9)).await.is_err());
}

async fn edits(world: World) {
    let store = &world.store;
    let id = order_id("o");
    world.placed("o", 0).await;
    let lines = vec![priced("b", 3, 500), priced("a", 1, 1_000)];
    let sums = totals(&lines);
    for now in [1, 2] {
        store.propose_edit("edit-1", &id, &lines, &sums, at(now)).await.unwrap();
    }
    let known = store.edit("edit-1").await.unwrap().unwrap();
    assert_eq!((known.state, known.created_at, &known.lines, known.totals), (ProposalState::Proposed, kept(1), &lines, sums));
    assert_eq!(store.edit("nothing").await.unwrap(), None);
    assert_eq!((found_by(&world, "a").await, found_by(&world, "b").await), (1, 0));
    let amend = Amend { edit: Some("edit-1".to_owned()), lines: Vec::new(), totals: sums };
    let edited = Record { amend: Some(amend), ..record("o", 2, life(Status::Confirmed), vec![fact("edit/edit-1", OrderEdited)]) };
    for now in [3, 4] {
        store.record(&edited, at(now)).await.unwrap();
    }
    let order = store.order(&id).await.unwrap().unwrap();
    assert_eq!((&order.lines, order.totals, order.rev), (&lines, sums, 2));
    assert_eq!((found_by(&world, "a").await, found_by(&world, "b").await), (1, 1));
    assert_eq!(store.edit("edit-1").await.unwrap().unwrap().state, ProposalState::Applied);

    let only_a = vec![priced("a", 4, 1_000)];
    store.propose_edit("edit-2", &id, &only_a, &totals(&only_a), at(5)).await.unwrap();
    let amend = Amend { edit: Some("edit-2".to_owned()), lines: Vec::new(), totals: totals(&only_a) };
    let late = Record { amend: Some(amend.clone()), ..record("o", 2, life(Status::Confirmed), vec![]) };
    store.record(&late, at(6)).await.unwrap();
    assert_eq!(store.edit("edit-2").await.unwrap().unwrap().state, ProposalState::Proposed, "a late record is no news");
    store.record(&Record { rev: 3, ..late }, at(7)).await.unwrap();
    assert_eq!(store.order(&id).await.unwrap().unwrap().lines, only_a);
    assert_eq!((found_by(&world, "a").await, found_by(&world, "b").await), (1, 0));

    // an edit that nobody proposed (named by hand) stops no order: what is known of the lines is shown
    let lines = vec![AmendedLine { sku: sku("c"), quantity: 2, total: eur(700) }];
    let amend = Amend { edit: Some("nothing".to_owned()), lines, totals: amend.totals };
    store.record(&Record { amend: Some(amend), ..record("o", 4, life(Status::Confirmed), vec![]) }, at(8)).await.unwrap();
    assert_eq!(store.order(&id).await.unwrap().unwrap().lines, [priced("c", 2, 350)]);
}

async fn edits_that_were_refused(world: World) {
    let store = &world.store;
    let id = order_id("o");
    let before = world.placed("o", 0).await;
    let lines = [priced("a", 9, 1_000)];
    for edit in ["edit-1", "edit-2"] {
        store.propose_edit(edit, &id, &lines, &totals(&lines), at(1)).await.unwrap();
    }
    let refused = fact("edit/edit-1/refused", OrderEditRefused).because("out_of_stock");
    store.record(&record("o", 1, life(Status::Confirmed), vec![refused]), at(2)).await.unwrap();
    let edit = store.edit("edit-1").await.unwrap().unwrap();
    assert_eq!((edit.state, edit.reason.as_deref()), (ProposalState::Refused, Some("out_of_stock")));
    assert_eq!(store.edit("edit-2").await.unwrap().unwrap().state, ProposalState::Proposed);
    let order = store.order(&id).await.unwrap().unwrap();
    assert_eq!((order.lines, order.totals), (before.lines, before.totals));
}

/// Without an edit the order's own lines take the quantities, wherever they are by then.
async fn lines_are_taken_off(world: World) {
    let store = &world.store;
    let id = order_id("o");
    store.put_product(&product("b", 500), at(0)).await.unwrap();
    store.put_product(&product("a", 1_000), at(0)).await.unwrap();
    let mut new = new_order("o");
    new.lines = [("a", 2), ("b", 3), ("a", 1)].map(|(name, quantity)| NewLine { sku: sku(name), quantity }).to_vec();
    store.intake(&new, &RULES, at(0)).await.unwrap();
    let kept_lines = [priced("a", 2, 1_000), priced("b", 1, 500)];
    let amended = |rev, lines: &[(&str, u32, i64)]| Record {
        amend: Some(Amend {
            edit: None,
            lines: lines
                .iter()
                .map(|(name, quantity, total)| AmendedLine { sku: sku(name), quantity: *quantity, total: eur(*total) })
                .collect(),
            totals: totals(&kept_lines),
        }),
        ..record("o", rev, life(Status::Confirmed), vec![])
    };
    let off = [("a", 2, 2_000), ("b", 1, 500), ("a", 0, 0)];
    // a run that was reset says it again under a later number, when the row's lines have moved up
    for rev in [1, 2] {
        store.record(&amended(rev, &off), at(1)).await.unwrap();
        let order = store.order(&id).await.unwrap().unwrap();
        assert_eq!((order.lines.as_slice(), order.totals), (kept_lines.as_slice(), totals(&kept_lines)));
    }
    store.record(&amended(3, &[("a", 0, 0), ("b", 2, 900)]), at(2)).await.unwrap();
    let lines = store.order(&id).await.unwrap().unwrap().lines;
    assert_eq!(lines, [PricedLine { discount: Some(eur(100)), total: eur(900), ..priced("b", 2, 500) }]);
    assert_eq!((found_by(&world, "a").await, found_by(&world, "b").await), (0, 1));
}

async fn decisions(world: World) {
    let store = &world.store;
    let id = order_id("o");
    world.placed("o", 0).await;
    let tokens = race(8, |n| {
        let store = world.store.clone();
        async move { store.decision_token(&order_id("o"), 1, &format!("token-{n}"), at(1)).await.unwrap() }
    })
    .await;
    assert!(tokens.iter().all(|t| *t == tokens[0]), "one question, one link: {tokens:?}");
    let second = store.decision_token(&id, 2, "token-second", at(2)).await.unwrap();
    assert_eq!(second, "token-second");
    assert_eq!(store.decision_by_token(&tokens[0]).await.unwrap(), Some((id.clone(), 1)));
    assert_eq!(store.decision_by_token(&second).await.unwrap(), Some((id, 2)));
    assert_eq!(store.decision_by_token("nothing").await.unwrap(), None);
    assert!(store.decision_token(&order_id("nobody"), 1, "token-x", at(3)).await.is_err());
}
