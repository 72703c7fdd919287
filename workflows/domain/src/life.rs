//! The order state machine: one value that every command, report and step outcome goes through.
//!
//! The workflow holds a [`Life`] and acts on what it says; `orders.record` writes it to SQL as the order's row. All verdicts are
//! made here and nowhere else, so a rule that is tested here holds for HTTP, the Temporal UI and the CLI alike.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use crate::Instant;
use crate::ids::{HoldId, Invalid, ShipmentId, text};
use crate::money::Currency;
use crate::order::{Action, Reason, Status};
use crate::payment::Payment;
use crate::shipment::{Scan, ScanResult, ScanType, Shipment, ShipmentStatus};

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

/// The flag of a parcel that left although the cancel had won: it outlives the order's end.
pub const DEPARTED_AFTER_CANCEL: &str = "departed_after_cancel";
/// The flag of a parcel that the carrier cannot find: it outlives the order's end.
pub const LOST: &str = "lost";

/// Something about the order that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// A stable word: `capture_refused`, `lost`, `stuck`, …
    pub code: String,
    /// A sentence for the operator.
    pub detail: String,
    /// Since when.
    pub since: Instant,
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
    /// The command itself is malformed.
    ValidationFailed,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [Self; 5] = [Self::TooLate, Self::NotAllowedNow, Self::NotFound, Self::EventIdReused, Self::ValidationFailed];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLate => "too_late",
            Self::NotAllowedNow => "not_allowed_now",
            Self::NotFound => "not_found",
            Self::EventIdReused => "event_id_reused",
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
        actions
    }

    /// Whether any parcel has left.
    pub fn departed(&self) -> bool {
        self.shipments.iter().any(|s| s.status.departed())
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

    /// Hears what warehouse or carrier report. A fact is never refused for business reasons; a late one is `stale`.
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
            return Ok(ScanResult::Stale);
        }
        shipment.note_package(scan.carrier.as_deref(), scan.tracking_number.as_deref());
        shipment.status = ShipmentStatus::from(scan.kind);
        if matches!(self.status, Status::Confirmed | Status::PartiallyShipped) {
            let all = self.shipments.iter().all(|s| s.status.departed());
            self.status = if all { Status::Shipped } else { Status::PartiallyShipped };
        }
        Ok(ScanResult::Applied)
    }

    /// Raises a flag once; answers whether it is new.
    pub fn raise(&mut self, code: &str, detail: impl Into<String>, since: Instant) -> bool {
        if self.attention.iter().any(|a| a.code == code) {
            return false;
        }
        self.attention.push(Attention { code: code.to_owned(), detail: detail.into(), since });
        true
    }

    /// Lowers a flag; answers whether it was up.
    pub fn clear(&mut self, code: &str) -> bool {
        let before = self.attention.len();
        self.attention.retain(|a| a.code != code);
        self.attention.len() != before
    }

    /// Whether all shipments arrived and all their money was taken.
    pub fn is_fulfilled(&self) -> bool {
        !self.shipments.is_empty() && self.shipments.iter().all(|s| s.status == ShipmentStatus::Delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Location, OrderId};
    use crate::money::Money;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Instant {
        Instant::from_timestamp(seconds, 0).unwrap()
    }
    fn eur() -> Currency {
        Currency::parse("EUR").unwrap()
    }
    fn order() -> OrderId {
        OrderId::from_key("t", "c", "k")
    }
    fn shipment(number: u32) -> Shipment {
        Shipment {
            id: ShipmentId::of(&order(), number),
            location: Location::parse("berlin").unwrap(),
            status: ShipmentStatus::Pending,
            lines: Vec::new(),
            amount: Money::new(5, eur()),
            carrier: None,
            tracking_number: None,
            more_packages: Vec::new(),
        }
    }
    fn confirmed(shipments: u32) -> Life {
        let mut life = Life::placed(eur());
        life.shipments = (1..=shipments).map(shipment).collect();
        life.become_(Status::Confirmed).unwrap();
        life
    }
    fn scan(number: u32, event_id: &str, kind: ScanType) -> Scan {
        Scan {
            shipment: ShipmentId::of(&order(), number),
            event_id: event_id.to_owned(),
            kind,
            occurred_at: at(0),
            carrier: None,
            tracking_number: None,
        }
    }
    fn hold(key: &str, until: Option<i64>) -> Hold {
        Hold {
            id: HoldId::from_key(&order(), key),
            kind: HoldKind::parse("fraud").unwrap(),
            reason: Why::parse("looks odd").unwrap(),
            actor: "ops".into(),
            placed_at: at(0),
            until: until.map(at),
        }
    }

    #[test]
    fn cancel_has_a_verdict_in_every_status() {
        let mut life = confirmed(1);
        assert_eq!(life.cancel(), Ok(CancelVerdict::Cancelling));
        assert_eq!(life.cancel(), Ok(CancelVerdict::Cancelling));
        life.become_(Status::Cancelled).unwrap();
        assert_eq!(life.cancel(), Ok(CancelVerdict::Cancelled));

        let mut shipped = confirmed(1);
        shipped.report(&scan(1, "e", ScanType::Shipped)).unwrap();
        assert_eq!(shipped.cancel().unwrap_err().code, RefusalCode::TooLate);
        shipped.status = Status::Completed;
        assert_eq!(shipped.cancel().unwrap_err().code, RefusalCode::NotAllowedNow);

        let mut refusing = Life::placed(eur());
        refusing.refusing = Some(Reason::OutOfStock);
        assert_eq!(refusing.cancel().unwrap_err().code, RefusalCode::NotAllowedNow);
    }

    #[test]
    fn reports_only_lead_forward() {
        let mut life = confirmed(2);
        assert_eq!(life.report(&scan(1, "a", ScanType::InTransit)), Ok(ScanResult::Applied));
        assert_eq!(life.status, Status::PartiallyShipped);
        assert_eq!(life.report(&scan(1, "a", ScanType::InTransit)), Ok(ScanResult::Duplicate));
        assert_eq!(life.report(&scan(1, "a", ScanType::Delivered)).unwrap_err().code, RefusalCode::EventIdReused);
        assert_eq!(life.report(&scan(1, "b", ScanType::Shipped)), Ok(ScanResult::Stale));
        assert_eq!(life.report(&scan(1, "c", ScanType::Lost)), Ok(ScanResult::Applied));
        assert_eq!(life.report(&scan(1, "d", ScanType::Delivered)), Ok(ScanResult::Applied));
        assert_eq!(life.report(&scan(1, "e", ScanType::ReturnedToSender)), Ok(ScanResult::Stale));
        assert_eq!(life.report(&scan(3, "f", ScanType::Shipped)).unwrap_err().code, RefusalCode::NotFound);
        assert!(!life.is_fulfilled());
        assert_eq!(life.report(&scan(2, "g", ScanType::Delivered)), Ok(ScanResult::Applied));
        assert_eq!(life.status, Status::Shipped);
        assert!(life.is_fulfilled());
    }

    #[test]
    fn a_parcel_that_leaves_a_cancelled_order_is_news() {
        let mut life = confirmed(1);
        life.cancel().unwrap();
        assert_eq!(life.report(&scan(1, "a", ScanType::Shipped)), Ok(ScanResult::Applied));
        assert_eq!(life.status, Status::Cancelling);
        assert!(life.departed());
        assert_eq!(life.cancel(), Ok(CancelVerdict::Cancelling));
    }

    #[test]
    fn holds_stack_and_expire() {
        let mut life = confirmed(1);
        assert_eq!(life.place_hold(hold("a", None)), Ok(true));
        assert_eq!(life.place_hold(hold("a", None)), Ok(false));
        assert_eq!(life.place_hold(hold("b", Some(10))), Ok(true));
        assert!(life.expire_holds(at(9)).is_empty());
        assert_eq!(life.expire_holds(at(10)).len(), 1);
        assert_eq!(life.release_hold(&HoldId::from_key(&order(), "b")).unwrap_err().code, RefusalCode::NotFound);
        life.release_hold(&HoldId::from_key(&order(), "a")).unwrap();
        assert!(life.holds.is_empty());
    }

    #[test]
    fn refusals_read_back() {
        let refusal = Refusal::new(RefusalCode::TooLate, "gone: long ago");
        assert_eq!(Refusal::parse(&refusal.to_string()), Some(refusal));
        assert_eq!(Refusal::parse("whatever: no"), None);
    }

    #[derive(Debug, Clone)]
    enum Move {
        Become(usize),
        Cancel,
        Hold(u8),
        Release(u8),
        Report(u32, u8, usize),
        Refuse,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            (0usize..12).prop_map(Move::Become),
            Just(Move::Cancel),
            (0u8..3).prop_map(Move::Hold),
            (0u8..3).prop_map(Move::Release),
            (1u32..4, any::<u8>(), 0usize..7).prop_map(|(s, e, k)| Move::Report(s, e, k)),
            Just(Move::Refuse),
        ];
        prop::collection::vec(one, 0..40)
    }

    proptest! {
        /// Whatever is asked in whatever order: only defined edges are taken, and never after a terminal status.
        #[test]
        fn random_commands_never_take_an_undefined_edge(moves in moves()) {
            let mut life = Life::placed(eur());
            life.shipments = (1..=2).map(shipment).collect();
            for step in moves {
                let (before, departed) = (life.status, life.departed());
                match step {
                    Move::Become(to) => { let _ = life.become_(Status::ALL[to]); }
                    Move::Cancel => {
                        let verdict = life.cancel();
                        prop_assert!(!(departed && before != Status::Cancelling && before != Status::Cancelled && verdict.is_ok()));
                    }
                    Move::Hold(key) => { let _ = life.place_hold(hold(&key.to_string(), None)); }
                    Move::Release(key) => { let _ = life.release_hold(&HoldId::from_key(&order(), &key.to_string())); }
                    Move::Report(number, event, kind) => { let _ = life.report(&scan(number, &event.to_string(), ScanType::ALL[kind])); }
                    Move::Refuse => if life.status == Status::Placed { life.refusing = Some(Reason::OutOfStock) },
                }
                prop_assert!(life.status == before || before.can_become(life.status), "{:?} -> {:?}", before, life.status);
                prop_assert!(!(before.is_terminal() && life.status != before));
                if life.status.is_terminal() { prop_assert!(!life.allowed_actions().contains(&Action::Cancel)); }
            }
        }
    }
}
