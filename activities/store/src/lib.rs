//! What must be looked up: SQL on SQLite (embedded) and Postgres (production), written once.
//!
//! [`Store`] offers business verbs, each one transaction that may run twice without harm. Verbs take `now` from their caller; the
//! store has no clock and calls nobody. The public half of a noun (`stock.rs`) holds its types and verbs; the private half
//! (`sql/stock.rs`) holds its statements and is compiled once per database, with concrete types.

mod audit;
mod bookings;
mod catalogue;
mod error;
mod intake;
mod keys;
mod messages;
mod movements;
mod orders;
mod outbox;
mod payments;
#[allow(clippy::duplicate_mod)] // see `sqlite`
mod postgres;
mod reservations;
mod shipments;
// the statements are compiled once per database on purpose: one text, concrete types
#[allow(clippy::duplicate_mod)]
mod sqlite;
mod stock;
mod store;

pub use audit::{OrderAudit, StockAudit};
pub use bookings::BookingRow;
pub use catalogue::{Product, Put};
pub use error::{Result, StoreError};
pub use intake::{Intake, NewLine, NewOrder, Unstarted};
pub use keys::{Claimed, KeyClaim};
pub use messages::{Batch, MessageRow, MessageState, StoredMessage};
pub use movements::{Count, Moved, Movement};
pub use orders::{Append, Cursor, OrderFilter, Record, Recorded, StoredOrder, TimelineEntry};
pub use outbox::OutboxRow;
pub use payments::{AuthorizationOutcome, AuthorizationRow, CaptureOutcome, OperationKind, PaymentOperation};
pub use reservations::{CommitStock, Departed, Reserve, Reserved};
pub use shipments::{Heard, Scanned, ShipmentFilter, StoredShipment};
pub use stock::{LocationLevel, StockLevel};
pub use store::{Backend, Migrated, Store};
