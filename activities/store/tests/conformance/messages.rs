//! Messages, the outbox, alerts and labels.

use crate::world::*;
use oms_domain::event::FactKind::*;
use oms_domain::message::Topic;
use oms_domain::order::Status;
use oms_store::*;

on_both!(
    four_claimers,
    batches_and_ends,
    outbox_in_order,
    a_failed_message_waits_for_a_person,
    a_message_fails_although_its_order_cannot_be_read,
    sent_again_by_hand,
    what_is_told_is_kept_with_the_message,
    one_alert_per_kind_and_window,
    labels_belong_to_bookings_that_stand
);

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
    // one that is alive makes room for those that may not be
    store.batch_is_alive("first", at(30)).await.unwrap();
    let oldest = store.claimed_batches(at(31), 1).await.unwrap();
    assert_eq!(oldest, [Batch { batch_id: "second".to_owned(), messages: second.clone() }]);
    store.batch_is_alive("second", at(31)).await.unwrap();
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
    let audit = world.store.audit_orders(None, 9).await.unwrap();
    assert_eq!(audit.iter().filter(|o| o.outbox_unpublished_since.is_some()).count(), 3);
    world.publish(50).await;
    assert_eq!(world.store.unpublished(9).await.unwrap(), []);
    let audit = world.store.audit_orders(None, 9).await.unwrap();
    assert!(audit.iter().all(|o| o.outbox_unpublished_since.is_none()));
    assert!(audit.iter().all(|o| (o.timeline_count, o.timeline_max_seq, o.outbox_count, o.messages_count) == (2, 2, 2, 1)));
}

async fn a_failed_message_waits_for_a_person(world: World) {
    let store = &world.store;
    told(&world, 1).await;
    let id = store.claim_messages("first", 9, at(10)).await.unwrap().remove(0);
    for _ in 0..2 {
        store.mark_failed(&id, "its template cannot be rendered", at(11)).await.unwrap();
    }
    let row = store.messages_of(&order_id("o-0")).await.unwrap().remove(0);
    assert_eq!((row.state, row.why.as_deref()), (MessageState::Failed, Some("its template cannot be rendered")));
    assert_eq!(store.claimed_batches(at(99), 9).await.unwrap(), [], "a failed message keeps no batch open");
    let filter = ItemFilter { source: Some(ItemSource::Message), ..ItemFilter::default() };
    let items = store.review_items(&filter, None, 9).await.unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!((items[0].kind.as_str(), items[0].subject.as_str()), ("message_failed", id.as_str()));
    assert_eq!(items[0].order_id, Some(order_id("o-0")));
    // a person says: try again
    assert!(store.retry_message(&id, at(20)).await.unwrap());
    assert!(!store.retry_message(&id, at(21)).await.unwrap());
    assert_eq!(store.claim_messages("second", 9, at(22)).await.unwrap(), std::slice::from_ref(&id));
    assert_eq!(store.message(&id).await.unwrap().unwrap().subject().since, kept(20), "it is fresh again");
    store.mark_failed(&id, "again", at(23)).await.unwrap();
    assert_eq!(store.review_items(&filter, None, 9).await.unwrap().len(), 2, "another failure is another item");
    store.mark_sent(&id, at(24)).await.unwrap();
    assert_eq!(store.message(&id).await.unwrap().unwrap().state, MessageState::Failed);
}

fn wish(id: &oms_domain::ids::MessageId, request: &str) -> Resend {
    Resend {
        order_id: order_id("o-0"),
        message: id.clone(),
        request: request.into(),
        reason: oms_domain::life::Why::parse("never arrived").unwrap(),
        actor: "ada".into(),
    }
}

async fn a_message_fails_although_its_order_cannot_be_read(world: World) {
    let store = &world.store;
    told(&world, 1).await;
    let id = store.claim_messages("first", 1, at(10)).await.unwrap().remove(0);
    world.sql("UPDATE orders SET life = '{}'").await;
    store.mark_failed(&id, "its order cannot be read", at(11)).await.unwrap();
    assert_eq!(store.claimed_batches(at(99), 9).await.unwrap(), [], "it keeps no batch open");
    let items = store.review_items(&ItemFilter::default(), None, 9).await.unwrap();
    assert_eq!((items.len(), items[0].subject.as_str(), &items[0].order_id), (1, id.as_str(), &None));
}

async fn sent_again_by_hand(world: World) {
    let store = &world.store;
    told(&world, 1).await;
    let id = store.messages_of(&order_id("o-0")).await.unwrap()[0].id.clone();
    assert_eq!(store.resend_message(&wish(&id, "a"), at(10)).await.unwrap(), Resent::OnItsWay);
    store.mark_sent(&id, at(11)).await.unwrap();
    let answers = race(4, |_| {
        let (store, wish) = (store.clone(), wish(&id, "a"));
        async move { store.resend_message(&wish, at(200_000)).await.unwrap() }
    })
    .await;
    let Resent::Done(first) = &answers[0] else { panic!("{answers:?}") };
    assert!(answers.iter().all(|answer| *answer == answers[0]), "one wish is one message");
    assert_eq!((&first.id, first.resent_of.as_ref()), (&id.again(1), Some(&id)));
    let message = store.message(&first.id).await.unwrap().unwrap();
    assert_eq!(message.subject().stale(&message.order.life, at(200_001)), None, "a message asked for anew is fresh");
    let Resent::Done(second) = store.resend_message(&wish(&id, "b"), at(200_002)).await.unwrap() else { panic!() };
    assert_eq!(second.id, id.again(2));
    let timeline = store.timeline(&order_id("o-0")).await.unwrap();
    let told: Vec<_> = timeline.iter().filter(|entry| entry.kind == "message.resent").collect();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].actor.as_str(), told[0].reason.as_deref()), ("ada", Some("confirmed by mail: never arrived")));
    let unknown = Resend { message: id.again(9), ..wish(&id, "c") };
    assert_eq!(store.resend_message(&unknown, at(200_003)).await.unwrap(), Resent::Unknown);
    world.store.record(&record("o-0", 2, life(Status::Cancelled), vec![]), at(200_004)).await.unwrap();
    assert_eq!(store.resend_message(&wish(&id, "d"), at(200_005)).await.unwrap(), Resent::Stale("the order was cancelled"));
}

