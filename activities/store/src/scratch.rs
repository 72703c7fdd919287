//! A database beside the shop's own, for measurements: made empty, taken away again, and nothing of the shop is touched.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Executor};

use crate::store::Store;
use crate::{Result, StoreError};

// Postgres's names for what went wrong
const DUPLICATE_SCHEMA: &str = "42P06";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// An empty database of the newest schema: on Postgres a schema called `oms_bench` of the database, else a file beside the file.
#[derive(Debug)]
pub struct Scratch {
    /// The store in it.
    pub store: Store,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Schema { url: String },
}

impl Scratch {
    /// Makes one beside the database of a URL. Errors: [`StoreError::BadUrl`], [`StoreError::Unavailable`];
    /// [`StoreError::Conflict`] if there is one already, or the role may not make one.
    pub async fn beside(url: &str) -> Result<Self> {
        let (place, own) = match url.strip_prefix("sqlite:") {
            Some(_) => beside_file(url)?,
            None => beside_schema(url).await?,
        };
        let made = match Store::connect(&own).await {
            Ok(store) => store.migrate().await.map(|_| store),
            Err(error) => Err(error),
        };
        match made {
            Ok(store) => Ok(Self { store, place }),
            Err(error) => {
                place.remove().await?;
                Err(error)
            }
        }
    }

    /// Takes it away with all that is in it.
    pub async fn remove(self) -> Result<()> {
        self.store.close().await;
        self.place.remove().await
    }
}

fn beside_file(url: &str) -> Result<(Place, String)> {
    let bad = |detail: String| StoreError::BadUrl { detail };
    let options = SqliteConnectOptions::from_str(url).map_err(|e| bad(e.to_string()))?;
    let file = options.get_filename().with_extension("bench");
    // the name is the lock: two that measure at once would measure each other
    std::fs::File::create_new(&file).map_err(|error| {
        StoreError::conflict(match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!("{} is there already: somebody else measures, or was killed; then remove it", file.display())
            }
            _ => format!("{} cannot be made: {error}", file.display()),
        })
    })?;
    let own = format!("sqlite:{}", file.to_str().ok_or_else(|| bad("the path is not UTF-8".to_owned()))?);
    Ok((Place::File(file), own))
}

async fn beside_schema(url: &str) -> Result<(Place, String)> {
    act(url, "CREATE SCHEMA oms_bench").await.map_err(|error| {
        let code = error.as_database_error().and_then(|e| e.code());
        match code.as_deref() {
            Some(DUPLICATE_SCHEMA) => StoreError::conflict(
                "the schema `oms_bench` is there already: somebody else measures, or was killed; then DROP SCHEMA oms_bench CASCADE",
            ),
            Some(INSUFFICIENT_PRIVILEGE) => StoreError::conflict(
                "the role may not make the schema `oms_bench`: GRANT CREATE ON DATABASE to it, or measure on another database",
            ),
            _ => error.into(),
        }
    })?;
    let own = format!("{url}{}options[search_path]=oms_bench", if url.contains('?') { '&' } else { '?' });
    Ok((Place::Schema { url: url.to_owned() }, own))
}

async fn act(url: &str, statement: &'static str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(statement).await?;
    connection.close().await
}

impl Place {
    async fn remove(self) -> Result<()> {
        match self {
            Self::File(file) => {
                let files = ["", "-wal", "-shm"].map(|end| with_end(&file, end));
                for file in files {
                    match std::fs::remove_file(&file) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(StoreError::conflict(format!("{} cannot be removed: {error}", file.display())));
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
            Self::Schema { url } => Ok(act(&url, "DROP SCHEMA oms_bench CASCADE").await?),
        }
    }
}

fn with_end(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}
