//! Statements that lock articles and tell when one runs low or is back. The lock of an article guards its shelves, its queue, and
//! the lines of reservations that its queue feeds.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::Instant;
use oms_domain::ids::{Sku, derive};
use serde_json::json;
use sqlx::types::Json;

use super::{Conn, Db, cut, list};
use crate::Result;
use crate::outbox::Subject;

/// A locked article.
pub(crate) struct Article {
    /// It runs low when no more units than these can be sold.
    low_stock_at: Option<i64>,
    /// The number of its last event.
    seq: i64,
}

/// Locks those of the articles that are in the catalogue, in one order.
pub(crate) async fn lock(connection: &mut Conn, skus: &BTreeSet<&Sku>) -> Result<BTreeMap<Sku, Article>> {
    let rows = sqlx::query_as::<Db, (String, Option<i64>, i64)>(concat!(
        "SELECT p.sku, p.low_stock_at, p.stock_seq FROM products p WHERE p.sku ",
        one_of!("$1"),
        " ORDER BY p.sku",
        for_update!("p")
    ))
    .bind(list(skus.iter().copied()))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|(sku, low_stock_at, seq)| Ok((Sku::parse(sku)?, Article { low_stock_at, seq }))).collect()
}

/// Compares the units that can be sold before and after a transaction, and writes an event for each line that they crossed.
pub(crate) async fn tell(
    connection: &mut Conn,
    sku: &Sku,
    article: &mut Article,
    (before, after): (i64, i64),
    now: Instant,
) -> Result<()> {
    let low = article.low_stock_at.is_some_and(|threshold| before > threshold && after <= threshold);
    let back = before <= 0 && after > 0;
    let kinds: Vec<&str> = [(low, "stock.low"), (back, "stock.back")].into_iter().filter(|(is, _)| *is).map(|(_, k)| k).collect();
    if kinds.is_empty() {
        return Ok(());
    }
    let subject = Subject::Sku(sku.clone()).to_string();
    for kind in kinds {
        article.seq += 1;
        let id = derive(&["event", &subject, &article.seq.to_string()]).to_string();
        let body = json!({
            "id": id, "type": kind, "sku": sku, "available": after, "threshold": article.low_stock_at, "seq": article.seq,
            "at": cut(now),
        });
        sqlx::query::<Db>("INSERT INTO outbox (order_id, seq, event_id, kind, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(&subject)
            .bind(article.seq)
            .bind(&id)
            .bind(kind)
            .bind(Json(body))
            .bind(cut(now))
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query::<Db>("UPDATE products SET stock_seq = $2 WHERE sku = $1")
        .bind(sku.as_str())
        .bind(article.seq)
        .execute(connection)
        .await?;
    Ok(())
}
