//! Statements of shipments.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::shipment::Shipment;
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::orders::{refine, remember_package, scans};
use super::{Conn, Db, Pools, cut};
use crate::shipments::{ShipmentFilter, StoredShipment};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
struct ShipmentRow {
    order_id: String,
    shipment: Json<Shipment>,
    test: bool,
    updated_at: Instant,
    scans: Option<String>,
}

impl ShipmentRow {
    fn read(self) -> Result<StoredShipment> {
        let mut shipment = self.shipment.0;
        refine(std::slice::from_mut(&mut shipment), self.scans.as_deref())?;
        Ok(StoredShipment { order_id: OrderId::parse(self.order_id)?, shipment, updated_at: self.updated_at, test: self.test })
    }
}

/// Selects [`ShipmentRow`]s.
macro_rules! select {
    () => {
        concat!("SELECT s.order_id, s.shipment, s.test, s.updated_at, ", scans!("e.shipment_id = s.id"), " FROM shipments s ")
    };
}

pub(crate) async fn shipments(
    pools: &Pools,
    filter: &ShipmentFilter,
    after: Option<&ShipmentId>,
    limit: u32,
) -> Result<Vec<StoredShipment>> {
    let mut query = QueryBuilder::<Db>::new(select!());
    query.push("WHERE s.id > ").push_bind(after.map_or("", ShipmentId::as_str));
    if let Some(status) = filter.status {
        query.push(" AND s.status = ").push_bind(status.as_str());
    }
    if let Some(location) = &filter.location {
        query.push(" AND s.location = ").push_bind(location.as_str());
    }
    query.push(" ORDER BY s.id LIMIT ").push_bind(i64::from(limit));
    let rows = query.build_query_as::<ShipmentRow>().fetch_all(&pools.read).await?;
    rows.into_iter().map(ShipmentRow::read).collect()
}

pub(crate) async fn shipment(pools: &Pools, id: &ShipmentId) -> Result<Option<StoredShipment>> {
    let row = sqlx::query_as::<Db, ShipmentRow>(concat!(select!(), "WHERE s.id = $1"))
        .bind(id.as_str())
        .fetch_optional(&pools.read)
        .await?;
    row.map(ShipmentRow::read).transpose()
}

/// Writes the shipments that changed, by id.
pub(crate) async fn upsert(
    connection: &mut Conn,
    order: &OrderId,
    before: &[Shipment],
    after: &[Shipment],
    test: bool,
    now: Instant,
) -> Result<()> {
    let mut changed: Vec<&Shipment> = after.iter().filter(|s| !before.contains(s)).collect();
    changed.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
    for shipment in changed {
        let rank = lock_scanned_rank(connection, &shipment.id).await?.unwrap_or(0);
        let rank = u8::try_from(rank).map_err(|e| StoreError::corrupt("shipments.scanned_rank", e))?;
        sqlx::query::<Db>(
            "INSERT INTO shipments (id, order_id, location, status, shipment, scanned_rank, test, updated_at)
             VALUES ($1, $2, $3, $4, $5, 0, $6, $7) ON CONFLICT (id) DO UPDATE SET
             location = excluded.location, status = excluded.status, shipment = excluded.shipment, updated_at = excluded.updated_at",
        )
        .bind(shipment.id.as_str())
        .bind(order.as_str())
        .bind(shipment.location.as_str())
        .bind(shipment.status.with_scans(rank).as_str())
        .bind(Json(shipment))
        .bind(test)
        .bind(cut(now))
        .execute(&mut *connection)
        .await?;
        for number in shipment.packages() {
            remember_package(connection, order, &shipment.id, number).await?;
        }
    }
    Ok(())
}

/// Locks a shipment's row, so that a report from the warehouse does not slip between reading and writing its status.
async fn lock_scanned_rank(connection: &mut Conn, id: &ShipmentId) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar::<Db, i64>(concat!("SELECT s.scanned_rank FROM shipments s WHERE s.id = $1", for_update!("s")))
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?)
}
