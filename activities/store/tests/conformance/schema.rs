//! Connecting and migrating.

use crate::world::{World, at, wish};
use std::time::Duration;

use oms_store::{Bounds, Migrated, Store, StoreError};

/// The number of the newest migration.
fn newest() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
    let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    names.map(|name| name[..4].parse().unwrap()).max().unwrap()
}

async fn from_empty(world: World) {
    let store = &world.store;
    store.ping().await.unwrap();
    assert_eq!(store.check_schema().await, Err(StoreError::OldSchema { found: 0, known: newest() }));
    assert_eq!(store.migrate().await, Ok(Migrated { from: None, to: newest() }));
    assert_eq!(store.migrate().await, Ok(Migrated { from: Some(newest()), to: newest() }));
    store.check_schema().await.unwrap();
    world
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (999, 'from the future', TRUE, '', 0)",
        )
        .await;
    let newer = StoreError::NewerSchema { found: 999, known: newest() };
    assert_eq!(store.check_schema().await, Err(newer.clone()));
    assert_eq!(store.migrate().await, Err(newer));
    store.close().await;
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable { .. })));
}

async fn many_starters(world: World) {
    let url = world.url.clone();
    let answers = crate::world::race(8, |_| {
        let url = url.clone();
        async move { Store::connect(&url).await?.migrate().await.map(|m| m.to) }
    })
    .await;
    assert!(answers.iter().all(|a| *a == Ok(newest())), "{answers:?}");
    // and other processes, whose locks are not ours
    let url = &crate::world::World::sibling(&world).await;
    let children: Vec<_> = (0..4)
        .map(|_| {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "schema::migrates_what_it_is_told"])
                .env(TOLD, url)
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
    Store::connect(url).await.unwrap().check_schema().await.unwrap();
}

const TOLD: &str = "OMS_TEST_MIGRATE_URL";

/// The other process of [`many_starters`]; alone it has nothing to do.
#[tokio::test]
async fn migrates_what_it_is_told() {
    if let Ok(url) = std::env::var(TOLD) {
        assert_eq!(Store::connect(&url).await.unwrap().migrate().await.unwrap().to, newest());
    }
}

#[tokio::test]
async fn urls_that_name_no_database() {
    for url in ["mysql://x", "oms.db", "sqlite::memory:", "sqlite:/no/such/directory/oms.db"] {
        assert!(matches!(Store::connect(url).await, Err(StoreError::BadUrl { .. })), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_from_empty() {
    from_empty(World::empty_sqlite().await).await;
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_many_starters() {
    many_starters(World::empty_sqlite().await).await;
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn postgres_from_empty() {
    from_empty(World::empty_postgres().await).await;
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn postgres_many_starters() {
    many_starters(World::empty_postgres().await).await;
}

/// While a table is in use, a migration does not stand in the queue for it for long, because everybody else stands behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn a_migration_steps_back_from_a_table_in_use() {
    let world = World::postgres().await;
    world.sql("DROP TABLE gone_orders").await;
    world.sql("ALTER TABLE orders DROP COLUMN terms").await;
    world.sql("ALTER TABLE refunds DROP COLUMN looked_at").await;
    world.sql("ALTER TABLE returns DROP COLUMN looked_at").await;
    world.sql("DELETE FROM _sqlx_migrations WHERE version = 13").await;
    let mut user = crate::postgres::Session::begin(&world.url).await;
    user.run("LOCK TABLE orders IN ACCESS SHARE MODE").await;
    let store = world.store.clone();
    let migration = tokio::spawn(async move { store.migrate().await });
    user.until_table_wanted(true).await;
    user.until_table_wanted(false).await;
    user.commit().await;
    assert_eq!(migration.await.unwrap().unwrap().to, newest());
    world.store.check_schema().await.unwrap();
}

/// Somebody has set the server to another isolation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn verbs_read_what_was_committed_however_the_server_is_set() {
    let world = World::postgres().await;
    world
        .sql(
            "DO $$ BEGIN
                 EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = %L', current_database(), 'serializable');
             END $$",
        )
        .await;
    world.stocked("a", "berlin", 1_000).await;
    let store = Store::connect(&world.url).await.unwrap();
    let counted = crate::world::race(16, |n| {
        let store = store.clone();
        async move { store.reserve(&wish(&format!("o-{n}"), 1, &[("a", 2)]), at(1)).await.map(|_| ()) }
    })
    .await;
    assert!(counted.iter().all(Result::is_ok), "{counted:?}");
    world.balanced(1).await;
}

/// No verb waits for ever, and no process takes more connections than it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn a_process_keeps_to_its_bounds() {
    let world = World::postgres().await;
    world.stocked("a", "berlin", 1_000).await;
    let few = Bounds { connections: 2, ..Bounds::default() };
    let store = Store::connect_with(&format!("{}?application_name=few", world.url), &few).await.unwrap();
    let reserved = crate::world::race(16, |n| {
        let store = store.clone();
        async move { store.reserve(&wish(&format!("o-{n}"), 1, &[("a", 1)]), at(1)).await.map(|_| ()) }
    })
    .await;
    assert!(reserved.iter().all(Result::is_ok), "they take turns: {reserved:?}");
    let mut other = crate::postgres::Session::begin(&world.url).await;
    assert!(other.sessions("few").await <= 2);

    other.run("SELECT * FROM products WHERE sku = 'a' FOR UPDATE").await;
    let short = Duration::from_millis(200);
    for (bounds, why) in [
        (Bounds { lock: short, ..Bounds::default() }, "lock timeout"),
        (Bounds { statement: short, ..Bounds::default() }, "statement timeout"),
    ] {
        let store = Store::connect_with(&world.url, &bounds).await.unwrap();
        let refused = store.reserve(&wish("late", 1, &[("a", 1)]), at(1)).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Unavailable { detail } if detail.contains(why)), "{why}: {refused:?}");
    }
    other.commit().await;
    assert!(store.reserve(&wish("late", 1, &[("a", 1)]), at(1)).await.is_ok());
    world.balanced(1).await;
}
