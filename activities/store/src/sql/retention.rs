//! Statements that delete what has outlived its time.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::reconciliation::Day;
use sqlx::types::Json;

use super::{Conn, Db, Pools, cut};
use crate::Result;
use crate::retention::EndedCursor;

/// Whether somebody is still to hear of an event of the outbox `x`: a webhook, whether it is served at present or not, or a sink that
/// a relay has served since `$1`. One that none has served for so long has been taken out.
macro_rules! owed {
    () => {
        "(EXISTS (SELECT 1 FROM webhooks w WHERE w.position < x.position)
          OR EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.event_id = x.event_id AND d.state = 'pending')
          OR EXISTS (SELECT 1 FROM sink_lanes s WHERE s.lane = x.lane AND s.position < x.position AND s.seen_at >= $1))"
    };
}

/// Deletes by age; the statement takes the instant and the limit.
async fn purge(pools: &Pools, statement: &'static str, before: Instant, limit: u32) -> Result<u64> {
    let mut tx = pools.begin().await?;
    let deleted = sqlx::query::<Db>(statement).bind(cut(before)).bind(i64::from(limit)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(deleted.rows_affected())
}

pub(crate) async fn outbox(pools: &Pools, before: Instant, limit: u32) -> Result<u64> {
    let mut tx = pools.begin().await?;
    let doomed = sqlx::query_scalar::<Db, String>(concat!(
        "SELECT x.event_id FROM outbox x WHERE x.published_at IS NOT NULL AND x.published_at < $1 AND NOT ",
        owed!(),
        " ORDER BY x.published_at, x.id LIMIT $2"
    ))
    .bind(cut(before))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    let deleted = delete_events(&mut tx, &doomed).await?;
    tx.commit().await?;
    Ok(deleted)
}

/// Deletes events with the deliveries that were made of them. Fails, and so deletes nothing, if one is owed again meanwhile.
async fn delete_events(connection: &mut Conn, events: &[String]) -> Result<u64> {
    if events.is_empty() {
        return Ok(0);
    }
    sqlx::query::<Db>(concat!("DELETE FROM webhook_deliveries WHERE state = 'delivered' AND event_id ", one_of!("$1")))
        .bind(Json(events))
        .execute(&mut *connection)
        .await?;
    let deleted = sqlx::query::<Db>(concat!("DELETE FROM outbox WHERE event_id ", one_of!("$1"))).bind(Json(events));
    Ok(deleted.execute(connection).await?.rows_affected())
}

pub(crate) async fn items(pools: &Pools, before: Instant, limit: u32) -> Result<u64> {
    let statement = "DELETE FROM review_items WHERE id IN (
        SELECT id FROM review_items WHERE closed_at IS NOT NULL AND closed_at < $1 ORDER BY closed_at, id LIMIT $2)";
    purge(pools, statement, before, limit).await
}

pub(crate) async fn keys(pools: &Pools, before: Instant, limit: u32) -> Result<u64> {
    let statement = "DELETE FROM idempotency_keys WHERE (client, key) IN (
        SELECT client, key FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at, client, key LIMIT $2)";
    purge(pools, statement, before, limit).await
}

pub(crate) async fn inbound(pools: &Pools, before: Instant, limit: u32) -> Result<u64> {
    let statement = "DELETE FROM inbound WHERE id IN (
        SELECT id FROM inbound WHERE settled_at IS NOT NULL AND settled_at < $1 ORDER BY settled_at, id LIMIT $2)";
    purge(pools, statement, before, limit).await
}

pub(crate) async fn parked_calls(pools: &Pools, before: Instant, limit: u32) -> Result<u64> {
    let statement = "DELETE FROM parked_calls WHERE (party, key) IN (
        SELECT party, key FROM parked_calls WHERE due_at < $1 ORDER BY due_at, party, key LIMIT $2)";
    purge(pools, statement, before, limit).await
}

