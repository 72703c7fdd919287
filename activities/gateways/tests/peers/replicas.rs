//! What replicas share, over a Redis that nobody here wrote.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use oms_domain::ids::OrderId;
use oms_gateways::replicas::{Answers, Bell, Bucket, Buckets, Heard, Hearing, Kept, Line, check};
use tempfile::TempDir;

use crate::broker::{Broker, redis_server};
use crate::peer::{free_port, until};

/// Well above what a call may take, and well below what a hung server takes; there are busy machines.
const SOON: Duration = Duration::from_millis(700);

/// A server, and what lines to it were told.
struct Redis {
    broker: Broker,
    port: u16,
    told: Arc<Mutex<Vec<bool>>>,
    _dir: TempDir,
}

impl Redis {
    async fn start() -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let redis = Self { broker: redis_server(dir.path().to_owned(), port), port, told: Arc::default(), _dir: dir };
        until("redis answers", || async { check(&redis.url()).await.ok() }).await;
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn line(&self) -> Line {
        let told = self.told.clone();
        let hear = move |how: Result<(), &str>| told.lock().unwrap().push(how.is_ok());
        Line::new(&self.url(), Arc::new(hear)).unwrap()
    }

    /// Stops its process without ending it, or lets it go on: connections stay, answers do not come.
    fn signal(&self, name: &str) {
        let found = Command::new("pgrep").args(["-f", &format!("redis-server 127.0.0.1:{}", self.port)]).output().unwrap();
        let pids = String::from_utf8(found.stdout).unwrap();
        let pid = pids.lines().next().expect("the server's process");
        assert!(Command::new("kill").arg(format!("-{name}")).arg(pid).status().unwrap().success());
    }
}

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

async fn take(buckets: &Buckets, client: &str, burst: u32) -> Option<Bucket> {
    buckets.take(client, number(1), number(burst)).await
}

