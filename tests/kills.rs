//! The whole business under fire: workers killed twenty times, the order engine once, and every order ends as it should.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use oms_domain::order::Status;
use oms_store::Store;

use crate::support::database::database;
use crate::support::engine::{free_port, tools};
use crate::support::roles::{Place, Process};
use crate::support::shop::{Fate, Shop};
use crate::support::until;
use crate::support::world::PATIENT;

const KILLS: usize = 20;
const ORDERS: usize = 100;
/// Orders between placed and confirmed at each kill, at least.
const IN_FLIGHT: usize = 5;

/// A dev server of this test's own: on a file, so that a killed one comes back with everything it had promised.
fn engine(dir: &Path, port: u16) -> Process {
    let cli = oms_temporal::cli::find(&oms_temporal::cli::TEMPORAL_CLI, &tools(), &|line| eprintln!("{line}")).unwrap();
    let mut command = Command::new(cli.path);
    command.args(["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "error"]);
    command.args(["--port", &port.to_string(), "--ui-port", &free_port().to_string()]);
    command.arg("--db-filename").arg(dir.join("temporal.db"));
    command.args(["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=FULL"]);
    Process::spawn(command, dir.join("temporal.log"))
}

/// Orders that hold stock and are not confirmed: truly in the middle.
async fn in_flight(store: &Store) -> usize {
    let orders = store.audit_orders(None, 10_000).await.unwrap();
    orders.iter().filter(|o| o.status == Status::Placed && o.held_units > 0).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_orders_survive_twenty_killed_workers_and_a_killed_engine() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let database = database(dir.path()).await;
    let place = Place::new(dir.path(), &format!("127.0.0.1:{port}"), "oms", &database)
        .with("OMS__RETRY__SQL_ATTEMPT", "3s")
        .with("OMS__RETRY__GATEWAY_ATTEMPT", "5s");
    let migrated = place.run(&["migrate"]).await;
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let store = Store::connect(&database).await.unwrap();

    let mut server = engine(dir.path(), port);
    let mut worker = place.worker().await;
    let (_api, url) = place.api().await;
    let _relay = place.relay().await;
    let shop = Arc::new(Shop::at(&[url]));
    shop.open().await;
    // every authorization takes three seconds, so that there is always somebody in the middle
    shop.fault("payment", "slow", "authorize").await;

    let mut lives = tokio::task::JoinSet::new();
    let mut killed = BTreeSet::new();
    let mut number = 0;
    let mut place_orders = |count: usize, lives: &mut tokio::task::JoinSet<()>| {
        for _ in 0..count.min(ORDERS - number) {
            let (shop, key, fate) = (shop.clone(), format!("order-{number}"), Fate::ALL[number % Fate::ALL.len()]);
            number += 1;
            lives.spawn(async move {
                let id = shop.place(&key, fate).await;
                shop.live(&id, fate).await;
            });
        }
    };
    // a start: of eight fates one is sold out, one declined, and one cancelled at once
    place_orders(IN_FLIGHT, &mut lives);
    for kill in 0..KILLS {
        place_orders(if kill == KILLS - 1 { ORDERS } else { (ORDERS - IN_FLIGHT) / KILLS }, &mut lives);
        until(&format!("{IN_FLIGHT} orders are in flight before kill {kill}"), PATIENT, || async {
            (in_flight(&store).await >= IN_FLIGHT).then_some(())
        })
        .await;
        assert!(killed.insert(worker.pid()), "a pid that was killed before");
        worker.kill();
        assert!(in_flight(&store).await >= IN_FLIGHT, "kill {kill} met too few orders");
        if kill == KILLS / 2 {
            server.kill();
            server = engine(dir.path(), port);
        }
        worker = place.worker().await;
    }
    assert_eq!(killed.len(), KILLS);
    shop.fault("payment", "none", "authorize").await;
    while let Some(ended) = lives.join_next().await {
        ended.unwrap();
    }
    assert_eq!(store.audit_orders(None, 10_000).await.unwrap().len(), ORDERS, "every order once");
    settled(&store).await;
    place.audit().await;
    drop((worker, server));
}

/// Waits until every message is sent or dropped and every event published, or the audit's own grace decides.
async fn settled(store: &Store) {
    until("messages and events are out", Duration::from_secs(50), || async {
        let orders = store.audit_orders(None, 10_000).await.unwrap();
        let open = orders.iter().any(|o| o.messages_open_since.is_some() || o.outbox_unpublished_since.is_some());
        (!open).then_some(())
    })
    .await;
}
