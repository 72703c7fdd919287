//! The cashier: passes refunds on. Each becomes a row and a story of its own (workflow `Refund`), which outlives the order's run.

use oms_contract::command::Accepted;
use oms_contract::definitions::Refunds;
use oms_contract::names::Queue;
use oms_contract::refund::{AskRefund, RefundAsked, RequestRefund, Terms};
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::life::{Refusal, RefusalCode};
use oms_domain::refund::{Ask, RefundId};
use oms_domain::shipment::Shipment;

use super::Order;
use super::commands::actor;
use super::desk::Desk;

/// Passes accepted wishes on, one after the other.
pub(super) async fn pass_on(desk: Desk) {
    loop {
        desk.until(|s| !s.refunds.is_empty()).await;
        let Some(input) = desk.read(|s| s.refunds.first().cloned()) else { continue };
        let refund_id = input.refund_id.clone();
        let asked = desk.must(Queue::Orders, "ask for a refund", || Refunds::request_refund, input).await;
        let now = desk.now();
        desk.write(|s| {
            s.refunds.remove(0);
            if let RefundAsked::TooMuch { refundable, .. } = asked {
                let fact = Fact::new(format!("refund/{refund_id}/too_much"), FactKind::SignalIgnored, now);
                let reason = format!("refund: more than the {} minor units that can go back", refundable.minor);
                s.journal.publish(fact.because(reason));
            }
        });
    }
}

/// A person decided that nothing more comes of this parcel: its money goes back.
pub(super) fn of_shipment(desk: &Desk, shipment: &Shipment, why: &str) {
    desk.write(|s| {
        if !s.taken.contains(&shipment.id) {
            // nothing was taken for it: it was settled outside
            return;
        }
        let refund_id = RefundId::from_key(shipment.id.as_str(), "closed");
        let ask = Ask { amount: Some(shipment.amount), up_to: true, ..Ask::default() };
        s.ask_refund(refund_id, ask, format!("shipment {}: {why}", shipment.id), "system".to_owned());
    });
}

impl Order {
    /// Whether there is money to give back. How much, the refund's row decides. Errors: [`Refusal`].
    pub(super) fn check_refund(&self, _wish: &RequestRefund) -> Result<(), Refusal> {
        if self.life.payment.captured.is_zero() {
            return Err(Refusal::new(RefusalCode::NotAllowedNow, "nothing was taken, so nothing can go back; cancel instead"));
        }
        Ok(())
    }

    /// Gives money back.
    pub(super) fn apply_refund(&mut self, wish: &RequestRefund, door: &str, _now: Instant) -> Result<Accepted, Refusal> {
        self.check_refund(wish)?;
        self.refunds_asked += 1;
        let own = RefundId::from_key(self.start.order_id.as_str(), &format!("signal/{}", self.refunds_asked));
        let refund_id = wish.refund_id.clone().unwrap_or(own);
        self.ask_refund(refund_id, wish.ask(), wish.reason.as_str().to_owned(), actor(wish.actor.as_ref(), door));
        Ok(Accepted { rev: self.newest() })
    }

    fn ask_refund(&mut self, refund_id: RefundId, ask: Ask, reason: String, actor: String) {
        let terms = Terms { deadlines: self.start.deadlines, patience: self.start.patience };
        self.refunds.push(AskRefund { order_id: self.start.order_id.clone(), refund_id, ask, reason, actor, terms });
    }
}
