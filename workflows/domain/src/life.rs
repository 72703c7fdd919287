//! The order state machine: one value that every command, report and step outcome goes through.
//!
//! The workflow holds a [`Life`] and acts on what it says; `orders.record` writes it to SQL as the order's row. All verdicts are
//! made here and nowhere else, so a rule that is tested here holds for HTTP, the Temporal UI and the CLI alike.

mod changes;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use crate::Instant;
use crate::ids::{HoldId, Invalid, ShipmentId, text};
use crate::money::Currency;
use crate::order::{Action, Reason, Status};
use crate::payment::{Payment, PaymentStatus};
use crate::review::{Attention, Review};
use crate::shipment::{Scan, ScanResult, ScanType, Shipment, ShipmentStatus};
use crate::shortage::Question;
use crate::stock::Quantity;

text!(
    /// Why somebody acts: 1 to 500 characters, not blank, no control characters but line breaks and tabs.
    Why,
    |text| {
        let length = text.chars().count();
        let printable = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
        if (1..=500).contains(&length) && !text.trim().is_empty() && printable {
            Ok(())
        } else {
            Err(Invalid::new("a reason is 1 to 500 characters, not blank and without control characters"))
        }
    }
);
text!(
    /// What kind of hold: `fraud`, `address`, `stocktake`, in the shop's own words.
    HoldKind,
    |text| {
        let ok = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if ok { Ok(()) } else { Err(Invalid::new("a hold's kind is 1 to 64 characters of A-Z a-z 0-9 _ - .")) }
    }
);

/// A reasoned stop: while any is open, no capture, booking or shipping starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id, unique within the order.
    pub id: HoldId,
    /// What kind.
    pub kind: HoldKind,
    /// Why.
    pub reason: Why,
    /// Who placed it.
    pub actor: String,
    /// Since when.
    pub placed_at: Instant,
    /// When it ends by itself, if ever.
    #[serde(default)]
    pub until: Option<Instant>,
}

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The parcel has left.
    TooLate,
    /// Not in this status.
    NotAllowedNow,
    /// No such hold or shipment.
    NotFound,
    /// The report's id was used for another type before.
    EventIdReused,
    /// The order has changed since the version that the command was made for.
    PreconditionFailed,
    /// The command itself is malformed.
    ValidationFailed,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [Self; 6] = [
        Self::TooLate,
        Self::NotAllowedNow,
        Self::NotFound,
        Self::EventIdReused,
        Self::PreconditionFailed,
        Self::ValidationFailed,
    ];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLate => "too_late",
            Self::NotAllowedNow => "not_allowed_now",
            Self::NotFound => "not_found",
            Self::EventIdReused => "event_id_reused",
            Self::PreconditionFailed => "precondition_failed",
            Self::ValidationFailed => "validation_failed",
        }
    }
}

/// A refused command: `code: detail` on the wire, so that the Temporal UI and CLI show a readable message too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Refusal {
    /// The stable code.
    pub code: RefusalCode,
    /// A sentence that names the remedy.
    pub detail: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// Reads the wire form back. `None` for any other text.
    pub fn parse(message: &str) -> Option<Self> {
        let (code, detail) = message.split_once(": ")?;
        let code = RefusalCode::ALL.into_iter().find(|c| c.as_str() == code)?;
        Some(Self::new(code, detail))
    }
}

/// The answer to a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelVerdict {
    /// Accepted; the undo runs.
    Cancelling,
    /// Done before.
    Cancelled,
}

impl CancelVerdict {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A step that the state machine does not know: a defect of ours, never a customer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an order cannot go from {from} to {to}")]
pub struct IllegalTransition {
    /// Where it stands.
    pub from: Status,
    /// Where it was sent.
    pub to: Status,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An order's whole mutable state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Where it stands.
    pub status: Status,
    /// Why it was refused, once it is.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// Open holds, oldest first.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// Its shipments, from `confirmed` on.
    #[serde(default)]
    pub shipments: Vec<Shipment>,
    /// Its money.
    pub payment: Payment,
    /// What needs a person.
    #[serde(default)]
    pub attention: Vec<Attention>,
    /// What is not promised yet: units that wait for stock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Quantity>,
    /// The manual review, while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// What the customer was asked, until it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// When a person is called unless the order moves; none once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Instant>,
    /// An edit is being carried out: until it is done, nothing is booked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub editing: bool,
    /// Units were taken off, for want of stock or because they were cancelled: delivering the rest is no more than a part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// The refusal that is being carried out: its undo runs, the status has not changed yet.
    #[serde(default)]
    pub refusing: Option<Reason>,
    /// Reports heard so far. Only the workflow needs them; SQL has them as rows.
    #[serde(skip)]
    pub heard: BTreeMap<(ShipmentId, String), ScanType>,
}

impl Life {
    /// A new order's state.
    pub fn placed(currency: Currency) -> Self {
        Self {
            status: Status::Placed,
            reason: None,
            holds: Vec::new(),
            shipments: Vec::new(),
            payment: Payment::pending(currency),
            attention: Vec::new(),
            waiting: Vec::new(),
            review: None,
            question: None,
            due_at: None,
            editing: false,
            dropped: false,
            refusing: None,
            heard: BTreeMap::new(),
        }
    }

