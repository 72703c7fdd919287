//! Events out: relays that are killed, and webhooks that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use oms_domain::event::published_kinds;
use oms_gateways::events::{EventSink, JournalSink};
use oms_gateways::webhook::signature;
use oms_store::{DeliveryState, ItemFilter, NewWebhook, Store, WebhookSecret, WebhookState};
use oms_workers::{WebhookPolicy, relay};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio_util::sync::CancellationToken;

use crate::support::roles::Place;
use crate::support::world::now;
use crate::support::{tls, until};

const PATIENT: Duration = Duration::from_secs(30);
const ORDERS: u64 = 6;

/// A database and whatever happens in it.
pub struct Outbox {
    pub dir: tempfile::TempDir,
    pub store: Store,
}

impl Outbox {
    pub async fn new() -> Self {
        tls();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&Self::url(dir.path())).await.unwrap();
        store.migrate().await.unwrap();
        Self { dir, store }
    }

    pub fn url(dir: &Path) -> String {
        format!("sqlite:{}", dir.join("oms.db").display())
    }

    /// The next events, one each of some orders, in one transaction.
    pub async fn happen(&self, seq: u64, orders: impl IntoIterator<Item = u64>) {
        let options: sqlx::sqlite::SqliteConnectOptions = Self::url(self.dir.path()).parse().unwrap();
        let mut sql = options.busy_timeout(Duration::from_secs(20)).connect().await.unwrap();
        for order in orders {
            let id = order_id(order);
            let body = json!({"id": format!("{id}/{seq}"), "type": "hold.placed", "order_id": id, "seq": seq, "at": now(),
                "actor": "system", "reason": null, "shipment_id": null, "amount": null});
            let insert = sqlx::query(
                "INSERT INTO outbox (order_id, seq, event_id, kind, body, created_at) VALUES (?, ?, ?, 'hold.placed', ?, ?)",
            );
            let insert = insert.bind(&id).bind(i64::try_from(seq).unwrap()).bind(format!("{id}/{seq}"));
            sql.execute(insert.bind(body.to_string()).bind(now())).await.unwrap();
        }
        sql.close().await.unwrap();
    }

    async fn hook(&self, url: &str) -> WebhookSecret {
        let secret = WebhookSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let new = NewWebhook {
            id: "hook-0001".to_owned(),
            url: url.to_owned(),
            description: None,
            kinds: Vec::new(),
            secret: secret.clone(),
        };
        self.store.create_webhook(&new, 9, now()).await.unwrap().unwrap();
        secret
    }

    /// A relay without sinks; it ends with the token.
    fn relay(&self, policy: WebhookPolicy, ahead: Duration) -> CancellationToken {
        let stop = CancellationToken::new();
        tokio::spawn(relay::run(parts(self.store.clone(), policy, ahead), stop.clone()));
        stop
    }

    async fn all_delivered(&self, events: usize) {
        until("every event is delivered", PATIENT, || async {
            let rows = self.store.deliveries("hook-0001", None, None, 999).await.unwrap();
            (rows.len() == events && rows.iter().all(|row| row.state == DeliveryState::Delivered)).then_some(())
        })
        .await;
    }
}

fn parts(store: Store, webhooks: WebhookPolicy, ahead: Duration) -> relay::Relay {
    let clock = Arc::new(move || now() + ahead);
    relay::Relay { store, sinks: Vec::new(), webhooks, source: "urn:test".to_owned(), clock }
}

fn order_id(order: u64) -> String {
    format!("order-{order:04}")
}

fn quick() -> WebhookPolicy {
    WebhookPolicy {
        first: Duration::from_millis(50),
        most: Duration::from_millis(200),
        timeout: Duration::from_secs(2),
        allow_private: true,
        ..WebhookPolicy::default()
    }
}

/// One request, as the receiver saw it.
#[derive(Debug, Clone)]
struct Heard {
    id: String,
    subject: String,
    seq: u64,
    at: i64,
    signatures: Vec<String>,
    body: String,
    status: u16,
}

/// What a receiver answers to the n-th request: a status, or nothing at all (0).
type Verdict = Box<dyn Fn(&Heard) -> u16 + Send + Sync>;

/// Somebody's endpoint.
#[derive(Clone)]
struct Receiver {
    url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    verdict: Arc<Mutex<Verdict>>,
}

