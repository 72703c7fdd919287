//! Postgres: one bounded pool; every wait has an end.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::store::Migrated;
use crate::{Result, StoreError};

/// Locks the rows that a statement reads in order to change them. Keys never change, so rows that refer to them may be added meanwhile.
macro_rules! for_update {
    ($rows:literal) => {
        concat!(" FOR NO KEY UPDATE OF ", $rows)
    };
}
/// Skips rows that another claimer is about to take.
macro_rules! skip_locked {
    () => {
        " FOR UPDATE SKIP LOCKED"
    };
}
/// The texts of a JSON array.
macro_rules! each {
    ($list:literal) => {
        concat!("(SELECT jsonb_array_elements_text(", $list, "))")
    };
}

#[path = "sql/mod.rs"]
pub(crate) mod sql;

pub(crate) type Db = sqlx::Postgres;
pub(crate) type Pool = PgPool;
const BEGIN: &str = "BEGIN";
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// More only lengthens the tail.
const CONNECTIONS: u32 = 16;
/// How long a verb waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How long a statement may run, wait for a lock, and a transaction may sit idle, in milliseconds. And what every verb counts on, however
/// the server is set: a statement that has waited for a lock sees what was committed meanwhile.
const LIMITS: [(&str, &str); 4] = [
    ("statement_timeout", "8000"),
    ("lock_timeout", "5000"),
    ("idle_in_transaction_session_timeout", "15000"),
    ("default_transaction_isolation", "read committed"),
];
/// How often a migration is tried that does not get a table: while it waits for one, everybody else waits behind it.
const MIGRATION_TRIES: u32 = 5;
const MIGRATION_PAUSE: Duration = Duration::from_secs(1);
/// Names our migrations among the server's advisory locks: `oms`.
const MIGRATION_LOCK: i64 = 0x006f_6d73;

/// The connections.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    pub(crate) read: Pool,
    options: PgConnectOptions,
    pub(crate) begun: Arc<AtomicU64>,
}

impl Pools {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(|e| StoreError::BadUrl { detail: e.to_string() })?;
        let read = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .connect_with(options.clone().options(LIMITS))
            .await?;
        Ok(Self { read, options, begun: Arc::default() })
    }

    pub(crate) async fn begin(&self) -> Result<sqlx::Transaction<'static, Db>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(self.read.begin_with(BEGIN).await?)
    }

    /// Migrates on a connection of its own, without a limit on how long a statement runs, but with one on how long it waits for a table.
    /// Other starters wait their turn first, without limit.
    pub(crate) async fn migrate(&self) -> Result<Migrated> {
        use sqlx::{ConnectOptions, Connection};
        let mut connection = self.options.connect().await?;
        sqlx::query("SELECT pg_advisory_lock($1)").bind(MIGRATION_LOCK).execute(&mut connection).await?;
        sqlx::query("SET lock_timeout = 5000").execute(&mut connection).await?;
        sqlx::query("SET default_transaction_isolation = 'read committed'").execute(&mut connection).await?;
        let mut tries = 1;
        let from = loop {
            match migrate_on(&mut connection).await {
                Err(error) if tries < MIGRATION_TRIES && is_locked(&error) => {
                    tracing::warn!(tries, "a table that is to be migrated is in use; tried again in a second");
                    tokio::time::sleep(MIGRATION_PAUSE).await;
                    tries += 1;
                }
                migrated => break migrated.map_err(sql::schema::failed)??,
            }
        };
        connection.close().await?;
        Ok(Migrated { from, to: sql::schema::known() })
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
    }
}

/// The schema's version before; the inner error: a newer one, or rows that cannot be brought up to date.
async fn migrate_on(connection: &mut sql::Conn) -> std::result::Result<Result<Option<i64>>, MigrateError> {
    let from = match sql::schema::version(connection).await {
        Ok(from) => from,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = sql::schema::refuse_newer(from) {
        return Ok(Err(error));
    }
    MIGRATIONS.run_direct(None, &mut *connection, false).await?;
    Ok(sql::review_items::catch_up(connection).await.map(|()| from))
}

/// Whether somebody else has had a lock for too long.
fn is_locked(error: &MigrateError) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    match error {
        MigrateError::Execute(sqlx::Error::Database(error)) | MigrateError::ExecuteMigration(sqlx::Error::Database(error), _) => {
            error.code().is_some_and(|code| code == LOCK_NOT_AVAILABLE)
        }
        _ => false,
    }
}
