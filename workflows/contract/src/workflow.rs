//! Hand-written markers of workflows, updates, signals and queries, so that the API starts and steers orders typed without importing
//! workflow code. A test compares them with the names and types of the macros in `oms-workflows`.

use crate::command::*;
use crate::reconciliation::ReconcileStart;
use crate::refund::{RefundEnd, RefundStart, RequestRefund};
use crate::returning::*;
use crate::start::*;
use temporalio_common::{HasWorkflowDefinition, QueryDefinition, SignalDefinition, UpdateDefinition, WorkflowDefinition};

/// Declares a workflow marker.
macro_rules! workflow {
    ($(#[$doc:meta])* $name:ident = $wire:literal: $input:ty => $output:ty) => {
        $(#[$doc])*
        pub struct $name;
        impl WorkflowDefinition for $name {
            type Input = $input;
            type Output = $output;
            fn name(&self) -> &str {
                $wire
            }
        }
        impl HasWorkflowDefinition for $name {
            type Run = Self;
        }
    };
}

workflow!(
    /// An order's life, from intake to its terminal status.
    Order = "Order": OrderStart => StatusAnswer
);
workflow!(
    /// A batch of messages on its way out.
    Mailout = "Mailout": MailoutStart => ()
);
workflow!(
    /// What follows a report that came after its order had ended.
    Aftermath = "Aftermath": AftermathStart => ()
);
workflow!(
    /// Money on its way back.
    Refund = "Refund": RefundStart => RefundEnd
);
workflow!(
    /// Goods on their way back.
    Return = "Return": ReturnStart => ReturnEnd
);

/// Declares an update of a refund or a return.
macro_rules! update {
    ($(#[$doc:meta])* $name:ident of $workflow:ident = $wire:literal: $input:ty => $output:ty) => {
        $(#[$doc])*
        pub struct $name;
        impl UpdateDefinition for $name {
            type Workflow = $workflow;
            type Input = $input;
            type Output = $output;
            fn name(&self) -> &str {
                $wire
            }
        }
    };
}

update!(
    /// Settle a refund that the gateway refuses.
    ResolveRefundUpdate of Refund = "resolve": Resolve => Accepted
);
update!(
    /// Take the goods back.
    ApproveReturnUpdate of Return = "approve": ApproveReturn => ReturnAnswer
);
update!(
    /// Do not take the goods back.
    RejectReturnUpdate of Return = "reject": RejectReturn => ReturnAnswer
);
update!(
    /// Goods came back.
    ReceiveReturnUpdate of Return = "receive": ReceiveReturn => ReturnAnswer
);
update!(
    /// Settle a return whose parcel no carrier takes.
    ResolveReturnUpdate of Return = "resolve": Resolve => Accepted
);
workflow!(
    /// A comparison of our books with those of others.
    Reconcile = "Reconcile": ReconcileStart => ()
);

/// Declares an update and the signal of the same name.
macro_rules! command {
    ($(#[$doc:meta])* $update:ident, $signal:ident = $wire:literal: $input:ty => $output:ty) => {
        $(#[$doc])*
        pub struct $update;
        impl UpdateDefinition for $update {
            type Workflow = Order;
            type Input = $input;
            type Output = $output;
            fn name(&self) -> &str {
                $wire
            }
        }
        /// The signal of the same name: fire and forget.
        pub struct $signal;
        impl SignalDefinition for $signal {
            type Workflow = Order;
            type Input = $input;
            fn name(&self) -> &str {
                $wire
            }
        }
    };
}

command!(
    /// Stop the order for good.
    CancelUpdate, CancelSignal = "cancel": Cancel => CancelAnswer
);
command!(
    /// Stop the order for a while.
    PlaceHoldUpdate, PlaceHoldSignal = "place_hold": PlaceHold => HoldAnswer
);
command!(
    /// Let the order go on.
    ReleaseHoldUpdate, ReleaseHoldSignal = "release_hold": ReleaseHold => ReleaseAnswer
);
command!(
    /// Warehouse or carrier report progress.
    ShipmentEventUpdate, ShipmentEventSignal = "shipment_event": ShipmentEvent => ShipmentAnswer
);

command!(
    /// Decide the manual review.
    ReviewUpdate, ReviewSignal = "review": Review => Accepted
);
command!(
    /// Send the parcel elsewhere.
    ChangeAddressUpdate, ChangeAddressSignal = "change_address": ChangeAddress => Accepted
);
command!(
    /// Change lines and quantities.
    EditUpdate, EditSignal = "edit": Edit => Accepted
);
command!(
    /// Decide about a long wait for stock.
    DecideUpdate, DecideSignal = "decide": Decide => Accepted
);
command!(
    /// Settle what policy could not.
    ResolveUpdate, ResolveSignal = "resolve": Resolve => Accepted
);
command!(
    /// Give money back.
    RefundUpdate, RefundSignal = "refund": RequestRefund => Accepted
);

/// Goods arrived for an order that waits; which, the next look at its promise tells.
pub struct StockArrivedSignal;
impl SignalDefinition for StockArrivedSignal {
    type Workflow = Order;
    type Input = ();
    fn name(&self) -> &str {
        "stock_arrived"
    }
}

/// Try again now whatever pauses after a refusal or a defect.
pub struct NudgeSignal;
impl SignalDefinition for NudgeSignal {
    type Workflow = Order;
    type Input = ();
    fn name(&self) -> &str {
        "nudge"
    }
}

/// The gateway has news about the order's payment.
pub struct PaymentNewsSignal;
impl SignalDefinition for PaymentNewsSignal {
    type Workflow = Order;
    type Input = PaymentNews;
    fn name(&self) -> &str {
        "payment_news"
    }
}

/// Where the order stands.
pub struct StatusQuery;
impl QueryDefinition for StatusQuery {
    type Workflow = Order;
    type Input = ();
    type Output = StatusAnswer;
    fn name(&self) -> &str {
        "status"
    }
}
