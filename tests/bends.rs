//! The bends of an order's life: shortages, review, changes, expiring funds, lost parcels. Each ends with the books.

use std::time::Duration;

use oms_contract::command::{Accepted, ChangeAddress, Decide, Edit, Resolve, Review};
use oms_contract::start::{OrderLine, Policies};
use oms_contract::workflow as mark;
use oms_domain::customer::{Address, Country, Line};
use oms_domain::ids::OrderId;
use oms_domain::life::Why;
use oms_domain::order::{Reason, Status};
use oms_domain::party::Party;
use oms_domain::payment::PaymentStatus;
use oms_domain::pricing::{PriceRules, PricedLine};
use oms_domain::review::{CAPTURE_REFUSED, LOST, Resolution, ReviewDecision};
use oms_domain::risk::RiskRules;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_domain::shortage::{Decision, OnShortage, ShortagePolicy};
use oms_gateways::carrier::BookingStatus;
use oms_gateways::faults::{Fault, FaultMode};
use temporalio_client::errors::WorkflowUpdateError;
use temporalio_common::UpdateDefinition;

use crate::support::world::{PATIENT, World, eur, now, sku};
use crate::support::{books, until};

const RULES: PriceRules = PriceRules { shipping_minor: 490, tax_bps: 1900 };

fn why() -> Why {
    Why::parse("for a test").unwrap()
}

async fn ask<U>(world: &World, id: &OrderId, update: U, input: U::Input) -> Result<U::Output, WorkflowUpdateError>
where
    U: UpdateDefinition<Workflow = mark::Order>,
    U::Input: Send,
    U::Output: 'static,
{
    world.run(id).execute_update(update, input, Default::default()).await
}

async fn booked(world: &World, id: &OrderId, shipments: usize) {
    until("every shipment has a courier", PATIENT, || async {
        let life = world.order(id).await.life;
        let live: Vec<_> = life.live_shipments().collect();
        (live.len() == shipments && live.iter().all(|s| s.status == ShipmentStatus::Booked)).then_some(())
    })
    .await;
}

/// Everything that is not delivered yet leaves and arrives.
async fn deliver(world: &World, id: &OrderId) {
    for shipment in world.order(id).await.life.live_shipments().filter(|s| s.status == ShipmentStatus::Booked) {
        let number = shipment.id.as_str().rsplit_once('-').unwrap().1.parse().unwrap();
        world.scan(id, number, ScanType::Shipped).await;
        world.scan(id, number, ScanType::Delivered).await;
    }
}

