//! Workflow `Order`: one order from intake to its terminal status.
//!
//! [`Order::run`] lives the order's life beside its companions: the clerk who writes records, the keeper who ends holds at their
//! time, the watch that calls a person when nothing moves, the porter who turns a native cancel into the `cancel` command, the
//! treasurer who renews the hold on the customer's funds, the editor who carries changes out and the cashier who passes refunds on.
#![allow(missing_docs, reason = "the macros generate constants that take no comment")]

mod book;
mod clerk;
mod commands;
mod confirm;
mod desk;
mod edit;
mod fund;
mod pay;
mod refund;
mod reserve;
mod review;
mod ship;
mod shortage;
mod undo;
mod watch;

use futures::FutureExt;
use oms_contract::command::*;
use oms_contract::refund::{AskRefund, RequestRefund};
use oms_contract::start::{OrderLine, OrderStart};
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::life::Life;
use oms_domain::money::Money;
use oms_domain::order::{Reason, Status};
use oms_domain::review::{DEFECT, Resolution, ReviewDecision};
use oms_domain::shortage::Decision;
use oms_domain::stock::Allocation;
use std::collections::{BTreeMap, BTreeSet};
use temporalio_common::data_converters::RawValue;
use temporalio_workflow::workflows::select;
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, workflow, workflow_methods,
};

use crate::saga::Step;
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

/// A resolution of a person that the step concerned has not picked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    code: String,
    shipment: Option<ShipmentId>,
    action: Resolution,
    reference: Option<String>,
}

/// An order's life.
#[workflow]
pub struct Order {
    start: OrderStart,
    life: Life,
    journal: Journal,
    undo: Vec<Pending>,
    waits: BTreeMap<String, Wait>,
    /// When the order last moved, and until when it stands still for a known reason.
    moved_at: Instant,
    still_until: Option<Instant>,
    /// When the watch last looked.
    looked_at: Instant,
    /// The latest deadline whose timer has fired: it is not earlier than that, whatever the engine says.
    passed: Instant,
    /// When something was last heard of a parcel that has left, and whether each is watched on its own; not asked before it matters.
    heard_at: BTreeMap<ShipmentId, Instant>,
    per_parcel: Option<bool>,
    confirmed_at: Option<Instant>,
    confirming: bool,
    /// What is ordered and what it costs now: an edit or a shortage changes them.
    lines: Vec<OrderLine>,
    total: Money,
    /// What is promised, by place, and under which revision and change.
    allocations: Vec<Allocation>,
    reservation: u32,
    changes: u32,
    /// The live authorization: its revision, the gateway's id, and when it was granted.
    authorization: u32,
    authorizations: u32,
    payment_id: Option<String>,
    authorized_at: Instant,
    /// Shipments whose money was taken.
    taken: Vec<ShipmentId>,
    /// Captures on their way; a hold on funds changes only between them.
    capturing: u32,
    funding: bool,
    /// Bookings on their way; an edit begins only once they are called back or made.
    booking: u32,
    /// Steps on their way whose refusal a person may settle: not while they may still succeed.
    in_flight: Vec<(Step, ShipmentId)>,
    /// Shipments that a person has closed: nothing more is expected of them.
    closed: Vec<ShipmentId>,
    followed: Vec<ShipmentId>,
    /// Shipments and edits that a reset run has from its row.
    adopted: Vec<ShipmentId>,
    edits_made: Vec<String>,
    /// Shipments that an edit has taken off.
    replaced: Vec<ShipmentId>,
    shipments_made: u32,
    edit: Option<Edit>,
    refunds: Vec<AskRefund>,
    refunds_asked: u32,
    verdict: Option<ReviewDecision>,
    decision: Option<Decision>,
    questions: u32,
    resolved: Vec<Resolved>,
    /// Signals heard, by kind.
    payment_news: u32,
    arrivals: u32,
    nudges: u32,
    addresses: u32,
    ignored_signals: u32,
    holds_placed: u32,
    flags: u32,
    /// Holds that ended and flags that were lowered, by id: what a row says of them is older.
    over: BTreeSet<String>,
}

