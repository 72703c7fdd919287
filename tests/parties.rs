//! The whole system on parties that nobody here wrote: Postgres, RabbitMQ, Redis, localstripe, a mail sink. All of them are started here, and
//! each is reached by a road on which traffic can be cut. Run with `cargo test -- --ignored`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use oms_domain::party::Party;
use oms_store::{CircuitState, Store};
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::events::{Consumer, Outbox};
use crate::mail_sink::Sink;
use crate::support::broker::{Broker, rabbitmq, redis_server};
use crate::support::engine::{self, free_port};
use crate::support::postgres::Postgres;
use crate::support::road::{Road, Traffic};
use crate::support::roles::{Place, Process};
use crate::support::shop::{Fate, Shop};
use crate::support::until;
use crate::support::world::{PATIENT, now, uuid};

/// Fates that the shop's real gateway can give, in turn.
const FATES: [Fate; 6] =
    [Fate::Delivered, Fate::TwoParcels, Fate::CancelledAtOnce, Fate::Delivered, Fate::CancelledLate, Fate::SoldOut];
const KEY: &str = "sk_test_12345678";

/// Roads to everybody.
struct Roads {
    database: Road,
    engine: Road,
    gateway: Road,
    mail: Road,
    rabbitmq: Road,
    redis: Road,
}

/// Everything that runs, in the order in which it ends.
struct Stage {
    shop: Arc<Shop>,
    place: Place,
    store: Store,
    /// The database, without a road.
    database: PgPool,
    roads: Roads,
    /// Where the gateway is, without a road.
    gateway: String,
    sink: Sink,
    rabbitmq: String,
    redis: String,
    _roles: Vec<Process>,
    _peers: Vec<Process>,
    _brokers: [Broker; 2],
    _postgres: Postgres,
    _dir: tempfile::TempDir,
}

/// localstripe: not ours, and one thread that reads through all of its payments to find one.
async fn localstripe(dir: &Path) -> (Process, String) {
    let port = free_port();
    let mut command = Command::new("python3");
    command.args(["-m", "localstripe", "--from-scratch", "--port", &port.to_string()]).current_dir(dir);
    let process = Process::spawn(command, dir.join("localstripe.log"));
    until("localstripe listens (.ci/install-peers installs it)", PATIENT, || async { listens(port).await }).await;
    (process, format!("http://127.0.0.1:{port}"))
}

/// The sandbox's gateway in a process of its own, in Stripe's wire format: it can be searched, and heeds idempotency keys.
async fn twin(dir: &Path) -> (Process, String) {
    let own = dir.join("gateway");
    std::fs::create_dir(&own).unwrap();
    let place = Place::new(&own, "127.0.0.1:9", "oms", &format!("sqlite:{}", own.join("oms.db").display()));
    let migrated = place.run(&["migrate"]).await;
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let (process, url) = place.api().await;
    (process, format!("{url}/sandbox/stripe"))
}

async fn listens(port: u16) -> Option<()> {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
}

fn port_of(url: &str) -> u16 {
    reqwest::Url::parse(url).unwrap().port().unwrap()
}

/// A URL whose host is reached by a road.
fn by(road: &Road, url: &str) -> String {
    url.replacen(&format!(":{}", port_of(url)), &format!(":{}", road.port), 1)
}

/// A queue that takes every event.
async fn bind(url: &str) {
    let connection =
        until("RabbitMQ accepts", PATIENT, || async { Connection::connect(url, ConnectionProperties::default()).await.ok() })
            .await;
    let channel = connection.create_channel().await.unwrap();
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare("oms.events".into(), ExchangeKind::Topic, durable, FieldTable::default()).await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("all".into(), durable, FieldTable::default()).await.unwrap();
    let (to, plain) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind("all".into(), "oms.events".into(), "#".into(), to, plain).await.unwrap();
}