async fn up(buckets: &Buckets) {
    until("the line is up", || async { take(buckets, "nobody", 9).await }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_bucket_is_one_for_all_and_is_refilled_by_time() {
    let redis = Redis::start().await;
    let replicas: Vec<Buckets> = (0..3).map(|_| Buckets::new(redis.line(), "oms:test:")).collect();
    for buckets in &replicas {
        up(buckets).await;
    }
    let (began, lost) = (Instant::now(), AtomicUsize::new(0));
    let ask = async |buckets: &Buckets| loop {
        match take(buckets, "192.0.2.1", 50).await {
            Some(bucket) => return bucket,
            // a call that took too long may have taken one all the same
            None => lost.fetch_add(1, Ordering::Relaxed),
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let told = join_all(replicas.iter().cycle().take(120).map(ask)).await;
    let passed = told.iter().filter(|bucket| matches!(bucket, Bucket::Left(_))).count();
    let refilled = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let lost = lost.into_inner();
    assert!(
        passed + lost >= 50 && passed <= 50 + refilled,
        "{passed} of 120 passed, 50 are in the bucket, {lost} lost: {told:?}"
    );
    let left: BTreeSet<u32> = told.iter().filter_map(|b| if let Bucket::Left(n) = b { Some(*n) } else { None }).collect();
    assert!(left.len() + lost >= 50 && left.iter().all(|n| *n < 50), "each takes one: {left:?}");
    let soon =
        |bucket: &Bucket| matches!(bucket, Bucket::Empty(wait) if *wait > Duration::ZERO && *wait <= Duration::from_secs(1));
    assert!(told.iter().any(soon), "{told:?}");
    let another = until("it answers", || async { take(&replicas[0], "192.0.2.2", 50).await }).await;
    assert!(matches!(another, Bucket::Left(48..)), "another client's is full: {another:?}");
    until("time refills it", || async { take(&replicas[1], "192.0.2.1", 50).await.filter(|b| matches!(b, Bucket::Left(_))) })
        .await;
    // a smaller burst holds at once for whoever has saved up more
    let shrunk = until("it answers", || async { take(&replicas[0], "192.0.2.1", 2).await }).await;
    assert!(matches!(shrunk, Bucket::Left(_)) || soon(&shrunk), "{shrunk:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_server_that_hangs_or_dies_costs_next_to_no_time_and_is_found_again() {
    let mut redis = Redis::start().await;
    let buckets = Buckets::new(redis.line(), "oms:test:");
    up(&buckets).await;
    let down = async |what: &str| {
        let began = Instant::now();
        assert_eq!(take(&buckets, "a", 9).await, None, "{what}");
        assert!(began.elapsed() < SOON, "{what}: {:?}", began.elapsed());
        let began = Instant::now();
        for _ in 0..500 {
            assert_eq!(take(&buckets, "a", 9).await, None, "{what}");
        }
        // fifty thousandths of a second each would be 25 s
        assert!(began.elapsed() < Duration::from_secs(3), "{what}: nobody waits after the first: {:?}", began.elapsed());
    };
    redis.signal("STOP");
    down("it hangs").await;
    redis.signal("CONT");
    up(&buckets).await;
    redis.broker.kill();
    down("it is dead").await;
    redis.broker.restart();
    up(&buckets).await;
    let told = redis.told.lock().unwrap();
    let changes = told.windows(2).all(|two| two[0] != two[1]);
    assert!(changes && told.last() == Some(&true) && told.iter().filter(|up| !**up).count() >= 2, "each change once: {told:?}");
}

/// When nothing was kept, by our clock and by the server's. Calls may take too long on a busy machine; then it is asked again.
async fn since(answers: &Answers, name: &str) -> (Instant, u64) {
    until("nothing is kept", || async {
        let asked = Instant::now();
        match answers.get(name).await {
            Some(Kept::Nothing(now)) => Some((asked, now)),
            Some(Kept::Answer(_)) | None => None,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn no_answer_is_given_a_second_after_it_was_true() {
    let redis = Redis::start().await;
    let (one, other) = (Answers::new(redis.line(), "oms:test:"), Answers::new(redis.line(), "oms:test:"));
    let given = AtomicUsize::new(0);
    until("it is kept for a while, thrice", || async {
        since(&other, "stock:MUG").await;
        let (began, read) = since(&one, "stock:MUG").await;
        one.put("stock:MUG", "{}", read).await;
        let before = given.load(Ordering::Relaxed);
        loop {
            let asked = began.elapsed();
            match other.get("stock:MUG").await {
                Some(Kept::Answer(answer)) => {
                    assert!(answer == "{}" && asked < Duration::from_secs(1), "{answer} given at {asked:?}");
                    given.store(before + 1, Ordering::Relaxed);
                }
                Some(Kept::Nothing(_)) => break,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        (given.load(Ordering::Relaxed) >= 3).then_some(())
    })
    .await;
    // an answer whose way took long is not kept for as long again
    let (_, read) = since(&one, "stock:MUG").await;
    until("more than a second later", || async {
        match one.get("clock").await? {
            Kept::Nothing(now) => (now > read + 1_000).then_some(()),
            Kept::Answer(_) => None,
        }
    })
    .await;
    until("it arrives", || async { one.put("stock:MUG", "{}", read).await.then_some(()) }).await;
    let kept = until("it is asked for", || async { other.get("stock:MUG").await }).await;
    assert!(matches!(kept, Kept::Nothing(_)), "it came too late: {kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn whoever_read_before_a_change_keeps_nothing_after_it() {
    let redis = Redis::start().await;
    let (reader, writer) = (Answers::new(redis.line(), "oms:test:"), Answers::new(redis.line(), "oms:test:"));
    let changed = ["stock:CUP".to_owned(), "stock:MUG".to_owned()];
    let rounds = AtomicUsize::new(0);
    until("twenty rounds in which nobody was late", || async {
        let (_, read) = since(&reader, "stock:MUG").await;
        // the row is read, another replica changes it and says so, and only then the old answer arrives
        let heard = writer.void(&changed).await && reader.put("stock:MUG", "old", read).await;
        let kept = writer.get("stock:MUG").await;
        if heard {
            assert!(!matches!(kept, Some(Kept::Answer(_))), "{kept:?}");
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        (rounds.load(Ordering::Relaxed) >= 20).then_some(())
    })
    .await;
    // the void ends, and with it nothing old comes back
    let kept = until("it is kept again", || async {
        let (_, read) = since(&reader, "stock:MUG").await;
        reader.put("stock:MUG", "new", read).await;
        match writer.get("stock:MUG").await? {
            Kept::Answer(answer) => Some(answer),
            Kept::Nothing(_) => None,
        }
    })
    .await;
    assert_eq!(kept, "new");
}

/// What a hearing was told, in words.
fn hears(redis: &Redis) -> Arc<Mutex<Vec<String>>> {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let (hearing, notes) = (Hearing::new(&redis.url(), "oms:test:").unwrap(), heard.clone());
    tokio::spawn(async move {
        let note = move |what: Heard<'_>| {
            notes.lock().unwrap().push(match what {
                Heard::On => "on".to_owned(),
                Heard::Off => "off".to_owned(),
                Heard::Ring(order) => order.to_owned(),
            });
        };
        hearing.tell(note).await;
    });
    heard
}

async fn heard(notes: &Mutex<Vec<String>>, what: &str) {
    until(what, || async { notes.lock().unwrap().iter().any(|note| note == what).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn every_replica_hears_the_bell_knows_when_it_does_not_and_hears_it_again() {
    let mut redis = Redis::start().await;
    let replicas = [hears(&redis), hears(&redis)];
    for notes in &replicas {
        heard(notes, "on").await;
    }
    let bell = Bell::new(redis.line(), "oms:test:");
    let another_shops = Bell::new(redis.line(), "oms:other:");
    let ring = async |order: &str, notes: &Mutex<Vec<String>>| {
        until(order, || async {
            another_shops.ring(&OrderId::parse("order-9999").unwrap());
            bell.ring(&OrderId::parse(order).unwrap());
            notes.lock().unwrap().iter().any(|note| note == order).then_some(())
        })
        .await;
    };
    for notes in &replicas {
        ring("order-0001", notes).await;
    }
    redis.broker.kill();
    for notes in &replicas {
        heard(notes, "off").await;
        notes.lock().unwrap().clear();
    }
    // rings go nowhere, and nobody waits for them
    let began = Instant::now();
    for _ in 0..5_000 {
        bell.ring(&OrderId::parse("order-0002").unwrap());
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    redis.broker.restart();
    for notes in &replicas {
        heard(notes, "on").await;
        ring("order-0003", notes).await;
        notes.lock().unwrap().clear();
    }
    // a server that hangs is noticed though the connection stands
    redis.signal("STOP");
    for notes in &replicas {
        heard(notes, "off").await;
    }
    redis.signal("CONT");
    for notes in &replicas {
        heard(notes, "on").await;
        ring("order-0004", notes).await;
        assert!(!notes.lock().unwrap().iter().any(|note| note == "order-9999"), "another shop's bell is not heard");
    }
}
