//! Statements of the outbox.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::{Db, Pools, cut, signed, unsigned};
use crate::Result;
use crate::outbox::{OutboxRow, Subject};

#[derive(sqlx::FromRow)]
struct EventRow {
    id: i64,
    order_id: String,
    seq: i64,
    event_id: String,
    kind: String,
    body: Json<serde_json::Value>,
    created_at: Instant,
}

pub(crate) async fn unpublished(pools: &Pools, limit: u32) -> Result<Vec<OutboxRow>> {
    let rows = sqlx::query_as::<Db, EventRow>(
        "SELECT id, order_id, seq, event_id, kind, body, created_at FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(event).collect()
}

pub(crate) async fn events_of(pools: &Pools, order: &OrderId, after_seq: u64, limit: u32) -> Result<Vec<OutboxRow>> {
    let rows = sqlx::query_as::<Db, EventRow>(
        "SELECT id, order_id, seq, event_id, kind, body, created_at FROM outbox
         WHERE order_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    )
    .bind(order.as_str())
    .bind(signed(after_seq))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(event).collect()
}

fn event(row: EventRow) -> Result<OutboxRow> {
    Ok(OutboxRow {
        id: row.id,
        subject: Subject::parse(&row.order_id)?,
        seq: unsigned("outbox.seq", row.seq)?,
        event_id: row.event_id,
        kind: row.kind,
        body: row.body.0,
        created_at: row.created_at,
    })
}

/// Ids per statement: SQLite takes 32,766 parameters, Postgres 65,535.
const CHUNK: usize = 1_000;

pub(crate) async fn mark_published(pools: &Pools, ids: &[i64], now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    for chunk in ids.chunks(CHUNK) {
        let mut update = QueryBuilder::<Db>::new("UPDATE outbox SET published_at = ");
        update.push_bind(cut(now)).push(" WHERE published_at IS NULL AND id IN (");
        let mut list = update.separated(", ");
        for id in chunk {
            list.push_bind(*id);
        }
        update.push(")");
        update.build().execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}
