//! SQLite: one writer connection, so that nobody waits busily for a lock, and a few readers beside it.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::store::Migrated;
use crate::{Result, StoreError};

/// Names the rows that a statement reads in order to change them. SQLite's one writer has them all anyway.
macro_rules! for_update {
    ($rows:literal) => {
        ""
    };
}
/// Skips rows that another claimer is about to take. SQLite's one writer meets nobody.
macro_rules! skip_locked {
    () => {
        ""
    };
}
/// Is one of the texts of a JSON array.
macro_rules! one_of {
    ($list:literal) => {
        concat!("IN (SELECT value FROM json_each(", $list, "))")
    };
}

#[path = "sql/mod.rs"]
pub(crate) mod sql;

pub(crate) type Db = sqlx::Sqlite;
pub(crate) type Pool = SqlitePool;
/// Takes the write lock at once: a transaction that reads first and then writes would fail as soon as another one wrote.
const BEGIN: &str = "BEGIN IMMEDIATE";
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another process's write lock.
const BUSY: Duration = Duration::from_secs(5);
/// The same for a migration, which may wait for a whole other migration.
const MIGRATION_BUSY: Duration = Duration::from_secs(60);
/// How long a verb waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// The connections.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    pub(crate) read: Pool,
    write: Pool,
    options: SqliteConnectOptions,
    pub(crate) begun: Arc<AtomicU64>,
}

impl Pools {
    /// Opens or creates the file. The parent directory must exist.
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let bad = |detail: String| StoreError::BadUrl { detail };
        let options = SqliteConnectOptions::from_str(url).map_err(|e| bad(e.to_string()))?;
        let path = options.get_filename().to_path_buf();
        if url.contains(":memory:") || url.contains("mode=memory") || path.as_os_str().is_empty() {
            return Err(bad("sqlite needs a file, such as sqlite:.oms/oms.db".to_owned()));
        }
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|p| !p.is_dir()) {
            return Err(bad(format!("the directory {} does not exist; create it first", parent.display())));
        }
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let pool = |most| {
            SqlitePoolOptions::new()
                .max_connections(most)
                .acquire_timeout(ACQUIRE)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let write = open(pool(1), &options).await?;
        let readers = options.clone().create_if_missing(false).pragma("query_only", "ON");
        let read = open(pool(READERS), &readers).await?;
        Ok(Self { read, write, options, begun: Arc::default() })
    }

    pub(crate) async fn begin(&self) -> Result<sqlx::Transaction<'static, Db>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(self.write.begin_with(BEGIN).await?)
    }

    /// Migrates inside one transaction that holds the write lock from its first statement: sqlx itself takes no lock on SQLite,
    /// so two processes could otherwise both see an empty database.
    pub(crate) async fn migrate(&self) -> Result<Migrated> {
        use sqlx::{ConnectOptions, Connection};
        let mut connection = self.options.clone().busy_timeout(MIGRATION_BUSY).connect().await?;
        let mut tx = connection.begin_with(BEGIN).await?;
        let from = sql::schema::version(&mut tx).await?;
        sql::schema::refuse_newer(from)?;
        MIGRATIONS.run_direct(None, &mut *tx, false).await.map_err(sql::schema::failed)?;
        sql::review_items::catch_up(&mut tx).await?;
        tx.commit().await?;
        connection.close().await?;
        Ok(Migrated { from, to: sql::schema::known() })
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// Opens a pool. Two processes that switch a new file to WAL at the same moment can meet a lock that no busy timeout covers, so
/// this tries again for as long as that timeout.
async fn open(pool: SqlitePoolOptions, options: &SqliteConnectOptions) -> Result<Pool> {
    let deadline = std::time::Instant::now() + BUSY;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if error.to_string().contains("locked") && std::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return Ok(opened?),
        }
    }
}

#[cfg(test)]
mod tests {
    use oms_domain::ids::{CustomerId, OrderId, Sku};
    use oms_domain::order::{Reason, Status};
    use sqlx::{AssertSqlSafe, Row};

    use super::sql::orders::listing;
    use super::*;
    use crate::orders::{Cursor, OrderFilter};
    use crate::review_items::{ItemCursor, ItemFilter, ItemSource, ItemState};

