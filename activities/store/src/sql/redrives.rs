//! Statements of re-drives.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::order::Status;
use sqlx::QueryBuilder;
use sqlx::types::Json;
use std::time::Duration;

use super::orders::restrict;
use super::{Conn, Db, Pools, cut, unsigned, word};
use crate::redrives::{NewRedrive, REDRIVE_MAX, Redrive, RedriveFilter, RedriveFrom, RedriveOrder, RedriveOutcome, RedriveState};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
struct RedriveRow {
    id: String,
    state: String,
    asked: Json<serde_json::Value>,
    origin: String,
    rate: i64,
    actor: String,
    created_at: Instant,
    finished_at: Option<Instant>,
    matched: i64,
    nudged: i64,
    reset: i64,
    skipped: i64,
    failed: i64,
}

impl RedriveRow {
    fn read(self) -> Result<Redrive> {
        let count = |n| unsigned("redrive_orders", n);
        Ok(Redrive {
            id: self.id,
            state: word("redrives.state", &self.state, RedriveState::parse)?,
            asked: self.asked.0,
            from: word("redrives.origin", &self.origin, RedriveFrom::parse)?,
            rate: u32::try_from(self.rate).map_err(|e| StoreError::corrupt("redrives.rate", e))?,
            actor: self.actor,
            created_at: self.created_at,
            finished_at: self.finished_at,
            matched: count(self.matched)?,
            outcomes: [count(self.nudged)?, count(self.reset)?, count(self.skipped)?, count(self.failed)?],
        })
    }
}

/// Narrows `orders o` down to what a re-drive is about.
fn about(query: &mut QueryBuilder<Db>, filter: &RedriveFilter) {
    restrict(query, &filter.orders);
    if let Some(at) = filter.orders.placed_after {
        query.push(" AND o.placed_at >= ").push_bind(cut(at));
    }
    if let Some(at) = filter.orders.placed_before {
        query.push(" AND o.placed_at < ").push_bind(cut(at));
    }
    if let Some(kind) = &filter.kind {
        query.push(" AND o.id IN (SELECT r.order_id FROM review_items r WHERE r.state = 'open' AND r.kind = ");
        query.push_bind(kind.clone()).push(")");
    }
    // a row of rev 0 was never promised to anybody
    query.push(" AND o.rev > 0");
    if filter.ids.is_empty() {
        query.push(" AND o.status NOT IN (");
        let mut ended = query.separated(", ");
        for status in Status::ALL.into_iter().filter(|s| s.is_terminal()) {
            ended.push_bind(status.as_str());
        }
        query.push(")");
    } else {
        query.push(" AND o.id IN (");
        let mut ids = query.separated(", ");
        for id in &filter.ids {
            ids.push_bind(id.as_str().to_owned());
        }
        query.push(")");
    }
}

pub(crate) async fn matches(pools: &Pools, filter: &RedriveFilter, limit: u32) -> Result<(u64, Vec<OrderId>)> {
    let mut count = QueryBuilder::<Db>::new("SELECT COUNT(*) FROM orders o WHERE 1 = 1");
    about(&mut count, filter);
    let matched: i64 = count.build_query_scalar().fetch_one(&pools.read).await?;
    let mut list = QueryBuilder::<Db>::new("SELECT o.id FROM orders o WHERE 1 = 1");
    about(&mut list, filter);
    list.push(" ORDER BY o.id LIMIT ").push_bind(i64::from(limit));
    let ids: Vec<String> = list.build_query_scalar().fetch_all(&pools.read).await?;
    let ids = ids.into_iter().map(|id| Ok(OrderId::parse(id)?)).collect::<Result<_>>()?;
    Ok((unsigned("orders", matched)?.min(u64::from(REDRIVE_MAX)), ids))
}

