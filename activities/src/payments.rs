//! Money.
//!
//! A repeated attempt first asks the gateway what became of the key: a compatible server may ignore idempotency keys, and an
//! answer that was lost must be found, never assumed.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::activity::{Authorize, Authorized, Capture, Captured, Void, Voided, effect_key};
use oms_contract::definitions::markers;
use oms_domain::money::Money;
use oms_gateways::payment::{
    Authorization, AuthorizeRequest, Capture as CaptureAnswer, CaptureRequest, Operation, PaymentGateway, Void as VoidAnswer,
    VoidRequest,
};
use oms_store::{AuthorizationOutcome, AuthorizationRow, CaptureOutcome, Store};
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// Moves money.
pub struct PaymentActivities {
    /// The database.
    pub store: Store,
    /// The gateway.
    pub gateway: Arc<dyn PaymentGateway>,
    /// The time.
    pub clock: Clock,
}

impl PaymentActivities {
    /// What became of a key, if this is not the first attempt.
    async fn known(&self, ctx: &ActivityContext, key: &str) -> Result<Option<Operation>, ActivityError> {
        if ctx.info().attempt <= 1 {
            return Ok(None);
        }
        self.gateway.lookup(key).await.map_err(failure::gateway)
    }
}

fn row(answer: &Authorization, amount: Money) -> AuthorizationRow {
    let row = |payment_id: Option<&String>, outcome| AuthorizationRow {
        payment_id: payment_id.cloned(),
        outcome,
        amount,
        expires_at: None,
        code: None,
        action_url: None,
    };
    match answer {
        Authorization::Held { payment_id, expires_at, .. } => {
            AuthorizationRow { expires_at: Some(*expires_at), ..row(Some(payment_id), AuthorizationOutcome::Held) }
        }
        Authorization::ActionRequired { payment_id, action_url } => {
            AuthorizationRow { action_url: action_url.clone(), ..row(Some(payment_id), AuthorizationOutcome::ActionRequired) }
        }
        Authorization::Declined { payment_id, code } => {
            AuthorizationRow { code: Some(code.clone()), ..row(payment_id.as_ref(), AuthorizationOutcome::Declined) }
        }
    }
}

#[activities]
impl PaymentActivities {
    /// Hold funds.
    #[activity(definition = markers::Authorize)]
    pub async fn authorize(self: Arc<Self>, ctx: ActivityContext, input: Authorize) -> Result<Authorized, ActivityError> {
        let key = effect_key(input.order_id.as_str(), "authorize", input.revision);
        let now = (self.clock)();
        // a run that was reset asks for what a later life of it has released: nothing may be held under this key again
        let released = effect_key(input.order_id.as_str(), "void", input.revision);
        let ours = self.store.payment_operations(&input.order_id).await.map_err(failure::store)?;
        if ours.iter().any(|operation| operation.key == released) {
            return Ok(Authorized::Released);
        }
        let answer = match self.known(&ctx, &key).await? {
            Some(Operation::Authorize(answer)) => answer,
            _ => {
                let request = AuthorizeRequest {
                    key: key.clone(),
                    order_id: input.order_id.clone(),
                    amount: input.amount,
                    method: input.method,
                    now,
                };
                self.gateway.authorize(request).await.map_err(failure::gateway)?
            }
        };
        let row = row(&answer, input.amount);
        self.store.record_authorization(&input.order_id, &key, row, now).await.map_err(failure::store)?;
        Ok(match answer {
            Authorization::Held { payment_id, expires_at, .. } => Authorized::Held { payment_id, expires_at: Some(expires_at) },
            // where the customer does so stays out of the history
            Authorization::ActionRequired { payment_id, .. } => Authorized::ActionRequired { payment_id },
            Authorization::Declined { code, .. } => Authorized::Declined { code },
        })
    }

    /// Take held funds.
    #[activity(definition = markers::Capture)]
    pub async fn capture(self: Arc<Self>, ctx: ActivityContext, input: Capture) -> Result<Captured, ActivityError> {
        let key = effect_key(input.shipment_id.as_str(), "capture", input.revision);
        let now = (self.clock)();
        let answer = match self.known(&ctx, &key).await? {
            Some(Operation::Capture(answer)) => answer,
            _ => {
                let request =
                    CaptureRequest { key: key.clone(), payment_id: input.payment_id.clone(), amount: input.amount, now };
                self.gateway.capture(request).await.map_err(failure::gateway)?
            }
        };
        let outcome = match &answer {
            CaptureAnswer::Taken { .. } => CaptureOutcome::Captured,
            CaptureAnswer::Refused { .. } => CaptureOutcome::Refused,
        };
        let (order, shipment) = (&input.order_id, &input.shipment_id);
        let recorded = self.store.record_capture(order, &key, &input.payment_id, shipment, input.amount, outcome, now).await;
        recorded.map_err(failure::store)?;
        Ok(match answer {
            CaptureAnswer::Taken { .. } => Captured::Taken,
            CaptureAnswer::Refused { code } => Captured::Refused { code },
        })
    }

    /// Release held funds.
    #[activity(definition = markers::Void)]
    pub async fn void(self: Arc<Self>, ctx: ActivityContext, input: Void) -> Result<Voided, ActivityError> {
        let key = effect_key(input.order_id.as_str(), "void", input.revision);
        let now = (self.clock)();
        let answer = match self.known(&ctx, &key).await? {
            Some(Operation::Void(answer)) => answer,
            _ => {
                let request = VoidRequest {
                    key: key.clone(),
                    authorize_key: effect_key(input.order_id.as_str(), "authorize", input.revision),
                    order_id: input.order_id.clone(),
                    now,
                };
                self.gateway.void(request).await.map_err(failure::gateway)?
            }
        };
        let payment_id = match &answer {
            VoidAnswer::Released { payment_id } => Some(payment_id.as_str()),
            VoidAnswer::Nothing => None,
        };
        self.store.record_void(&input.order_id, &key, payment_id, now).await.map_err(failure::store)?;
        Ok(Voided { released: payment_id.is_some() })
    }
}
