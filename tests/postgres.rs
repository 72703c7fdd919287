//! The production shape: two APIs and two workers, each a process, on one Postgres. Run with `cargo test -- --ignored`.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use oms_store::Store;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::database::ON_POSTGRES;
use crate::support::postgres::Postgres;
use crate::support::roles::{Place, Process};
use crate::support::shop::{Fate, Shop};
use crate::support::world::{PATIENT, now, uuid};
use crate::support::{engine, until};

/// Everything that runs, in the order in which it ends.
struct Stage {
    shop: Arc<Shop>,
    apis: Vec<String>,
    store: Store,
    place: Place,
    _roles: Vec<Process>,
    postgres: Postgres,
    _dir: tempfile::TempDir,
}

async fn stage() -> Stage {
    let postgres = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    let (dir, database, namespace) = (tempfile::tempdir().unwrap(), postgres.database().await, format!("test-{}", uuid()));
    engine::namespace(&namespace).await;
    let place = Place::new(dir.path(), engine::address(), &namespace, &database);
    let migrated = place.run(&["migrate"]).await;
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let (first, second, relay) = tokio::join!(place.worker(), place.worker(), place.relay());
    let ((one, one_url), (two, two_url)) = tokio::join!(place.api(), place.api());
    let apis = vec![one_url, two_url];
    let shop = Arc::new(Shop::at(&apis));
    shop.open().await;
    let store = Store::connect(&database).await.unwrap();
    Stage { shop, apis, store, place, _roles: vec![first, second, relay, one, two], postgres, _dir: dir }
}

impl Stage {
    /// Places orders of every fate in turn, each living its life.
    fn orders(&self, numbers: std::ops::Range<usize>, lives: &mut JoinSet<()>) {
        for number in numbers {
            let (shop, fate) = (self.shop.clone(), Fate::ALL[number % Fate::ALL.len()]);
            lives.spawn(async move {
                let id = shop.place(&format!("order-{number}"), fate).await;
                shop.live(&id, fate).await;
            });
        }
    }

    /// Waits until every message is sent or dropped and every event published, then has the books audited.
    async fn balanced(&self) {
        until("messages and events are out", PATIENT, || async {
            let orders = self.store.audit_orders(None, 10_000).await.unwrap();
            let open = orders.iter().any(|o| o.messages_open_since.is_some() || o.outbox_unpublished_since.is_some());
            (!open).then_some(())
        })
        .await;
        self.place.audit().await;
    }

    /// Waits until every API answers `/readyz` with this status.
    async fn ready(&self, status: StatusCode) {
        for api in &self.apis {
            let one = Shop::at(std::slice::from_ref(api));
            until(&format!("{api} is {status}"), PATIENT, || async {
                let answer = one.ask(Method::GET, "/readyz", None, None).await.unwrap();
                (answer.0 == status).then_some(())
            })
            .await;
        }
    }
}