#[workflow_methods]
impl Order {
    #[init]
    fn new(ctx: &WorkflowContextView, start: OrderStart) -> Self {
        let began = ctx.start_time().map_or(start.placed_at, oms_domain::instant);
        let placed = Fact::new("placed", FactKind::OrderPlaced, start.placed_at).by("api").moving(start.total);
        let (life, journal, undo) = match &start.unwind {
            None => (Life::placed(start.currency), Journal::opening(placed), Vec::new()),
            Some(unwind) => (unwind.life.clone(), Journal::resuming(unwind.rev), undo::owed(unwind)),
        };
        Self {
            life,
            journal,
            undo,
            waits: BTreeMap::new(),
            moved_at: began,
            still_until: None,
            looked_at: began,
            passed: began,
            heard_at: BTreeMap::new(),
            per_parcel: None,
            confirmed_at: None,
            confirming: false,
            lines: start.lines.clone(),
            total: start.total,
            allocations: Vec::new(),
            reservation: 0,
            changes: 0,
            authorization: 0,
            authorizations: 0,
            payment_id: None,
            authorized_at: began,
            taken: Vec::new(),
            capturing: 0,
            funding: false,
            booking: 0,
            in_flight: Vec::new(),
            closed: Vec::new(),
            followed: Vec::new(),
            adopted: Vec::new(),
            edits_made: Vec::new(),
            replaced: Vec::new(),
            shipments_made: 0,
            edit: None,
            refunds: Vec::new(),
            refunds_asked: 0,
            verdict: None,
            decision: None,
            questions: 0,
            resolved: Vec::new(),
            payment_news: 0,
            arrivals: 0,
            nudges: 0,
            addresses: 0,
            ignored_signals: 0,
            holds_placed: 0,
            flags: 0,
            over: BTreeSet::new(),
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
        let mut treasurer = fund::keep_funded(desk.clone()).boxed_local().fuse();
        let mut editor = edit::carry_out(desk.clone()).boxed_local().fuse();
        let mut cashier = refund::pass_on(desk.clone()).boxed_local().fuse();
        let mut clerk = clerk::keep_records(desk.clone()).boxed_local().fuse();
        select! {
            () = life => {}
            () = porter => {}
            () = keeper => {}
            () = watch => {}
            () = treasurer => {}
            () = editor => {}
            () = cashier => {}
            () = clerk => {}
        }
        Ok(ctx.state(Self::answer))
    }

    async fn live(desk: Desk) {
        let ended = match Self::go_forward(&desk).await {
            Ok(status) => status,
            Err(stop) => undo::unwind(&desk, stop).await,
        };
        // what was accepted is handed on before the run closes
        desk.until(|s| s.refunds.is_empty()).await;
        if !desk.end(ended) {
            // a defect of ours: the run stays open, and only a person's cancel goes on from here
            let detail = format!("the order cannot become {ended} from where it stands");
            desk.raise(DEFECT, None, &detail, desk.now());
            desk.until(|s| s.life.status == Status::Cancelling).await;
            let ended = undo::unwind(&desk, Stop::Cancelled).await;
            desk.end(ended);
        }
        let handed_on = |s: &Order| s.journal.is_written() && s.refunds.is_empty();
        desk.until(handed_on).await;
        // a parcel may be reported gone while the last record is on its way
        while undo::follow_departures(&desk).await {
            desk.until(handed_on).await;
        }
    }

    async fn go_forward(desk: &Desk) -> Result<Status, Stop> {
        undo::resume(desk)?;
        review::pass(desk).await?;
        confirm::arrange(desk).await?;
        ship::all(desk).await?;
        pay::release_rest(desk).await;
        Ok(desk.read(|s| s.life.end_of_shipping()))
    }

    fn answer(&self) -> StatusAnswer {
        let waits: Vec<Wait> = self.waits.values().cloned().collect();
        let waiting_on = match self.life.status {
            status if status.is_terminal() => "nothing: the order has ended".to_owned(),
            _ => waits.iter().map(|wait| wait.on.clone()).collect::<Vec<_>>().join("; "),
        };
        let mut life = self.life.clone();
        life.due_at = watch::due(self);
        StatusAnswer { status: life.status, life, rev: self.journal.rev(), waiting_on, waits }
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

    #[update_validator(decide_review)]
    fn may_review(&self, _ctx: &WorkflowContextView, _input: &Review) -> Result<(), Refused> {
        Ok(self.life.check_review()?)
    }

    /// Decide the manual review.
    #[update(name = "review")]
    pub fn decide_review(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: Review) -> Result<Accepted, Refused> {
        Ok(self.apply_review(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Decide the manual review, without an answer.
    #[signal(name = "review")]
    pub fn review_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "review", input, |order, command: Review| order.apply_review(&command, "temporal", now).map(|_| ()));
    }

    #[update_validator(change_address)]
    fn may_change_address(&self, _ctx: &WorkflowContextView, _input: &ChangeAddress) -> Result<(), Refused> {
        Ok(self.life.check_address()?)
    }

    /// Send the parcel elsewhere.
    #[update(name = "change_address")]
    pub fn change_address(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: ChangeAddress) -> Result<Accepted, Refused> {
        Ok(self.apply_address(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Send the parcel elsewhere, without an answer.
    #[signal(name = "change_address")]
    pub fn change_address_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "change_address", input, |order, command: ChangeAddress| {
            order.apply_address(&command, "temporal", now).map(|_| ())
        });
    }

    #[update_validator(edit_lines)]
    fn may_edit(&self, _ctx: &WorkflowContextView, input: &Edit) -> Result<(), Refused> {
        Ok(self.check_edit(input)?)
    }

    /// Change lines and quantities.
    #[update(name = "edit")]
    pub fn edit_lines(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: Edit) -> Result<Accepted, Refused> {
        Ok(self.apply_edit(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Change lines and quantities, without an answer.
    #[signal(name = "edit")]
    pub fn edit_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "edit", input, |order, command: Edit| order.apply_edit(&command, "temporal", now).map(|_| ()));
    }

    #[update_validator(decide_wait)]
    fn may_decide(&self, _ctx: &WorkflowContextView, input: &Decide) -> Result<(), Refused> {
        Ok(self.life.check_decision(input.round)?)
    }

    /// Decide about a long wait for stock.
    #[update(name = "decide")]
    pub fn decide_wait(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: Decide) -> Result<Accepted, Refused> {
        Ok(self.apply_decision(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Decide about a long wait for stock, without an answer.
    #[signal(name = "decide")]
    pub fn decide_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "decide", input, |order, command: Decide| order.apply_decision(&command, "temporal", now).map(|_| ()));
    }

    #[update_validator(resolve_item)]
    fn may_resolve(&self, _ctx: &WorkflowContextView, input: &Resolve) -> Result<(), Refused> {
        Ok(self.life.check_resolve(&self.start.order_id, &input.item, input.action).map(|_| ())?)
    }

    /// Settle what policy could not.
    #[update(name = "resolve")]
    pub fn resolve_item(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: Resolve) -> Result<Accepted, Refused> {
        Ok(self.apply_resolve(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Settle what policy could not, without an answer.
    #[signal(name = "resolve")]
    pub fn resolve_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "resolve", input, |order, command: Resolve| order.apply_resolve(&command, "temporal", now).map(|_| ()));
    }

    #[update_validator(request_refund)]
    fn may_refund(&self, _ctx: &WorkflowContextView, input: &RequestRefund) -> Result<(), Refused> {
        Ok(self.check_refund(input)?)
    }

    /// Give money back.
    #[update(name = "refund")]
    pub fn request_refund(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RequestRefund) -> Result<Accepted, Refused> {
        Ok(self.apply_refund(&input, "api", desk::time(ctx.workflow_time(), self.moved_at))?)
    }

    /// Give money back, without an answer.
    #[signal(name = "refund")]
    pub fn refund_signal(&mut self, ctx: &mut SyncWorkflowContext<Self>, input: RawValue) {
        let now = desk::time(ctx.workflow_time(), self.moved_at);
        self.hear(now, "refund", input, |order, command: RequestRefund| {
            order.apply_refund(&command, "temporal", now).map(|_| ())
        });
    }

    /// Goods arrived; which, the next look at the promise tells.
    #[signal(name = "stock_arrived")]
    pub fn stock_arrived(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _input: RawValue) {
        self.arrivals = self.arrivals.saturating_add(1);
    }

    /// Try again now whatever pauses.
    #[signal(name = "nudge")]
    pub fn nudge(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _input: RawValue) {
        self.nudges = self.nudges.saturating_add(1);
    }

    /// The gateway has news about the payment; which, the next look at the gateway tells.
    #[signal(name = "payment_news")]
    pub fn payment_news(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _input: RawValue) {
        self.payment_news = self.payment_news.saturating_add(1);
    }
}
