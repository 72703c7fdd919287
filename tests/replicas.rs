//! Two processes of the API behind one address, as it were: what they share through Redis, and what they do without it.

use std::time::{Duration, Instant};

use oms_store::Store;
use oms_temporal::worker::WorkerTuning;
use reqwest::{Method, Response};
use serde_json::json;
use tempfile::TempDir;

use crate::support::broker::{Broker, redis_server};
use crate::support::database::database;
use crate::support::engine::free_port;
use crate::support::http::{Http, order};
use crate::support::roles::{Place, Process};
use crate::support::until;
use crate::support::world::{World, now, sku};

const PATIENT: Duration = Duration::from_secs(60);

/// A Redis that can be killed and started again.
struct Redis {
    broker: Broker,
    port: u16,
    _dir: TempDir,
}

impl Redis {
    async fn start() -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let redis = Self { broker: redis_server(dir.path().to_owned(), port), port, _dir: dir };
        redis.answers().await;
        redis
    }

    async fn answers(&self) {
        let answers = || async { oms_gateways::replicas::check(&self.url()).await.ok() };
        until("redis-server answers (Debian: apt-get install redis-server)", PATIENT, answers).await;
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        self.broker.kill();
    }

    async fn restart(&mut self) {
        self.broker.restart();
        self.answers().await;
    }
}

/// Two replicas on one database and one Redis. No engine: nobody answers at port 9.
struct Pair {
    redis: Redis,
    store: Store,
    one: Http,
    other: Http,
    _processes: [Process; 2],
    _dir: TempDir,
}

impl Pair {
    async fn new(variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = database(dir.path()).await;
        let store = Store::connect(&database).await.unwrap();
        store.migrate().await.unwrap();
        let redis = Redis::start().await;
        let place = Place::new(dir.path(), "127.0.0.1:9", "oms", &database).with("REDIS_URL", &redis.url());
        let place = variables.iter().fold(place, |place, (name, value)| place.with(name, value));
        let (one, at) = place.api().await;
        let (other, other_at) = place.api().await;
        Self { redis, store, one: Http::at(&at), other: Http::at(&other_at), _processes: [one, other], _dir: dir }
    }
}

/// Asks until it is refused; answers how often it was not.
async fn drain(replicas: &[&Http]) -> u32 {
    for passed in 0..1_000 {
        let answer = replicas[passed as usize % replicas.len()].get("/v1/event-schemas/none").await;
        if answer.status == 429 {
            answer.refuses(429, "rate_limited", None);
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
            return passed;
        }
        assert_eq!(answer.status, 404, "{}", answer.text);
    }
    panic!("never refused");
}

