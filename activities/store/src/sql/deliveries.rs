//! Statements of webhooks' deliveries.

use std::collections::BTreeMap;

use oms_domain::Instant;
use sqlx::types::Json;

use super::outbox::{EventRow, columns, event};
use super::{Conn, Db, Pools, cut, signed, unsigned, word};
use crate::circuits::Pauses;
use crate::deliveries::{Attempt, ClaimedDelivery, DeliveryState, DeliveryView, FAILURES_MAX, Failing};
use crate::{Result, StoreError};

/// Deliveries `d` of a webhook that can be tried now: the first of each subject, unless somebody is at it.
macro_rules! due {
    ($webhook:literal, $now:literal) => {
        concat!(
            "webhook_deliveries d WHERE d.webhook_id = ",
            $webhook,
            " AND d.state = 'pending' AND d.due_at <= ",
            $now,
            " AND (d.leased_until IS NULL OR d.leased_until <= ",
            $now,
            ") AND NOT EXISTS (SELECT 1 FROM webhook_deliveries e WHERE e.webhook_id = d.webhook_id AND e.subject = d.subject
                 AND e.state = 'pending' AND e.position < d.position)"
        )
    };
}

pub(crate) async fn owe(pools: &Pools, limit: u32, now: Instant) -> Result<u64> {
    let behind = sqlx::query_scalar::<Db, String>(
        "SELECT w.id FROM webhooks w WHERE w.state = 'enabled' AND w.position < (SELECT e.position FROM outbox_end e WHERE e.id = 1)
         ORDER BY w.id",
    )
    .fetch_all(&pools.read)
    .await?;
    if behind.is_empty() {
        return Ok(0);
    }
    let mut looked_at = 0;
    let mut tx = pools.begin().await?;
    for id in behind {
        looked_at += owe_one(&mut tx, &id, limit, now).await?;
    }
    tx.commit().await?;
    Ok(looked_at)
}

