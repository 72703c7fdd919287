//! Workflow `Refund`: money on its way back. It ends when nothing is owed any more, and not before.
#![allow(missing_docs, reason = "the macros generate constants that take no comment")]

use oms_contract::activity::OpenedItem;
use oms_contract::command::{Accepted, Resolve};
use oms_contract::definitions::Refunds;
use oms_contract::names::Queue;
use oms_contract::refund::{CloseRefund, PaidBack, Part, PayBack, RefundEnd, RefundStart};
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::derive;
use oms_domain::message::Topic;
use oms_domain::refund::RefundState;
use oms_domain::review::{REFUND_REFUSED, REFUND_UNANSWERED, Resolution};
use std::cell::Cell;
use std::rc::Rc;
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, workflow, workflow_methods,
};

use crate::beside::{Asked, ItemChange, Story, after, resolved};
use crate::unanswered::{Answer, Asks, Call};

type Refused = Box<dyn std::error::Error + Send + Sync>;

/// How a round of asking for every part ended.
enum Round {
    Returned,
    /// The gateway's code for a part that it refused.
    Refused(String),
    /// A person settled it outside.
    Outside(Resolve),
}

/// Money on its way back.
#[workflow]
pub struct Refund {
    start: RefundStart,
    revision: u32,
    asked: Asked,
}

#[workflow_methods]
impl Refund {
    #[init]
    fn new(_ctx: &WorkflowContextView, start: RefundStart) -> Self {
        Self { start, revision: 1, asked: Asked::default() }
    }

    /// Returns every part, asking again without end; a person may settle outside what the gateway refuses.
    #[run(name = "Refund")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<RefundEnd> {
        let start = ctx.state(|s| s.start.clone());
        let (order_id, calls) = (start.order_id.clone(), start.shape > 0);
        let story =
            Story { ctx: ctx.clone(), order_id, terms: start.terms, passed: Rc::new(Cell::new(start.requested_at)), calls };
        let requested = Fact::new(key(&start, "requested"), FactKind::RefundRequested, start.requested_at);
        let requested = requested.by(start.actor.clone()).because(start.reason.clone()).moving(start.amount);
        story.append(vec![requested], ItemChange::default()).await;
        let mut open = start.parts.clone();
        let state = loop {
            let revision = ctx.state(|s| s.revision);
            match Self::pay_back(&story, &start, &mut open, revision).await {
                Round::Returned => break RefundState::Returned,
                Round::Refused(code) => {
                    if Self::is_settled_outside(&story, &start, revision, &code).await {
                        break RefundState::Closed;
                    }
                }
                Round::Outside(command) => {
                    Self::close(&story, &start, &command).await;
                    break RefundState::Closed;
                }
            }
            ctx.state_mut(|s| s.revision += 1);
        };
        let end = match state {
            RefundState::Returned => Fact::new(key(&start, "completed"), FactKind::RefundCompleted, story.now()),
            _ => Fact::new(key(&start, "closed"), FactKind::RefundClosed, story.now()),
        };
        let end = end.because(start.reason.clone()).moving(start.amount).told_as(Topic::Refunded);
        story.append(vec![end], ItemChange::default()).await;
        Ok(RefundEnd { state })
    }

    /// Asks the gateway for every part that is still open.
    async fn pay_back(story: &Story<Self>, start: &RefundStart, open: &mut Vec<Part>, revision: u32) -> Round {
        let mut round = Round::Returned;
        for part in std::mem::take(open) {
            let (refund_id, order_id) = (&start.refund_id, &start.order_id);
            let input =
                |again| PayBack { refund_id: refund_id.clone(), order_id: order_id.clone(), part: part.clone(), revision, again };
            let call = Call {
                kind: REFUND_UNANSWERED,
                subject: refund_id.to_string(),
                step: format!("{}/{revision}", part.part),
                missing: format!("nobody knows whether {} of {} went back to the customer", part.amount, start.amount),
            };
            let step = (Queue::Payments, "return the money");
            match story.answered(step, || Refunds::pay_back, input, call, |_| false).await {
                Answer::Given(PaidBack::Refused { code }) => {
                    round = Round::Refused(code);
                    open.push(part);
                }
                Answer::Outside(command) => return Round::Outside(command),
                Answer::Given(PaidBack::Returned) | Answer::CalledBack => {}
            }
        }
        round
    }

    /// Calls a person about a refusal and waits: for a decision, or for the time to ask again.
    async fn is_settled_outside(story: &Story<Self>, start: &RefundStart, revision: u32, code: &str) -> bool {
        let item = derive(&["review", "refund", start.refund_id.as_str(), &revision.to_string()]).to_string();
        let fact = Fact::new(key(start, &format!("refused/{revision}")), FactKind::RefundRefused, story.now());
        let opened = OpenedItem {
            id: item.clone(),
            kind: REFUND_REFUSED.to_owned(),
            subject: start.refund_id.to_string(),
            detail: format!("the gateway refused to return {} ({code}); the customer is owed it", start.amount),
        };
        story.ctx.state_mut(|s| s.asked.open(&item, REFUND_REFUSED));
        let change = ItemChange { opened: vec![opened], ..ItemChange::default() };
        story.append(vec![fact.because(code).moving(start.amount)], change).await;
        let again = after(story.now(), story.terms.deadlines.capture_retry);
        story.ctx.set_current_details("waits on: a person, or the next try after a refusal".to_owned());
        story.until_or_at(again, "next try to return the money", |s| s.asked.is_decided(&item)).await;
        let Some(command) = story.ctx.state_mut(|s| s.asked.take(&item)) else {
            story.append(Vec::new(), ItemChange { settled: vec![item], ..ItemChange::default() }).await;
            return false;
        };
        let outside = command.action == Resolution::UseExternalReference;
        if outside {
            Self::close(story, start, &command).await;
        } else {
            story.append(Vec::new(), ItemChange { resolved: vec![resolved(&command)], ..ItemChange::default() }).await;
        }
        outside
    }

    /// Notes where a person has returned what was open.
    async fn close(story: &Story<Self>, start: &RefundStart, command: &Resolve) {
        if let Some(reference) = command.reference.clone() {
            let close = CloseRefund { refund_id: start.refund_id.clone(), reference };
            story.must(Queue::Orders, "note where the money was returned", || Refunds::close_refund, close).await;
        }
        story.append(Vec::new(), ItemChange { resolved: vec![resolved(command)], ..ItemChange::default() }).await;
    }

    #[update_validator(resolve_item)]
    fn may_resolve(&self, _ctx: &WorkflowContextView, input: &Resolve) -> Result<(), Refused> {
        Ok(self.asked.check(input)?)
    }

    /// Settle what the gateway refuses.
    #[update(name = "resolve")]
    pub fn resolve_item(&mut self, _ctx: &mut SyncWorkflowContext<Self>, input: Resolve) -> Result<Accepted, Refused> {
        self.asked.decide(input)?;
        Ok(Accepted { rev: u64::from(self.revision) })
    }
}

impl Asks for Refund {
    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn asked_mut(&mut self) -> &mut Asked {
        &mut self.asked
    }
}

fn key(start: &RefundStart, what: &str) -> String {
    format!("refund/{}/{what}", start.refund_id)
}
