//! Orders that stand still, in numbers.

use oms_domain::order::Status;

use crate::Result;
use crate::store::{Store, run};

/// The review item of an order whose workflow task fails again and again.
pub const WORKFLOW_TASK_FAILING: &str = "workflow_task_failing";
/// The review item of an order that is past its deadline and whose run does not answer.
pub const SILENT: &str = "silent";
/// The review item of an order whose run was ended from outside.
pub const TERMINATED: &str = "terminated";
/// The review item of a shipment that no warehouse has taken over in time.
pub const NO_ACKNOWLEDGEMENT: &str = "no_acknowledgement";
/// The review item of a refund whose run cannot go on.
pub const REFUND_STUCK: &str = "refund_stuck";
/// The review item of a return whose run cannot go on.
pub const RETURN_STUCK: &str = "return_stuck";

impl Store {
    /// How many orders have an open review item that says they stand still, by status. Statuses without such orders are left out.
    pub async fn count_stuck_by_status(&self) -> Result<Vec<(Status, u64)>> {
        run!(self, stuck::by_status())
    }
}
