//! Statements of the catalogue.

use oms_domain::Instant;
use oms_domain::customer::Line;
use oms_domain::ids::Sku;

use super::{Conn, Db, Pools, cut, list, money};
use crate::catalogue::{Product, Put};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
struct ProductRow {
    sku: String,
    name: String,
    price_minor: i64,
    currency: String,
    weight_g: Option<i64>,
    low_stock_at: Option<i64>,
}

impl ProductRow {
    fn read(self) -> Result<Product> {
        let count = |column: &str, n: Option<i64>| n.map(u32::try_from).transpose().map_err(|e| StoreError::corrupt(column, e));
        let weight_g = count("products.weight_g", self.weight_g)?;
        let low_stock_at = count("products.low_stock_at", self.low_stock_at)?;
        let price = money("products.currency", self.price_minor, &self.currency)?;
        Ok(Product { sku: Sku::parse(self.sku)?, name: Line::parse(self.name)?, price, weight_g, low_stock_at })
    }
}

pub(crate) async fn put_product(pools: &Pools, product: &Product, now: Instant) -> Result<Put> {
    let mut tx = pools.begin().await?;
    let new: Option<String> = sqlx::query_scalar::<Db, String>(
        "INSERT INTO products (sku, name, price_minor, currency, weight_g, low_stock_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (sku) DO NOTHING RETURNING sku",
    )
    .bind(product.sku.as_str())
    .bind(product.name.as_str())
    .bind(product.price.minor)
    .bind(product.price.currency.to_string())
    .bind(product.weight_g.map(i64::from))
    .bind(product.low_stock_at.map(i64::from))
    .bind(cut(now))
    .fetch_optional(&mut *tx)
    .await?;
    if new.is_none() {
        sqlx::query::<Db>(
            "UPDATE products SET name = $2, price_minor = $3, currency = $4, weight_g = $5, low_stock_at = $6, updated_at = $7
             WHERE sku = $1",
        )
        .bind(product.sku.as_str())
        .bind(product.name.as_str())
        .bind(product.price.minor)
        .bind(product.price.currency.to_string())
        .bind(product.weight_g.map(i64::from))
        .bind(product.low_stock_at.map(i64::from))
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(if new.is_some() { Put::Created } else { Put::Replaced })
}

pub(crate) async fn product(pools: &Pools, sku: &Sku) -> Result<Option<Product>> {
    let row = sqlx::query_as::<Db, ProductRow>(
        "SELECT sku, name, price_minor, currency, weight_g, low_stock_at FROM products WHERE sku = $1",
    )
    .bind(sku.as_str())
    .fetch_optional(&pools.read)
    .await?;
    row.map(ProductRow::read).transpose()
}

pub(crate) async fn products(pools: &Pools, after: Option<&Sku>, limit: u32) -> Result<Vec<Product>> {
    let rows = sqlx::query_as::<Db, ProductRow>(
        "SELECT sku, name, price_minor, currency, weight_g, low_stock_at FROM products WHERE sku > $1 ORDER BY sku LIMIT $2",
    )
    .bind(after.map_or("", Sku::as_str))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(ProductRow::read).collect()
}

/// Those of the SKUs that are in the catalogue.
pub(crate) async fn of(connection: &mut Conn, skus: impl IntoIterator<Item = &Sku>) -> Result<Vec<Product>> {
    let rows = sqlx::query_as::<Db, ProductRow>(concat!(
        "SELECT sku, name, price_minor, currency, weight_g, low_stock_at FROM products WHERE sku ",
        one_of!("$1")
    ))
    .bind(list(skus))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(ProductRow::read).collect()
}