pub(crate) async fn alerts(pools: &Pools, before: Instant, limit: u32) -> Result<u64> {
    let statement = "DELETE FROM alerts WHERE (id, way) IN (
        SELECT id, way FROM alerts WHERE created_at < $1 ORDER BY created_at, id, way LIMIT $2)";
    let deleted = purge(pools, statement, before, limit).await?;
    // whether an item was told is of no use once it is gone
    let mut tx = pools.begin().await?;
    let told = sqlx::query::<Db>(
        "DELETE FROM alerted_items WHERE item_id IN (SELECT a.item_id FROM alerted_items a
             WHERE NOT EXISTS (SELECT 1 FROM review_items i WHERE i.id = a.item_id) LIMIT $1)",
    )
    .bind(i64::from(limit))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(deleted.max(told.rows_affected()))
}

pub(crate) async fn redrives(pools: &Pools, before: Instant, limit: u32) -> Result<u64> {
    let statement = "DELETE FROM redrives WHERE id IN (
        SELECT id FROM redrives WHERE state = 'done' AND finished_at < $1 ORDER BY finished_at, id LIMIT $2)";
    purge(pools, statement, before, limit).await
}

pub(crate) async fn imports(pools: &Pools, before: Instant, limit: u32) -> Result<u64> {
    let statement = "DELETE FROM import_rows WHERE (upload, number) IN (
        SELECT r.upload, r.number FROM imports i JOIN import_rows r ON r.upload = i.upload
        WHERE i.state = 'done' AND i.finished_at < $1 LIMIT $2)";
    let rows = purge(pools, statement, before, limit).await?;
    if rows > 0 {
        return Ok(rows);
    }
    let statement = "DELETE FROM imports WHERE id IN (
        SELECT id FROM imports WHERE state = 'done' AND finished_at < $1 ORDER BY finished_at, id LIMIT $2)";
    purge(pools, statement, before, limit).await
}

pub(crate) async fn reports(pools: &Pools, before: &Day, limit: u32) -> Result<u64> {
    let mut tx = pools.begin().await?;
    let deleted = sqlx::query::<Db>(
        "DELETE FROM reconciliations WHERE day IN (SELECT r.day FROM reconciliations r WHERE r.day < $1 AND NOT EXISTS (
             SELECT 1 FROM reconciliation_findings f JOIN review_items i ON i.id = f.review_item
             WHERE f.day = r.day AND i.state = 'open') ORDER BY r.day LIMIT $2)",
    )
    .bind(before.as_str())
    .bind(i64::from(limit))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(deleted.rows_affected())
}

/// An order `o` that ended before `$1`. The list is the one of its index.
macro_rules! ended {
    () => {
        "o.status IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned') AND o.updated_at < $1"
    };
}

/// An order `o` for which nobody waits, and nothing of it changed since `$1`.
macro_rules! at_rest {
    () => {
        "NOT EXISTS (SELECT 1 FROM review_items i WHERE i.order_id = o.id AND i.state = 'open')
         AND NOT EXISTS (SELECT 1 FROM refunds f WHERE f.order_id = o.id
             AND (f.state NOT IN ('returned', 'closed') OR f.updated_at >= $1))
         AND NOT EXISTS (SELECT 1 FROM returns t WHERE t.order_id = o.id
             AND (t.state NOT IN ('rejected', 'completed', 'expired') OR t.updated_at >= $1))
         AND NOT EXISTS (SELECT 1 FROM outbox x WHERE x.order_id = o.id AND x.published_at IS NULL)
         AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.order_id = o.id AND m.state IN ('pending', 'claimed'))
         AND NOT EXISTS (SELECT 1 FROM reservations r
             JOIN reservation_lines l ON l.order_id = r.order_id AND l.revision = r.revision
             WHERE r.order_id = o.id AND r.state IN ('held', 'confirmed') AND l.quantity > l.committed)"
    };
}

pub(crate) async fn ended_before(
    pools: &Pools,
    before: Instant,
    after: Option<&EndedCursor>,
    limit: u32,
) -> Result<Vec<EndedCursor>> {
    let statement = concat!(
        "SELECT o.updated_at, o.id FROM orders o WHERE ",
        ended!(),
        " AND (o.updated_at, o.id) > ($2, $3) ORDER BY o.updated_at, o.id LIMIT $4"
    );
    ended_page(pools, statement, before, after, limit).await
}

