//! Money: held before anything ships, taken shipment by shipment.

use oms_contract::activity::{Authorize, Authorized, Capture, Captured, Void};
use oms_contract::definitions::Payments;
use oms_domain::event::{Fact, FactKind};
use oms_domain::message::Topic;
use oms_domain::money::Money;
use oms_domain::order::{Reason, Status};
use oms_domain::payment::PaymentStatus;
use oms_domain::review::{ACTION_REQUIRED, CAPTURE_REFUSED, Resolution};
use oms_domain::shipment::Shipment;

use super::desk::{Desk, after};
use super::{Order, Stop};
use crate::saga::{Step, Undo};

/// Holds the order's total. Orders that cost nothing never meet the gateway.
pub(super) async fn authorize(desk: &Desk) -> Result<(), Stop> {
    let start = desk.start();
    let total = desk.read(|s| s.total);
    if total.is_zero() {
        desk.write(|s| s.life.payment.status = PaymentStatus::NotRequired);
        return Ok(());
    }
    let mut revision = desk.write(Order::next_authorization);
    let mut deadline = None;
    loop {
        let news = desk.read(|s| s.payment_news);
        let input = Authorize { order_id: start.order_id.clone(), revision, amount: total, method: start.method.clone() };
        match desk.step(Step::Authorize, || Payments::authorize, input, None).await? {
            Authorized::Held { payment_id, expires_at } => {
                let now = desk.now();
                desk.write(|s| s.hold(revision, payment_id, total, expires_at, now));
                desk.note(Fact::new("authorized/1", FactKind::PaymentAuthorized, now).moving(total));
                desk.clear(ACTION_REQUIRED, None);
                return Ok(());
            }
            Authorized::Declined { code } => {
                desk.write(|s| s.life.payment.status = PaymentStatus::Declined);
                desk.note(Fact::new("declined/1", FactKind::PaymentDeclined, desk.now()).because(code).moving(total));
                desk.clear(ACTION_REQUIRED, None);
                return Err(Stop::Refused(Reason::PaymentDeclined));
            }
            // a run that was reset: the hold was renewed or replaced after that
            Authorized::Released => revision = desk.write(Order::next_authorization),
            Authorized::ActionRequired { .. } => {
                let by = *deadline.get_or_insert_with(|| after(desk.now(), start.deadlines.payment_action));
                if !customer_acts(desk, news, by).await? {
                    desk.clear(ACTION_REQUIRED, None);
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
            s.life.payment.action_until = Some(by);
            let fact = Fact::new("action_required/1", FactKind::PaymentActionRequired, now);
            s.journal.publish(fact.told_as(Topic::ActionRequired));
        }
    });
    desk.raise(ACTION_REQUIRED, None, "the customer must authenticate the payment", now);
    desk.waiting_until("payment", "the customer, who must authenticate the payment", Some(by));
    let nudges = desk.read(|s| s.nudges);
    let acted = desk
        .until_or_at(by, "the customer must authenticate by then", |s: &Order| {
            s.payment_news > heard || s.nudges > nudges || s.life.status == Status::Cancelling
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
    let id = &shipment.id;
    if shipment.amount.is_zero() || desk.read(|s| s.payment_id.is_none() || s.taken.contains(id)) {
        return;
    }
    let mut revision = 1;
    loop {
        // the newest hold: it may have been renewed meanwhile
        desk.until(|s| !s.funding && s.is_covered() || s.has_resolution(CAPTURE_REFUSED, Some(id))).await;
        if let Some(resolved) = desk.take_resolution(CAPTURE_REFUSED, Some(id))
            && resolved.action != Resolution::Retry
        {
            return settled(desk, shipment, resolved);
        }
        if desk.read(|s| !s.life.is_funded() && s.is_covered()) {
            // a person settled outside whatever was still owed
            return;
        }
        let input = desk.read(|s| Capture {
            order_id: s.start.order_id.clone(),
            shipment_id: id.clone(),
            payment_id: s.payment_id.clone().unwrap_or_default(),
            revision,
            amount: shipment.amount,
        });
        let held = input.payment_id.clone();
        match desk.step(Step::Capture, || Payments::capture, input, Some(id)).await {
            Ok(Captured::Taken) => return captured(desk, shipment),
            // it was renewed while this waited for a hold: the old one is gone, the new one pays
            Ok(Captured::Refused { .. }) if desk.read(|s| s.payment_id.as_ref() != Some(&held)) => revision += 1,
            Ok(Captured::Refused { code }) => {
                refused(desk, shipment, revision, code).await;
                revision += 1;
            }
            // behind the pivot nothing stops it; what a person decided meanwhile, the next turn of the loop sees
            Err(_) => {}
        }
    }
}

/// The gateway refuses to take the money of a parcel that has left: waits for a person or the next try.
async fn refused(desk: &Desk, shipment: &Shipment, revision: u32, code: String) {
    let now = desk.now();
    let key = format!("capture/{}/refused/{revision}", shipment.id);
    let fact = Fact::new(key, FactKind::PaymentCaptureRefused, now).because(code).about(&shipment.id);
    desk.publish(fact.moving(shipment.amount));
    let detail = "the gateway refused to take the money of a parcel that has left";
    desk.raise(CAPTURE_REFUSED, Some(&shipment.id), detail, now);
    let again = after(now, desk.start().deadlines.capture_retry);
    desk.waiting_until("payment", "the next try to take the money after a refusal", Some(again));
    let nudges = desk.read(|s| s.nudges);
    desk.until_or_at(again, "next try to take the money", |s: &Order| s.nudges > nudges).await;
    desk.waiting("payment", "");
}

/// A person settled the money of a parcel outside, or gives it up.
fn settled(desk: &Desk, shipment: &Shipment, resolved: super::Resolved) {
    let now = desk.now();
    desk.write(|s| {
        s.waive(shipment.amount);
        let key = format!("waived/{}", shipment.id);
        let fact = Fact::new(key, FactKind::PaymentSettledOutside, now).about(&shipment.id).moving(shipment.amount);
        s.journal.publish(fact.because(resolved.reference.unwrap_or_else(|| resolved.action.as_str().to_owned())));
    });
}

impl Order {
    /// Money that will not be taken by us.
    pub(super) fn waive(&mut self, amount: Money) {
        let payment = &mut self.life.payment;
        let before = payment.waived.unwrap_or(Money::zero(amount.currency));
        payment.waived = before.plus(amount).ok().or(payment.waived);
    }
}

fn captured(desk: &Desk, shipment: &Shipment) {
    let now = desk.now();
    desk.write(|s| {
        s.taken.push(shipment.id.clone());
        let payment = &mut s.life.payment;
        let sum = payment.captured.plus(shipment.amount).unwrap_or(payment.captured);
        payment.captured = sum;
        payment.status = if sum == s.total { PaymentStatus::Captured } else { PaymentStatus::PartiallyCaptured };
        let key = format!("captured/{}", shipment.id);
        s.journal.publish(Fact::new(key, FactKind::PaymentCaptured, now).about(&shipment.id).moving(shipment.amount));
    });
    desk.clear(CAPTURE_REFUSED, Some(&shipment.id));
}

/// Releases what is held beyond what was taken, once nothing more will be: lines were dropped, or a person settled a capture outside.
pub(super) async fn release_rest(desk: &Desk) {
    desk.until(|s| !s.funding).await;
    let beyond = |s: &Order| {
        let payment = &s.life.payment;
        let held =
            matches!(payment.status, PaymentStatus::Authorized | PaymentStatus::PartiallyCaptured | PaymentStatus::Captured);
        (payment.authorized.minor > payment.captured.minor && held).then_some(s.authorization)
    };
    let Some(revision) = desk.read(beyond) else { return };
    let order_id = desk.read(|s| s.start.order_id.clone());
    desk.undo(Undo::Void, || Payments::void, Void { order_id, revision }).await;
    let now = desk.now();
    desk.write(|s| {
        let payment = &mut s.life.payment;
        let rest = payment.authorized.minus(payment.captured).unwrap_or(payment.authorized);
        payment.authorized = payment.captured;
        payment.authorization_expires_at = None;
        payment.status = if payment.captured.is_zero() { PaymentStatus::Voided } else { PaymentStatus::Captured };
        s.journal.note(Fact::new(format!("voided/{revision}"), FactKind::PaymentVoided, now).moving(rest));
    });
}
