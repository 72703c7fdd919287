//! Statements of what warehouse and carrier report.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::shipment::{Scan, ScanResult, ScanType, Shipment, ShipmentStatus};
use sqlx::types::Json;

use super::orders::remember_package;
use super::{Conn, Db, Pools, cut, word};
use crate::Result;
use crate::shipments::{Heard, Scanned};

fn result(name: &str) -> Option<ScanResult> {
    [ScanResult::Applied, ScanResult::Stale].into_iter().find(|r| r.as_str() == name)
}

pub(crate) async fn heard(pools: &Pools, shipment: &ShipmentId, event_id: &str) -> Result<Option<Heard>> {
    heard_on(&mut *pools.read.acquire().await?, shipment, event_id).await
}

async fn heard_on(connection: &mut Conn, shipment: &ShipmentId, event_id: &str) -> Result<Option<Heard>> {
    let row = sqlx::query_as::<Db, (String, String)>(
        "SELECT kind, result FROM shipment_events WHERE shipment_id = $1 AND event_id = $2",
    )
    .bind(shipment.as_str())
    .bind(event_id)
    .fetch_optional(connection)
    .await?;
    let Some((kind, outcome)) = row else { return Ok(None) };
    Ok(Some(Heard {
        kind: word("shipment_events.kind", &kind, ScanType::parse)?,
        result: word("shipment_events.result", &outcome, result)?,
    }))
}

#[derive(sqlx::FromRow)]
struct LockedRow {
    order_id: String,
    shipment: Json<Shipment>,
    scanned_rank: i64,
}

pub(crate) async fn record_scan(pools: &Pools, scan: &Scan, now: Instant) -> Result<Scanned> {
    let mut tx = pools.begin().await?;
    let row = sqlx::query_as::<Db, LockedRow>(concat!(
        "SELECT s.order_id, s.shipment, s.scanned_rank FROM shipments s WHERE s.id = $1",
        for_update!("s")
    ))
    .bind(scan.shipment.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(Scanned::UnknownShipment) };
    if let Some(before) = heard_on(&mut tx, &scan.shipment, &scan.event_id).await? {
        let same = before.kind == scan.kind;
        return Ok(if same { Scanned::Result(ScanResult::Duplicate) } else { Scanned::EventIdReused });
    }
    let shipment = row.shipment.0;
    let known = row.scanned_rank.max(i64::from(shipment.status.rank()));
    let outcome = if i64::from(scan.kind.rank()) > known { ScanResult::Applied } else { ScanResult::Stale };
    insert(&mut tx, &OrderId::parse(row.order_id)?, scan, outcome, now).await?;
    if outcome == ScanResult::Applied {
        let shown: ShipmentStatus = shipment.status.with_scans(scan.kind.rank());
        sqlx::query::<Db>("UPDATE shipments SET scanned_rank = $2, status = $3, updated_at = $4 WHERE id = $1")
            .bind(scan.shipment.as_str())
            .bind(i64::from(scan.kind.rank()))
            .bind(shown.as_str())
            .bind(cut(now))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(Scanned::Result(outcome))
}

/// Keeps a report, and its package's number; a known one changes nothing.
pub(crate) async fn insert(connection: &mut Conn, order: &OrderId, scan: &Scan, outcome: ScanResult, now: Instant) -> Result<()> {
    if outcome == ScanResult::Duplicate {
        return Ok(());
    }
    let new = sqlx::query::<Db>(
        "INSERT INTO shipment_events (shipment_id, event_id, order_id, kind, rank, result, occurred_at, carrier, tracking_number,
             recorded_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (shipment_id, event_id) DO NOTHING",
    )
    .bind(scan.shipment.as_str())
    .bind(&scan.event_id)
    .bind(order.as_str())
    .bind(scan.kind.as_str())
    .bind(i64::from(scan.kind.rank()))
    .bind(outcome.as_str())
    .bind(cut(scan.occurred_at))
    .bind(scan.carrier.as_deref())
    .bind(scan.tracking_number.as_deref())
    .bind(cut(now))
    .execute(&mut *connection)
    .await?;
    if new.rows_affected() > 0
        && let Some(number) = &scan.tracking_number
    {
        remember_package(connection, order, &scan.shipment, number).await?;
    }
    Ok(())
}
