//! The editor: carries a change of lines out as one transaction across stock, tax, shipping and authorization. All of it moves, or
//! the order stands as it was.

use oms_contract::activity::{Amend, Authorize, Authorized};
use oms_contract::command::Edit;
use oms_contract::definitions::Payments;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::{ShipmentId, Sku};
use oms_domain::life::{Refusal, RefusalCode};
use oms_domain::message::Topic;
use oms_domain::money::Money;
use oms_domain::payment::PaymentStatus;
use oms_domain::shipment::{Shipment, ShipmentStatus};
use oms_domain::stock::{Quantity, demand};
use std::collections::BTreeMap;

use super::Order;
use super::desk::Desk;
use super::reserve::{Change, change};
use super::undo;
use crate::saga::Step;

/// Carries accepted edits out, one after the other.
pub(super) async fn carry_out(desk: Desk) {
    loop {
        desk.until(|s| s.edit.is_some() && !s.funding || s.next_departure().is_some()).await;
        // a parcel of an old plan left all the same
        if undo::follow_departures(&desk).await {
            continue;
        }
        let Some(edit) = desk.read(|s| s.edit.clone()) else { continue };
        desk.waiting("edit", "stock and funds, for a change of the order");
        let outcome = adjust(&desk, &edit).await;
        desk.waiting("edit", "");
        let now = desk.now();
        desk.write(|s| {
            s.edit = None;
            s.life.editing = false;
            s.moved_at = now;
            match outcome {
                Ok(()) => s.adopt(&edit, now),
                Err(Refused(why)) => {
                    if !s.life.shipments.is_empty() && s.life.waiting.is_empty() {
                        // goods that came meanwhile are in the promise by now, and no wait for them is left
                        s.add_shipments();
                    }
                    let key = format!("edit/{}/refused", edit.edit_id);
                    s.journal.publish(Fact::new(key, FactKind::OrderEditRefused, now).because(why));
                }
            }
        });
    }
}

