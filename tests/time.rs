//! Deadlines of days and weeks, each waited for in full on a server whose time jumps. Each ends with the books, and with a timeline
//! on which the workflow's time and the database's agree.

use std::time::Duration;

use oms_contract::activity::effect_key;
use oms_contract::command::{Resolve, Review};
use oms_contract::start::Policies;
use oms_contract::workflow as mark;
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::life::Why;
use oms_domain::order::{Reason, Status};
use oms_domain::party::Party;
use oms_domain::payment::PaymentStatus;
use oms_domain::refund::{RefundId, RefundState};
use oms_domain::returning::{Condition, ReturnState};
use oms_domain::review::{ACTION_REQUIRED, CAPTURE_REFUSED, NO_SCAN, Resolution, ReviewDecision};
use oms_domain::risk::RiskRules;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_domain::shortage::{Decision, OnShortage, ShortagePolicy};
use oms_gateways::carrier::BookingStatus;
use oms_gateways::faults::{Fault, FaultMode};
use oms_gateways::payment::{
    Authentication, OperationKind, OperationResult, PaymentGateway, SandboxOperation, SandboxPayment, VoidRequest,
};
use oms_store::TimelineEntry;

use crate::refunds::{delivered, refund_is};
use crate::replay::replays;
use crate::returns;
use crate::support::skipping::Skipping;
use crate::support::world::{PATIENT, World, sku};
use crate::support::{books, until};

pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(24 * 3_600);
/// What the work itself may take, which passes on the server's clock as on the wall's.
const CLOSE: Duration = Duration::from_secs(30);

fn why() -> Why {
    Why::parse("for a test").unwrap()
}

pub fn waits(max: Option<Duration>) -> OnShortage {
    OnShortage { policy: ShortagePolicy::Wait, max }
}

pub async fn told(world: &World, id: &OrderId, kind: &str) -> Vec<TimelineEntry> {
    world.store.timeline(id).await.unwrap().into_iter().filter(|entry| entry.kind == kind).collect()
}

pub async fn one(world: &World, id: &OrderId, kind: &str) -> TimelineEntry {
    until(&format!("{id} is told {kind}"), PATIENT, || async { told(world, id, kind).await.into_iter().next() }).await
}

/// Asserts that `later` is `span` after `at`, give or take what the work took.
fn after(at: Instant, span: Duration, later: Instant) {
    let off = (later - (at + span)).abs().to_std().unwrap();
    assert!(off < CLOSE, "{later} is not {span:?} after {at}");
}

pub async fn payments(world: &World, id: &OrderId) -> Vec<SandboxPayment> {
    world.sandbox.payments.payments(Some(id)).await.unwrap()
}

fn done(payments: &[SandboxPayment], kind: OperationKind) -> Vec<&SandboxOperation> {
    payments.iter().flat_map(|p| &p.operations).filter(|o| o.kind == kind && o.result == OperationResult::Ok).collect()
}

/// Every authorization but the last one is released.
fn only_the_last_is_not_void(payments: &[SandboxPayment]) {
    let (last, before) = payments.split_last().unwrap();
    assert!(before.iter().all(|p| p.status == PaymentStatus::Voided), "{payments:#?}");
    assert_ne!(last.status, PaymentStatus::Voided);
}

pub async fn booked(world: &World, id: &OrderId) {
    until(&format!("{id} has a courier"), PATIENT, || async {
        let shipments = world.order(id).await.life.shipments;
        (!shipments.is_empty() && shipments.iter().all(|s| s.status == ShipmentStatus::Booked)).then_some(())
    })
    .await;
}

pub async fn arrives(world: &World, id: &OrderId) {
    booked(world, id).await;
    for kind in [ScanType::Shipped, ScanType::Delivered] {
        world.scan(id, 1, kind).await;
    }
}

pub async fn flagged(world: &World, id: &OrderId, code: &str) -> String {
    let flag = until(&format!("{id} is flagged {code}"), PATIENT, || async {
        world.order(id).await.life.attention.into_iter().find(|flag| flag.code == code)
    })
    .await;
    flag.item(id)
}

