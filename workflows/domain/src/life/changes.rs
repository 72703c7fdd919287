//! What may still be changed about an order, and what a person may decide about it.

use super::{Life, Refusal, RefusalCode};
use crate::ids::OrderId;
use crate::order::{Reason, Status};
use crate::review::{Attention, Resolution, ReviewDecision, resolutions};
use crate::shipment::ShipmentStatus;
use crate::shortage::Decision;

impl Life {
    /// Whether a review is open. Errors: [`Refusal`].
    pub fn check_review(&self) -> Result<(), Refusal> {
        if self.status == Status::InReview && self.review.is_some() && self.is_going() {
            return Ok(());
        }
        Err(Refusal::new(RefusalCode::NotAllowedNow, format!("the order is {}; no review of it is open", self.status)))
    }

    /// Ends the review. The run carries the verdict out. Errors: [`Refusal`] when none is open.
    pub fn review(&mut self, decision: ReviewDecision) -> Result<(), Refusal> {
        self.check_review()?;
        self.review = None;
        if decision == ReviewDecision::Reject {
            self.refusing = Some(Reason::ReviewRejected);
        }
        Ok(())
    }

    /// Whether the address may still change: until a label is bought. Errors: [`Refusal`].
    pub fn check_address(&self) -> Result<(), Refusal> {
        self.check_going("the address")?;
        if self.live_shipments().any(|s| s.status != ShipmentStatus::Pending) {
            let detail = "a label is bought, so the address can no longer change; cancel, or ask for a return later";
            return Err(Refusal::new(RefusalCode::TooLate, detail));
        }
        Ok(())
    }

    /// Whether lines may still change, one change at a time: anything until a label is bought; after that only what is not in a
    /// labelled parcel may be taken off, which the run judges. Errors: [`Refusal`].
    pub fn check_edit(&self) -> Result<(), Refusal> {
        self.check_going("the lines")?;
        let open = self.live_shipments().any(|s| s.status == ShipmentStatus::Pending) || !self.waiting.is_empty();
        if !open && self.live_shipments().next().is_some() {
            let detail = "a label is bought for everything, so the lines can no longer change; cancel, or ask for a return later";
            return Err(Refusal::new(RefusalCode::TooLate, detail));
        }
        self.check_arranged()
    }

    /// Whether units may be cancelled, one change at a time: whatever has not left. Errors: [`Refusal`].
    pub fn check_partial_cancel(&self) -> Result<(), Refusal> {
        self.check_going("the lines")?;
        if self.live_shipments().next().is_some() && self.all_departed() {
            let detail = "every parcel has left, so nothing can be taken off any more; ask for a return instead";
            return Err(Refusal::new(RefusalCode::TooLate, detail));
        }
        self.check_arranged()
    }

    fn check_arranged(&self) -> Result<(), Refusal> {
        let arranging = self.status == Status::Placed || self.status == Status::InReview && self.review.is_none();
        if arranging {
            return Err(Refusal::new(RefusalCode::NotAllowedNow, "stock and money are being arranged; try again in a moment"));
        }
        if self.editing {
            return Err(Refusal::new(RefusalCode::NotAllowedNow, "another change is being carried out; try again in a moment"));
        }
        Ok(())
    }

    fn check_going(&self, what: &str) -> Result<(), Refusal> {
        if self.is_going() {
            return Ok(());
        }
        Err(Refusal::new(RefusalCode::NotAllowedNow, format!("the order is {}; {what} can no longer change", self.status)))
    }

    /// Whether the customer's question is open; `round` must be the current one if given. Errors: [`Refusal`].
    pub fn check_decision(&self, round: Option<u32>) -> Result<(), Refusal> {
        match &self.question {
            Some(question) if self.is_going() => match round {
                Some(round) if round != question.round => {
                    Err(Refusal::new(RefusalCode::NotAllowedNow, "this question was decided before; a newer one is open"))
                }
                _ => Ok(()),
            },
            _ => Err(Refusal::new(RefusalCode::NotAllowedNow, "nothing is to be decided: the order waits for no answer")),
        }
    }

    /// Decides the open question; the run carries it out. Errors: [`Refusal`].
    pub fn decide(&mut self, decision: Decision, round: Option<u32>) -> Result<Decision, Refusal> {
        self.check_decision(round)?;
        self.question = None;
        Ok(decision)
    }

    /// The flag behind a review item, if `action` is one of its next moves. Errors: [`Refusal`] (`not_found` once it is settled).
    pub fn check_resolve(&self, order: &OrderId, item: &str, action: Resolution) -> Result<&Attention, Refusal> {
        let flag = self.attention.iter().find(|a| a.item(order) == item);
        let flag =
            flag.ok_or_else(|| Refusal::new(RefusalCode::NotAllowedNow, "the item is settled; nothing is left to resolve"))?;
        if !resolutions(&flag.code).contains(&action) {
            let allowed: Vec<&str> = resolutions(&flag.code).iter().map(|r| r.as_str()).collect();
            let detail = format!("{} can be resolved by {}", flag.code, allowed.join(", "));
            return Err(Refusal::new(RefusalCode::ValidationFailed, detail));
        }
        if action == Resolution::Cancel {
            self.check_cancel()?;
        }
        Ok(flag)
    }
}