async fn ended(lives: &mut JoinSet<()>) {
    while let Some(ended) = lives.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_hundred_posts_with_one_key_are_one_order() {
    let stage = stage().await;
    let body = Shop::body("pm_card_visa", json!([{"sku": "mug", "quantity": 1}]));
    let answers = join_all((0..100).map(|_| stage.shop.insist(Method::POST, "/v1/orders", Some(&body), Some("one-key")))).await;
    let id = answers[0].1["id"].as_str().unwrap().to_owned();
    for (status, order) in &answers {
        assert_eq!((*status, order["id"].as_str()), (StatusCode::CREATED, Some(id.as_str())), "{order}");
    }
    stage.shop.live(&id, Fate::Delivered).await;
    let orders = stage.store.audit_orders(None, 10).await.unwrap();
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].held_units, orders[0].committed_units, orders[0].departed_units), (0, 1, 1), "one reservation");
    let payments = stage.shop.get("/v1/sandbox/payments").await;
    assert_eq!(payments["data"].as_array().unwrap().len(), 1, "one authorization: {payments}");
    let done: Vec<_> = payments["data"][0]["operations"].as_array().unwrap().iter().map(|o| o["kind"].clone()).collect();
    assert_eq!(done, ["authorize", "capture"]);
    stage.balanced().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn sixty_four_racers_for_three_units_are_three_winners() {
    let stage = stage().await;
    stage.shop.article("rare", "berlin", 3).await;
    let body = Shop::body("pm_card_visa", json!([{"sku": "rare", "quantity": 1}]));
    let race = |number: usize| {
        let (shop, body) = (&stage.shop, &body);
        async move {
            let (status, order) = shop.insist(Method::POST, "/v1/orders", Some(body), Some(&format!("racer-{number}"))).await;
            assert_eq!(status, StatusCode::CREATED, "{order}");
            let path = format!("/v1/orders/{}", order["id"].as_str().unwrap());
            until("the racer knows", PATIENT, || async {
                let order = shop.get(&path).await;
                (order["status"] != "placed").then_some((order["status"].clone(), order["reason"].clone()))
            })
            .await
        }
    };
    let ends = join_all((0..64).map(race)).await;
    let count = |status: &str| ends.iter().filter(|end| end.0 == status).count();
    assert_eq!((count("confirmed"), count("rejected")), (3, 61), "{ends:?}");
    assert!(ends.iter().all(|(status, reason)| (status == "rejected") == (reason == "out_of_stock")), "{ends:?}");
    let rare = oms_domain::ids::Sku::parse("rare").unwrap();
    let shelf = stage.store.stock(&rare, now()).await.unwrap().unwrap();
    assert_eq!((shelf.on_hand, shelf.reserved, shelf.available), (3, 3, 0));
    stage.balanced().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn twenty_orders_of_every_fate_balance() {
    let stage = stage().await;
    let mut lives = JoinSet::new();
    stage.orders(0..20, &mut lives);
    ended(&mut lives).await;
    assert_eq!(stage.store.audit_orders(None, 100).await.unwrap().len(), 20);
    stage.balanced().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_database_that_is_down_for_twenty_seconds_loses_no_order() {
    let mut stage = stage().await;
    stage.ready(StatusCode::OK).await;
    // the first are in the middle of their lives when the database goes, the others knock while it is away
    stage.shop.fault("payment", "slow", "authorize").await;
    let mut lives = JoinSet::new();
    stage.orders(0..10, &mut lives);
    until("some are in the middle", PATIENT, || async {
        let orders = stage.store.audit_orders(None, 100).await.unwrap();
        (orders.iter().filter(|o| o.held_units > 0).count() >= 5).then_some(())
    })
    .await;
    stage.postgres.crash();
    let down = tokio::time::Instant::now();
    stage.ready(StatusCode::SERVICE_UNAVAILABLE).await;
    stage.orders(10..20, &mut lives);
    tokio::time::sleep_until(down + Duration::from_secs(20)).await;
    stage.postgres.restart();
    stage.ready(StatusCode::OK).await;
    stage.shop.fault("payment", "none", "authorize").await;
    ended(&mut lives).await;
    assert_eq!(stage.store.audit_orders(None, 100).await.unwrap().len(), 20, "every order once");
    stage.balanced().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn two_migrations_at_once_are_one() {
    let postgres = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let database = postgres.database().await;
        let place = Place::new(dir.path(), "127.0.0.1:1", "unused", &database);
        let outputs = tokio::join!(place.run(&["migrate"]), place.run(&["migrate"]));
        for output in [&outputs.0, &outputs.1] {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let again = place.run(&["migrate"]).await;
        assert!(String::from_utf8_lossy(&again.stdout).contains("up to date"), "{again:?}");
        let store = Store::connect(&database).await.unwrap();
        store.check_schema().await.unwrap();
        store.close().await;
    }
}

/// The rest of the suite on Postgres: what orders, refunds and returns go through, with their crashes and races.
#[tokio::test]
#[ignore = "needs Postgres"]
async fn the_lives_of_orders_are_the_same_on_postgres() {
    // anything more is run by hand: `OMS_TEST_POSTGRES=1 cargo test --workspace --test it`
    const PARTS: [&str; 2] = ["lives::", "backorders::"];
    let mut suite = tokio::process::Command::new(std::env::current_exe().unwrap());
    suite.args(PARTS).env(ON_POSTGRES, "1").kill_on_drop(true);
    let run = suite.output().await.unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{told}\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(told.contains("test result: ok") && !told.contains(" 0 passed"), "{told}");
}
