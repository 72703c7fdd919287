//! Workflow `Order`: one order from intake to its terminal status.
//!
//! [`Order::run`] lives the order's life beside four companions: the clerk who writes records, the keeper who ends holds at their
//! time, the watch that calls a person when nothing moves, and the porter who turns a native cancel into the `cancel` command.
#![allow(missing_docs, reason = "the macros generate constants that take no comment")]

mod clerk;
mod commands;
mod confirm;
mod desk;
mod pay;
mod reserve;
mod ship;
mod undo;
mod watch;

use futures::FutureExt;
use oms_contract::command::*;
use oms_contract::start::OrderStart;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::life::{Life, Refusal, RefusalCode};
use oms_domain::order::{Reason, Status};
use std::collections::BTreeMap;
use temporalio_common::data_converters::RawValue;
use temporalio_workflow::workflows::select;
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, workflow, workflow_methods,
};

use clerk::Journal;
use desk::Desk;
use undo::Pending;

type Refused = Box<dyn std::error::Error + Send + Sync>;

/// Why the way forward ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A cancel won.
    Cancelled,
    /// Stock, money or a person said no.
    Refused(Reason),
}

/// An order's life.
#[workflow]
pub struct Order {
    start: OrderStart,
    life: Life,
    journal: Journal,
    undo: Vec<Pending>,
    payment_id: Option<String>,
    payment_news: u32,
    ignored_signals: u32,
    holds_placed: u32,
    flags: u32,
    followed: Vec<ShipmentId>,
    moved_at: Instant,
    waiting_on: BTreeMap<String, String>,
}

#[workflow_methods]
impl Order {
    #[init]
    fn new(ctx: &WorkflowContextView, start: OrderStart) -> Self {
        let began = ctx.start_time().map_or(start.placed_at, oms_domain::instant);
        let placed = Fact::new("placed", FactKind::OrderPlaced, start.placed_at).by("api").moving(start.total);
        Self {
            life: Life::placed(start.currency),
            journal: Journal::opening(placed),
            undo: Vec::new(),
            payment_id: None,
            payment_news: 0,
            ignored_signals: 0,
            holds_placed: 0,
            flags: 0,
            followed: Vec::new(),
            moved_at: began,
            waiting_on: BTreeMap::new(),
            start,
        }
    }