impl Receiver {
    async fn new(verdict: impl Fn(&Heard) -> u16 + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            heard: Arc::default(),
            verdict: Arc::new(Mutex::new(Box::new(verdict))),
        };
        let own = receiver.clone();
        let answer = move |headers: HeaderMap, body: Bytes| {
            let receiver = own.clone();
            async move { receiver.answer(&headers, &body).await }
        };
        let router = axum::Router::new().route("/hook", axum::routing::post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    async fn answer(&self, headers: &HeaderMap, body: &Bytes) -> StatusCode {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with("application/cloudevents+json"));
        let body = String::from_utf8(body.to_vec()).unwrap();
        let event: Value = serde_json::from_str(&body).unwrap();
        let mut heard = Heard {
            id: header("webhook-id"),
            subject: event["subject"].as_str().unwrap().to_owned(),
            seq: event["sequence"].as_str().unwrap().parse().unwrap(),
            at: header("webhook-timestamp").parse().unwrap(),
            signatures: header("webhook-signature").split(' ').map(str::to_owned).collect(),
            body,
            status: 0,
        };
        assert_eq!(event["id"], heard.id.as_str());
        heard.status = (self.verdict.lock().unwrap())(&heard);
        self.heard.lock().unwrap().push(heard.clone());
        match heard.status {
            0 => std::future::pending().await,
            status => StatusCode::from_u16(status).unwrap(),
        }
    }

