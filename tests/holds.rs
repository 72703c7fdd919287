//! How soon an order goes on once its last hold is released: by the engine's own clock, not by ours.

use std::time::Duration;

use oms_domain::order::Status;
use oms_domain::shipment::ShipmentStatus;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

use crate::support::until;
use crate::support::world::{PATIENT, World, now};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_resumes_within_a_second() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    // the gateway takes its time, so that the hold is there before the order could be booked
    let id = world.place("one", "pm_sandbox_slow", &[("mug", 1)]).await;
    let hold = world.hold(&id, None).await;
    world.reaches(&id, Status::Confirmed).await;
    assert!(world.sandbox.carrier.bookings().await.unwrap().is_empty(), "nothing is booked under a hold");
    world.release(&id, &hold).await;
    until("the courier is booked", PATIENT, || async {
        world.order(&id).await.life.shipments.iter().any(|s| s.status == ShipmentStatus::Booked).then_some(())
    })
    .await;
    let events = world.run(&id).fetch_history(Default::default()).into_events().await.unwrap();
    let (mut released, mut resumed) = (None, None);
    for event in events {
        let at = event.event_time.map(|at| Duration::new(at.seconds.unsigned_abs(), at.nanos.unsigned_abs())).unwrap();
        match event.attributes {
            // the second one: the first placed the hold
            Some(Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(_)) => released = Some(at),
            Some(Attributes::ActivityTaskScheduledEventAttributes(a))
                if resumed.is_none() && a.activity_type.as_ref().is_some_and(|kind| kind.name == "shipping.book") =>
            {
                resumed = Some(at);
            }
            _ => {}
        }
    }
    let took = resumed.unwrap().checked_sub(released.unwrap()).expect("booked after the release");
    assert!(took < Duration::from_secs(1), "the order went on after {took:?}");
    world.end().await;
}

/// One that is placed straight in the engine, behind the API's back: whether its end has passed is for its timer to say.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_end_has_passed_ends_at_once() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_sandbox_slow", &[("mug", 1)]).await;
    let hold = world.hold(&id, Some(now() - Duration::from_secs(60))).await;
    until("the courier is booked", PATIENT, || async {
        let life = world.order(&id).await.life;
        (life.holds.is_empty() && life.shipments.iter().any(|s| s.status == ShipmentStatus::Booked)).then_some(())
    })
    .await;
    let told = world.store.timeline(&id).await.unwrap();
    let of_the_hold: Vec<&str> = told.iter().map(|entry| entry.kind.as_str()).filter(|kind| kind.starts_with("hold.")).collect();
    assert_eq!(of_the_hold, ["hold.placed", "hold.expired"], "{hold}");
    world.end().await;
}
