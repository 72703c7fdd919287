//! Recorded histories: what every release must be able to continue. One per fate and shape (`OrderStart.shape`; those of the first have
//! no number); older shapes stay when a workflow changes.
//!
//! `OMS_RECORD_HISTORIES=1 cargo test --test it replay` records the fates anew into `temporal/histories`.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use oms_contract::command::{Decide, Edit, Resolve, Review};
use oms_contract::refund::STORY_SHAPE;
use oms_contract::start::{OrderLine, SHAPE};
use oms_contract::workflow as mark;
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::life::Why;
use oms_domain::order::Status;
use oms_domain::party::Party;
use oms_domain::pricing::PriceRules;
use oms_domain::review::{LOST, Resolution, ReviewDecision};
use oms_domain::risk::RiskRules;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_domain::shortage::{Decision, OnShortage, ShortagePolicy};
use oms_gateways::faults::{Fault, FaultMode};
use oms_temporal::replay::{download_history, replay};
use oms_workflows::order::Order;

use crate::replay_stories::{begun_otherwise, replay_named};
use crate::support::until;
use crate::support::world::{PATIENT, World, now};

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("temporal/histories")
}

fn committed() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

pub async fn booked(world: &World, id: &OrderId) {
    until("every shipment has a courier", PATIENT, || async {
        let shipments = world.order(id).await.life.shipments;
        (!shipments.is_empty() && shipments.iter().all(|s| s.status == ShipmentStatus::Booked)).then_some(())
    })
    .await;
}

/// One order per fate, all ended.
async fn fates(world: &mut World) -> Vec<(&'static str, OrderId)> {
    world.deadlines.payment_action = Duration::from_secs(1);
    world.shelf("mug", "berlin", 100, 1999).await;
    world.shelf("pot", "madrid", 100, 3333).await;
    world.shelf("ghost", "berlin", 0, 1999).await;
    let delivered = world.place("delivered", "pm_card_visa", &[("mug", 2)]).await;
    let split = world.place("split", "pm_card_visa", &[("mug", 1), ("pot", 1)]).await;
    let declined = world.place("declined", "pm_card_chargeDeclined", &[("mug", 1)]).await;
    let short = world.place("short", "pm_card_visa", &[("ghost", 1)]).await;
    let expired = world.place("expired", "pm_card_authenticationRequired", &[("mug", 1)]).await;
    let cancelled = world.place("cancelled", "pm_card_visa", &[("mug", 1)]).await;
    let held = world.place("held", "pm_card_visa", &[("mug", 1)]).await;
    for id in [&delivered, &split, &cancelled, &held] {
        booked(world, id).await;
    }
    world.cancel(&cancelled).await.unwrap();
    let hold = world.hold(&held, None).await;
    world.scan(&held, 1, ScanType::Shipped).await;
    world.release(&held, &hold).await;
    for (id, number) in [(&delivered, 1), (&split, 1), (&split, 2)] {
        world.scan(id, number, ScanType::Shipped).await;
    }
    for (id, number) in [(&delivered, 1), (&split, 2), (&split, 1), (&held, 1)] {
        world.scan(id, number, ScanType::Delivered).await;
    }
    // a cancel that calls back a booking which only backs off
    world.sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let recalled = world.place("recalled", "pm_card_visa", &[("mug", 1)]).await;
    world.reaches(&recalled, Status::Confirmed).await;
    world.cancel(&recalled).await.unwrap();
    world.sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::None)).await.unwrap();
    let fates = vec![
        ("delivered", delivered),
        ("delivered-in-two-shipments", split),
        ("rejected-payment-declined", declined),
        ("rejected-out-of-stock", short),
        ("rejected-payment-action-expired", expired),
        ("cancelled-after-booking", cancelled),
        ("cancelled-while-booking-backs-off", recalled),
        ("held-released-delivered", held),
    ];
    let fates: Vec<_> = fates.into_iter().chain(bends(world).await).collect();
    for (_, id) in &fates {
        world.ends(id).await;
    }
    fates
}

