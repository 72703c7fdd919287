//! The database of a world: SQLite in its directory, or, with `OMS_TEST_POSTGRES` in the environment, one of its own on a Postgres server
//! that this test process starts. So the same tests run on both; `tests/postgres.rs` has them run on Postgres.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tokio::sync::OnceCell;

use super::postgres::Postgres;

/// Has the worlds of this process on Postgres.
pub const ON_POSTGRES: &str = "OMS_TEST_POSTGRES";

/// The URL of a new, empty database of a world.
pub async fn database(dir: &Path) -> String {
    // ends with the process: its input does
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    if std::env::var_os(ON_POSTGRES).is_none() {
        return format!("sqlite:{}", dir.join("oms.db").display());
    }
    let start = || async { tokio::task::spawn_blocking(Postgres::start).await.unwrap() };
    SERVER.get_or_init(start).await.database().await
}

/// A connection behind everybody's back.
pub enum Sql {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Sql {
    pub async fn open(url: &str) -> Self {
        if url.starts_with("sqlite:") {
            Self::Sqlite(SqliteConnection::connect(url).await.unwrap())
        } else {
            Self::Postgres(PgConnection::connect(url).await.unwrap())
        }
    }

    /// Does something.
    pub async fn execute(&mut self, statement: &str) {
        match self {
            Self::Sqlite(connection) => drop(sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.unwrap()),
            Self::Postgres(connection) => drop(sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.unwrap()),
        }
    }

    /// Does something to what has this id, `$1`.
    pub async fn change(&mut self, statement: &'static str, id: &str) {
        match self {
            Self::Sqlite(connection) => drop(sqlx::query(statement).bind(id).execute(connection).await.unwrap()),
            Self::Postgres(connection) => drop(sqlx::query(statement).bind(id).execute(connection).await.unwrap()),
        }
    }

    /// The number that a statement answers about what has this id, `$1`.
    pub async fn number(&mut self, statement: &'static str, id: &str) -> i64 {
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(statement).bind(id).fetch_one(connection).await.unwrap(),
            Self::Postgres(connection) => sqlx::query_scalar(statement).bind(id).fetch_one(connection).await.unwrap(),
        }
    }

    /// From now on this event on a table fails: `INSERT ON orders WHEN NEW.…`.
    pub async fn break_on(&mut self, event: &str) {
        let (event, when) = event.split_once(" WHEN ").unwrap_or((event, "TRUE"));
        let trigger = match self {
            Self::Sqlite(_) => {
                format!("CREATE TRIGGER trouble BEFORE {event} WHEN {when} BEGIN SELECT RAISE(ABORT, 'trouble'); END")
            }
            Self::Postgres(_) => format!(
                "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trouble'; END $$;
                 CREATE TRIGGER trouble BEFORE {event} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION trouble()"
            ),
        };
        self.execute(&trigger).await;
    }

    /// It works again.
    pub async fn mend(&mut self) {
        self.execute(match self {
            Self::Sqlite(_) => "DROP TRIGGER trouble",
            Self::Postgres(_) => "DROP FUNCTION trouble() CASCADE",
        })
        .await;
    }

    /// Nobody else writes until [`Self::unlock`], or until this is dropped.
    pub async fn lock(&mut self) {
        let Self::Postgres(connection) = self else { return self.execute("BEGIN IMMEDIATE").await };
        // table by table, so somebody may hold one that comes later and wait for one that came before: then let them by
        let all = "BEGIN; SET LOCAL lock_timeout = '200ms'; DO $$ DECLARE name text; BEGIN
                       FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename LOOP
                           EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', name);
                       END LOOP;
                   END $$";
        for _ in 0..100 {
            if sqlx::raw_sql(all).execute(&mut *connection).await.is_ok() {
                return;
            }
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
        }
        panic!("the database is never free");
    }

    pub async fn unlock(&mut self) {
        self.execute("ROLLBACK").await;
    }
}
