//! Workflow `Return`: goods on their way back, from the wish to the refund.
//!
//! Three things run side by side: the goods (decision, receipts, refunds), the label, and the clerk who writes the return's row.
#![allow(missing_docs, reason = "the macros generate constants that take no comment")]

use futures::FutureExt;
use oms_contract::activity::{Booked, OpenedItem};
use oms_contract::command::{Accepted, Resolve};
use oms_contract::definitions::{Refunds, Returns};
use oms_contract::names::Queue;
use oms_contract::refund::{AskRefund, RefundAsked};
use oms_contract::returning::*;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::derive;
use oms_domain::life::Refusal;
use oms_domain::message::Topic;
use oms_domain::money::Money;
use oms_domain::refund::{Ask, RefundId};
use oms_domain::returning::{Condition, Inspected, ReturnLabel, ReturnState, refunded_units};
use oms_domain::review::{RETURN_LABEL_REFUSED, RETURN_LABEL_UNANSWERED, RETURN_UNANSWERED, Resolution};
use std::cell::Cell;
use std::rc::Rc;
use temporalio_workflow::workflows::select;
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, workflow, workflow_methods,
};

use crate::beside::{Asked, ItemChange, Story, after, resolved, time};
use crate::unanswered::{Answer, Asks, Call};

type Refused = Box<dyn std::error::Error + Send + Sync>;

/// Goods that were inspected and are not booked yet.
#[derive(Debug, Clone)]
struct Receipt {
    number: u32,
    units: Vec<Inspected>,
    actor: String,
}

/// Goods on their way back.
#[workflow]
pub struct Returning {
    start: ReturnStart,
    body: oms_domain::returning::Return,
    rev: u64,
    facts: Vec<Fact>,
    items: ItemChange,
    dirty: bool,
    writing: bool,
    decided_at: Instant,
    receipts: Vec<Receipt>,
    label_settled: bool,
    asked: Asked,
}

#[workflow_methods]
impl Returning {
    #[init]
    fn new(_ctx: &WorkflowContextView, start: ReturnStart) -> Self {
        Self {
            body: start.asked.clone(),
            rev: 0,
            facts: Vec::new(),
            items: ItemChange::default(),
            dirty: false,
            writing: false,
            decided_at: start.requested_at,
            receipts: Vec::new(),
            label_settled: false,
            asked: Asked::default(),
            start,
        }
    }

