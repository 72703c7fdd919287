//! Stories beside an order's run: what refunds and returns share of waiting and of getting things done. Every wait and activity is on a
//! token of its own, because a native cancel must neither lose money nor goods.

use chrono::TimeDelta;
use oms_contract::activity::{Append, OpenedItem, ResolvedItem};
use oms_contract::command::Resolve;
use oms_contract::definitions::Orders;
use oms_contract::names::Queue;
use oms_contract::refund::Terms;
use oms_domain::Instant;
use oms_domain::event::Fact;
use oms_domain::ids::OrderId;
use oms_domain::life::{Refusal, RefusalCode};
use oms_domain::review::{Resolution, resolutions};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use temporalio_common::ActivityDefinition;
use temporalio_workflow::workflows::select;
use temporalio_workflow::{CancellableFuture, TimerOptions, WaitConditionOptions, WorkflowCancellationToken, WorkflowContext};

use crate::policy;

/// The workflow's time; `fallback` only before the first task, when there is none.
pub(crate) fn time(workflow_time: Option<SystemTime>, fallback: Instant) -> Instant {
    workflow_time.map_or(fallback, oms_domain::instant)
}

/// `at` plus a span, saturating.
pub(crate) fn after(at: Instant, span: Duration) -> Instant {
    TimeDelta::from_std(span).ok().and_then(|span| at.checked_add_signed(span)).unwrap_or(Instant::MAX_UTC)
}

/// A story's access to the platform.
pub(crate) struct Story<W> {
    pub(crate) ctx: WorkflowContext<W>,
    pub(crate) order_id: OrderId,
    pub(crate) terms: Terms,
    /// The latest deadline whose timer has fired, before the first the story's beginning: a task that is delivered late was seen to carry
    /// the time of the one before.
    pub(crate) passed: Rc<Cell<Instant>>,
    /// Whether a person is called about a step without an answer; not in runs that began before that was so.
    pub(crate) calls: bool,
}

impl<W> Clone for Story<W> {
    fn clone(&self) -> Self {
        Self {
            ctx: self.ctx.clone(),
            order_id: self.order_id.clone(),
            terms: self.terms,
            passed: self.passed.clone(),
            calls: self.calls,
        }
    }
}

impl<W: 'static> Story<W> {
    pub(crate) fn now(&self) -> Instant {
        time(self.ctx.workflow_time(), self.passed.get()).max(self.passed.get())
    }

    /// Waits for a condition, whatever happens to the run's own token.
    pub(crate) async fn until(&self, condition: impl FnMut(&W) -> bool) {
        let options = WaitConditionOptions::builder().cancellation_token(WorkflowCancellationToken::new()).build();
        // its token is never cancelled, so there is no other answer than "now"
        let _ = self.ctx.wait_condition_with_options(condition, options).await;
    }

    /// Waits for a condition at most until `deadline`; answers whether the condition came first.
    pub(crate) async fn until_or_at(&self, deadline: Instant, summary: &str, condition: impl FnMut(&W) -> bool) -> bool {
        let mut met = Box::pin(futures::FutureExt::fuse(self.until(condition)));
        let mut condition = met.as_mut();
        // no timer for what is true already
        if futures::FutureExt::now_or_never(&mut condition).is_some() {
            return true;
        }
        let span = (deadline - self.now()).to_std().unwrap_or_default();
        let mut options = TimerOptions::builder(span).summary(summary.to_owned()).build();
        options.cancellation_token = Some(WorkflowCancellationToken::new());
        let mut timer = self.ctx.timer(options);
        let met_first = select! {
            _ = condition => true,
            _ = timer => false,
        };
        if met_first {
            timer.cancel();
        } else {
            self.passed.set(self.passed.get().max(deadline));
        }
        met_first
    }

    /// Runs an activity to its end, whatever it takes.
    pub(crate) async fn must<D: ActivityDefinition>(
        &self,
        queue: Queue,
        summary: &str,
        definition: impl Fn() -> D,
        input: D::Input,
    ) -> D::Output
    where
        D::Input: Clone,
    {
        self.ctx.set_current_details(format!("waits on: {summary}"));
        loop {
            let token = WorkflowCancellationToken::new();
            let options = policy::activity(queue, &self.terms.patience, summary.to_owned(), token);
            match self.ctx.execute_activity(definition(), input.clone(), options).await {
                Ok(output) => return output,
                Err(_) => self.pause().await,
            }
        }
    }

    /// An activity ended in a way that repeating at once would not mend.
    pub(crate) async fn pause(&self) {
        let again = after(self.now(), self.terms.deadlines.defect_retry);
        self.until_or_at(again, "pause after a defect", |_| false).await;
    }

    /// Adds facts to the order's timeline, and changes the review queue.
    pub(crate) async fn append(&self, facts: Vec<Fact>, queue: ItemChange) {
        let append = Append {
            order_id: self.order_id.clone(),
            facts,
            attention: None,
            shipment: None,
            scan: None,
            opened: queue.opened,
            settled: queue.settled,
            resolved: queue.resolved,
        };
        self.must(Queue::Orders, "add to the order's story", || Orders::append, append).await;
    }
}

