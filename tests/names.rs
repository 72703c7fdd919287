//! Every name that crosses a border (Temporal, HTTP, SQL) in one text, so that a rename never slips through: runs that are open,
//! rows that are stored and dashboards that others built know them. And the hand-written markers of the contract against the
//! macros' own.

use std::fmt::{Debug, Display, Write};
use std::fs;
use std::path::Path;

use oms_contract::activity::effect_key;
use oms_contract::definitions::{Inventory, Notifications, Orders, Payments, Reconciliation, Refunds, Returns, Shipping};
use oms_contract::failure::FailureKind;
use oms_contract::names::{
    Queue, aftermath_workflow, mailout_workflow, order_of_workflow, order_workflow, refund_workflow, return_workflow,
};
use oms_contract::search;
use oms_contract::workflow as mark;
use oms_domain::event::FactKind;
use oms_domain::ids::{HoldId, MessageId, OrderId, ShipmentId};
use oms_domain::life::{CancelVerdict, RefusalCode};
use oms_domain::message::{Channel, Topic};
use oms_domain::order::{Action, Reason, Status};
use oms_domain::payment::{PaymentStatus, ReauthorizationPolicy};
use oms_domain::refund::{RefundId, RefundState};
use oms_domain::returning::ReturnId;
use oms_domain::review::Resolution;
use oms_domain::shipment::{ScanResult, ScanType, ShipmentStatus};
use oms_domain::shortage::{Decision, ShortagePolicy};
use oms_workflows::aftermath::Aftermath;
use oms_workflows::mailout::Mailout;
use oms_workflows::order::Order;
use oms_workflows::reconcile::Reconcile;
use oms_workflows::refund::Refund;
use oms_workflows::returning::Returning;
use oms_workflows::saga::{Step, Undo};
use temporalio_common::data_converters::RawValue;
use temporalio_common::{
    ActivityDefinition, HasWorkflowDefinition, QueryDefinition, SignalDefinition, UpdateDefinition, WorkflowDefinition,
};

use crate::architecture::root;

const SNAPSHOT: &str = "tests/names.txt";

fn section(text: &mut String, title: &str, names: impl IntoIterator<Item = impl Display>) {
    for name in names {
        writeln!(text, "{title}: {name}").unwrap();
    }
}

fn activities() -> Vec<String> {
    fn name(definition: impl ActivityDefinition) -> String {
        definition.name().to_owned()
    }
    vec![
        name(Orders::record),
        name(Orders::append),
        name(Orders::assess),
        name(Inventory::reserve),
        name(Inventory::change),
        name(Inventory::release),
        name(Inventory::commit),
        name(Inventory::depart),
        name(Payments::authorize),
        name(Payments::capture),
        name(Payments::void),
        name(Shipping::book),
        name(Shipping::cancel),
        name(Notifications::send),
        name(Refunds::request_refund),
        name(Refunds::pay_back),
        name(Refunds::close_refund),
        name(Returns::record_return),
        name(Returns::book_return),
        name(Returns::cancel_return_booking),
        name(Returns::restock),
        name(Reconciliation::begin),
        name(Reconciliation::compare),
        name(Reconciliation::settle),
        name(Reconciliation::finish),
    ]
}

