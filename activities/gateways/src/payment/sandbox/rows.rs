//! Rows of the sandbox gateway's ledger: read, written, nothing decided.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::money::{Currency, Money};
use oms_domain::payment::PaymentStatus;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Request;
use super::books::{OperationKind, OperationResult};
use super::rules;
use crate::ledger::LedgerError;
use crate::payment::Operation;

/// Failed attempts kept per key. A long outage with patient callers must not grow the file without end.
const FAILURES_MAX: i64 = 100;

/// One row of `payments`.
#[derive(Debug, Clone)]
pub(super) struct PaymentRow {
    pub(super) payment_id: String,
    pub(super) order_id: OrderId,
    pub(super) authorize_key: String,
    pub(super) method: String,
    pub(super) status: PaymentStatus,
    pub(super) decline_code: Option<String>,
    pub(super) requested: Money,
    pub(super) authorized: Money,
    pub(super) captured: Money,
    pub(super) released: Money,
    pub(super) refunded: Money,
    pub(super) expires_at: Option<Instant>,
    pub(super) created_at: Instant,
}

/// How a payment is found.
pub(super) enum By<'a> {
    PaymentId(&'a str),
    AuthorizeKey(&'a str),
}

pub(super) async fn payment(connection: &mut SqliteConnection, by: By<'_>) -> Result<Option<PaymentRow>, LedgerError> {
    let (sql, value) = match by {
        By::PaymentId(id) => ("SELECT * FROM payments WHERE payment_id = $1", id),
        By::AuthorizeKey(key) => ("SELECT * FROM payments WHERE authorize_key = $1", key),
    };
    let row = sqlx::query(sql).bind(value).fetch_optional(connection).await?;
    row.as_ref().map(read_payment).transpose()
}

pub(super) fn read_payment(row: &SqliteRow) -> Result<PaymentRow, LedgerError> {
    let currency = Currency::parse(row.try_get("currency")?).map_err(|_| LedgerError::Unreadable("currency"))?;
    let money = |column: &str| -> Result<Money, LedgerError> { Ok(Money::new(row.try_get(column)?, currency)) };
    Ok(PaymentRow {
        payment_id: row.try_get("payment_id")?,
        order_id: OrderId::parse(row.try_get::<String, _>("order_id")?).map_err(|_| LedgerError::Unreadable("order id"))?,
        authorize_key: row.try_get("authorize_key")?,
        method: row.try_get("method")?,
        status: read_status(row.try_get("status")?)?,
        decline_code: row.try_get("decline_code")?,
        requested: money("requested")?,
        authorized: money("authorized")?,
        captured: money("captured")?,
        released: money("released")?,
        refunded: money("refunded")?,
        expires_at: row.try_get("expires_at")?,
        created_at: row.try_get("created_at")?,
    })
}

fn read_status(name: &str) -> Result<PaymentStatus, LedgerError> {
    use PaymentStatus::*;
    [RequiresAction, Authorized, Declined, PartiallyCaptured, Captured, Voided, Refunded]
        .into_iter()
        .find(|s| s.as_str() == name)
        .ok_or(LedgerError::Unreadable("payment status"))
}

pub(super) async fn insert(connection: &mut SqliteConnection, payment: &PaymentRow) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO payments (payment_id, order_id, authorize_key, method, status, decline_code, currency, requested,
                               authorized, expires_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&payment.payment_id)
    .bind(payment.order_id.as_str())
    .bind(&payment.authorize_key)
    .bind(&payment.method)
    .bind(payment.status.as_str())
    .bind(payment.decline_code.as_deref())
    .bind(payment.requested.currency.code())
    .bind(payment.requested.minor)
    .bind(payment.authorized.minor)
    .bind(payment.expires_at)
    .bind(payment.created_at)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn update(connection: &mut SqliteConnection, payment: &PaymentRow) -> Result<(), LedgerError> {
    sqlx::query(
        "UPDATE payments SET status = $2, decline_code = $3, authorized = $4, captured = $5, released = $6, refunded = $7,
                             expires_at = $8
         WHERE payment_id = $1",
    )
    .bind(&payment.payment_id)
    .bind(payment.status.as_str())
    .bind(payment.decline_code.as_deref())
    .bind(payment.authorized.minor)
    .bind(payment.captured.minor)
    .bind(payment.released.minor)
    .bind(payment.refunded.minor)
    .bind(payment.expires_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// What became of a key, if anything took effect under it.
pub(super) async fn settled(
    connection: &mut SqliteConnection,
    key: &str,
) -> Result<Option<(OperationKind, Operation)>, LedgerError> {
    let row = sqlx::query("SELECT kind, answer FROM payment_operations WHERE key = $1 AND result <> 'failed'")
        .bind(key)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let kind = OperationKind::parse(row.try_get("kind")?).ok_or(LedgerError::Unreadable("operation kind"))?;
    let operation = match row.try_get::<Option<&str>, _>("answer")? {
        Some(answer) => serde_json::from_str(answer).map_err(|_| LedgerError::Unreadable("answer"))?,
        None => {
            let payment = payment(connection, By::AuthorizeKey(key)).await?;
            Operation::Authorize(rules::standing(&payment.ok_or(LedgerError::Unreadable("authorization without payment"))?)?)
        }
    };
    Ok(Some((kind, operation)))
}

/// One operation that is about to be listed.
pub(super) struct NewOperation<'a> {
    pub(super) request: Request<'a>,
    pub(super) authorize_key: Option<&'a str>,
    pub(super) amount: Option<Money>,
    pub(super) result: OperationResult,
    pub(super) answer: Option<&'a Operation>,
}

pub(super) async fn record(connection: &mut SqliteConnection, new: NewOperation<'_>) -> Result<(), LedgerError> {
    let answer = new.answer.map(serde_json::to_string).transpose().map_err(|_| LedgerError::Unreadable("answer"))?;
    sqlx::query(
        "INSERT INTO payment_operations (key, kind, authorize_key, amount, currency, result, answer, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(new.request.key())
    .bind(new.request.kind().as_str())
    .bind(new.authorize_key)
    .bind(new.amount.map(|m| m.minor))
    .bind(new.amount.map(|m| m.currency.code()))
    .bind(new.result.as_str())
    .bind(answer)
    .bind(new.request.now())
    .execute(connection)
    .await?;
    Ok(())
}

/// Lists an attempt that had no effect.
pub(super) async fn record_failure(connection: &mut SqliteConnection, request: Request<'_>) -> Result<(), LedgerError> {
    if failures(connection, request.key()).await? >= FAILURES_MAX {
        return Ok(());
    }
    let (authorize_key, amount) = match request {
        Request::Authorize(r) => (Some(r.key.clone()), Some(r.amount)),
        Request::Void(r) => (Some(r.authorize_key.clone()), None),
        Request::Capture(r) => (authorize_key(connection, &r.payment_id).await?, Some(r.amount)),
        Request::Refund(r) => (authorize_key(connection, &r.payment_id).await?, Some(r.amount)),
    };
    let failed =
        NewOperation { request, authorize_key: authorize_key.as_deref(), amount, result: OperationResult::Failed, answer: None };
    record(connection, failed).await
}

async fn authorize_key(connection: &mut SqliteConnection, payment_id: &str) -> Result<Option<String>, LedgerError> {
    Ok(payment(connection, By::PaymentId(payment_id)).await?.map(|p| p.authorize_key))
}

/// How many attempts under a key had no effect.
pub(super) async fn failures(connection: &mut SqliteConnection, key: &str) -> Result<i64, LedgerError> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM payment_operations WHERE key = $1 AND result = 'failed'")
        .bind(key)
        .fetch_one(connection)
        .await?)
}

/// Whether a void has been here before the authorization it was meant for.
pub(super) async fn has_tombstone(connection: &mut SqliteConnection, authorize_key: &str) -> Result<bool, LedgerError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM payment_operations WHERE authorize_key = $1 AND kind = 'void' AND result = 'ok')",
    )
    .bind(authorize_key)
    .fetch_one(connection)
    .await?)
}

/// An authorization that waited for the customer ended in a refusal.
pub(super) async fn mark_declined(connection: &mut SqliteConnection, authorize_key: &str) -> Result<(), LedgerError> {
    sqlx::query("UPDATE payment_operations SET result = 'declined' WHERE key = $1 AND kind = 'authorize' AND result = 'ok'")
        .bind(authorize_key)
        .execute(connection)
        .await?;
    Ok(())
}
