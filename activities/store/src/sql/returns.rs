//! Statements of returns.

use std::collections::BTreeMap;

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId};
use oms_domain::refund::RefundId;
use oms_domain::returning::{Return, ReturnId, ReturnState, returnable, returnable_from};
use oms_domain::stock::demand;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, QueryBuilder, Row};

use super::orders::order_locked;
use super::{Conn, Db, Pools, RawRow, cut, readable, signed, unsigned};
use crate::orders::StoredOrder;
use crate::returns::{NewReturn, ReturnCursor, ReturnRefund, ReturnRequested, StoredReturn};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
struct ReturnRow {
    id: String,
    order_id: String,
    rev: i64,
    body: Json<Return>,
    refund_shipping: bool,
    auto_approve: bool,
    location: String,
    reason: String,
    actor: String,
    terms: Json<Value>,
    created_at: Instant,
    updated_at: Instant,
}

impl ReturnRow {
    fn read(self) -> Result<StoredReturn> {
        Ok(StoredReturn {
            id: ReturnId::parse(self.id)?,
            order_id: OrderId::parse(self.order_id)?,
            body: self.body.0,
            rev: unsigned("returns.rev", self.rev)?,
            refund_shipping: self.refund_shipping,
            auto_approve: self.auto_approve,
            location: Location::parse(self.location)?,
            reason: self.reason,
            actor: self.actor,
            terms: self.terms.0,
            created_at: self.created_at,
            updated_at: self.updated_at,
            refunds: Vec::new(),
        })
    }
}

/// Selects [`ReturnRow`]s.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.order_id, r.rev, r.body, r.refund_shipping, r.auto_approve, r.location, r.reason, r.actor, r.terms,
                 r.created_at, r.updated_at FROM returns r ",
            $rest
        )
    };
}

/// The returns of these rows that can be read.
fn all_readable(rows: &[RawRow]) -> Result<Vec<StoredReturn>> {
    let mut returns = Vec::new();
    for row in rows {
        let read = ReturnRow::from_row(row).map_err(StoreError::from).and_then(ReturnRow::read);
        returns.extend(readable("returns", row.try_get("id")?, read));
    }
    Ok(returns)
}

async fn one_on(connection: &mut Conn, id: &ReturnId) -> Result<Option<StoredReturn>> {
    let row =
        sqlx::query_as::<Db, ReturnRow>(select!("WHERE r.id = $1")).bind(id.as_str()).fetch_optional(&mut *connection).await?;
    Ok(read_all(connection, row.into_iter().collect()).await?.pop())
}

/// Reads rows, with the refunds that their receipts have led to: their ids follow from the receipts'.
async fn read_all(connection: &mut Conn, rows: Vec<ReturnRow>) -> Result<Vec<StoredReturn>> {
    let mut returns = rows.into_iter().map(ReturnRow::read).collect::<Result<Vec<_>>>()?;
    let of = |back: &StoredReturn| {
        let id = back.id.clone();
        (1..=back.body.receipts).map(move |receipt| RefundId::from_key(id.as_str(), &receipt.to_string()))
    };
    let ids: Vec<String> = returns.iter().flat_map(of).map(|id| id.to_string()).collect();
    if ids.is_empty() {
        return Ok(returns);
    }
    let settled: BTreeMap<String, Option<Instant>> =
        sqlx::query_as::<Db, (String, Option<Instant>)>(concat!("SELECT id, settled_at FROM refunds WHERE id ", one_of!("$1")))
            .bind(Json(ids))
            .fetch_all(connection)
            .await?
            .into_iter()
            .collect();
    for back in &mut returns {
        let known = |id: RefundId| settled.get(id.as_str()).map(|settled_at| ReturnRefund { id, settled_at: *settled_at });
        back.refunds = of(back).filter_map(known).collect();
    }
    Ok(returns)
}

async fn of_order_on(connection: &mut Conn, order_id: &OrderId) -> Result<Vec<StoredReturn>> {
    let rows = sqlx::query_as::<Db, ReturnRow>(select!("WHERE r.order_id = $1 ORDER BY r.created_at, r.id"));
    let rows = rows.bind(order_id.as_str()).fetch_all(&mut *connection).await?;
    read_all(connection, rows).await
}

pub(crate) async fn one(pools: &Pools, id: &ReturnId) -> Result<Option<StoredReturn>> {
    one_on(&mut *pools.read.acquire().await?, id).await
}

pub(crate) async fn of_order(pools: &Pools, order_id: &OrderId) -> Result<Vec<StoredReturn>> {
    of_order_on(&mut *pools.read.acquire().await?, order_id).await
}

pub(crate) async fn page(
    pools: &Pools,
    state: Option<ReturnState>,
    after: Option<&ReturnCursor>,
    limit: u32,
) -> Result<Vec<StoredReturn>> {
    let mut query = QueryBuilder::<Db>::new(select!("WHERE 1 = 1"));
    if let Some(state) = state {
        query.push(" AND r.state = ").push_bind(state.as_str());
    }
    if let Some(cursor) = after {
        query.push(" AND (r.created_at, r.id) < (").push_bind(cut(cursor.created_at));
        query.push(", ").push_bind(cursor.id.as_str()).push(")");
    }
    query.push(" ORDER BY r.created_at DESC, r.id DESC LIMIT ").push_bind(i64::from(limit));
    let mut connection = pools.read.acquire().await?;
    let rows = query.build_query_as::<ReturnRow>().fetch_all(&mut *connection).await?;
    read_all(&mut connection, rows).await
}

