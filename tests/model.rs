//! Random lives of orders against a pure model: commands, faults, crashes and time, on a real engine, database and sandbox.
//!
//! `OMS_MODEL_SEED` and `OMS_MODEL_LIVES` run the same lives again: a failure names the seed of its life.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use oms_contract::names::Queue;
use oms_domain::life::{CancelVerdict, RefusalCode};
use oms_domain::order::Status;
use oms_domain::party::Party;
use oms_domain::review::ReviewDecision;
use oms_domain::shipment::{ScanResult, ScanType, ShipmentStatus};
use oms_gateways::faults::{Fault, FaultMode, operations};
use oms_temporal::worker::WorkerTuning;
use oms_workers::Fleet;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::support::books;
use crate::support::driver::Driver;
use crate::support::fate::{Fate, PLENTY, SCARCE};
use crate::support::model::{Answer, End, Model, Sent};
use crate::support::roles::Place;
use crate::support::world::{World, now, sku};

/// Lives in one run of the test.
const LIVES: u64 = 300;
/// Orders in one world.
const BATCH: u64 = 1_000;
/// Units in every place of what never runs out.
const SHELF: i64 = 100_000;
/// Lives at once.
const AT_ONCE: usize = 48;
/// A life that takes longer hangs.
const LIFE_MAX: Duration = Duration::from_secs(600);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Said even if the test passes.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "model: {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_random_lives_end_as_the_model_says() {
    let first = variable("OMS_MODEL_SEED").unwrap_or_else(|| rand::random_range(0..1 << 48));
    let lives = variable("OMS_MODEL_LIVES").unwrap_or(LIVES);
    let mut seeds: Vec<u64> = (0..lives).map(|n| first + n).collect();
    while !seeds.is_empty() {
        let rest = seeds.split_off(seeds.len().min(usize::try_from(BATCH).unwrap()));
        batch(&seeds).await;
        seeds = rest;
    }
}

async fn batch(seeds: &[u64]) {
    let began = Instant::now();
    say(&format!("{} lives from seed {}", seeds.len(), seeds[0]));
    let world = Arc::new(shop().await);
    let calm = Arc::new(AtomicBool::new(false));
    let weather = tokio::spawn(weather(world.clone(), calm.clone(), seeds[0]));
    let crashes = tokio::spawn(crashes(world.clone(), calm.clone()));
    let lived: Vec<Result<Moved, String>> = futures::stream::iter(seeds.to_vec())
        .map(|seed| tokio::spawn(live(world.clone(), seed)))
        .buffer_unordered(AT_ONCE)
        .map(Result::unwrap)
        .collect()
        .await;
    calm.store(true, Ordering::Relaxed);
    weather.await.unwrap();
    crashes.await.unwrap();
    let pace = seeds.len() as f64 / began.elapsed().as_secs_f64();
    say(&format!("seed {}: {} lives in {:?}, {pace:.1} a second", seeds[0], seeds.len(), began.elapsed()));
    let (moved, failures): (Vec<Moved>, Vec<String>) = lived.into_iter().fold(Default::default(), |mut sorted, life| {
        match life {
            Ok(moved) => sorted.0.push(moved),
            Err(wrong) => sorted.1.push(wrong),
        }
        sorted
    });
    assert!(failures.is_empty(), "{} of {} lives:\n{}", failures.len(), seeds.len(), failures.join("\n"));
    let mut findings = books::findings(&world).await;
    findings.extend(shelves(&world, &moved).await);
    assert!(findings.is_empty(), "lives from seed {}: the books do not balance:\n{}", seeds[0], findings.join("\n"));
    Arc::into_inner(world).unwrap().end().await;
}

/// Units that left with an order's parcels, less those that came back and are sold again, by SKU.
type Moved = BTreeMap<String, i64>;

/// Shelves that do not hold what they held less what left.
async fn shelves(world: &World, moved: &[Moved]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, places, _) in PLENTY {
        let left: i64 = moved.iter().filter_map(|moved| moved.get(name)).sum();
        let expected = places.len() as i64 * SHELF - left;
        let level = world.store.stock(&sku(name), now()).await.unwrap().unwrap();
        if level.on_hand as i64 != expected || level.available != level.on_hand {
            wrong.push(format!("{name}: {} on hand, {} available, {left} left", level.on_hand, level.available));
        }
    }
    wrong
}

