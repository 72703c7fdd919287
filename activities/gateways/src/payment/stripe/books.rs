//! Stripe's own books, page by page.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::money::Money;
use oms_domain::payment::PaymentStatus;
use oms_domain::reconciliation::{GatewayPayment, Listed};

use super::client::Failure;
use super::notes::{KEY, OF, ORDER, TOMBSTONE};
use super::objects::{Intent, Page, money};
use super::{StripePayments, lacks, learn};
use crate::GatewayError;

/// Entries per page at most, as the server has it.
const PAGE_MAX: u32 = 100;

impl StripePayments {
    /// Payments of ours that began at or after `since`, in the server's order, behind the intent named by the cursor. Intents of others on
    /// the same account are not ours to judge, and an intent that takes a later share counts with its first one.
    pub(super) async fn page(
        &self,
        since: Instant,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listed<GatewayPayment>, GatewayError> {
        let page = self.list(since, after, limit.clamp(1, PAGE_MAX)).await?;
        let next = page.data.last().map(|intent| intent.id.clone()).filter(|_| page.has_more);
        let ours = |i: &Intent| {
            i.says(KEY).is_some()
                && i.says(OF).is_none()
                && i.says(TOMBSTONE).is_none()
                && i.created_at().timestamp() >= since.timestamp()
        };
        let mut entries = Vec::new();
        for intent in page.data.into_iter().filter(ours) {
            entries.extend(self.entry(intent).await?);
        }
        Ok(Listed { entries, next })
    }

    async fn list(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Page<Intent>, GatewayError> {
        let (limit, since) = (limit.to_string(), since.timestamp().to_string());
        let mut parameters = vec![("limit", limit.as_str()), ("expand[]", "data.latest_charge")];
        parameters.extend(after.map(|id| ("starting_after", id)));
        if !lacks(&self.limits.no_since) {
            let mut limited = parameters.clone();
            limited.push(("created[gte]", since.as_str()));
            match self.http.get("payment_intents", &limited).await {
                Err(Failure::Refused(_)) => learn(&self.limits.no_since),
                listed => return listed.map_err(Failure::unexpected),
            }
        }
        self.http.get("payment_intents", &parameters).await.map_err(Failure::unexpected)
    }

    async fn entry(&self, intent: Intent) -> Result<Option<GatewayPayment>, GatewayError> {
        let moved = intent.received() > 0
            && (intent.has_refunds() || !intent.later().is_empty() || intent.charge().is_none_or(|c| c.amount_refunded > 0));
        let (mut captured, mut refunded) = (intent.received(), 0);
        if moved {
            let sources = self.sources(&intent).await?;
            captured = sources.iter().map(|s| s.intent.received()).sum();
            refunded = sources.iter().map(super::refund::Source::returned).sum();
        }
        // a currency that nobody knows is of no order of ours
        let Some(authorized) = money(intent.amount, &intent.currency) else { return Ok(None) };
        let in_units = |wired| money(wired, &intent.currency).unwrap_or(Money::zero(authorized.currency));
        let funded = intent.received() > 0 || matches!(intent.status.as_str(), "requires_capture" | "succeeded");
        Ok(Some(GatewayPayment {
            payment_id: intent.id.clone(),
            key: intent.says(KEY).unwrap_or_default().to_owned(),
            order: intent.says(ORDER).and_then(|id| OrderId::parse(id).ok()),
            status: status(&intent, captured, refunded),
            authorized: if funded { authorized } else { Money::zero(authorized.currency) },
            captured: in_units(captured),
            refunded: in_units(refunded),
            held: in_units(intent.held()),
            at: intent.created_at(),
        }))
    }
}

fn status(intent: &Intent, captured: i64, refunded: i64) -> PaymentStatus {
    match intent.status.as_str() {
        _ if captured > 0 && refunded >= captured => PaymentStatus::Refunded,
        _ if captured > 0 && intent.held() > 0 => PaymentStatus::PartiallyCaptured,
        _ if captured > 0 => PaymentStatus::Captured,
        "requires_capture" => PaymentStatus::Authorized,
        "canceled" => PaymentStatus::Voided,
        "requires_action" | "processing" | "requires_confirmation" => PaymentStatus::RequiresAction,
        _ => PaymentStatus::Declined,
    }
}
