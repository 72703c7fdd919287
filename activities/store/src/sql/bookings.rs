//! Statements of couriers' bookings.

use oms_domain::Instant;
use oms_domain::ids::ShipmentId;

use super::{Db, Pools, cut};
use crate::Result;
use crate::bookings::{BookingRow, Label};

pub(crate) async fn record(pools: &Pools, b: &BookingRow) -> Result<()> {
    let mut tx = pools.begin().await?;
    // a row without a carrier says that it was taken back first: it gets its particulars and stays taken back
    sqlx::query::<Db>(
        "INSERT INTO bookings (key, order_id, shipment_id, carrier, tracking_number, reference, booked_at, label_type, label)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (key) DO UPDATE SET order_id = excluded.order_id,
             shipment_id = excluded.shipment_id, carrier = excluded.carrier, tracking_number = excluded.tracking_number,
             reference = excluded.reference, booked_at = excluded.booked_at, label_type = excluded.label_type, label = excluded.label
         WHERE bookings.carrier IS NULL OR (bookings.label IS NULL AND excluded.label IS NOT NULL)",
    )
    .bind(&b.key)
    .bind(b.order_id.as_str())
    .bind(b.shipment_id.as_str())
    .bind(&b.carrier)
    .bind(&b.tracking_number)
    .bind(&b.reference)
    .bind(cut(b.at))
    .bind(b.label.as_ref().map(|l| l.media_type.as_str()))
    .bind(b.label.as_ref().map(|l| l.text.as_str()))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn cancelled(pools: &Pools, key: &str, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "INSERT INTO bookings (key, cancelled_at) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET
             cancelled_at = COALESCE(bookings.cancelled_at, excluded.cancelled_at)",
    )
    .bind(key)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn label(pools: &Pools, shipment_id: &ShipmentId) -> Result<Option<Label>> {
    let row = sqlx::query_as::<Db, (String, String)>(
        "SELECT label_type, label FROM bookings
         WHERE shipment_id = $1 AND cancelled_at IS NULL AND label IS NOT NULL AND label_type IS NOT NULL
         ORDER BY booked_at DESC, key DESC LIMIT 1",
    )
    .bind(shipment_id.as_str())
    .fetch_optional(&pools.read)
    .await?;
    Ok(row.map(|(media_type, text)| Label { media_type, text }))
}
