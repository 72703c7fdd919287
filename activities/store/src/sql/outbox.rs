//! Statements of the outbox.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use sqlx::types::Json;

use super::{Db, Pools, signed, unsigned};
use crate::Result;
use crate::outbox::{OutboxRow, Subject};

#[derive(sqlx::FromRow)]
pub(crate) struct EventRow {
    id: i64,
    position: Option<i64>,
    order_id: String,
    seq: i64,
    event_id: String,
    kind: String,
    body: Json<serde_json::Value>,
    created_at: Instant,
}

/// The columns of an [`EventRow`] of an outbox `x`.
macro_rules! columns {
    () => {
        "x.id, x.position, x.order_id, x.seq, x.event_id, x.kind, x.body, x.created_at"
    };
}
pub(crate) use columns;

pub(crate) async fn place(pools: &Pools, limit: u32) -> Result<u64> {
    // nearly always there is nothing to place: looked for without a lock
    let waiting = sqlx::query_scalar::<Db, i64>("SELECT id FROM outbox WHERE position IS NULL ORDER BY id LIMIT 1");
    if waiting.fetch_optional(&pools.read).await?.is_none() {
        return Ok(0);
    }
    let mut tx = pools.begin().await?;
    // whoever holds this row is alone: places are committed in their order, and what is read after the lock is everything before them
    let end = sqlx::query_scalar::<Db, i64>(concat!("SELECT e.position FROM outbox_end e WHERE e.id = 1", for_update!("e")))
        .fetch_one(&mut *tx)
        .await?;
    // within a subject numbers ascend: each was inserted under the lock of the subject's row
    let placed = sqlx::query::<Db>(
        "UPDATE outbox SET position = n.place FROM (
             SELECT w.id, $1 + ROW_NUMBER() OVER (ORDER BY w.id) AS place FROM (
                 SELECT id FROM outbox WHERE position IS NULL ORDER BY id LIMIT $2) AS w) AS n
         WHERE n.id = outbox.id",
    )
    .bind(end)
    .bind(i64::from(limit))
    .execute(&mut *tx)
    .await?
    .rows_affected();
    sqlx::query::<Db>("UPDATE outbox_end SET position = position + $1 WHERE id = 1")
        .bind(signed(placed))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(placed)
}

pub(crate) async fn events_after(pools: &Pools, position: u64, limit: u32) -> Result<Vec<OutboxRow>> {
    let rows = sqlx::query_as::<Db, EventRow>(concat!(
        "SELECT ",
        columns!(),
        " FROM outbox x WHERE x.position > $1 ORDER BY x.position LIMIT $2"
    ))
    .bind(signed(position))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(event).collect()
}

pub(crate) async fn unpublished(pools: &Pools, limit: u32) -> Result<Vec<OutboxRow>> {
    let rows = sqlx::query_as::<Db, EventRow>(concat!(
        "SELECT ",
        columns!(),
        " FROM outbox x WHERE x.published_at IS NULL ORDER BY x.id LIMIT $1"
    ))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(event).collect()
}

pub(crate) async fn events_of(pools: &Pools, order: &OrderId, after_seq: u64, limit: u32) -> Result<Vec<OutboxRow>> {
    let rows = sqlx::query_as::<Db, EventRow>(concat!(
        "SELECT ",
        columns!(),
        " FROM outbox x WHERE x.order_id = $1 AND x.seq > $2 ORDER BY x.seq LIMIT $3"
    ))
    .bind(order.as_str())
    .bind(signed(after_seq))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(event).collect()
}

pub(crate) fn event(row: EventRow) -> Result<OutboxRow> {
    Ok(OutboxRow {
        id: row.id,
        position: row.position.map(|position| unsigned("outbox.position", position)).transpose()?,
        subject: Subject::parse(&row.order_id)?,
        seq: unsigned("outbox.seq", row.seq)?,
        event_id: row.event_id,
        kind: row.kind,
        body: row.body.0,
        created_at: row.created_at,
    })
}