    /// Ends when the return has, and everything is on record.
    #[run(name = "Return")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<ReturnEnd> {
        let start = ctx.state(|s| s.start.clone());
        let (order_id, calls) = (start.order_id.clone(), start.shape > 0);
        let story =
            Story { ctx: ctx.clone(), order_id, terms: start.terms, passed: Rc::new(Cell::new(start.requested_at)), calls };
        let mut goods = Self::take_back(story.clone()).boxed_local().fuse();
        let mut label = Self::label(story.clone()).boxed_local().fuse();
        let mut clerk = Self::keep_records(story).boxed_local().fuse();
        loop {
            select! {
                () = goods => break,
                () = label => {}
                () = clerk => {}
            }
        }
        Ok(ReturnEnd { state: ctx.state(|s| s.body.state) })
    }

    async fn take_back(story: Story<Self>) {
        let start = story.ctx.state(|s| s.start.clone());
        story.ctx.state_mut(|s| {
            let asked = Fact::new(s.key("requested"), FactKind::ReturnRequested, start.requested_at);
            s.publish(asked.by(start.actor.clone()).because(start.reason.clone()));
            if start.auto_approve && s.approve_until(start.requested_at).is_ok() {
                s.publish(Fact::new(s.key("approved"), FactKind::ReturnApproved, start.requested_at));
            }
        });
        loop {
            let span = story.terms.deadlines.return_;
            let decided = story.ctx.state(|s| s.decided_at);
            let waits = |s: &Self| s.receipts.is_empty() && !s.body.state.is_terminal() && s.decided_at == decided;
            if story.ctx.state(waits) {
                story.ctx.set_current_details(format!(
                    "**{}**: waits on people and goods",
                    story.ctx.state(|s| s.body.state.as_str())
                ));
            }
            if !story.until_or_at(after(decided, span), "the return ends", |s| !waits(s)).await {
                let now = story.now();
                story.ctx.state_mut(|s| s.expire(now));
            }
            if let Some(receipt) = story.ctx.state(|s| s.receipts.first().cloned()) {
                Self::book_in(&story, &start, &receipt).await;
                story.ctx.state_mut(|s| s.receipts.remove(0));
            } else if story.ctx.state(|s| s.body.state.is_terminal()) {
                break;
            }
        }
        let now = story.now();
        story.ctx.state_mut(|s| {
            if s.body.state == ReturnState::Completed {
                s.publish(Fact::new(s.key("completed"), FactKind::ReturnCompleted, now));
            }
        });
        story.until(|s| s.label_settled && !s.dirty && !s.writing).await;
    }

    /// Asks for a refund until it is accepted, or there is nothing left to pay back because the customer got it before. Goods that come
    /// back while their parcel is not paid for, under a hold or because the gateway refuses, are paid back once it is.
    async fn ask_for_refund(story: &Story<Self>, ask: AskRefund) -> Option<Money> {
        loop {
            match story.must(Queue::Orders, "ask for the refund", || Refunds::request_refund, ask.clone()).await {
                RefundAsked::Accepted { amount } => return Some(amount),
                RefundAsked::TooMuch { pending: false, .. } => return None,
                RefundAsked::TooMuch { pending: true, .. } => {
                    let again = after(story.now(), story.terms.deadlines.capture_retry);
                    story
                        .until_or_at(again, "the order's money is not taken yet; the refund is asked for again", |_| false)
                        .await;
                }
            }
        }
    }

    /// Puts what came back on the shelf and has it paid back.
    async fn book_in(story: &Story<Self>, start: &ReturnStart, receipt: &Receipt) {
        let (return_id, order_id) = (start.return_id.clone(), start.order_id.clone());
        if receipt.units.iter().any(|u| u.condition == Condition::Restock) {
            let restock = Restock {
                return_id: return_id.clone(),
                order_id: order_id.clone(),
                receipt: receipt.number,
                units: receipt.units.clone(),
                actor: receipt.actor.clone(),
            };
            let call = call(
                start,
                RETURN_UNANSWERED,
                format!("restock/{}", receipt.number),
                "goods that came back are not on the shelf",
            );
            let step = (Queue::Inventory, "put the goods back on the shelf");
            // a repeat changes nothing, so it needs no word of it
            story.answered(step, || Returns::restock, |_| restock.clone(), call, |_| false).await;
        }
        let lines = refunded_units(&receipt.units);
        let mut paid = None;
        if !lines.is_empty() {
            let ask = AskRefund {
                order_id,
                refund_id: RefundId::from_key(return_id.as_str(), &receipt.number.to_string()),
                ask: Ask::units(lines, start.refund_shipping),
                reason: format!("return {return_id}"),
                actor: receipt.actor.clone(),
                terms: story.terms,
            };
            paid = Self::ask_for_refund(story, ask).await;
        }
        let now = story.now();
        story.ctx.state_mut(|s| {
            let fact = Fact::new(s.key(&format!("received/{}", receipt.number)), FactKind::ReturnReceived, now);
            let fact = Fact { amount: paid, ..fact.by(receipt.actor.clone()) };
            s.publish(fact.because(described(&receipt.units)));
        });
    }

    /// Books the parcel once the shop has said yes, and calls it off if nothing came.
    async fn label(story: Story<Self>) {
        let start = story.ctx.state(|s| s.start.clone());
        story.until(|s| s.body.state != ReturnState::Requested).await;
        let mut revision = 1;
        let (mut attempted, mut replaced) = (false, false);
        while story.ctx.state(|s| s.body.state == ReturnState::Approved && s.body.label.is_none() && !s.body.arrived) {
            attempted = true;
            match Self::book(&story, &start, revision).await {
                Answer::Given(Booked::Booked { carrier, tracking_number }) => {
                    let now = story.now();
                    story.ctx.state_mut(|s| s.labelled(ReturnLabel { carrier, tracking_number }, now));
                }
                Answer::Given(Booked::Refused { code }) => {
                    Self::ask_a_person(&story, &start, revision, &code).await;
                    revision += 1;
                }
                Answer::Outside(command) => {
                    replaced = true;
                    let now = story.now();
                    story.ctx.state_mut(|s| s.label_is_decided(command, now));
                }
                Answer::CalledBack => {}
            }
        }
        story.until(|s| s.body.state.is_terminal()).await;
        // a booking that got no answer may have been made all the same
        let unused = replaced || story.ctx.state(|s| s.body.label.is_none() || s.body.state == ReturnState::Expired);
        if attempted && unused {
            let undo = |again| CancelReturnBooking { return_id: start.return_id.clone(), revision, again };
            let call =
                call(&start, RETURN_UNANSWERED, format!("call-off/{revision}"), "a parcel that is not needed is not called off");
            let step = (Queue::Shipping, "call the parcel off");
            story.answered(step, || Returns::cancel_return_booking, undo, call, |_| false).await;
        }
        story.ctx.state_mut(|s| s.label_settled = true);
        std::future::pending().await
    }

    /// One booking, called back when the return no longer needs it.
    async fn book(story: &Story<Self>, start: &ReturnStart, revision: u32) -> Answer<Booked> {
        let input = |again| BookReturn {
            return_id: start.return_id.clone(),
            order_id: start.order_id.clone(),
            revision,
            location: start.location.clone(),
            again,
        };
        let missing = "no carrier answers for the parcel of a return; name another label, or wait";
        let call = call(start, RETURN_LABEL_UNANSWERED, format!("book/{revision}"), missing);
        let step = (Queue::Shipping, "book the parcel that comes back");
        story.answered(step, || Returns::book_return, input, call, |s| s.body.state != ReturnState::Approved).await
    }

    /// No carrier takes the parcel: a person may name another label, or it is tried again.
    async fn ask_a_person(story: &Story<Self>, start: &ReturnStart, revision: u32, code: &str) {
        let item = derive(&["review", "return", start.return_id.as_str(), &revision.to_string()]).to_string();
        let opened = OpenedItem {
            id: item.clone(),
            kind: RETURN_LABEL_REFUSED.to_owned(),
            subject: start.return_id.to_string(),
            detail: format!("the carrier refused the parcel of a return ({code}); name another label, or try again"),
        };
        story.ctx.state_mut(|s| {
            s.asked.open(&item, RETURN_LABEL_REFUSED);
            s.items.opened.push(opened);
            s.dirty = true;
        });
        let again = after(story.now(), story.terms.deadlines.capture_retry);
        let over = |s: &Self| s.asked.is_decided(&item) || s.body.state != ReturnState::Approved;
        story.until_or_at(again, "next try to book the parcel", over).await;
        let now = story.now();
        story.ctx.state_mut(|s| {
            s.dirty = true;
            match s.asked.take(&item) {
                Some(command) => s.label_is_decided(command, now),
                None => s.items.settled.push(item),
            }
        });
    }

    /// Writes the row, then the timeline, one after the other.
    async fn keep_records(story: Story<Self>) {
        loop {
            story.until(|s| s.dirty).await;
            let (record, facts, items) = story.ctx.state_mut(|s| {
                (s.dirty, s.writing) = (false, true);
                s.rev += 1;
                let record = RecordReturn { return_id: s.start.return_id.clone(), rev: s.rev, state: s.body.clone() };
                (record, std::mem::take(&mut s.facts), std::mem::take(&mut s.items))
            });
            let rev = record.rev;
            let row = story.must(Queue::Orders, "write the return's record", || Returns::record_return, record).await;
            story.append(facts, items).await;
            story.ctx.state_mut(|s| {
                s.writing = false;
                // a run that was reset finds the row ahead of itself and shows its own state under the next number
                if row.rev > rev {
                    s.rev = row.rev;
                    s.dirty = true;
                }
            });
        }
    }

    #[update_validator(approve)]
    fn may_approve(&self, _ctx: &WorkflowContextView, _input: &ApproveReturn) -> Result<(), Refused> {
        Ok(self.body.check_decide()?)
    }

    /// Take the goods back.
    #[update(name = "approve")]
    pub fn approve(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: ApproveReturn) -> Result<ReturnAnswer, Refused> {
        let now = time(ctx.workflow_time(), self.decided_at);
        self.approve_until(now)?;
        self.decided_at = now;
        let mut fact = Fact::new(self.key("approved"), FactKind::ReturnApproved, self.decided_at).by(actor(input.actor));
        fact.reason = input.reason.map(String::from);
        Ok(self.answer(fact))
    }

    #[update_validator(reject)]
    fn may_reject(&self, _ctx: &WorkflowContextView, _input: &RejectReturn) -> Result<(), Refused> {
        Ok(self.body.check_decide()?)
    }

    /// Do not take the goods back.
    #[update(name = "reject")]
    pub fn reject(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RejectReturn) -> Result<ReturnAnswer, Refused> {
        self.body.reject(input.reason.as_str())?;
        self.decided_at = time(ctx.workflow_time(), self.decided_at);
        let fact = Fact::new(self.key("rejected"), FactKind::ReturnRejected, self.decided_at).by(actor(input.actor));
        Ok(self.answer(fact.because(input.reason)))
    }

    #[update_validator(receive)]
    fn may_receive(&self, _ctx: &WorkflowContextView, input: &ReceiveReturn) -> Result<(), Refused> {
        Ok(self.body.check_receive(&input.units, input.complete)?)
    }

    /// Goods came back and were inspected.
    #[update(name = "receive")]
    pub fn receive(&mut self, _ctx: &mut SyncWorkflowContext<Self>, input: ReceiveReturn) -> Result<ReturnAnswer, Refused> {
        let number = self.body.receive(&input.units, input.complete)?;
        if !input.units.is_empty() {
            self.receipts.push(Receipt { number, units: input.units, actor: actor(input.actor) });
        }
        self.dirty = true;
        Ok(ReturnAnswer { state: self.body.state, rev: self.rev + 1 })
    }

    #[update_validator(resolve_item)]
    fn may_resolve(&self, _ctx: &WorkflowContextView, input: &Resolve) -> Result<(), Refused> {
        Ok(self.asked.check(input)?)
    }

    /// Settle what the carrier refuses.
    #[update(name = "resolve")]
    pub fn resolve_item(&mut self, _ctx: &mut SyncWorkflowContext<Self>, input: Resolve) -> Result<Accepted, Refused> {
        self.asked.decide(input)?;
        Ok(Accepted { rev: self.rev + 1 })
    }
}

