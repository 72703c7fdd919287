//! Where the order's parts meet the platform: every wait, timer and activity of an order goes through here, on tokens of its own,
//! because the run's root token belongs to whoever presses "cancel" in the Temporal UI and must refuse nothing.

use oms_contract::command::Wait;
use oms_contract::names::Queue;
use oms_contract::start::{OrderStart, Patience};
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::message::Topic;
use oms_domain::order::Status;
use oms_domain::review::{Attention, DEFECT, STUCK};
use temporalio_common::ActivityDefinition;
use temporalio_workflow::workflows::select;
use temporalio_workflow::{
    ActivityExecutionError, CancellableFuture, TimerOptions, TimerResult, WaitConditionOptions, WorkflowCancellationToken,
    WorkflowContext,
};

use super::{Order, Resolved, Stop};
pub(super) use crate::beside::{after, time};
use crate::policy;
use crate::saga::{Step, Undo};

/// How a forward step ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupted {
    /// The order is being cancelled.
    Stopped,
    /// The parcel left meanwhile, so the step has lost its purpose.
    Overtaken,
    /// The shipment was replaced by others.
    Replaced,
    /// The parcel goes elsewhere now: what was attempted is to be taken back.
    Redirected,
    /// A person has settled the step's refusal.
    Settled,
}

/// An order's access to the platform. Cheap to clone.
#[derive(Clone)]
pub(super) struct Desk {
    ctx: WorkflowContext<Order>,
}

impl Desk {
    pub(super) fn new(ctx: WorkflowContext<Order>) -> Self {
        Self { ctx }
    }

    pub(super) fn ctx(&self) -> &WorkflowContext<Order> {
        &self.ctx
    }

    /// The workflow's time. Never before a deadline whose timer has fired: a task that is delivered late was seen to carry the time of
    /// the one before, and what is decided by that time would be decided otherwise in a replay.
    pub(super) fn now(&self) -> Instant {
        self.read(|s| time(self.ctx.workflow_time(), s.moved_at).max(s.passed))
    }

    /// The timer for `deadline` has fired.
    pub(super) fn passed(&self, deadline: Instant) {
        self.write(|s| s.passed = s.passed.max(deadline));
    }

    /// By which time is decided what the timer for `deadline` was for: by the deadline, because the task's time may be another in a replay.
    /// Whatever is due a moment later has a timer of its own. Runs that began before this was known decide by the task's time.
    pub(super) fn time_of(&self, deadline: Instant) -> Instant {
        if self.read(|s| s.start.shape >= 4) { deadline } else { self.now() }
    }

    pub(super) fn read<R>(&self, f: impl FnOnce(&Order) -> R) -> R {
        self.ctx.state(f)
    }

    pub(super) fn write<R>(&self, f: impl FnOnce(&mut Order) -> R) -> R {
        self.ctx.state_mut(f)
    }

    pub(super) fn start(&self) -> OrderStart {
        self.read(|s| s.start.clone())
    }

    fn patience(&self) -> Patience {
        self.read(|s| s.start.patience)
    }

    /// Waits for a condition, whatever happens to the run's own token.
    pub(super) async fn until(&self, condition: impl FnMut(&Order) -> bool) {
        let options = WaitConditionOptions::builder().cancellation_token(WorkflowCancellationToken::new()).build();
        // its token is never cancelled, so there is no other answer than "now"
        let _ = self.ctx.wait_condition_with_options(condition, options).await;
    }

    /// Waits for a condition at most until `deadline`; answers whether the condition came first.
    pub(super) async fn until_or_at(&self, deadline: Instant, summary: &str, condition: impl FnMut(&Order) -> bool) -> bool {
        let options = WaitConditionOptions::builder().cancellation_token(WorkflowCancellationToken::new()).build();
        let mut met = Box::pin(self.ctx.wait_condition_with_options(condition, options));
        let mut condition = met.as_mut();
        // no timer for what is true already
        if let Some(outcome) = futures::FutureExt::now_or_never(&mut condition) {
            return outcome.is_ok();
        }
        let mut timer = self.timer(deadline, summary);
        let met_first = select! {
            _ = condition => true,
            _ = timer => false,
        };
        if met_first {
            timer.cancel();
        } else {
            self.passed(deadline);
        }
        met_first
    }