/// What changes of the review queue.
#[derive(Debug, Default)]
pub(crate) struct ItemChange {
    pub(crate) opened: Vec<OpenedItem>,
    pub(crate) settled: Vec<String>,
    pub(crate) resolved: Vec<ResolvedItem>,
}

/// A question to a person: its kind, and what was decided.
#[derive(Debug, Clone)]
struct Question {
    kind: &'static str,
    decided: Option<Resolve>,
}

/// The items of the review queue that a story waits on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    questions: BTreeMap<String, Question>,
}

impl Asked {
    /// From now on this item may be resolved.
    pub(crate) fn open(&mut self, item: &str, kind: &'static str) {
        self.questions.insert(item.to_owned(), Question { kind, decided: None });
    }

    /// Whether a person has decided about an item.
    pub(crate) fn is_decided(&self, item: &str) -> bool {
        self.questions.get(item).is_some_and(|question| question.decided.is_some())
    }

    /// Ends a question: what a person decided, if anybody did.
    pub(crate) fn take(&mut self, item: &str) -> Option<Resolve> {
        self.questions.remove(item)?.decided
    }

    /// Whether a resolution would be heard. Errors: [`Refusal`].
    pub(crate) fn check(&self, command: &Resolve) -> Result<(), Refusal> {
        let Some(question) = self.questions.get(&command.item).filter(|question| question.decided.is_none()) else {
            return Err(Refusal::new(RefusalCode::NotAllowedNow, "the item is settled; nothing is left to resolve"));
        };
        let allowed = resolutions(question.kind);
        if !allowed.contains(&command.action) {
            let names: Vec<&str> = allowed.iter().map(|r| r.as_str()).collect();
            let detail = format!("{} can be resolved by {}", question.kind, names.join(", "));
            return Err(Refusal::new(RefusalCode::ValidationFailed, detail));
        }
        if command.action == Resolution::UseExternalReference && command.reference.as_deref().is_none_or(str::is_empty) {
            return Err(Refusal::new(RefusalCode::ValidationFailed, "name the reference under which it was settled outside"));
        }
        Ok(())
    }

    /// A person decides. Errors: [`Refusal`].
    pub(crate) fn decide(&mut self, command: Resolve) -> Result<(), Refusal> {
        self.check(&command)?;
        if let Some(question) = self.questions.get_mut(&command.item) {
            question.decided = Some(command);
        }
        Ok(())
    }
}

/// A decision as the review queue keeps it.
pub(crate) fn resolved(command: &Resolve) -> ResolvedItem {
    ResolvedItem {
        item: command.item.clone(),
        action: command.action,
        reference: command.reference.clone(),
        reason: command.reason.clone(),
        actor: command.actor.clone().unwrap_or_else(|| "api".to_owned()),
    }
}
