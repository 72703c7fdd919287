//! Statements that tell of which version open orders are.

use oms_domain::Instant;

use super::{Db, Pools, unsigned};
use crate::versions::OpenVersion;
use crate::{Result, StoreError};

pub(crate) async fn open(pools: &Pools) -> Result<Vec<OpenVersion>> {
    // the words of the partial index of open orders
    let rows = sqlx::query_as::<Db, (i64, Option<String>, i64, Instant)>(
        "SELECT shape, build, COUNT(*), MIN(placed_at) FROM orders
         WHERE status NOT IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned')
         GROUP BY shape, build ORDER BY shape, build",
    )
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter()
        .map(|(shape, build, count, oldest_placed_at)| {
            let shape = u32::try_from(shape).map_err(|e| StoreError::corrupt("orders.shape", e))?;
            Ok(OpenVersion { shape, build, open_orders: unsigned("orders", count)?, oldest_placed_at })
        })
        .collect()
}
