//! Statements of couriers' bookings.

use oms_domain::Instant;

use super::{Db, Pools, cut};
use crate::Result;
use crate::bookings::BookingRow;

pub(crate) async fn record(pools: &Pools, b: &BookingRow) -> Result<()> {
    let mut tx = pools.begin().await?;
    // a row without a carrier says that it was taken back first: it gets its particulars and stays taken back
    sqlx::query::<Db>(
        "INSERT INTO bookings (key, order_id, shipment_id, carrier, tracking_number, reference, booked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key) DO UPDATE SET order_id = excluded.order_id,
             shipment_id = excluded.shipment_id, carrier = excluded.carrier, tracking_number = excluded.tracking_number,
             reference = excluded.reference, booked_at = excluded.booked_at
         WHERE bookings.carrier IS NULL",
    )
    .bind(&b.key)
    .bind(b.order_id.as_str())
    .bind(b.shipment_id.as_str())
    .bind(&b.carrier)
    .bind(&b.tracking_number)
    .bind(&b.reference)
    .bind(cut(b.at))
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
