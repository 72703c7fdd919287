//! Hand-written markers of workflows, updates, signals and queries, so that the API starts and steers orders typed without importing
//! workflow code. A test compares them with the names and types of the macros in `oms-workflows`.

use crate::command::*;
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
