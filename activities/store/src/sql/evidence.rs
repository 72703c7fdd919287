//! Statements that gather what the risk rules look at.

use std::time::Duration;

use oms_domain::Instant;
use oms_domain::customer::Address;
use oms_domain::ids::OrderId;
use oms_domain::pricing::Totals;
use oms_domain::risk::Evidence;
use sqlx::types::Json;

use super::{Db, Pools};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
struct OrderRow {
    customer_id: String,
    placed_at: Instant,
    totals: Json<Totals>,
    ship_to: Json<Address>,
    bill_to: Option<Json<Address>>,
}

pub(crate) async fn evidence(pools: &Pools, id: &OrderId, window: Duration) -> Result<Evidence> {
    let order =
        sqlx::query_as::<Db, OrderRow>("SELECT customer_id, placed_at, totals, ship_to, bill_to FROM orders WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&pools.read)
            .await?
            .ok_or_else(|| StoreError::conflict(format!("there is no order {id}")))?;
    // a window longer than time itself looks at everything
    let since = chrono::Duration::from_std(window).ok().and_then(|window| order.placed_at.checked_sub_signed(window));
    let recent = sqlx::query_scalar::<Db, i64>(
        "SELECT COUNT(*) FROM orders WHERE customer_id = $1 AND placed_at > $2 AND placed_at <= $3",
    )
    .bind(order.customer_id)
    .bind(since.unwrap_or(Instant::UNIX_EPOCH))
    .bind(order.placed_at)
    .fetch_one(&pools.read)
    .await?;
    let recent_orders = u32::try_from(recent).unwrap_or(u32::MAX);
    let countries_differ = order.bill_to.is_some_and(|bill_to| bill_to.country != order.ship_to.country);
    Ok(Evidence { total: order.totals.total, recent_orders, countries_differ })
}
