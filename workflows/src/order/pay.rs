//! Money: held before anything ships, taken shipment by shipment.

use oms_contract::activity::{Authorize, Authorized, Capture, Captured};
use oms_contract::definitions::Payments;
use oms_domain::event::{Fact, FactKind};
use oms_domain::order::{Reason, Status};
use oms_domain::payment::PaymentStatus;
use oms_domain::shipment::Shipment;

use super::desk::{Desk, after};
use super::undo::Pending;
use super::{Order, Stop};
use crate::saga::Step;

/// The flag of an order that waits for its customer.
const ACTION_REQUIRED: &str = "payment_action_required";
/// The flag of an order whose capture the gateway refused.
const CAPTURE_REFUSED: &str = "capture_refused";

/// Holds the order's total. Orders that cost nothing never meet the gateway.
pub(super) async fn authorize(desk: &Desk) -> Result<(), Stop> {
    let start = desk.start();
    if start.total.is_zero() {
        desk.write(|s| s.life.payment.status = PaymentStatus::NotRequired);
        return Ok(());
    }
    let input = Authorize { order_id: start.order_id.clone(), revision: 1, amount: start.total, method: start.method.clone() };
    desk.write(|s| s.register(Pending::Void { revision: 1 }));
    let mut deadline = None;
    loop {
        let news = desk.read(|s| s.payment_news);
        match desk.step(Step::Authorize, || Payments::authorize, input.clone(), None).await? {
            Authorized::Held { payment_id, expires_at } => {
                desk.write(|s| {
                    s.payment_id = Some(payment_id);
                    s.life.payment.status = PaymentStatus::Authorized;
                    s.life.payment.authorized = start.total;
                    s.life.payment.authorization_expires_at = expires_at;
                });
                desk.note(Fact::new("authorized/1", FactKind::PaymentAuthorized, desk.now()).moving(start.total));
                desk.clear(ACTION_REQUIRED);
                return Ok(());
            }
            Authorized::Declined { code } => {
                desk.write(|s| s.life.payment.status = PaymentStatus::Declined);
                desk.note(Fact::new("declined/1", FactKind::PaymentDeclined, desk.now()).because(code).moving(start.total));
                desk.clear(ACTION_REQUIRED);
                return Err(Stop::Refused(Reason::PaymentDeclined));
            }
            Authorized::ActionRequired { .. } => {
                let by = *deadline.get_or_insert_with(|| after(desk.now(), start.deadlines.payment_action));
                if !customer_acts(desk, news, by).await? {
                    desk.clear(ACTION_REQUIRED);
                    return Err(Stop::Refused(Reason::PaymentActionExpired));
                }
            }
        }
    }
}

/// Waits for the customer to authenticate; `false` when the deadline came first.
async fn customer_acts(desk: &Desk, heard: u32, by: oms_domain::Instant) -> Result<bool, Stop> {
    let now = desk.now();
    desk.write(|s| {
        if s.life.payment.status != PaymentStatus::RequiresAction {
            s.life.payment.status = PaymentStatus::RequiresAction;
            s.journal.publish(Fact::new("action_required/1", FactKind::PaymentActionRequired, now));
        }
    });
    desk.raise(ACTION_REQUIRED, "the customer must authenticate the payment", now);
    desk.waiting("payment", "the customer, who must authenticate the payment");
    let acted = desk
        .until_or_at(by, "the customer must authenticate by then", |s: &Order| {
            s.payment_news > heard || s.life.status == Status::Cancelling
        })
        .await;
    desk.waiting("payment", "");
    if desk.read(|s| s.life.status == Status::Cancelling) {
        return Err(Stop::Cancelled);
    }
    Ok(acted)
}

/// Takes a shipment's share of the held funds. A refusal never ends the order: a person is called and the gateway is asked again.
pub(super) async fn capture(desk: &Desk, shipment: &Shipment) {
    let start = desk.start();
    let Some(payment_id) = desk.read(|s| s.payment_id.clone()).filter(|_| !shipment.amount.is_zero()) else { return };
    let mut revision = 1;
    loop {
        let input = Capture {
            order_id: start.order_id.clone(),
            shipment_id: shipment.id.clone(),
            payment_id: payment_id.clone(),
            revision,
            amount: shipment.amount,
        };
        match desk.step(Step::Capture, || Payments::capture, input, Some(&shipment.id)).await {
            Ok(Captured::Taken) => return captured(desk, shipment),
            Ok(Captured::Refused { code }) => {
                let now = desk.now();
                let key = format!("capture/{}/refused/{revision}", shipment.id);
                desk.publish(
                    Fact::new(key, FactKind::PaymentCaptureRefused, now)
                        .because(code)
                        .about(&shipment.id)
                        .moving(shipment.amount),
                );
                desk.raise(CAPTURE_REFUSED, "the gateway refused to take the money of a parcel that has left", now);
                desk.waiting("payment", "the next try to take the money after a refusal");
                desk.timer(after(now, start.deadlines.capture_retry), "next try to take the money").await;
                desk.waiting("payment", "");
                revision += 1;
            }
            // behind the pivot nothing interrupts
            Err(_) => {}
        }
    }
}

fn captured(desk: &Desk, shipment: &Shipment) {
    let now = desk.now();
    desk.write(|s| {
        let payment = &mut s.life.payment;
        let sum = payment.captured.plus(shipment.amount).unwrap_or(payment.captured);
        payment.captured = sum;
        payment.status = if sum == s.start.total { PaymentStatus::Captured } else { PaymentStatus::PartiallyCaptured };
        let key = format!("captured/{}", shipment.id);
        s.journal.publish(Fact::new(key, FactKind::PaymentCaptured, now).about(&shipment.id).moving(shipment.amount));
    });
    desk.clear(CAPTURE_REFUSED);
}
