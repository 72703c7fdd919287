//! Statements of refunds. Whoever changes one holds the order's row.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::money::Money;
use oms_domain::refund::{Ask, Bill, Breakdown, Excess, RefundId, RefundState};
use oms_domain::stock::demand;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use super::orders::order_locked;
use super::{Conn, Db, Pools, RawRow, cut, money, payments, readable, word};
use crate::orders::StoredOrder;
use crate::refunds::{NewRefund, PartState, PayBackRow, RefundOutcome, RefundPart, RefundRequested, StoredRefund};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
struct RefundRow {
    id: String,
    order_id: String,
    state: String,
    amount_minor: i64,
    returned_minor: i64,
    currency: String,
    asked: Json<Ask>,
    breakdown: Json<Breakdown>,
    reason: String,
    actor: String,
    terms: Json<Value>,
    revision: i64,
    code: Option<String>,
    reference: Option<String>,
    created_at: Instant,
    updated_at: Instant,
    settled_at: Option<Instant>,
}

#[derive(sqlx::FromRow)]
struct PartRow {
    refund_id: String,
    part: i64,
    payment_id: String,
    amount_minor: i64,
    state: String,
}

/// Selects [`RefundRow`]s.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.order_id, r.state, r.amount_minor, r.returned_minor, r.currency, r.asked, r.breakdown, r.reason, r.actor,
                 r.terms, r.revision, r.code, r.reference, r.created_at, r.updated_at, r.settled_at FROM refunds r ",
            $rest
        )
    };
}

fn number(column: &str, n: i64) -> Result<u32> {
    u32::try_from(n).map_err(|e| StoreError::corrupt(column, e))
}

impl RefundRow {
    fn read(self, parts: &[PartRow]) -> Result<StoredRefund> {
        let amount = |minor| money("refunds.currency", minor, &self.currency);
        let parts = parts.iter().filter(|p| p.refund_id == self.id).map(|p| {
            Ok(RefundPart {
                part: number("refund_parts.part", p.part)?,
                payment_id: p.payment_id.clone(),
                amount: amount(p.amount_minor)?,
                state: word("refund_parts.state", &p.state, PartState::parse)?,
            })
        });
        Ok(StoredRefund {
            parts: parts.collect::<Result<_>>()?,
            amount: amount(self.amount_minor)?,
            returned: amount(self.returned_minor)?,
            id: RefundId::parse(self.id)?,
            order_id: OrderId::parse(self.order_id)?,
            state: word("refunds.state", &self.state, RefundState::parse)?,
            ask: self.asked.0,
            breakdown: self.breakdown.0,
            reason: self.reason,
            actor: self.actor,
            terms: self.terms.0,
            revision: number("refunds.revision", self.revision)?,
            code: self.code,
            reference: self.reference,
            created_at: self.created_at,
            updated_at: self.updated_at,
            settled_at: self.settled_at,
        })
    }
}

/// The refunds of these rows, with their parts.
async fn with_parts(connection: &mut Conn, rows: Vec<RefundRow>) -> Result<Vec<StoredRefund>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: BTreeSet<&str> = rows.iter().map(|r| r.id.as_str()).collect();
    let parts = sqlx::query_as::<Db, PartRow>(concat!(
        "SELECT refund_id, part, payment_id, amount_minor, state FROM refund_parts WHERE refund_id ",
        one_of!("$1"),
        " ORDER BY refund_id, part"
    ))
    .bind(Json(ids))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| row.read(&parts)).collect()
}

/// The refunds of these rows that can be read, with their parts.
async fn readable_with_parts(connection: &mut Conn, rows: Vec<RawRow>) -> Result<Vec<StoredRefund>> {
    let mut refunds = Vec::new();
    for row in rows {
        let id: String = row.try_get("id")?;
        let refund = match RefundRow::from_row(&row) {
            Ok(row) => with_parts(connection, vec![row]).await.map(|mut one| one.pop()),
            Err(error) => Err(error.into()),
        };
        match refund {
            Err(error @ StoreError::Unavailable { .. }) => return Err(error),
            refund => refunds.extend(readable("refunds", &id, refund).flatten()),
        }
    }
    Ok(refunds)
}

