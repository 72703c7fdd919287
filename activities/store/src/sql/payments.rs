//! Statements of the payments ledger.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::money::Money;

use super::{Conn, Db, Pools, cut, money, word};
use crate::Result;
use crate::payments::{AuthorizationRow, CaptureOutcome, OperationKind, PaymentOperation};

/// One operation as it is written.
struct Operation<'a> {
    order_id: &'a OrderId,
    key: &'a str,
    kind: OperationKind,
    payment_id: Option<&'a str>,
    shipment_id: Option<&'a ShipmentId>,
    amount: Option<Money>,
    outcome: &'static str,
    expires_at: Option<Instant>,
    code: Option<&'a str>,
    action_url: Option<&'a str>,
}

pub(crate) async fn authorization(
    pools: &Pools,
    order_id: &OrderId,
    key: &str,
    row: &AuthorizationRow,
    now: Instant,
) -> Result<()> {
    let operation = Operation {
        order_id,
        key,
        kind: OperationKind::Authorize,
        payment_id: row.payment_id.as_deref(),
        shipment_id: None,
        amount: Some(row.amount),
        outcome: row.outcome.as_str(),
        expires_at: row.expires_at,
        code: row.code.as_deref(),
        action_url: row.action_url.as_deref(),
    };
    upsert(pools, &operation, now).await
}

#[allow(clippy::too_many_arguments)] // one column each
pub(crate) async fn capture(
    pools: &Pools,
    order_id: &OrderId,
    key: &str,
    payment_id: &str,
    shipment_id: &ShipmentId,
    amount: Money,
    outcome: CaptureOutcome,
    now: Instant,
) -> Result<()> {
    let operation = Operation {
        order_id,
        key,
        kind: OperationKind::Capture,
        payment_id: Some(payment_id),
        shipment_id: Some(shipment_id),
        amount: Some(amount),
        outcome: outcome.as_str(),
        expires_at: None,
        code: None,
        action_url: None,
    };
    upsert(pools, &operation, now).await
}

pub(crate) async fn void(pools: &Pools, order_id: &OrderId, key: &str, payment_id: Option<&str>, now: Instant) -> Result<()> {
    let operation = Operation {
        order_id,
        key,
        kind: OperationKind::Void,
        payment_id,
        shipment_id: None,
        amount: None,
        outcome: "voided",
        expires_at: None,
        code: None,
        action_url: None,
    };
    upsert(pools, &operation, now).await
}

/// A refund's share of a payment, as the gateway answered it.
pub(crate) struct Refund<'a> {
    pub(crate) order_id: &'a OrderId,
    pub(crate) key: &'a str,
    pub(crate) payment_id: &'a str,
    pub(crate) amount: Money,
    pub(crate) outcome: &'static str,
    pub(crate) code: Option<&'a str>,
}

/// Notes a refund inside a transaction.
pub(crate) async fn refund(connection: &mut Conn, r: &Refund<'_>, now: Instant) -> Result<()> {
    let operation = Operation {
        order_id: r.order_id,
        key: r.key,
        kind: OperationKind::Refund,
        payment_id: Some(r.payment_id),
        shipment_id: None,
        amount: Some(r.amount),
        outcome: r.outcome,
        expires_at: None,
        code: r.code,
        action_url: None,
    };
    write(connection, &operation, now).await
}

/// Writes an operation. Only an outcome that is not final gives way to a later one.
async fn upsert(pools: &Pools, o: &Operation<'_>, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    write(&mut tx, o, now).await?;
    tx.commit().await?;
    Ok(())
}

async fn write(connection: &mut Conn, o: &Operation<'_>, now: Instant) -> Result<()> {
    sqlx::query::<Db>(
        "INSERT INTO payment_operations (key, order_id, kind, payment_id, shipment_id, amount_minor, currency, outcome,
             expires_at, code, action_url, created_at, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12, $11, $11)
         ON CONFLICT (key) DO UPDATE SET payment_id = COALESCE(excluded.payment_id, payment_operations.payment_id),
             outcome = excluded.outcome, expires_at = excluded.expires_at, code = excluded.code, at = excluded.at
         WHERE payment_operations.outcome IN ('action_required', 'refused')
             AND payment_operations.outcome <> excluded.outcome AND payment_operations.kind = excluded.kind",
    )
    .bind(o.key)
    .bind(o.order_id.as_str())
    .bind(o.kind.as_str())
    .bind(o.payment_id)
    .bind(o.shipment_id.map(ShipmentId::as_str))
    .bind(o.amount.map(|a| a.minor))
    .bind(o.amount.map(|a| a.currency.to_string()))
    .bind(o.outcome)
    .bind(o.expires_at.map(cut))
    .bind(o.code)
    .bind(cut(now))
    .bind(o.action_url)
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct OperationRow {
    key: String,
    kind: String,
    payment_id: Option<String>,
    shipment_id: Option<String>,
    amount_minor: Option<i64>,
    currency: Option<String>,
    outcome: String,
    at: Instant,
}

pub(crate) async fn operations(pools: &Pools, order_id: &OrderId) -> Result<Vec<PaymentOperation>> {
    let rows = sqlx::query_as::<Db, OperationRow>(
        "SELECT key, kind, payment_id, shipment_id, amount_minor, currency, outcome, at FROM payment_operations
         WHERE order_id = $1 ORDER BY created_at, key",
    )
    .bind(order_id.as_str())
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(operation).collect()
}

fn operation(row: OperationRow) -> Result<PaymentOperation> {
    let amount = row.amount_minor.zip(row.currency).map(|(minor, code)| money("payment_operations.currency", minor, &code));
    Ok(PaymentOperation {
        key: row.key,
        kind: word("payment_operations.kind", &row.kind, OperationKind::parse)?,
        payment_id: row.payment_id,
        shipment_id: row.shipment_id.map(ShipmentId::parse).transpose()?,
        amount: amount.transpose()?,
        outcome: row.outcome,
        at: row.at,
    })
}
