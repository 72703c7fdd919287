//! Rows that only the wire format needs, and intents as JSON.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::money::{Currency, Money};
use oms_domain::payment::PaymentStatus;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;

use crate::ledger::LedgerError;
use crate::payment::sandbox::rows::{self, By, PaymentRow};

/// An intent: what was asked for, and what the ledger made of it once it was confirmed.
#[derive(Debug, Clone)]
pub(super) struct IntentRow {
    pub(super) payment_id: String,
    pub(super) authorize_key: String,
    pub(super) order_id: OrderId,
    pub(super) amount: Money,
    pub(super) method: Option<String>,
    pub(super) automatic: bool,
    pub(super) cancelled: bool,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) created_at: Instant,
    pub(super) payment: Option<PaymentRow>,
}

pub(super) async fn intent(connection: &mut SqliteConnection, id: &str) -> Result<Option<IntentRow>, LedgerError> {
    let row = sqlx::query("SELECT * FROM stripe_intents WHERE payment_id = $1").bind(id).fetch_optional(&mut *connection).await?;
    match row {
        Some(row) => read(connection, &row).await.map(Some),
        None => Ok(None),
    }
}

/// All intents, newest first.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<IntentRow>, LedgerError> {
    let rows = sqlx::query("SELECT * FROM stripe_intents ORDER BY seq DESC").fetch_all(&mut *connection).await?;
    read_all(connection, &rows).await
}

/// Intents with a field of metadata, of this value or of any, newest first.
pub(super) async fn with_metadata(
    connection: &mut SqliteConnection,
    field: &str,
    value: Option<&str>,
) -> Result<Vec<IntentRow>, LedgerError> {
    let sql = "SELECT * FROM stripe_intents
               WHERE EXISTS (SELECT 1 FROM json_each(metadata) m WHERE m.key = $1 AND ($2 IS NULL OR m.value = $2))
               ORDER BY seq DESC";
    let rows = sqlx::query(sql).bind(field).bind(value).fetch_all(&mut *connection).await?;
    read_all(connection, &rows).await
}

async fn read_all(connection: &mut SqliteConnection, rows: &[SqliteRow]) -> Result<Vec<IntentRow>, LedgerError> {
    let mut intents = Vec::with_capacity(rows.len());
    for row in rows {
        intents.push(read(connection, row).await?);
    }
    Ok(intents)
}

async fn read(connection: &mut SqliteConnection, row: &SqliteRow) -> Result<IntentRow, LedgerError> {
    let currency = Currency::parse(row.try_get("currency")?).map_err(|_| LedgerError::Unreadable("currency"))?;
    let authorize_key: String = row.try_get("authorize_key")?;
    let payment = rows::payment(connection, By::AuthorizeKey(&authorize_key)).await?;
    Ok(IntentRow {
        payment_id: row.try_get("payment_id")?,
        authorize_key,
        order_id: OrderId::parse(row.try_get::<String, _>("order_id")?).map_err(|_| LedgerError::Unreadable("order id"))?,
        amount: Money::new(row.try_get("amount")?, currency),
        method: row.try_get("method")?,
        automatic: row.try_get("automatic")?,
        cancelled: row.try_get("cancelled")?,
        metadata: serde_json::from_str(row.try_get("metadata")?).map_err(|_| LedgerError::Unreadable("metadata"))?,
        created_at: row.try_get("created_at")?,
        payment,
    })
}

