//! The file in which the sandbox parties keep their books: SQLite, durable, shared by several processes.

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::GatewayError;

/// How long a writer waits for another process's transaction.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// How long an opening waits for another process that is opening the same file.
const OPEN_MAX: Duration = Duration::from_secs(30);
const READERS: u32 = 2;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// What went wrong with the sandbox's books.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file or its lock cannot be opened.
    #[error("cannot open the sandbox ledger {path}: {detail}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A newer program wrote the file.
    #[error("the sandbox ledger {path} was written by a newer version of this program: use that version, or move the file away")]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the opening lock and does not let go.
    #[error("the sandbox ledger {path} is being opened by another process for over {} s: stop that process", OPEN_MAX.as_secs())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A statement failed.
    #[error("sandbox ledger: {0}")]
    Sql(#[from] sqlx::Error),
    /// A row holds what this program cannot read.
    #[error("sandbox ledger: unreadable {0}")]
    Unreadable(&'static str),
}

impl From<LedgerError> for GatewayError {
    fn from(error: LedgerError) -> Self {
        Self::unavailable(error.to_string())
    }
}

/// The open books. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    writer: SqlitePool,
    reader: SqlitePool,
}

impl Ledger {
    /// Opens the file, creating and migrating it if need be; safe while other processes do the same. Errors: [`LedgerError`].
    pub async fn open(path: &Path) -> Result<Self, LedgerError> {
        let open = |detail: String| LedgerError::Open { path: path.to_owned(), detail };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| open(e.to_string()))?;
        }
        // Neither the switch to WAL nor sqlx's SQLite migrator waits for another process, so opening is serialised by a
        // lock of the operating system: it ends with its process, however that ends.
        let lock = lock(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_MAX)
            .foreign_keys(true);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(OPEN_MAX)
            .connect_with(options.clone())
            .await
            .map_err(|e| open(e.to_string()))?;
        MIGRATIONS.run(&writer).await.map_err(|error| match error {
            MigrateError::VersionMissing(_) => LedgerError::Newer { path: path.to_owned() },
            other => open(other.to_string()),
        })?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(OPEN_MAX)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(|e| open(e.to_string()))?;
        drop(lock);
        Ok(Self { writer, reader })
    }

    /// Begins a transaction that may write. IMMEDIATE: a deferred one that read first would fail instead of waiting.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, LedgerError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Begins a transaction that only reads: one consistent view.
    pub(crate) async fn view(&self) -> Result<Transaction<'static, Sqlite>, LedgerError> {
        Ok(self.reader.begin().await?)
    }

    /// Commits. A commit that fails may still have happened.
    pub(crate) async fn commit(transaction: Transaction<'static, Sqlite>) -> Result<(), GatewayError> {
        transaction.commit().await.map_err(|e| GatewayError::unknown_outcome(format!("sandbox ledger: commit: {e}")))
    }

    /// For single statements.
    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// Closes every connection.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

async fn lock(path: &Path) -> Result<File, LedgerError> {
    let open = |detail: std::io::Error| LedgerError::Open { path: path.to_owned(), detail: detail.to_string() };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(name).map_err(open)?;
    let deadline = Instant::now() + OPEN_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(open(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(LedgerError::Locked { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_may_open_a_new_file_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/sandbox.db");
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let path = path.clone();
            opening.spawn(async move { Ledger::open(&path).await });
        }
        while let Some(opened) = opening.join_next().await {
            opened.unwrap().unwrap();
        }
        let ledger = Ledger::open(&path).await.unwrap();
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(ledger.reader()).await.unwrap();
        assert_eq!(mode, "wal");
        let full: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&ledger.writer).await.unwrap();
        assert_eq!(full, 2);
    }

    /// Starts itself as child processes; in one of them, it opens the file and ends.
    #[tokio::test]
    async fn several_processes_may_open_a_new_file_at_once() {
        const CHILD: &str = "OMS_TEST_LEDGER";
        if let Ok(path) = std::env::var(CHILD) {
            Ledger::open(Path::new(&path)).await.unwrap();
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sandbox.db");
        let children: Vec<_> = (0..6)
            .map(|_| {
                std::process::Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "ledger::tests::several_processes_may_open_a_new_file_at_once"])
                    .env(CHILD, &path)
                    .stdout(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_refused_in_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sandbox.db");
        let ledger = Ledger::open(&path).await.unwrap();
        sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', TRUE, x'00', 0)")
            .execute(&ledger.writer)
            .await
            .unwrap();
        ledger.close().await;
        assert!(matches!(Ledger::open(&path).await, Err(LedgerError::Newer { .. })));
    }
}
