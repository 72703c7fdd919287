//! The files of the dev server in the data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DevServerError;

/// The database and what SQLite keeps beside it.
const DATABASE_FILES: [&str; 4] = ["temporal.db", "temporal.db-wal", "temporal.db-shm", "temporal.db-journal"];

/// Written once the first server on this database has answered; without it the schema may be half made.
const MARKER: &str = "temporal.db.ready";

/// A log above this many bytes is put aside at the next start.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// An error message quotes at most this many characters of the log.
const TAIL_CHARS_MAX: usize = 300;

/// What `temporal.json` says about the running server, for people and for other commands of the binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Process id.
    pub pid: u32,
    /// gRPC port on 127.0.0.1.
    pub port: u16,
    /// Web UI port on 127.0.0.1.
    pub ui_port: u16,
    /// Start time in seconds since 1970.
    pub started_at: u64,
}

impl ServerRecord {
    /// Reads `temporal.json` of a data directory; `None` if no server is recorded. The process may be gone by now.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(data_dir.join("temporal.json")).ok()?).ok()
    }
}

/// The data directory by its absolute path, so that a command line names the database in one way only.
#[derive(Debug, Clone)]
pub(super) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    pub(super) fn open(dir: &Path) -> Result<Self, DevServerError> {
        let made = fs::create_dir_all(dir).and_then(|()| dir.canonicalize());
        let path = made.map_err(|source| DevServerError::DataDir { dir: dir.to_owned(), source })?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failed(&self, source: io::Error) -> DevServerError {
        DevServerError::DataDir { dir: self.path.clone(), source }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("temporal.db")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("temporal.log")
    }

    /// Taken by whoever supervises the server; the system releases it when that process ends, however it ends.
    pub(super) fn lock(&self) -> Result<File, DevServerError> {
        let file = File::create(self.path.join("temporal.lock")).map_err(|e| self.failed(e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(DevServerError::AlreadyRunning { dir: self.path.clone() }),
            Err(fs::TryLockError::Error(e)) => Err(self.failed(e)),
        }
    }

    /// Puts a half-made database aside. Must not be called while a server runs on it.
    pub(super) fn prepare_database(&self) -> Result<(), DevServerError> {
        self.try_prepare().map_err(|e| self.failed(e))
    }

    fn try_prepare(&self) -> io::Result<()> {
        let marker = self.path.join(MARKER);
        if marker.exists() {
            if self.database().exists() {
                return Ok(());
            }
            // Somebody removed the database: the next one is unproven again.
            fs::remove_file(&marker)?;
            self.sync()?;
        }
        for name in DATABASE_FILES {
            // Kept under another name rather than deleted, in case a person restored a database without its marker.
            match fs::rename(self.path.join(name), self.path.join(format!("discarded-{name}"))) {
                Ok(()) => tracing::warn!(file = name, "put aside: its first start was cut short"),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Notes that the schema is complete, because a server on it has answered.
    pub(super) fn mark_ready(&self) -> Result<(), DevServerError> {
        let marker = self.path.join(MARKER);
        if marker.exists() {
            return Ok(());
        }
        let written = File::create(&marker).and_then(|f| f.sync_all()).and_then(|()| self.sync());
        written.map_err(|e| self.failed(e))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    pub(super) fn record(&self, record: &ServerRecord) -> Result<(), DevServerError> {
        let write = || {
            let part = self.path.join("temporal.json.part");
            File::create(&part)?.write_all(&serde_json::to_vec_pretty(record)?)?;
            fs::rename(&part, self.path.join("temporal.json"))
        };
        write().map_err(|e: io::Error| self.failed(e))
    }

    /// Removes the record of a server that has ended.
    pub(super) fn forget(&self) {
        if let Err(error) = fs::remove_file(self.path.join("temporal.json"))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove temporal.json");
        }
    }

    /// Opens the log for appending; also tells where the new lines will begin.
    pub(super) fn open_log(&self) -> Result<(File, u64), DevServerError> {
        let open = || {
            let path = self.log();
            if fs::metadata(&path).is_ok_and(|m| m.len() > LOG_BYTES_MAX) {
                fs::rename(&path, self.path.join("temporal.log.old"))?;
            }
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            let begins = file.metadata()?.len();
            Ok((file, begins))
        };
        open().map_err(|e| self.failed(e))
    }

    /// The end of the last line written since `begins`, which is where the server says why it gave up.
    pub(super) fn log_tail(&self, begins: u64) -> String {
        let mut text = Vec::new();
        let read = File::open(self.log()).and_then(|mut f| {
            f.seek(SeekFrom::Start(begins))?;
            f.take(LOG_BYTES_MAX).read_to_end(&mut text)
        });
        if let Err(e) = read {
            return format!("its log cannot be read: {e}");
        }
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it printed nothing");
        let skip = line.chars().count().saturating_sub(TAIL_CHARS_MAX);
        line.chars().skip(skip).collect()
    }
}
