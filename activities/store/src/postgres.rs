//! Postgres: one bounded pool; every wait has an end.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};

use crate::store::{Migrated, Work};
use crate::{Bounds, Result, StoreError, refusal};

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
/// Is one of the texts of a JSON array. An array says to the planner what a subquery does not: that they are few, so that an index is used.
macro_rules! one_of {
    ($list:literal) => {
        concat!("= ANY(ARRAY(SELECT jsonb_array_elements_text(", $list, ")))")
    };
}

#[path = "sql/mod.rs"]
pub(crate) mod sql;

pub(crate) type Db = sqlx::Postgres;
pub(crate) type Pool = PgPool;
const BEGIN: &str = "BEGIN";
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// The name of our sessions in `pg_stat_activity`, unless the URL gives another.
const APPLICATION: &str = "oms";
/// How long a transaction may sit idle.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(15);
/// Too many connections, as while those of a crash are still counted; starting up.
const STARTING: [&str; 2] = ["53300", "57P03"];
/// Pause between attempts to open the first connection while the server is starting.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
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
    pub(crate) async fn connect(url: &str, bounds: &Bounds) -> Result<Self> {
        let bad = |error: sqlx::Error| StoreError::BadUrl { detail: refusal::of_url(&error) };
        let mut options = PgConnectOptions::from_str(url).map_err(bad)?;
        if options.get_application_name().is_none() {
            options = options.application_name(APPLICATION);
        }
        let limited = options.clone().options(limits(bounds));
        first(&limited, bounds.acquire).await?;
        let read = PgPoolOptions::new()
            .max_connections(bounds.connections)
            .min_connections(bounds.connections_min)
            .acquire_timeout(bounds.acquire)
            .connect_lazy_with(limited);
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

    pub(crate) fn exposure(&self) -> Option<String> {
        exposure(&self.options)
    }

    pub(crate) async fn lacks(&self, work: Work) -> Result<Option<String>> {
        let mut connection = self.read.acquire().await?;
        let user: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut *connection).await?;
        let schema: Option<String> = sqlx::query_scalar("SELECT current_schema()::text").fetch_one(&mut *connection).await?;
        let Some(schema) = schema else {
            return Ok(Some(format!(
                "role {user} may use no schema of its search_path: GRANT USAGE, CREATE ON SCHEMA public TO {user}"
            )));
        };
        if work == Work::Serve {
            let barred: Vec<String> = sqlx::query_scalar(BARRED).bind(tables()).fetch_all(&mut *connection).await?;
            return Ok((!barred.is_empty()).then(|| {
                let (first, all) = (&barred[0], barred.len());
                format!(
                    "role {user} may not read and write {first} ({all} tables in all): GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES \
                     IN SCHEMA {schema} TO {user}"
                )
            }));
        }
        let creates = "SELECT has_schema_privilege(current_schema()::text, 'CREATE')";
        if !sqlx::query_scalar::<_, bool>(creates).fetch_one(&mut *connection).await? {
            return Ok(Some(format!(
                "role {user} may not create tables: GRANT CREATE ON SCHEMA {schema} TO {user}, or migrate as another role"
            )));
        }
        let foreign: Option<String> = sqlx::query_scalar(FOREIGN).bind(tables()).fetch_optional(&mut *connection).await?;
        Ok(foreign.map(|owner| format!("the tables belong to role {owner}, not to {user}: migrate as {owner}")))
    }
}

/// The tables that the migrations make.
fn tables() -> Vec<&'static str> {
    let made = |line: &'static str| line.strip_prefix("CREATE TABLE ")?.split([' ', '(']).next();
    MIGRATIONS.iter().flat_map(|migration| migration.sql.as_str().lines().filter_map(made)).collect()
}

/// Tables that the role may not read and write. (Of a list of rights, one would be enough.)
const BARRED: &str = "SELECT t FROM unnest($1::text[]) AS t WHERE to_regclass(t) IS NOT NULL AND NOT (
     has_table_privilege(to_regclass(t), 'SELECT') AND has_table_privilege(to_regclass(t), 'INSERT')
     AND has_table_privilege(to_regclass(t), 'UPDATE') AND has_table_privilege(to_regclass(t), 'DELETE'))";
/// Who owns a table that the role cannot change.
const FOREIGN: &str =
    "SELECT pg_get_userbyid(c.relowner)::text FROM unnest($1::text[]) AS t JOIN pg_class c ON c.oid = to_regclass(t)
     WHERE NOT pg_has_role(c.relowner, 'USAGE') LIMIT 1";

