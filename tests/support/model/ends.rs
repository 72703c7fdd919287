//! What an order's end must look like for everything that was heard of it.

use oms_domain::money::Money;
use oms_domain::order::Reason;
use oms_domain::shipment::Shipment;

use super::*;
use crate::support::fate::{Purse, RULES, price};
use crate::support::world::eur;

const ENDS: [&str; 5] = ["order.completed", "order.rejected", "order.cancelled", "order.partially_fulfilled", "order.returned"];

/// Whether the parcel left although an edit had replaced it: it costs nothing, and a person is told.
fn is_stray(end: &End, shipment: &Shipment) -> bool {
    shipment.amount.is_zero() && !end.row.totals.total.is_zero()
}

impl Model {
    /// Everything about the end that cannot be.
    pub fn judge(&self, end: &End) -> Vec<String> {
        let mut wrong = Vec::new();
        let checks =
            [self.status(end), self.open_ends(end), self.lines(end), self.parcels(end), self.money(end), self.attention(end)];
        wrong.extend(checks.into_iter().filter_map(Result::err));
        let ends = end.told.iter().filter(|kind| ENDS.contains(&kind.as_str())).count();
        wrong.extend(ensure(ends == 1, format!("{ends} facts say how it ended")).err());
        wrong
    }

    fn status(&self, end: &End) -> Heard {
        let status = end.row.life.status;
        let stray = |of: &u32| end.row.life.shipments.iter().any(|s| s.stray && number(s.id.as_str()) == *of);
        let left = self.parcels.iter().any(|(number, p)| p.left_first && !(p.perhaps_stray && stray(number)));
        let here = match status {
            Status::Cancelled => {
                let asked = self.cancelled != Cancelled::No || self.may_wait();
                !left && asked && !self.rejecting && self.verdict != Some(ReviewDecision::Reject)
            }
            Status::Rejected => !left && self.cancelled != Cancelled::Yes && self.may_reject(end.row.life.reason),
            Status::Completed | Status::PartiallyFulfilled | Status::Returned => {
                let can_pay = !matches!(self.fate.purse, Purse::Declined | Purse::Asked(None));
                let gone = left || self.parcels.values().any(|p| p.left_after);
                let stopped = self.cancelled == Cancelled::Yes || self.ending || self.rejecting;
                gone && can_pay && !stopped && self.verdict != Some(ReviewDecision::Reject)
            }
            _ => false,
        };
        ensure(here, format!("it cannot have ended {status} ({:?})", end.row.life.reason))?;
        let shipped = !matches!(status, Status::Cancelled | Status::Rejected);
        ensure(!shipped || status == self.end_of_shipping(end), format!("it is {status}, not {}", self.end_of_shipping(end)))
    }

    fn may_reject(&self, reason: Option<Reason>) -> bool {
        let purse = self.fate.purse;
        let by_review = self.verdict == Some(ReviewDecision::Reject);
        match reason {
            Some(Reason::OutOfStock) => !by_review && self.fate.shortage.policy == ShortagePolicy::Reject && self.may_lack(),
            Some(Reason::PaymentDeclined) => !by_review && matches!(purse, Purse::Declined | Purse::Asked(Some(_))),
            Some(Reason::PaymentActionExpired) => !by_review && matches!(purse, Purse::Asked(None)),
            Some(Reason::ReviewRejected) => {
                let by_policy = self.fate.review == Some(None) && self.fate.policies.review == ReviewDecision::Reject;
                by_review || self.perhaps_rejected || by_policy && self.verdict.is_none()
            }
            None => false,
        }
    }

    fn end_of_shipping(&self, end: &End) -> Status {
        let live: Vec<_> = end.row.life.live_shipments().map(|s| self.parcels.get(&number(s.id.as_str()))).collect();
        let all = |status| !live.is_empty() && live.iter().all(|p| p.is_some_and(|p| p.status == Some(status)));
        let dropped = end.told.iter().any(|kind| kind == "order.lines_dropped");
        if all(ShipmentStatus::ReturnedToSender) {
            Status::Returned
        } else if all(ShipmentStatus::Delivered) && !dropped {
            Status::Completed
        } else {
            Status::PartiallyFulfilled
        }
    }

    fn open_ends(&self, end: &End) -> Heard {
        let life = &end.row.life;
        let open = !life.holds.is_empty() || life.review.is_some() || life.question.is_some() || life.editing;
        ensure(!open && life.waiting.is_empty() && life.due_at.is_none(), format!("something is open after the end: {life:?}"))
    }