fn wire_names() -> String {
    let order = OrderId::from_key("default", "public", "a-key");
    let mut text = String::new();
    section(&mut text, "task queue", Queue::ALL.map(Queue::name));
    section(
        &mut text,
        "workflow type",
        [
            mark::Order.name(),
            mark::Mailout.name(),
            mark::Aftermath.name(),
            mark::Refund.name(),
            mark::Return.name(),
            mark::Reconcile.name(),
        ],
    );
    let aftermath = |number| aftermath_workflow(&ShipmentId::of(&order, number), "event");
    section(
        &mut text,
        "workflow id",
        [
            order_workflow(&order),
            mailout_workflow("batch"),
            aftermath(1),
            aftermath(2),
            refund_workflow(&RefundId::from_key(order.as_str(), "a-key")),
            return_workflow(&ReturnId::from_key(&order, "a-key")),
        ],
    );
    section(
        &mut text,
        "id",
        [
            order.to_string(),
            ShipmentId::of(&order, 1).to_string(),
            HoldId::from_key(&order, "a-key").to_string(),
            MessageId::of(&order, "confirmed", "mail").to_string(),
            effect_key(order.as_str(), "authorize", 1),
        ],
    );
    section(&mut text, "activity", activities());
    section(
        &mut text,
        "update",
        [
            mark::CancelUpdate.name(),
            mark::PlaceHoldUpdate.name(),
            mark::ReleaseHoldUpdate.name(),
            mark::ShipmentEventUpdate.name(),
            mark::ReviewUpdate.name(),
            mark::ChangeAddressUpdate.name(),
            mark::EditUpdate.name(),
            mark::DecideUpdate.name(),
            mark::ResolveUpdate.name(),
            mark::RefundUpdate.name(),
        ],
    );
    section(
        &mut text,
        "signal",
        [
            SignalDefinition::name(&mark::CancelSignal),
            mark::PlaceHoldSignal.name(),
            mark::ReleaseHoldSignal.name(),
            mark::ShipmentEventSignal.name(),
            mark::PaymentNewsSignal.name(),
            SignalDefinition::name(&mark::ReviewSignal),
            mark::ChangeAddressSignal.name(),
            mark::EditSignal.name(),
            mark::DecideSignal.name(),
            mark::ResolveSignal.name(),
            mark::RefundSignal.name(),
            mark::StockArrivedSignal.name(),
            mark::NudgeSignal.name(),
        ],
    );
    section(
        &mut text,
        "update beside",
        [
            format!("refund {}", mark::ResolveRefundUpdate.name()),
            format!("return {}", mark::ApproveReturnUpdate.name()),
            format!("return {}", mark::RejectReturnUpdate.name()),
            format!("return {}", mark::ReceiveReturnUpdate.name()),
            format!("return {}", mark::ResolveReturnUpdate.name()),
        ],
    );
    section(&mut text, "query", [mark::StatusQuery.name()]);
    section(&mut text, "failure", FailureKind::ALL.map(|kind| format!("{}: {:?}", kind.name(), kind.retry())));
    section(&mut text, "search attribute", search::ALL.map(|(name, kind)| format!("{name}: {kind:?}")));
    section(&mut text, "saga step", Step::ALL.map(|step| row(step, step.activity(), step.queue())));
    section(&mut text, "saga undo", Undo::ALL.map(|undo| row(undo, Some(undo.activity()), undo.queue())));
    section(&mut text, "order status", Status::ALL.map(Status::as_str));
    section(&mut text, "order reason", Reason::ALL.map(Reason::as_str));
    section(&mut text, "order action", actions().map(Action::as_str));
    section(&mut text, "shortage policy", policies().map(ShortagePolicy::as_str));
    section(&mut text, "shortage decision", Decision::ALL.map(Decision::as_str));
    section(&mut text, "reauthorization policy", ReauthorizationPolicy::ALL.map(ReauthorizationPolicy::as_str));
    section(&mut text, "resolution", Resolution::ALL.map(Resolution::as_str));
    section(&mut text, "refund state", RefundState::ALL.map(RefundState::as_str));
    section(&mut text, "refusal", RefusalCode::ALL.map(RefusalCode::as_str));
    section(&mut text, "cancel result", [CancelVerdict::Cancelling, CancelVerdict::Cancelled].map(CancelVerdict::as_str));
    section(&mut text, "payment status", payment_statuses().map(PaymentStatus::as_str));
    section(&mut text, "shipment status", ShipmentStatus::ALL.map(ShipmentStatus::as_str));
    section(&mut text, "scan", ScanType::ALL.map(ScanType::as_str));
    section(&mut text, "scan result", [ScanResult::Applied, ScanResult::Duplicate, ScanResult::Stale].map(ScanResult::as_str));
    section(&mut text, "fact", FactKind::ALL.iter().map(|kind| kind.as_str()));
    section(&mut text, "message topic", Topic::ALL.map(Topic::as_str));
    section(&mut text, "message channel", [Channel::Mail, Channel::Sms].map(Channel::as_str));
    text
}

fn row(step: impl Debug, activity: Option<&str>, queue: Queue) -> String {
    format!("{step:?}: {} on {}", activity.unwrap_or("nothing"), queue.name())
}

fn actions() -> [Action; 9] {
    use Action::*;
    [Cancel, PlaceHold, ReleaseHold, Review, ChangeAddress, Edit, Decide, Refund, Return]
}

fn policies() -> [ShortagePolicy; 3] {
    [ShortagePolicy::Reject, ShortagePolicy::ShipAvailable, ShortagePolicy::Wait]
}

fn payment_statuses() -> [PaymentStatus; 9] {
    use PaymentStatus::*;
    [Pending, NotRequired, RequiresAction, Authorized, Declined, PartiallyCaptured, Captured, Voided, Refunded]
}

#[test]
fn wire_names_are_the_committed_ones() {
    let (now, path) = (wire_names(), root().join(SNAPSHOT));
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if now != committed {
        let proposed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("names.txt");
        fs::write(&proposed, &now).unwrap();
        let gone: Vec<&str> = committed.lines().filter(|line| !now.lines().any(|l| l == *line)).collect();
        let new: Vec<&str> = now.lines().filter(|line| !committed.lines().any(|l| l == *line)).collect();
        panic!(
            "names that others know have changed.\n  gone: {gone:#?}\n  new: {new:#?}\nOpen runs and stored rows keep the old ones. If \
             this is meant: cp {} {SNAPSHOT}",
            proposed.display()
        );
    }
}