/// What the lives share: articles, some of which run out.
async fn shop() -> World {
    let mut world = World::idle(WorkerTuning { graceful_shutdown: Duration::from_secs(1), ..Default::default() }).await;
    // every look goes over all lives
    (world.parts.watch_every, world.parts.janitor_every) = (Duration::from_secs(2), Duration::from_secs(2));
    for (name, places, price) in PLENTY {
        for place in places {
            world.shelf(name, place, SHELF, price).await;
        }
    }
    for (name, price) in SCARCE {
        world.shelf(name, "berlin", 5, price).await;
    }
    world
}

/// Outside parties fail now and then, each for a moment.
async fn weather(world: Arc<World>, calm: Arc<AtomicBool>, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    while !calm.load(Ordering::Relaxed) {
        let party = *[Party::Payment, Party::Carrier].choose(&mut dice).unwrap();
        let modes = [FaultMode::Down, FaultMode::Error, FaultMode::CommitThenDrop, FaultMode::CommitThenDrop, FaultMode::Slow];
        let operation = dice.random_bool(0.5).then(|| (*operations(party).choose(&mut dice).unwrap()).to_owned());
        let lasts = Duration::from_millis(dice.random_range(50..500));
        let fault = Fault { mode: *modes.choose(&mut dice).unwrap(), operation, until: Some(now() + lasts) };
        world.sandbox.faults.set(party, &fault).await.unwrap();
        tokio::time::sleep(lasts + Duration::from_millis(dice.random_range(0..1_500))).await;
    }
    for party in Party::ALL {
        world.sandbox.faults.set(party, &Fault::default()).await.unwrap();
    }
}

/// Workers come and go: those of this process with a drain, those of another by SIGKILL.
async fn crashes(world: Arc<World>, calm: Arc<AtomicBool>) {
    let roles = [Queue::Orders, Queue::Inventory, Queue::Payments, Queue::Shipping];
    let mut fleet = Fleet::start(&roles, world.parts.clone()).await.unwrap();
    while !calm.load(Ordering::Relaxed) {
        let victim = Place::of(&world).worker().await;
        pause(&calm, Duration::from_secs(4)).await;
        victim.kill();
        pause(&calm, Duration::from_secs(4)).await;
        if !calm.load(Ordering::Relaxed) {
            fleet.stop().await;
            fleet = Fleet::start(&roles, world.parts.clone()).await.unwrap();
        }
    }
    fleet.stop().await;
}

