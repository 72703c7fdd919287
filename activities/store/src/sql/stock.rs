//! Statements that read stock. What ran out unconfirmed is subtracted from `reserved`: it can be sold at once.

use oms_domain::Instant;
use oms_domain::ids::{Location, Sku};

use super::{Conn, Db, Pools, cut, unsigned};
use crate::Result;
use crate::stock::{LocationLevel, StockLevel};

#[derive(sqlx::FromRow)]
struct LevelRow {
    sku: String,
    location: Option<String>,
    on_hand: Option<i64>,
    reserved: Option<i64>,
    lapsed: i64,
    waiting: i64,
}

/// The columns of a [`LevelRow`] for the products that `$which` selects; `$1` is the instant of the question.
macro_rules! levels {
    ($which:literal) => {
        concat!(
            "SELECT p.sku, s.location, s.on_hand, s.reserved, COALESCE((
                 SELECT CAST(SUM(l.quantity - l.committed) AS BIGINT)
                 FROM reservations r CROSS JOIN reservation_lines l
                 WHERE r.state = 'held' AND r.expires_at <= $1 AND l.order_id = r.order_id AND l.revision = r.revision
                     AND l.sku = s.sku AND l.location = s.location
             ), 0) AS lapsed,
             COALESCE((SELECT CAST(SUM(b.quantity) AS BIGINT) FROM backorders b WHERE b.sku = p.sku), 0) AS waiting
             FROM (SELECT sku FROM products WHERE ",
            $which,
            ") AS p LEFT JOIN stock s ON s.sku = p.sku ORDER BY p.sku, s.location"
        )
    };
}

pub(crate) async fn level(pools: &Pools, sku: &Sku, now: Instant) -> Result<Option<StockLevel>> {
    level_on(&mut *pools.read.acquire().await?, sku, now).await
}

/// The same inside a transaction.
pub(crate) async fn level_on(connection: &mut Conn, sku: &Sku, now: Instant) -> Result<Option<StockLevel>> {
    let rows =
        sqlx::query_as::<Db, LevelRow>(levels!("sku = $2")).bind(cut(now)).bind(sku.as_str()).fetch_all(connection).await?;
    Ok(grouped(rows)?.pop())
}

pub(crate) async fn levels(pools: &Pools, after: Option<&Sku>, limit: u32, now: Instant) -> Result<Vec<StockLevel>> {
    let rows = sqlx::query_as::<Db, LevelRow>(levels!("sku > $2 ORDER BY sku LIMIT $3"))
        .bind(cut(now))
        .bind(after.map_or("", Sku::as_str))
        .bind(i64::from(limit))
        .fetch_all(&pools.read)
        .await?;
    grouped(rows)
}

/// Rows sorted by SKU and place as one level per SKU.
fn grouped(rows: Vec<LevelRow>) -> Result<Vec<StockLevel>> {
    let mut articles: Vec<StockLevel> = Vec::new();
    for row in rows {
        let sku = Sku::parse(row.sku)?;
        if articles.last().is_none_or(|last| last.sku != sku) {
            articles.push(StockLevel::none(sku, unsigned("backorders.quantity", row.waiting)?));
        }
        let (Some(location), Some(on_hand), Some(reserved)) = (row.location, row.on_hand, row.reserved) else { continue };
        let on_hand = unsigned("stock.on_hand", on_hand)?;
        let reserved = unsigned("stock.reserved", reserved - row.lapsed)?;
        if let Some(article) = articles.last_mut() {
            let available = on_hand.saturating_sub(reserved);
            article.add(LocationLevel { location: Location::parse(location)?, on_hand, reserved, available });
        }
    }
    Ok(articles)
}
