//! Many orders that wait for one article: served in the order of their placing, each told by a wake, none twice.

use std::time::{Duration, Instant};

use oms_domain::order::Status;
use oms_domain::shortage::{OnShortage, ShortagePolicy};

use crate::support::books;
use crate::support::until;
use crate::support::world::{PATIENT, World, now, sku};

/// From a receipt to the last order that it serves: wakes go out four times a second, the rest is the orders' own work.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn goods_go_to_whoever_was_placed_first() {
    let mut world = World::new().await;
    world.on_shortage = OnShortage { policy: ShortagePolicy::Wait, max: None };
    world.shelf("mug", "berlin", 0, 1999).await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(world.place(&format!("w-{n}"), "pm_card_visa", &[("mug", 2)]).await);
    }
    for id in &ids {
        world.reaches(id, Status::Backordered).await;
    }
    let since = Instant::now();
    world.receive("mug", "berlin", 7).await;
    for id in &ids[..3] {
        world.reaches(id, Status::Confirmed).await;
    }
    assert!(since.elapsed() < SERVED_WITHIN, "{:?}", since.elapsed());
    until("the fourth knows of its first unit", PATIENT, || async {
        let life = world.order(&ids[3]).await.life;
        life.waiting.first().is_some_and(|w| w.quantity == 1).then_some(())
    })
    .await;
    for id in &ids[3..] {
        assert_eq!(world.order(id).await.life.status, Status::Backordered);
    }
    // the fourth goes: what it had is the fifth's
    world.cancel(&ids[3]).await.unwrap();
    world.reaches(&ids[3], Status::Cancelled).await;
    world.receive("mug", "hamburg", 3).await;
    for id in &ids[4..] {
        world.reaches(id, Status::Confirmed).await;
    }
    let level = world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.reserved, level.waiting), (10, 10, 0));
    until("every wake is delivered", PATIENT, || async { world.store.wakes(9).await.unwrap().is_empty().then_some(()) }).await;
    books::balanced(&world).await;
    world.end().await;
}
