//! The catalogue: what is sold and for how much.

use oms_domain::Instant;
use oms_domain::customer::Line;
use oms_domain::ids::Sku;
use oms_domain::money::Money;

use crate::Result;
use crate::store::{Store, run};

/// One article of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// What.
    pub sku: Sku,
    /// Its name, as customers read it.
    pub name: Line,
    /// Price of one.
    pub price: Money,
    /// Weight of one in grams, if known.
    pub weight_g: Option<u32>,
    /// It runs low when no more units than these can be sold; without it nobody is told.
    pub low_stock_at: Option<u32>,
}

/// What became of a product that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is new.
    Created,
    /// It stood there before and was replaced.
    Replaced,
}

impl Store {
    /// Puts a product into the catalogue or replaces it. Orders keep the price they were placed at.
    pub async fn put_product(&self, product: &Product, now: Instant) -> Result<Put> {
        run!(self, catalogue::put_product(product, now))
    }

    /// One product. `None`: not in the catalogue.
    pub async fn product(&self, sku: &Sku) -> Result<Option<Product>> {
        run!(self, catalogue::product(sku))
    }

    /// A page of the catalogue by SKU, after the given one.
    pub async fn products(&self, after: Option<&Sku>, limit: u32) -> Result<Vec<Product>> {
        run!(self, catalogue::products(after, limit))
    }
}