    /// What was ordered in the end: the intake's lines, or those of the last edit that was made; less, if goods never came.
    fn lines(&self, end: &End) -> Heard {
        if self.perhaps_edited {
            return Ok(());
        }
        let mut edits = self.edits.iter();
        let (mut expected, mut dropped) = (self.fate.lines.clone(), false);
        // whether something had left when the lines changed: it stands at the price it left at
        let (mut left, mut behind) = (false, false);
        for kind in &end.told {
            behind |= left && matches!(kind.as_str(), "order.edited" | "order.lines_dropped");
            match kind.as_str() {
                "shipment.shipped"
                | "shipment.in_transit"
                | "shipment.delivered"
                | "shipment.lost"
                | "shipment.returned_to_sender" => left = true,
                "order.edited" => {
                    expected = edits.next().ok_or("an edit was made that nobody asked for")?.clone();
                    dropped = false;
                }
                "order.edit_refused" => {
                    edits.next().ok_or("an edit was refused that nobody asked for")?;
                }
                "order.lines_dropped" => dropped = true,
                _ => {}
            }
        }
        let row = &end.row;
        let cancelled = row.life.status == Status::Cancelled;
        ensure(cancelled || edits.next().is_none(), "an accepted edit was neither made nor refused")?;
        let is: BTreeMap<&str, u32> = row.lines.iter().map(|l| (l.sku.as_str(), l.quantity)).filter(|l| l.1 > 0).collect();
        let should: BTreeMap<&str, u32> = expected.into_iter().collect();
        let within = is.iter().all(|(sku, quantity)| should.get(sku).is_some_and(|most| quantity <= most));
        ensure(is == should || dropped && within, format!("ordered are {is:?}, not {should:?}"))?;
        let subtotal = is.iter().map(|(sku, quantity)| price(sku) * i64::from(*quantity)).sum();
        let totals = RULES.on(eur(subtotal)).map_err(|e| format!("{e:?}"))?;
        let carried = row.life.live_shipments().map(|s| s.amount.minor).sum::<i64>();
        let (parts, whole) = (row.totals, row.totals.total.minor);
        let adds_up = parts.subtotal.minor + parts.shipping.minor + parts.tax.minor == whole;
        let as_carried = behind && adds_up && parts.subtotal == totals.subtotal && whole == carried;
        ensure(row.totals == totals || as_carried, format!("it costs {:?}, not {totals:?}", row.totals))
    }

    fn parcels(&self, end: &End) -> Heard {
        let life = &end.row.life;
        for shipment in &life.shipments {
            let known = self.parcels.get(&number(shipment.id.as_str())).and_then(|p| p.status);
            let expected = known.unwrap_or(ShipmentStatus::Cancelled);
            ensure(shipment.status == expected, format!("{} is {:?}, not {expected:?}", shipment.id, shipment.status))?;
        }
        if matches!(life.status, Status::Cancelled | Status::Rejected) {
            return Ok(());
        }
        let mut units: BTreeMap<&str, u32> = BTreeMap::new();
        for line in life.live_shipments().filter(|s| !is_stray(end, s)).flat_map(|s| &s.lines) {
            *units.entry(line.sku.as_str()).or_default() += line.quantity;
        }
        let ordered: BTreeMap<_, _> = end.row.lines.iter().map(|l| (l.sku.as_str(), l.quantity)).filter(|l| l.1 > 0).collect();
        ensure(units == ordered, format!("parcels hold {units:?}, ordered are {ordered:?}"))
    }

    fn money(&self, end: &End) -> Heard {
        let (life, total) = (&end.row.life, end.row.totals.total);
        let payment = &life.payment;
        let is = (payment.captured, payment.refunded, payment.authorized);
        if matches!(life.status, Status::Cancelled | Status::Rejected) {
            let none = is.0.is_zero() && is.1.is_zero() && is.2.is_zero() && self.given == 0;
            return ensure(none, format!("nothing was sold, but (taken, returned, held) are {is:?}"));
        }
        let back = |s: &&Shipment| {
            let parcel = self.parcels.get(&number(s.id.as_str()));
            parcel.is_some_and(|p| p.closed == Some(Resolution::RefundAndClose))
        };
        let zero = Money::zero(total.currency);
        let sum = |sum: Money, s: &Shipment| sum.plus(s.amount).unwrap();
        let refunded = life.live_shipments().filter(back).fold(zero, sum);
        let taken = life.live_shipments().fold(zero, sum);
        // for a parcel that is closed goes back what is left of the order's money, but not more than the parcel's
        let back = refunded.minor.max(self.given)..=taken.minor.min(refunded.minor + self.given);
        let fits = is.0 == taken && is.2 == taken && back.contains(&is.1.minor);
        ensure(fits, format!("(taken, returned, held) are {is:?}, not {taken}, {back:?}, {taken}"))?;
        // what a parcel costs is settled when it leaves; goods that are given up later leave their share of the shipping behind
        let dropped = end.told.iter().any(|kind| kind == "order.lines_dropped");
        ensure(taken == total || dropped && taken.minor < total.minor, format!("{taken} was taken of {total}"))
    }

    /// Which flags outlive the order.
    fn attention(&self, end: &End) -> Heard {
        let after = end.row.life.status == Status::Cancelled;
        for flag in &end.row.life.attention {
            let parcel = flag.shipment.as_ref().and_then(|id| self.parcels.get(&number(id.as_str())));
            let fits = match flag.code.as_str() {
                "departed_after_cancel" | "stock_short_after_departure" => {
                    let stray = end.row.life.shipments.iter().any(|s| Some(&s.id) == flag.shipment.as_ref() && is_stray(end, s));
                    stray || after && parcel.is_some_and(|p| p.left_after)
                }
                LOST => parcel.is_some_and(|p| p.heard.values().any(|kind| *kind == ScanType::Lost)),
                RETURNED_TO_SENDER => parcel.is_some_and(|p| p.status == Some(ShipmentStatus::ReturnedToSender)),
                "no_scan" => end.row.life.status != Status::Completed,
                _ => false,
            };
            ensure(fits, format!("an unexpected flag: {flag:?}"))?;
        }
        for (number, _) in self.parcels.iter().filter(|(_, p)| after && p.left_after) {
            let item = self.resolved.len();
            let flagged = end.row.life.attention.iter().any(|a| a.code == "departed_after_cancel");
            ensure(flagged || item > 0, format!("parcel {number} left after the cancel, and nobody is told"))?;
        }
        Ok(())
    }
}