async fn owe_one(connection: &mut Conn, id: &str, limit: u32, now: Instant) -> Result<u64> {
    let row = sqlx::query_as::<Db, (i64, Json<Vec<String>>, i64)>(concat!(
        "SELECT w.position, w.kinds, (SELECT e.position FROM outbox_end e WHERE e.id = 1) FROM webhooks w WHERE w.id = $1",
        for_update!("w")
    ))
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((position, kinds, end)) = row else { return Ok(0) };
    // a count of places, not of rows: what retention has deleted leaves gaps
    let upto = end.min(position.saturating_add(i64::from(limit)));
    if upto <= position {
        return Ok(0);
    }
    // what waits behind a failed one waits as long; without that every round would look at all of it
    sqlx::query::<Db>(concat!(
        "INSERT INTO webhook_deliveries (webhook_id, position, event_id, subject, kind, state, attempts, due_at)
         SELECT $1, x.position, x.event_id, x.order_id, x.kind, 'pending', 0, COALESCE(
             (SELECT MAX(d.due_at) FROM webhook_deliveries d
              WHERE d.webhook_id = $1 AND d.subject = x.order_id AND d.state = 'pending'), $2)
         FROM outbox x WHERE x.position > $3 AND x.position <= $4 AND ($5 OR x.kind ",
        one_of!("$6"),
        ") ON CONFLICT (webhook_id, position) DO NOTHING"
    ))
    .bind(id)
    .bind(cut(now))
    .bind(position)
    .bind(upto)
    .bind(kinds.is_empty())
    .bind(&kinds)
    .execute(&mut *connection)
    .await?;
    sqlx::query::<Db>("UPDATE webhooks SET position = $2 WHERE id = $1").bind(id).bind(upto).execute(&mut *connection).await?;
    unsigned("webhooks.position", upto - position)
}

pub(crate) async fn claim(
    pools: &Pools,
    webhook: &str,
    owner: &str,
    until: Instant,
    limit: u32,
    now: Instant,
) -> Result<Vec<ClaimedDelivery>> {
    // every round ends with nothing more to claim: looked for without a lock
    let any = sqlx::query_scalar::<Db, i64>(concat!("SELECT d.position FROM ", due!("$1", "$2"), " LIMIT 1"));
    if any.bind(webhook).bind(cut(now)).fetch_optional(&pools.read).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut tx = pools.begin().await?;
    let claimed = sqlx::query_as::<Db, (i64, i64, Option<Instant>)>(concat!(
        "WITH due AS MATERIALIZED (SELECT d.position FROM ",
        due!("$1", "$4"),
        " ORDER BY d.due_at, d.position LIMIT $5",
        skip_locked!(),
        ") UPDATE webhook_deliveries SET owner = $2, leased_until = $3
         WHERE webhook_id = $1 AND position IN (SELECT position FROM due)
         RETURNING position, attempts, failing_since"
    ))
    .bind(webhook)
    .bind(owner)
    .bind(cut(until))
    .bind(cut(now))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    let rows = sqlx::query_as::<Db, EventRow>(concat!(
        "SELECT ",
        columns!(),
        " FROM outbox x JOIN webhook_deliveries d ON d.event_id = x.event_id
         WHERE d.webhook_id = $1 AND d.owner = $2 AND d.leased_until = $3 AND d.state = 'pending' ORDER BY x.position"
    ))
    .bind(webhook)
    .bind(owner)
    .bind(cut(until))
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut tries: BTreeMap<u64, (i64, Option<Instant>)> = BTreeMap::new();
    for (position, attempts, failing_since) in claimed {
        tries.insert(unsigned("webhook_deliveries.position", position)?, (attempts, failing_since));
    }
    let mut deliveries = Vec::new();
    for row in rows {
        let event = event(row)?;
        // a claim of the same owner that ends at the same instant is none of this call
        let Some((attempts, failing_since)) = event.position.and_then(|position| tries.remove(&position)) else { continue };
        deliveries.push(ClaimedDelivery { event, attempts: unsigned("attempts", attempts)?, failing_since });
    }
    Ok(deliveries)
}

pub(crate) async fn delivered(pools: &Pools, webhook: &str, position: u64, owner: &str, status: u16, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    // a webhook's row is locked before its deliveries', here as everywhere
    sqlx::query::<Db>(
        "UPDATE webhooks SET failures = 0, failing_since = NULL, rests_until = NULL WHERE id = $1 AND failing_since IS NOT NULL",
    )
    .bind(webhook)
    .execute(&mut *tx)
    .await?;
    sqlx::query::<Db>(
        "UPDATE webhook_deliveries SET state = 'delivered', attempts = attempts + 1, attempted_at = $5, status = $4, error = NULL,
             failing_since = NULL, owner = NULL, leased_until = NULL
         WHERE webhook_id = $1 AND position = $2 AND owner = $3 AND state = 'pending'",
    )
    .bind(webhook)
    .bind(signed(position))
    .bind(owner)
    .bind(i64::from(status))
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn not_delivered(
    pools: &Pools,
    webhook: &str,
    position: u64,
    owner: &str,
    attempt: &Attempt,
    rests: Pauses,
    now: Instant,
) -> Result<Option<Failing>> {
    let mut tx = pools.begin().await?;
    // what failed beside the one that sent it to rest makes no rest longer
    let failing = sqlx::query_as::<Db, (i64, Instant)>(
        "UPDATE webhooks SET failures = CASE WHEN rests_until > $2 THEN failures ELSE failures + 1 END,
             failing_since = COALESCE(failing_since, $2) WHERE id = $1 RETURNING failures, failing_since",
    )
    .bind(webhook)
    .bind(cut(now))
    .fetch_optional(&mut *tx)
    .await?;
    let Some((failures, since)) = failing else { return Ok(None) };
    let subject = sqlx::query_scalar::<Db, String>(
        "UPDATE webhook_deliveries SET attempts = attempts + 1, attempted_at = $5, status = $4, error = $6, due_at = $7,
             failing_since = COALESCE(failing_since, $5), owner = NULL, leased_until = NULL
         WHERE webhook_id = $1 AND position = $2 AND owner = $3 AND state = 'pending' RETURNING subject",
    )
    .bind(webhook)
    .bind(signed(position))
    .bind(owner)
    .bind(attempt.status.map(i64::from))
    .bind(cut(now))
    .bind(&attempt.error)
    .bind(cut(attempt.due_at))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(subject) = subject else { return Ok(None) };
    sqlx::query::<Db>(
        "UPDATE webhook_deliveries SET due_at = $3 WHERE webhook_id = $1 AND subject = $2 AND state = 'pending' AND due_at < $3",
    )
    .bind(webhook)
    .bind(&subject)
    .bind(cut(attempt.due_at))
    .execute(&mut *tx)
    .await?;
    let failures = unsigned("webhooks.failures", failures)?;
    let mut rests_until = None;
    if failures >= FAILURES_MAX {
        let until = cut(now + rests.of(failures - FAILURES_MAX + 1));
        let rest = sqlx::query::<Db>(
            "UPDATE webhooks SET rests_until = $2 WHERE id = $1 AND (rests_until IS NULL OR rests_until <= $3)",
        );
        let rested = rest.bind(webhook).bind(until).bind(cut(now)).execute(&mut *tx).await?;
        rests_until = (rested.rows_affected() > 0).then_some(until);
    }
    tx.commit().await?;
    Ok(Some(Failing { since, rests_until }))
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    position: i64,
    event_id: String,
    subject: String,
    kind: String,
    state: String,
    attempts: i64,
    due_at: Instant,
    status: Option<i64>,
    error: Option<String>,
    attempted_at: Option<Instant>,
}

pub(crate) async fn page(
    pools: &Pools,
    webhook: &str,
    state: Option<DeliveryState>,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<DeliveryView>> {
    let rows = sqlx::query_as::<Db, DeliveryRow>(
        "SELECT position, event_id, subject, kind, state, attempts, due_at, status, error, attempted_at FROM webhook_deliveries
         WHERE webhook_id = $1 AND position < $2 AND ($3 = '' OR state = $3) ORDER BY position DESC LIMIT $4",
    )
    .bind(webhook)
    .bind(before.map_or(i64::MAX, signed))
    .bind(state.map_or("", DeliveryState::as_str))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(view).collect()
}

fn view(row: DeliveryRow) -> Result<DeliveryView> {
    let status = row.status.map(u16::try_from).transpose();
    Ok(DeliveryView {
        position: unsigned("webhook_deliveries.position", row.position)?,
        event_id: row.event_id,
        subject: row.subject,
        kind: row.kind,
        state: word("webhook_deliveries.state", &row.state, DeliveryState::parse)?,
        attempts: unsigned("webhook_deliveries.attempts", row.attempts)?,
        due_at: row.due_at,
        status: status.map_err(|e| StoreError::corrupt("webhook_deliveries.status", e))?,
        error: row.error,
        attempted_at: row.attempted_at,
    })
}
