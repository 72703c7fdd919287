//! Statements that count orders.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::order::Status;

use super::{Db, Pools, cut, unsigned, word};
use crate::gauges::{OpenOrders, OverdueOrder, UNDATED_HOURS};
use crate::{Result, StoreError};

/// Open orders, in the words of the partial indexes.
macro_rules! open {
    () => {
        "status NOT IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned')"
    };
}

pub(crate) async fn by_status(pools: &Pools) -> Result<Vec<(Status, u64)>> {
    let rows =
        sqlx::query_as::<Db, (String, i64)>("SELECT status, COUNT(*) FROM orders GROUP BY status").fetch_all(&pools.read).await?;
    let read = |(status, count): (String, i64)| Ok((word("orders.status", &status, Status::parse)?, unsigned("orders", count)?));
    let mut counts = rows.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    counts.sort();
    Ok(counts)
}

pub(crate) async fn unpublished(pools: &Pools) -> Result<u64> {
    let count = sqlx::query_scalar::<Db, i64>("SELECT COUNT(*) FROM outbox WHERE published_at IS NULL");
    unsigned("outbox", count.fetch_one(&pools.read).await?)
}

pub(crate) const OPEN_BY_SHAPE_AND_BUILD: &str =
    concat!("SELECT shape, build, COUNT(*) FROM orders WHERE ", open!(), " GROUP BY shape, build ORDER BY shape, build");

pub(crate) async fn open_by_shape_and_build(pools: &Pools) -> Result<Vec<OpenOrders>> {
    let rows = sqlx::query_as::<Db, (i64, Option<String>, i64)>(OPEN_BY_SHAPE_AND_BUILD).fetch_all(&pools.read).await?;
    let read = |(shape, build, count)| {
        let shape = u32::try_from(shape).map_err(|e| StoreError::corrupt("orders.shape", e))?;
        Ok(OpenOrders { shape, build, count: unsigned("orders", count)? })
    };
    rows.into_iter().map(read).collect()
}

#[derive(sqlx::FromRow)]
struct OverdueRow {
    id: String,
    status: String,
    due_at: Option<Instant>,
    placed_at: Instant,
    updated_at: Instant,
    rev: i64,
}

/// Orders of which nobody knows yet that they stand still: those with an item are looked after until it settles.
macro_rules! unseen {
    () => {
        " AND NOT EXISTS (SELECT 1 FROM review_items i WHERE i.order_id = orders.id AND i.state = 'open' AND i.source = 'watchdog'
             AND i.kind IN ('workflow_task_failing', 'silent', 'terminated'))"
    };
}

pub(crate) const OVERDUE: &str = concat!(
    "SELECT id, status, due_at, placed_at, updated_at, rev FROM orders WHERE due_at < $1 AND rev > 0 AND ",
    open!(),
    unseen!(),
    " ORDER BY due_at, id LIMIT $2"
);
/// Runs that have not said when they expect to be done.
pub(crate) const OVERDUE_UNDATED: &str = concat!(
    "SELECT id, status, due_at, placed_at, updated_at, rev FROM orders WHERE due_at IS NULL AND placed_at < $1 AND rev > 0 AND ",
    open!(),
    unseen!(),
    " ORDER BY placed_at, id LIMIT $2"
);

pub(crate) async fn overdue(pools: &Pools, now: Instant, limit: u32) -> Result<Vec<OverdueOrder>> {
    let grace = chrono::Duration::hours(UNDATED_HOURS);
    let mut rows: Vec<OverdueRow> = Vec::new();
    for (query, before) in [(OVERDUE, now), (OVERDUE_UNDATED, now - grace)] {
        let found = sqlx::query_as::<Db, OverdueRow>(query).bind(cut(before)).bind(i64::from(limit));
        rows.extend(found.fetch_all(&pools.read).await?);
    }
    rows.sort_by_cached_key(|row| (row.due_at.unwrap_or(row.placed_at + grace), row.id.clone()));
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    rows.into_iter().map(read).collect()
}

fn read(row: OverdueRow) -> Result<OverdueOrder> {
    Ok(OverdueOrder {
        id: OrderId::parse(row.id)?,
        status: word("orders.status", &row.status, Status::parse)?,
        due_at: row.due_at,
        updated_at: row.updated_at,
        rev: unsigned("orders.rev", row.rev)?,
    })
}