impl Returning {
    fn key(&self, what: &str) -> String {
        format!("return/{}/{what}", self.start.return_id)
    }

    /// The goods are taken back, until the deadline.
    fn approve_until(&mut self, now: Instant) -> Result<(), Refusal> {
        self.body.approve()?;
        self.body.until = Some(after(now, self.start.terms.deadlines.return_));
        Ok(())
    }

    fn publish(&mut self, fact: Fact) {
        self.facts.push(fact);
        self.dirty = true;
    }

    fn answer(&mut self, fact: Fact) -> ReturnAnswer {
        self.publish(fact);
        ReturnAnswer { state: self.body.state, rev: self.rev + 1 }
    }

    /// The customer is told that, and how, the goods may come back.
    fn labelled(&mut self, label: ReturnLabel, now: Instant) {
        let fact = Fact::new(self.key("labelled"), FactKind::ReturnLabelled, now);
        self.publish(fact.because(format!("{} {}", label.carrier, label.tracking_number)).told_as(Topic::ReturnApproved));
        self.body.label = Some(label);
    }

    /// A person named another label, or had it tried again.
    fn label_is_decided(&mut self, command: Resolve, now: Instant) {
        self.dirty = true;
        self.items.resolved.push(resolved(&command));
        if let (Resolution::UseExternalReference, Some(number)) = (command.action, command.reference) {
            self.labelled(ReturnLabel { carrier: "other".to_owned(), tracking_number: number }, now);
        }
    }

    fn expire(&mut self, now: Instant) {
        if self.body.expire() && self.body.state == ReturnState::Expired {
            self.publish(Fact::new(self.key("expired"), FactKind::ReturnExpired, now));
        }
        self.dirty = true;
    }
}

impl Asks for Returning {
    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn asked_mut(&mut self) -> &mut Asked {
        &mut self.asked
    }
}

fn call(start: &ReturnStart, kind: &'static str, step: String, missing: &str) -> Call {
    Call { kind, subject: start.return_id.to_string(), step, missing: missing.to_owned() }
}

fn actor(named: Option<String>) -> String {
    named.unwrap_or_else(|| "api".to_owned())
}

/// What came, in words: `2 x mug restock, 1 x cup scrap`.
fn described(units: &[Inspected]) -> String {
    let parts = units.iter().map(|u| format!("{} x {} {}", u.quantity, u.sku, u.condition.as_str()));
    parts.collect::<Vec<_>>().join(", ")
}