async fn what_is_told_is_kept_with_the_message(world: World) {
    world.placed("o-0", 0).await;
    let facts = vec![
        fact("refund/1", RefundCompleted).moving(eur(500)).told_as(Topic::Refunded),
        fact("refund/2", RefundCompleted).moving(eur(700)).told_as(Topic::Refunded),
        fact("question/2", OrderQuestionAsked).told_as(Topic::Question),
    ];
    world.store.record(&record("o-0", 1, life(Status::Confirmed), facts), at(1)).await.unwrap();
    let rows = world.store.messages_of(&order_id("o-0")).await.unwrap();
    let mut messages = Vec::new();
    for row in &rows {
        messages.push(world.store.message(&row.id).await.unwrap().unwrap());
    }
    let mut amounts: Vec<_> = messages.iter().filter_map(|m| m.amount).map(|a| a.minor).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, [500, 700], "each refund is told");
    assert!(messages.iter().any(|m| m.topic == Topic::Question && m.subject().round == Some(2)));
}

async fn one_alert_per_kind_and_window(world: World) {
    let store = &world.store;
    let open = |n: i64, kind: &'static str| {
        let item = NewItem {
            id: format!("item-{kind}-{n}"),
            kind: kind.to_owned(),
            order_id: None,
            shipment_id: None,
            subject: "s".to_owned(),
            detail: "d".to_owned(),
            source: ItemSource::Watchdog,
        };
        async move { assert!(store.open_item(&item, at(n)).await.unwrap()) }
    };
    for n in 0..7 {
        open(n, "stuck").await;
    }
    open(1, "silent").await;
    let window = std::time::Duration::from_secs(900);
    let both = [AlertWay::Mail, AlertWay::Webhook];
    let claimed = race(4, |_| {
        let store = store.clone();
        async move {
            store.raise_alerts(&both, window, at(10)).await.unwrap();
            store.claim_alerts(at(-50), 9, at(10)).await.unwrap()
        }
    })
    .await;
    let alerts: Vec<Alert> = claimed.into_iter().flatten().collect();
    assert_eq!(alerts.len(), 4, "two kinds, two ways, once each: {alerts:?}");
    let stuck = alerts.iter().find(|a| a.kind == "stuck" && a.way == AlertWay::Mail).unwrap();
    assert_eq!((stuck.items, stuck.sample.len()), (7, 5));
    store.alert_sent(&stuck.id, stuck.way, at(11)).await.unwrap();
    // what was claimed and not sent is free again after a while
    assert_eq!(store.claim_alerts(at(11), 9, at(12)).await.unwrap().len(), 3);
    for n in 20..23 {
        open(n, "stuck").await;
    }
    store.raise_alerts(&both[..1], window, at(500)).await.unwrap();
    assert_eq!(store.claim_alerts(at(12), 9, at(500)).await.unwrap(), [], "the window has not passed");
    store.raise_alerts(&both[..1], window, at(911)).await.unwrap();
    let later = store.claim_alerts(at(12), 9, at(911)).await.unwrap();
    assert_eq!(later.iter().map(|a| (a.kind.as_str(), a.items)).collect::<Vec<_>>(), [("stuck", 3)]);
}

async fn labels_belong_to_bookings_that_stand(world: World) {
    let store = &world.store;
    let shipment = oms_domain::ids::ShipmentId::of(&order_id("o-0"), 1);
    let booking = |key: &str, label: Option<&str>, n| BookingRow {
        key: key.into(),
        order_id: order_id("o-0"),
        shipment_id: shipment.clone(),
        carrier: "c".into(),
        tracking_number: "t".into(),
        reference: "r".into(),
        label: label.map(|text| Label { media_type: "image/svg+xml".into(), text: text.into() }),
        at: at(n),
    };
    assert_eq!(store.label(&shipment).await.unwrap(), None);
    store.record_booking(&booking("k/1", None, 1)).await.unwrap();
    assert_eq!(store.label(&shipment).await.unwrap(), None);
    store.record_booking(&booking("k/1", Some("<svg/>"), 2)).await.unwrap();
    assert_eq!(store.label(&shipment).await.unwrap().unwrap().text, "<svg/>", "a repeat brings the label");
    store.record_booking(&booking("k/1", Some("<other/>"), 3)).await.unwrap();
    assert_eq!(store.label(&shipment).await.unwrap().unwrap().text, "<svg/>");
    store.record_booking(&booking("k/2", Some("<second/>"), 4)).await.unwrap();
    assert_eq!(store.label(&shipment).await.unwrap().unwrap().text, "<second/>");
    store.record_booking_cancelled("k/2", at(5)).await.unwrap();
    store.record_booking_cancelled("k/1", at(5)).await.unwrap();
    assert_eq!(store.label(&shipment).await.unwrap(), None);
}
