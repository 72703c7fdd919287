//! Stock movements: receipts, adjustments, counts. Append-only; `on_hand` is their sum.

use oms_domain::Instant;
use oms_domain::ids::{Location, Sku};

use crate::Result;
use crate::keys::KeyClaim;
use crate::stock::StockLevel;
use crate::store::{Store, run};

/// A receipt or an adjustment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// What.
    pub sku: Sku,
    /// Where.
    pub location: Location,
    /// Units: above zero for a receipt, either sign for an adjustment.
    pub quantity: i64,
    /// Why, in the actor's words.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// The `Idempotency-Key` it came with.
    pub key: Option<KeyClaim>,
}

/// A count of one shelf: the absolute truth, booked as the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// What.
    pub sku: Sku,
    /// Where.
    pub location: Location,
    /// Units counted.
    pub on_hand: u64,
    /// Why, in the actor's words.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// The `Idempotency-Key` it came with.
    pub key: Option<KeyClaim>,
}

/// What became of a movement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// Booked; the stock now.
    Done(StockLevel),
    /// Booked before under the same key; the stock now.
    Replayed(StockLevel),
    /// The key was used for another request.
    KeyReused,
    /// The article is not in the catalogue.
    UnknownSku,
    /// The place never had a receipt.
    UnknownLocation,
    /// It would leave less on the shelf than is promised there.
    BelowReserved {
        /// Units on the shelf.
        on_hand: u64,
        /// Units promised.
        reserved: u64,
    },
}

impl Store {
    /// Books a receipt; a place comes into being with its first one. Errors: [`StoreError::Conflict`](crate::StoreError) unless
    /// the quantity is above zero.
    pub async fn receive(&self, movement: &Movement, now: Instant) -> Result<Moved> {
        run!(self, movements::receive(movement, now))
    }

    /// Books a correction of either sign; never below what is promised.
    pub async fn adjust(&self, movement: &Movement, now: Instant) -> Result<Moved> {
        run!(self, movements::adjust(movement, now))
    }

    /// Books the difference to a count; none if the shelf holds what was counted. Never below what is promised.
    pub async fn count(&self, count: &Count, now: Instant) -> Result<Moved> {
        run!(self, movements::count(count, now))
    }
}