/// What every connection is held to, however the server is set. And what every verb counts on: a statement that has waited for a lock sees
/// what was committed meanwhile.
fn limits(bounds: &Bounds) -> [(&'static str, String); 4] {
    let millis = |limit: Duration| limit.as_millis().max(1).to_string();
    [
        ("statement_timeout", millis(bounds.statement)),
        ("lock_timeout", millis(bounds.lock)),
        ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION)),
        ("default_transaction_isolation", "read committed".to_owned()),
    ]
}

/// Opens a connection and closes it, so that what is in the way is told in its own words: a pool would only say that it has waited. A server
/// that is starting may take as long as `within`.
async fn first(options: &PgConnectOptions, within: Duration) -> Result<()> {
    use sqlx::{ConnectOptions, Connection};
    let deadline = tokio::time::Instant::now() + within;
    loop {
        let silent = || {
            let detail =
                format!("no answer within {within:?}: correct host and port in DATABASE_URL, or look what is in between");
            StoreError::Unavailable { detail }
        };
        let error = match tokio::time::timeout_at(deadline, options.connect()).await.map_err(|_| silent())? {
            Ok(connection) => return Ok(connection.close().await?),
            Err(error) => error,
        };
        let starting = match &error {
            sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
            sqlx::Error::Database(error) => error.code().is_some_and(|code| STARTING.contains(&&*code)),
            _ => false,
        };
        if !starting || tokio::time::Instant::now() + FIRST_PAUSE >= deadline {
            return Err(match error {
                sqlx::Error::Configuration(_) => StoreError::BadUrl { detail: refusal::of_url(&error) },
                error => error.into(),
            });
        }
        tokio::time::sleep(FIRST_PAUSE).await;
    }
}

/// Who else could listen, or answer in the server's place, and the remedy.
fn exposure(options: &PgConnectOptions) -> Option<String> {
    let host = options.get_host();
    // a URL has an IPv6 address in brackets
    let number = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || number.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    if loopback || host.starts_with('/') || options.get_socket().is_some() {
        return None;
    }
    let how = match options.get_ssl_mode() {
        PgSslMode::VerifyFull => return None,
        PgSslMode::VerifyCa => "sslmode=verify-ca trusts a certificate of any name, of public authorities too",
        PgSslMode::Require => "sslmode=require trusts any certificate, even with sslrootcert",
        PgSslMode::Prefer => "sslmode=prefer, the default, trusts any certificate and does without TLS where it is not offered",
        PgSslMode::Allow | PgSslMode::Disable => "without TLS everything is sent in clear text",
    };
    Some(format!(
        "the connection to the database at {host} is not safe from others ({how}): say sslmode=verify-full in DATABASE_URL, with \
         sslrootcert=FILE unless a public authority has signed the server's certificate"
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_road_that_others_can_step_on_is_told() {
        let told = |url: &str| exposure(&PgConnectOptions::from_str(url).unwrap());
        for at_home in ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:1?sslmode=disable"] {
            assert_eq!(told(&format!("postgres://oms:hunter2@{at_home}")), None, "{at_home}");
        }
        assert_eq!(told("postgres:///oms?host=/run/postgresql&user=oms"), None);
        assert_eq!(told("postgres://oms:hunter2@db.example/oms?sslmode=verify-full&sslrootcert=/ca.pem"), None);
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let warning = told(&format!("postgres://oms:hunter2@db.example/oms?sslmode={mode}&sslrootcert=/ca.pem")).unwrap();
            assert!(warning.contains("db.example") && warning.contains("sslmode=verify-full"), "{warning}");
            assert!(!warning.contains("hunter2"), "{warning}");
        }
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_read_is_explained_without_its_password() {
        for url in [
            "postgres://oms:hunter2@db:port/oms",
            "postgres://oms:hunter2/#x@db/oms",
            "postgres://oms:hunter2@db/oms?sslmode=verify",
            // a certificate without its key; the port is closed
            "postgres://oms:hunter2@127.0.0.1:9/oms?port=x",
        ] {
            let error = Pools::connect(url, &Bounds::default()).await.unwrap_err();
            let StoreError::BadUrl { detail } = &error else { panic!("{url}: {error:?}") };
            assert!(detail.contains("postgres://USER:PASSWORD@HOST") && !detail.contains("hunter2"), "{detail}");
        }
    }

    #[test]
    fn the_tables_of_the_migrations_are_known() {
        let tables = tables();
        assert!(["orders", "outbox", "circuits", "stock"].iter().all(|t| tables.contains(t)), "{tables:?}");
    }
}
