//! Imports: files of orders that are placed one by one. A file's rows are stored as they come in; only once all of them are there
//! does the import get its id, which is derived from the content, and run. Whoever holds its lease places its rows.

use oms_domain::Instant;
use oms_domain::ids::OrderId;

use crate::Result;
use crate::store::{Store, run};

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportState {
    /// The file is still coming in; nothing is placed.
    Receiving,
    /// Its rows are being placed.
    Running,
    /// Every row is placed or refused.
    Done,
}

impl ImportState {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Running => "running",
            Self::Done => "done",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Receiving, Self::Running, Self::Done].into_iter().find(|s| s.as_str() == name)
    }
}

/// A file of orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Its id: that of its upload while it comes in, afterwards derived from the content.
    pub id: String,
    /// Names its rows.
    pub upload: String,
    /// Who sent it.
    pub client: String,
    /// Where it stands.
    pub state: ImportState,
    /// Orders in it.
    pub rows: u64,
    /// Of these, placed.
    pub placed: u64,
    /// Of these, refused.
    pub refused: u64,
    /// When it began to come in.
    pub created_at: Instant,
    /// When it began to run.
    pub started_at: Option<Instant>,
    /// When its last row was settled.
    pub finished_at: Option<Instant>,
}

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowStatus {
    /// Not looked at yet.
    Pending,
    /// It is an order now.
    Placed,
    /// It breaks rules.
    Refused,
}

impl RowStatus {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Placed => "placed",
            Self::Refused => "refused",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Placed, Self::Refused].into_iter().find(|s| s.as_str() == name)
    }
}

/// A row as it comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImportRow {
    /// Its number in the file, from 1.
    pub number: u64,
    /// The key that its sender gave it.
    pub key: Option<String>,
    /// The order's body; or, for a row that is no order, JSON that says why. Only the former is ever placed.
    pub content: std::result::Result<String, String>,
}

/// A row to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRow {
    /// Its number in the file.
    pub number: u64,
    /// The key that its sender gave it.
    pub key: Option<String>,
    /// The order's body. Personal data.
    pub content: String,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledRow {
    /// Its number in the file.
    pub number: u64,
    /// The order that it is now; or JSON that says why it is none.
    pub result: std::result::Result<OrderId, String>,
}

/// A row as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRow {
    /// Its number in the file.
    pub number: u64,
    /// Where it stands.
    pub status: RowStatus,
    /// The order that it is now.
    pub order_id: Option<String>,
    /// JSON that says why it was refused.
    pub errors: Option<String>,
}

/// The last import of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportCursor {
    /// When it began to come in.
    pub created_at: Instant,
    /// Its id.
    pub id: String,
}

/// A process's right to place an import's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportLease {
    /// Which import.
    pub id: String,
    /// Which process.
    pub holder: String,
    /// Until when, unless it is prolonged.
    pub until: Instant,
}

impl Import {
    /// The cursor behind this import.
    pub fn cursor(&self) -> ImportCursor {
        ImportCursor { created_at: self.created_at, id: self.id.clone() }
    }

    /// Rows that are neither placed nor refused.
    pub fn pending(&self) -> u64 {
        self.rows.saturating_sub(self.placed).saturating_sub(self.refused)
    }
}

impl Store {
    /// Notes that a file comes in under a new `upload` id. Idempotent.
    pub async fn begin_import(&self, upload: &str, client: &str, now: Instant) -> Result<()> {
        run!(self, imports::begin(upload, client, now))
    }

    /// Stores rows of a file that comes in, each number once. Errors: [`StoreError::Conflict`](crate::StoreError) if the upload was
    /// removed meanwhile.
    pub async fn add_import_rows(&self, upload: &str, rows: &[NewImportRow], now: Instant) -> Result<()> {
        run!(self, imports::add_rows(upload, rows, now))
    }

    /// The whole file is there: it runs under `id` from now on. If the same content came before, this upload is removed and the
    /// earlier import answered; the flag says so. Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown upload.
    pub async fn seal_import(&self, upload: &str, id: &str, now: Instant) -> Result<(Import, bool)> {
        run!(self, imports::seal(upload, id, now))
    }

    /// Removes a file that did not come in to its end. One that runs stays.
    pub async fn drop_upload(&self, upload: &str) -> Result<()> {
        run!(self, imports::drop_upload(upload))
    }

    /// Uploads of which nothing has come since before `touched_before`, oldest first.
    pub async fn abandoned_uploads(&self, touched_before: Instant, limit: u32) -> Result<Vec<String>> {
        run!(self, imports::abandoned(touched_before, limit))
    }

    /// Leases the oldest running import that nobody works on to `holder`.
    pub async fn lease_import(&self, holder: &str, until: Instant, now: Instant) -> Result<Option<Import>> {
        run!(self, imports::lease(holder, until, now))
    }

    /// Prolongs a lease; `false`: somebody else has it, or it is done.
    pub async fn prolong_import(&self, lease: &ImportLease) -> Result<bool> {
        run!(self, imports::prolong(lease))
    }

    /// Imports that `holder` has a lease of.
    pub async fn leased_imports(&self, holder: &str) -> Result<Vec<String>> {
        run!(self, imports::leased(holder))
    }

    /// Gives a lease back, so that another process need not wait for its end.
    pub async fn release_import(&self, lease: &ImportLease) -> Result<()> {
        run!(self, imports::release(lease))
    }

    /// The next rows to place, in the order of the file.
    pub async fn pending_rows(&self, upload: &str, limit: u32) -> Result<Vec<PendingRow>> {
        run!(self, imports::pending(upload, limit))
    }

    /// Notes what became of rows, each once, removes their content, and prolongs the lease; an import without open rows is done. The
    /// answer says where the import stands; `None`: the lease is lost, and nothing was written.
    pub async fn settle_rows(&self, lease: &ImportLease, rows: &[SettledRow], now: Instant) -> Result<Option<ImportState>> {
        run!(self, imports::settle(lease, rows, now))
    }

    /// One import.
    pub async fn import(&self, id: &str) -> Result<Option<Import>> {
        run!(self, imports::import(id))
    }

    /// A page of imports, newest first, after the cursor.
    pub async fn imports(&self, after: Option<&ImportCursor>, limit: u32) -> Result<Vec<Import>> {
        run!(self, imports::imports(after, limit))
    }

    /// A page of an import's rows behind number `after`, in the order of the file.
    pub async fn import_rows(&self, upload: &str, status: Option<RowStatus>, after: u64, limit: u32) -> Result<Vec<ImportRow>> {
        run!(self, imports::rows(upload, status, after, limit))
    }
}
