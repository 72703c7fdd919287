//! PaymentIntents: made, confirmed, captured, cancelled.

use oms_domain::ids::{OrderId, derive};
use oms_domain::money::{Currency, Money};
use oms_domain::payment::PaymentMethod;
use serde_json::Value;

use super::parameters::Parameters;
use super::rows::{self, IntentRow};
use super::{Refusal, StripeCall, operation};
use crate::GatewayError;
use crate::ledger::Ledger;
use crate::payment::sandbox::{SandboxPayments, rows as ledger};
use crate::payment::{Authorization, AuthorizeRequest, Capture, CaptureRequest, PaymentGateway, VoidRequest};

/// Where our adapter names the order; other callers' payments are of orders that do not exist.
const ORDER: &str = "oms_order";

impl SandboxPayments {
    pub(super) async fn intent(&self, id: &str) -> Result<IntentRow, Refusal> {
        let mut view = self.ledger.view().await?;
        rows::intent(&mut view, id).await?.ok_or_else(|| Refusal::missing("intent"))
    }

    pub(super) async fn read_intent(&self, id: &str, given: &Parameters) -> Result<Value, Refusal> {
        Ok(self.intent(id).await?.shown(given.expands("latest_charge")))
    }

    pub(super) async fn create_intent(&self, call: &StripeCall<'_>, given: &Parameters) -> Result<Value, Refusal> {
        let amount = given.number("amount")?.ok_or_else(|| Refusal::invalid("parameter_missing", Some("amount")))?;
        if amount <= 0 {
            return Err(Refusal::invalid("parameter_invalid_integer", Some("amount")));
        }
        let currency = given.text("currency").unwrap_or_default().to_ascii_uppercase();
        let currency = Currency::parse(&currency).map_err(|_| Refusal::invalid("parameter_invalid", Some("currency")))?;
        let method = given.text("payment_method").map(str::to_owned);
        if method.as_ref().is_some_and(|m| !self.knows_method(&PaymentMethod(m.clone()))) {
            return Err(Refusal::invalid("resource_missing", Some("payment_method")));
        }
        let (authorize_key, metadata) = (operation(call), given.metadata());
        let named = metadata.get(ORDER).and_then(|id| OrderId::parse(id.as_str()).ok());
        let intent = IntentRow {
            payment_id: format!("pay_{}", derive(&["sandbox payment", &authorize_key]).simple()),
            order_id: named.unwrap_or_else(|| OrderId::from_key("sandbox", "stripe", &authorize_key)),
            authorize_key,
            amount: Money::new(amount, currency),
            method,
            automatic: given.text("capture_method").is_none_or(|m| m != "manual"),
            cancelled: false,
            metadata,
            created_at: call.now,
            payment: None,
        };
        let mut transaction = self.ledger.begin().await?;
        rows::insert(&mut transaction, &intent).await?;
        Ledger::commit(transaction).await?;
        if given.flag("confirm") == Some(true) {
            return self.confirm_intent(&intent.payment_id, call, given).await;
        }
        self.read_intent(&intent.payment_id, given).await
    }

    pub(super) async fn update_intent(&self, id: &str, given: &Parameters) -> Result<Value, Refusal> {
        self.note(id, given).await?;
        self.read_intent(id, given).await
    }

    /// Merges metadata, and takes a payment method while it may still be named.
    async fn note(&self, id: &str, given: &Parameters) -> Result<(), Refusal> {
        let mut transaction = self.ledger.begin().await?;
        let mut intent = rows::intent(&mut transaction, id).await?.ok_or_else(|| Refusal::missing("intent"))?;
        intent.merge(&given.metadata());
        if intent.payment.is_none() {
            intent.method = given.text("payment_method").map(str::to_owned).or(intent.method);
        }
        rows::update(&mut transaction, &intent).await?;
        Ok(Ledger::commit(transaction).await?)
    }