async fn told(world: &World, id: &OrderId) -> Vec<String> {
    world.store.timeline(id).await.unwrap().into_iter().map(|e| e.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_for_stock_and_is_filled_by_a_receipt() {
    let mut world = World::new().await;
    world.on_shortage = OnShortage { policy: ShortagePolicy::Wait, max: None };
    world.shelf("mug", "berlin", 2, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 5)]).await;
    let order = world.reaches(&id, Status::Backordered).await;
    assert_eq!(order.life.waiting[0].quantity, 3);
    assert_eq!(order.life.payment.status, PaymentStatus::Authorized);
    world.receive("mug", "berlin", 1).await;
    until("one more is promised", PATIENT, || async {
        (world.order(&id).await.life.waiting.first()?.quantity == 2).then_some(())
    })
    .await;
    world.receive("mug", "hamburg", 4).await;
    world.reaches(&id, Status::Confirmed).await;
    booked(&world, &id, 2).await;
    let order = world.order(&id).await;
    assert_eq!(order.life.shipments.iter().map(|s| s.amount.minor).sum::<i64>(), order.totals.total.minor);
    deliver(&world, &id).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    assert!(told(&world, &id).await.contains(&"order.backordered".to_owned()));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_ships_and_the_rest_follows() {
    let mut world = World::new().await;
    world.on_shortage = OnShortage { policy: ShortagePolicy::ShipAvailable, max: None };
    world.shelf("mug", "berlin", 2, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 5)]).await;
    booked(&world, &id, 1).await;
    world.scan(&id, 1, ScanType::Shipped).await;
    world.reaches(&id, Status::PartiallyShipped).await;
    until("only what left is paid", PATIENT, || async {
        let order = world.order(&id).await;
        (order.life.payment.captured == order.life.shipments[0].amount).then_some(())
    })
    .await;
    world.receive("mug", "berlin", 3).await;
    until("a second parcel has a courier", PATIENT, || async {
        (world.order(&id).await.life.shipments.get(1)?.status == ShipmentStatus::Booked).then_some(())
    })
    .await;
    world.scan(&id, 1, ScanType::Delivered).await;
    world.scan(&id, 2, ScanType::Shipped).await;
    world.reaches(&id, Status::Shipped).await;
    world.scan(&id, 2, ScanType::Delivered).await;
    let end = world.ends(&id).await;
    assert_eq!((end.status, end.life.payment.captured), (Status::Completed, world.order(&id).await.totals.total));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_asks_the_customer_and_drops_what_never_came() {
    let mut world = World::new().await;
    world.on_shortage = OnShortage { policy: ShortagePolicy::Wait, max: Some(Duration::from_millis(500)) };
    world.shelf("mug", "berlin", 2, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 5)]).await;
    until("the customer is asked", PATIENT, || async { world.order(&id).await.life.question }).await;
    let decide = Decide { decision: Decision::ShipAvailable, round: Some(1), actor: None };
    ask(&world, &id, mark::DecideUpdate, decide.clone()).await.unwrap();
    assert!(ask(&world, &id, mark::DecideUpdate, decide).await.is_err(), "a question is decided once");
    booked(&world, &id, 1).await;
    let order = world.order(&id).await;
    assert_eq!((order.lines[0].quantity, order.totals.subtotal), (2, eur(3998)));
    assert_eq!(order.totals, RULES.on(eur(3998)).unwrap());
    deliver(&world, &id).await;
    let end = world.ends(&id).await;
    assert_eq!((end.status, end.life.payment.captured), (Status::PartiallyFulfilled, order.totals.total));
    assert_eq!(end.life.payment.authorized, order.totals.total, "the rest of the hold is released");
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_nobody_decides_ends_by_policy() {
    let mut world = World::new().await;
    world.on_shortage = OnShortage { policy: ShortagePolicy::Wait, max: Some(Duration::from_millis(300)) };
    world.deadlines.decision = Duration::from_millis(300);
    world.shelf("mug", "berlin", 2, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 5)]).await;
    assert_eq!(world.ends(&id).await.status, Status::Cancelled);
    let level = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.reserved), (2, 0));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backordered_order_can_be_cancelled() {
    let mut world = World::new().await;
    world.on_shortage = OnShortage { policy: ShortagePolicy::Wait, max: None };
    world.shelf("mug", "berlin", 2, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 5)]).await;
    world.reaches(&id, Status::Backordered).await;
    world.cancel(&id).await.unwrap();
    assert_eq!(world.ends(&id).await.status, Status::Cancelled);
    world.receive("mug", "berlin", 9).await;
    let level = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.reserved), (11, 0), "nobody waits any more");
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_sends_an_order_to_a_person_who_decides_once() {
    let mut world = World::new().await;
    world.risk = RiskRules { amount_min: Some(5_000), ..RiskRules::default() };
    world.shelf("mug", "berlin", 10, 1999).await;
    let small = world.place("small", "pm_card_visa", &[("mug", 1)]).await;
    let good = world.place("good", "pm_card_visa", &[("mug", 3)]).await;
    let bad = world.place("bad", "pm_card_visa", &[("mug", 4)]).await;
    booked(&world, &small, 1).await;
    let order = world.reaches(&good, Status::InReview).await;
    assert_eq!(order.life.review.unwrap().reasons, ["amount"]);
    let verdict = |decision| Review { decision, reason: why(), actor: Some("tester".into()) };
    ask(&world, &good, mark::ReviewUpdate, verdict(ReviewDecision::Approve)).await.unwrap();
    assert!(ask(&world, &good, mark::ReviewUpdate, verdict(ReviewDecision::Reject)).await.is_err());
    world.reaches(&bad, Status::InReview).await;
    assert!(world.sandbox.payments.payments(Some(&bad)).await.unwrap().is_empty(), "nothing is asked before the verdict");
    ask(&world, &bad, mark::ReviewUpdate, verdict(ReviewDecision::Reject)).await.unwrap();
    let end = world.ends(&bad).await;
    assert_eq!((end.status, end.life.reason), (Status::Rejected, Some(Reason::ReviewRejected)));
    booked(&world, &good, 1).await;
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_that_nobody_decides_ends_by_policy() {
    let mut world = World::new().await;
    world.risk = RiskRules { amount_min: Some(1), ..RiskRules::default() };
    world.deadlines.review = Duration::from_millis(300);
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    assert_eq!(world.ends(&id).await.life.reason, Some(Reason::ReviewRejected));
    world.policies = Policies { review: ReviewDecision::Approve, ..Policies::default() };
    let id = world.place("two", "pm_card_visa", &[("mug", 1)]).await;
    booked(&world, &id, 1).await;
    books::balanced(&world).await;
    world.end().await;
}

/// Proposes lines and asks for the edit.
async fn edit(world: &World, id: &OrderId, key: &str, lines: &[(&str, u32)]) -> Result<Accepted, WorkflowUpdateError> {
    change(world, id, key, lines, false).await
}

/// The same, or, if it `cancels`, for the end of what is not in the lines any more.
async fn change(
    world: &World,
    id: &OrderId,
    key: &str,
    lines: &[(&str, u32)],
    cancels: bool,
) -> Result<Accepted, WorkflowUpdateError> {
    let order = world.order(id).await;
    let priced: Vec<PricedLine> = lines
        .iter()
        .map(|(name, quantity)| {
            let unit_price = eur(if *name == "mug" { 1999 } else { 5000 });
            let total = unit_price.times(*quantity).unwrap();
            PricedLine {
                sku: sku(name),
                name: Line::parse(*name).unwrap(),
                quantity: *quantity,
                unit_price,
                discount: None,
                total,
            }
        })
        .collect();
    let totals = RULES.totals(&priced, order.currency).unwrap();
    world.store.propose_edit(key, id, &priced, &totals, now()).await.unwrap();
    let lines = priced.iter().map(|l| OrderLine { sku: l.sku.clone(), quantity: l.quantity, total: l.total }).collect();
    let command = Edit { edit_id: key.into(), lines, totals, cancels, if_rev: None, reason: Some(why()), actor: None };
    ask(world, id, mark::EditUpdate, command).await
}

async fn settled(world: &World, id: &OrderId, kind: &str, times: usize) {
    until(kind, PATIENT, || async { (told(world, id).await.iter().filter(|k| *k == kind).count() == times).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_of_a_labelled_parcel_are_cancelled_and_the_rest_is_packed_anew() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 3)]).await;
    booked(&world, &id, 1).await;
    assert!(edit(&world, &id, "edit-late", &[("mug", 2)]).await.is_err(), "an edit leaves labels alone");
    change(&world, &id, "cancel-one", &[("mug", 2)], true).await.unwrap();
    settled(&world, &id, "order.edited", 1).await;
    until("the rest has a courier", PATIENT, || async {
        let live: Vec<_> = world.order(&id).await.life.live_shipments().map(|s| (s.status, s.lines[0].quantity)).collect();
        (live == [(ShipmentStatus::Booked, 2)]).then_some(())
    })
    .await;
    let bookings = world.sandbox.carrier.bookings().await.unwrap();
    let standing = bookings.iter().filter(|b| b.status == BookingStatus::Booked).map(|b| b.shipment_id.as_str().to_owned());
    assert_eq!(standing.collect::<Vec<_>>(), [format!("{id}-2")], "the courier of the old parcel is called off");
    world.scan(&id, 2, ScanType::Shipped).await;
    world.scan(&id, 2, ScanType::Delivered).await;
    assert_eq!(world.ends(&id).await.status, Status::PartiallyFulfilled);
    let order = world.reaches(&id, Status::PartiallyFulfilled).await;
    assert_eq!(order.totals, RULES.on(eur(2 * 1999)).unwrap());
    assert_eq!((order.life.payment.captured, order.life.payment.authorized), (order.totals.total, order.totals.total));
    let mugs = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    assert_eq!((mugs.on_hand, mugs.reserved), (8, 0));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_left_can_be_cancelled_after_a_part_has() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 1, 1999).await;
    world.receive("mug", "hamburg", 1).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    booked(&world, &id, 2).await;
    let first = world.order(&id).await.life.shipments[0].clone();
    world.scan(&id, 1, ScanType::Shipped).await;
    assert!(world.cancel(&id).await.is_err(), "too late for the whole");
    change(&world, &id, "cancel-rest", &[("mug", 1)], true).await.unwrap();
    settled(&world, &id, "order.edited", 1).await;
    assert!(change(&world, &id, "cancel-more", &[], true).await.is_err(), "what has left stays");
    world.scan(&id, 1, ScanType::Delivered).await;
    assert_eq!(world.ends(&id).await.status, Status::PartiallyFulfilled);
    let order = world.reaches(&id, Status::PartiallyFulfilled).await;
    // what left costs what it cost when it left: the fee that its parcel did not carry is nobody's
    assert_eq!((order.totals.total, order.life.payment.captured), (first.amount, first.amount));
    let totals = order.totals;
    assert_eq!(totals.subtotal.plus(totals.shipping).unwrap().plus(totals.tax).unwrap(), totals.total);
    assert_eq!(order.life.payment.authorized, first.amount, "the rest of the hold is released");
    let level = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    let left: Vec<_> = level.locations.iter().map(|l| (l.on_hand, l.reserved)).collect();
    let gone = first.location.as_str() == "berlin";
    assert_eq!(left, if gone { [(0, 0), (1, 0)] } else { [(1, 0), (0, 0)] }, "the other place keeps its unit");
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_moves_stock_tax_and_funds_or_nothing() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    world.shelf("lamp", "hamburg", 3, 5000).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    let hold = world.hold(&id, None).await;
    world.reaches(&id, Status::Confirmed).await;
    edit(&world, &id, "edit-more-1", &[("mug", 1), ("lamp", 2)]).await.unwrap();
    settled(&world, &id, "order.edited", 1).await;
    let order = world.order(&id).await;
    assert_eq!(order.totals, RULES.on(eur(11_999)).unwrap());
    assert_eq!(order.life.payment.authorized, order.totals.total);
    assert_eq!(order.life.live_shipments().count(), 2);
    assert_eq!(order.life.live_shipments().map(|s| s.amount.minor).sum::<i64>(), order.totals.total.minor);
    edit(&world, &id, "edit-more-2", &[("lamp", 4)]).await.unwrap();
    settled(&world, &id, "order.edit_refused", 1).await;
    let after = world.order(&id).await;
    assert_eq!((&after.lines, after.totals, after.life.payment.authorized), (&order.lines, order.totals, order.totals.total));
    let mugs = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    assert_eq!(mugs.reserved, 1);
    edit(&world, &id, "edit-less", &[("mug", 1)]).await.unwrap();
    settled(&world, &id, "order.edited", 2).await;
    world.release(&id, &hold).await;
    booked(&world, &id, 1).await;
    deliver(&world, &id).await;
    let end = world.ends(&id).await;
    assert_eq!((end.status, end.life.payment.captured), (Status::Completed, RULES.on(eur(1999)).unwrap().total));
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_and_address_are_closed_once_a_label_is_bought() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    booked(&world, &id, 1).await;
    let refused = format!("{:?}", edit(&world, &id, "edit-late", &[("mug", 1)]).await.unwrap_err());
    assert!(refused.contains("too_late"), "{refused}");
    let command = ChangeAddress { change_id: "change-1".into(), reason: None, actor: None };
    let refused = format!("{:?}", ask(&world, &id, mark::ChangeAddressUpdate, command).await.unwrap_err());
    assert!(refused.contains("too_late"), "{refused}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_is_on_the_label() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    let hold = world.hold(&id, None).await;
    world.reaches(&id, Status::Confirmed).await;
    let line = |text: &str| Line::parse(text).unwrap();
    let address = Address {
        name: line("Ada"),
        line1: line("Elsewhere 9"),
        line2: None,
        city: line("Wien"),
        region: None,
        postal_code: line("1010"),
        country: Country::parse("AT").unwrap(),
    };
    world.store.propose_address("change-1", &id, &address, now()).await.unwrap();
    let command = ChangeAddress { change_id: "change-1".into(), reason: Some(why()), actor: None };
    ask(&world, &id, mark::ChangeAddressUpdate, command).await.unwrap();
    until("the row has it", PATIENT, || async { (world.order(&id).await.ship_to == address).then_some(()) }).await;
    world.release(&id, &hold).await;
    booked(&world, &id, 1).await;
    deliver(&world, &id).await;
    world.ends(&id).await;
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_parcel_is_refunded_and_closed_by_one_person() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    booked(&world, &id, 1).await;
    world.scan(&id, 1, ScanType::Shipped).await;
    world.scan(&id, 1, ScanType::Lost).await;
    let flag = until("a person is called", PATIENT, || async {
        world.order(&id).await.life.attention.into_iter().find(|a| a.code == LOST)
    })
    .await;
    until("the money is taken", PATIENT, || async { (world.order(&id).await.life.payment.captured.minor > 0).then_some(()) })
        .await;
    let command = Resolve {
        item: flag.item(&id),
        action: Resolution::RefundAndClose,
        reference: None,
        reason: why(),
        actor: Some("tester".into()),
    };
    let (one, two) = tokio::join!(
        ask(&world, &id, mark::ResolveUpdate, command.clone()),
        ask(&world, &id, mark::ResolveUpdate, command.clone())
    );
    assert!(one.is_ok() != two.is_ok(), "exactly one person resolves it");
    assert_eq!(world.ends(&id).await.status, Status::PartiallyFulfilled);
    until("the money is back", PATIENT, || async {
        let order = world.order(&id).await;
        (order.life.payment.refunded == order.life.payment.captured).then_some(())
    })
    .await;
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_capture_is_settled_by_a_person() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    booked(&world, &id, 1).await;
    let payment = world.sandbox.payments.payments(Some(&id)).await.unwrap().remove(0);
    // somebody releases the hold behind our back
    use oms_gateways::payment::{PaymentGateway, VoidRequest};
    let authorize_key = payment.operations[0].key.clone();
    let void = VoidRequest { key: "by-hand".into(), authorize_key, order_id: id.clone(), now: now() };
    world.sandbox.payments.void(void).await.unwrap();
    world.scan(&id, 1, ScanType::Shipped).await;
    let flag = until("a person is called", PATIENT, || async {
        world.order(&id).await.life.attention.into_iter().find(|a| a.code == CAPTURE_REFUSED)
    })
    .await;
    let mut command =
        Resolve { item: flag.item(&id), action: Resolution::UseExternalReference, reference: None, reason: why(), actor: None };
    assert!(ask(&world, &id, mark::ResolveUpdate, command.clone()).await.is_err(), "it needs the reference");
    command.reference = Some("bank-4711".into());
    ask(&world, &id, mark::ResolveUpdate, command).await.unwrap();
    world.scan(&id, 1, ScanType::Delivered).await;
    let end = world.ends(&id).await;
    assert_eq!((end.status, end.life.payment.waived), (Status::Completed, Some(end.life.shipments[0].amount)));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_outage_does_not_keep_an_address_from_changing() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    world.sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    let order = world.reaches(&id, Status::Confirmed).await;
    let mut address = order.ship_to.clone();
    address.city = Line::parse("Bremen").unwrap();
    world.store.propose_address("change-1", &id, &address, now()).await.unwrap();
    let command = ChangeAddress { change_id: "change-1".into(), reason: None, actor: None };
    if ask(&world, &id, mark::ChangeAddressUpdate, command).await.is_ok() {
        world.sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::None)).await.unwrap();
        until("the row has it", PATIENT, || async { (world.order(&id).await.ship_to == address).then_some(()) }).await;
        booked(&world, &id, 1).await;
        let live = world.sandbox.carrier.bookings().await.unwrap();
        let live: Vec<_> = live.iter().filter(|b| b.status == oms_gateways::carrier::BookingStatus::Booked).collect();
        assert_eq!(live.len(), 1, "the label with the old address is taken back: {live:?}");
    }
    world.end().await;
}
