//! Workflow `Aftermath`: a report that changes something although its order has ended: a parcel left although the cancel had won.
#![allow(missing_docs, reason = "the macros generate constants that take no comment")]

use oms_contract::activity::{Append, Commit, HeardScan};
use oms_contract::definitions::{Inventory, Orders};
use oms_contract::names::Queue;
use oms_contract::start::AftermathStart;
use oms_domain::event::{Fact, FactKind};
use oms_domain::review::{Attention, DEPARTED_AFTER_CANCEL};
use oms_domain::shipment::{ScanResult, ShipmentStatus};
use temporalio_workflow::{
    ActivityExecutionError, WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult, workflow,
    workflow_methods,
};

use crate::policy;

/// What follows one late report.
#[workflow]
pub struct Aftermath {
    start: AftermathStart,
}

#[workflow_methods]
impl Aftermath {
    #[init]
    fn new(_ctx: &WorkflowContextView, start: AftermathStart) -> Self {
        Self { start }
    }

    /// Lets the stock follow the parcel and adds to the order's story.
    #[run(name = "Aftermath")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let start = ctx.state(|s| s.start.clone());
        let options =
            |queue, summary: &str| policy::activity(queue, &start.patience, summary.to_owned(), WorkflowCancellationToken::new());
        let commit = Commit {
            order_id: start.order_id.clone(),
            shipment_id: start.scan.shipment.clone(),
            location: start.location.clone(),
            lines: start.lines.clone(),
        };
        let booked_out = options(Queue::Inventory, "book out a parcel that left a cancelled order");
        let departed = ctx.execute_activity(Inventory::depart, commit, booked_out).await.map_err(defect)?;
        let append = Self::story(&start, !departed.missing.is_empty());
        let recorded = options(Queue::Orders, "add to the order's story");
        ctx.execute_activity(Orders::append, append, recorded).await.map_err(defect)?;
        Ok(())
    }

    fn story(start: &AftermathStart, short: bool) -> Append {
        let scan = &start.scan;
        let (at, shipment) = (start.reported_at, &scan.shipment);
        let detail = if short {
            "a parcel left although the order was cancelled, with goods that the books promise to others; count the shelf"
        } else {
            "a parcel left although the order was cancelled"
        };
        let fact = |key: String, kind| Fact::new(key, kind, at).about(shipment);
        let kind = match ShipmentStatus::from(scan.kind) {
            ShipmentStatus::InTransit => FactKind::ShipmentInTransit,
            ShipmentStatus::Lost => FactKind::ShipmentLost,
            ShipmentStatus::Delivered => FactKind::ShipmentDelivered,
            ShipmentStatus::ReturnedToSender => FactKind::ShipmentReturned,
            _ => FactKind::ShipmentShipped,
        };
        Append {
            order_id: start.order_id.clone(),
            facts: vec![
                fact(format!("shipment/{shipment}/{}", scan.kind.as_str()), kind).by("api"),
                fact(format!("departed/{shipment}"), FactKind::StockDeparted),
                fact(format!("attention/{DEPARTED_AFTER_CANCEL}/{shipment}"), FactKind::AttentionRaised).because(detail),
            ],
            attention: Some(Attention::new(DEPARTED_AFTER_CANCEL, Some(shipment), detail, at)),
            shipment: Some((shipment.clone(), ShipmentStatus::from(scan.kind))),
            scan: Some(HeardScan { scan: scan.clone(), result: ScanResult::Applied }),
            opened: Vec::new(),
            settled: Vec::new(),
            resolved: Vec::new(),
        }
    }
}

/// A defect fails this story and shows as a failed workflow; the order itself has ended well.
fn defect(error: ActivityExecutionError) -> temporalio_workflow::WorkflowTermination {
    error.into()
}
