//! Statements that read what happened to an order.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};

use super::record::event_id;
use super::{Db, Pools, money, unsigned};
use crate::Result;
use crate::orders::TimelineEntry;

#[derive(sqlx::FromRow)]
struct FactRow {
    seq: i64,
    kind: String,
    at: Instant,
    recorded_at: Instant,
    actor: String,
    reason: Option<String>,
    shipment_id: Option<String>,
    amount_minor: Option<i64>,
    currency: Option<String>,
}

#[derive(sqlx::FromRow)]
struct ScanRow {
    shipment_id: String,
    event_id: String,
    kind: String,
    result: String,
    occurred_at: Instant,
    recorded_at: Instant,
}

pub(crate) async fn timeline(pools: &Pools, id: &OrderId) -> Result<Vec<TimelineEntry>> {
    let facts = sqlx::query_as::<Db, FactRow>(
        "SELECT seq, kind, at, recorded_at, actor, reason, shipment_id, amount_minor, currency
         FROM timeline WHERE order_id = $1 ORDER BY seq",
    )
    .bind(id.as_str())
    .fetch_all(&pools.read)
    .await?;
    // an applied report from `shipped` on has a fact of its own
    let scans = sqlx::query_as::<Db, ScanRow>(
        "SELECT shipment_id, event_id, kind, result, occurred_at, recorded_at FROM shipment_events
         WHERE order_id = $1 AND (rank < 3 OR result = 'stale') ORDER BY recorded_at, event_id",
    )
    .bind(id.as_str())
    .fetch_all(&pools.read)
    .await?;
    let mut scans = scans.into_iter().map(scan).collect::<Result<Vec<_>>>()?.into_iter().peekable();
    let mut entries = Vec::with_capacity(facts.len());
    // facts stay in their own order, whatever the clocks of the writers said; a report goes before the first later fact
    for row in facts {
        while let Some(earlier) = scans.next_if(|scan| scan.recorded_at < row.recorded_at) {
            entries.push(earlier);
        }
        entries.push(fact(id, row)?);
    }
    entries.extend(scans);
    Ok(entries)
}

fn fact(order: &OrderId, row: FactRow) -> Result<TimelineEntry> {
    let seq = unsigned("timeline.seq", row.seq)?;
    let amount = row.amount_minor.zip(row.currency).map(|(minor, currency)| money("timeline.currency", minor, &currency));
    Ok(TimelineEntry {
        seq: Some(seq),
        kind: row.kind,
        at: row.at,
        recorded_at: row.recorded_at,
        actor: row.actor,
        reason: row.reason,
        shipment: row.shipment_id.map(ShipmentId::parse).transpose()?,
        amount: amount.transpose()?,
        event_id: Some(event_id(order, seq)),
    })
}

fn scan(row: ScanRow) -> Result<TimelineEntry> {
    Ok(TimelineEntry {
        seq: None,
        kind: format!("scan.{}", row.kind),
        at: row.occurred_at,
        recorded_at: row.recorded_at,
        actor: "carrier".to_owned(),
        reason: Some(row.result),
        shipment: Some(ShipmentId::parse(row.shipment_id)?),
        amount: None,
        event_id: Some(row.event_id),
    })
}