    /// The order's life and its companions; ends when the life has ended and everything is on record.
    #[run(name = "Order")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<StatusAnswer> {
        let desk = Desk::new(ctx.clone());
        // order matters: what the life decides in an activation goes into one record
        let mut life = Self::live(desk.clone()).boxed_local().fuse();
        let mut porter = watch::translate_native_cancel(desk.clone()).boxed_local().fuse();
        let mut keeper = watch::end_holds(desk.clone()).boxed_local().fuse();
        let mut watch = watch::call_a_person(desk.clone()).boxed_local().fuse();
        let mut clerk = clerk::keep_records(desk.clone()).boxed_local().fuse();
        select! {
            () = life => {}
            () = porter => {}
            () = keeper => {}
            () = watch => {}
            () = clerk => {}
        }
        Ok(ctx.state(Self::answer))
    }

    async fn live(desk: Desk) {
        let ended = match Self::go_forward(&desk).await {
            Ok(()) => Status::Completed,
            Err(stop) => undo::unwind(&desk, stop).await,
        };
        desk.end(ended);
        desk.until(|s| s.journal.is_written()).await;
        // a parcel may be reported gone while the last record is on its way
        while undo::follow_departures(&desk).await {
            desk.until(|s| s.journal.is_written()).await;
        }
    }

    async fn go_forward(desk: &Desk) -> Result<(), Stop> {
        confirm::arrange(desk).await?;
        ship::all(desk).await
    }

    fn answer(&self) -> StatusAnswer {
        let waiting_on = match self.life.status {
            status if status.is_terminal() => "nothing: the order has ended".to_owned(),
            _ => self.waiting_on.values().cloned().collect::<Vec<_>>().join("; "),
        };
        StatusAnswer { status: self.life.status, life: self.life.clone(), rev: self.journal.rev(), waiting_on }
    }

    /// Where the order stands.
    #[query]
    pub fn status(&self, _ctx: &WorkflowContextView) -> StatusAnswer {
        self.answer()
    }

    #[update_validator(cancel)]
    fn may_cancel(&self, _ctx: &WorkflowContextView, _input: &Cancel) -> Result<(), Refused> {
        Ok(self.life.check_cancel()?)
    }

    /// Stop the order for good.
    #[update(name = "cancel")]
    pub fn cancel(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: Cancel) -> Result<CancelAnswer, Refused> {
        Ok(self.apply_cancel(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Stop the order for good, without an answer.
    #[signal(name = "cancel")]
    pub fn cancel_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "cancel", input, |order, command: Cancel| order.apply_cancel(&command, "temporal", now).map(|_| ()));
    }

    #[update_validator(place_hold)]
    fn may_hold(&self, _ctx: &WorkflowContextView, _input: &PlaceHold) -> Result<(), Refused> {
        Ok(self.life.check_hold()?)
    }

    /// Stop the order for a while.
    #[update(name = "place_hold")]
    pub fn place_hold(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: PlaceHold) -> Result<HoldAnswer, Refused> {
        Ok(self.apply_hold(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Stop the order for a while, without an answer.
    #[signal(name = "place_hold")]
    pub fn place_hold_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "place_hold", input, |order, command: PlaceHold| order.apply_hold(&command, "temporal", now).map(|_| ()));
    }

    #[update_validator(release_hold)]
    fn may_release(&self, _ctx: &WorkflowContextView, input: &ReleaseHold) -> Result<(), Refused> {
        Ok(self.life.check_release(&input.id)?)
    }

    /// Let the order go on.
    #[update(name = "release_hold")]
    pub fn release_hold(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: ReleaseHold) -> Result<ReleaseAnswer, Refused> {
        Ok(self.apply_release(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Let the order go on, without an answer.
    #[signal(name = "release_hold")]
    pub fn release_hold_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "release_hold", input, |order, command: ReleaseHold| {
            order.apply_release(&command, "temporal", now).map(|_| ())
        });
    }

    #[update_validator(shipment_event)]
    fn may_report(&self, _ctx: &WorkflowContextView, input: &ShipmentEvent) -> Result<(), Refused> {
        Ok(self.life.check_report(&input.scan)?)
    }

    /// Warehouse or carrier report progress.
    #[update(name = "shipment_event")]
    pub fn shipment_event(
        &mut self,
        ctx: &mut SyncWorkflowContext<Self>,
        input: ShipmentEvent,
    ) -> Result<ShipmentAnswer, Refused> {
        Ok(self.apply_report(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Warehouse or carrier report progress, without waiting for an answer.
    #[signal(name = "shipment_event")]
    pub fn shipment_event_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "shipment_event", input, |order, command: ShipmentEvent| {
            order.apply_report(&command, "temporal", now).map(|_| ())
        });
    }

    /// The gateway has news about the payment; which, the next look at the gateway tells.
    #[signal(name = "payment_news")]
    pub fn payment_news(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _input: RawValue) {
        self.payment_news = self.payment_news.saturating_add(1);
    }

    /// Reads a signal's payload and applies it. What cannot be read or is not allowed is noted on the timeline and changes nothing:
    /// a decode error would wedge the run for ever. The note never quotes the payload, which may hold anything.
    fn hear<T: serde::de::DeserializeOwned>(
        &mut self,
        now: Instant,
        name: &str,
        input: RawValue,
        apply: impl FnOnce(&mut Self, T) -> Result<(), Refusal>,
    ) {
        let read = input.payloads.first().and_then(|payload| serde_json::from_slice::<T>(&payload.data).ok());
        let outcome = match read {
            Some(command) => apply(self, command),
            None => Err(Refusal::new(RefusalCode::ValidationFailed, "its payload could not be read")),
        };
        if let Err(refusal) = outcome {
            self.ignored_signals = self.ignored_signals.saturating_add(1);
            let fact = Fact::new(format!("ignored/{}", self.ignored_signals), FactKind::SignalIgnored, now)
                .by("temporal")
                .because(format!("signal {name}: {refusal}"));
            self.journal.publish(fact);
        }
    }
}
