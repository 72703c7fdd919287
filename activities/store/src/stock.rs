//! Stock as it is read: what is there, what is promised, what is left.

use oms_domain::Instant;
use oms_domain::ids::{Location, Sku};

use crate::Result;
use crate::store::{Store, run};

/// The stock of one article. `available = on_hand - reserved`; a reservation that ran out unconfirmed no longer counts, even if
/// nobody has taken it back yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockLevel {
    /// What.
    pub sku: Sku,
    /// Units on the shelves.
    pub on_hand: u64,
    /// Units promised to orders.
    pub reserved: u64,
    /// Units that can be sold.
    pub available: u64,
    /// The same per place, sorted by place.
    pub locations: Vec<LocationLevel>,
}

/// The stock of one article at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationLevel {
    /// Where.
    pub location: Location,
    /// Units on the shelf.
    pub on_hand: u64,
    /// Units promised to orders.
    pub reserved: u64,
    /// Units that can be sold.
    pub available: u64,
}

impl StockLevel {
    /// Sums up an article's places.
    pub(crate) fn of(sku: Sku, locations: Vec<LocationLevel>) -> Self {
        let sum = |part: fn(&LocationLevel) -> u64| locations.iter().map(part).sum();
        Self { sku, on_hand: sum(|l| l.on_hand), reserved: sum(|l| l.reserved), available: sum(|l| l.available), locations }
    }
}

impl Store {
    /// The stock of one article; zeros if it has none. `None`: not in the catalogue.
    pub async fn stock(&self, sku: &Sku, now: Instant) -> Result<Option<StockLevel>> {
        run!(self, stock::level(sku, now))
    }

    /// A page of stock by SKU, after the given one: every article of the catalogue.
    pub async fn stocks(&self, after: Option<&Sku>, limit: u32, now: Instant) -> Result<Vec<StockLevel>> {
        run!(self, stock::levels(after, limit, now))
    }
}
