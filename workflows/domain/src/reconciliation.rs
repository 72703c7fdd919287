//! The comparison of our books with those of others: plain rules from what both sides hold to findings, and what is done about them.
//!
//! What the books show is repaired where nothing can go wrong by it; everything else is a person's.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::Instant;
use crate::ids::{Invalid, OrderId, ShipmentId, derive, text};
use crate::life::Life;
use crate::money::Money;
use crate::order::Status;
use crate::payment::PaymentStatus;
use crate::review::{ACTION_REQUIRED, Resolution, UNFUNDED};
use crate::shipment::ShipmentStatus;

#[cfg(test)]
mod tests;

text!(
    /// The day of a report, `2026-01-31`, in UTC.
    Day,
    |text| {
        let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d");
        let exact = text.len() == 10 && date.is_ok();
        if exact { Ok(()) } else { Err(Invalid::new("a date is YYYY-MM-DD, such as 2026-01-31")) }
    }
);

impl Day {
    /// The day of an instant.
    pub fn of(at: Instant) -> Self {
        Self(at.format("%Y-%m-%d").to_string())
    }
}

/// What does not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Stock is promised to an order that has ended or does not exist.
    OrphanReservation,
    /// The gateway holds or took money for an order that has ended or does not exist.
    OrphanPayment,
    /// An order goes on without money behind it.
    MissingPayment,
    /// The gateway took or returned other sums than our books say.
    LedgerMismatch,
    /// A courier is booked for an order that has ended, or for a shipment that does not exist.
    OrphanBooking,
    /// An order has not ended, but nothing works on it.
    Terminated,
    /// An order's row cannot be read, so that nothing is known about it.
    Unreadable,
}

impl FindingKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::OrphanReservation,
        Self::OrphanPayment,
        Self::MissingPayment,
        Self::LedgerMismatch,
        Self::OrphanBooking,
        Self::Terminated,
        Self::Unreadable,
    ];

    /// The wire name; a review item's kind too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrphanReservation => "orphan_reservation",
            Self::OrphanPayment => "orphan_payment",
            Self::MissingPayment => "missing_payment",
            Self::LedgerMismatch => "ledger_mismatch",
            Self::OrphanBooking => "orphan_booking",
            Self::Terminated => "terminated",
            Self::Unreadable => "unreadable",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == name)
    }

    /// What a person may do about it. Nothing of ours is left to try again: what is wrong is in somebody's books, and the next
    /// comparison looks by itself.
    pub fn resolutions(self) -> &'static [Resolution] {
        match self {
            Self::MissingPayment => &[Resolution::UseExternalReference, Resolution::Cancel],
            _ => &[Resolution::UseExternalReference],
        }
    }
}

/// What is done about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Remedy {
    /// The promise is taken back.
    Release {
        /// Whose.
        order: OrderId,
    },
    /// What is held is let go.
    Void {
        /// Whose.
        order: OrderId,
        /// The authorization's revision.
        revision: u32,
    },
    /// The courier is called off.
    CancelBooking {
        /// For which shipment.
        shipment: ShipmentId,
        /// The booking's revision.
        revision: u32,
    },
    /// The order gets a run again, which takes back what the lost one had begun.
    Restart {
        /// Which.
        order: OrderId,
    },
    /// A person decides.
    Review,
}

/// What was done about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is in order again.
    Repaired,
    /// A person decides.
    Queued,
    /// Nothing (yet): it had passed when its turn came, or a person has accepted it as it is.
    None,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Repaired, Self::Queued, Self::None];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repaired => "repaired",
            Self::Queued => "queued",
            Self::None => "none",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }
}

/// Something that does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Of what: an order's or shipment's id, or the gateway's id of a payment.
    pub subject: String,
    /// The order it is about, if its row exists.
    pub order: Option<OrderId>,
    /// A sentence for the operator.
    pub detail: String,
    /// When the thing began, by the books that show it.
    pub since: Instant,
    /// What is done about it.
    pub remedy: Remedy,
}

impl Finding {
    /// The id of its item in the review queue, the same whenever it is found. A thing that was in order again, or that a person has
    /// dealt with, and is found wrong once more is a new episode; the first one is 1.
    pub fn item(&self, episode: u32) -> String {
        let number = episode.to_string();
        let parts = ["reconciliation", self.kind.as_str(), &self.subject, &number];
        derive(if episode == 1 { &parts[..3] } else { &parts }).to_string()
    }

    /// Whether `again` is this finding seen again, with the same figures.
    fn stands(&self, again: &Self) -> bool {
        self.kind == again.kind && self.subject == again.subject && self.detail == again.detail
    }
}

