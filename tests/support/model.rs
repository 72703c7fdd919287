//! A pure model of one order, as the world sees it: it hears every command with its answer and every row that was read, says which
//! answers and ends are possible, and knows nothing of engines or databases. It never guesses how fast the order is: where two ends
//! are possible it allows both, until an answer or a row has told which.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::life::{CancelVerdict, RefusalCode};
use oms_domain::order::Status;
use oms_domain::review::{LOST, NO_SCAN, RETURNED_TO_SENDER, Resolution, ReviewDecision, resolutions};
use oms_domain::shipment::{ScanResult, ScanType, ShipmentStatus};
use oms_domain::shortage::ShortagePolicy;
use oms_store::StoredOrder;

use super::fate::{Fate, Lines, SCARCE};

mod back;
mod ends;

pub use back::RefundAnswer;

/// What was asked of the order.
#[derive(Debug, Clone)]
pub enum Sent {
    Cancel,
    Hold { id: String, ends: bool },
    Release { id: String },
    Report { parcel: u32, event: String, kind: ScanType },
    Review(ReviewDecision),
    Address,
    Edit { lines: Lines, stale: bool },
    Decide,
    Resolve { item: String, code: String, parcel: Option<u32>, action: Resolution, referenced: bool },
}

/// What it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Done,
    Cancel(CancelVerdict),
    Scan(ScanResult),
    Refused(RefusalCode),
    /// Its run is over.
    Over,
}

/// What is known of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cancelled {
    No,
    /// Asked without an answer, and perhaps not heard yet.
    Perhaps,
    Yes,
}

#[derive(Debug, Default)]
struct Parcel {
    rank: u8,
    status: Option<ShipmentStatus>,
    heard: BTreeMap<String, ScanType>,
    /// It left when no cancel had been asked for.
    left_first: bool,
    left_after: bool,
    /// It left after an edit, which may have replaced it: then the order itself has not left. Its end tells.
    perhaps_stray: bool,
    closed: Option<Resolution>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    ends: bool,
    open: bool,
}

/// What is known of one order.
#[derive(Debug)]
pub struct Model {
    fate: Fate,
    cancelled: Cancelled,
    /// A refusal said that the order was ending, and nothing had left.
    ending: bool,
    /// A cancel was refused for another reason than a departure, and nothing had left.
    rejecting: bool,
    over: bool,
    verdict: Option<ReviewDecision>,
    /// A verdict or an edit was asked for whose answer was lost.
    perhaps_rejected: bool,
    perhaps_edited: bool,
    parcels: BTreeMap<u32, Parcel>,
    holds: BTreeMap<String, Hold>,
    edits: Vec<Lines>,
    resolved: BTreeSet<String>,
    /// An answer spoke of a label. A row may show one that a worker recorded and died over: its run does not know of it yet.
    labelled: bool,
    seen: Option<(Status, u64)>,
    /// Cents that went back on somebody's wish, and for goods that came back.
    given: i64,
    /// Everything that was heard, for whoever has to understand a failure.
    pub log: Vec<String>,
}

type Heard = Result<(), String>;