pub(super) async fn insert(connection: &mut SqliteConnection, intent: &IntentRow) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO stripe_intents (payment_id, authorize_key, order_id, amount, currency, method, automatic, metadata, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
    )
    .bind(&intent.payment_id)
    .bind(&intent.authorize_key)
    .bind(intent.order_id.as_str())
    .bind(intent.amount.minor)
    .bind(intent.amount.currency.code())
    .bind(intent.method.as_deref())
    .bind(intent.automatic)
    .bind(json!(intent.metadata).to_string())
    .bind(intent.created_at)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn update(connection: &mut SqliteConnection, intent: &IntentRow) -> Result<(), LedgerError> {
    sqlx::query("UPDATE stripe_intents SET method = $2, cancelled = $3, metadata = $4 WHERE payment_id = $1")
        .bind(&intent.payment_id)
        .bind(intent.method.as_deref())
        .bind(intent.cancelled)
        .bind(json!(intent.metadata).to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Merges metadata into an intent's, if there is such an intent.
pub(in crate::payment::sandbox) async fn annotate(
    connection: &mut SqliteConnection,
    id: &str,
    metadata: &BTreeMap<String, String>,
) -> Result<(), LedgerError> {
    if metadata.is_empty() {
        return Ok(());
    }
    let Some(mut row) = intent(connection, id).await? else { return Ok(()) };
    row.merge(metadata);
    update(connection, &row).await
}

impl IntentRow {
    /// Merges metadata; an empty value takes a field away.
    pub(super) fn merge(&mut self, metadata: &BTreeMap<String, String>) {
        self.metadata.extend(metadata.clone());
        self.metadata.retain(|_, value| !value.is_empty());
    }

    /// How it stands, in Stripe's words.
    pub(super) fn status(&self) -> &'static str {
        match self.payment.as_ref().map(|p| p.status) {
            _ if self.cancelled => "canceled",
            None if self.method.is_none() => "requires_payment_method",
            None => "requires_confirmation",
            Some(PaymentStatus::RequiresAction) => "requires_action",
            Some(PaymentStatus::Authorized | PaymentStatus::PartiallyCaptured) => "requires_capture",
            Some(PaymentStatus::Captured | PaymentStatus::Refunded) => "succeeded",
            Some(PaymentStatus::Voided) => "canceled",
            Some(PaymentStatus::Declined | PaymentStatus::Pending | PaymentStatus::NotRequired) => "requires_payment_method",
        }
    }

    pub(super) fn received(&self) -> i64 {
        self.payment.as_ref().map_or(0, |p| p.captured.minor)
    }

    /// Held and not taken.
    pub(super) fn capturable(&self) -> i64 {
        let open = |p: &PaymentRow| p.authorized.minor - p.captured.minor - p.released.minor;
        if self.status() == "requires_capture" { self.payment.as_ref().map_or(0, open) } else { 0 }
    }

    /// Why it was declined.
    pub(super) fn decline(&self) -> Option<Value> {
        let payment = self.payment.as_ref().filter(|p| p.status == PaymentStatus::Declined)?;
        let code = payment.decline_code.as_deref().unwrap_or("card_declined");
        let (code, decline) = if code == "authentication_failed" {
            ("payment_intent_authentication_failure", None)
        } else {
            ("card_declined", Some(code).filter(|c| *c != "card_declined").or(Some("generic_decline")))
        };
        Some(json!({"type": "card_error", "code": code, "decline_code": decline, "message": "The card was declined (sandbox)."}))
    }

    /// The intent as Stripe shows it; `whole_charge` instead of the charge's id.
    pub(super) fn shown(&self, whole_charge: bool) -> Value {
        let charge = self.payment.as_ref().filter(|p| p.status != PaymentStatus::RequiresAction).map(|_| self.charge());
        let charge = charge.map(|charge| if whole_charge { charge } else { charge["id"].clone() });
        let action = || {
            let url = format!("/v1/sandbox/payments/{}/authenticate", self.payment_id);
            json!({"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": null}})
        };
        json!({
            "id": self.payment_id, "object": "payment_intent", "livemode": false, "created": self.created_at.timestamp(),
            "amount": self.amount.minor, "amount_capturable": self.capturable(), "amount_received": self.received(),
            "currency": self.amount.currency.code().to_ascii_lowercase(), "status": self.status(), "metadata": self.metadata,
            "capture_method": if self.automatic { "automatic" } else { "manual" }, "customer": null,
            "payment_method": self.method, "payment_method_types": ["card"], "latest_charge": charge,
            "client_secret": format!("{}_secret_sandbox", self.payment_id),
            "last_payment_error": self.decline(),
            "next_action": (self.status() == "requires_action").then(action),
            "cancellation_reason": null,
        })
    }

    fn charge(&self) -> Value {
        let refunded = self.payment.as_ref().map_or(0, |p| p.refunded.minor);
        let before = self.payment.as_ref().and_then(|p| p.expires_at).map(|at| at.timestamp());
        json!({
            "id": self.payment_id.replace("pay_", "ch_"), "object": "charge", "amount": self.amount.minor,
            "amount_captured": self.received(), "amount_refunded": refunded, "captured": self.received() > 0,
            "payment_intent": self.payment_id, "currency": self.amount.currency.code().to_ascii_lowercase(),
            "paid": self.decline().is_none(), "refunded": refunded > 0 && refunded == self.received(),
            "payment_method_details": {"type": "card", "card": {"capture_before": before, "multicapture": {"status": "available"}}},
        })
    }
}