async fn refund_on(connection: &mut Conn, id: &RefundId) -> Result<Option<StoredRefund>> {
    let row = sqlx::query_as::<Db, RefundRow>(select!("WHERE r.id = $1"));
    let row = row.bind(id.as_str()).fetch_optional(&mut *connection).await?;
    Ok(with_parts(connection, row.into_iter().collect()).await?.pop())
}

async fn of_order_on(connection: &mut Conn, order_id: &OrderId) -> Result<Vec<StoredRefund>> {
    let rows = sqlx::query_as::<Db, RefundRow>(select!("WHERE r.order_id = $1 ORDER BY r.created_at, r.id"));
    let rows = rows.bind(order_id.as_str()).fetch_all(&mut *connection).await?;
    with_parts(connection, rows).await
}

pub(crate) async fn refund(pools: &Pools, id: &RefundId) -> Result<Option<StoredRefund>> {
    refund_on(&mut *pools.read.acquire().await?, id).await
}

pub(crate) async fn of_order(pools: &Pools, order_id: &OrderId) -> Result<Vec<StoredRefund>> {
    of_order_on(&mut *pools.read.acquire().await?, order_id).await
}

pub(crate) async fn unstarted(pools: &Pools, limit: u32) -> Result<Vec<StoredRefund>> {
    let connection = &mut *pools.read.acquire().await?;
    let rows = sqlx::query::<Db>(select!("WHERE r.started_at IS NULL ORDER BY r.created_at, r.id LIMIT $1"));
    let rows = rows.bind(i64::from(limit)).fetch_all(&mut *connection).await?;
    readable_with_parts(connection, rows).await
}

