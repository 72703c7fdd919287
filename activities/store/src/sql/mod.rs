//! The statements, compiled once per database. The module around this one says what differs: the types, how a transaction
//! begins, and the macros `for_update!`, `skip_locked!` and `one_of!`.
//!
//! Locks are always taken in one order, so that nobody waits in a circle: the client's key, the order's row, its promise,
//! reservations by (order, revision), articles by SKU, stock by (SKU, location), shipments by id, review items.

pub(crate) mod acknowledgements;
pub(crate) mod alerts;
pub(crate) mod articles;
pub(crate) mod audit;
pub(crate) mod backorders;
pub(crate) mod bookings;
pub(crate) mod catalogue;
pub(crate) mod chain;
pub(crate) mod change;
pub(crate) mod changes;
pub(crate) mod circuits;
pub(crate) mod comparison;
pub(crate) mod deliveries;
pub(crate) mod departures;
pub(crate) mod effects;
pub(crate) mod evidence;
pub(crate) mod gauges;
pub(crate) mod imports;
pub(crate) mod inbound;
pub(crate) mod intake;
pub(crate) mod keys;
pub(crate) mod lanes;
pub(crate) mod locations;
pub(crate) mod messages;
pub(crate) mod movements;
pub(crate) mod orders;
pub(crate) mod outbox;
pub(crate) mod payments;
pub(crate) mod reconciliations;
pub(crate) mod record;
pub(crate) mod redrives;
pub(crate) mod refunds;
pub(crate) mod reservations;
pub(crate) mod restocks;
pub(crate) mod retention;
pub(crate) mod returns;
pub(crate) mod review_items;
pub(crate) mod scans;
pub(crate) mod schema;
pub(crate) mod shelf;
pub(crate) mod shipments;
pub(crate) mod standing;
pub(crate) mod stock;
pub(crate) mod stuck;
pub(crate) mod switches;
pub(crate) mod timeline;
pub(crate) mod versions;
pub(crate) mod webhooks;

use chrono::SubsecRound;
use oms_domain::Instant;
use oms_domain::ids::Sku;
use oms_domain::money::{Currency, Money};
use sqlx::types::Json;

pub(crate) use super::{Db, Pools};
use crate::{Result, StoreError};

/// A row of this database as it came.
pub(crate) type RawRow = <Db as sqlx::Database>::Row;

/// One connection of this database.
pub(crate) type Conn = <Db as sqlx::Database>::Connection;

/// Cuts an instant to what both databases keep.
pub(crate) fn cut(at: Instant) -> Instant {
    at.trunc_subsecs(6)
}

/// A count as a column's type. Larger ones do not exist; if they did, a CHECK or the comparison would refuse them.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A column as a count. Errors: [`StoreError::Corrupt`] below zero.
pub(crate) fn unsigned(column: &str, count: i64) -> Result<u64> {
    u64::try_from(count).map_err(|e| StoreError::corrupt(column, e))
}

/// Two columns as money. Errors: [`StoreError::Corrupt`].
pub(crate) fn money(column: &str, minor: i64, currency: &str) -> Result<Money> {
    Ok(Money::new(minor, Currency::parse(currency).map_err(|e| StoreError::corrupt(column, e))?))
}

/// A word of the domain out of a column. Errors: [`StoreError::Corrupt`].
pub(crate) fn word<T>(column: &str, text: &str, parse: fn(&str) -> Option<T>) -> Result<T> {
    parse(text).ok_or_else(|| StoreError::corrupt(column, format!("unknown word {text:?}")))
}

/// SKUs as a list for `one_of!`.
pub(crate) fn list<'a>(skus: impl IntoIterator<Item = &'a Sku>) -> Json<Vec<&'a str>> {
    Json(skus.into_iter().map(Sku::as_str).collect())
}

/// A value out of a list of rows, or none if its row cannot be read: it is said to be so, and must not hide all the others.
pub(crate) fn readable<T>(table: &str, id: &str, read: Result<T>) -> Option<T> {
    read.inspect_err(|error| tracing::error!(%error, table, id, "a row cannot be read; it is left out")).ok()
}
