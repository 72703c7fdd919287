//! Task queues and workflow ids.

use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::refund::RefundId;
use oms_domain::returning::ReturnId;

/// A task queue. Queues are separate so that each kind of work scales and fails alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// Orders' workflows and their records.
    Orders,
    /// Stock.
    Inventory,
    /// Money.
    Payments,
    /// Carriers.
    Shipping,
    /// Messages.
    Notifications,
}

impl Queue {
    /// Every queue; also the list of worker roles.
    pub const ALL: [Self; 5] = [Self::Orders, Self::Inventory, Self::Payments, Self::Shipping, Self::Notifications];

    /// The queue's name in Temporal, which is the worker role's name too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Inventory => "inventory",
            Self::Payments => "payments",
            Self::Shipping => "shipping",
            Self::Notifications => "notifications",
        }
    }

    /// Reads a queue's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|q| q.name() == name)
    }
}

/// The workflow id of an order.
pub fn order_workflow(order: &OrderId) -> String {
    format!("order/{order}")
}

/// The order of a workflow id made by [`order_workflow`].
pub fn order_of_workflow(workflow_id: &str) -> Option<OrderId> {
    OrderId::parse(workflow_id.strip_prefix("order/")?).ok()
}

/// The workflow id of what follows a report that came after its order had ended. Event ids are unique per shipment only, so those of
/// an order's further shipments carry the shipment's number.
pub fn aftermath_workflow(shipment: &ShipmentId, event_id: &str) -> String {
    match shipment.as_str().rsplit_once('-') {
        Some((order, "1")) => format!("aftermath/{order}/{event_id}"),
        Some((order, number)) => format!("aftermath/{order}/{event_id}/{number}"),
        None => format!("aftermath/{shipment}/{event_id}"),
    }
}

/// The workflow id of a batch of messages.
pub fn mailout_workflow(batch_id: &str) -> String {
    format!("mailout/{batch_id}")
}

/// The workflow id of a refund.
pub fn refund_workflow(refund: &RefundId) -> String {
    format!("refund/{refund}")
}

/// The workflow id of a return.
pub fn return_workflow(id: &ReturnId) -> String {
    format!("return/{id}")
}
