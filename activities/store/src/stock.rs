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
    /// Units that orders wait for.
    pub waiting: u64,
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
    /// An article without stock.
    pub(crate) fn none(sku: Sku, waiting: u64) -> Self {
        Self { sku, on_hand: 0, reserved: 0, available: 0, waiting, locations: Vec::new() }
    }

    /// Adds a place.
    pub(crate) fn add(&mut self, place: LocationLevel) {
        self.on_hand += place.on_hand;
        self.reserved += place.reserved;
        self.available += place.available;
        self.locations.push(place);
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