pub(crate) async fn mark_started(pools: &Pools, id: &RefundId, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE refunds SET started_at = $2, looked_at = $2 WHERE id = $1 AND started_at IS NULL")
        .bind(id.as_str())
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn to_look_after(pools: &Pools, before: Instant, limit: u32, now: Instant) -> Result<Vec<StoredRefund>> {
    let mut tx = pools.begin().await?;
    let ids = sqlx::query_scalar::<Db, String>(concat!(
        "WITH due AS MATERIALIZED (SELECT id FROM refunds WHERE looked_at < $1 ORDER BY looked_at, id LIMIT $2",
        skip_locked!(),
        ") UPDATE refunds SET looked_at = $3 WHERE id IN (SELECT id FROM due) RETURNING id"
    ))
    .bind(cut(before))
    .bind(i64::from(limit))
    .bind(cut(now))
    .fetch_all(&mut *tx)
    .await?;
    let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let rows = sqlx::query::<Db>(concat!(select!("WHERE r.id "), one_of!("$1")));
    let rows = rows.bind(Json(ids)).fetch_all(&mut *tx).await?;
    let refunds = readable_with_parts(&mut tx, rows).await?;
    tx.commit().await?;
    Ok(refunds)
}

pub(crate) async fn looked_after(pools: &Pools, id: &RefundId) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE refunds SET looked_at = NULL WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Money that was taken with a payment for a shipment.
#[derive(sqlx::FromRow)]
struct CaptureRow {
    payment_id: Option<String>,
    shipment_id: Option<String>,
    amount_minor: i64,
}

/// What was taken, in the order in which the payments came.
struct Taken {
    payments: Vec<(String, i64)>,
    shipments: BTreeSet<String>,
}

async fn taken(connection: &mut Conn, order_id: &OrderId) -> Result<Taken> {
    let rows = sqlx::query_as::<Db, CaptureRow>(
        "SELECT payment_id, shipment_id, amount_minor FROM payment_operations
         WHERE order_id = $1 AND kind = 'capture' AND outcome = 'captured' AND amount_minor IS NOT NULL ORDER BY created_at, key",
    )
    .bind(order_id.as_str())
    .fetch_all(connection)
    .await?;
    let mut taken = Taken { payments: Vec::new(), shipments: BTreeSet::new() };
    for row in rows {
        taken.shipments.extend(row.shipment_id);
        let Some(payment) = row.payment_id else { continue };
        match taken.payments.iter_mut().find(|(id, _)| *id == payment) {
            Some((_, sum)) => *sum += row.amount_minor,
            None => taken.payments.push((payment, row.amount_minor)),
        }
    }
    Ok(taken)
}

pub(crate) async fn request(pools: &Pools, new: &NewRefund, now: Instant) -> Result<RefundRequested> {
    let mut tx = pools.begin().await?;
    let Some(order) = order_locked(&mut tx, &new.order_id).await? else { return Ok(RefundRequested::UnknownOrder) };
    if let Some(known) = refund_on(&mut tx, &new.id).await? {
        return Ok(RefundRequested::Known(known));
    }
    let others = of_order_on(&mut tx, &order.id).await?;
    let Taken { mut payments, shipments } = taken(&mut tx, &order.id).await?;
    for part in others.iter().flat_map(|r| &r.parts) {
        if let Some((_, left)) = payments.iter_mut().find(|(id, _)| *id == part.payment_id) {
            *left -= part.amount.minor;
        }
    }
    let breakdown = match work_out(&order, &shipments, &others, payments.iter().map(|(_, left)| left).sum(), &new.ask) {
        Ok(breakdown) => breakdown,
        Err(excess) => return Ok(RefundRequested::TooMuch(excess)),
    };
    insert(&mut tx, new, &breakdown, now).await?;
    let (mut owed, mut part) = (breakdown.amount.minor, 0i64);
    for (payment, left) in payments {
        let share = owed.min(left);
        if share > 0 {
            owed -= share;
            part += 1;
            insert_part(&mut tx, &new.id, part, &payment, share).await?;
        }
    }
    let made = refund_on(&mut tx, &new.id).await?;
    tx.commit().await?;
    made.map(RefundRequested::Accepted).ok_or_else(|| StoreError::conflict("a refund vanished while it was written"))
}

/// What goes back for an ask, after all other refunds.
fn work_out(
    order: &StoredOrder,
    paid_shipments: &BTreeSet<String>,
    others: &[StoredRefund],
    left: i64,
    ask: &Ask,
) -> std::result::Result<Breakdown, Excess> {
    let paid = order.life.shipments.iter().filter(|s| paid_shipments.contains(s.id.as_str())).flat_map(|s| &s.lines);
    let paid: BTreeMap<_, _> = demand(paid.map(|l| (&l.sku, l.quantity)));
    let before: Vec<Breakdown> = others.iter().map(|r| r.breakdown.clone()).collect();
    let refundable = Money::new(left, order.currency);
    let bill = Bill { lines: &order.lines, totals: &order.totals, paid: &paid, before: &before, refundable };
    bill.refund(ask)
}

async fn insert(connection: &mut Conn, new: &NewRefund, breakdown: &Breakdown, now: Instant) -> Result<()> {
    sqlx::query::<Db>(
        "INSERT INTO refunds (id, order_id, state, amount_minor, currency, asked, breakdown, reason, actor, terms, created_at, updated_at)
         VALUES ($1, $2, 'requested', $3, $4, $5, $6, $7, $8, $9, $10, $10)",
    )
    .bind(new.id.as_str())
    .bind(new.order_id.as_str())
    .bind(breakdown.amount.minor)
    .bind(breakdown.amount.currency.code())
    .bind(Json(&new.ask))
    .bind(Json(breakdown))
    .bind(&new.reason)
    .bind(&new.actor)
    .bind(Json(&new.terms))
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_part(connection: &mut Conn, id: &RefundId, part: i64, payment: &str, minor: i64) -> Result<()> {
    sqlx::query::<Db>(
        "INSERT INTO refund_parts (refund_id, part, payment_id, amount_minor, state) VALUES ($1, $2, $3, $4, 'open')",
    )
    .bind(id.as_str())
    .bind(part)
    .bind(payment)
    .bind(minor)
    .execute(connection)
    .await?;
    Ok(())
}

/// The refund, with its order's row locked.
async fn locked(connection: &mut Conn, id: &RefundId) -> Result<StoredRefund> {
    let unknown = || StoreError::conflict(format!("there is no refund {id}"));
    let order = sqlx::query_scalar::<Db, String>("SELECT order_id FROM refunds WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(unknown)?;
    sqlx::query_scalar::<Db, String>(concat!("SELECT o.id FROM orders o WHERE o.id = $1", for_update!("o")))
        .bind(order)
        .fetch_optional(&mut *connection)
        .await?;
    refund_on(connection, id).await?.ok_or_else(unknown)
}

pub(crate) async fn record(pools: &Pools, row: &PayBackRow, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    let refund = locked(&mut tx, &row.refund_id).await?;
    let part = refund.parts.iter().find(|p| p.part == row.part);
    let part = part.ok_or_else(|| StoreError::conflict(format!("refund {} has no part {}", row.refund_id, row.part)))?;
    let asked = payments::Refund {
        order_id: &refund.order_id,
        key: &row.key,
        payment_id: &part.payment_id,
        amount: part.amount,
        outcome: row.outcome.as_str(),
        code: row.code.as_deref(),
    };
    payments::refund(&mut tx, &asked, now).await?;
    match row.outcome {
        RefundOutcome::Returned if part.state == PartState::Open => {
            set_parts(&mut tx, &refund.id, Some(row.part), PartState::Returned).await?;
            add_refunded(&mut tx, &refund, part.amount.minor, now).await?;
            let returned = refund.returned.minor + part.amount.minor;
            let open = refund.parts.iter().any(|p| p.part != row.part && p.state == PartState::Open);
            settle(&mut tx, &refund, returned, (!open).then_some(RefundState::Returned), None, now).await?;
        }
        RefundOutcome::Refused if !refund.state.is_settled() => {
            sqlx::query::<Db>(
                "UPDATE refunds SET state = 'refused', code = $2, revision = $3, updated_at = $4 WHERE id = $1 AND revision <= $3",
            )
            .bind(refund.id.as_str())
            .bind(row.code.as_deref())
            .bind(i64::from(row.revision))
            .bind(cut(now))
            .execute(&mut *tx)
            .await?;
        }
        _ => {}
    }
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn close(pools: &Pools, id: &RefundId, reference: &str, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    let refund = locked(&mut tx, id).await?;
    if refund.state.is_settled() {
        return Ok(());
    }
    let owed: i64 = refund.parts.iter().filter(|p| p.state == PartState::Open).map(|p| p.amount.minor).sum();
    set_parts(&mut tx, id, None, PartState::Closed).await?;
    add_refunded(&mut tx, &refund, owed, now).await?;
    settle(&mut tx, &refund, refund.returned.minor, Some(RefundState::Closed), Some(reference), now).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives one open part, or all of them, another state.
async fn set_parts(connection: &mut Conn, id: &RefundId, part: Option<u32>, state: PartState) -> Result<()> {
    sqlx::query::<Db>("UPDATE refund_parts SET state = $3 WHERE refund_id = $1 AND state = 'open' AND ($2 = 0 OR part = $2)")
        .bind(id.as_str())
        .bind(i64::from(part.unwrap_or(0)))
        .bind(state.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// The order's row shows what went back.
async fn add_refunded(connection: &mut Conn, refund: &StoredRefund, minor: i64, now: Instant) -> Result<()> {
    sqlx::query::<Db>("UPDATE orders SET refunded_minor = refunded_minor + $2, updated_at = $3 WHERE id = $1")
        .bind(refund.order_id.as_str())
        .bind(minor)
        .bind(cut(now))
        .execute(connection)
        .await?;
    Ok(())
}

async fn settle(
    connection: &mut Conn,
    refund: &StoredRefund,
    returned: i64,
    end: Option<RefundState>,
    reference: Option<&str>,
    now: Instant,
) -> Result<()> {
    sqlx::query::<Db>(
        "UPDATE refunds SET returned_minor = $2, state = $3, reference = COALESCE($4, reference), settled_at = $5, updated_at = $6
         WHERE id = $1",
    )
    .bind(refund.id.as_str())
    .bind(returned)
    .bind(end.unwrap_or(refund.state).as_str())
    .bind(reference)
    .bind(end.map(|_| cut(now)))
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(())
}