pub(crate) async fn begin(pools: &Pools, new: &NewRedrive, now: Instant) -> Result<Redrive> {
    let mut tx = pools.begin().await?;
    let fresh = sqlx::query::<Db>(
        "INSERT INTO redrives (id, state, asked, origin, rate, actor, created_at) VALUES ($1, 'running', $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&new.id)
    .bind(Json(&new.asked))
    .bind(new.from.as_str())
    .bind(i64::from(new.rate))
    .bind(&new.actor)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    if fresh.rows_affected() > 0 {
        let mut insert = QueryBuilder::<Db>::new("INSERT INTO redrive_orders (redrive_id, order_id) SELECT ");
        insert.push_bind(new.id.as_str()).push(", o.id FROM orders o WHERE 1 = 1");
        about(&mut insert, &new.filter);
        insert.push(" ORDER BY o.placed_at, o.id LIMIT ").push_bind(i64::from(REDRIVE_MAX));
        insert.build().execute(&mut *tx).await?;
        end_if_done(&mut tx, &new.id, now).await?;
    }
    let begun = redrive_on(&mut tx, &new.id).await?;
    tx.commit().await?;
    begun.ok_or_else(|| StoreError::conflict(format!("there is no re-drive {}", new.id)))
}

pub(crate) async fn redrive(pools: &Pools, id: &str) -> Result<Option<Redrive>> {
    redrive_on(&mut *pools.read.acquire().await?, id).await
}

async fn redrive_on(connection: &mut Conn, id: &str) -> Result<Option<Redrive>> {
    let row = sqlx::query_as::<Db, RedriveRow>(
        "SELECT r.id, r.state, r.asked, r.origin, r.rate, r.actor, r.created_at, r.finished_at, COUNT(o.order_id) AS matched,
             COUNT(CASE WHEN o.outcome = 'nudged' THEN 1 END) AS nudged, COUNT(CASE WHEN o.outcome = 'reset' THEN 1 END) AS reset,
             COUNT(CASE WHEN o.outcome = 'skipped' THEN 1 END) AS skipped, COUNT(CASE WHEN o.outcome = 'failed' THEN 1 END) AS failed
         FROM redrives r LEFT JOIN redrive_orders o ON o.redrive_id = r.id WHERE r.id = $1 GROUP BY r.id",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    row.map(RedriveRow::read).transpose()
}

pub(crate) async fn orders(pools: &Pools, id: &str, after: Option<&OrderId>, limit: u32) -> Result<Vec<RedriveOrder>> {
    type Row = (String, Option<String>, Option<String>, Option<Instant>);
    let rows = sqlx::query_as::<Db, Row>(
        "SELECT order_id, outcome, detail, at FROM redrive_orders WHERE redrive_id = $1 AND order_id > $2 ORDER BY order_id LIMIT $3",
    )
    .bind(id)
    .bind(after.map_or("", OrderId::as_str))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter()
        .map(|(order, outcome, detail, at)| {
            let outcome = outcome.map(|name| word("redrive_orders.outcome", &name, RedriveOutcome::parse)).transpose()?;
            Ok(RedriveOrder { order_id: OrderId::parse(order)?, outcome, detail, at })
        })
        .collect()
}

pub(crate) async fn lease(pools: &Pools, holder: &str, lease: Duration, now: Instant) -> Result<Option<Redrive>> {
    let mut tx = pools.begin().await?;
    let id = sqlx::query_scalar::<Db, String>(concat!(
        "WITH free AS MATERIALIZED (SELECT id FROM redrives
             WHERE state = 'running' AND (holder IS NULL OR holder = $1 OR lease_until < $3) ORDER BY created_at, id LIMIT 1",
        skip_locked!(),
        ") UPDATE redrives SET holder = $1, lease_until = $2 WHERE id IN (SELECT id FROM free) RETURNING id"
    ))
    .bind(holder)
    .bind(cut(now + lease))
    .bind(cut(now))
    .fetch_optional(&mut *tx)
    .await?;
    let leased = match id {
        Some(id) => redrive_on(&mut tx, &id).await?,
        None => None,
    };
    tx.commit().await?;
    Ok(leased)
}

pub(crate) async fn to_do(pools: &Pools, id: &str, limit: u32) -> Result<Vec<OrderId>> {
    let ids = sqlx::query_scalar::<Db, String>(
        "SELECT order_id FROM redrive_orders WHERE redrive_id = $1 AND outcome IS NULL ORDER BY order_id LIMIT $2",
    )
    .bind(id)
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    ids.into_iter().map(|id| Ok(OrderId::parse(id)?)).collect()
}

pub(crate) async fn note(
    pools: &Pools,
    id: &str,
    order: &OrderId,
    outcome: RedriveOutcome,
    detail: &str,
    now: Instant,
) -> Result<()> {
    let mut tx = pools.begin().await?;
    // one after the other: of two last orders that are noted at once, neither would see the other's outcome
    lock(&mut tx, id).await?;
    sqlx::query::<Db>(
        "UPDATE redrive_orders SET outcome = $3, detail = $4, at = $5 WHERE redrive_id = $1 AND order_id = $2 AND outcome IS NULL",
    )
    .bind(id)
    .bind(order.as_str())
    .bind(outcome.as_str())
    .bind(detail)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    end_if_done(&mut tx, id, now).await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn finish(pools: &Pools, id: &str, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    lock(&mut tx, id).await?;
    end_if_done(&mut tx, id, now).await?;
    tx.commit().await?;
    Ok(())
}

async fn lock(connection: &mut Conn, id: &str) -> Result<()> {
    sqlx::query_scalar::<Db, String>(concat!("SELECT r.id FROM redrives r WHERE r.id = $1", for_update!("r")))
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(())
}

async fn end_if_done(connection: &mut Conn, id: &str, now: Instant) -> Result<()> {
    sqlx::query::<Db>(
        "UPDATE redrives SET state = 'done', finished_at = $2, holder = NULL, lease_until = NULL WHERE id = $1 AND state = 'running'
             AND NOT EXISTS (SELECT 1 FROM redrive_orders WHERE redrive_id = $1 AND outcome IS NULL)",
    )
    .bind(id)
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(())
}
