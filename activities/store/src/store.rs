//! The life of the database: connecting, migrating, closing; and which of the two databases a verb runs on.

use std::sync::atomic::Ordering;

use crate::{Bounds, Result, StoreError, postgres, sqlite};

/// Which database is behind a [`Store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The embedded one.
    Sqlite,
    /// The one for production.
    Postgres,
}

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The schema's version before; `None`: the database was empty.
    pub from: Option<i64>,
    /// The schema's version now.
    pub to: i64,
}

/// What somebody wants to do with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Read and write rows.
    Serve,
    /// Bring the schema up to date.
    Migrate,
}

/// The store. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pools: Pools,
}

/// The connections of one of the two databases.
#[derive(Debug, Clone)]
pub(crate) enum Pools {
    Sqlite(sqlite::Pools),
    Postgres(postgres::Pools),
}

/// Runs a verb's statements on the store's database.
macro_rules! run {
    ($store:expr, $noun:ident :: $verb:ident ( $($arg:expr),* )) => {
        match &$store.pools {
            crate::store::Pools::Sqlite(pools) => crate::sqlite::sql::$noun::$verb(pools, $($arg),*).await,
            crate::store::Pools::Postgres(pools) => crate::postgres::sql::$noun::$verb(pools, $($arg),*).await,
        }
    };
}
pub(crate) use run;

impl Store {
    /// Opens the database of a URL, `sqlite:path` or `postgres:…`, and changes no schema. A missing SQLite file is created, its
    /// directory is not. Errors: [`StoreError::BadUrl`], [`StoreError::Unavailable`].
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, &Bounds::default()).await
    }

    /// The same within these bounds.
    pub async fn connect_with(url: &str, bounds: &Bounds) -> Result<Self> {
        let pools = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Pools::Sqlite(sqlite::Pools::connect(url).await?),
            Some("postgres" | "postgresql") => Pools::Postgres(postgres::Pools::connect(url, bounds).await?),
            _ => return Err(StoreError::BadUrl { detail: "must start with sqlite: or postgres:".to_owned() }),
        };
        Ok(Self { pools })
    }

    /// Brings the schema up to date: forward only, safe with several starters at once.
    /// Errors: [`StoreError::NewerSchema`] if a newer version migrated it before.
    pub async fn migrate(&self) -> Result<Migrated> {
        match &self.pools {
            Pools::Sqlite(pools) => pools.migrate().await,
            Pools::Postgres(pools) => pools.migrate().await,
        }
    }

    /// Whether the schema is the one this program was built for.
    /// Errors: [`StoreError::OldSchema`], [`StoreError::NewerSchema`].
    pub async fn check_schema(&self) -> Result<()> {
        run!(self, schema::check())
    }

    /// Whether the database answers. Errors: [`StoreError::Unavailable`].
    pub async fn ping(&self) -> Result<()> {
        run!(self, schema::ping())
    }

    /// What the database's role lacks for some work, and the remedy; `None`: nothing. Errors: [`StoreError::Unavailable`].
    pub async fn lacks(&self, work: Work) -> Result<Option<String>> {
        match &self.pools {
            Pools::Sqlite(_) => Ok(None),
            Pools::Postgres(pools) => pools.lacks(work).await,
        }
    }

    /// Who else could listen to the database's connection or answer in its place, and the remedy; `None`: nobody.
    pub fn exposure(&self) -> Option<String> {
        match &self.pools {
            Pools::Sqlite(_) => None,
            Pools::Postgres(pools) => pools.exposure(),
        }
    }

    /// Transactions begun through this store and its clones: what work costs a database that has one writer.
    pub fn transactions(&self) -> u64 {
        match &self.pools {
            Pools::Sqlite(pools) => pools.begun.load(Ordering::Relaxed),
            Pools::Postgres(pools) => pools.begun.load(Ordering::Relaxed),
        }
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        match self.pools {
            Pools::Sqlite(_) => Backend::Sqlite,
            Pools::Postgres(_) => Backend::Postgres,
        }
    }

    /// Closes all connections, of all clones.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite(pools) => pools.close().await,
            Pools::Postgres(pools) => pools.close().await,
        }
    }
}
