//! Orders' lives, fate by fate, on a real engine, database and sandbox.

use oms_domain::order::{Reason, Status};
use oms_domain::shipment::ScanType;

use crate::support::world::{World, sku};

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_order_stays_in_its_budget() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_visa", &[("mug", 2)]).await;
    world.reaches(&id, Status::Confirmed).await;
    let confirmed = world.events(&id).await.len();
    crate::support::until("the courier is booked", super::support::world::PATIENT, || async {
        world.order(&id).await.life.shipments[0].carrier.clone()
    })
    .await;
    world.scan(&id, 1, ScanType::Shipped).await;
    crate::support::until("the money is taken", super::support::world::PATIENT, || async {
        let order = world.order(&id).await;
        (order.life.payment.captured == order.totals.total).then_some(())
    })
    .await;
    world.scan(&id, 1, ScanType::Delivered).await;
    let end = world.ends(&id).await;
    assert_eq!(end.status, Status::Completed);
    let events = world.events(&id).await;
    let tasks = events.iter().filter(|e| *e == "WORKFLOW_TASK_COMPLETED").count();
    println!("confirmed: {confirmed} events; completed: {} events, {tasks} tasks\n{events:#?}", events.len());
    assert!(confirmed <= 22 && events.len() <= 60 && tasks <= 9);
    let level = world.store.stock(&sku("mug"), super::support::world::now()).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.reserved, level.available), (8, 0, 8));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_payment_releases_the_stock() {
    let world = World::new().await;
    world.shelf("mug", "berlin", 10, 1999).await;
    let id = world.place("one", "pm_card_chargeDeclined", &[("mug", 2)]).await;
    let order = world.reaches(&id, Status::Rejected).await;
    assert_eq!(order.life.reason, Some(Reason::PaymentDeclined));
    let level = world.store.stock(&sku("mug"), super::support::world::now()).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.reserved), (10, 0));
    world.end().await;
}
