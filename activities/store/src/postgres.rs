//! Postgres: one bounded pool; every wait has an end.

use std::str::FromStr;
use std::time::Duration;

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
/// How long a statement may run, wait for a lock, and a transaction may sit idle, in milliseconds.
const LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "8000"), ("lock_timeout", "5000"), ("idle_in_transaction_session_timeout", "15000")];

/// The connections.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    pub(crate) read: Pool,
    options: PgConnectOptions,
}

impl Pools {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(|e| StoreError::BadUrl { detail: e.to_string() })?;
        let read = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .connect_with(options.clone().options(LIMITS))
            .await?;
        Ok(Self { read, options })
    }

    pub(crate) async fn begin(&self) -> Result<sqlx::Transaction<'static, Db>> {
        Ok(self.read.begin_with(BEGIN).await?)
    }

    /// Migrates on a connection of its own, without the limits on statements; sqlx takes an advisory lock.
    pub(crate) async fn migrate(&self) -> Result<Migrated> {
        use sqlx::{ConnectOptions, Connection};
        let mut connection = self.options.connect().await?;
        let from = sql::schema::version(&mut connection).await?;
        sql::schema::refuse_newer(from)?;
        MIGRATIONS.run_direct(None, &mut connection, false).await.map_err(sql::schema::failed)?;
        sql::review_items::catch_up(&mut connection).await?;
        connection.close().await?;
        Ok(Migrated { from, to: sql::schema::known() })
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
    }
}
