//! Statements that put units of a return back on the shelf.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::Instant;
use oms_domain::ids::{Location, Sku};
use oms_domain::returning::Condition;

use super::backorders::fill;
use super::shelf::{Held, Shelves, lock_reservations};
use super::{Conn, Db, Pools, cut};
use crate::Result;
use crate::returns::RestockUnits;

pub(crate) async fn restock(pools: &Pools, back: &RestockUnits, now: Instant) -> Result<bool> {
    let mut wanted: BTreeMap<(&Sku, &Location), i64> = BTreeMap::new();
    for unit in back.units.iter().filter(|u| u.condition == Condition::Restock) {
        if let Some(location) = &unit.location {
            *wanted.entry((&unit.sku, location)).or_default() += i64::from(unit.quantity);
        }
    }
    let mut tx = pools.begin().await?;
    // whoever comes second waits here for the first one's end
    let fresh = sqlx::query::<Db>(
        "INSERT INTO restocks (return_id, receipt, at) VALUES ($1, $2, $3) ON CONFLICT (return_id, receipt) DO NOTHING",
    )
    .bind(back.return_id.as_str())
    .bind(i64::from(back.receipt))
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    if fresh.rows_affected() == 0 {
        return Ok(false);
    }
    let skus: BTreeSet<Sku> = wanted.keys().map(|(sku, _)| (*sku).clone()).collect();
    let held = lock_reservations(&mut tx, None, &skus, now).await?;
    for (sku, location) in wanted.keys() {
        ensure_shelf(&mut tx, sku, location, now).await?;
    }
    let run_out: Vec<&Held> = held.iter().filter(|h| h.has_run_out(now)).collect();
    let mut shelves = Shelves::lock(&mut tx, &skus, &run_out).await?;
    shelves.give_back(&mut tx, &run_out, "lapsed", now).await?;
    for ((sku, location), units) in wanted {
        insert(&mut tx, back, sku, location, units, now).await?;
        shelves.change(sku, location, |shelf| shelf.on_hand += units)?;
    }
    fill(&mut tx, &mut shelves, now).await?;
    shelves.save(&mut tx, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Makes sure that the shelf has a row; goods may come back to a place that never had any.
async fn ensure_shelf(connection: &mut Conn, sku: &Sku, location: &Location, now: Instant) -> Result<()> {
    sqlx::query::<Db>("INSERT INTO locations (location, created_at) VALUES ($1, $2) ON CONFLICT (location) DO NOTHING")
        .bind(location.as_str())
        .bind(cut(now))
        .execute(&mut *connection)
        .await?;
    sqlx::query::<Db>(
        "INSERT INTO stock (sku, location, on_hand, reserved) VALUES ($1, $2, 0, 0) ON CONFLICT (sku, location) DO NOTHING",
    )
    .bind(sku.as_str())
    .bind(location.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert(
    connection: &mut Conn,
    back: &RestockUnits,
    sku: &Sku,
    location: &Location,
    units: i64,
    now: Instant,
) -> Result<()> {
    sqlx::query::<Db>(
        "INSERT INTO movements (sku, location, quantity, kind, reason, actor, order_id, at)
         VALUES ($1, $2, $3, 'return', $4, $5, $6, $7)",
    )
    .bind(sku.as_str())
    .bind(location.as_str())
    .bind(units)
    .bind(format!("return {}", back.return_id))
    .bind(&back.actor)
    .bind(back.order_id.as_str())
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(())
}
