//! The treasurer: keeps the order's open amount funded. A hold on funds ends by itself, so it is renewed before that; the old one is
//! released first, so that never two are alive, and nothing is booked or taken in between.

use oms_contract::activity::{Authorize, Authorized, Void};
use oms_contract::command::Cancel;
use oms_contract::definitions::Payments;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::life::Why;
use oms_domain::message::Topic;
use oms_domain::money::Money;
use oms_domain::payment::{PaymentStatus, ReauthorizationPolicy};
use oms_domain::review::{Resolution, UNFUNDED};

use super::Order;
use super::desk::{Desk, after};
use super::undo::Pending;
use crate::saga::{Step, Undo};

/// When the hold must be renewed; `None` without a hold, or when nothing is left to take.
pub(super) fn renewal_due(order: &Order) -> Option<Instant> {
    let payment = &order.life.payment;
    let open = matches!(payment.status, PaymentStatus::Authorized | PaymentStatus::PartiallyCaptured);
    let ends = payment.authorization_expires_at.filter(|_| open && !order.is_stopping() && owed(order).minor > 0)?;
    let lifetime = (ends - order.authorized_at).to_std().unwrap_or_default();
    let before = order.start.deadlines.reauthorize_before.min(lifetime / 4);
    chrono::TimeDelta::from_std(before).ok().and_then(|before| ends.checked_sub_signed(before))
}

/// What is still to be taken: for the parcels, once there are no more to come; before that for the whole order.
pub(super) fn owed(order: &Order) -> Money {
    let zero = Money::zero(order.total.currency);
    let mut parcels = order.life.live_shipments().map(|s| s.amount).peekable();
    let planned = order.life.waiting.is_empty() && parcels.peek().is_some();
    let due = if planned { parcels.fold(zero, |sum, amount| sum.plus(amount).unwrap_or(sum)) } else { order.total };
    let settled = order.life.payment.waived.unwrap_or(zero);
    let open = due.minus(order.life.payment.captured).and_then(|rest| rest.minus(settled));
    open.ok().filter(|rest| rest.minor > 0).unwrap_or(zero)
}

/// Renews the hold as often as it takes.
pub(super) async fn keep_funded(desk: Desk) {
    loop {
        desk.until(|s| renewal_due(s).is_some_and(|due| due <= s.looked_at)).await;
        desk.until(|s| !s.life.editing).await;
        // calls back a capture that is on its way: one movement of money at a time
        desk.write(|s| s.funding = true);
        desk.until(|s| s.capturing == 0).await;
        if desk.read(|s| renewal_due(s).is_some_and(|due| due <= s.looked_at)) {
            renew(&desk).await;
        }
        desk.write(|s| s.funding = false);
    }
}

async fn renew(desk: &Desk) {
    let old = desk.read(|s| s.authorization);
    let order_id = desk.read(|s| s.start.order_id.clone());
    desk.undo(Undo::Void, || Payments::void, Void { order_id, revision: old }).await;
    desk.write(|s| {
        s.undo.retain(|p| *p != Pending::Void { revision: old });
        let payment = &mut s.life.payment;
        payment.status = PaymentStatus::Pending;
        payment.authorized = payment.captured;
        payment.authorization_expires_at = None;
    });
    let mut told = false;
    while !desk.read(Order::is_stopping) {
        match hold_again(desk).await {
            Renewal::Held | Renewal::Stopped => return,
            Renewal::Again => {}
            Renewal::Refused(refusal) => {
                refused(desk, &refusal, std::mem::replace(&mut told, true));
                if desk.read(Order::is_stopping) {
                    return;
                }
                ask_a_person(desk).await;
                if desk.read(Order::is_covered) {
                    return;
                }
            }
        }
    }
}

enum Renewal {
    Held,
    Refused(Refused),
    /// The revision was used before this run was reset: the next one is asked for.
    Again,
    Stopped,
}

/// Funds that could not be held.
struct Refused {
    revision: u32,
    amount: Money,
    /// The gateway's code, or why the customer did not get through.
    code: String,
}

async fn hold_again(desk: &Desk) -> Renewal {
    let (input, revision) = desk.write(|s| {
        let revision = s.next_authorization();
        let (order_id, method) = (s.start.order_id.clone(), s.start.method.clone());
        (Authorize { order_id, revision, amount: owed(s), method }, revision)
    });
    let amount = input.amount;
    let answer = desk.step(Step::Authorize, || Payments::authorize, input, None).await;
    let now = desk.now();
    match answer {
        Ok(Authorized::Held { payment_id, expires_at }) => {
            desk.write(|s| s.hold(revision, payment_id, amount, expires_at, now));
            let key = format!("reauthorized/{revision}");
            desk.publish(Fact::new(key, FactKind::PaymentReauthorized, now).moving(amount));
            desk.clear(UNFUNDED, None);
            Renewal::Held
        }
        Ok(Authorized::Declined { code }) => Renewal::Refused(Refused { revision, amount, code }),
        Ok(Authorized::ActionRequired { .. }) => authenticated(desk, revision, amount).await,
        Ok(Authorized::Released) => Renewal::Again,
        Err(_) => Renewal::Stopped,
    }
}