    /// How the database would answer, step by step.
    async fn plan(pools: &Pools, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&pools.read).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>("detail")).collect()
    }

    #[tokio::test]
    async fn every_list_walks_an_index_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let pools = Pools::connect(&format!("sqlite:{}", dir.path().join("plans.db").display())).await.unwrap();
        pools.migrate().await.unwrap();
        let all = OrderFilter::default();
        let filters = [
            ("orders_newest", all.clone()),
            ("orders_by_status", OrderFilter { status: Some(Status::Confirmed), ..all.clone() }),
            ("orders_by_reason", OrderFilter { reason: Some(Reason::OutOfStock), ..all.clone() }),
            ("orders_by_customer", OrderFilter { customer: Some(CustomerId::parse("c").unwrap()), ..all.clone() }),
            ("orders_by_email", OrderFilter { email: Some("ada@example.com".into()), ..all.clone() }),
            ("orders_by_reference", OrderFilter { reference: Some("r".into()), ..all.clone() }),
            ("orders_needing_attention", OrderFilter { needs_attention: Some(true), ..all.clone() }),
            ("order_skus", OrderFilter { sku: Some(Sku::parse("mug").unwrap()), ..all }),
        ];
        let after = Cursor { placed_at: oms_domain::Instant::UNIX_EPOCH, id: OrderId::from_key("t", "c", "k") };
        for (index, filter) in filters {
            for cursor in [None, Some(&after)] {
                let steps = plan(&pools, listing(&filter, cursor, 50).sql().as_str()).await;
                let walks = steps.iter().any(|s| s.contains(index) || (index == "order_skus" && s.starts_with("SEARCH k")));
                assert!(walks, "{index}: {steps:#?}");
                let slow =
                    |s: &&String| s.contains("TEMP B-TREE FOR ORDER BY") || (s.starts_with("SCAN") && !s.contains("INDEX"));
                // the few scans of one order may be sorted; the list itself may not
                let bad: Vec<_> = steps.iter().take_while(|s| !s.contains("SUBQUERY")).filter(slow).collect();
                assert!(bad.is_empty(), "{index}: {steps:#?}");
            }
        }
    }

    #[tokio::test]
    async fn the_review_queue_and_the_gauges_walk_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let pools = Pools::connect(&format!("sqlite:{}", dir.path().join("plans.db").display())).await.unwrap();
        pools.migrate().await.unwrap();
        let all = ItemFilter::default();
        let (state, kind) = (Some(ItemState::Open), Some("stuck".to_owned()));
        let order_id = Some(OrderId::from_key("t", "c", "k"));
        let filters = [
            ("review_items_oldest", all.clone()),
            ("review_items_by_state ", ItemFilter { state, ..all.clone() }),
            ("review_items_by_kind", ItemFilter { kind: kind.clone(), ..all.clone() }),
            ("review_items_by_state_and_kind", ItemFilter { state, kind, ..all.clone() }),
            ("review_items_by_source", ItemFilter { source: Some(ItemSource::Watchdog), ..all.clone() }),
            ("review_items_by_order", ItemFilter { order_id, ..all }),
        ];
        let after = ItemCursor { opened_at: oms_domain::Instant::UNIX_EPOCH, id: "item-1".to_owned() };
        let mut questions: Vec<(&str, String)> = Vec::new();
        for (index, filter) in &filters {
            for cursor in [None, Some(&after)] {
                questions.push((index, sql::review_items::listing(filter, cursor, 50).sql().as_str().to_owned()));
            }
        }
        questions.extend([
            ("orders_due", sql::gauges::OVERDUE.to_owned()),
            ("orders_undated", sql::gauges::OVERDUE_UNDATED.to_owned()),
            ("orders_open", sql::gauges::OPEN_BY_SHAPE_AND_BUILD.to_owned()),
        ]);
        for (index, question) in questions {
            let steps = plan(&pools, &question).await;
            // the overdue ones leave out those that have an item
            let beside = |s: &str| s.contains("SUBQUERY") || s.starts_with("SEARCH i USING INDEX review_items_by_");
            let walks = |s: &String| (s.contains(index) || beside(s)) && !s.contains("TEMP B-TREE");
            assert!(steps.iter().all(walks) && steps.iter().any(|s| s.contains(index)), "{index}: {steps:#?}");
        }
    }
}