async fn stage(gateway: impl AsyncFnOnce(&Path) -> (Process, String)) -> Stage {
    crate::support::tls();
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let (amqp, cache) = (free_port(), free_port());
    let brokers = [rabbitmq(folder("rabbitmq"), amqp), redis_server(folder("redis"), cache)];
    let sink = Sink::in_directory(dir.path());
    let (postgres, (stripe, gateway), mail) =
        tokio::join!(tokio::task::spawn_blocking(Postgres::start), gateway(dir.path()), sink.open());
    let postgres = postgres.unwrap();
    until("Redis listens", PATIENT, || listens(cache)).await;
    let direct = postgres.database().await;
    let namespace = format!("test-{}", uuid());
    engine::namespace(&namespace).await;
    let rabbitmq_url = format!("amqp://127.0.0.1:{amqp}/%2f");
    bind(&rabbitmq_url).await;
    let engine_port = engine::address().rsplit_once(':').unwrap().1.parse().unwrap();
    let roads = Roads {
        database: Road::to(port_of(&direct)).await,
        engine: Road::to(engine_port).await,
        gateway: Road::to(port_of(&gateway)).await,
        mail: Road::to(sink.port()).await,
        rabbitmq: Road::to(amqp).await,
        redis: Road::to(cache).await,
    };
    let far = by(&roads.database, &direct);
    let place = Place::new(dir.path(), &format!("127.0.0.1:{}", roads.engine.port), &namespace, &far)
        .with("OMS__PAYMENT__PROVIDER", "stripe")
        .with("STRIPE_SECRET_KEY", KEY)
        .with("OMS__PAYMENT__STRIPE__BASE_URL", &by(&roads.gateway, &gateway))
        .with("SMTP_URL", &format!("smtp://127.0.0.1:{}", roads.mail.port))
        .with("AMQP_URL", &format!("amqp://127.0.0.1:{}/%2f", roads.rabbitmq.port))
        .with("REDIS_URL", &format!("redis://127.0.0.1:{}", roads.redis.port))
        .with("OMS__REDIS__STREAM", "oms:events")
        .with("OMS__BREAKERS__FIRST_PAUSE", "2s")
        .with("OMS__BREAKERS__LONGEST_PAUSE", "5s")
        .with("OMS__BREAKERS__RESUME_PER_SECOND", "10");
    let migrated = place.run(&["migrate"]).await;
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let (worker, other, relay, second) = tokio::join!(place.worker(), place.worker(), place.relay(), place.relay());
    let (api, url) = place.api().await;
    let shop = Arc::new(Shop::at(&[url]).with_many_orders());
    shop.open().await;
    let store = Store::connect(&direct).await.unwrap();
    let database = PgPool::connect(&direct).await.unwrap();
    Stage {
        shop,
        place,
        store,
        database,
        roads,
        gateway,
        sink,
        rabbitmq: rabbitmq_url,
        redis: format!("redis://127.0.0.1:{cache}"),
        _roles: vec![worker, other, relay, second, api],
        _peers: vec![stripe, mail],
        _brokers: brokers,
        _postgres: postgres,
        _dir: dir,
    }
}

