//! Renewals of the hold on funds that the customer's bank refuses, on a server whose time jumps: nothing ships unfunded, and somebody
//! always has a next move.

use oms_contract::command::Resolve;
use oms_contract::workflow as mark;
use oms_domain::ids::OrderId;
use oms_domain::life::Why;
use oms_domain::message::Topic;
use oms_domain::order::Status;
use oms_domain::payment::{PaymentStatus, ReauthorizationPolicy};
use oms_domain::review::{Resolution, STUCK, UNFUNDED};
use oms_domain::shipment::ScanType;
use oms_gateways::payment::{Authentication, OperationKind};
use temporalio_client::WorkflowExecutionStatus;

use crate::replay::replays;
use crate::support::skipping::Skipping;
use crate::support::until;
use crate::support::world::{PATIENT, World};
use crate::time::{DAY, HOUR, arrives, booked, end, flagged, one, payments, told, waits};

/// The newest payment waits for the customer, who passes or fails.
async fn customer(world: &World, id: &OrderId, outcome: Authentication) {
    let waiting = until("the bank asks the customer", PATIENT, || async {
        let all = payments(world, id).await;
        all.into_iter().find(|p| p.status == PaymentStatus::RequiresAction)
    })
    .await;
    world.sandbox.payments.authenticate(&waiting.payment_id, outcome, world.now()).await.unwrap();
    world.run(id).signal(mark::PaymentNewsSignal, Default::default(), Default::default()).await.unwrap();
}

/// An order that waits for goods, and whose customer has just failed to authenticate the renewal of the hold.
async fn refused(skipping: &Skipping) -> OrderId {
    let world = &skipping.world;
    world.shelf("mug", "berlin", 0, 1999).await;
    let id = world.place("one", "pm_card_authenticationRequired", &[("mug", 1)]).await;
    customer(world, &id, Authentication::Succeed).await;
    world.reaches(&id, Status::Backordered).await;
    skipping.pass(6 * DAY + HOUR).await;
    customer(world, &id, Authentication::Fail).await;
    one(world, &id, "payment.reauthorization_declined").await;
    id
}

async fn patient(policy: ReauthorizationPolicy) -> Skipping {
    let mut skipping = Skipping::new().await;
    skipping.world.on_shortage = waits(Some(60 * DAY));
    skipping.world.policies.reauthorization = policy;
    skipping
}

/// How often the customer was told that the payment fails.
async fn told_of_failure(world: &World, id: &OrderId) -> usize {
    let messages = world.store.messages_of(id).await.unwrap();
    messages.iter().filter(|message| message.topic == Topic::PaymentFailed).count()
}

