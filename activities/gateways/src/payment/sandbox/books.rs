//! The ledger as it is read: `GET /v1/sandbox/payments` and the audit.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::money::{Currency, Money};
use oms_domain::payment::PaymentStatus;
use oms_domain::reconciliation::{GatewayPayment, Listed};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use std::collections::HashMap;

use super::{SandboxPayments, rows};
use crate::ledger::LedgerError;

/// What was asked of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Hold funds.
    Authorize,
    /// Take held funds.
    Capture,
    /// Release held funds.
    Void,
    /// Return taken funds.
    Refund,
}

impl OperationKind {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Authorize, Self::Capture, Self::Void, Self::Refund].into_iter().find(|k| k.as_str() == name)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationResult {
    /// It took effect (a void that found nothing included).
    Ok,
    /// The gateway said no.
    Declined,
    /// No effect, no answer.
    Failed,
}

impl OperationResult {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Declined => "declined",
            Self::Failed => "failed",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Ok, Self::Declined, Self::Failed].into_iter().find(|r| r.as_str() == name)
    }
}

/// One operation of a payment. An idempotent repeat is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxOperation {
    /// Its idempotency key.
    pub key: String,
    /// What was asked.
    pub kind: OperationKind,
    /// How much was asked; for a void, how much was released.
    pub amount: Money,
    /// How it ended.
    pub result: OperationResult,
    /// When it was asked.
    pub at: Instant,
}

/// One attempted authorization and all that followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPayment {
    /// The gateway's id.
    pub payment_id: String,
    /// The order.
    pub order_id: OrderId,
    /// How it stands; never `pending` or `not_required`.
    pub status: PaymentStatus,
    /// What was held at most; stays when it is taken or released.
    pub authorized: Money,
    /// What was taken.
    pub captured: Money,
    /// What was returned.
    pub refunded: Money,
    /// All operations, oldest first.
    pub operations: Vec<SandboxOperation>,
}

// The unfiltered ones take the same bind, which is then NULL.
const PAYMENTS: &str = "SELECT * FROM payments WHERE $1 IS NULL ORDER BY seq";
const PAYMENTS_OF_ORDER: &str = "SELECT * FROM payments WHERE order_id = $1 ORDER BY seq";
const OPERATIONS: &str = "SELECT o.* FROM payments p JOIN payment_operations o ON o.authorize_key = p.authorize_key
     WHERE $1 IS NULL ORDER BY o.seq";
const OPERATIONS_OF_ORDER: &str = "SELECT o.* FROM payments p JOIN payment_operations o ON o.authorize_key = p.authorize_key
     WHERE p.order_id = $1 ORDER BY o.seq";

impl SandboxPayments {
    /// The ledger, oldest payment first: of one order or whole, as of one instant. Errors: [`LedgerError`].
    pub async fn payments(&self, order_id: Option<&OrderId>) -> Result<Vec<SandboxPayment>, LedgerError> {
        let mut view = self.ledger.view().await?;
        let order = order_id.map(OrderId::as_str);
        // two statements each instead of one with OR: only these use the index
        let (payments_sql, operations_sql) = match order {
            Some(_) => (PAYMENTS_OF_ORDER, OPERATIONS_OF_ORDER),
            None => (PAYMENTS, OPERATIONS),
        };
        let rows = sqlx::query(payments_sql).bind(order).fetch_all(&mut *view).await?;
        let payments = rows.iter().map(rows::read_payment).collect::<Result<Vec<_>, _>>()?;
        let rows = sqlx::query(operations_sql).bind(order).fetch_all(&mut *view).await?;
        let mut operations: HashMap<String, Vec<SandboxOperation>> = HashMap::new();
        let currencies: HashMap<&str, Currency> =
            payments.iter().map(|p| (p.authorize_key.as_str(), p.authorized.currency)).collect();
        for row in &rows {
            let authorize_key: String = row.try_get("authorize_key")?;
            let currency = *currencies.get(authorize_key.as_str()).ok_or(LedgerError::Unreadable("operation without payment"))?;
            operations.entry(authorize_key).or_default().push(read_operation(row, currency)?);
        }
        Ok(payments
            .into_iter()
            .map(|payment| SandboxPayment {
                operations: operations.remove(&payment.authorize_key).unwrap_or_default(),
                payment_id: payment.payment_id,
                order_id: payment.order_id,
                status: payment.status,
                authorized: payment.authorized,
                captured: payment.captured,
                refunded: payment.refunded,
            })
            .collect())
    }
}

/// A page of the ledger in the order in which it was written; `seq` is the cursor.
const PAGE: &str = "SELECT * FROM payments WHERE seq > $1 AND created_at >= $2 ORDER BY seq LIMIT $3";

impl SandboxPayments {
    /// Payments that began at or after `since`, behind a cursor.
    pub(super) async fn page(
        &self,
        since: Instant,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listed<GatewayPayment>, LedgerError> {
        let after: i64 = after.map_or(Ok(0), str::parse).map_err(|_| LedgerError::Unreadable("cursor"))?;
        let rows = sqlx::query(PAGE).bind(after).bind(since).bind(i64::from(limit)).fetch_all(self.ledger.reader()).await?;
        let full = rows.len() >= limit as usize;
        let last = rows.last().filter(|_| full).map(|row| row.try_get::<i64, _>("seq")).transpose()?;
        let entries = rows.iter().map(|row| rows::read_payment(row).map(listed)).collect::<Result<Vec<_>, _>>()?;
        Ok(Listed { entries, next: last.map(|seq| seq.to_string()) })
    }
}

fn listed(row: rows::PaymentRow) -> GatewayPayment {
    let open = matches!(row.status, PaymentStatus::Authorized | PaymentStatus::PartiallyCaptured);
    let rest = if open { row.authorized.minor - row.captured.minor - row.released.minor } else { 0 };
    GatewayPayment {
        payment_id: row.payment_id,
        key: row.authorize_key,
        order: Some(row.order_id),
        status: row.status,
        authorized: row.authorized,
        captured: row.captured,
        refunded: row.refunded,
        held: Money::new(rest, row.authorized.currency),
        at: row.created_at,
    }
}

/// An operation that names no amount of its own (a void) counts in the payment's currency.
fn read_operation(row: &sqlx::sqlite::SqliteRow, payment_currency: Currency) -> Result<SandboxOperation, LedgerError> {
    let currency = match row.try_get::<Option<&str>, _>("currency")? {
        Some(code) => Currency::parse(code).map_err(|_| LedgerError::Unreadable("currency"))?,
        None => payment_currency,
    };
    Ok(SandboxOperation {
        key: row.try_get("key")?,
        kind: OperationKind::parse(row.try_get("kind")?).ok_or(LedgerError::Unreadable("operation kind"))?,
        amount: Money::new(row.try_get::<Option<i64>, _>("amount")?.unwrap_or_default(), currency),
        result: OperationResult::parse(row.try_get("result")?).ok_or(LedgerError::Unreadable("operation result"))?,
        at: row.try_get("at")?,
    })
}