    /// Moves the order along an edge of the state machine. Errors: [`IllegalTransition`]; nothing has changed then.
    pub fn become_(&mut self, next: Status) -> Result<(), IllegalTransition> {
        if self.status == next {
            return Ok(());
        }
        if !self.status.can_become(next) {
            return Err(IllegalTransition { from: self.status, to: next });
        }
        self.status = next;
        Ok(())
    }

    /// What may be asked of the order now.
    pub fn allowed_actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.judge_cancel().is_ok_and(|v| v.is_none()) {
            actions.push(Action::Cancel);
        }
        if self.judge_hold().is_ok() {
            actions.push(Action::PlaceHold);
            if !self.holds.is_empty() {
                actions.push(Action::ReleaseHold);
            }
        }
        for (action, judged) in [
            (Action::Review, self.check_review()),
            (Action::ChangeAddress, self.check_address()),
            (Action::Edit, self.check_edit()),
            (Action::Decide, self.check_decision(None)),
        ] {
            if judged.is_ok() {
                actions.push(action);
            }
        }
        if self.payment.captured.minor > self.payment.refunded.minor {
            actions.push(Action::Refund);
        }
        if self.shipments.iter().any(|s| s.status == ShipmentStatus::Delivered) {
            actions.push(Action::Return);
        }
        actions
    }

    /// Shipments that still count: those that an edit or a cancel has not taken off.
    pub fn live_shipments(&self) -> impl Iterator<Item = &Shipment> {
        self.shipments.iter().filter(|s| s.status != ShipmentStatus::Cancelled && !s.stray)
    }

    /// Whether any parcel of the order has left.
    pub fn departed(&self) -> bool {
        self.live_shipments().any(|s| s.status.departed())
    }

    /// Whether everything that will ever leave has left.
    pub fn all_departed(&self) -> bool {
        self.waiting.is_empty() && self.live_shipments().all(|s| s.status.departed())
    }

    /// Whether the way forward is open: not ended, not being undone.
    fn is_going(&self) -> bool {
        !self.status.is_terminal() && self.status != Status::Cancelling && self.refusing.is_none()
    }

    /// `Ok(None)`: a cancel would start now; `Ok(Some)`: it was asked for before.
    fn judge_cancel(&self) -> Result<Option<CancelVerdict>, Refusal> {
        match self.status {
            Status::Cancelled => Ok(Some(CancelVerdict::Cancelled)),
            Status::Cancelling => Ok(Some(CancelVerdict::Cancelling)),
            Status::Placed | Status::InReview | Status::Backordered | Status::Confirmed if self.refusing.is_some() => {
                Err(Refusal::new(RefusalCode::NotAllowedNow, "the order is being rejected; everything is released"))
            }
            _ if self.departed() && !self.status.is_terminal() => {
                Err(Refusal::new(RefusalCode::TooLate, "the parcel has left; ask for a return instead"))
            }
            Status::Placed | Status::InReview | Status::Backordered | Status::Confirmed => Ok(None),
            status => {
                Err(Refusal::new(RefusalCode::NotAllowedNow, format!("the order is {status}; it can no longer be cancelled")))
            }
        }
    }

    /// Whether [`cancel`](Self::cancel) would be accepted. Errors: [`Refusal`].
    pub fn check_cancel(&self) -> Result<(), Refusal> {
        self.judge_cancel().map(|_| ())
    }

    /// Asks for the end of the order. Errors: [`Refusal`] after shipping (`too_late`) or after another end (`not_allowed_now`).
    pub fn cancel(&mut self) -> Result<CancelVerdict, Refusal> {
        if let Some(verdict) = self.judge_cancel()? {
            return Ok(verdict);
        }
        self.status = Status::Cancelling;
        Ok(CancelVerdict::Cancelling)
    }

    fn judge_hold(&self) -> Result<(), Refusal> {
        if self.status.is_terminal() || self.status == Status::Cancelling || self.refusing.is_some() {
            return Err(Refusal::new(
                RefusalCode::NotAllowedNow,
                format!("the order is {}; there is nothing to hold", self.status),
            ));
        }
        Ok(())
    }

    /// Whether a hold could be placed. Errors: [`Refusal`].
    pub fn check_hold(&self) -> Result<(), Refusal> {
        self.judge_hold()
    }

    /// Stops the order for a while; answers whether the hold is new. Errors: [`Refusal`] once the order is ending.
    pub fn place_hold(&mut self, hold: Hold) -> Result<bool, Refusal> {
        if self.holds.iter().any(|h| h.id == hold.id) {
            return Ok(false);
        }
        self.judge_hold()?;
        self.holds.push(hold);
        Ok(true)
    }

    /// Whether the hold is open. Errors: [`Refusal`] (`not_found`).
    pub fn check_release(&self, id: &HoldId) -> Result<(), Refusal> {
        if self.holds.iter().any(|h| h.id == *id) {
            Ok(())
        } else {
            Err(Refusal::new(RefusalCode::NotFound, "no such open hold; see holds of the order"))
        }
    }