    pub(super) async fn confirm_intent(&self, id: &str, call: &StripeCall<'_>, given: &Parameters) -> Result<Value, Refusal> {
        self.note(id, given).await?;
        let intent = self.intent(id).await?;
        if intent.cancelled {
            return Err(unexpected_state());
        }
        let Some(method) = intent.method.clone() else {
            return Err(Refusal::invalid("parameter_missing", Some("payment_method")));
        };
        let request = AuthorizeRequest {
            key: intent.authorize_key.clone(),
            order_id: intent.order_id.clone(),
            amount: intent.amount,
            method: PaymentMethod(method),
            now: call.now,
        };
        let answer = self.authorize(request).await?;
        if intent.automatic && matches!(answer, Authorization::Held { .. }) {
            let (key, payment_id) = (format!("{}/capture", intent.authorize_key), intent.payment_id.clone());
            self.capture(CaptureRequest { key, payment_id, amount: intent.amount, now: call.now }).await?;
        }
        let now = self.intent(id).await?;
        match now.decline() {
            None => Ok(now.shown(given.expands("latest_charge"))),
            Some(mut error) => {
                error["payment_intent"] = now.shown(false);
                Err(Refusal { status: 402, error })
            }
        }
    }

    pub(super) async fn capture_intent(&self, id: &str, call: &StripeCall<'_>, given: &Parameters) -> Result<Value, Refusal> {
        let (intent, key) = (self.intent(id).await?, operation(call));
        let amount = given.number("amount_to_capture")?.unwrap_or(intent.capturable());
        let mut view = self.ledger.view().await?;
        let repeated = ledger::settled(&mut view, &key).await?.is_some();
        drop(view);
        if !repeated && intent.status() != "requires_capture" {
            return Err(unexpected_state());
        }
        if !repeated && amount > intent.capturable() {
            return Err(Refusal::invalid("amount_too_large", Some("amount_to_capture")));
        }
        let amount = Money::new(amount, intent.amount.currency);
        let request = CaptureRequest { key: key.clone(), payment_id: id.to_owned(), amount, now: call.now };
        // a lost answer loses the answer only: what belongs to the capture happens with it
        let taken = self.take(&request, &given.metadata()).await;
        match &taken {
            // another capture was faster, and what it left was released
            Ok(Capture::Refused { code }) if code == "voided" => return Err(unexpected_state()),
            Ok(Capture::Refused { code }) => {
                let code = if code == "authorization_expired" { "capture_charge_authorization_expired" } else { code.as_str() };
                return Err(Refusal::invalid(code, None));
            }
            Err(GatewayError::Unavailable { .. } | GatewayError::LeftAlone { .. }) => {
                return Err(taken.err().map_or_else(unexpected_state, Refusal::from));
            }
            Ok(Capture::Taken { .. }) | Err(GatewayError::UnknownOutcome { .. }) => {}
        }
        if given.flag("final_capture") != Some(false) && self.intent(id).await?.capturable() > 0 {
            self.release(&intent, &format!("{key}/rest"), call).await?;
        }
        taken?;
        self.read_intent(id, given).await
    }

    pub(super) async fn cancel_intent(&self, id: &str, call: &StripeCall<'_>, given: &Parameters) -> Result<Value, Refusal> {
        let intent = self.intent(id).await?;
        if !matches!(
            intent.status(),
            "requires_payment_method" | "requires_confirmation" | "requires_action" | "requires_capture"
        ) {
            return Err(unexpected_state());
        }
        self.release(&intent, &operation(call), call).await?;
        let mut transaction = self.ledger.begin().await?;
        let mut intent = rows::intent(&mut transaction, id).await?.ok_or_else(|| Refusal::missing("intent"))?;
        // one of which something was taken has succeeded with that much
        intent.cancelled = intent.received() == 0;
        rows::update(&mut transaction, &intent).await?;
        Ledger::commit(transaction).await?;
        self.read_intent(id, given).await
    }

    async fn release(&self, intent: &IntentRow, key: &str, call: &StripeCall<'_>) -> Result<(), Refusal> {
        let (authorize_key, order_id) = (intent.authorize_key.clone(), intent.order_id.clone());
        let released = self.void(VoidRequest { key: key.to_owned(), authorize_key, order_id, now: call.now }).await;
        match released {
            // it happened; whoever calls says so in its own way
            Ok(_) | Err(GatewayError::UnknownOutcome { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn unexpected_state() -> Refusal {
    Refusal::invalid("payment_intent_unexpected_state", None)
}
