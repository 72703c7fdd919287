//! Webhooks and what they are owed.

use crate::world::*;
use oms_domain::event::FactKind;
use oms_store::*;
use std::time::Duration;

on_both!(
    an_order_is_told_in_its_order_and_a_failure_holds_only_it_up,
    claims_run_out_and_a_late_owner_changes_nothing,
    a_receiver_that_fails_request_after_request_is_left_alone,
    replays_send_everything_from_a_place_on,
    rotation_disabling_and_enabling,
    filters_limits_and_deletion,
    retention_spares_what_somebody_is_owed,
);

const RESTS: Pauses = Pauses { first: Duration::from_secs(10), most: Duration::from_secs(30) };

fn hook(id: &str, kinds: &[&str]) -> NewWebhook {
    NewWebhook {
        id: id.to_owned(),
        url: "https://example.com/".to_owned(),
        description: None,
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        secret: WebhookSecret("whsec_one".to_owned()),
    }
}

/// An order with so many facts, and their places.
async fn eventful(world: &World, order: &str, facts: u64) {
    world.placed(order, 0).await;
    for number in 0..facts {
        let kind = if number == 0 { FactKind::OrderPlaced } else { FactKind::HoldPlaced };
        let fact = vec![fact(&format!("f-{number}"), kind)];
        world.store.append(&order_id(order), &fact, Append::default(), None, at(1)).await.unwrap();
    }
    world.store.place_events(99).await.unwrap();
}

async fn claimed(world: &World, hook: &str, owner: &str, now: i64) -> Vec<(String, u64)> {
    let claimed = world.store.claim_deliveries(hook, owner, at(now + 10), 9, at(now)).await.unwrap();
    claimed.iter().map(|delivery| (delivery.event.subject.to_string(), delivery.event.seq)).collect()
}

async fn place_of(world: &World, order: &str, seq: u64) -> u64 {
    world.store.events_of(&order_id(order), seq - 1, 1).await.unwrap()[0].position.unwrap()
}

async fn an_order_is_told_in_its_order_and_a_failure_holds_only_it_up(world: World) {
    let store = &world.store;
    store.create_webhook(&hook("hook-aaaa", &[]), 9, at(0)).await.unwrap().unwrap();
    store.create_webhook(&hook("hook-bbbb", &[]), 9, at(0)).await.unwrap().unwrap();
    eventful(&world, "o", 3).await;
    eventful(&world, "p", 1).await;
    assert_eq!(store.owe_webhooks(2, at(2)).await.unwrap(), 4, "in pieces");
    while store.owe_webhooks(2, at(2)).await.unwrap() > 0 {}
    let (o, p) = (order_id("o").to_string(), order_id("p").to_string());
    let mut first = claimed(&world, "hook-aaaa", "me", 2).await;
    first.sort();
    let mut both = vec![(o.clone(), 1), (p.clone(), 1)];
    both.sort();
    assert_eq!(first, both, "the first of each order");
    assert_eq!(claimed(&world, "hook-aaaa", "other", 3).await, [], "nobody else has them");
    let attempt = Attempt { status: Some(500), error: "answered 500".to_owned(), due_at: at(60) };
    store.not_delivered("hook-aaaa", place_of(&world, "o", 1).await, "me", &attempt, RESTS, at(3)).await.unwrap();
    store.delivered("hook-aaaa", place_of(&world, "p", 1).await, "me", 204, at(3)).await.unwrap();
    assert_eq!(claimed(&world, "hook-aaaa", "me", 59).await, [], "what comes behind it waits");
    let again = store.claim_deliveries("hook-aaaa", "me", at(70), 9, at(60)).await.unwrap();
    assert_eq!((again.len(), again[0].event.seq, again[0].attempts, again[0].failing_since), (1, 1, 1, Some(kept(3))));
    for seq in 1..=3 {
        store.delivered("hook-aaaa", place_of(&world, "o", seq).await, "me", 200, at(61)).await.unwrap();
        let next = claimed(&world, "hook-aaaa", "me", 61).await;
        assert_eq!(next, if seq < 3 { vec![(o.clone(), seq + 1)] } else { vec![] });
    }
    assert_eq!(claimed(&world, "hook-bbbb", "me", 61).await.len(), 2, "another webhook is none of this one's business");
    let page = store.deliveries("hook-aaaa", None, None, 3).await.unwrap();
    assert!(page.len() == 3 && page.is_sorted_by(|a, b| a.position > b.position));
    let rest = store.deliveries("hook-aaaa", None, Some(page[2].position), 9).await.unwrap();
    assert_eq!((rest.len(), rest[0].attempts, rest[0].state, rest[0].status), (1, 2, DeliveryState::Delivered, Some(200)));
    assert_eq!(store.deliveries("hook-aaaa", Some(DeliveryState::Pending), None, 9).await.unwrap(), []);
}

