//! Statements that read our side of a comparison with others' books.

use std::collections::BTreeMap;

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::life::Life;
use oms_domain::order::Status;
use oms_domain::pricing::Totals;
use oms_domain::reconciliation::{OrderBooks, PromiseBooks, Sums};
use oms_domain::shipment::ScanType;
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use super::{Db, Pools, RawRow, cut, readable, unsigned, word};
use crate::reconciliations::{AskedOf, OpenCursor};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
struct PromiseRow {
    order_id: String,
    units: i64,
    reserved_at: Instant,
    status: Option<String>,
    updated_at: Option<Instant>,
}

pub(crate) async fn promised(pools: &Pools, after: Option<&OrderId>, limit: u32) -> Result<Vec<PromiseBooks>> {
    let rows = sqlx::query_as::<Db, PromiseRow>(
        "SELECT r.order_id, MAX(r.updated_at) AS reserved_at, o.status, o.updated_at,
             CAST(COALESCE(SUM((SELECT SUM(l.quantity - l.committed) FROM reservation_lines l
                 WHERE l.order_id = r.order_id AND l.revision = r.revision)), 0) AS BIGINT) AS units
         FROM reservations r LEFT JOIN orders o ON o.id = r.order_id
         WHERE r.state IN ('held', 'confirmed') AND r.order_id > $1 AND EXISTS (SELECT 1 FROM reservation_lines l
             WHERE l.order_id = r.order_id AND l.revision = r.revision AND l.quantity > l.committed)
         GROUP BY r.order_id, o.status, o.updated_at ORDER BY r.order_id LIMIT $2",
    )
    .bind(after.map_or("", OrderId::as_str))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(PromiseBooks {
                order: OrderId::parse(row.order_id)?,
                units: unsigned("reservation_lines", row.units)?,
                status: row.status.map(|s| word("orders.status", &s, Status::parse)).transpose()?,
                updated_at: row.updated_at.map_or(row.reserved_at, |at| at.max(row.reserved_at)),
            })
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct BooksRow {
    id: String,
    rev: i64,
    totals: Json<Totals>,
    life: Json<Life>,
    updated_at: Instant,
}

impl BooksRow {
    fn read(self) -> Result<OrderBooks> {
        Ok(OrderBooks {
            id: OrderId::parse(self.id)?,
            rev: unsigned("orders.rev", self.rev)?,
            total: self.totals.total,
            life: self.life.0,
            updated_at: self.updated_at,
        })
    }

    /// A row as it came, or none if it cannot be read.
    fn read_if_readable(row: &RawRow) -> Result<Option<OrderBooks>> {
        let books = Self::from_row(row).map_err(StoreError::from).and_then(Self::read);
        Ok(readable("orders", row.try_get("id")?, books))
    }
}

pub(crate) async fn open_orders(
    pools: &Pools,
    after: Option<&OpenCursor>,
    limit: u32,
) -> Result<Vec<(OpenCursor, Option<OrderBooks>)>> {
    let open = Status::ALL.into_iter().filter(|s| !s.is_terminal());
    let mut found = Vec::new();
    for status in open.skip_while(|s| after.is_some_and(|a| a.status != *s)) {
        let behind = after.filter(|a| a.status == status);
        let left = i64::from(limit) - i64::try_from(found.len()).unwrap_or(i64::MAX);
        let rows = sqlx::query::<Db>(
            "SELECT o.id, o.rev, o.totals, o.life, o.placed_at, o.updated_at FROM orders o
             WHERE o.status = $1 AND (o.placed_at, o.id) > ($2, $3) ORDER BY o.placed_at, o.id LIMIT $4",
        )
        .bind(status.as_str())
        .bind(behind.map_or(Instant::UNIX_EPOCH, |a| cut(a.placed_at)))
        .bind(behind.map_or("", |a| a.id.as_str()))
        .bind(left)
        .fetch_all(&pools.read)
        .await?;
        for row in rows {
            let cursor =
                OpenCursor { status, placed_at: row.try_get("placed_at")?, id: OrderId::parse(row.try_get::<String, _>("id")?)? };
            found.push((cursor, BooksRow::read_if_readable(&row)?));
        }
        if found.len() >= limit as usize {
            break;
        }
    }
    Ok(found)
}

fn ids(orders: &[OrderId]) -> Json<Vec<&str>> {
    Json(orders.iter().map(OrderId::as_str).collect())
}

pub(crate) async fn order_books(pools: &Pools, orders: &[OrderId]) -> Result<BTreeMap<OrderId, Option<OrderBooks>>> {
    let rows =
        sqlx::query::<Db>(concat!("SELECT o.id, o.rev, o.totals, o.life, o.updated_at FROM orders o WHERE o.id ", one_of!("$1")))
            .bind(ids(orders))
            .fetch_all(&pools.read)
            .await?;
    rows.iter().map(|row| Ok((OrderId::parse(row.try_get::<String, _>("id")?)?, BooksRow::read_if_readable(row)?))).collect()
}

pub(crate) async fn payment_sums(pools: &Pools, orders: &[OrderId]) -> Result<BTreeMap<String, Sums>> {
    let rows = sqlx::query_as::<Db, (String, i64, i64)>(concat!(
        "SELECT p.payment_id,
             CAST(SUM(CASE WHEN p.kind = 'capture' AND p.outcome = 'captured' THEN p.amount_minor ELSE 0 END) AS BIGINT),
             CAST(SUM(CASE WHEN p.kind = 'refund' AND p.outcome = 'returned' THEN p.amount_minor ELSE 0 END) AS BIGINT)
         FROM payment_operations p WHERE p.payment_id IS NOT NULL AND p.order_id ",
        one_of!("$1"),
        " GROUP BY p.payment_id"
    ))
    .bind(ids(orders))
    .fetch_all(&pools.read)
    .await?;
    Ok(rows.into_iter().map(|(payment, captured, refunded)| (payment, Sums { captured, refunded })).collect())
}

pub(crate) async fn asked_of(pools: &Pools, order: &OrderId) -> Result<AskedOf> {
    let authorizations = sqlx::query_scalar::<Db, String>(
        "SELECT key FROM payment_operations WHERE order_id = $1 AND kind = 'authorize' AND outcome <> 'declined'
         ORDER BY created_at DESC, key DESC",
    )
    .bind(order.as_str())
    .fetch_all(&pools.read)
    .await?;
    let bookings = sqlx::query_scalar::<Db, String>("SELECT key FROM bookings WHERE order_id = $1 ORDER BY key")
        .bind(order.as_str())
        .fetch_all(&pools.read)
        .await?;
    Ok(AskedOf { authorizations, bookings })
}

pub(crate) async fn past_undo(pools: &Pools, order: &OrderId) -> Result<bool> {
    let past = sqlx::query_scalar::<Db, bool>(
        "SELECT EXISTS (SELECT 1 FROM departures d WHERE d.order_id = $1)
             OR EXISTS (SELECT 1 FROM payment_operations p WHERE p.order_id = $1 AND p.kind = 'capture' AND p.outcome = 'captured')
             OR EXISTS (SELECT 1 FROM shipment_events e WHERE e.order_id = $1 AND e.rank >= $2)",
    )
    .bind(order.as_str())
    .bind(i64::from(ScanType::Shipped.rank()))
    .fetch_one(&pools.read)
    .await?;
    Ok(past)
}
