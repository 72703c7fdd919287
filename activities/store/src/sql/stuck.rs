//! Statements that count orders that stand still.

use oms_domain::order::Status;
use oms_domain::review::STUCK;
use sqlx::types::Json;

use super::{Db, Pools, unsigned, word};
use crate::Result;
use crate::stuck::{SILENT, TERMINATED, WORKFLOW_TASK_FAILING};

pub(crate) async fn by_status(pools: &Pools) -> Result<Vec<(Status, u64)>> {
    let rows = sqlx::query_as::<Db, (String, i64)>(concat!(
        "SELECT o.status, COUNT(*) FROM orders o WHERE o.id IN (
             SELECT r.order_id FROM review_items r WHERE r.state = 'open' AND r.kind ",
        one_of!("$1"),
        ") GROUP BY o.status ORDER BY o.status"
    ))
    .bind(Json([STUCK, WORKFLOW_TASK_FAILING, SILENT, TERMINATED]))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter()
        .map(|(status, count)| Ok((word("orders.status", &status, Status::parse)?, unsigned("orders", count)?)))
        .collect()
}