/// Books are not read at one instant: of the second reading's findings those count that the first one had too.
pub fn standing(first: &[Finding], second: Vec<Finding>) -> Vec<Finding> {
    second.into_iter().filter(|again| first.iter().any(|finding| finding.stands(again))).collect()
}

/// One page of somebody's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The entries, oldest first.
    pub entries: Vec<T>,
    /// Where the next page begins; none behind the last one.
    pub next: Option<String>,
}

/// A payment in the gateway's own books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPayment {
    /// The gateway's id.
    pub payment_id: String,
    /// The key under which funds were asked for.
    pub key: String,
    /// Our order, if the gateway was told one.
    pub order: Option<OrderId>,
    /// How it stands.
    pub status: PaymentStatus,
    /// Funds held at most.
    pub authorized: Money,
    /// Funds taken.
    pub captured: Money,
    /// Funds returned.
    pub refunded: Money,
    /// Funds that can still be taken.
    pub held: Money,
    /// When it began.
    pub at: Instant,
}

/// A booking in the carrier's own books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarrierBooking {
    /// The carrier's id.
    pub reference: String,
    /// The key under which it was booked.
    pub key: String,
    /// Our shipment.
    pub shipment: ShipmentId,
    /// Whether the courier comes.
    pub stands: bool,
    /// When it was booked.
    pub at: Instant,
}

/// An order in our books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBooks {
    /// Its id.
    pub id: OrderId,
    /// Its newest record; zero before the first.
    pub rev: u64,
    /// What it costs.
    pub total: Money,
    /// Where it stands.
    pub life: Life,
    /// When it last changed.
    pub updated_at: Instant,
}

/// What our books say of one payment at the gateway, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Taken.
    pub captured: i64,
    /// Returned.
    pub refunded: i64,
}

/// Stock that is promised to an order, and the order, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromiseBooks {
    /// Whose.
    pub order: OrderId,
    /// Units that neither left nor were given back.
    pub units: u64,
    /// Where its order stands.
    pub status: Option<Status>,
    /// When promise or order last changed.
    pub updated_at: Instant,
}

/// The revision at the end of one of our keys, `subject/step/revision`.
pub fn revision(key: &str, subject: &str, step: &str) -> Option<u32> {
    key.strip_prefix(subject)?.strip_prefix('/')?.strip_prefix(step)?.strip_prefix('/')?.parse().ok()
}

/// Judges a promise of stock. Only what has not changed since `before` counts, here and in the other rules.
pub fn promise(ours: &PromiseBooks, before: Instant) -> Option<Finding> {
    if ours.updated_at > before || ours.units == 0 || ours.status.is_some_and(|s| !s.is_terminal()) {
        return None;
    }
    let (order, units) = (ours.order.clone(), ours.units);
    Some(Finding {
        kind: FindingKind::OrphanReservation,
        subject: order.to_string(),
        order: ours.status.map(|_| order.clone()),
        detail: match ours.status {
            Some(status) => format!("{units} units are promised to an order that is {status}"),
            None => format!("{units} units are promised to an order that does not exist"),
        },
        since: ours.updated_at,
        remedy: Remedy::Release { order },
    })
}

/// Judges a payment of the gateway's books against ours.
pub fn payment(theirs: &GatewayPayment, order: Option<&OrderBooks>, ours: Sums, before: Instant) -> Option<Finding> {
    if theirs.at > before || order.is_some_and(|o| o.updated_at > before) {
        return None;
    }
    let finding = |kind, detail, remedy| Finding {
        kind,
        subject: theirs.payment_id.clone(),
        order: order.map(|o| o.id.clone()),
        detail,
        since: theirs.at,
        remedy,
    };
    let whose = match order {
        Some(order) => format!("an order that is {}", order.life.status),
        None => "an order that does not exist".to_owned(),
    };
    let undone = order.is_none_or(|o| matches!(o.life.status, Status::Cancelled | Status::Rejected));
    let kept = theirs.captured.minor - theirs.refunded.minor;
    if undone && kept > 0 {
        let kept = Money::new(kept, theirs.captured.currency);
        return Some(finding(FindingKind::OrphanPayment, format!("the gateway took {kept} for {whose}"), Remedy::Review));
    }
    let open = theirs.held.minor > 0 || theirs.status == PaymentStatus::RequiresAction;
    if open && order.is_none_or(|o| o.life.status.is_terminal()) {
        let ours = theirs.order.as_ref().and_then(|id| Some((id.clone(), revision(&theirs.key, id.as_str(), "authorize")?)));
        let remedy = ours.map_or(Remedy::Review, |(order, revision)| Remedy::Void { order, revision });
        return Some(finding(FindingKind::OrphanPayment, format!("the gateway holds {} for {whose}", theirs.held), remedy));
    }
    order?;
    if (theirs.captured.minor, theirs.refunded.minor) == (ours.captured, ours.refunded) {
        return None;
    }
    let money = |minor| Money::new(minor, theirs.captured.currency);
    let detail = format!(
        "the gateway took {} and returned {}; our books say {} and {}",
        theirs.captured,
        theirs.refunded,
        money(ours.captured),
        money(ours.refunded)
    );
    Some(finding(FindingKind::LedgerMismatch, detail, Remedy::Review))
}