/// The gateway wants the customer: asks until the payment is held or refused, or the deadline has passed.
async fn authenticated(desk: &Desk, revision: u32, amount: Money) -> Renewal {
    let now = desk.now();
    let by = after(now, desk.start().deadlines.payment_action);
    desk.write(|s| {
        s.life.payment.status = PaymentStatus::RequiresAction;
        s.life.payment.action_until = Some(by);
    });
    let key = format!("reauthorized/{revision}/action_required");
    desk.publish(Fact::new(key, FactKind::PaymentActionRequired, now).told_as(Topic::ActionRequired));
    loop {
        let news = desk.read(|s| s.payment_news);
        desk.waiting_until("payment", "the customer, who must authenticate the payment", Some(by));
        let acted = desk
            .until_or_at(by, "the customer must authenticate by then", |s: &Order| s.payment_news > news || s.is_stopping())
            .await;
        desk.waiting("payment", "");
        if desk.read(Order::is_stopping) {
            return Renewal::Stopped;
        }
        if !acted {
            return Renewal::Refused(Refused { revision, amount, code: "authentication_expired".to_owned() });
        }
        let (order_id, method) = desk.read(|s| (s.start.order_id.clone(), s.start.method.clone()));
        let input = Authorize { order_id, revision, amount, method };
        match desk.step(Step::Authorize, || Payments::authorize, input, None).await {
            Ok(Authorized::Held { payment_id, expires_at }) => {
                let now = desk.now();
                desk.write(|s| s.hold(revision, payment_id, amount, expires_at, now));
                let key = format!("reauthorized/{revision}");
                desk.publish(Fact::new(key, FactKind::PaymentReauthorized, now).moving(amount));
                desk.clear(UNFUNDED, None);
                return Renewal::Held;
            }
            Ok(Authorized::Declined { code }) => return Renewal::Refused(Refused { revision, amount, code }),
            Ok(Authorized::Released) => return Renewal::Again,
            Ok(Authorized::ActionRequired { .. }) => {}
            Err(_) => return Renewal::Stopped,
        }
    }
}

/// Puts a refusal on record and does what policy says. `told`: the customer knows of it from an earlier try.
fn refused(desk: &Desk, Refused { revision, amount, code }: &Refused, told: bool) {
    let now = desk.now();
    let policy = desk.read(|s| s.start.policies.reauthorization);
    desk.write(|s| {
        s.life.payment.status = PaymentStatus::Declined;
        s.life.payment.action_until = None;
        let key = format!("reauthorized/{revision}/declined");
        let mut fact = Fact::new(key, FactKind::PaymentReauthorizationDeclined, now).because(code).moving(*amount);
        if policy == ReauthorizationPolicy::Cancel && s.life.check_cancel().is_ok() {
            s.journal.publish(fact);
            if let Ok(reason) = Why::parse("the customer's funds could not be held again") {
                // checked in this very moment
                let _ = s.apply_cancel(&Cancel { reason, actor: None }, "policy", now);
            }
            return;
        }
        fact.tell = (!told && policy != ReauthorizationPolicy::Reauthorize).then_some(Topic::PaymentFailed);
        s.journal.publish(fact);
    });
}

/// Nothing ships unfunded: a person is called, and the gateway is asked again later or when that person says so.
async fn ask_a_person(desk: &Desk) {
    let now = desk.now();
    desk.raise(UNFUNDED, None, "the customer's funds could not be held again; nothing is booked until they are", now);
    let again = after(now, desk.start().deadlines.capture_retry);
    desk.waiting_until("payment", "the next try to hold the customer's funds", Some(again));
    let nudges = desk.read(|s| s.nudges);
    desk.until_or_at(again, "next try to hold the funds", |s| s.nudges > nudges || s.is_stopping()).await;
    desk.waiting("payment", "");
    let Some(resolved) = desk.take_resolution(UNFUNDED, None) else { return };
    match resolved.action {
        Resolution::Cancel => desk.until(Order::is_stopping).await,
        Resolution::UseExternalReference => {
            let now = desk.now();
            desk.write(|s| {
                let open = owed(s);
                s.waive(open);
                let key = format!("waived/{}", s.authorizations);
                let fact = Fact::new(key, FactKind::PaymentSettledOutside, now).moving(open);
                s.journal.publish(fact.because(resolved.reference.unwrap_or_default()));
            });
        }
        Resolution::Retry | Resolution::RefundAndClose => {}
    }
}

impl Order {
    /// Whether funds are held for what is owed, or nothing is owed any more.
    pub(super) fn is_covered(&self) -> bool {
        self.life.is_funded() || owed(self).is_zero()
    }

    /// The revision of a new authorization, whose undo is owed from now on.
    pub(super) fn next_authorization(&mut self) -> u32 {
        self.authorizations += 1;
        self.register(Pending::Void { revision: self.authorizations });
        self.authorizations
    }

    /// Funds are held: what was taken before, and this.
    pub(super) fn hold(&mut self, revision: u32, payment_id: String, amount: Money, expires_at: Option<Instant>, now: Instant) {
        self.authorization = revision;
        self.payment_id = Some(payment_id);
        self.authorized_at = now;
        let payment = &mut self.life.payment;
        payment.status = if payment.captured.is_zero() { PaymentStatus::Authorized } else { PaymentStatus::PartiallyCaptured };
        payment.authorized = payment.captured.plus(amount).unwrap_or(amount);
        payment.authorization_expires_at = expires_at;
        payment.action_until = None;
    }
}