    fn decide(&self, verdict: impl Fn(&Heard) -> u16 + Send + Sync + 'static) {
        *self.verdict.lock().unwrap() = Box::new(verdict);
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Every order was told from 1 on, each event taken once before the next was tried.
    fn in_order(&self, events: u64) {
        let mut taken: BTreeMap<String, u64> = BTreeMap::new();
        for heard in self.heard() {
            let last = taken.entry(heard.subject.clone()).or_default();
            assert_eq!(heard.seq, *last + 1, "{heard:?}");
            if heard.status == 200 {
                *last = heard.seq;
            }
        }
        assert!(taken.len() as u64 == ORDERS && taken.values().all(|last| *last == events), "{taken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_hears_each_order_in_its_order_and_can_check_who_speaks() {
    let outbox = Outbox::new().await;
    let tries = AtomicU64::new(0);
    // the second event of one order is refused three times
    let receiver = Receiver::new(move |heard| {
        let stubborn = heard.subject == order_id(0) && heard.seq == 2;
        if stubborn && tries.fetch_add(1, Ordering::Relaxed) < 3 { 500 } else { 200 }
    })
    .await;
    let secret = outbox.hook(&receiver.url).await;
    for seq in 1..=4 {
        outbox.happen(seq, 0..ORDERS).await;
    }
    let stop = outbox.relay(quick(), Duration::ZERO);
    outbox.all_delivered(4 * ORDERS as usize).await;
    stop.cancel();
    receiver.in_order(4);
    let heard = receiver.heard();
    assert_eq!(heard.len() as u64, 4 * ORDERS + 3, "nothing came twice but what was refused");
    for row in outbox.store.events_after(0, 99).await.unwrap() {
        let first = heard.iter().find(|heard| heard.id == row.event_id).unwrap();
        assert_eq!(first.body, row.document("urn:test"), "the same bytes as everywhere");
        assert_eq!(first.signatures.join(" "), signature(&[&secret.0], &first.id, first.at, &first.body).unwrap());
    }
    let others_last = heard.iter().rposition(|heard| heard.subject != order_id(0)).unwrap();
    let stubborn_last = heard.iter().rposition(|heard| heard.subject == order_id(0)).unwrap();
    assert!(others_last < stubborn_last, "the other orders did not wait");
}

/// SQLite has one writer: a relay must not be in its way when it has nothing to say, and only briefly when it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_relay_writes_nothing_and_a_busy_one_little() {
    let outbox = Outbox::new().await;
    outbox.happen(1, 0..40).await;
    let looks = Arc::new(AtomicU64::new(0));
    let counted = looks.clone();
    let clock = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        now()
    });
    let sinks: Vec<Arc<dyn EventSink>> = vec![Arc::new(JournalSink::in_directory(outbox.dir.path()))];
    let relay = relay::Relay { sinks, clock, ..parts(outbox.store.clone(), quick(), Duration::ZERO) };
    let stop = CancellationToken::new();
    tokio::spawn(relay::run(relay, stop.clone()));
    let published = || async { outbox.store.unpublished(1).await.unwrap().is_empty().then_some(()) };
    until("everything is published", PATIENT, published).await;
    // lanes opened, places given, lanes leased, lanes moved
    assert_eq!(outbox.store.transactions(), 4, "forty events in sixteen lanes");
    let receiver = Receiver::new(|_| 200).await;
    outbox.hook(&receiver.url).await;
    outbox.happen(2, 0..40).await;
    outbox.all_delivered(40).await;
    until("everything is published", PATIENT, published).await;
    let (written, looked) = (outbox.store.transactions(), looks.load(Ordering::Relaxed));
    until("it has looked a few times", PATIENT, || async { (looks.load(Ordering::Relaxed) > looked + 24).then_some(()) }).await;
    assert_eq!(outbox.store.transactions() - written, 0);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_relay_had_begun_another_finishes() {
    let outbox = Outbox::new().await;
    let receiver = Receiver::new(|_| 0).await;
    outbox.hook(&receiver.url).await;
    outbox.happen(1, 0..ORDERS).await;
    outbox.happen(2, 0..ORDERS).await;
    // a runtime of its own, which dies with everything that is on its way
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let patient = WebhookPolicy { timeout: Duration::from_secs(600), ..quick() };
    let url = Outbox::url(outbox.dir.path());
    dying.spawn(async move {
        let store = Store::connect(&url).await.unwrap();
        relay::run(parts(store, patient, Duration::ZERO), CancellationToken::new()).await;
    });
    until("requests hang", PATIENT, || async { (receiver.heard().len() as u64 == ORDERS).then_some(()) }).await;
    dying.shutdown_background();
    receiver.decide(|_| 200);
    receiver.heard.lock().unwrap().clear();
    let soon = outbox.relay(quick(), Duration::ZERO);
    // its clock is behind the end of the dead one's claims
    outbox.happen(1, [ORDERS]).await;
    until("the new order is told", PATIENT, || async { (!receiver.heard().is_empty()).then_some(()) }).await;
    assert!(receiver.heard().iter().all(|heard| heard.subject == order_id(ORDERS)), "a claim is respected while it lasts");
    soon.cancel();
    receiver.heard.lock().unwrap().clear();
    let late = outbox.relay(quick(), Duration::from_secs(3_600));
    outbox.all_delivered(2 * ORDERS as usize + 1).await;
    late.cancel();
    receiver.in_order(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_for_too_long_is_disabled_and_goes_on_where_it_stopped() {
    let outbox = Outbox::new().await;
    let receiver = Receiver::new(|_| 503).await;
    let old = outbox.hook(&receiver.url).await;
    for seq in 1..=3 {
        outbox.happen(seq, 0..ORDERS).await;
    }
    let stop = outbox.relay(WebhookPolicy { give_up_after: Duration::from_millis(400), ..quick() }, Duration::ZERO);
    let hook = || async { outbox.store.webhook("hook-0001").await.unwrap().unwrap() };
    until("it is disabled", PATIENT, || async { (hook().await.state == WebhookState::Disabled).then_some(()) }).await;
    let items = outbox.store.review_items(&ItemFilter::default(), None, 9).await.unwrap();
    assert_eq!((items.len(), items[0].kind.as_str(), items[0].subject.as_str()), (1, "webhook_disabled", "hook-0001"));
    assert!(receiver.heard().iter().all(|heard| heard.seq == 1), "nothing overtook what failed");
    // the owner mends it, takes a new secret, and has it enabled
    let new = WebhookSecret("whsec_c2VjcmV0IG51bWJlciB0d28h".to_owned());
    outbox.store.rotate_webhook("hook-0001", "rotation", &new, now() + Duration::from_secs(60)).await.unwrap();
    receiver.decide(|_| 200);
    assert!(outbox.store.enable_webhook("hook-0001", now()).await.unwrap());
    outbox.all_delivered(3 * ORDERS as usize).await;
    receiver.in_order(3);
    let last = receiver.heard().pop().unwrap();
    assert_eq!(last.signatures.join(" "), signature(&[&new.0, &old.0], &last.id, last.at, &last.body).unwrap(), "both sign");
    // and everything once more, from a place on
    let before = receiver.heard().len();
    outbox.store.replay_webhook("hook-0001", ORDERS + 1).await.unwrap();
    until("the replay is through", PATIENT, || async { (receiver.heard().len() == before + 2 * ORDERS as usize).then_some(()) })
        .await;
    assert!(receiver.heard()[before..].iter().all(|heard| heard.seq > 1));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_is_asked_by_one_event_now_and_then() {
    let outbox = Outbox::new().await;
    let receiver = Receiver::new(|_| 503).await;
    outbox.hook(&receiver.url).await;
    outbox.happen(1, 0..60).await;
    let policy = WebhookPolicy { first: Duration::from_millis(200), most: Duration::from_millis(400), ..quick() };
    let stop = outbox.relay(policy, Duration::ZERO);
    until("it was asked", PATIENT, || async { (!receiver.heard().is_empty()).then_some(()) }).await;
    let began = std::time::Instant::now();
    // eight at once find out that it is down, then one at a time
    until("it was asked again", PATIENT, || async { (receiver.heard().len() >= 13).then_some(()) }).await;
    assert!(began.elapsed() > Duration::from_millis(1_400), "{:?}", began.elapsed());
    let resting = outbox.store.webhook("hook-0001").await.unwrap().unwrap();
    assert!(resting.failing_since.is_some() && resting.state == WebhookState::Enabled, "{resting:?}");
    receiver.decide(|_| 200);
    outbox.all_delivered(60).await;
    stop.cancel();
}

/// While a webhook rests each try is another event's, and none of them may be tried twice before patience is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_nothing_is_given_up_though_no_event_was_tried_for_long() {
    let outbox = Outbox::new().await;
    let receiver = Receiver::new(|_| 503).await;
    outbox.hook(&receiver.url).await;
    outbox.happen(1, 0..300).await;
    let policy = WebhookPolicy { give_up_after: Duration::from_millis(1_500), ..quick() };
    let stop = outbox.relay(policy, Duration::ZERO);
    let why =
        until("it is disabled", PATIENT, || async { outbox.store.webhook("hook-0001").await.unwrap().and_then(|hook| hook.why) })
            .await;
    assert!(why.starts_with("nothing could be delivered since "), "{why}");
    let heard = receiver.heard();
    assert!(heard.len() < 300, "it was left alone: {}", heard.len());
    assert!(heard.iter().all(|one| heard.iter().filter(|other| other.id == one.id).count() == 1), "each try was another event's");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_inside_is_reached_by_a_webhook() {
    let outbox = Outbox::new().await;
    let receiver = Receiver::new(|_| 200).await;
    outbox.hook(&receiver.url).await;
    outbox.happen(1, [1]).await;
    let stop = outbox.relay(WebhookPolicy { allow_private: false, ..quick() }, Duration::ZERO);
    let error = until("it was tried", PATIENT, || async {
        let row = outbox.store.deliveries("hook-0001", None, None, 9).await.unwrap().pop();
        row.and_then(|row| row.error)
    })
    .await;
    assert_eq!(error, "its address is not public");
    assert!(receiver.heard().is_empty());
    stop.cancel();
}

/// What a careful consumer knows: drops what it has seen, and complains about a gap or a step back.
#[derive(Default)]
pub struct Consumer {
    seen: BTreeSet<String>,
    last: BTreeMap<String, u64>,
    /// How many events came more than once.
    pub repeated: usize,
}

impl Consumer {
    /// Takes an event.
    pub fn take(&mut self, document: &str) {
        let event: Value = serde_json::from_str(document).unwrap();
        let (id, subject) = (event["id"].as_str().unwrap(), event["subject"].as_str().unwrap());
        let seq: u64 = event["sequence"].as_str().unwrap().parse().unwrap();
        if !self.seen.insert(id.to_owned()) {
            self.repeated += 1;
            return;
        }
        let last = self.last.entry(subject.to_owned()).or_default();
        assert_eq!(seq, *last + 1, "{subject}: {seq} came after {last}");
        *last = seq;
    }

    /// How many different events it has.
    pub fn events(&self) -> usize {
        self.seen.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_that_are_killed_again_and_again_lose_and_reorder_nothing() {
    const ROUNDS: u64 = 12;
    let outbox = Outbox::new().await;
    let place = Place::new(outbox.dir.path(), "127.0.0.1:9", "oms", &Outbox::url(outbox.dir.path()));
    let mut relays = vec![place.relay().await, place.relay().await];
    let mut killed = 0;
    for seq in 1..=ROUNDS {
        outbox.happen(seq, 0..40).await;
        if seq % 3 == 0 {
            let victim = rand::random_range(0..relays.len());
            relays.remove(victim).kill();
            killed += 1;
            relays.push(place.relay().await);
        }
    }
    assert_eq!(killed, 4);
    // what a dead relay was at is free after its lease
    until("everything is published", Duration::from_secs(60), || async {
        outbox.store.unpublished(1).await.unwrap().is_empty().then_some(())
    })
    .await;
    let mut consumer = Consumer::default();
    // a line that a kill cut short is no event
    let journal = std::fs::read_to_string(outbox.dir.path().join("events.ndjson")).unwrap();
    for line in journal.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()) {
        consumer.take(line);
    }
    assert_eq!(consumer.events() as u64, ROUNDS * 40);
    assert!(published_kinds().any(|kind| kind == "hold.placed"));
}
