//! Statements of what warehouse and carrier report.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId, derive};
use oms_domain::review::UNKNOWN_CARRIER_CODE;
use oms_domain::shipment::{ForeignScan, Scan, ScanResult, Shipment, ShipmentStatus};
use sqlx::types::Json;

use super::orders::remember_package;
use super::{Conn, Db, Pools, cut, record, review_items, word};
use crate::Result;
use crate::review_items::{ItemSource, NewItem};
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
    Ok(Some(Heard { kind, result: word("shipment_events.result", &outcome, result)? }))
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
        return Ok(again(&before, scan.kind.as_str()));
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

/// The answer to a report whose id was heard before.
fn again(before: &Heard, kind: &str) -> Scanned {
    if before.kind == kind { Scanned::Result(ScanResult::Duplicate) } else { Scanned::EventIdReused }
}

pub(crate) async fn record_foreign(pools: &Pools, scan: &ForeignScan, now: Instant) -> Result<Scanned> {
    let mut tx = pools.begin().await?;
    let order = sqlx::query_scalar::<Db, String>("SELECT order_id FROM shipments WHERE id = $1")
        .bind(scan.shipment.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(order) = order else { return Ok(Scanned::UnknownShipment) };
    let order = OrderId::parse(order)?;
    let row = record::lock_if_any(&mut tx, Some(&order)).await?;
    if let Some(before) = heard_on(&mut tx, &scan.shipment, &scan.event_id).await? {
        return Ok(again(&before, scan.code.as_str()));
    }
    let told = Told {
        shipment: &scan.shipment,
        event_id: &scan.event_id,
        kind: scan.code.as_str(),
        rank: FOREIGN_RANK,
        occurred_at: scan.occurred_at,
        carrier: Some(&scan.carrier),
        tracking_number: scan.tracking_number.as_deref(),
    };
    write(&mut tx, &order, &told, ScanResult::Stale, now).await?;
    let item = NewItem {
        id: derive(&["review", "carrier", scan.shipment.as_str(), scan.code.as_str()]).to_string(),
        kind: UNKNOWN_CARRIER_CODE.to_owned(),
        order_id: Some(order),
        shipment_id: Some(scan.shipment.clone()),
        subject: scan.shipment.to_string(),
        detail: format!(
            "{} reports `{}`, which means nothing to us; see what it is, and act on it if need be",
            scan.carrier, scan.code
        ),
        source: ItemSource::Carrier,
    };
    let opened = review_items::insert(&mut tx, &item, now).await?;
    if let Some(mut row) = row.filter(|_| opened) {
        record::touch(&mut tx, &mut row, now).await?;
    }
    tx.commit().await?;
    Ok(Scanned::Result(ScanResult::Stale))
}

/// A carrier's own word ranks below everything that moves a shipment.
const FOREIGN_RANK: i64 = 0;

/// A report, in whosever words.
struct Told<'a> {
    shipment: &'a ShipmentId,
    event_id: &'a str,
    kind: &'a str,
    rank: i64,
    occurred_at: Instant,
    carrier: Option<&'a str>,
    tracking_number: Option<&'a str>,
}

/// Keeps a report, and its package's number; a known one changes nothing.
pub(crate) async fn insert(connection: &mut Conn, order: &OrderId, scan: &Scan, outcome: ScanResult, now: Instant) -> Result<()> {
    if outcome == ScanResult::Duplicate {
        return Ok(());
    }
    let told = Told {
        shipment: &scan.shipment,
        event_id: &scan.event_id,
        kind: scan.kind.as_str(),
        rank: i64::from(scan.kind.rank()),
        occurred_at: scan.occurred_at,
        carrier: scan.carrier.as_deref(),
        tracking_number: scan.tracking_number.as_deref(),
    };
    write(connection, order, &told, outcome, now).await
}

async fn write(connection: &mut Conn, order: &OrderId, told: &Told<'_>, outcome: ScanResult, now: Instant) -> Result<()> {
    let new = sqlx::query::<Db>(
        "INSERT INTO shipment_events (shipment_id, event_id, order_id, kind, rank, result, occurred_at, carrier, tracking_number,
             recorded_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (shipment_id, event_id) DO NOTHING",
    )
    .bind(told.shipment.as_str())
    .bind(told.event_id)
    .bind(order.as_str())
    .bind(told.kind)
    .bind(told.rank)
    .bind(outcome.as_str())
    .bind(cut(told.occurred_at))
    .bind(told.carrier)
    .bind(told.tracking_number)
    .bind(cut(now))
    .execute(&mut *connection)
    .await?;
    if new.rows_affected() > 0
        && let Some(number) = told.tracking_number
    {
        remember_package(connection, order, told.shipment, number).await?;
    }
    Ok(())
}