async fn resolve(world: &World, id: &OrderId, action: Resolution, reference: Option<&str>) {
    let item = flagged(world, id, UNFUNDED).await;
    let reason = Why::parse("for a test").unwrap();
    let command = Resolve { item, action, reference: reference.map(str::to_owned), reason, actor: None };
    world.run(id).execute_update(mark::ResolveUpdate, command, Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_the_customer_fails_is_told_once_and_asked_for_again() {
    let skipping = patient(ReauthorizationPolicy::AskCustomer).await;
    let world = &skipping.world;
    let id = refused(&skipping).await;
    flagged(world, &id, UNFUNDED).await;
    assert_eq!(world.order(&id).await.life.payment.status, PaymentStatus::Declined);
    // the goods come, and nothing leaves
    world.receive("mug", "berlin", 1).await;
    world.reaches(&id, Status::Confirmed).await;
    skipping.pass(6 * HOUR + HOUR / 2).await;
    customer(world, &id, Authentication::Fail).await;
    until("the second refusal is told", PATIENT, || async {
        (told(world, &id, "payment.reauthorization_declined").await.len() == 2).then_some(())
    })
    .await;
    assert!(world.sandbox.carrier.bookings().await.unwrap().is_empty());
    assert_eq!(told_of_failure(world, &id).await, 1, "once, however often it fails");
    // a person has it tried at once
    resolve(world, &id, Resolution::Retry, None).await;
    customer(world, &id, Authentication::Succeed).await;
    arrives(world, &id).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    let order = world.order(&id).await;
    assert!(order.life.attention.is_empty(), "{:?}", order.life.attention);
    assert_eq!(order.life.payment.captured, order.totals.total);
    replays(world, "renewal-refused-delivered", &id).await;
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_elsewhere_ships_without_a_hold() {
    let skipping = patient(ReauthorizationPolicy::Reauthorize).await;
    let world = &skipping.world;
    let id = refused(&skipping).await;
    resolve(world, &id, Resolution::UseExternalReference, Some("cash-17")).await;
    one(world, &id, "payment.settled_outside").await;
    world.receive("mug", "berlin", 1).await;
    arrives(world, &id).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    let order = world.order(&id).await;
    assert_eq!(order.life.payment.waived, Some(order.totals.total));
    assert!(order.life.payment.captured.is_zero() && order.life.attention.is_empty(), "{:?}", order.life);
    let all = payments(world, &id).await;
    assert!(all.iter().flat_map(|p| &p.operations).all(|o| o.kind != OperationKind::Capture), "{all:?}");
    assert_eq!(told_of_failure(world, &id).await, 0, "policy keeps it between the shop and the bank");
    skipping.pass(8 * DAY).await;
    assert_eq!(payments(world, &id).await.len(), all.len(), "nothing is held anew for what was paid");
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_may_cancel_what_cannot_be_paid_any_more() {
    let skipping = patient(ReauthorizationPolicy::Cancel).await;
    let world = &skipping.world;
    let id = refused(&skipping).await;
    assert_eq!(world.ends(&id).await.status, Status::Cancelled);
    let cancelled = one(world, &id, "order.cancelled").await;
    assert!(cancelled.at > told(world, &id, "order.placed").await[0].at + 6 * DAY);
    let all = payments(world, &id).await;
    let dead = all.iter().all(|p| matches!(p.status, PaymentStatus::Voided | PaymentStatus::Declined) && p.captured.is_zero());
    assert!(dead && all.len() == 2, "the first hold and the one that was refused: {all:?}");
    assert_eq!(told_of_failure(world, &id).await, 0, "the cancellation is told instead");
    replays(world, "renewal-refused-cancelled", &id).await;
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_without_an_end_that_everybody_forgot_calls_a_person() {
    let skipping = Skipping::new().await;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world
        .place_under("one", "pm_card_visa", &[("mug", 1)], world.on_shortage, |start| start.deadlines.change_window = HOUR)
        .await;
    let hold = world.hold(&id, None).await;
    let order = world.reaches(&id, Status::Confirmed).await;
    let due = order.life.due_at.unwrap();
    assert!(due > order.placed_at + 7 * DAY && due < order.placed_at + 7 * DAY + HOUR, "{due}");
    skipping.pass(6 * DAY).await;
    assert!(world.order(&id).await.life.attention.is_empty());
    skipping.pass(DAY + HOUR).await;
    flagged(world, &id, STUCK).await;
    assert!(world.sandbox.carrier.bookings().await.unwrap().is_empty());
    world.release(&id, &hold).await;
    booked(world, &id).await;
    until("the flag is lowered", PATIENT, || async { world.order(&id).await.life.attention.is_empty().then_some(()) }).await;
    arrives(world, &id).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    let run = world.run(&id).describe(Default::default()).await.unwrap();
    assert_eq!(run.status(), WorkflowExecutionStatus::Completed);
    replays(world, "held-too-long-delivered", &id).await;
    end(skipping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_hold_calls_a_person_also_when_everything_has_arrived() {
    let skipping = Skipping::new().await;
    let world = &skipping.world;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 1)]).await;
    booked(world, &id).await;
    let hold = world.hold(&id, None).await;
    for kind in [ScanType::Shipped, ScanType::Delivered] {
        world.scan(&id, 1, kind).await;
        skipping.pass(DAY).await;
    }
    skipping.pass(4 * DAY).await;
    let order = world.order(&id).await;
    assert!(order.life.attention.is_empty() && order.life.payment.captured.is_zero(), "{:?}", order.life);
    skipping.pass(DAY + HOUR).await;
    flagged(world, &id, STUCK).await;
    world.release(&id, &hold).await;
    assert_eq!(world.ends(&id).await.status, Status::Completed);
    let order = world.order(&id).await;
    assert!(order.life.attention.is_empty(), "{:?}", order.life.attention);
    assert_eq!(order.life.payment.captured, order.totals.total);
    replays(world, "held-while-it-travels-delivered", &id).await;
    end(skipping).await;
}