/// Whether a replica's next request is counted with the others'.
async fn counts_together(http: &Http) -> Option<()> {
    let before = counted(http, "oms_limits_alone_total").await;
    http.get("/v1/event-schemas/none").await;
    (counted(http, "oms_limits_alone_total").await == before).then_some(())
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_replicas_share_a_clients_limit_and_go_on_alone_while_redis_is_dead() {
    let mut pair = Pair::new(&[("OMS__LIMITS__PER_SECOND", "1"), ("OMS__LIMITS__BURST", "40")]).await;
    for http in [&pair.one, &pair.other] {
        until("it counts with the others", PATIENT, || counts_together(http)).await;
    }
    // whoever is refused by one is refused by the other: the bucket is one
    let passed = drain(&[&pair.one, &pair.other]).await;
    assert!(passed >= 20, "{passed}");
    until("the other refuses too", PATIENT, || async {
        drain(&[&pair.one]).await;
        (pair.other.get("/v1/event-schemas/none").await.status == 429).then_some(())
    })
    .await;
    assert_eq!(pair.other.get("/livez").await.status, 200);

    pair.redis.kill();
    for http in [&pair.one, &pair.other] {
        // neither an error nor a refusal: a bucket of its own, full as on the first day
        assert!(drain(&[http]).await >= 30, "it counts alone");
    }
    pair.redis.restart().await;
    for http in [&pair.one, &pair.other] {
        until("it counts with the others again", PATIENT, || counts_together(http)).await;
    }
}

/// What a counter of a replica says.
async fn counted(http: &Http, series: &str) -> u64 {
    let metrics = http.get("/metrics").await.text;
    metrics.lines().find_map(|line| line.strip_prefix(series)).map_or(0, |n| n.trim().parse().unwrap())
}

async fn price(http: &Http) -> i64 {
    http.get("/v1/catalogue/MUG").await.is(200).body["price"]["amount"].as_i64().unwrap()
}

async fn set_price(http: &Http, amount: i64) {
    let product = json!({"name": "Mug", "price": {"amount": amount, "currency": "EUR"}});
    assert!(http.put("/v1/catalogue/MUG", &product).await.status < 300);
}

/// Waits until a replica gives an answer that is kept.
async fn gives_what_is_kept(http: &Http) {
    let kept = || counted(http, r#"oms_answers_total{of="product",from="kept"}"#);
    let before = kept().await;
    until("a kept answer is given", PATIENT, || async {
        price(http).await;
        (kept().await > before).then_some(())
    })
    .await;
}

/// A change that no replica of the API makes: asked again and again, the old price may be seen for at most a second.
async fn is_stale_for_less_than_a_second(pair: &Pair, amount: i64) {
    let mut product = pair.store.product(&sku("MUG")).await.unwrap().unwrap();
    product.price.minor = amount;
    pair.store.put_product(&product, now()).await.unwrap();
    let changed = Instant::now();
    for http in [&pair.one, &pair.other] {
        until("the new price is seen", PATIENT, || async {
            let asked = changed.elapsed();
            let new = price(http).await == amount;
            assert!(new || asked < Duration::from_secs(1), "the old price was given to who asked after {asked:?}");
            new.then_some(())
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_replicas_keep_answers_for_each_other_and_none_is_wrong_for_a_second_whatever_happens_to_redis() {
    let mut pair = Pair::new(&[]).await;
    set_price(&pair.one, 1).await;
    let mut at_once = 0;
    for amount in 2..12 {
        gives_what_is_kept(&pair.other).await;
        // what one has changed the other tells at once, unless a call took too long on a busy machine
        let (writer, reader) = if amount % 2 == 0 { (&pair.one, &pair.other) } else { (&pair.other, &pair.one) };
        set_price(writer, amount).await;
        at_once += u32::from(price(reader).await == amount);
        until("the new price is seen", PATIENT, || async { (price(reader).await == amount).then_some(()) }).await;
    }
    assert!(at_once >= 5, "a change was seen at once {at_once} times of 10");
    for amount in 20..23 {
        gives_what_is_kept(&pair.one).await;
        is_stale_for_less_than_a_second(&pair, amount).await;
    }
    gives_what_is_kept(&pair.one).await;
    pair.redis.kill();
    is_stale_for_less_than_a_second(&pair, 30).await;
    for (http, amount) in [(&pair.one, 31), (&pair.other, 32)] {
        set_price(http, amount).await;
        assert_eq!((price(&pair.one).await, price(&pair.other).await), (amount, amount), "nothing is kept now");
    }
    pair.redis.restart().await;
    for http in [&pair.one, &pair.other] {
        gives_what_is_kept(http).await;
    }
    is_stale_for_less_than_a_second(&pair, 40).await;
}

/// A stream of an order's events, and what it has told.
struct Following {
    stream: Response,
    text: String,
}

impl Following {
    async fn begin(http: &Http, id: &str) -> Self {
        let request = http.request(Method::GET, &format!("/v1/orders/{id}/events")).timeout(PATIENT * 10);
        let stream = request.send().await.unwrap();
        assert_eq!(stream.status().as_u16(), 200);
        Self { stream, text: String::new() }
    }

    /// Reads on until it has told this; answers how long that took.
    async fn tells(&mut self, words: &str) -> Duration {
        let began = Instant::now();
        let reading = async {
            while !self.text.contains(words) {
                let bytes = self.stream.chunk().await.unwrap().expect("the stream goes on");
                self.text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        };
        tokio::time::timeout(PATIENT, reading).await.unwrap_or_else(|_| panic!("no `{words}` in:\n{}", self.text));
        began.elapsed()
    }
}

async fn hears_the_bell(http: &Http, does: u64) {
    until("the replica has noticed", PATIENT, || async { (counted(http, "oms_rings_heard").await == does).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_stream_on_one_replica_is_woken_by_what_happens_through_another_and_goes_on_without_redis() {
    let world = World::idle(WorkerTuning::default()).await;
    let mut redis = Redis::start().await;
    let place = Place::of(&world).with("REDIS_URL", &redis.url());
    let _worker = place.worker().await;
    let ((_one, url), (_other, other_url)) = (place.api().await, place.api().await);
    let (one, other) = (Http::at(&url), Http::at(&other_url));
    hears_the_bell(&other, 1).await;
    one.sell("MUG", "berlin", 50, 1_000).await;
    let id = one.confirmed(&order("MUG", 1)).await;
    let mut following = Following::begin(&other, &id).await;
    following.tells("order.confirmed").await;
    let held = async |following: &mut Following, reason: &str| {
        let hold = json!({"kind": "fraud", "reason": reason});
        one.post(&format!("/v1/orders/{id}/holds"), &hold).await.is(201);
        let took = following.tells(reason).await;
        // by itself a stream that hears the bell looks five seconds after the look before
        assert!(took < Duration::from_secs(3), "{reason}: {took:?}");
    };
    for reason in ["woken once", "woken twice", "woken thrice"] {
        held(&mut following, reason).await;
    }
    redis.kill();
    hears_the_bell(&other, 0).await;
    for reason in ["seen without redis", "and seen again"] {
        held(&mut following, reason).await;
    }
    redis.restart().await;
    hears_the_bell(&other, 1).await;
    for reason in ["woken after it came back", "and woken again"] {
        held(&mut following, reason).await;
    }
    let told: Vec<u64> =
        following.text.lines().filter_map(|line| line.strip_prefix("id:")).map(|n| n.trim().parse().unwrap()).collect();
    assert_eq!(told, (1..=told.len() as u64).collect::<Vec<_>>(), "without gap, and nothing twice");
}