    /// A timer that fires at `deadline`.
    pub(super) fn timer(&self, deadline: Instant, summary: &str) -> impl CancellableFuture<Output = TimerResult> + Unpin {
        let span = (deadline - self.now()).to_std().unwrap_or_default();
        let mut options = TimerOptions::builder(span).summary(summary.to_owned()).build();
        options.cancellation_token = Some(WorkflowCancellationToken::new());
        self.ctx.timer(options)
    }

    /// Says what part of the order waits for what; shown by `why`, the query and the Temporal UI.
    pub(super) fn waiting(&self, part: &str, on: &str) {
        self.waiting_until(part, on, None);
    }

    /// The same for a wait that ends by itself.
    pub(super) fn waiting_until(&self, part: &str, on: &str, until: Option<Instant>) {
        let since = self.now();
        self.write(|s| {
            if on.is_empty() {
                s.waits.remove(part);
            } else {
                let wait = Wait { part: part.to_owned(), on: on.to_owned(), since, until };
                s.waits.insert(part.to_owned(), wait);
            }
        });
        let answer = self.read(Order::answer);
        let held = if answer.life.holds.is_empty() { "" } else { " (on hold)" };
        self.ctx.set_current_details(format!("**{}**{held}: waits on {}", answer.status, answer.waiting_on));
    }

    /// Runs a step of the way forward. A cancel, or whatever the step waits for (an open hold, missing funds, an edit), calls it
    /// back even while it only backs off, and waits for the acknowledgement, so that nothing fires late. Afterwards it starts again
    /// under the same key.
    pub(super) async fn step<D: ActivityDefinition>(
        &self,
        step: Step,
        definition: impl Fn() -> D,
        input: D::Input,
        shipment: Option<&ShipmentId>,
    ) -> Result<D::Output, Interrupted>
    where
        D::Input: Clone,
    {
        let part = shipment.map_or_else(|| step.summary().to_owned(), |id| format!("{} ({id})", step.summary()));
        let addresses = self.read(|s| s.addresses);
        let interrupts = |s: &Order| s.interrupts(step, shipment, addresses);
        let outcome = loop {
            if let Some(why) = self.read(|s| s.blocks(step)).filter(|_| self.read(interrupts).is_none()) {
                self.waiting(&part, &format!("{why}, before it can {}", step.summary()));
                self.until(|s| s.blocks(step).is_none() || interrupts(s).is_some()).await;
            }
            if let Some(interrupted) = self.read(interrupts) {
                break Err(interrupted);
            }
            self.waiting(&part, step.summary());
            let token = WorkflowCancellationToken::new();
            let options = policy::activity(step.queue(), &self.patience(), part.clone(), token.clone());
            let mut running = self.ctx.execute_activity(definition(), input.clone(), options);
            let mut called_back =
                Box::pin(futures::FutureExt::fuse(self.until(|s| s.blocks(step).is_some() || interrupts(s).is_some())));
            let (takes, books) = (u32::from(step == Step::Capture), u32::from(step == Step::Book));
            self.write(|s| {
                s.capturing += takes;
                s.booking += books;
                s.in_flight.extend(shipment.map(|id| (step, id.clone())));
            });
            let ended = select! {
                ended = running => ended,
                () = called_back => {
                    token.cancel_with_reason("the order was stopped");
                    running.await
                }
            };
            self.write(|s| {
                s.capturing -= takes;
                s.booking -= books;
                s.in_flight.retain(|(on, id)| *on != step || Some(id) != shipment);
            });
            match ended {
                Ok(output) => break Ok(output),
                // called back: the next turn of the loop says why
                Err(ActivityExecutionError::Cancelled(_)) => {}
                Err(_) if token.is_cancelled() => {}
                Err(error) => self.defect(&part, &error).await,
            }
        };
        self.waiting(&part, "");
        self.moved();
        outcome
    }

    /// The order got further.
    pub(super) fn moved(&self) {
        self.write(|s| s.moved_at = time(self.ctx.workflow_time(), s.moved_at));
    }

