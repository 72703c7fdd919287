//! Statements of a sink's lanes.

use oms_domain::Instant;
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::outbox::{EventRow, columns, event};
use super::{Conn, Db, Pools, cut, signed, unsigned};
use crate::lanes::{LANES, Lane, LaneEnd};
use crate::outbox::OutboxRow;
use crate::{Result, StoreError};

pub(crate) async fn open(pools: &Pools, sinks: &[&str], now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    if sinks.is_empty() {
        publish_placed(&mut tx, now).await?;
        tx.commit().await?;
        return Ok(());
    }
    let lanes: Vec<u32> = (0..LANES).collect();
    for lane in &lanes {
        for sink in sinks {
            sqlx::query::<Db>(
                "INSERT INTO sink_lanes (sink, lane, position, seen_at) VALUES ($1, $2, COALESCE(
                     (SELECT MIN(x.position) - 1 FROM outbox x WHERE x.lane = $2 AND x.published_at IS NULL AND x.position IS NOT NULL),
                     (SELECT MAX(x.position) FROM outbox x WHERE x.lane = $2), 0), $3)
                 ON CONFLICT (sink, lane) DO NOTHING",
            )
            .bind(*sink)
            .bind(i64::from(*lane))
            .bind(cut(now))
            .execute(&mut *tx)
            .await?;
        }
    }
    lock(&mut tx, &lanes).await?;
    sqlx::query::<Db>(concat!("UPDATE sink_lanes SET seen_at = $1 WHERE sink ", one_of!("$2")))
        .bind(cut(now))
        .bind(Json(sinks))
        .execute(&mut *tx)
        .await?;
    note_published(&mut tx, &lanes, sinks, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Without sinks an event is out once it has a place.
async fn publish_placed(connection: &mut Conn, now: Instant) -> Result<()> {
    // the placers' lock: two that noted the same events at once could wait for each other
    sqlx::query_scalar::<Db, i64>(concat!("SELECT e.position FROM outbox_end e WHERE e.id = 1", for_update!("e")))
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query::<Db>("UPDATE outbox SET published_at = $1 WHERE published_at IS NULL AND position IS NOT NULL")
        .bind(cut(now))
        .execute(connection)
        .await?;
    Ok(())
}

/// Locks all sinks of some lanes, in one order, so that the last of them to move sees where the others are.
async fn lock(connection: &mut Conn, lanes: &[u32]) -> Result<()> {
    let mut locked = QueryBuilder::<Db>::new("SELECT s.position FROM sink_lanes s WHERE s.lane IN (");
    push_list(&mut locked, lanes.iter().map(|lane| i64::from(*lane)));
    locked.push(concat!(") ORDER BY s.lane, s.sink", for_update!("s")));
    locked.build_query_scalar::<i64>().fetch_all(connection).await?;
    Ok(())
}

/// Notes as published what all of the sinks have of some lanes, which must be locked.
async fn note_published(connection: &mut Conn, lanes: &[u32], sinks: &[&str], now: Instant) -> Result<()> {
    let mut note = QueryBuilder::<Db>::new("UPDATE outbox SET published_at = ");
    note.push_bind(cut(now)).push(" FROM (SELECT s.lane, MIN(s.position) AS position FROM sink_lanes s WHERE s.lane IN (");
    push_list(&mut note, lanes.iter().map(|lane| i64::from(*lane)));
    note.push(") AND s.sink IN (");
    push_list(&mut note, sinks.iter().map(|sink| (*sink).to_owned()));
    note.push(
        ") GROUP BY s.lane) AS had
         WHERE outbox.lane = had.lane AND outbox.position <= had.position AND outbox.published_at IS NULL",
    );
    note.build().execute(connection).await?;
    Ok(())
}

fn push_list<'a, T>(query: &mut QueryBuilder<Db>, values: impl Iterator<Item = T>)
where
    T: 'a + sqlx::Encode<'a, Db> + sqlx::Type<Db>,
{
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value);
    }
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

pub(crate) async fn leave(
    pools: &Pools,
    sink: &str,
    owner: &str,
    ends: &[LaneEnd],
    sinks: &[&str],
    now: Instant,
) -> Result<Vec<u32>> {
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = pools.begin().await?;
    let lanes: Vec<u32> = ends.iter().map(|end| end.lane).collect();
    lock(&mut tx, &lanes).await?;
    let mut update = QueryBuilder::<Db>::new("WITH ends (lane, position, rests_until) AS (");
    update.push_values(ends, |mut row, end| {
        row.push_bind(i64::from(end.lane)).push_bind(signed(end.position)).push_bind(end.rests_until.map(cut));
    });
    update.push(") UPDATE sink_lanes SET position = ends.position, owner = NULL, leased_until = ends.rests_until, seen_at = ");
    update.push_bind(cut(now)).push(" FROM ends WHERE sink_lanes.lane = ends.lane AND sink_lanes.position <= ends.position");
    update.push(" AND sink_lanes.sink = ").push_bind(sink).push(" AND sink_lanes.owner = ").push_bind(owner);
    update.push(" RETURNING sink_lanes.lane");
    let left = update.build_query_scalar::<i64>().fetch_all(&mut *tx).await?;
    let (kept, lost): (Vec<u32>, Vec<u32>) = lanes.iter().partition(|lane| left.contains(&i64::from(**lane)));
    if !kept.is_empty() {
        note_published(&mut tx, &kept, sinks, now).await?;
    }
    tx.commit().await?;
    Ok(lost)
}