#[test]
fn json_forms_are_the_names() {
    fn json(value: impl serde::Serialize) -> String {
        serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
    }
    for status in Status::ALL {
        assert_eq!(json(status), status.as_str());
    }
    for reason in Reason::ALL {
        assert_eq!(json(reason), reason.as_str());
    }
    for status in payment_statuses() {
        assert_eq!(json(status), status.as_str());
    }
    for status in ShipmentStatus::ALL {
        assert_eq!(json(status), status.as_str());
    }
    for scan in ScanType::ALL {
        assert_eq!(json(scan), scan.as_str());
    }
    for topic in Topic::ALL {
        assert_eq!(json(topic), topic.as_str());
    }
}

#[test]
fn an_order_is_found_by_its_workflow_and_nothing_else_is() {
    let order = OrderId::from_key("default", "public", "a-key");
    assert_eq!(order_of_workflow(&order_workflow(&order)), Some(order.clone()));
    assert_eq!(order_of_workflow(&aftermath_workflow(&ShipmentId::of(&order, 2), "e")), None);
}

#[test]
fn search_attributes_are_registered_as_they_are_written() {
    let written = [
        search::ORDER_STATUS.name(),
        search::ORDER_REASON.name(),
        search::CUSTOMER_ID.name(),
        search::CHANNEL.name(),
        search::SKUS.name(),
        search::HOLD_KINDS.name(),
        search::NEEDS_ATTENTION.name(),
        search::TOTAL_MINOR.name(),
    ];
    assert_eq!(search::ALL.map(|(name, _)| name), written);
}

#[test]
fn steps_and_undos_name_activities_that_exist() {
    let known = activities();
    let steps = Step::ALL.into_iter().filter_map(Step::activity);
    for name in steps.chain(Undo::ALL.map(Undo::activity)) {
        assert!(known.iter().any(|activity| activity == name), "{name}");
    }
}

fn same_workflow<A, B>(marker: A, own: B)
where
    A: WorkflowDefinition,
    B: WorkflowDefinition<Input = A::Input, Output = A::Output>,
{
    assert_eq!(marker.name(), own.name());
}

fn same_update<A, B>(marker: A, own: B)
where
    A: UpdateDefinition<Workflow = mark::Order>,
    B: UpdateDefinition<Workflow = <Order as HasWorkflowDefinition>::Run, Input = A::Input, Output = A::Output>,
{
    assert_eq!(marker.name(), own.name());
}

fn same_query<A, B>(marker: A, own: B)
where
    A: QueryDefinition<Workflow = mark::Order>,
    B: QueryDefinition<Workflow = <Order as HasWorkflowDefinition>::Run, Input = A::Input, Output = A::Output>,
{
    assert_eq!(marker.name(), own.name());
}

/// The handler takes the raw value, so that a payload which cannot be read never wedges the run.
fn same_signal<A, B>(marker: A, own: B)
where
    A: SignalDefinition<Workflow = mark::Order>,
    B: SignalDefinition<Workflow = <Order as HasWorkflowDefinition>::Run, Input = RawValue>,
{
    assert_eq!(marker.name(), own.name());
}

#[test]
fn the_contract_means_the_workflows_that_exist() {
    same_workflow(mark::Order, Order::run);
    same_workflow(mark::Mailout, Mailout::run);
    same_workflow(mark::Aftermath, Aftermath::run);
    same_workflow(mark::Refund, Refund::run);
    same_workflow(mark::Return, Returning::run);
    same_workflow(mark::Reconcile, Reconcile::run);
    same_update(mark::CancelUpdate, Order::cancel);
    same_update(mark::PlaceHoldUpdate, Order::place_hold);
    same_update(mark::ReleaseHoldUpdate, Order::release_hold);
    same_update(mark::ShipmentEventUpdate, Order::shipment_event);
    same_update(mark::ReviewUpdate, Order::decide_review);
    same_update(mark::ChangeAddressUpdate, Order::change_address);
    same_update(mark::EditUpdate, Order::edit_lines);
    same_update(mark::DecideUpdate, Order::decide_wait);
    same_update(mark::ResolveUpdate, Order::resolve_item);
    same_update(mark::RefundUpdate, Order::request_refund);
    same_signal(mark::ReviewSignal, Order::review_signal);
    same_signal(mark::ChangeAddressSignal, Order::change_address_signal);
    same_signal(mark::EditSignal, Order::edit_signal);
    same_signal(mark::DecideSignal, Order::decide_signal);
    same_signal(mark::ResolveSignal, Order::resolve_signal);
    same_signal(mark::RefundSignal, Order::refund_signal);
    same_signal(mark::CancelSignal, Order::cancel_signal);
    same_signal(mark::PlaceHoldSignal, Order::place_hold_signal);
    same_signal(mark::ReleaseHoldSignal, Order::release_hold_signal);
    same_signal(mark::ShipmentEventSignal, Order::shipment_event_signal);
    same_signal(mark::PaymentNewsSignal, Order::payment_news);
    same_query(mark::StatusQuery, Order::status);
}