    /// Runs an undo to its end, whatever it takes.
    pub(super) async fn undo<D: ActivityDefinition>(&self, undo: Undo, definition: impl Fn() -> D, input: D::Input) -> D::Output
    where
        D::Input: Clone,
    {
        self.must(undo.queue(), undo.summary(), definition, input).await
    }

    /// Runs an activity to its end, whatever it takes.
    pub(super) async fn must<D: ActivityDefinition>(
        &self,
        queue: Queue,
        summary: &str,
        definition: impl Fn() -> D,
        input: D::Input,
    ) -> D::Output
    where
        D::Input: Clone,
    {
        self.waiting(summary, summary);
        loop {
            let options = policy::activity(queue, &self.patience(), summary.to_owned(), WorkflowCancellationToken::new());
            match self.ctx.execute_activity(definition(), input.clone(), options).await {
                Ok(output) => {
                    self.waiting(summary, "");
                    self.moved();
                    return output;
                }
                Err(error) => self.defect(summary, &error).await,
            }
        }
    }

    /// An activity ended in a way that repeating at once would not mend: calls a person and pauses.
    async fn defect(&self, part: &str, _error: &ActivityExecutionError) {
        let now = self.now();
        self.raise(DEFECT, None, &format!("a step ended in a defect and is asked again later: {part}"), now);
        let again = after(now, self.read(|s| s.start.deadlines.defect_retry));
        let nudges = self.read(|s| s.nudges);
        self.until_or_at(again, "pause after a defect", |s| s.nudges > nudges).await;
    }

    /// Picks up what a person decided about a flag, if anybody did.
    pub(super) fn take_resolution(&self, code: &str, shipment: Option<&ShipmentId>) -> Option<Resolved> {
        self.write(|s| {
            let at = s.resolved.iter().position(|r| r.code == code && r.shipment.as_ref() == shipment)?;
            Some(s.resolved.remove(at))
        })
    }

    /// Notes a fact that goes out with the next record.
    pub(super) fn note(&self, fact: Fact) {
        self.write(|s| s.journal.note(fact));
    }

    /// Notes a fact and has a record written.
    pub(super) fn publish(&self, fact: Fact) {
        self.write(|s| s.journal.publish(fact));
    }

    /// Calls a person.
    pub(super) fn raise(&self, code: &str, shipment: Option<&ShipmentId>, detail: &str, now: Instant) {
        self.write(|s| s.raise(code, shipment, detail, now));
    }

    /// Lowers a flag.
    pub(super) fn clear(&self, code: &str, shipment: Option<&ShipmentId>) {
        let now = self.now();
        self.write(|s| s.lower(code, shipment, now));
    }

    /// Gives the order its terminal status; `false` if it cannot have it from where it stands.
    pub(super) fn end(&self, status: Status) -> bool {
        let now = self.now();
        self.write(|s| {
            if s.life.become_(status).is_err() {
                return false;
            }
            if s.start.shape >= 3 {
                // what has ended does not stand still
                s.lower(STUCK, None, now);
            }
            s.undo.clear();
            s.waits.clear();
            let refused = s.life.refusing.take();
            s.life.holds.clear();
            s.life.waiting.clear();
            s.life.question = None;
            s.life.reason = if status == Status::Rejected { refused } else { None };
            let fact = match status {
                Status::Completed => Fact::new("completed", FactKind::OrderCompleted, now),
                Status::PartiallyFulfilled => Fact::new("partially_fulfilled", FactKind::OrderPartiallyFulfilled, now),
                Status::Returned => Fact::new("returned", FactKind::OrderReturned, now),
                Status::Rejected => Fact::new("rejected", FactKind::OrderRejected, now)
                    .because(refused.map_or("unknown", |r| r.as_str()))
                    .told_as(Topic::Rejected),
                _ => Fact::new("cancelled", FactKind::OrderCancelled, now).told_as(Topic::Cancelled),
            };
            s.journal.publish(fact);
            true
        })
    }
}

impl Order {
    /// Whether the shipment has left the house.
    pub(super) fn has_departed(&self, id: &ShipmentId) -> bool {
        self.life.shipments.iter().any(|s| s.id == *id && s.status.departed())
    }