    /// Ends a hold. Errors: [`Refusal`] (`not_found`).
    pub fn release_hold(&mut self, id: &HoldId) -> Result<Hold, Refusal> {
        self.check_release(id)?;
        let at = self.holds.iter().position(|h| h.id == *id).unwrap_or_default();
        Ok(self.holds.remove(at))
    }

    /// Takes out the holds that ended by themselves by `now`.
    pub fn expire_holds(&mut self, now: Instant) -> Vec<Hold> {
        let (over, open) = std::mem::take(&mut self.holds).into_iter().partition(|h| h.until.is_some_and(|until| until <= now));
        self.holds = open;
        over
    }

    /// Whether [`report`](Self::report) would be heard. Errors: [`Refusal`].
    pub fn check_report(&self, scan: &Scan) -> Result<(), Refusal> {
        if !self.shipments.iter().any(|s| s.id == scan.shipment) {
            return Err(Refusal::new(RefusalCode::NotFound, "the order has no such shipment (yet)"));
        }
        match self.heard.get(&(scan.shipment.clone(), scan.event_id.clone())) {
            Some(kind) if *kind != scan.kind => {
                Err(Refusal::new(RefusalCode::EventIdReused, "this event_id was reported with another type; use a new one"))
            }
            _ => Ok(()),
        }
    }

    /// Hears what warehouse or carrier report. A fact is never refused for business reasons; a late one is `stale`, and adds a
    /// package all the same.
    /// Errors: [`Refusal`] for an unknown shipment or a reused event id.
    pub fn report(&mut self, scan: &Scan) -> Result<ScanResult, Refusal> {
        self.check_report(scan)?;
        let key = (scan.shipment.clone(), scan.event_id.clone());
        if self.heard.contains_key(&key) {
            return Ok(ScanResult::Duplicate);
        }
        self.heard.insert(key, scan.kind);
        let Some(shipment) = self.shipments.iter_mut().find(|s| s.id == scan.shipment) else { return Ok(ScanResult::Stale) };
        if !scan.kind.decides() || scan.kind.rank() <= shipment.status.rank() {
            // another parcel may be reported long after the first one
            shipment.note_late(scan.carrier.as_deref(), scan.tracking_number.as_deref());
            return Ok(ScanResult::Stale);
        }
        // a parcel that was called off says nothing about how far the order is
        let called_off = shipment.status == ShipmentStatus::Cancelled || shipment.stray;
        shipment.stray = called_off;
        shipment.note_package(scan.carrier.as_deref(), scan.tracking_number.as_deref());
        shipment.status = ShipmentStatus::from(scan.kind);
        if !called_off && matches!(self.status, Status::Confirmed | Status::PartiallyShipped) {
            self.status = self.by_parcels();
        }
        Ok(ScanResult::Applied)
    }

    /// How far an order is of which a parcel has left.
    fn by_parcels(&self) -> Status {
        if self.all_departed() { Status::Shipped } else { Status::PartiallyShipped }
    }

    /// How far a confirmed order is by its parcels, if its status lags behind: they left before it was on record that it is confirmed.
    pub fn overtaken(&self) -> Option<Status> {
        let left = self.status == Status::Confirmed && self.live_shipments().any(|s| s.status.departed());
        left.then(|| self.by_parcels())
    }

    /// Raises a flag once; answers whether it is new.
    pub fn raise(&mut self, flag: Attention) -> bool {
        if self.attention.iter().any(|a| a.code == flag.code && a.shipment == flag.shipment) {
            return false;
        }
        self.attention.push(flag);
        true
    }

    /// Lowers a flag; answers whether it was up.
    pub fn clear(&mut self, code: &str, shipment: Option<&ShipmentId>) -> bool {
        let before = self.attention.len();
        self.attention.retain(|a| a.code != code || a.shipment.as_ref() != shipment);
        self.attention.len() != before
    }

    /// How the order ends once nothing more is expected of its shipments: all arrived, all came back, or mixed.
    pub fn end_of_shipping(&self) -> Status {
        let all = |status| self.live_shipments().next().is_some() && self.live_shipments().all(|s| s.status == status);
        if all(ShipmentStatus::ReturnedToSender) {
            Status::Returned
        } else if all(ShipmentStatus::Delivered) && !self.dropped {
            Status::Completed
        } else {
            Status::PartiallyFulfilled
        }
    }

    /// Whether money of parcels that have left is still to be taken.
    pub fn owes_captures(&self) -> bool {
        let left = self.live_shipments().filter(|s| s.status.departed()).map(|s| s.amount.minor).fold(0, i64::saturating_add);
        let settled = self.payment.captured.minor.saturating_add(self.payment.waived.map_or(0, |waived| waived.minor));
        !self.status.is_terminal() && left > settled
    }

    /// Whether funds are held (or none are needed): nothing is booked for an order without them.
    pub fn is_funded(&self) -> bool {
        use PaymentStatus::{Authorized, Captured, NotRequired, PartiallyCaptured};
        matches!(self.payment.status, Authorized | Captured | NotRequired | PartiallyCaptured)
    }
}