async fn claims_run_out_and_a_late_owner_changes_nothing(world: World) {
    let store = &world.store;
    store.create_webhook(&hook("hook-aaaa", &[]), 9, at(0)).await.unwrap();
    eventful(&world, "o", 2).await;
    store.owe_webhooks(99, at(2)).await.unwrap();
    assert_eq!(claimed(&world, "hook-aaaa", "dead", 2).await.len(), 1);
    assert_eq!(claimed(&world, "hook-aaaa", "heir", 11).await, []);
    assert_eq!(claimed(&world, "hook-aaaa", "heir", 12).await.len(), 1);
    store.delivered("hook-aaaa", 1, "dead", 200, at(13)).await.unwrap();
    let late = Attempt { status: None, error: "late".to_owned(), due_at: at(99) };
    assert_eq!(store.not_delivered("hook-aaaa", 1, "dead", &late, RESTS, at(13)).await.unwrap(), None);
    assert_eq!(store.webhook("hook-aaaa").await.unwrap().unwrap().failing_since, None);
    let row = store.deliveries("hook-aaaa", None, None, 9).await.unwrap().pop().unwrap();
    assert_eq!((row.state, row.attempts, row.error), (DeliveryState::Pending, 0, None));
    // many relays at once: each event goes to one
    store.delivered("hook-aaaa", 1, "heir", 200, at(14)).await.unwrap();
    let claims = race(8, |n| {
        let store = store.clone();
        async move { store.claim_deliveries("hook-aaaa", &format!("r-{n}"), at(90), 9, at(50)).await.unwrap().len() }
    })
    .await;
    assert_eq!(claims.iter().sum::<usize>(), 1);
}

async fn a_receiver_that_fails_request_after_request_is_left_alone(world: World) {
    let store = &world.store;
    store.create_webhook(&hook("hook-aaaa", &[]), 9, at(0)).await.unwrap();
    for n in 0..12 {
        eventful(&world, &format!("o-{n}"), 1).await;
    }
    store.owe_webhooks(99, at(2)).await.unwrap();
    let due = async |now: i64| store.due_webhooks(at(now)).await.unwrap().pop().map(|hook| hook.rested);
    let told = std::cell::Cell::new(0);
    let fails = async |now: i64, most: u32| {
        let attempt = Attempt { status: Some(503), error: "answered 503".to_owned(), due_at: at(now + 500) };
        for delivery in store.claim_deliveries("hook-aaaa", "me", at(now + 10), most, at(now)).await.unwrap() {
            let position = delivery.event.position.unwrap();
            let failing = store.not_delivered("hook-aaaa", position, "me", &attempt, RESTS, at(now)).await.unwrap().unwrap();
            assert_eq!(failing.since, kept(3));
            told.set(told.get() + usize::from(failing.rests_until.is_some()));
        }
        store.webhook("hook-aaaa").await.unwrap().unwrap().rests_until
    };
    assert_eq!(fails(3, 7).await, None);
    assert_eq!(due(3).await, Some(false));
    assert_eq!(fails(3, 3).await, Some(kept(13)), "the eighth sends it to rest, those beside it no longer");
    assert_eq!((due(12).await, due(13).await), (None, Some(true)));
    assert_eq!(fails(13, 1).await, Some(kept(33)), "twice as long");
    assert_eq!((due(32).await, due(33).await, told.get()), (None, Some(true), 2), "each rest is told once");
    let last = store.claim_deliveries("hook-aaaa", "me", at(43), 1, at(33)).await.unwrap().pop().unwrap();
    store.delivered("hook-aaaa", last.event.position.unwrap(), "me", 200, at(34)).await.unwrap();
    let seen = store.webhook("hook-aaaa").await.unwrap().unwrap();
    assert_eq!((seen.failing_since, seen.rests_until, seen.pending), (None, None, 11));
    assert_eq!(due(503).await, Some(false), "at once, when the events are due");
    // a person does not wait for a rest to end
    let attempt = Attempt { status: None, error: "no answer".to_owned(), due_at: at(900) };
    for delivery in store.claim_deliveries("hook-aaaa", "me", at(620), 8, at(600)).await.unwrap() {
        let position = delivery.event.position.unwrap();
        store.not_delivered("hook-aaaa", position, "me", &attempt, RESTS, at(601)).await.unwrap();
    }
    assert_eq!(due(602).await, None);
    store.enable_webhook("hook-aaaa", at(602)).await.unwrap();
    assert_eq!(due(602).await, Some(false));
}

