//! Two at once about one order: exactly one wins, whoever it is, and the books are exact afterwards. Real engine, database and
//! sandbox; both sides are sent at the same instant.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use oms_contract::command::{Accepted, Edit, Resolve, ShipmentAnswer};
use oms_contract::refund::Terms;
use oms_contract::start::OrderLine;
use oms_contract::workflow as mark;
use oms_domain::customer::Line;
use oms_domain::ids::OrderId;
use oms_domain::life::Why;
use oms_domain::money::Money;
use oms_domain::order::Status;
use oms_domain::pricing::{PriceRules, PricedLine};
use oms_domain::refund::{Ask, RefundId};
use oms_domain::review::{DEPARTED_AFTER_CANCEL, LOST, Resolution};
use oms_domain::shipment::{ScanResult, ScanType, ShipmentStatus};
use oms_store::{ItemFilter, ItemState, NewRefund, RefundRequested, ReviewItem, StoredOrder};
use temporalio_client::errors::WorkflowUpdateError;

use crate::refunds::{delivered, returned};
use crate::support::world::{World, eur, now, report, sku};
use crate::support::{books, until};

/// Races of each kind in every run of the tests; the full number is run by itself, because it needs minutes.
const SOME: usize = 100;
const MANY: usize = 1_000;
/// Orders on their way at once.
const AT_ONCE: usize = 24;
/// For everything that a race of a full run waits for.
const PATIENT: Duration = Duration::from_secs(180);
const PRICE: i64 = 1_999;
const RULES: PriceRules = PriceRules { shipping_minor: 490, tax_bps: 1_900 };

async fn stocked(races: usize) -> World {
    let world = World::new().await;
    world.shelf("mug", "berlin", stock(races), PRICE).await;
    world
}

/// More than all races together can take.
fn stock(races: usize) -> i64 {
    i64::try_from(races).unwrap() * 8
}

/// Runs the races and counts who won.
async fn run<F: Future<Output = &'static str>>(
    kind: &str,
    races: usize,
    race: impl Fn(usize) -> F,
) -> BTreeMap<&'static str, usize> {
    let began = Instant::now();
    let mut won = BTreeMap::new();
    let mut results = stream::iter(0..races).map(race).buffer_unordered(AT_ONCE);
    while let Some(winner) = results.next().await {
        *won.entry(winner).or_default() += 1;
    }
    eprintln!("{kind}: {races} races in {:.1} s: {won:?}", began.elapsed().as_secs_f64());
    won
}

/// Sends both at the same instant, every other time in the other order; chance moves each by a moment, so that neither order decides.
async fn both<A, B>(number: usize, one: impl Future<Output = A>, two: impl Future<Output = B>) -> (A, B) {
    let moment = || tokio::time::sleep(Duration::from_micros(rand::random_range(0..4_000)));
    let one = async { (moment().await, one.await).1 };
    let two = async { (moment().await, two.await).1 };
    if number.is_multiple_of(2) {
        tokio::join!(one, two)
    } else {
        let (two, one) = tokio::join!(two, one);
        (one, two)
    }
}

async fn scan(world: &World, id: &OrderId, kind: ScanType) -> Result<ShipmentAnswer, WorkflowUpdateError> {
    world.run(id).execute_update(mark::ShipmentEventUpdate, report(id, 1, kind), Default::default()).await
}

/// The order, once its row shows what is awaited.
async fn shows(world: &World, id: &OrderId, what: &str, seen: impl Fn(&StoredOrder) -> bool) -> StoredOrder {
    until(&format!("{id} shows {what}"), PATIENT, || async { Some(world.order(id).await).filter(&seen) }).await
}

async fn booked(world: &World, id: &OrderId) {
    let live = |order: &StoredOrder| order.life.live_shipments().map(|s| s.status).collect::<Vec<_>>();
    shows(world, id, "a courier", |order| !live(order).is_empty() && !live(order).contains(&ShipmentStatus::Pending)).await;
}

