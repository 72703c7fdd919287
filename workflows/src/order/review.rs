//! Manual review: the shop's rules may want a person to look before anything is promised.

use oms_contract::activity::Assess;
use oms_contract::definitions::Orders;
use oms_contract::names::Queue;
use oms_domain::event::{Fact, FactKind};
use oms_domain::order::{Reason, Status};
use oms_domain::review::{IN_REVIEW, Review, ReviewDecision};

use super::desk::{Desk, after};
use super::{Order, Stop};

/// Lets the rules look, and waits for a person if they want one. Orders of shops without rules pass without a step.
pub(super) async fn pass(desk: &Desk) -> Result<(), Stop> {
    let start = desk.start();
    if start.risk.is_off() {
        return Ok(());
    }
    let input = Assess { order_id: start.order_id.clone(), rules: start.risk };
    let assessed = desk.must(Queue::Orders, "let the shop's rules look at the order", || Orders::assess, input).await;
    if desk.read(|s| s.life.status == Status::Cancelling) {
        return Err(Stop::Cancelled);
    }
    if assessed.reasons.is_empty() {
        return Ok(());
    }
    let now = desk.now();
    let until = after(now, start.deadlines.review);
    desk.write(|s| {
        // the edge from placed exists, and nothing else has happened yet
        if s.life.become_(Status::InReview).is_ok() {
            let reasons = assessed.reasons.clone();
            s.life.review = Some(Review { reasons, since: now, until });
            s.still_until = Some(until);
            let fact = Fact::new("in_review", FactKind::OrderInReview, now).because(assessed.reasons.join(", "));
            s.journal.publish(fact);
        }
    });
    desk.raise(IN_REVIEW, None, "a rule of the shop wants a person to approve or reject the order", now);
    decided(desk, start.policies.review, until).await
}

async fn decided(desk: &Desk, default: ReviewDecision, until: oms_domain::Instant) -> Result<(), Stop> {
    desk.waiting_until("review", "a person, to approve or reject the order", Some(until));
    let ends = |s: &Order| s.verdict.is_some() || s.life.status == Status::Cancelling;
    desk.until_or_at(until, "policy decides the review", ends).await;
    desk.waiting("review", "");
    desk.write(|s| s.still_until = None);
    desk.moved();
    if desk.read(|s| s.life.status == Status::Cancelling) {
        desk.write(|s| s.life.review = None);
        return Err(Stop::Cancelled);
    }
    let verdict = desk.read(|s| s.verdict);
    if verdict.is_none() {
        let now = desk.now();
        desk.write(|s| {
            // it is open, or a verdict would be here
            if s.life.review(default).is_ok() {
                let reason = format!("{}: nobody decided in time", default.as_str());
                s.journal.publish(Fact::new("reviewed", FactKind::OrderReviewed, now).because(reason));
            }
        });
    }
    desk.clear(IN_REVIEW, None);
    // a change that was accepted meanwhile is finished first
    desk.until(|s| !s.life.editing).await;
    match verdict.unwrap_or(default) {
        ReviewDecision::Approve => Ok(()),
        ReviewDecision::Reject => Err(Stop::Refused(Reason::ReviewRejected)),
    }
}