async fn replays_send_everything_from_a_place_on(world: World) {
    let store = &world.store;
    store.create_webhook(&hook("hook-aaaa", &[]), 9, at(0)).await.unwrap();
    eventful(&world, "o", 4).await;
    store.owe_webhooks(99, at(2)).await.unwrap();
    for seq in 1..=4 {
        assert_eq!(claimed(&world, "hook-aaaa", "me", 3).await.len(), 1);
        store.delivered("hook-aaaa", place_of(&world, "o", seq).await, "me", 200, at(3)).await.unwrap();
    }
    assert!(store.replay_webhook("hook-aaaa", 3).await.unwrap());
    assert!(!store.replay_webhook("hook-zzzz", 3).await.unwrap());
    store.owe_webhooks(99, at(4)).await.unwrap();
    let pending = store.deliveries("hook-aaaa", Some(DeliveryState::Pending), None, 9).await.unwrap();
    assert_eq!(pending.iter().map(|row| row.position).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(claimed(&world, "hook-aaaa", "me", 5).await, [(order_id("o").to_string(), 3)]);
}

async fn rotation_disabling_and_enabling(world: World) {
    let store = &world.store;
    store.create_webhook(&hook("hook-aaaa", &[]), 9, at(0)).await.unwrap();
    eventful(&world, "o", 1).await;
    store.owe_webhooks(99, at(2)).await.unwrap();
    let secrets = async |now: i64| -> Vec<String> {
        store.due_webhooks(at(now)).await.unwrap().pop().unwrap().secrets.into_iter().map(|secret| secret.0).collect()
    };
    assert_eq!(secrets(3).await, ["whsec_one"]);
    for text in ["whsec_lost", "whsec_two"] {
        // the first answer got lost, so the same request comes again
        let secret = WebhookSecret(text.to_owned());
        assert!(store.rotate_webhook("hook-aaaa", "request-1", &secret, at(10)).await.unwrap());
    }
    assert_eq!(secrets(9).await, ["whsec_two", "whsec_one"]);
    assert_eq!(secrets(10).await, ["whsec_two"], "the overlap has ended");

    let open = async || store.count_open_items().await.unwrap();
    assert!(store.disable_webhook("hook-aaaa", "it failed", at(11)).await.unwrap());
    assert!(!store.disable_webhook("hook-aaaa", "it failed", at(12)).await.unwrap());
    assert_eq!(open().await, [("webhook_disabled".to_owned(), 1)]);
    assert_eq!(store.due_webhooks(at(13)).await.unwrap(), []);
    eventful(&world, "p", 1).await;
    assert_eq!(store.owe_webhooks(99, at(13)).await.unwrap(), 0);
    let seen = store.webhook("hook-aaaa").await.unwrap().unwrap();
    assert_eq!((seen.state, seen.why.as_deref(), seen.disabled_at), (WebhookState::Disabled, Some("it failed"), Some(kept(11))));
    assert!(store.enable_webhook("hook-aaaa", at(14)).await.unwrap());
    assert_eq!(open().await, []);
    assert_eq!(store.owe_webhooks(99, at(14)).await.unwrap(), 1, "what happened meanwhile is owed");
    assert_eq!(claimed(&world, "hook-aaaa", "me", 14).await.len(), 2);
    // the next time is told anew
    store.disable_webhook("hook-aaaa", "again", at(15)).await.unwrap();
    assert_eq!(open().await.len(), 1);
    assert!(store.delete_webhook("hook-aaaa", at(16)).await.unwrap());
    assert_eq!(open().await, []);
}

async fn filters_limits_and_deletion(world: World) {
    let store = &world.store;
    eventful(&world, "before", 1).await;
    let made = store.create_webhook(&hook("hook-aaaa", &["order.placed"]), 1, at(0)).await.unwrap().unwrap();
    assert_eq!((made.position, made.kinds, made.pending), (1, vec!["order.placed".to_owned()], 0));
    assert_eq!(store.create_webhook(&hook("hook-bbbb", &[]), 1, at(0)).await.unwrap(), None, "there is room for one");
    let again = NewWebhook { secret: WebhookSecret("whsec_two".to_owned()), ..hook("hook-aaaa", &["order.placed"]) };
    assert!(store.create_webhook(&again, 1, at(9)).await.unwrap().is_some(), "a repeat is none more");
    eventful(&world, "o", 3).await;
    store.owe_webhooks(99, at(2)).await.unwrap();
    assert_eq!(store.webhooks().await.unwrap().iter().map(|hook| hook.pending).collect::<Vec<_>>(), [1]);
    let due = store.due_webhooks(at(3)).await.unwrap();
    assert_eq!((due.len(), &due[0].secrets[0].0[..]), (1, "whsec_two"));
    world.publish(5).await;
    assert_eq!(store.webhook("hook-aaaa").await.unwrap().unwrap().pending, 1);
    assert!(store.delete_webhook("hook-aaaa", at(4)).await.unwrap());
    assert!(!store.delete_webhook("hook-aaaa", at(4)).await.unwrap());
    assert_eq!(store.webhooks().await.unwrap(), []);
}

/// However old an event is: it stays while a webhook, served or not, or a sink that is served has not got it.
async fn retention_spares_what_somebody_is_owed(world: World) {
    let store = &world.store;
    store.create_webhook(&hook("hook-aaaa", &[]), 9, at(0)).await.unwrap();
    store.open_lanes(&["slow"], at(0)).await.unwrap();
    eventful(&world, "o", 3).await;
    // relays of another version do not know the slow sink
    world.publish(5).await;
    assert_eq!(store.unpublished(9).await.unwrap(), []);
    let left = async || store.events_after(0, 99).await.unwrap().len();
    let purge = async |before: i64| store.purge_outbox(at(before), 99).await.unwrap();

    assert_eq!((purge(9).await, left().await), (0, 3), "not looked at for the webhook yet");
    store.owe_webhooks(99, at(6)).await.unwrap();
    store.disable_webhook("hook-aaaa", "it failed", at(7)).await.unwrap();
    assert_eq!((purge(9).await, left().await), (0, 3), "it may be enabled again");
    store.enable_webhook("hook-aaaa", at(8)).await.unwrap();
    for seq in 1..=2 {
        assert_eq!(claimed(&world, "hook-aaaa", "me", 9).await.len(), 1);
        store.delivered("hook-aaaa", place_of(&world, "o", seq).await, "me", 200, at(9)).await.unwrap();
    }
    store.open_lanes(&["slow"], at(10)).await.unwrap();
    assert_eq!((purge(10).await, left().await), (0, 3), "the slow sink has none of them");
    let lane = store.lease_lanes("slow", "relay", 16, at(30), at(11)).await.unwrap().pop().unwrap();
    let end = LaneEnd { lane: lane.lane, position: place_of(&world, "o", 1).await, rests_until: None };
    assert!(store.leave_lanes("slow", "relay", &[end], &["slow"], at(12)).await.unwrap().is_empty());
    assert_eq!((purge(12).await, left().await), (1, 2), "the first is out, with the note that it was delivered");
    assert_eq!(store.deliveries("hook-aaaa", None, None, 9).await.unwrap().len(), 2);
    assert_eq!((purge(13).await, left().await), (1, 1), "no relay has served the slow sink since: it is taken out");
    assert_eq!(claimed(&world, "hook-aaaa", "me", 20).await.len(), 1, "and what is pending can still be sent");
    assert!(store.delete_webhook("hook-aaaa", at(21)).await.unwrap());
    assert_eq!((purge(22).await, left().await), (1, 0), "nobody is owed it any more");
}