pub(crate) async fn unstarted(pools: &Pools, limit: u32) -> Result<Vec<StoredReturn>> {
    let rows = sqlx::query::<Db>(select!("WHERE r.started_at IS NULL ORDER BY r.created_at, r.id LIMIT $1"));
    all_readable(&rows.bind(i64::from(limit)).fetch_all(&pools.read).await?)
}

pub(crate) async fn mark_started(pools: &Pools, id: &ReturnId, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE returns SET started_at = $2, looked_at = $2 WHERE id = $1 AND started_at IS NULL")
        .bind(id.as_str())
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn to_look_after(pools: &Pools, before: Instant, limit: u32, now: Instant) -> Result<Vec<StoredReturn>> {
    let mut tx = pools.begin().await?;
    let ids = sqlx::query_scalar::<Db, String>(concat!(
        "WITH due AS MATERIALIZED (SELECT id FROM returns WHERE looked_at < $1 ORDER BY looked_at, id LIMIT $2",
        skip_locked!(),
        ") UPDATE returns SET looked_at = $3 WHERE id IN (SELECT id FROM due) RETURNING id"
    ))
    .bind(cut(before))
    .bind(i64::from(limit))
    .bind(cut(now))
    .fetch_all(&mut *tx)
    .await?;
    let rows = sqlx::query::<Db>(concat!(select!("WHERE r.id "), one_of!("$1")));
    let rows = rows.bind(Json(ids)).fetch_all(&mut *tx).await?;
    tx.commit().await?;
    all_readable(&rows)
}

pub(crate) async fn looked_after(pools: &Pools, id: &ReturnId) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE returns SET looked_at = NULL WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn request(pools: &Pools, new: &NewReturn, now: Instant) -> Result<ReturnRequested> {
    let mut tx = pools.begin().await?;
    let Some(order) = order_locked(&mut tx, &new.order_id).await? else { return Ok(ReturnRequested::UnknownOrder) };
    if let Some(known) = one_on(&mut tx, &new.id).await? {
        return Ok(ReturnRequested::Known(known));
    }
    let others: Vec<Return> = of_order_on(&mut tx, &order.id).await?.into_iter().map(|r| r.body).collect();
    let left = returnable(&order.life.shipments, &others, new.arrived);
    for (sku, quantity) in demand(new.lines.iter().map(|l| (&l.sku, l.quantity))) {
        let returnable = left.get(&sku).copied().unwrap_or(0);
        if quantity > returnable {
            return Ok(ReturnRequested::TooMany { sku, returnable });
        }
    }
    insert(&mut tx, new, &home(&order, new)?, now).await?;
    let made = one_on(&mut tx, &new.id).await?;
    tx.commit().await?;
    made.map(ReturnRequested::Accepted).ok_or_else(|| StoreError::conflict("a return vanished while it was written"))
}

/// Where the parcel goes back to: the place that sent the first of the goods.
fn home(order: &StoredOrder, new: &NewReturn) -> Result<Location> {
    let sent = |shipment: &&oms_domain::shipment::Shipment| {
        shipment.status == returnable_from(new.arrived) && shipment.lines.iter().any(|l| new.lines.iter().any(|n| n.sku == l.sku))
    };
    let shipment = order.life.shipments.iter().find(sent);
    shipment.map(|s| s.location.clone()).ok_or_else(|| StoreError::conflict("a return without lines"))
}

async fn insert(connection: &mut Conn, new: &NewReturn, location: &Location, now: Instant) -> Result<()> {
    sqlx::query::<Db>(
        "INSERT INTO returns (id, order_id, state, rev, body, refund_shipping, auto_approve, location, reason, actor, terms,
             created_at, updated_at)
         VALUES ($1, $2, 'requested', 0, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
    )
    .bind(new.id.as_str())
    .bind(new.order_id.as_str())
    .bind(Json(Return { arrived: new.arrived, ..Return::requested(new.lines.clone()) }))
    .bind(new.refund_shipping)
    .bind(new.auto_approve)
    .bind(location.as_str())
    .bind(&new.reason)
    .bind(&new.actor)
    .bind(Json(&new.terms))
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn record(pools: &Pools, id: &ReturnId, rev: u64, body: &Return, now: Instant) -> Result<u64> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE returns SET rev = $2, state = $3, body = $4, updated_at = $5 WHERE id = $1 AND rev < $2")
        .bind(id.as_str())
        .bind(signed(rev))
        .bind(body.state.as_str())
        .bind(Json(body))
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    let newest = sqlx::query_scalar::<Db, i64>("SELECT rev FROM returns WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| StoreError::conflict(format!("there is no return {id}")))?;
    tx.commit().await?;
    unsigned("returns.rev", newest)
}
