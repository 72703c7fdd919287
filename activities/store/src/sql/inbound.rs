//! Statements of what others report by webhook.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};

use super::{Conn, Db, Pools, cut, review_items, unsigned, word};
use crate::Result;
use crate::inbound::{Inbound, InboundState, NewInbound};
use crate::review_items::NewItem;

macro_rules! inbound_columns {
    () => {
        "id, source, event_id, kind, body, state, order_id, attempts, received_at"
    };
}

#[derive(sqlx::FromRow)]
struct InboundRow {
    id: String,
    source: String,
    event_id: String,
    kind: String,
    body: String,
    state: String,
    order_id: Option<String>,
    attempts: i64,
    received_at: Instant,
}

impl InboundRow {
    fn read(self) -> Result<Inbound> {
        Ok(Inbound {
            state: word("inbound.state", &self.state, InboundState::parse)?,
            order_id: self.order_id.map(OrderId::parse).transpose()?,
            attempts: unsigned("inbound.attempts", self.attempts)?,
            id: self.id,
            source: self.source,
            event_id: self.event_id,
            kind: self.kind,
            body: self.body,
            received_at: self.received_at,
        })
    }
}

pub(crate) async fn receive(pools: &Pools, report: &NewInbound, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let state = if report.due_at.is_some() { InboundState::Stored } else { InboundState::Ignored };
    let new = sqlx::query::<Db>(
        "INSERT INTO inbound (id, source, event_id, kind, body, state, attempts, received_at, due_at, settled_at)
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
    )
    .bind(report.id())
    .bind(&report.source)
    .bind(&report.event_id)
    .bind(&report.kind)
    .bind(&report.body)
    .bind(state.as_str())
    .bind(cut(now))
    .bind(report.due_at.map(cut))
    .bind(state.is_settled().then(|| cut(now)))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(new.rows_affected() > 0)
}

pub(crate) async fn claim(pools: &Pools, again_at: Instant, limit: u32, now: Instant) -> Result<Vec<Inbound>> {
    let mut tx = pools.begin().await?;
    let rows = sqlx::query_as::<Db, InboundRow>(concat!(
        "WITH due AS MATERIALIZED (SELECT id FROM inbound WHERE due_at <= $2 ORDER BY due_at, id LIMIT $3",
        skip_locked!(),
        ") UPDATE inbound SET due_at = $1, attempts = attempts + 1 WHERE id IN (SELECT id FROM due) RETURNING ",
        inbound_columns!(),
    ))
    .bind(cut(again_at))
    .bind(cut(now))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut claimed = rows.into_iter().map(InboundRow::read).collect::<Result<Vec<_>>>()?;
    claimed.sort_by(|a, b| (a.received_at, &a.id).cmp(&(b.received_at, &b.id)));
    Ok(claimed)
}

pub(crate) async fn put_off(pools: &Pools, id: &str, state: InboundState, due_at: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE inbound SET state = $2, due_at = $3 WHERE id = $1 AND settled_at IS NULL")
        .bind(id)
        .bind(state.as_str())
        .bind(cut(due_at))
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

pub(crate) async fn settle(pools: &Pools, id: &str, state: InboundState, order: Option<&OrderId>, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    settle_on(&mut tx, id, state, order, now).await?;
    Ok(tx.commit().await?)
}

async fn settle_on(connection: &mut Conn, id: &str, state: InboundState, order: Option<&OrderId>, now: Instant) -> Result<bool> {
    let settled = sqlx::query::<Db>(
        "UPDATE inbound SET state = $2, order_id = $3, settled_at = $4, due_at = NULL WHERE id = $1 AND settled_at IS NULL",
    )
    .bind(id)
    .bind(state.as_str())
    .bind(order.map(OrderId::as_str))
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(settled.rows_affected() > 0)
}

pub(crate) async fn expire(pools: &Pools, id: &str, item: &NewItem, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let expired = settle_on(&mut tx, id, InboundState::Expired, None, now).await?;
    if expired {
        review_items::insert(&mut tx, item, now).await?;
    }
    tx.commit().await?;
    Ok(expired)
}

pub(crate) async fn one(pools: &Pools, id: &str) -> Result<Option<Inbound>> {
    let row = sqlx::query_as::<Db, InboundRow>(concat!("SELECT ", inbound_columns!(), " FROM inbound WHERE id = $1")).bind(id);
    row.fetch_optional(&pools.read).await?.map(InboundRow::read).transpose()
}

pub(crate) async fn order_of_payment(pools: &Pools, payment_id: &str) -> Result<Option<OrderId>> {
    let order = sqlx::query_scalar::<Db, String>(
        "SELECT order_id FROM payment_operations WHERE payment_id = $1 ORDER BY created_at, key LIMIT 1",
    )
    .bind(payment_id)
    .fetch_optional(&pools.read)
    .await?;
    Ok(order.map(OrderId::parse).transpose()?)
}

pub(crate) async fn shipment_of_package(pools: &Pools, tracking_number: &str) -> Result<Option<ShipmentId>> {
    let shipments = sqlx::query_scalar::<Db, String>(
        "SELECT shipment_id FROM packages WHERE tracking_number = $1 ORDER BY shipment_id LIMIT 2",
    )
    .bind(tracking_number)
    .fetch_all(&pools.read)
    .await?;
    Ok(match <[String; 1]>::try_from(shipments) {
        Ok([shipment]) => Some(ShipmentId::parse(shipment)?),
        Err(_) => None,
    })
}