/// Judges a booking of the carrier's books against ours.
pub fn booking(theirs: &CarrierBooking, order: Option<&OrderBooks>, before: Instant) -> Option<Finding> {
    if !theirs.stands || theirs.at > before || order.is_some_and(|o| o.updated_at > before) {
        return None;
    }
    let finding = |detail, remedy| {
        Some(Finding {
            kind: FindingKind::OrphanBooking,
            subject: theirs.shipment.to_string(),
            order: order.map(|o| o.id.clone()),
            detail,
            since: theirs.at,
            remedy,
        })
    };
    let Some(order) = order else {
        return finding(format!("courier {} is booked for an order that does not exist", theirs.reference), Remedy::Review);
    };
    let status = order.life.shipments.iter().find(|s| s.id == theirs.shipment).map(|s| s.status);
    if status.is_some_and(ShipmentStatus::departed) {
        return None;
    }
    if order.life.status.is_terminal() {
        let revision = revision(&theirs.key, theirs.shipment.as_str(), "book");
        let shipment = theirs.shipment.clone();
        let remedy = revision.map_or(Remedy::Review, |revision| Remedy::CancelBooking { shipment, revision });
        return finding(format!("courier {} is booked for an order that is {}", theirs.reference, order.life.status), remedy);
    }
    match status {
        Some(status) if status != ShipmentStatus::Cancelled => None,
        Some(_) => finding(format!("courier {} is booked for a shipment that will not leave", theirs.reference), Remedy::Review),
        None => finding(format!("courier {} is booked for a shipment that does not exist", theirs.reference), Remedy::Review),
    }
}

/// An open order whose row cannot be read. Nothing can be written to it either, so the finding names it as its subject only.
pub fn unreadable(order: &OrderId, placed_at: Instant) -> Finding {
    Finding {
        kind: FindingKind::Unreadable,
        subject: order.to_string(),
        order: None,
        detail: "the order's row cannot be read; see the worker's log".to_owned(),
        since: placed_at,
        remedy: Remedy::Review,
    }
}

/// Whether an order may only go on with money behind it, so that the gateway must be asked for it.
pub fn needs_money(order: &OrderBooks) -> bool {
    let payment = &order.life.payment;
    let waived = payment.waived.as_ref().map_or(0, |m| m.minor);
    // of these a person knows already
    let told = order.life.attention.iter().any(|a| a.code == UNFUNDED || a.code == ACTION_REQUIRED);
    matches!(order.life.status, Status::Confirmed | Status::PartiallyShipped | Status::Shipped)
        && payment.status != PaymentStatus::NotRequired
        && order.total.minor > waived
        && !told
}

/// Judges an order that has not ended. `running`: it has an open run. `funded`: the gateway holds or took money for it.
pub fn order(ours: &OrderBooks, running: bool, funded: bool, before: Instant) -> Option<Finding> {
    // a row of rev 0 was never promised to anybody: the sweeper of the intake removes it
    if ours.life.status.is_terminal() || ours.rev == 0 || ours.updated_at > before {
        return None;
    }
    let finding = |kind, detail, remedy| {
        let (order, since) = (Some(ours.id.clone()), ours.updated_at);
        Some(Finding { kind, subject: ours.id.to_string(), order, detail, since, remedy })
    };
    let status = ours.life.status;
    if !running && ours.life.departed() {
        let detail = format!("the order is {status} and its run is gone, although a parcel has left");
        return finding(FindingKind::Terminated, detail, Remedy::Review);
    }
    if !running {
        let detail = format!("the order is {status} and its run is gone");
        return finding(FindingKind::Terminated, detail, Remedy::Restart { order: ours.id.clone() });
    }
    if needs_money(ours) && !funded {
        let detail = format!("the order is {status}, but the gateway neither holds nor took money for it");
        return finding(FindingKind::MissingPayment, detail, Remedy::Review);
    }
    None
}
