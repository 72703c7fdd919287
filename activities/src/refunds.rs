//! Money that goes back: accepted in SQL, returned by the gateway. A repeated attempt first asks the gateway what became of the key.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::definitions::markers;
use oms_contract::refund::{AskRefund, CloseRefund, PaidBack, PayBack, RefundAsked};
use oms_gateways::payment::{Operation, PaymentGateway, Refund, RefundRequest};
use oms_store::{NewRefund, PayBackRow, RefundOutcome, RefundRequested, Store};
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// Accepts refunds, and notes what was settled outside. Queue `orders`.
pub struct RefundActivities {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
}

#[activities]
impl RefundActivities {
    /// Accept a refund; its run follows by itself.
    #[activity(definition = markers::RequestRefund)]
    pub async fn request_refund(self: Arc<Self>, _ctx: ActivityContext, input: AskRefund) -> Result<RefundAsked, ActivityError> {
        let new = NewRefund {
            id: input.refund_id,
            order_id: input.order_id,
            ask: input.ask,
            reason: input.reason,
            actor: input.actor,
            terms: input.terms.keep(),
        };
        match self.store.request_refund(&new, (self.clock)()).await.map_err(failure::store)? {
            RefundRequested::Accepted(refund) | RefundRequested::Known(refund) => {
                Ok(RefundAsked::Accepted { amount: refund.amount })
            }
            RefundRequested::TooMuch(excess) => {
                let order = self.store.order(&new.order_id).await.map_err(failure::store)?;
                let pending = order.is_some_and(|order| order.life.owes_captures());
                Ok(RefundAsked::TooMuch { refundable: excess.refundable, pending })
            }
            RefundRequested::UnknownOrder => Err(failure::missing("the order has no row")),
        }
    }

    /// Note that the rest was returned outside.
    #[activity(definition = markers::CloseRefund)]
    pub async fn close_refund(self: Arc<Self>, _ctx: ActivityContext, input: CloseRefund) -> Result<(), ActivityError> {
        self.store.close_refund(&input.refund_id, &input.reference, (self.clock)()).await.map_err(failure::store)
    }
}

/// Returns money. Queue `payments`.
pub struct PayBackActivities {
    /// The database.
    pub store: Store,
    /// The gateway.
    pub gateway: Arc<dyn PaymentGateway>,
    /// The time.
    pub clock: Clock,
}

#[activities]
impl PayBackActivities {
    /// Return money through one payment.
    #[activity(definition = markers::PayBack)]
    pub async fn pay_back(self: Arc<Self>, ctx: ActivityContext, input: PayBack) -> Result<PaidBack, ActivityError> {
        let key = input.key();
        let now = (self.clock)();
        let known =
            if input.again || ctx.info().attempt > 1 { self.gateway.lookup(&key).await.map_err(failure::gateway)? } else { None };
        let answer = match known {
            Some(Operation::Refund(answer)) => answer,
            _ => {
                let (payment_id, amount) = (input.part.payment_id.clone(), input.part.amount);
                let request = RefundRequest { key: key.clone(), payment_id, amount, now };
                self.gateway.refund(request).await.map_err(failure::gateway)?
            }
        };
        let (outcome, code) = match answer {
            Refund::Returned { .. } => (RefundOutcome::Returned, None),
            Refund::Refused { code } => (RefundOutcome::Refused, Some(code)),
        };
        let (part, revision) = (input.part.part, input.revision);
        let row = PayBackRow { refund_id: input.refund_id, part, revision, key, outcome, code: code.clone() };
        self.store.record_pay_back(&row, now).await.map_err(failure::store)?;
        Ok(match code {
            None => PaidBack::Returned,
            Some(code) => PaidBack::Refused { code },
        })
    }
}