/// The bends: orders that waited, were reviewed, changed, lost.
async fn bends(world: &mut World) -> Vec<(&'static str, OrderId)> {
    let arrive = async |world: &World, id: &OrderId, number: u32| {
        world.scan(id, number, ScanType::Shipped).await;
        world.scan(id, number, ScanType::Delivered).await;
    };
    let why = || Why::parse("for the record").unwrap();
    world.on_shortage = OnShortage { policy: ShortagePolicy::Wait, max: None };
    let waited = world.place("waited", "pm_card_visa", &[("ghost", 2)]).await;
    world.reaches(&waited, Status::Backordered).await;
    world.receive("ghost", "berlin", 2).await;
    booked(world, &waited).await;
    arrive(world, &waited, 1).await;
    world.on_shortage = OnShortage { policy: ShortagePolicy::ShipAvailable, max: Some(Duration::from_millis(300)) };
    world.receive("ghost", "berlin", 1).await;
    let dropped = world.place("dropped", "pm_card_visa", &[("ghost", 2)]).await;
    until("the customer is asked", PATIENT, || async { world.order(&dropped).await.life.question }).await;
    let decide = Decide { decision: Decision::ShipAvailable, round: None, actor: None };
    world.run(&dropped).execute_update(mark::DecideUpdate, decide, Default::default()).await.unwrap();
    booked(world, &dropped).await;
    arrive(world, &dropped, 1).await;
    world.on_shortage = OnShortage::default();

    world.risk = RiskRules { amount_min: Some(1), ..RiskRules::default() };
    let reviewed = world.place("reviewed", "pm_card_visa", &[("mug", 1)]).await;
    world.reaches(&reviewed, Status::InReview).await;
    let approve = Review { decision: ReviewDecision::Approve, reason: why(), actor: None };
    world.run(&reviewed).execute_update(mark::ReviewUpdate, approve, Default::default()).await.unwrap();
    booked(world, &reviewed).await;
    arrive(world, &reviewed, 1).await;
    world.risk = RiskRules::default();

    let edited = world.place("edited", "pm_card_visa", &[("mug", 1)]).await;
    let hold = world.hold(&edited, None).await;
    world.reaches(&edited, Status::Confirmed).await;
    let order = world.order(&edited).await;
    let mut lines = order.lines.clone();
    lines[0].quantity = 2;
    lines[0].total = lines[0].unit_price.times(2).unwrap();
    let totals = PriceRules { shipping_minor: 490, tax_bps: 1900 }.totals(&lines, order.currency).unwrap();
    world.store.propose_edit("edit-recorded", &edited, &lines, &totals, now()).await.unwrap();
    let lines = lines.iter().map(|l| OrderLine { sku: l.sku.clone(), quantity: l.quantity, total: l.total }).collect();
    let edit = Edit { edit_id: "edit-recorded".into(), lines, totals, cancels: false, if_rev: None, reason: None, actor: None };
    world.run(&edited).execute_update(mark::EditUpdate, edit, Default::default()).await.unwrap();
    until("the edit is made", PATIENT, || async { (world.order(&edited).await.lines[0].quantity == 2).then_some(()) }).await;
    world.release(&edited, &hold).await;
    until("the new shipment has a courier", PATIENT, || async {
        let life = world.order(&edited).await.life;
        life.live_shipments().all(|s| s.status == ShipmentStatus::Booked).then_some(())
    })
    .await;
    arrive(world, &edited, 2).await;

    let lost = world.place("lost", "pm_card_visa", &[("mug", 1)]).await;
    booked(world, &lost).await;
    world.scan(&lost, 1, ScanType::Shipped).await;
    world.scan(&lost, 1, ScanType::Lost).await;
    let flag = until("a person is called", PATIENT, || async {
        let order = world.order(&lost).await;
        let taken = order.life.payment.captured.minor > 0;
        order.life.attention.into_iter().find(|a| taken && a.code == LOST)
    })
    .await;
    let item = flag.item(&lost);
    let resolve = Resolve { item, action: Resolution::RefundAndClose, reference: None, reason: why(), actor: None };
    world.run(&lost).execute_update(mark::ResolveUpdate, resolve, Default::default()).await.unwrap();
    vec![
        ("backordered-delivered", waited),
        ("backordered-dropped-partially-fulfilled", dropped),
        ("reviewed-delivered", reviewed),
        ("edited-delivered", edited),
        ("lost-refunded", lost),
    ]
}

/// Takes out who recorded it, where.
pub fn anonymous(history: &[u8]) -> Vec<u8> {
    fn scrub(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    if key == "identity" {
                        *value = "recorder".into();
                    } else {
                        scrub(value);
                    }
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(scrub),
            _ => {}
        }
    }
    let mut value: serde_json::Value = serde_json::from_slice(history).unwrap();
    scrub(&mut value);
    serde_json::to_vec(&value).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fate_replays_as_it_was_lived() {
    let mut world = World::new().await;
    for (fate, id) in fates(&mut world).await {
        replays(&world, fate, &id).await;
    }
    world.end().await;
}

