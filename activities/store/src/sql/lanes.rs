//! Statements of a sink's lanes.

use oms_domain::Instant;
use sqlx::types::Json;

use super::outbox::{EventRow, columns, event};
use super::{Conn, Db, Pools, cut, signed, unsigned};
use crate::lanes::{LANES, Lane};
use crate::outbox::OutboxRow;
use crate::{Result, StoreError};

pub(crate) async fn open(pools: &Pools, sinks: &[&str], now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    for sink in sinks {
        for lane in 0..LANES {
            sqlx::query::<Db>(
                "INSERT INTO sink_lanes (sink, lane, position) VALUES ($1, $2, COALESCE(
                     (SELECT MIN(x.position) - 1 FROM outbox x WHERE x.lane = $2 AND x.published_at IS NULL AND x.position IS NOT NULL),
                     (SELECT MAX(x.position) FROM outbox x WHERE x.lane = $2), 0))
                 ON CONFLICT (sink, lane) DO NOTHING",
            )
            .bind(*sink)
            .bind(i64::from(lane))
            .execute(&mut *tx)
            .await?;
        }
    }
    for lane in 0..LANES {
        note_published(&mut tx, lane, sinks, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Notes as published what all of the sinks have.
async fn note_published(connection: &mut Conn, lane: u32, sinks: &[&str], now: Instant) -> Result<()> {
    if sinks.is_empty() {
        sqlx::query::<Db>(
            "UPDATE outbox SET published_at = $2 WHERE lane = $1 AND published_at IS NULL AND position IS NOT NULL",
        )
        .bind(i64::from(lane))
        .bind(cut(now))
        .execute(connection)
        .await?;
        return Ok(());
    }
    sqlx::query::<Db>(concat!(
        "UPDATE outbox SET published_at = $2 WHERE lane = $1 AND published_at IS NULL AND position <= (
             SELECT MIN(s.position) FROM sink_lanes s WHERE s.lane = $1 AND s.sink IN ",
        each!("$3"),
        ")"
    ))
    .bind(i64::from(lane))
    .bind(cut(now))
    .bind(Json(sinks))
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn lease(pools: &Pools, sink: &str, owner: &str, most: u32, until: Instant, now: Instant) -> Result<Vec<Lane>> {
    // nearly always there is nothing to hand over: looked for without a lock
    if !any_due(pools, sink, now).await? {
        return Ok(Vec::new());
    }
    let mut tx = pools.begin().await?;
    let rows = sqlx::query_as::<Db, (i64, i64)>(concat!(
        "WITH due AS MATERIALIZED (SELECT s.sink, s.lane FROM sink_lanes s
             WHERE s.sink = $1 AND (s.leased_until IS NULL OR s.leased_until <= $4)
                 AND EXISTS (SELECT 1 FROM outbox x WHERE x.lane = s.lane AND x.position > s.position)
             ORDER BY s.position, s.lane LIMIT $5",
        skip_locked!(),
        ") UPDATE sink_lanes SET owner = $2, leased_until = $3 WHERE (sink, lane) IN (SELECT sink, lane FROM due)
         RETURNING lane, position"
    ))
    .bind(sink)
    .bind(owner)
    .bind(cut(until))
    .bind(cut(now))
    .bind(i64::from(most))
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(lane).collect()
}

async fn any_due(pools: &Pools, sink: &str, now: Instant) -> Result<bool> {
    let due = sqlx::query_scalar::<Db, i64>(
        "SELECT s.lane FROM sink_lanes s WHERE s.sink = $1 AND (s.leased_until IS NULL OR s.leased_until <= $2)
             AND EXISTS (SELECT 1 FROM outbox x WHERE x.lane = s.lane AND x.position > s.position) LIMIT 1",
    );
    Ok(due.bind(sink).bind(cut(now)).fetch_optional(&pools.read).await?.is_some())
}

fn lane((lane, position): (i64, i64)) -> Result<Lane> {
    let lane = u32::try_from(lane).map_err(|e| StoreError::corrupt("sink_lanes.lane", e))?;
    Ok(Lane { lane, position: unsigned("sink_lanes.position", position)? })
}

pub(crate) async fn events(pools: &Pools, lane: &Lane, limit: u32) -> Result<Vec<OutboxRow>> {
    let rows = sqlx::query_as::<Db, EventRow>(concat!(
        "SELECT ",
        columns!(),
        " FROM outbox x WHERE x.lane = $1 AND x.position > $2 ORDER BY x.position LIMIT $3"
    ))
    .bind(i64::from(lane.lane))
    .bind(signed(lane.position))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(event).collect()
}

pub(crate) async fn advance(
    pools: &Pools,
    sink: &str,
    lane: u32,
    owner: &str,
    position: u64,
    sinks: &[&str],
    now: Instant,
) -> Result<bool> {
    let mut tx = pools.begin().await?;
    // all sinks of the lane, so that the last of them to move sees where the others are
    sqlx::query_scalar::<Db, i64>(concat!(
        "SELECT s.position FROM sink_lanes s WHERE s.lane = $1 ORDER BY s.sink",
        for_update!("s")
    ))
    .bind(i64::from(lane))
    .fetch_all(&mut *tx)
    .await?;
    let moved = sqlx::query::<Db>(
        "UPDATE sink_lanes SET position = $4, owner = NULL, leased_until = NULL
         WHERE sink = $1 AND lane = $2 AND owner = $3 AND position <= $4",
    )
    .bind(sink)
    .bind(i64::from(lane))
    .bind(owner)
    .bind(signed(position))
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    note_published(&mut tx, lane, sinks, now).await?;
    tx.commit().await?;
    Ok(true)
}

pub(crate) async fn release(pools: &Pools, sink: &str, lane: u32, owner: &str, until: Option<Instant>) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE sink_lanes SET owner = NULL, leased_until = $4 WHERE sink = $1 AND lane = $2 AND owner = $3")
        .bind(sink)
        .bind(i64::from(lane))
        .bind(owner)
        .bind(until.map(cut))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}