pub(crate) async fn with_timeline_before(
    pools: &Pools,
    before: Instant,
    after: Option<&EndedCursor>,
    limit: u32,
) -> Result<Vec<EndedCursor>> {
    let statement = concat!(
        "SELECT o.updated_at, o.id FROM orders o WHERE ",
        ended!(),
        " AND (o.updated_at, o.id) > ($2, $3) AND EXISTS (SELECT 1 FROM timeline t WHERE t.order_id = o.id)
          ORDER BY o.updated_at, o.id LIMIT $4"
    );
    ended_page(pools, statement, before, after, limit).await
}

async fn ended_page(
    pools: &Pools,
    statement: &'static str,
    before: Instant,
    after: Option<&EndedCursor>,
    limit: u32,
) -> Result<Vec<EndedCursor>> {
    let rows = sqlx::query_as::<Db, (Instant, String)>(statement)
        .bind(cut(before))
        .bind(after.map_or(Instant::UNIX_EPOCH, |a| cut(a.updated_at)))
        .bind(after.map_or("", |a| a.id.as_str()))
        .bind(i64::from(limit))
        .fetch_all(&pools.read)
        .await?;
    rows.into_iter().map(|(updated_at, id)| Ok(EndedCursor { updated_at, id: OrderId::parse(id)? })).collect()
}

/// Locks the order, and answers whether it ended before and is at rest. Asked only under the lock: a statement that waits for a lock
/// goes on with what it saw before it waited, and whoever held it may have accepted a refund or a return.
async fn lock_at_rest(connection: &mut Conn, order: &OrderId, before: Instant) -> Result<bool> {
    sqlx::query_scalar::<Db, String>(concat!("SELECT o.id FROM orders o WHERE o.id = $1", for_update!("o")))
        .bind(order.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let at_rest = sqlx::query_scalar::<Db, String>(concat!(
        "SELECT o.id FROM orders o WHERE o.id = $2 AND ",
        ended!(),
        " AND ",
        at_rest!(),
    ))
    .bind(cut(before))
    .bind(order.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(at_rest.is_some())
}

pub(crate) async fn timeline(pools: &Pools, order: &OrderId, before: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    if !lock_at_rest(&mut tx, order, before).await? {
        return Ok(false);
    }
    let deleted = sqlx::query::<Db>("DELETE FROM timeline WHERE order_id = $1").bind(order.as_str()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(deleted.rows_affected() > 0)
}

/// Rows of an order that do not go with its own row, those that others refer to last.
const BESIDE: [&str; 9] = [
    "DELETE FROM wakes WHERE order_id = $1",
    "DELETE FROM backorders WHERE order_id = $1",
    "DELETE FROM reservation_lines WHERE order_id = $1",
    "DELETE FROM reservations WHERE order_id = $1",
    "DELETE FROM promises WHERE order_id = $1",
    "DELETE FROM departures WHERE order_id = $1",
    "DELETE FROM payment_operations WHERE order_id = $1",
    "DELETE FROM review_items WHERE order_id = $1",
    // a booking that was taken back before it was noted knows only its key: the shipment's id, which is the order's and a dash
    "DELETE FROM bookings WHERE key > $1 || '-' AND key < $1 || '.'",
];

pub(crate) async fn order(pools: &Pools, order: &OrderId, before: Instant, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    if !lock_at_rest(&mut tx, order, before).await? {
        return Ok(false);
    }
    for statement in BESIDE {
        sqlx::query::<Db>(statement).bind(order.as_str()).execute(&mut *tx).await?;
    }
    // an event that somebody is still to hear of goes by its own age, later: it tells nothing of persons
    let events = concat!("SELECT x.event_id FROM outbox x WHERE x.order_id = $2 AND NOT ", owed!());
    let events = sqlx::query_scalar::<Db, String>(events).bind(cut(before)).bind(order.as_str()).fetch_all(&mut *tx).await?;
    delete_events(&mut tx, &events).await?;
    sqlx::query::<Db>("DELETE FROM orders WHERE id = $1").bind(order.as_str()).execute(&mut *tx).await?;
    sqlx::query::<Db>("INSERT INTO gone_orders (id, gone_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
        .bind(order.as_str())
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}