/// How many different events a queue holds. They must be in order and without gaps.
async fn events_in_rabbitmq(url: &str) -> usize {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut consumer = Consumer::default();
    while let Some(message) = channel.basic_get("all".into(), BasicGetOptions::default()).await.unwrap() {
        consumer.take(std::str::from_utf8(&message.delivery.data).unwrap());
        message.delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
    consumer.events()
}

impl Stage {
    fn order(&self, number: usize, lives: &mut JoinSet<()>) {
        let (shop, fate) = (self.shop.clone(), FATES[number % FATES.len()]);
        lives.spawn(async move {
            let id = shop.place(&format!("order-{number}"), fate).await;
            shop.live(&id, fate).await;
        });
    }

    /// Transactions in which nothing has happened for so long that somebody outside must be waited for.
    async fn idle_transactions(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE state LIKE 'idle in transaction%' AND clock_timestamp() - state_change > interval '3 seconds'";
        sqlx::query_scalar(sql).fetch_one(&self.database).await.unwrap()
    }

    /// Waits until everything is told, then compares the books of everybody.
    async fn balanced(&self, orders: usize) {
        // what a long trouble held up goes out at the rate at which parked work goes on
        until("messages and events are out", PATIENT * 2 + lasts(15) * 4, || async {
            let rows = self.store.audit_orders(None, 10_000).await.unwrap();
            let open = rows.iter().any(|o| o.messages_open_since.is_some() || o.outbox_unpublished_since.is_some());
            (!open).then_some(())
        })
        .await;
        assert_eq!(self.store.audit_orders(None, 10_000).await.unwrap().len(), orders, "every order once");
        self.one_payment_each().await;
        self.place.audit().await;
        let (rabbitmq, redis) = (events_in_rabbitmq(&self.rabbitmq).await, self.events_in_redis().await);
        assert!(rabbitmq >= orders * 2 && rabbitmq == redis, "{rabbitmq} events in RabbitMQ, {redis} in Redis");
        let rows = self.store.audit_orders(None, 10_000).await.unwrap();
        let mut sent = 0;
        for order in &rows {
            let messages = self.store.messages_of(&order.id).await.unwrap();
            let mails = messages.iter().filter(|m| m.channel == oms_domain::message::Channel::Mail);
            sent += mails.filter(|m| m.state == oms_store::MessageState::Sent).count();
        }
        assert_eq!(self.sink.ids().len(), sent, "a mail for every message that is said to be sent");
    }

    /// All payments, as the gateway itself tells them.
    async fn intents(&self) -> Vec<Value> {
        let (web, mut all) = (reqwest::Client::new(), Vec::<Value>::new());
        loop {
            let mut request = web.get(format!("{}/v1/payment_intents", self.gateway)).bearer_auth(KEY).query(&[("limit", "100")]);
            if let Some(last) = all.last() {
                request = request.query(&[("starting_after", last["id"].as_str().unwrap())]);
            }
            let page: Value = serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap();
            all.extend(page["data"].as_array().unwrap().clone());
            if page["has_more"] != true {
                return all;
            }
        }
    }

    /// The gateway's own books: a payment per parcel at most, and what it took is what our rows say.
    async fn one_payment_each(&self) {
        let mut taken: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for intent in self.intents().await {
            let order = intent["metadata"]["oms_order"].as_str().unwrap().to_owned();
            taken.entry(order).or_default().push(intent["amount_received"].as_i64().unwrap_or_else(|| kept(&intent)));
        }
        for order in self.store.audit_orders(None, 10_000).await.unwrap() {
            let at_the_gateway = taken.remove(order.id.as_str()).unwrap_or_default();
            let row = self.store.order(&order.id).await.unwrap().unwrap();
            let ours = row.life.payment.captured.minor - row.life.payment.refunded.minor;
            assert_eq!(at_the_gateway.iter().sum::<i64>(), ours, "{}: {at_the_gateway:?}", order.id);
            let holds = row.life.shipments.len().max(1);
            assert!(at_the_gateway.len() <= holds, "{}: a hold too many: {at_the_gateway:?}", order.id);
        }
        assert!(taken.is_empty(), "payments of nobody: {taken:?}");
    }

    async fn events_in_redis(&self) -> usize {
        let mut redis = redis::Client::open(self.redis.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let entries: Vec<(String, Vec<String>)> =
            redis::cmd("XRANGE").arg("oms:events").arg("-").arg("+").query_async(&mut redis).await.unwrap();
        let mut consumer = Consumer::default();
        for (_, fields) in &entries {
            let at = fields.iter().position(|field| field == "event").unwrap();
            consumer.take(&fields[at + 1]);
        }
        consumer.events()
    }
}

/// What a server took that does not say so: it counts what a partial capture released as returned.
fn kept(intent: &Value) -> i64 {
    let kept = |charge: &Value| charge["amount"].as_i64().unwrap() - charge["amount_refunded"].as_i64().unwrap();
    intent["charges"]["data"].as_array().unwrap().iter().filter(|charge| charge["captured"] == true).map(kept).sum()
}

async fn ended(lives: &mut JoinSet<()>) {
    while let Some(life) = lives.join_next().await {
        life.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres, rabbitmq-server, redis-server, localstripe, aiosmtpd"]
async fn a_hundred_orders_on_real_parties_balance() {
    let stage = stage(localstripe).await;
    let mut lives = JoinSet::new();
    for number in 0..100 {
        stage.order(number, &mut lives);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ended(&mut lives).await;
    stage.balanced(100).await;
}

/// How long each trouble lasts, unless the environment says so, in seconds.
fn lasts(otherwise: u64) -> Duration {
    Duration::from_secs(std::env::var("OMS_OUTAGE_SECONDS").map_or(otherwise, |text| text.parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres, rabbitmq-server, redis-server, aiosmtpd"]
async fn no_trouble_of_a_party_costs_an_order() {
    let lasts = lasts(15);
    let stage = stage(twin).await;
    let roads = &stage.roads;
    let slow = Traffic::Slow(Duration::from_secs(5));
    let troubles: [&[(&Road, Traffic)]; 8] = [
        &[(&roads.gateway, Traffic::Cut), (&roads.rabbitmq, Traffic::Cut)],
        &[(&roads.gateway, Traffic::AnswersLost), (&roads.redis, Traffic::Cut)],
        &[(&roads.gateway, Traffic::Errors), (&roads.mail, Traffic::Cut)],
        &[(&roads.gateway, slow), (&roads.mail, slow), (&roads.rabbitmq, slow), (&roads.redis, slow)],
        &[(&roads.database, Traffic::Cut)],
        &[(&roads.engine, Traffic::Cut)],
        &[(&roads.database, Traffic::SomeAnswersLost)],
        &[(&roads.engine, Traffic::SomeAnswersLost)],
    ];
    let (mut lives, mut number) = (JoinSet::new(), 0);
    let mut opened = 0;
    for trouble in troubles {
        for (road, traffic) in trouble {
            road.let_be(*traffic);
        }
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            stage.order(number, &mut lives);
            number += 1;
            tokio::time::sleep(Duration::from_millis(333)).await;
            // what a cut connection was about, the server ends by itself later
            if !trouble.iter().any(|(road, _)| road.port == roads.database.port) {
                assert_eq!(stage.idle_transactions().await, 0, "no row is locked while a party is asked");
            }
        }
        let circuit = stage.store.circuit(Party::Payment, now()).await.unwrap();
        opened += usize::from(circuit.state == CircuitState::Open);
        for (road, _) in trouble {
            road.let_be(Traffic::Flows);
        }
        let lifted = Instant::now();
        ended(&mut lives).await;
        eprintln!("{number} orders so far, the last of them {:.1} s after the trouble", lifted.elapsed().as_secs_f64());
    }
    assert!(opened >= 2, "a gateway that is away or only answers errors is left alone");
    assert_eq!(stage.store.circuit(Party::Payment, now()).await.unwrap().state, CircuitState::Closed);
    stage.balanced(number).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server"]
async fn a_broker_that_is_killed_again_and_again_gets_every_event_in_its_order() {
    crate::support::tls();
    let outbox = Outbox::new().await;
    let folder = outbox.dir.path().join("rabbitmq");
    std::fs::create_dir(&folder).unwrap();
    let port = free_port();
    let (mut broker, url) = (rabbitmq(folder, port), format!("amqp://127.0.0.1:{port}/%2f"));
    bind(&url).await;
    let database = Outbox::url(outbox.dir.path());
    let place = Place::new(outbox.dir.path(), "127.0.0.1:9", "oms", &database).with("AMQP_URL", &url);
    let _relays = tokio::join!(place.relay(), place.relay());
    let (end, mut seq, mut kills) = (Instant::now() + lasts(24), 0, 0);
    while Instant::now() < end {
        for _ in 0..rand::random_range(2..12) {
            seq += 1;
            outbox.happen(seq, 0..20).await;
            tokio::time::sleep(Duration::from_millis(rand::random_range(20..200))).await;
        }
        broker.kill();
        kills += 1;
        seq += 1;
        outbox.happen(seq, 0..20).await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..1_500))).await;
        broker.restart();
        until("RabbitMQ is back", PATIENT, || listens(port)).await;
    }
    until("everything is published", PATIENT * 2, || async {
        outbox.store.unpublished(1).await.unwrap().is_empty().then_some(())
    })
    .await;
    assert_eq!(events_in_rabbitmq(&url).await as u64, seq * 20, "after {kills} kills");
}
