//! One suite for both databases: every case is written once and runs on SQLite always, on Postgres with `--ignored`.
//!
//! `cargo test -p oms-store -- --include-ignored` runs all of it; the Postgres half starts its own server and stops it again.
#![allow(clippy::unwrap_used)]

mod world;

mod postgres;

/// Makes of each case a test on SQLite and a test on Postgres.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::world::World::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs postgres"]
            async fn $case() {
                super::$case(crate::world::World::postgres().await).await;
            })*
        }
    };
}

mod backorders;
mod changes;
mod circuits;
mod imports;
mod inbound;
mod intake;
mod lanes;
mod ledgers;
mod messages;
mod operations;
mod orders;
mod places;
mod plans;
mod reconciliation;
mod record;
mod refunds;
mod reservations;
mod returns;
mod review_items;
mod schema;
mod stock;
mod webhooks;