/// Why an edit could not be made.
struct Refused(&'static str);

const OUT_OF_STOCK: Refused = Refused("out_of_stock");
const PAYMENT_DECLINED: Refused = Refused("payment_declined");
const CANCELLED: Refused = Refused("cancelled");
const TOO_LATE: Refused = Refused("too_late");

async fn adjust(desk: &Desk, edit: &Edit) -> Result<(), Refused> {
    if desk.read(|s| s.reservation == 0) {
        // nothing is promised or held yet
        return Ok(());
    }
    // a label that was on its way when the edit was accepted may have been bought all the same
    desk.until(|s| s.booking == 0).await;
    if !desk.read(|s| s.fits(edit)) {
        return Err(TOO_LATE);
    }
    let (old, new) = (desk.read(Order::demand), wanted(edit));
    let both = union(&old, &new);
    let policy = desk.read(|s| s.start.on_shortage.policy);
    // first what is more, so that a refusal leaves everything as it was
    if both != old {
        match change(desk, both.clone(), policy).await {
            Change::Done => {}
            Change::OutOfStock => return Err(OUT_OF_STOCK),
            Change::Released => return Err(CANCELLED),
        }
    }
    let funded = fund(desk, edit.totals.total).await;
    // one look and one step: a parcel that left before stops the change, and none of the old plan is ours to send after
    if let Err(refused) = funded.and_then(|()| desk.write(|s| s.make_room(edit))) {
        if both != old {
            change(desk, old, policy).await;
        }
        return Err(refused);
    }
    // giving back always works
    if both != new && change(desk, new, policy).await == Change::Released {
        return Err(CANCELLED);
    }
    Ok(())
}

fn wanted(edit: &Edit) -> Vec<Quantity> {
    demand(edit.lines.iter().map(|line| (&line.sku, line.quantity)))
        .into_iter()
        .filter(|(_, quantity)| *quantity > 0)
        .map(|(sku, quantity)| Quantity { sku, quantity })
        .collect()
}

fn by_sku(lines: &[Quantity]) -> BTreeMap<&Sku, u32> {
    lines.iter().map(|line| (&line.sku, line.quantity)).collect()
}

fn union(old: &[Quantity], new: &[Quantity]) -> Vec<Quantity> {
    let mut most = by_sku(old);
    for line in new {
        let quantity = most.entry(&line.sku).or_default();
        *quantity = line.quantity.max(*quantity);
    }
    most.into_iter().map(|(sku, quantity)| Quantity { sku: sku.clone(), quantity }).collect()
}

/// Holds more if the order costs more: the whole amount anew, and only then the old hold is released, so that a refusal leaves it.
async fn fund(desk: &Desk, total: Money) -> Result<(), Refused> {
    let held = desk.read(|s| s.life.payment.authorized);
    if total.minor <= held.minor {
        return Ok(());
    }
    let old = desk.read(|s| s.authorization);
    loop {
        let input = desk.write(|s| {
            let revision = s.next_authorization();
            let amount = total.minus(s.life.payment.captured).unwrap_or(total);
            Authorize { order_id: s.start.order_id.clone(), revision, amount, method: s.start.method.clone() }
        });
        let (amount, revision) = (input.amount, input.revision);
        match desk.step(Step::Authorize, || Payments::authorize, input, None).await {
            Ok(Authorized::Held { payment_id, expires_at }) => {
                let now = desk.now();
                desk.write(|s| s.hold(revision, payment_id, amount, expires_at, now));
                desk.note(Fact::new(format!("authorized/{revision}"), FactKind::PaymentAuthorized, now).moving(amount));
                if old > 0 {
                    undo::release_hold(desk, old).await;
                }
                return Ok(());
            }
            Ok(Authorized::Declined { .. } | Authorized::ActionRequired { .. }) => {
                undo::release_hold(desk, revision).await;
                return Err(PAYMENT_DECLINED);
            }
            // used before this run was reset
            Ok(Authorized::Released) => {}
            Err(_) => return Err(CANCELLED),
        }
    }
}

impl Order {
    /// The order's lines, sums and shipments are the new ones from now on.
    fn adopt(&mut self, edit: &Edit, now: Instant) {
        self.lines.clone_from(&edit.lines);
        self.total = edit.totals.total;
        self.life.dropped |= edit.cancels;
        if self.total.is_zero() && self.life.payment.authorized.is_zero() && self.reservation > 0 {
            self.life.payment.status = PaymentStatus::NotRequired;
        }
        let key = format!("edit/{}/applied", edit.edit_id);
        let mut fact = Fact::new(key, FactKind::OrderEdited, now).moving(edit.totals.total).told_as(Topic::Edited);
        fact.actor = edit.actor.clone().unwrap_or_else(|| "api".to_owned());
        fact.reason = edit.reason.as_ref().map(|reason| reason.as_str().to_owned());
        self.journal.publish(fact);
        let mut totals = edit.totals;
        if !self.life.shipments.is_empty() {
            self.add_shipments();
            self.share_out();
            totals = self.carried(totals);
            self.total = totals.total;
        }
        self.journal.amend(Amend { edit: Some(edit.edit_id.clone()), lines: edit.lines.clone(), totals });
    }

    /// Shipments without a label, and those that hold cancelled units, make room for those of the new plan: nothing is paid for them
    /// any more. Refused if a parcel left meanwhile that the change does not leave alone.
    fn make_room(&mut self, edit: &Edit) -> Result<(), Refused> {
        if !self.fits(edit) {
            return Err(TOO_LATE);
        }
        let now = self.moved_at;
        let zero = Money::zero(self.total.currency);
        let opened = if edit.cancels { self.opened_by(edit) } else { Vec::new() };
        let gives_way = |s: &&mut Shipment| s.status == ShipmentStatus::Pending || opened.contains(&s.id);
        for shipment in self.life.shipments.iter_mut().filter(gives_way) {
            shipment.status = ShipmentStatus::Cancelled;
            shipment.amount = zero;
            let key = format!("replaced/{}", shipment.id);
            self.journal.publish(Fact::new(key, FactKind::ShipmentReplaced, now).about(&shipment.id));
            self.replaced.push(shipment.id.clone());
        }
        Ok(())
    }

    /// Labelled parcels that must be packed anew because the cancelled units are in no other: the last ones first, as few as do.
    fn opened_by(&self, edit: &Edit) -> Vec<ShipmentId> {
        let new = wanted(edit);
        let left = by_sku(&new);
        let mut off: BTreeMap<Sku, u32> = self
            .demand()
            .into_iter()
            .map(|line| (line.sku.clone(), line.quantity.saturating_sub(left.get(&line.sku).copied().unwrap_or(0))))
            .collect();
        let take = |off: &mut BTreeMap<Sku, u32>, lines: &[Quantity]| {
            let mut touched = false;
            for line in lines {
                let rest = off.entry(line.sku.clone()).or_default();
                touched |= *rest > 0;
                *rest = rest.saturating_sub(line.quantity);
            }
            touched
        };
        take(&mut off, &self.life.waiting);
        for shipment in self.life.live_shipments().filter(|s| s.status == ShipmentStatus::Pending) {
            take(&mut off, &shipment.lines);
        }
        let mut opened = Vec::new();
        for shipment in self.life.shipments.iter().rev().filter(|s| s.status == ShipmentStatus::Booked) {
            if take(&mut off, &shipment.lines) {
                opened.push(shipment.id.clone());
            }
        }
        opened
    }

    /// Whether the edit could begin now. Errors: [`Refusal`].
    pub(super) fn check_edit(&self, edit: &Edit) -> Result<(), Refusal> {
        if self.edits_made.contains(&edit.edit_id) {
            return Ok(());
        }
        if edit.cancels {
            self.life.check_partial_cancel()?
        } else {
            self.life.check_edit()?
        }
        if self.confirming {
            return Err(Refusal::new(RefusalCode::NotAllowedNow, "the order is being confirmed; try again in a moment"));
        }
        if edit.if_rev.is_some_and(|rev| rev != self.newest()) {
            let detail = "the order has changed since; read it again and repeat the change if it still makes sense";
            return Err(Refusal::new(RefusalCode::PreconditionFailed, detail));
        }
        let new = wanted(edit);
        if new.is_empty() {
            return Err(Refusal::new(RefusalCode::ValidationFailed, "an order has at least one unit; cancel it instead"));
        }
        if self.fits(edit) {
            return Ok(());
        }
        let detail = if edit.cancels {
            "some of these units have left; only those that have not can be taken off, ask for a return of the others"
        } else {
            "a label is bought for part of the order: only units that are in no labelled parcel may be taken off"
        };
        Err(Refusal::new(RefusalCode::TooLate, detail))
    }

    /// Parcels with a label, whether they have left or not.
    pub(super) fn labelled(&self) -> impl Iterator<Item = &Shipment> {
        self.life.live_shipments().filter(|s| s.status != ShipmentStatus::Pending && !self.is_replaced(&s.id))
    }

    /// Whether the new lines leave alone what may not be touched: labelled parcels, or, when units are cancelled, those that left.
    fn fits(&self, edit: &Edit) -> bool {
        let fixed: Vec<&Quantity> =
            self.labelled().filter(|s| !edit.cancels || s.status.departed()).flat_map(|s| &s.lines).collect();
        let new = wanted(edit);
        let (old, new) = (self.demand(), by_sku(&new));
        let old = by_sku(&old);
        let locked = demand(fixed.iter().map(|line| (&line.sku, line.quantity)));
        if locked.is_empty() && !edit.cancels {
            return true;
        }
        let less = new.iter().all(|(sku, quantity)| old.get(sku).is_some_and(|before| quantity <= before));
        let kept = locked.iter().all(|(sku, quantity)| new.get(sku).is_some_and(|left| left >= quantity));
        less && kept
    }
}
