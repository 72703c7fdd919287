//! Which schema the database has, and whether it answers.

use super::super::MIGRATIONS;
use super::{Conn, Db, Pools};
use crate::{Result, StoreError};

/// The schema that this program was built for.
pub(crate) fn known() -> i64 {
    MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0)
}

/// The schema that the database has. `None`: none at all.
pub(crate) async fn version(connection: &mut Conn) -> Result<Option<i64>> {
    let asked = sqlx::query_scalar::<Db, Option<i64>>("SELECT MAX(version) FROM _sqlx_migrations WHERE success");
    match asked.fetch_one(connection).await {
        Err(sqlx::Error::Database(error)) if is_missing_table(&*error) => Ok(None),
        found => Ok(found?),
    }
}

/// Whether there is no such table; a table that may not be read is another matter.
fn is_missing_table(error: &dyn sqlx::error::DatabaseError) -> bool {
    const UNDEFINED_TABLE: &str = "42P01";
    error.code().is_some_and(|code| code == UNDEFINED_TABLE) || error.message().starts_with("no such table")
}

/// Errors: [`StoreError::NewerSchema`].
pub(crate) fn refuse_newer(found: Option<i64>) -> Result<()> {
    match found {
        Some(found) if found > known() => Err(StoreError::NewerSchema { found, known: known() }),
        _ => Ok(()),
    }
}

/// A migration that did not go through, in the store's words.
pub(crate) fn failed(error: sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError;
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(found) => StoreError::NewerSchema { found, known: known() },
        other => StoreError::Conflict { detail: other.to_string() },
    }
}

pub(crate) async fn check(pools: &Pools) -> Result<()> {
    let mut connection = pools.read.acquire().await?;
    let found = version(&mut connection).await?;
    refuse_newer(found)?;
    match found.unwrap_or(0) {
        found if found < known() => Err(StoreError::OldSchema { found, known: known() }),
        _ => Ok(()),
    }
}

pub(crate) async fn ping(pools: &Pools) -> Result<()> {
    sqlx::query("SELECT 1").execute(&pools.read).await?;
    Ok(())
}