    /// Whether the shipment was taken off by an edit.
    pub(super) fn is_replaced(&self, id: &ShipmentId) -> bool {
        self.replaced.contains(id)
    }

    /// Whether a cancel or a refusal is being carried out.
    pub(super) fn is_stopping(&self) -> bool {
        self.life.status == Status::Cancelling || self.life.refusing.is_some() || self.life.status.is_terminal()
    }

    /// What keeps a step from starting now, in words.
    fn blocks(&self, step: Step) -> Option<&'static str> {
        if !step.waits_for_holds() {
            None
        } else if !self.life.holds.is_empty() {
            Some("the release of a hold")
        } else if self.funding || !self.is_covered() {
            Some("the customer's funds, which are being held anew")
        } else if step == Step::Book && self.life.editing {
            Some("the end of a change")
        } else if step == Step::Book && self.journal.is_redirecting() {
            Some("the record of the new address")
        } else {
            None
        }
    }

    /// What makes a step pointless.
    fn interrupts(&self, step: Step, shipment: Option<&ShipmentId>, addresses: u32) -> Option<Interrupted> {
        let booking = shipment.filter(|_| step == Step::Book);
        let over = self.life.status == Status::Cancelling || self.life.status.is_terminal();
        if over && step.undo().is_some() {
            Some(Interrupted::Stopped)
        } else if booking.is_some_and(|id| self.is_replaced(id)) {
            Some(Interrupted::Replaced)
        } else if booking.is_some_and(|id| self.has_departed(id)) {
            Some(Interrupted::Overtaken)
        } else if booking.is_some() && self.addresses != addresses {
            Some(Interrupted::Redirected)
        } else if step.refusal().is_some_and(|code| self.has_resolution(code, shipment)) {
            Some(Interrupted::Settled)
        } else {
            None
        }
    }

    /// Whether a person has decided about a flag and the step concerned has not picked it up.
    pub(super) fn has_resolution(&self, code: &str, shipment: Option<&ShipmentId>) -> bool {
        self.resolved.iter().any(|r| r.code == code && r.shipment.as_ref() == shipment)
    }

    /// Whether the step that this flag is about is just being asked again.
    pub(super) fn is_in_flight(&self, code: &str, shipment: Option<&ShipmentId>) -> bool {
        self.in_flight.iter().any(|(step, id)| step.refusal() == Some(code) && Some(id) == shipment)
    }

    /// Calls a person, once per reason.
    pub(super) fn raise(&mut self, code: &str, shipment: Option<&ShipmentId>, detail: &str, now: Instant) {
        let mut flag = Attention::new(code, shipment, detail, now);
        if self.start.shape >= 4 {
            // no time: a task's may be another in the replay
            flag.episode = Some(format!("{}/{}", self.journal.next_rev(), self.flags + 1));
        }
        if self.life.raise(flag) {
            self.flags += 1;
            let key = format!("attention/{code}/raised/{}", self.flags);
            let mut fact = Fact::new(key, FactKind::AttentionRaised, now).because(format!("{code}: {detail}"));
            fact.shipment = shipment.cloned();
            self.journal.publish(fact);
        }
    }
}

impl Order {
    /// Lowers a flag without a word; answers whether it was up.
    pub(super) fn strike(&mut self, code: &str, shipment: Option<&ShipmentId>) -> bool {
        let flag = self.life.attention.iter().find(|a| a.code == code && a.shipment.as_ref() == shipment);
        self.over.extend(flag.map(|flag| flag.item(&self.start.order_id)));
        self.life.clear(code, shipment)
    }

    /// Lowers a flag, if it is up.
    pub(super) fn lower(&mut self, code: &str, shipment: Option<&ShipmentId>, now: Instant) {
        if self.strike(code, shipment) {
            self.flags += 1;
            let key = format!("attention/{code}/cleared/{}", self.flags);
            self.journal.publish(Fact::new(key, FactKind::AttentionCleared, now).because(code));
        }
    }
}

impl From<Interrupted> for Stop {
    fn from(_: Interrupted) -> Self {
        Self::Cancelled
    }
}