fn ensure(holds: bool, otherwise: impl Into<String>) -> Heard {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

impl Model {
    pub fn new(fate: Fate) -> Self {
        Self {
            fate,
            cancelled: Cancelled::No,
            ending: false,
            rejecting: false,
            over: false,
            verdict: None,
            perhaps_rejected: false,
            perhaps_edited: false,
            parcels: BTreeMap::new(),
            holds: BTreeMap::new(),
            edits: Vec::new(),
            resolved: BTreeSet::new(),
            labelled: false,
            seen: None,
            given: 0,
            log: Vec::new(),
        }
    }

    /// Holds that are open for all that is known and do not end by themselves.
    pub fn open_holds(&self) -> Vec<String> {
        self.holds.iter().filter(|(_, hold)| hold.open && !hold.ends).map(|(id, _)| id.clone()).collect()
    }

    /// Whether a person has ended the wait for a parcel.
    pub fn is_closed(&self, parcel: u32) -> bool {
        self.parcels.get(&parcel).is_some_and(|p| p.closed.is_some())
    }

    /// A cancel was asked for through a door that does not answer.
    pub fn asked_to_cancel(&mut self) {
        self.log.push("cancel without an answer".to_owned());
        self.cancelled = self.cancelled.max(Cancelled::Perhaps);
    }

    /// Hears a command and its answer. Errors: what is impossible about it.
    pub fn hear(&mut self, sent: &Sent, answer: Answer) -> Heard {
        self.log.push(format!("{sent:?} -> {answer:?}"));
        if answer == Answer::Over {
            self.over = true;
            return Ok(());
        }
        ensure(!self.over, "an answer of a run that was over")?;
        match sent {
            Sent::Cancel => self.hear_cancel(answer),
            Sent::Hold { id, ends } => self.hear_hold(id, *ends, answer),
            Sent::Release { id } => self.hear_release(id, answer),
            Sent::Report { parcel, event, kind } => self.hear_report(*parcel, event, *kind, answer),
            Sent::Review(decision) => self.hear_review(*decision, answer),
            Sent::Address => self.hear_address(answer),
            Sent::Edit { lines, stale } => self.hear_edit(lines, *stale, answer),
            Sent::Decide => match answer {
                Answer::Done => self.goes_on("a decision").and(ensure(self.may_wait(), "a decision about no wait")),
                other => ensure(other == Answer::Refused(RefusalCode::NotAllowedNow), "decide: wrong refusal"),
            },
            Sent::Resolve { item, code, parcel, action, referenced } => {
                self.hear_resolve(item, code, *parcel, *action, *referenced, answer)
            }
        }
    }

    /// Hears the answer to a command whose first answer was lost: it may have been obeyed the first time.
    pub fn hear_again(&mut self, sent: &Sent, answer: Answer) -> Heard {
        self.log.push(format!("again {sent:?} -> {answer:?}"));
        let over = answer == Answer::Over;
        let refused = answer == Answer::Refused(RefusalCode::NotAllowedNow);
        match sent {
            Sent::Report { parcel, event, kind } if over || answer == Answer::Scan(ScanResult::Duplicate) => {
                // a parcel that nobody has seen was not there to hear of
                if over && !self.parcels.contains_key(parcel) {
                    self.over = true;
                    return Ok(());
                }
                let known = self.parcels.entry(*parcel).or_default();
                if !known.heard.contains_key(event) {
                    let applied = kind.decides() && kind.rank() > known.rank;
                    let first = if applied { ScanResult::Applied } else { ScanResult::Stale };
                    self.hear_report(*parcel, event, *kind, Answer::Scan(first))?;
                }
                self.over |= over;
                Ok(())
            }
            Sent::Resolve { item, code, parcel, action, referenced } if over || refused => {
                self.hear_resolve(item, code, *parcel, *action, *referenced, Answer::Done)?;
                self.over |= over;
                Ok(())
            }
            Sent::Review(decision) if refused || over => {
                self.perhaps_rejected |= *decision == ReviewDecision::Reject;
                self.over |= over;
                Ok(())
            }
            Sent::Edit { .. } if refused || over => {
                self.perhaps_edited = true;
                self.over |= over;
                Ok(())
            }
            Sent::Release { id } if answer == Answer::Refused(RefusalCode::NotFound) => {
                // released the first time, or there was no such hold at all
                let open = self.holds.get(id).is_some_and(|hold| hold.open);
                self.hear_release(id, if open { Answer::Done } else { answer })
            }
            Sent::Cancel => {
                self.cancelled = self.cancelled.max(Cancelled::Perhaps);
                self.hear(sent, answer)
            }
            _ => self.hear(sent, answer),
        }
    }

    /// Whether a parcel that is the order's for sure has left.
    fn left(&self) -> bool {
        self.parcels.values().any(|p| p.left_first && !p.perhaps_stray)
    }

    /// Whether only parcels have left of which that is not sure.
    fn perhaps_left(&self) -> bool {
        !self.left() && self.parcels.values().any(|p| p.left_first)
    }

    /// Whether goods may be missing.
    fn may_lack(&self) -> bool {
        let scarce = |lines: &Lines| lines.iter().any(|(name, _)| SCARCE.iter().any(|(rare, _)| rare == name));
        scarce(&self.fate.lines) || self.edits.iter().any(scarce)
    }

    fn may_wait(&self) -> bool {
        self.fate.shortage.policy != ShortagePolicy::Reject && self.may_lack()
    }

    /// What was accepted can only have been accepted by an order on its way.
    fn goes_on(&self, what: &str) -> Heard {
        ensure(self.cancelled != Cancelled::Yes, format!("{what} was accepted after a cancel"))?;
        ensure(
            self.verdict != Some(ReviewDecision::Reject),
            format!("{what} was accepted after the review had rejected the order"),
        )?;
        ensure(!self.ending && !self.rejecting, format!("{what} was accepted by an order that was ending"))
    }

    /// A refusal said that the order is ending or has ended.
    fn ends(&mut self) -> Heard {
        if self.cancelled == Cancelled::Yes || self.verdict == Some(ReviewDecision::Reject) {
            return Ok(());
        }
        if self.left() {
            let at_an_end = |p: &Parcel| p.closed.is_some() || p.status == Some(ShipmentStatus::Delivered);
            return ensure(
                self.parcels.values().filter(|p| p.left_first).all(at_an_end),
                "refused as if it were ending, while a parcel is under way",
            );
        }
        self.ending |= !self.perhaps_left();
        Ok(())
    }

    fn hear_cancel(&mut self, answer: Answer) -> Heard {
        match answer {
            Answer::Cancel(verdict) => {
                ensure(!self.left(), "cancelled after a departure")?;
                ensure(self.verdict != Some(ReviewDecision::Reject), "cancelled after the review had rejected it")?;
                ensure(!self.rejecting, "cancelled after a refusal")?;
                let known = self.cancelled != Cancelled::No || self.may_wait();
                ensure(verdict == CancelVerdict::Cancelling || known, "cancelled before anybody asked")?;
                self.cancelled = Cancelled::Yes;
                Ok(())
            }
            Answer::Refused(RefusalCode::TooLate) => {
                ensure(self.cancelled != Cancelled::Yes, "too late for a cancel that was accepted before")?;
                ensure(self.parcels.values().any(|p| p.left_first || p.left_after), "too late, but nothing has left")?;
                // the one without an answer came too late as well
                self.cancelled = Cancelled::No;
                for parcel in self.parcels.values_mut() {
                    parcel.left_first |= std::mem::take(&mut parcel.left_after);
                }
                Ok(())
            }
            Answer::Refused(RefusalCode::NotAllowedNow) => {
                ensure(self.cancelled != Cancelled::Yes, "a repeated cancel was refused")?;
                self.ends()?;
                self.rejecting |= !self.left() && !self.perhaps_left();
                Ok(())
            }
            other => Err(format!("cancel: {other:?}")),
        }
    }

    fn hear_hold(&mut self, id: &str, ends: bool, answer: Answer) -> Heard {
        match answer {
            Answer::Done => {
                self.goes_on("a hold")?;
                self.holds.insert(id.to_owned(), Hold { ends, open: true });
                Ok(())
            }
            Answer::Refused(RefusalCode::NotAllowedNow) => self.ends(),
            // its end had passed when the run heard of it
            Answer::Refused(RefusalCode::ValidationFailed) => ensure(ends, "a hold without an end was malformed"),
            other => Err(format!("hold: {other:?}")),
        }
    }

    fn hear_release(&mut self, id: &str, answer: Answer) -> Heard {
        let known = self.holds.get(id).copied();
        if let Some(hold) = self.holds.get_mut(id) {
            hold.open = false;
        }
        match (answer, known) {
            (Answer::Done, Some(Hold { open: true, .. })) => Ok(()),
            (Answer::Done, _) => Err("a hold was released that is not open".to_owned()),
            (Answer::Refused(RefusalCode::NotFound), Some(Hold { open: true, ends: false })) => self.ends(),
            (Answer::Refused(RefusalCode::NotFound), _) => Ok(()),
            (other, _) => Err(format!("release: {other:?}")),
        }
    }

    fn hear_report(&mut self, number: u32, event: &str, kind: ScanType, answer: Answer) -> Heard {
        let known = self.parcels.contains_key(&number);
        if answer == Answer::Refused(RefusalCode::NotFound) {
            return ensure(!known, "a shipment that was seen is not found");
        }
        let (cancelled, edited) = (self.cancelled, self.perhaps_edited || !self.edits.is_empty());
        let parcel = self.parcels.entry(number).or_default();
        let expected = match parcel.heard.get(event) {
            Some(before) if *before == kind => Answer::Scan(ScanResult::Duplicate),
            Some(_) => Answer::Refused(RefusalCode::EventIdReused),
            None if kind.decides() && kind.rank() > parcel.rank => Answer::Scan(ScanResult::Applied),
            None => Answer::Scan(ScanResult::Stale),
        };
        ensure(answer == expected, format!("expected {expected:?}"))?;
        parcel.heard.entry(event.to_owned()).or_insert(kind);
        if answer == Answer::Scan(ScanResult::Applied) {
            if parcel.rank < ScanType::Shipped.rank() {
                parcel.left_first = cancelled == Cancelled::No;
                parcel.left_after = cancelled != Cancelled::No;
                parcel.perhaps_stray = edited;
            }
            parcel.rank = kind.rank();
            parcel.status = Some(ShipmentStatus::from(kind));
        }
        Ok(())
    }

    fn hear_review(&mut self, decision: ReviewDecision, answer: Answer) -> Heard {
        match answer {
            Answer::Done => {
                self.goes_on("a verdict")?;
                ensure(self.fate.review.is_some(), "a verdict on an order that no rule wanted to see")?;
                ensure(self.verdict.is_none(), "a second verdict")?;
                self.verdict = Some(decision);
                Ok(())
            }
            other => ensure(other == Answer::Refused(RefusalCode::NotAllowedNow), "review: wrong refusal"),
        }
    }

    fn hear_address(&mut self, answer: Answer) -> Heard {
        match answer {
            Answer::Done => self.goes_on("an address").and(ensure(!self.labelled, "a new address after the label")),
            Answer::Refused(RefusalCode::TooLate) => {
                self.labelled = true;
                Ok(())
            }
            Answer::Refused(RefusalCode::NotAllowedNow) => self.ends(),
            other => Err(format!("address: {other:?}")),
        }
    }

    fn hear_edit(&mut self, lines: &Lines, stale: bool, answer: Answer) -> Heard {
        match answer {
            Answer::Done => {
                self.goes_on("an edit")?;
                ensure(!stale, "an edit for another version was accepted")?;
                self.edits.push(lines.clone());
                Ok(())
            }
            Answer::Refused(RefusalCode::TooLate) => {
                self.labelled = true;
                Ok(())
            }
            // arranging, confirming or another edit: passing states that nobody sees from outside
            Answer::Refused(RefusalCode::NotAllowedNow) => Ok(()),
            Answer::Refused(RefusalCode::PreconditionFailed) => ensure(stale, "an edit without a version was refused for it"),
            other => Err(format!("edit: {other:?}")),
        }
    }

    fn hear_resolve(
        &mut self,
        item: &str,
        code: &str,
        parcel: Option<u32>,
        action: Resolution,
        referenced: bool,
        answer: Answer,
    ) -> Heard {
        let wellformed = resolutions(code).contains(&action) && (referenced || action != Resolution::UseExternalReference);
        match answer {
            Answer::Done => {
                ensure(wellformed, "resolved in a way that does not exist")?;
                ensure(self.resolved.insert(item.to_owned()), "resolved twice")?;
                let ends = action != Resolution::Retry && matches!(code, LOST | NO_SCAN | RETURNED_TO_SENDER);
                if let Some(parcel) = parcel.filter(|_| ends) {
                    self.parcels.entry(parcel).or_default().closed.get_or_insert(action);
                }
                if action == Resolution::Cancel { self.hear_cancel(Answer::Cancel(CancelVerdict::Cancelling)) } else { Ok(()) }
            }
            Answer::Refused(RefusalCode::NotAllowedNow) => Ok(()),
            Answer::Refused(RefusalCode::ValidationFailed) => ensure(!wellformed, "a possible resolution was malformed"),
            Answer::Refused(RefusalCode::TooLate) => ensure(action == Resolution::Cancel, "resolve: too late"),
            other => Err(format!("resolve: {other:?}")),
        }
    }

    /// Looks at a row that was read. Errors: what is impossible about it.
    pub fn see(&mut self, row: &StoredOrder) -> Heard {
        let now = (row.life.status, row.rev);
        if let Some((status, rev)) = self.seen.replace(now).filter(|before| *before != now) {
            self.log.push(format!("{status} -> {} (rev {})", row.life.status, row.rev));
            ensure(row.rev >= rev, format!("rev {rev} became {}", row.rev))?;
            let forward = status == row.life.status || row.life.status.rank() > status.rank();
            ensure(forward, format!("{status} became {}", row.life.status))?;
        }
        for shipment in &row.life.shipments {
            let number = number(shipment.id.as_str());
            let parcel = self.parcels.entry(number).or_default();
            let told = parcel.status.is_some() || !shipment.status.departed();
            ensure(told, format!("shipment {number} is {:?}, which nobody reported", shipment.status))?;
        }
        Ok(())
    }
}

/// The number of a shipment within its order.
pub fn number(shipment: &str) -> u32 {
    shipment.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap()
}

/// How an order ended.
pub struct End {
    pub row: StoredOrder,
    /// The kinds of its facts, in order.
    pub told: Vec<String>,
}