/// What stands on the timelines was written when it happened, the books balance, and everything stops.
pub async fn end(skipping: Skipping) {
    let world = skipping.world;
    let orders = world.store.audit_orders(None, 1_000).await.unwrap();
    assert!(!orders.is_empty());
    for order in orders {
        for entry in world.store.timeline(&order.id).await.unwrap() {
            let apart = (entry.recorded_at - entry.at).abs().to_std().unwrap();
            assert!(apart < CLOSE, "{} happened {} and was written {}", entry.kind, entry.at, entry.recorded_at);
        }
    }
    books::balanced(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_days_in_a_backorder_are_covered_by_one_hold_on_funds_at_a_time() {
    let mut skipping = Skipping::new().await;
    skipping.world.on_shortage = waits(Some(60 * DAY));
    let world = &skipping.world;
    world.shelf("mug", "berlin", 2, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 5)]).await;
    world.reaches(&id, Status::Backordered).await;
    // off the days, so that no look falls into a renewal
    skipping.pass(6 * HOUR).await;
    for day in 1..=40_u32 {
        skipping.pass(DAY).await;
        let payments = payments(world, &id).await;
        let live: Vec<_> = payments.iter().filter(|p| p.status == PaymentStatus::Authorized).collect();
        assert_eq!(live.len(), 1, "on day {day}: {payments:#?}");
        assert_eq!(payments.len(), 1 + day as usize / 6, "on day {day}");
        only_the_last_is_not_void(&payments);
        let order = world.order(&id).await;
        assert!(order.life.attention.is_empty(), "on day {day}: {:?}", order.life.attention);
        let ends = order.life.payment.authorization_expires_at.unwrap();
        assert!(ends > world.now() && order.life.payment.authorized == order.totals.total, "on day {day}");
    }
    let renewed = told(world, &id, "payment.reauthorized").await;
    assert_eq!(renewed.len(), 6);
    let mut before = told(world, &id, "payment.authorized").await[0].at;
    for renewal in &renewed {
        after(before, 6 * DAY, renewal.at);
        before = renewal.at;
    }
    assert_eq!(
        world.store.stock(&sku("mug"), world.now()).await.unwrap().unwrap().reserved,
        2,
        "what was there is still promised"
    );

    world.receive("mug", "berlin", 3).await;
    arrives(world, &id).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    let payments = payments(world, &id).await;
    let total = world.order(&id).await.totals.total;
    assert_eq!((payments.len(), payments[6].captured), (7, total));
    assert_eq!(done(&payments, OperationKind::Capture).len(), 1);
    assert_eq!(done(&payments, OperationKind::Void).len(), 6);
    only_the_last_is_not_void(&payments);
    // the ledger's time is the timeline's
    for (payment, renewal) in payments[1..].iter().zip(&renewed) {
        after(payment.operations[0].at, Duration::ZERO, renewal.at);
    }
    // the order sleeps between its renewals
    let tasks = world.events(&id).await.iter().filter(|e| *e == "WORKFLOW_TASK_COMPLETED").count();
    assert!(tasks < 60, "{tasks} workflow tasks for 6 renewals");
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_thirty_days_the_customer_is_asked_and_three_days_later_policy_decides() {
    let mut skipping = Skipping::new().await;
    skipping.world.on_shortage = waits(Some(30 * DAY));
    let world = &skipping.world;
    world.shelf("mug", "berlin", 2, 1999).await;
    world.shelf("cup", "berlin", 2, 1999).await;
    let gone = world.place("gone", "pm_card_visa", &[("mug", 5)]).await;
    let ships = |start: &mut oms_contract::start::OrderStart| start.policies.shortage = Decision::ShipAvailable;
    let part = world.place_under("part", "pm_card_visa", &[("cup", 5)], world.on_shortage, ships).await;
    for id in [&gone, &part] {
        world.reaches(id, Status::Backordered).await;
    }
    skipping.pass(30 * DAY - HOUR).await;
    for id in [&gone, &part] {
        assert!(world.order(id).await.life.question.is_none());
    }
    skipping.pass(2 * HOUR).await;
    for id in [&gone, &part] {
        let since = told(world, id, "order.backordered").await[0].at;
        let question = until("the customer is asked", PATIENT, || async { world.order(id).await.life.question }).await;
        after(since, 30 * DAY, question.asked_at);
        assert_eq!(question.until, question.asked_at + 72 * HOUR);
    }
    skipping.pass(70 * HOUR).await;
    for id in [&gone, &part] {
        assert!(world.order(id).await.life.question.is_some(), "the customer still has an hour");
    }
    skipping.pass(2 * HOUR).await;
    assert_eq!(world.ends(&gone).await.status, Status::Cancelled);
    for (id, decision) in [(&gone, "cancel"), (&part, "ship_available")] {
        let decided = one(world, id, "order.question_decided").await;
        after(told(world, id, "order.question_asked").await[0].at, 72 * HOUR, decided.at);
        assert!(decided.reason.unwrap().starts_with(decision));
    }
    assert!(payments(world, &gone).await.iter().all(|p| p.status == PaymentStatus::Voided));
    arrives(world, &part).await;
    assert_eq!(world.ends(&part).await.status, Status::PartiallyFulfilled);
    let shipped = world.order(&part).await;
    assert_eq!((shipped.lines[0].quantity, shipped.life.payment.captured), (2, shipped.totals.total));
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_go_on_waiting_is_asked_again_when_the_patience_is_over_again() {
    let mut skipping = Skipping::new().await;
    skipping.world.on_shortage = waits(Some(30 * DAY));
    skipping.world.policies.shortage = Decision::Wait;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 0, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    let since = world.reaches(&id, Status::Backordered).await.placed_at;
    let mut asked = since + 30 * DAY;
    for round in 1..=3 {
        skipping.pass((asked - world.now()).to_std().unwrap() + HOUR).await;
        let question = until("the customer is asked", PATIENT, || async { world.order(&id).await.life.question }).await;
        assert_eq!(question.round, round);
        after(asked, Duration::ZERO, question.asked_at);
        asked = question.until + 30 * DAY;
    }
    world.receive("mug", "berlin", 1).await;
    arrives(world, &id).await;
    world.reaches(&id, Status::Completed).await;
    assert_eq!(told(world, &id, "order.question_decided").await.len(), 2, "the goods came before the third answer");
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_of_two_days_is_decided_by_policy_unless_a_person_comes_first() {
    let mut skipping = Skipping::new().await;
    skipping.world.risk = RiskRules { amount_min: Some(1), ..RiskRules::default() };
    let world = &skipping.world;
    world.shelf("mug", "berlin", 10, 1999).await;
    let mugs = &[("mug", 1)];
    let reject = world.place("reject", "pm_card_visa", mugs).await;
    let lenient = |start: &mut oms_contract::start::OrderStart| {
        start.policies = Policies { review: ReviewDecision::Approve, ..Policies::default() };
    };
    let approve = world.place_under("approve", "pm_card_visa", mugs, world.on_shortage, lenient).await;
    let person = world.place("person", "pm_card_visa", mugs).await;
    for id in [&reject, &approve, &person] {
        world.reaches(id, Status::InReview).await;
    }
    skipping.pass(47 * HOUR).await;
    for id in [&reject, &approve, &person] {
        assert_eq!(world.order(id).await.life.status, Status::InReview);
    }
    let verdict = Review { decision: ReviewDecision::Approve, reason: why(), actor: Some("tester".into()) };
    world.run(&person).execute_update(mark::ReviewUpdate, verdict, Default::default()).await.unwrap();
    arrives(world, &person).await;
    world.reaches(&person, Status::Completed).await;
    skipping.pass(2 * HOUR).await;
    let closed = world.ends(&reject).await;
    assert_eq!((closed.status, closed.life.reason), (Status::Rejected, Some(Reason::ReviewRejected)));
    assert!(payments(world, &reject).await.is_empty(), "nothing was asked of the gateway");
    arrives(world, &approve).await;
    world.reaches(&approve, Status::Completed).await;
    for id in [&reject, &approve] {
        after(told(world, id, "order.in_review").await[0].at, 48 * HOUR, one(world, id, "order.reviewed").await.at);
    }
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_expires_after_thirty_days_and_is_taken_on_the_last() {
    let skipping = Skipping::new().await;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 10, 1999).await;
    let order = delivered(world, "one", "pm_card_visa", 4).await;
    let (never, late) = (returns::ask(world, &order, "never", 1).await, returns::ask(world, &order, "late", 2).await);
    for id in [&never, &late] {
        assert!(returns::approve(world, id).await);
        returns::is(world, id, "labelled", |r| r.body.label.is_some()).await;
    }
    let approved = told(world, &order, "return.approved").await[0].at;
    skipping.pass(29 * DAY).await;
    for id in [&never, &late] {
        returns::is(world, id, "still on its way", |r| r.body.state == ReturnState::Approved).await;
    }
    returns::receive(world, &late, vec![returns::unit(2, Condition::Restock)], true).await;
    assert_eq!(returns::ended(world, &late).await, ReturnState::Completed);
    refund_is(world, &RefundId::from_key(late.as_str(), "1"), RefundState::Returned).await;
    skipping.pass(2 * DAY).await;
    assert_eq!(returns::ended(world, &never).await, ReturnState::Expired);
    after(approved, 30 * DAY, one(world, &order, "return.expired").await.at);
    after(approved, 29 * DAY, one(world, &order, "return.received").await.at);
    let bookings = world.sandbox.carrier.bookings().await.unwrap();
    let label = |id: &str| bookings.iter().find(|b| b.shipment_id.as_str() == id).map(|b| b.status);
    assert_eq!(label(never.as_str()), Some(BookingStatus::Cancelled));
    assert_eq!(label(late.as_str()), Some(BookingStatus::Booked));
    assert_eq!(world.store.stock(&sku("mug"), world.now()).await.unwrap().unwrap().on_hand, 8);
    assert_eq!(done(&payments(world, &order).await, OperationKind::Refund).len(), 1);
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_of_which_nobody_hears_for_a_week_is_given_up_by_a_person() {
    let skipping = Skipping::new().await;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    booked(world, &id).await;
    world.scan(&id, 1, ScanType::Shipped).await;
    let captured = one(world, &id, "payment.captured").await.at;
    skipping.pass(7 * DAY - HOUR).await;
    assert!(world.order(&id).await.life.attention.is_empty(), "nobody is called before the week is over");
    skipping.pass(2 * HOUR).await;
    let item = flagged(world, &id, NO_SCAN).await;
    after(captured, 7 * DAY, one(world, &id, "attention.raised").await.at);
    let command =
        Resolve { item, action: Resolution::RefundAndClose, reference: None, reason: why(), actor: Some("tester".into()) };
    world.run(&id).execute_update(mark::ResolveUpdate, command, Default::default()).await.unwrap();
    assert_eq!(world.ends(&id).await.status, Status::PartiallyFulfilled);
    until("the money is back", PATIENT, || async {
        let order = world.order(&id).await;
        (order.life.payment.refunded == order.totals.total).then_some(())
    })
    .await;
    assert_eq!(done(&payments(world, &id).await, OperationKind::Refund).len(), 1);
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_parcel_has_a_week_of_its_own() {
    let skipping = Skipping::new().await;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 1, 1999).await;
    world.receive("mug", "hamburg", 1).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    booked(world, &id).await;
    world.scan(&id, 1, ScanType::Shipped).await;
    one(world, &id, "payment.captured").await;
    skipping.pass(4 * DAY).await;
    world.scan(&id, 2, ScanType::Shipped).await;
    // the second parcel's departure is no news of the first
    skipping.pass(3 * DAY + HOUR).await;
    let item = flagged(world, &id, NO_SCAN).await;
    let life = world.order(&id).await.life;
    let silent: Vec<_> = life.attention.iter().map(|flag| flag.shipment.as_ref().map(|s| s.as_str())).collect();
    assert_eq!(silent, [Some(life.shipments[0].id.as_str())]);
    let command =
        Resolve { item, action: Resolution::RefundAndClose, reference: None, reason: why(), actor: Some("tester".into()) };
    world.run(&id).execute_update(mark::ResolveUpdate, command, Default::default()).await.unwrap();
    one(world, &id, "shipment.closed").await;
    until("the first parcel's money is back, and no other", PATIENT, || async {
        let order = world.order(&id).await;
        (order.life.payment.refunded == order.life.shipments[0].amount).then_some(())
    })
    .await;
    skipping.pass(4 * DAY).await;
    let second = flagged(world, &id, NO_SCAN).await;
    assert!(!told(world, &id, "attention.raised").await.is_empty() && !second.is_empty());
    world.scan(&id, 2, ScanType::Delivered).await;
    assert_eq!(world.ends(&id).await.status, Status::PartiallyFulfilled);
    let order = world.order(&id).await;
    assert!(order.life.attention.is_empty(), "what arrived is not missed any more");
    assert_eq!(order.life.payment.refunded, order.life.shipments[0].amount, "only the first parcel's money went back");
    replays(world, "silent-parcels-partially-fulfilled", &id).await;
    end(skipping).await;
}

async fn authenticates(world: &World, id: &OrderId) {
    let payment = payments(world, id).await.remove(0);
    world.sandbox.payments.authenticate(&payment.payment_id, Authentication::Succeed, world.now()).await.unwrap();
    world.run(id).signal(mark::PaymentNewsSignal, Default::default(), Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_has_a_day_to_authenticate_and_no_claim_on_stock_meanwhile() {
    let skipping = Skipping::new().await;
    let world = &skipping.world;
    let method = "pm_card_authenticationRequired";
    let mut ids = Vec::new();
    for name in ["mug", "cup", "pot"] {
        world.shelf(name, "berlin", 1, 1999).await;
        ids.push(world.place(name, method, &[(name, 1)]).await);
    }
    let [never, late, short] = [&ids[0], &ids[1], &ids[2]];
    for id in &ids {
        flagged(world, id, ACTION_REQUIRED).await;
    }
    skipping.pass(22 * HOUR).await;
    // the promises ran out long ago, and somebody else bought one of the articles
    let other = world.place("other", "pm_card_visa", &[("pot", 1)]).await;
    arrives(world, &other).await;
    world.reaches(&other, Status::Completed).await;
    skipping.pass(HOUR).await;
    for id in &ids {
        assert_eq!(world.order(id).await.life.status, Status::Placed);
    }
    for id in [late, short] {
        authenticates(world, id).await;
    }
    arrives(world, late).await;
    world.reaches(late, Status::Completed).await;
    assert_eq!(told(world, late, "stock.lapsed").await.len(), 1);
    let refused = world.reaches(short, Status::Rejected).await;
    assert_eq!((refused.life.reason, refused.life.payment.status), (Some(Reason::OutOfStock), PaymentStatus::Voided));
    skipping.pass(2 * HOUR).await;
    let closed = world.ends(never).await;
    assert_eq!((closed.status, closed.life.reason), (Status::Rejected, Some(Reason::PaymentActionExpired)));
    let asked = told(world, never, "payment.action_required").await[0].at;
    after(asked, DAY, one(world, never, "order.rejected").await.at);
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_of_ten_days_keeps_the_courier_away_while_the_funds_are_renewed() {
    let skipping = Skipping::new().await;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 10, 1999).await;
    let since = world.now();
    let id = world
        .place_under("one", "pm_card_visa", &[("mug", 1)], world.on_shortage, |start| start.deadlines.change_window = HOUR)
        .await;
    world.hold(&id, Some(since + 10 * DAY)).await;
    world.reaches(&id, Status::Confirmed).await;
    for day in 1..=9 {
        skipping.pass(DAY).await;
        assert!(world.sandbox.carrier.bookings().await.unwrap().is_empty(), "on day {day}");
        let order = world.order(&id).await;
        assert_eq!((order.life.holds.len(), order.life.attention.len()), (1, 0), "on day {day}: {:?}", order.life.attention);
    }
    assert_eq!(told(world, &id, "payment.reauthorized").await.len(), 1);
    skipping.pass(DAY + HOUR).await;
    booked(world, &id).await;
    let (expired, called) = (one(world, &id, "hold.expired").await.at, one(world, &id, "shipment.booked").await.at);
    after(since, 10 * DAY, expired);
    after(expired, Duration::ZERO, called);
    arrives(world, &id).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    let payments = payments(world, &id).await;
    assert_eq!((payments.len(), done(&payments, OperationKind::Capture).len()), (2, 1));
    only_the_last_is_not_void(&payments);
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_waits_for_a_gateway_that_is_down_and_nothing_ships_unfunded() {
    let mut skipping = Skipping::new().await;
    skipping.world.on_shortage = waits(Some(60 * DAY));
    skipping.world.patience.first = HOUR / 4;
    skipping.world.patience.most = HOUR;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 0, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    world.reaches(&id, Status::Backordered).await;
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    skipping.pass(8 * DAY).await;
    // the goods come while nobody can say whether they will be paid
    world.receive("mug", "berlin", 1).await;
    world.reaches(&id, Status::Confirmed).await;
    skipping.pass(DAY).await;
    assert!(world.sandbox.carrier.bookings().await.unwrap().is_empty());
    let tasks = world.events(&id).await.iter().filter(|e| *e == "WORKFLOW_TASK_COMPLETED").count();
    assert!(tasks < 20, "{tasks} workflow tasks: an outage costs attempts, not history");
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    skipping.pass(2 * HOUR).await;
    arrives(world, &id).await;
    world.reaches(&id, Status::Completed).await;
    let payments = payments(world, &id).await;
    assert_eq!((payments.len(), done(&payments, OperationKind::Capture).len()), (2, 1));
    only_the_last_is_not_void(&payments);
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_capture_is_tried_every_six_hours_until_the_renewed_hold_pays() {
    let skipping = Skipping::new().await;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    booked(world, &id).await;
    // somebody releases the funds behind our back
    let authorize_key = effect_key(id.as_str(), "authorize", 1);
    let void = VoidRequest { key: "by-hand".into(), authorize_key, order_id: id.clone(), now: world.now() };
    world.sandbox.payments.void(void).await.unwrap();
    world.scan(&id, 1, ScanType::Shipped).await;
    flagged(world, &id, CAPTURE_REFUSED).await;
    skipping.pass(5 * HOUR).await;
    assert_eq!(told(world, &id, "payment.capture_refused").await.len(), 1);
    skipping.pass(13 * HOUR + HOUR / 2).await;
    let refused = told(world, &id, "payment.capture_refused").await;
    assert_eq!(refused.len(), 4, "at once and after 6, 12 and 18 hours");
    for pair in refused.windows(2) {
        after(pair[0].at, 6 * HOUR, pair[1].at);
    }
    // the hold is renewed a day before its end; the next try takes the money
    skipping.pass(6 * DAY).await;
    until("the money is taken", PATIENT, || async {
        let order = world.order(&id).await;
        (order.life.payment.captured == order.totals.total).then_some(())
    })
    .await;
    let (renewed, taken) = (one(world, &id, "payment.reauthorized").await.at, one(world, &id, "payment.captured").await.at);
    after(told(world, &id, "payment.authorized").await[0].at, 6 * DAY, renewed);
    assert!(renewed < taken && taken < renewed + 6 * HOUR + CLOSE);
    world.scan(&id, 1, ScanType::Delivered).await;
    let closed = world.ends(&id).await;
    assert_eq!(closed.status, Status::Completed);
    assert!(closed.life.attention.is_empty(), "{:?}", closed.life.attention);
    assert_eq!(done(&payments(world, &id).await, OperationKind::Capture).len(), 1);
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_stays_open_for_changes_for_two_hours() {
    let mut skipping = Skipping::new().await;
    skipping.world.deadlines.change_window = 2 * HOUR;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    let quits = world.place("two", "pm_card_visa", &[("mug", 1)]).await;
    for id in [&id, &quits] {
        world.reaches(id, Status::Confirmed).await;
    }
    skipping.pass(2 * HOUR - HOUR / 10).await;
    assert!(world.sandbox.carrier.bookings().await.unwrap().is_empty());
    world.cancel(&quits).await.unwrap();
    assert_eq!(world.ends(&quits).await.status, Status::Cancelled);
    skipping.pass(HOUR / 5).await;
    booked(world, &id).await;
    after(told(world, &id, "order.confirmed").await[0].at, 2 * HOUR, one(world, &id, "shipment.booked").await.at);
    arrives(world, &id).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    assert_eq!(world.sandbox.carrier.bookings().await.unwrap().len(), 1, "no courier was called for the one that was cancelled");
    end(skipping).await;
}
