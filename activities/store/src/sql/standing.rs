//! Statements that tell a reset run how far its order has come.

use oms_domain::ids::OrderId;
use oms_domain::life::Life;
use oms_domain::pricing::{PricedLine, Totals};
use sqlx::types::Json;

use super::{Db, Pools};
use crate::orders::Standing;
use crate::{Result, StoreError};

pub(crate) async fn of(pools: &Pools, order: &OrderId) -> Result<Standing> {
    // the run that asks is the row's one writer: nothing moves between these reads but what is written beside it
    let row = sqlx::query_as::<Db, (Json<Life>, Json<Vec<PricedLine>>, Json<Totals>, Option<i64>)>(
        "SELECT o.life, o.lines, o.totals, p.last_change FROM orders o LEFT JOIN promises p ON p.order_id = o.id WHERE o.id = $1",
    )
    .bind(order.as_str())
    .fetch_optional(&pools.read)
    .await?;
    let Some((life, lines, totals, last_change)) = row else {
        return Err(StoreError::conflict(format!("there is no order {order}")));
    };
    let last_change = u32::try_from(last_change.unwrap_or(0)).map_err(|e| StoreError::corrupt("promises.last_change", e))?;
    let told = sqlx::query_scalar::<Db, String>("SELECT key FROM timeline WHERE order_id = $1 ORDER BY seq")
        .bind(order.as_str())
        .fetch_all(&pools.read)
        .await?;
    Ok(Standing { life: life.0, lines: lines.0, totals: totals.0, last_change, told })
}