async fn ended(world: &World, id: &OrderId) -> StoredOrder {
    tokio::time::timeout(PATIENT, world.run(id).get_result(Default::default())).await.unwrap().unwrap();
    world.order(id).await
}

fn refused(error: &WorkflowUpdateError, codes: &[&str]) {
    let said = format!("{error:?}");
    assert!(codes.iter().any(|code| said.contains(code)), "{said}");
}

/// Everything that is not with its customer yet goes there.
async fn deliver(world: &World, id: &OrderId) {
    for shipment in world.order(id).await.life.live_shipments().filter(|s| s.status != ShipmentStatus::Delivered) {
        let number = shipment.id.as_str().rsplit_once('-').unwrap().1.parse().unwrap();
        if !shipment.status.departed() {
            world.scan(id, number, ScanType::Shipped).await;
        }
        world.scan(id, number, ScanType::Delivered).await;
    }
}

/// Every unit that is not on the shelf is in a parcel that left, and nothing is promised to anybody.
async fn shelf_is_exact(world: &World, races: usize, gone: u64) {
    let level = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.reserved), (u64::try_from(stock(races)).unwrap() - gone, 0));
}

async fn cancel_versus_ship(races: usize) {
    let world = stocked(races).await;
    let won = run("cancel versus ship", races, |number| cancel_or_ship(&world, number)).await;
    let of = |winner| won.get(winner).copied().unwrap_or(0);
    assert!(of("ship") > 0 && of("cancel") + of("cancel, and the parcel left") > 0, "no race: {won:?}");
    shelf_is_exact(&world, races, (of("ship") + of("cancel, and the parcel left")) as u64).await;
    books::balanced(&world).await;
    world.end().await;
}

