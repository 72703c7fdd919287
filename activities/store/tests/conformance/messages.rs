//! Messages and the outbox.

use crate::world::*;
use oms_domain::event::FactKind::*;
use oms_domain::message::Topic;
use oms_domain::order::Status;
use oms_store::*;

on_both!(four_claimers, batches_and_ends, outbox_in_order);

async fn told(world: &World, orders: usize) {
    for n in 0..orders {
        let key = format!("o-{n}");
        world.placed(&key, 0).await;
        let facts = vec![fact("placed", OrderPlaced), fact("confirmed", OrderConfirmed).told_as(Topic::Confirmed)];
        world.store.record(&record(&key, 1, life(Status::Confirmed), facts), at(n as i64)).await.unwrap();
    }
}

async fn four_claimers(world: World) {
    told(&world, 30).await;
    let claimed = race(4, |n| {
        let store = world.store.clone();
        async move {
            let mut mine = Vec::new();
            for round in 0.. {
                let batch = store.claim_messages(&format!("batch-{n}-{round}"), 3, at(100)).await.unwrap();
                if batch.is_empty() {
                    break;
                }
                assert!(batch.len() <= 3);
                mine.extend(batch);
            }
            mine
        }
    })
    .await;
    let counts = tally(claimed.into_iter().flatten());
    assert_eq!(counts.len(), 30);
    assert!(counts.values().all(|n| *n == 1));
}

async fn batches_and_ends(world: World) {
    let store = &world.store;
    told(&world, 3).await;
    let first = store.claim_messages("first", 2, at(10)).await.unwrap();
    let second = store.claim_messages("second", 2, at(20)).await.unwrap();
    assert_eq!((first.len(), second.len()), (2, 1));
    assert_eq!(store.messages_of(&order_id("o-2")).await.unwrap()[0].id, second[0], "the oldest go first");
    let open = store.claimed_batches(at(20), 9).await.unwrap();
    assert_eq!(open, [Batch { batch_id: "first".to_owned(), messages: first.clone() }]);
    let message = store.message(&first[0]).await.unwrap().unwrap();
    assert_eq!((message.state, message.topic, message.fact_at), (MessageState::Claimed, Topic::Confirmed, kept(5)));
    assert_eq!(Some(&message.order), store.order(&message.order_id).await.unwrap().as_ref());
    store.mark_sent(&first[0], at(30)).await.unwrap();
    store.mark_dropped(&first[0], "too late", at(31)).await.unwrap();
    assert_eq!(store.message(&first[0]).await.unwrap().unwrap().state, MessageState::Sent, "what is sent stays sent");
    assert_eq!(store.claimed_batches(at(99), 1).await.unwrap()[0].messages, first[1..]);
    store.mark_dropped(&first[1], "stale", at(32)).await.unwrap();
    let other = store.message(&first[1]).await.unwrap().unwrap().order_id;
    let row = store.messages_of(&other).await.unwrap().remove(0);
    assert_eq!((row.state, row.why.as_deref(), row.settled_at), (MessageState::Dropped, Some("stale"), Some(kept(32))));
    assert_eq!(store.claimed_batches(at(99), 9).await.unwrap()[0].batch_id, "second");
    assert_eq!(store.claim_messages("third", 9, at(40)).await.unwrap(), []);
}

async fn outbox_in_order(world: World) {
    told(&world, 3).await;
    let rows = world.store.unpublished(9).await.unwrap();
    assert!(rows.len() == 6 && rows.is_sorted_by_key(|r| r.id));
    assert_eq!(rows[0].body["type"], "order.placed");
    assert!(!serde_json::to_string(&rows[0].body).unwrap().contains("Ada"));
    let ids: Vec<i64> = rows[..4].iter().map(|r| r.id).collect();
    for _ in 0..2 {
        world.store.mark_published(&ids, at(50)).await.unwrap();
    }
    world.store.mark_published(&[], at(50)).await.unwrap();
    assert_eq!(world.store.unpublished(9).await.unwrap(), rows[4..]);
    assert_eq!(world.store.unpublished(1).await.unwrap(), rows[4..5]);
    let audit = world.store.audit_orders(None, 9).await.unwrap();
    assert_eq!(audit.iter().filter(|o| o.outbox_unpublished_since.is_some()).count(), 1);
    assert!(audit.iter().all(|o| (o.timeline_count, o.timeline_max_seq, o.outbox_count, o.messages_count) == (2, 2, 2, 1)));
}
