//! Statements that book a parcel out of the stock.

use std::collections::BTreeSet;

use oms_domain::Instant;
use oms_domain::ids::Sku;
use oms_domain::stock::{self, Quantity};
use sqlx::types::Json;

use super::movements::{Booking, book};
use super::reservations::lock_promise;
use super::shelf::{Held, Shelves, lock_reservations, read_lines};
use super::{Conn, Db, Pools, backorders, cut};
use crate::Result;
use crate::reservations::{CommitStock, Departed};

pub(crate) async fn depart(pools: &Pools, commit: &CommitStock, now: Instant) -> Result<Departed> {
    let wanted = stock::demand(commit.lines.iter().map(|l| (&l.sku, l.quantity)));
    let skus: BTreeSet<Sku> = wanted.keys().cloned().collect();
    let mut tx = pools.begin().await?;
    lock_promise(&mut tx, &commit.order_id, None).await?;
    if let Some(missing) = departed(&mut tx, commit).await? {
        return Ok(Departed { missing });
    }
    let held = lock_reservations(&mut tx, Some(&commit.order_id), &skus, now).await?;
    let (mut own, foreign): (Vec<Held>, Vec<Held>) =
        held.into_iter().filter(Held::is_open).partition(|h| h.order_id == commit.order_id.as_str());
    let run_out: Vec<&Held> = foreign.iter().filter(|h| h.has_run_out(now)).collect();
    let mut shelves = Shelves::lock(&mut tx, &skus, &run_out).await?;
    read_lines(&mut tx, &mut own).await?;
    shelves.give_back(&mut tx, &run_out, "lapsed", now).await?;
    let mut missing = Vec::new();
    for (sku, quantity) in &wanted {
        let promised = take_promised(&mut tx, commit, &own, sku, i64::from(*quantity)).await?;
        let rest = i64::from(*quantity) - promised;
        let free = shelves.now.get(&(sku.clone(), commit.location.clone())).map_or(0, |shelf| shelf.free().max(0));
        let unpromised = rest.min(free);
        if promised + unpromised > 0 {
            shelves.change(sku, &commit.location, |shelf| {
                shelf.on_hand -= promised + unpromised;
                shelf.reserved -= promised;
            })?;
        }
        for (kind, units) in [("commit", promised), ("departure", unpromised)] {
            let parcel = Some((&commit.order_id, &commit.shipment_id));
            let booking = Booking { sku, location: &commit.location, kind, reason: kind, actor: "system", parcel };
            book(&mut tx, &booking, -units, now).await?;
        }
        if rest > unpromised {
            let units = u32::try_from(rest - unpromised).unwrap_or(u32::MAX);
            missing.push(Quantity { sku: sku.clone(), quantity: units });
        }
    }
    sqlx::query::<Db>("INSERT INTO departures (shipment_id, order_id, missing, at) VALUES ($1, $2, $3, $4)")
        .bind(commit.shipment_id.as_str())
        .bind(commit.order_id.as_str())
        .bind(Json(&missing))
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    if !run_out.is_empty() {
        // the parcel is gone: what it took cannot be given to anybody
        backorders::fill(&mut tx, &mut shelves, now).await?;
    }
    shelves.save(&mut tx, now).await?;
    tx.commit().await?;
    Ok(Departed { missing })
}

/// What was missing when the parcel left before.
async fn departed(connection: &mut Conn, commit: &CommitStock) -> Result<Option<Vec<Quantity>>> {
    let missing = sqlx::query_scalar::<Db, Json<Vec<Quantity>>>("SELECT missing FROM departures WHERE shipment_id = $1")
        .bind(commit.shipment_id.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(missing.map(|Json(missing)| missing))
}

/// Marks up to `quantity` units of the order's own promise at that place as gone; answers how many there were.
async fn take_promised(connection: &mut Conn, commit: &CommitStock, own: &[Held], sku: &Sku, quantity: i64) -> Result<i64> {
    let mut taken = 0;
    for held in own {
        let Some(line) = held.lines.iter().find(|l| l.sku == *sku && l.location == commit.location) else { continue };
        let units = (line.quantity - line.committed).min(quantity - taken);
        if units == 0 {
            continue;
        }
        taken += units;
        sqlx::query::<Db>(
            "UPDATE reservation_lines SET committed = committed + $5
             WHERE order_id = $1 AND revision = $2 AND location = $3 AND sku = $4",
        )
        .bind(&held.order_id)
        .bind(held.revision)
        .bind(line.location.as_str())
        .bind(sku.as_str())
        .bind(units)
        .execute(&mut *connection)
        .await?;
    }
    Ok(taken)
}