async fn cancel_or_ship(world: &World, number: usize) -> &'static str {
    let id = world.place(&format!("race-{number}"), "pm_card_visa", &[("mug", 1)]).await;
    booked(world, &id).await;
    match both(number, world.cancel(&id), scan(world, &id, ScanType::Shipped)).await {
        (Ok(_), ship) => {
            let order = ended(world, &id).await;
            assert_eq!((order.life.status, order.life.payment.captured), (Status::Cancelled, eur(0)));
            // the report of a parcel that left all the same is heard, unless the run had closed by then
            let flagged = order.life.attention.iter().any(|flag| flag.code == DEPARTED_AFTER_CANCEL);
            assert_eq!(flagged, ship.is_ok(), "{id}: {ship:?}");
            if flagged { "cancel, and the parcel left" } else { "cancel" }
        }
        (Err(late), Ok(ship)) => {
            refused(&late, &["too_late"]);
            assert_eq!(ship.result, ScanResult::Applied);
            deliver(world, &id).await;
            let order = ended(world, &id).await;
            assert_eq!((order.life.status, order.life.payment.captured), (Status::Completed, order.totals.total));
            assert!(order.life.attention.is_empty(), "{:?}", order.life.attention);
            "ship"
        }
        (Err(cancel), Err(ship)) => panic!("{id}: nobody won: {cancel} {ship}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_cancel_and_ship_wins() {
    cancel_versus_ship(SOME).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs minutes"]
async fn one_of_cancel_and_ship_wins_a_thousand_times() {
    cancel_versus_ship(MANY).await;
}

async fn edit_versus_ship(races: usize, cancels: bool) {
    let mut world = stocked(races).await;
    if !cancels {
        // lines may change while no label is bought
        world.deadlines.change_window = Duration::from_secs(2);
    }
    let kind = if cancels { "partial cancel versus ship" } else { "edit versus ship" };
    let won = run(kind, races, |number| edit_or_ship(&world, number, cancels)).await;
    let of = |winner: &str| won.iter().filter(|(name, _)| name.starts_with(winner)).map(|(_, count)| count).sum::<usize>();
    assert!(of("ship") > 0 && of("edit") > 0, "no race: {won:?}");
    let mut gone = 0;
    for order in world.store.audit_orders(None, 10_000).await.unwrap() {
        let left = order.life.shipments.iter().filter(|s| s.status.departed());
        gone += left.flat_map(|s| &s.lines).map(|line| u64::from(line.quantity)).sum::<u64>();
    }
    shelf_is_exact(&world, races, gone).await;
    books::balanced(&world).await;
    world.end().await;
}

/// Proposes another number of mugs.
async fn propose(world: &World, id: &OrderId, quantity: u32) -> Edit {
    let total = eur(PRICE).times(quantity).unwrap();
    let name = Line::parse("The mug").unwrap();
    let line = PricedLine { sku: sku("mug"), name, quantity, unit_price: eur(PRICE), discount: None, total };
    let (edit_id, totals) = (format!("edit-{id}"), RULES.on(total).unwrap());
    world.store.propose_edit(&edit_id, id, &[line], &totals, now()).await.unwrap();
    let lines = vec![OrderLine { sku: sku("mug"), quantity, total }];
    Edit { edit_id, lines, totals, cancels: false, if_rev: None, reason: None, actor: None }
}

async fn edit(world: &World, id: &OrderId, command: Edit) -> Result<Accepted, WorkflowUpdateError> {
    world.run(id).execute_update(mark::EditUpdate, command, Default::default()).await
}

/// An edit takes a few steps: every other parcel leaves a little later, so that some leave at each of them, and every eighth when it is
/// decided.
async fn leave(world: &World, id: &OrderId, number: usize) -> Result<ShipmentAnswer, WorkflowUpdateError> {
    if number % 8 == 7 {
        let _refused = tokio::time::timeout(Duration::from_secs(20), decided(world, id)).await;
    } else if number % 4 > 1 {
        tokio::time::sleep(Duration::from_millis(10 * (number as u64 / 4 % 25))).await;
    }
    scan(world, id, ScanType::Shipped).await
}

/// Waits until an edit was made or given up.
async fn decided(world: &World, id: &OrderId) {
    let about_it = |kind: &str| matches!(kind, "order.edited" | "order.edit_refused");
    until(&format!("the edit of {id} is decided"), PATIENT, || async {
        world.store.timeline(id).await.unwrap().iter().any(|fact| about_it(&fact.kind)).then_some(())
    })
    .await;
}

async fn edit_or_ship(world: &World, number: usize, cancels: bool) -> &'static str {
    let id = world.place(&format!("race-{number}"), "pm_card_visa", &[("mug", 2)]).await;
    if cancels {
        booked(world, &id).await;
    } else {
        shows(world, &id, "that it is confirmed", |order| order.life.status == Status::Confirmed).await;
    }
    let wanted = if cancels || number % 8 < 4 { 1 } else { 3 };
    let proposed = Edit { cancels, ..propose(world, &id, wanted).await };
    let (edit, ship) = both(number, edit(world, &id, proposed), leave(world, &id, number)).await;
    assert_eq!(ship.unwrap().result, ScanResult::Applied, "a fact is never refused");
    let accepted = edit.is_ok();
    if let Err(late) = &edit {
        // the row is confirmed a moment before the run knows
        refused(late, &["too_late", "not_allowed_now"]);
    } else {
        decided(world, &id).await;
    }
    let told: Vec<String> = world.store.timeline(&id).await.unwrap().into_iter().map(|fact| fact.kind).collect();
    let edited = told.contains(&"order.edited".to_owned());
    booked_or_left(world, &id).await;
    deliver(world, &id).await;
    let order = ended(world, &id).await;
    // wholly or not at all
    let units = if edited { wanted } else { 2 };
    assert_eq!((order.lines.len(), order.lines[0].quantity), (1, units), "{id}: {told:?}");
    assert_eq!(order.totals, RULES.on(eur(PRICE).times(units).unwrap()).unwrap(), "{id}: {told:?}");
    let life = &order.life;
    let whole = if cancels && edited { Status::PartiallyFulfilled } else { Status::Completed };
    assert_eq!(life.status, whole, "{id}: {told:?}");
    let share = life.shipments.iter().filter(|s| s.status.departed()).map(|s| s.amount.minor).sum::<i64>();
    let paid = &life.payment;
    assert_eq!((paid.captured, paid.captured.minor), (order.totals.total, share), "{id}: {told:?}");
    assert_eq!(paid.authorized, paid.captured, "{id}: the rest of the hold is released");
    // the parcel that an edit had replaced left all the same: a person knows
    assert_eq!(!life.attention.is_empty(), edited, "{id}: {:?} {told:?}", life.attention);
    match (accepted, edited) {
        (false, _) => "ship",
        (true, false) => "ship, before the edit was done",
        (true, true) => "edit, and the old parcel left",
    }
}

async fn booked_or_left(world: &World, id: &OrderId) {
    shows(world, id, "that all is on its way", |order| order.life.live_shipments().all(|s| s.status != ShipmentStatus::Pending))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_edit_and_ship_wins() {
    edit_versus_ship(SOME, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_partial_cancel_and_ship_wins() {
    edit_versus_ship(SOME, true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs minutes"]
async fn one_of_edit_and_ship_wins_a_thousand_times() {
    edit_versus_ship(MANY, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs minutes"]
async fn one_of_partial_cancel_and_ship_wins_a_thousand_times() {
    edit_versus_ship(MANY, true).await;
}

async fn admin_versus_admin(races: usize) {
    let world = stocked(races).await;
    let won = run("two admins", races, |number| one_admin(&world, number)).await;
    assert!(won.len() == 2, "no race: {won:?}");
    for order in world.store.audit_orders(None, 10_000).await.unwrap() {
        let item = &raised(&world, &order.id).await[0];
        let closed = item.resolution.as_ref().unwrap().action == Resolution::RefundAndClose;
        let due = if closed { order.life.payment.captured } else { eur(0) };
        shows(&world, &order.id, "what is returned", |order| order.life.payment.refunded == due).await;
    }
    settled(&world).await;
    shelf_is_exact(&world, races, races as u64).await;
    books::balanced(&world).await;
    world.end().await;
}

/// The items about the lost parcel. A worker that dies over its record leaves one that settles itself.
async fn raised(world: &World, id: &OrderId) -> Vec<ReviewItem> {
    let about = ItemFilter { kind: Some(LOST.to_owned()), order_id: Some(id.clone()), ..Default::default() };
    let items = world.store.review_items(&about, None, 9).await.unwrap();
    items.into_iter().filter(|item| item.state != ItemState::Settled).collect()
}

async fn one_admin(world: &World, number: usize) -> &'static str {
    let id = world.place(&format!("race-{number}"), "pm_card_visa", &[("mug", 1)]).await;
    booked(world, &id).await;
    scan(world, &id, ScanType::Shipped).await.unwrap();
    scan(world, &id, ScanType::Lost).await.unwrap();
    let is_lost = |order: &StoredOrder| order.life.attention.iter().any(|flag| flag.code == LOST);
    let order = shows(world, &id, "a lost parcel", |order| is_lost(order) && order.life.payment.captured.minor > 0).await;
    let item = order.life.attention[0].item(&id);
    let resolve = |action, actor: &str| {
        let (reference, reason) = (Some("insurance-1".to_owned()), Why::parse("for a test").unwrap());
        let command = Resolve { item: item.clone(), action, reference, reason, actor: Some(actor.to_owned()) };
        let run = world.run(&id);
        async move { run.execute_update(mark::ResolveUpdate, command, Default::default()).await }
    };
    let (one, two) =
        both(number, resolve(Resolution::RefundAndClose, "one"), resolve(Resolution::UseExternalReference, "two")).await;
    let (winner, action) = match (one, two) {
        (Ok(_), Err(_)) => ("one", Resolution::RefundAndClose),
        (Err(_), Ok(_)) => ("two", Resolution::UseExternalReference),
        other => panic!("{id}: not exactly one has resolved it: {other:?}"),
    };
    let order = ended(world, &id).await;
    assert_eq!((order.life.status, order.life.payment.captured), (Status::PartiallyFulfilled, order.totals.total));
    let items = raised(world, &id).await;
    let resolution = items[0].resolution.as_ref().unwrap();
    assert_eq!((items.len(), items[0].state), (1, ItemState::Resolved));
    assert_eq!((resolution.actor.as_str(), resolution.action), (winner, action));
    let told = world.store.timeline(&id).await.unwrap();
    assert_eq!(told.iter().filter(|fact| fact.kind == "review.resolved").count(), 1, "{told:?}");
    winner
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_admins_resolves_an_item() {
    admin_versus_admin(SOME).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs minutes"]
async fn one_of_two_admins_resolves_an_item_a_thousand_times() {
    admin_versus_admin(MANY).await;
}

/// Races about one order's money: each is about more than half of what is left.
const ROUNDS: usize = 20;

async fn refund_versus_refund(races: usize) {
    let world = World::new().await;
    // enough money for all rounds
    world.shelf("mug", "berlin", stock(races), 5_000_000).await;
    let began = Instant::now();
    let orders = stream::iter(0..races / ROUNDS);
    let orders = orders.map(|number| refunds(&world, number)).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    eprintln!("refund versus refund: {races} races in {:.1} s", began.elapsed().as_secs_f64());
    settled(&world).await;
    for (id, accepted, first) in &orders {
        assert_eq!(returned(&world, id).await, (ROUNDS, *accepted), "{id}");
        assert_eq!(world.order(id).await.life.payment.refunded.minor, *accepted, "{id}");
        assert!(*first <= ROUNDS);
    }
    let first: usize = orders.iter().map(|(_, _, first)| first).sum();
    assert!(0 < first && first < races, "no race: {first} of {races}");
    eprintln!("refund versus refund: all returned after {:.1} s, {first} by the first", began.elapsed().as_secs_f64());
    books::balanced(&world).await;
    world.end().await;
}

/// Waits until no refund is owed any more.
async fn settled(world: &World) {
    until("every refund is returned", PATIENT, || async {
        let orders = world.store.audit_orders(None, 10_000).await.unwrap();
        orders.iter().all(|order| order.open_refunds == 0).then_some(())
    })
    .await;
}

/// The order, how much was accepted, and how often the first of the two won.
async fn refunds(world: &World, number: usize) -> (OrderId, i64, usize) {
    let id = delivered(world, &format!("race-{number}"), "pm_card_visa", 1).await;
    let (mut left, mut firsts) = (world.order(&id).await.life.payment.captured, 0);
    let all = left.minor;
    for round in 0..ROUNDS {
        let amount = eur(left.minor / 2 + 1);
        let answers =
            both(round, refund(world, &id, &format!("{round}/one"), amount), refund(world, &id, &format!("{round}/two"), amount))
                .await;
        let (first, loser) = match &answers {
            (RefundRequested::Accepted(_), loser) => (true, loser),
            (loser, _) => (false, loser),
        };
        let rest = left.minus(amount).unwrap();
        assert!(matches!(loser, RefundRequested::TooMuch(excess) if excess.refundable == rest), "{id}: {answers:?}");
        let winner = if first { &answers.0 } else { &answers.1 };
        assert!(matches!(winner, RefundRequested::Accepted(refund) if refund.amount == amount), "{id}: {answers:?}");
        firsts += usize::from(first);
        left = rest;
    }
    (id, all - left.minor, firsts)
}

async fn refund(world: &World, id: &OrderId, key: &str, amount: Money) -> RefundRequested {
    let terms = Terms { deadlines: world.deadlines, patience: world.patience };
    let new = NewRefund {
        id: RefundId::from_key(id.as_str(), key),
        order_id: id.clone(),
        ask: Ask { amount: Some(amount), ..Ask::default() },
        reason: "broken".into(),
        actor: "tester".into(),
        terms: terms.keep(),
    };
    let (store, at) = (world.store.clone(), now());
    tokio::spawn(async move { store.request_refund(&new, at).await.unwrap() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_refunds_of_the_same_money_is_accepted() {
    refund_versus_refund(SOME).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs minutes"]
async fn one_of_two_refunds_of_the_same_money_is_accepted_a_thousand_times() {
    refund_versus_refund(MANY).await;
}