/// Replays the order's run as it was lived; with `OMS_RECORD_HISTORIES` it joins the committed ones.
pub async fn replays(world: &World, fate: &str, id: &OrderId) {
    let history = download_history(&world.client, &oms_contract::names::order_workflow(id)).await.unwrap();
    replay::<Order>(&history).await.unwrap_or_else(|e| panic!("{fate}: {e}"));
    replays_off_time(&format!("order-{fate}"), &history).await;
    if std::env::var_os("OMS_RECORD_HISTORIES").is_some() {
        std::fs::write(folder().join(format!("order-{fate}.{SHAPE}.json")), anonymous(&history)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_histories_replay() {
    let histories = committed();
    assert!(histories.len() >= 30, "one history per fate is committed, found {}", histories.len());
    for workflow in ["order", "refund", "return", "aftermath", "mailout", "reconcile"] {
        assert!(histories.iter().any(|(name, _)| name.starts_with(&format!("{workflow}-"))), "no history of {workflow}");
    }
    for (name, history) in histories {
        replay_named(&name, &history).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

/// The proof that the replay has teeth: had the code these two steps the other way round, it would fail.
#[tokio::test(flavor = "multi_thread")]
async fn swapped_steps_fail_the_replay() {
    let (_, history) = committed().into_iter().find(|(name, _)| name == "order-delivered.json").unwrap();
    let text = String::from_utf8(history).unwrap();
    let swapped = text
        .replace("inventory.reserve", "\u{1}")
        .replace("payment.authorize", "inventory.reserve")
        .replace('\u{1}', "payment.authorize");
    assert_ne!(swapped, text);
    let error = replay::<Order>(swapped.as_bytes()).await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("determinism") || error.contains("TMPRL1100"), "{error}");
}

/// The proof that an incompatible change is caught: a step of another kind, as if one had been renamed without `patched`.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_another_kind_fails_the_replay() {
    let (_, history) = committed().into_iter().find(|(name, _)| name == "order-delivered.json").unwrap();
    let text = String::from_utf8(history).unwrap();
    let renamed = text.replace("\"shipping.book\"", "\"shipping.book_elsewhere\"");
    assert_ne!(renamed, text);
    let error = replay::<Order>(renamed.as_bytes()).await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("determinism") || error.contains("TMPRL1100"), "{error}");
}

/// How far the time of a task can be off: as long as one may take.
const OFF_MAX: TimeDelta = TimeDelta::seconds(10);

/// The same history in which each workflow task began when the one before it did, or when the one after it did, at most [`OFF_MAX`] apart.
fn off_by_a_task(history: &[u8], later: bool) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(history).unwrap();
    let began = |event: &serde_json::Value| event["attributes"].get("WorkflowTaskStartedEventAttributes").is_some();
    let events = value["events"].as_array_mut().unwrap();
    let mut tasks: Vec<&mut serde_json::Value> = events.iter_mut().filter(|event| began(event)).collect();
    assert!(tasks.len() > 1);
    let times: Vec<Instant> = tasks.iter().map(|event| event["event_time"].as_str().unwrap().parse().unwrap()).collect();
    for (at, task) in tasks.iter_mut().enumerate() {
        let other = if later { (at + 1).min(times.len() - 1) } else { at.saturating_sub(1) };
        let time = times[other].clamp(times[at] - OFF_MAX, times[at] + OFF_MAX);
        task["event_time"] = time.to_rfc3339_opts(SecondsFormat::Nanos, true).into();
    }
    serde_json::to_vec(&value).unwrap()
}

/// Replays a history of today's shape as if its tasks had begun at other times.
async fn replays_off_time(name: &str, history: &[u8]) {
    for later in [true, false] {
        let off = off_by_a_task(history, later);
        let replayed = replay_named(name, &off).await;
        replayed.unwrap_or_else(|e| {
            panic!("{name}, each task at the time of the one {}: {e}", if later { "after" } else { "before" })
        });
    }
}

/// An engine that lost a task and gave it out again can have a worker finish the first one under the second one's name: what the run
/// remembers has the time of the first, the history that of the second. Nothing that is decided may differ by that.
#[tokio::test(flavor = "multi_thread")]
async fn no_decision_hangs_on_the_exact_time_of_a_task() {
    let shape = format!(".{SHAPE}.json");
    let histories: Vec<_> =
        committed().into_iter().filter(|(name, _)| !name.starts_with("order-") || name.ends_with(&shape)).collect();
    assert!(histories.iter().any(|(name, _)| name == &format!("order-lost-refunded{shape}")));
    for (name, history) in histories {
        replays_off_time(&name, &history).await;
    }
    // the proof that this has teeth: a review item of shape 3 has its id from the time of a task
    let name = "order-lost-refunded.3.json";
    let history = std::fs::read(folder().join(name)).unwrap();
    for later in [true, false] {
        assert!(replay_named(name, &off_by_a_task(&history, later)).await.is_err());
    }
}

/// An older worker leaves what it does not know to newer ones, instead of deciding otherwise than they do.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_newer_version_is_left_to_newer_workers() {
    let (order, story) = (format!(".{SHAPE}.json"), format!(".{STORY_SHAPE}.json"));
    for (name, shape) in [("order-delivered", &order), ("refund-returned", &story), ("return-completed", &story)] {
        let name = &format!("{name}{shape}");
        let history = std::fs::read(folder().join(name)).unwrap();
        let newer = begun_otherwise(&history, |input| input["shape"] = (input["shape"].as_u64().unwrap() + 1).into());
        let error = replay_named(name, &newer).await.unwrap_err().to_string();
        assert!(error.contains("workflow task failed") && error.contains("Failed to create workflow"), "{name}: {error}");
    }
}
