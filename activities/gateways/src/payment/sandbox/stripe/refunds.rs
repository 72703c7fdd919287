//! Refunds.

use oms_domain::Instant;
use oms_domain::ids::derive;
use oms_domain::money::Money;
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::parameters::Parameters;
use super::{Refusal, StripeCall, lists, operation};
use crate::ledger::{Ledger, LedgerError};
use crate::payment::sandbox::SandboxPayments;
use crate::payment::{PaymentGateway, Refund, RefundRequest};

impl SandboxPayments {
    pub(super) async fn create_refund(&self, call: &StripeCall<'_>, given: &Parameters) -> Result<Value, Refusal> {
        let payment =
            given.text("payment_intent").ok_or_else(|| Refusal::invalid("parameter_missing", Some("payment_intent")))?;
        let (intent, key) = (self.intent(payment).await?, operation(call));
        let rest = intent.received() - intent.payment.as_ref().map_or(0, |p| p.refunded.minor);
        let amount = Money::new(given.number("amount")?.unwrap_or(rest), intent.amount.currency);
        let request = RefundRequest { key: key.clone(), payment_id: payment.to_owned(), amount, now: call.now };
        if let Refund::Refused { code } = self.refund(request).await? {
            let code = if rest == 0 && intent.received() > 0 { "charge_already_refunded" } else { code.as_str() };
            return Err(Refusal::invalid(code, Some("amount")));
        }
        let id = format!("re_{}", derive(&["sandbox refund", &key]).simple());
        let mut transaction = self.ledger.begin().await?;
        sqlx::query(
            "INSERT INTO stripe_refunds (refund_id, payment_id, amount, currency, metadata, created_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(&id)
        .bind(payment)
        .bind(amount.minor)
        .bind(amount.currency.code())
        .bind(json!(given.metadata()).to_string())
        .bind(call.now)
        .execute(&mut *transaction)
        .await?;
        Ledger::commit(transaction).await?;
        self.read_refund(&id).await
    }

    pub(super) async fn read_refund(&self, id: &str) -> Result<Value, Refusal> {
        let row = sqlx::query("SELECT * FROM stripe_refunds WHERE refund_id = $1")
            .bind(id)
            .fetch_optional(self.ledger.reader())
            .await?;
        Ok(shown(&row.ok_or_else(|| Refusal::missing("refund"))?)?)
    }

    pub(super) async fn list_refunds(&self, given: &Parameters) -> Result<Value, Refusal> {
        let rows = sqlx::query("SELECT * FROM stripe_refunds WHERE $1 IS NULL OR payment_id = $1 ORDER BY seq DESC")
            .bind(given.text("payment_intent"))
            .fetch_all(self.ledger.reader())
            .await?;
        let all = rows.iter().map(shown).collect::<Result<Vec<_>, _>>()?;
        lists::page("/v1/refunds", all, given)
    }
}

fn shown(row: &SqliteRow) -> Result<Value, LedgerError> {
    let metadata: Value = serde_json::from_str(row.try_get("metadata")?).map_err(|_| LedgerError::Unreadable("metadata"))?;
    Ok(json!({
        "id": row.try_get::<&str, _>("refund_id")?, "object": "refund", "status": "succeeded", "reason": null,
        "amount": row.try_get::<i64, _>("amount")?, "currency": row.try_get::<&str, _>("currency")?.to_ascii_lowercase(),
        "payment_intent": row.try_get::<&str, _>("payment_id")?, "metadata": metadata,
        "created": row.try_get::<Instant, _>("created_at")?.timestamp(),
    }))
}