async fn pause(calm: &AtomicBool, span: Duration) {
    let began = Instant::now();
    while !calm.load(Ordering::Relaxed) && began.elapsed() < span {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One life from its seed to its judgement. Errors: what was wrong, and everything that led there.
async fn live(world: Arc<World>, seed: u64) -> Result<Moved, String> {
    let mut driver = Driver::place(&world, Fate::draw(seed)).await;
    let wrong = match tokio::time::timeout(LIFE_MAX, driver.live()).await {
        Ok(Ok(end)) => match driver.model.judge(&end) {
            wrong if wrong.is_empty() => return Ok(moved(&end, &driver.restocked)),
            wrong => wrong,
        },
        Ok(Err(wrong)) => vec![wrong],
        Err(_) => vec![format!("it did not end within {LIFE_MAX:?}: {}", driver.stands().await)],
    };
    let told: Vec<String> = match world.store.timeline(&driver.id).await {
        Ok(told) => told.into_iter().map(|e| format!("{} {}", e.kind, e.reason.unwrap_or_default())).collect(),
        Err(error) => vec![error.to_string()],
    };
    let (id, fate, heard) = (&driver.id, Fate::draw(seed), driver.model.log.join("\n    "));
    Err(format!(
        "- OMS_MODEL_SEED={seed} OMS_MODEL_LIVES=1 ({id}): {}\n  {fate:?}\n  heard:\n    {heard}\n  timeline:\n    {}\n",
        wrong.join("; "),
        told.join("\n    ")
    ))
}

fn moved(end: &End, restocked: &Moved) -> Moved {
    let mut moved = Moved::new();
    for line in end.row.life.shipments.iter().filter(|s| s.status.departed()).flat_map(|s| &s.lines) {
        *moved.entry(line.sku.as_str().to_owned()).or_default() += i64::from(line.quantity);
    }
    for (sku, quantity) in restocked {
        *moved.entry(sku.clone()).or_default() -= quantity;
    }
    moved
}

/// Makes an end one that did not happen.
type Lie = fn(&mut End);

/// The model of a plain order that was seen to ship, and its true end.
async fn told_true() -> (Model, End) {
    let fate = Fate { acts: Vec::new(), ..Fate::plain() };
    let world = World::new().await;
    world.shelf("mug", "berlin", 9, 1999).await;
    let mut driver = Driver::place(&world, fate).await;
    let end = driver.live().await.unwrap();
    let model = driver.model;
    world.end().await;
    (model, end)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_notices_every_wrong_end() {
    let (model, end) = told_true().await;
    assert_eq!(model.judge(&end), Vec::<String>::new());
    let lies: [(&str, Lie); 12] = [
        ("cannot have ended", |end| end.row.life.status = Status::Cancelled),
        ("cannot have ended", |end| end.row.life.status = Status::Rejected),
        ("cannot have ended", |end| end.row.life.status = Status::Shipped),
        ("not completed", |end| end.row.life.status = Status::PartiallyFulfilled),
        ("taken, returned, held", |end| end.row.life.payment.captured.minor -= 1),
        ("taken, returned, held", |end| end.row.life.payment.refunded.minor += 1),
        ("taken, returned, held", |end| end.row.life.payment.authorized.minor += 1),
        ("it costs", |end| end.row.totals.tax.minor += 1),
        ("ordered are", |end| end.row.lines[0].quantity += 1),
        ("parcels hold", |end| end.row.life.shipments[0].lines[0].quantity += 1),
        ("is Lost", |end| end.row.life.shipments[0].status = ShipmentStatus::Lost),
        ("facts say how it ended", |end| end.told.push("order.cancelled".into())),
    ];
    for (complaint, lie) in lies {
        let mut wrong = End { row: end.row.clone(), told: end.told.clone() };
        lie(&mut wrong);
        let said = model.judge(&wrong);
        assert!(said.iter().any(|said| said.contains(complaint)), "{complaint}: {said:?}");
    }
}

#[test]
fn the_model_notices_every_wrong_answer() {
    let shipped = || Sent::Report { parcel: 1, event: "a".into(), kind: ScanType::Shipped };
    let hold = || Sent::Hold { id: "h".into(), ends: false };
    let applied = Answer::Scan(ScanResult::Applied);
    let cancelled = Answer::Cancel(CancelVerdict::Cancelling);
    let stories: [&[(Sent, Answer)]; 9] = [
        &[(shipped(), applied), (Sent::Cancel, cancelled)],
        &[(Sent::Cancel, Answer::Refused(RefusalCode::TooLate))],
        &[(Sent::Cancel, cancelled), (hold(), Answer::Done)],
        &[(Sent::Cancel, cancelled), (Sent::Cancel, Answer::Refused(RefusalCode::NotAllowedNow))],
        &[(shipped(), applied), (shipped(), applied)],
        &[(shipped(), Answer::Scan(ScanResult::Stale))],
        &[
            (hold(), Answer::Done),
            (Sent::Release { id: "h".into() }, Answer::Done),
            (Sent::Release { id: "h".into() }, Answer::Done),
        ],
        &[(Sent::Address, Answer::Refused(RefusalCode::TooLate)), (Sent::Address, Answer::Done)],
        &[(Sent::Review(ReviewDecision::Approve), Answer::Done)],
    ];
    for story in stories {
        let mut model = Model::new(Fate::plain());
        let (last, before) = story.split_last().unwrap();
        for (sent, answer) in before {
            model.hear(sent, *answer).unwrap();
        }
        assert!(model.hear(&last.0, last.1).is_err(), "{story:?}");
    }
}
