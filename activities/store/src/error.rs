//! What can go wrong in the store, in its own words.

use oms_domain::ids::Invalid;
use oms_domain::money::MoneyError;

/// The result of every verb.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a verb could not answer. Business answers (no stock, key reused) are values of the verbs, never errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or not in time. Nothing was changed that a repeat would not find; trying again may help.
    #[error("the database is not available: {detail}")]
    Unavailable {
        /// The driver's words; for operators, not for clients.
        detail: String,
    },
    /// A row does not read back: it was written by something else, or by a defect.
    #[error("a row cannot be read: {detail}")]
    Corrupt {
        /// Which column, and why.
        detail: String,
    },
    /// The database was migrated by a newer version of the program.
    #[error("the database has schema {found}, this program knows up to {known}: run the newer version")]
    NewerSchema {
        /// The version of the database.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The database lacks migrations that this program needs.
    #[error("the database has schema {found}, this program needs {known}: run `oms migrate`")]
    OldSchema {
        /// The version of the database; 0 if it has none.
        found: i64,
        /// The version that this program needs.
        known: i64,
    },
    /// The URL names no database that this program can use.
    #[error("DATABASE_URL: {detail}")]
    BadUrl {
        /// What is wrong with it, without its password.
        detail: String,
    },
    /// The request contradicts what is stored (an unknown order, a broken constraint): a defect of the caller, no repeat helps.
    #[error("the request contradicts what is stored: {detail}")]
    Conflict {
        /// What contradicts what.
        detail: String,
    },
}

impl StoreError {
    pub(crate) fn corrupt(column: &str, why: impl std::fmt::Display) -> Self {
        Self::Corrupt { detail: format!("{column}: {why}") }
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::Conflict { detail: detail.into() }
    }
}

impl From<Invalid> for StoreError {
    fn from(error: Invalid) -> Self {
        Self::Corrupt { detail: error.to_string() }
    }
}

impl From<MoneyError> for StoreError {
    fn from(error: MoneyError) -> Self {
        Self::Corrupt { detail: error.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let detail = error.to_string();
        match &error {
            sqlx::Error::Database(database) if database.kind() != sqlx::error::ErrorKind::Other => Self::Conflict { detail },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::Corrupt { detail }
            }
            _ => Self::Unavailable { detail: crate::refusal::of(&error).unwrap_or(detail) },
        }
    }
}
