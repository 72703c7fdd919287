//! Statements of the hand-off to the warehouse.

use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::shipment::ShipmentStatus;

use super::{Db, Pools, cut, record};
use crate::Result;
use crate::acknowledgements::{Acknowledged, Unacknowledged};

/// What the key of the fact that tells the warehouse once more begins with; the shipment's id follows.
const AGAIN: &str = "handed_off_again/";

/// Holds for `shipments s` as long as nobody has said anything of it.
macro_rules! unheard {
    () => {
        " NOT EXISTS (SELECT 1 FROM acknowledgements a WHERE a.shipment_id = s.id)
          AND NOT EXISTS (SELECT 1 FROM shipment_events e WHERE e.shipment_id = s.id)"
    };
}

pub(crate) async fn acknowledge(pools: &Pools, shipment: &ShipmentId, actor: &str, now: Instant) -> Result<Acknowledged> {
    let mut tx = pools.begin().await?;
    let order = sqlx::query_scalar::<Db, String>("SELECT order_id FROM shipments WHERE id = $1")
        .bind(shipment.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(order) = order else { return Ok(Acknowledged::UnknownShipment) };
    let row = record::lock_if_any(&mut tx, Some(&OrderId::parse(order)?)).await?;
    let noted = sqlx::query::<Db>(
        "INSERT INTO acknowledgements (shipment_id, actor, at) SELECT s.id, $2, $3 FROM shipments s WHERE s.id = $1
         ON CONFLICT (shipment_id) DO NOTHING",
    )
    .bind(shipment.as_str())
    .bind(actor)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    if let Some(mut row) = row.filter(|_| noted.rows_affected() > 0) {
        let fact = Fact::new(format!("acknowledged/{shipment}"), FactKind::ShipmentAcknowledged, now).by(actor).about(shipment);
        record::tell(&mut tx, &mut row, &[fact], now).await?;
    }
    let at = sqlx::query_scalar::<Db, Instant>("SELECT at FROM acknowledgements WHERE shipment_id = $1")
        .bind(shipment.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(at.map_or(Acknowledged::UnknownShipment, Acknowledged::At))
}

pub(crate) async fn unacknowledged(
    pools: &Pools,
    booked_before: Instant,
    after: Option<&ShipmentId>,
    limit: u32,
) -> Result<Vec<Unacknowledged>> {
    let rows = sqlx::query_as::<Db, (String, String, Instant)>(concat!(
        "SELECT s.id, s.order_id, s.updated_at FROM shipments s WHERE s.status = $1 AND s.id > $2 AND s.updated_at < $3 AND",
        unheard!(),
        " AND NOT EXISTS (SELECT 1 FROM review_items i WHERE i.order_id = s.order_id AND i.shipment_id = s.id
             AND i.kind = 'no_acknowledgement' AND i.state IN ('open', 'resolved')) ORDER BY s.id LIMIT $4"
    ))
    .bind(ShipmentStatus::Booked.as_str())
    .bind(after.map_or("", ShipmentId::as_str))
    .bind(cut(booked_before))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(waiting).collect()
}

pub(crate) async fn to_hand_off_again(pools: &Pools, booked_before: Instant, limit: u32) -> Result<Vec<Unacknowledged>> {
    let rows = sqlx::query_as::<Db, (String, String, Instant)>(concat!(
        "SELECT s.id, s.order_id, s.updated_at FROM shipments s WHERE s.status = $1 AND s.updated_at < $2 AND",
        unheard!(),
        " AND NOT EXISTS (SELECT 1 FROM timeline t WHERE t.order_id = s.order_id AND t.key = $4 || s.id)
         ORDER BY s.id LIMIT $3"
    ))
    .bind(ShipmentStatus::Booked.as_str())
    .bind(cut(booked_before))
    .bind(i64::from(limit))
    .bind(AGAIN)
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(waiting).collect()
}

pub(crate) async fn hand_off_again(pools: &Pools, waiting: &Unacknowledged, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    let Some(mut row) = record::lock_if_any(&mut tx, Some(&waiting.order_id)).await? else { return Ok(()) };
    let key = format!("{AGAIN}{}", waiting.shipment_id);
    let fact = Fact::new(key, FactKind::ShipmentHandedOffAgain, now).by("system").about(&waiting.shipment_id);
    record::tell(&mut tx, &mut row, &[fact], now).await?;
    tx.commit().await?;
    Ok(())
}

fn waiting((shipment, order, since): (String, String, Instant)) -> Result<Unacknowledged> {
    Ok(Unacknowledged { shipment_id: ShipmentId::parse(shipment)?, order_id: OrderId::parse(order)?, since })
}

pub(crate) async fn awaits(pools: &Pools, shipment: &ShipmentId) -> Result<bool> {
    let waiting = sqlx::query_scalar::<Db, i64>(concat!(
        "SELECT COUNT(*) FROM shipments s WHERE s.id = $1 AND s.status = $2 AND",
        unheard!()
    ))
    .bind(shipment.as_str())
    .bind(ShipmentStatus::Booked.as_str())
    .fetch_one(&pools.read)
    .await?;
    Ok(waiting > 0)
}
