//! Statements of alerts to operators.

use std::time::Duration;

use oms_domain::Instant;
use oms_domain::ids::derive;
use sqlx::types::Json;

use super::{Conn, Db, Pools, cut, signed, unsigned, word};
use crate::Result;
use crate::alerts::{Alert, AlertWay};

/// How many items an alert names.
const SAMPLE_MAX: usize = 5;
/// How many items one alert counts at most; what is more is told in the next window.
const ITEMS_MAX: i64 = 10_000;
/// An alert that could not be sent for a day is of no use any more.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 3_600);

pub(crate) async fn raise(pools: &Pools, ways: &[AlertWay], window: Duration, now: Instant) -> Result<()> {
    let kinds = sqlx::query_scalar::<Db, String>(
        "SELECT DISTINCT i.kind FROM review_items i WHERE i.state = 'open'
             AND NOT EXISTS (SELECT 1 FROM alerted_items a WHERE a.item_id = i.id)
             AND NOT EXISTS (SELECT 1 FROM alert_windows w WHERE w.kind = i.kind AND w.until > $1)
         ORDER BY i.kind",
    )
    .bind(cut(now))
    .fetch_all(&pools.read)
    .await?;
    for kind in kinds {
        let mut tx = pools.begin().await?;
        raise_kind(&mut tx, &kind, ways, window, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn raise_kind(connection: &mut Conn, kind: &str, ways: &[AlertWay], window: Duration, now: Instant) -> Result<()> {
    // whoever moves the window tells: the others find it moved
    let won = sqlx::query::<Db>(
        "INSERT INTO alert_windows (kind, until) VALUES ($1, $2)
         ON CONFLICT (kind) DO UPDATE SET until = excluded.until WHERE alert_windows.until <= $3",
    )
    .bind(kind)
    .bind(cut(now + window))
    .bind(cut(now))
    .execute(&mut *connection)
    .await?;
    if won.rows_affected() == 0 {
        return Ok(());
    }
    let items = sqlx::query_scalar::<Db, String>(
        "SELECT i.id FROM review_items i WHERE i.state = 'open' AND i.kind = $1
             AND NOT EXISTS (SELECT 1 FROM alerted_items a WHERE a.item_id = i.id)
         ORDER BY i.opened_at, i.id LIMIT $2",
    )
    .bind(kind)
    .bind(ITEMS_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let Some(first) = items.first() else { return Ok(()) };
    let id = derive(&["alert", kind, first]).to_string();
    sqlx::query::<Db>(concat!(
        "INSERT INTO alerted_items (item_id, alert_id) SELECT id, $2 FROM review_items WHERE id ",
        one_of!("$1"),
        " ON CONFLICT (item_id) DO NOTHING"
    ))
    .bind(Json(&items))
    .bind(&id)
    .execute(&mut *connection)
    .await?;
    let sample: Vec<&String> = items.iter().take(SAMPLE_MAX).collect();
    for way in ways {
        sqlx::query::<Db>(
            "INSERT INTO alerts (id, way, kind, items, sample, created_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (id, way) DO NOTHING",
        )
        .bind(&id)
        .bind(way.as_str())
        .bind(kind)
        .bind(signed(items.len() as u64))
        .bind(sample.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" "))
        .bind(cut(now))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(crate) async fn claim(pools: &Pools, claimed_before: Instant, limit: u32, now: Instant) -> Result<Vec<Alert>> {
    let mut tx = pools.begin().await?;
    let rows = sqlx::query_as::<Db, (String, String, String, i64, String, Instant)>(concat!(
        "WITH due AS MATERIALIZED (SELECT id, way FROM alerts WHERE sent_at IS NULL AND created_at > $3
             AND (claimed_at IS NULL OR claimed_at < $2) ORDER BY created_at, id, way LIMIT $4",
        skip_locked!(),
        ") UPDATE alerts SET claimed_at = $1 WHERE (id, way) IN (SELECT id, way FROM due)
         RETURNING id, way, kind, items, sample, created_at"
    ))
    .bind(cut(now))
    .bind(cut(claimed_before))
    .bind(cut(now - GIVEN_UP_AFTER))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut alerts = rows
        .into_iter()
        .map(|(id, way, kind, items, sample, created_at)| {
            Ok(Alert {
                id,
                way: word("alerts.way", &way, AlertWay::parse)?,
                kind,
                items: unsigned("alerts.items", items)?,
                sample: sample.split(' ').map(str::to_owned).collect(),
                created_at,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    alerts.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(alerts)
}

pub(crate) async fn sent(pools: &Pools, id: &str, way: AlertWay, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE alerts SET sent_at = COALESCE(sent_at, $3) WHERE id = $1 AND way = $2")
        .bind(id)
        .bind(way.as_str())
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}
