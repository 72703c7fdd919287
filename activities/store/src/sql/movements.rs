//! Statements that move stock by hand.

use std::collections::BTreeSet;

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, ShipmentId, Sku};

use super::keys::{self, Key};
use super::shelf::{Held, Shelf, Shelves, lock_reservations};
use super::stock::level_on;
use super::{Conn, Db, Pools, backorders, cut, signed};
use crate::keys::KeyClaim;
use crate::movements::{Count, Moved, Movement};
use crate::{Result, StoreError};

/// Why stock moves.
pub(crate) struct Booking<'a> {
    pub(crate) sku: &'a Sku,
    pub(crate) location: &'a Location,
    pub(crate) kind: &'static str,
    pub(crate) reason: &'a str,
    pub(crate) actor: &'a str,
    pub(crate) parcel: Option<(&'a OrderId, &'a ShipmentId)>,
}

/// How much stock moves.
#[derive(Clone, Copy)]
enum Change {
    By(i64),
    To(i64),
}

pub(crate) async fn receive(pools: &Pools, movement: &Movement, now: Instant) -> Result<Moved> {
    if movement.quantity <= 0 {
        return Err(StoreError::conflict("a receipt's quantity must be above zero"));
    }
    adjust_as(pools, movement, "receipt", now).await
}

pub(crate) async fn adjust(pools: &Pools, movement: &Movement, now: Instant) -> Result<Moved> {
    adjust_as(pools, movement, "adjustment", now).await
}

async fn adjust_as(pools: &Pools, m: &Movement, kind: &'static str, now: Instant) -> Result<Moved> {
    let booking = Booking { sku: &m.sku, location: &m.location, kind, reason: &m.reason, actor: &m.actor, parcel: None };
    change(pools, &booking, Change::By(m.quantity), m.key.as_ref(), now).await
}

pub(crate) async fn count(pools: &Pools, c: &Count, now: Instant) -> Result<Moved> {
    let booking = Booking { sku: &c.sku, location: &c.location, kind: "count", reason: &c.reason, actor: &c.actor, parcel: None };
    change(pools, &booking, Change::To(signed(c.on_hand)), c.key.as_ref(), now).await
}

/// One transaction; a refusal rolls it back, so that it does not use up its key.
async fn change(pools: &Pools, b: &Booking<'_>, by: Change, key: Option<&KeyClaim>, now: Instant) -> Result<Moved> {
    let mut tx = pools.begin().await?;
    if let Some(claim) = key {
        match keys::take(&mut tx, claim, now).await? {
            Key::Fresh => keys::answer(&mut tx, claim, 201, b.sku.as_str(), now).await?,
            Key::Reused => return Ok(Moved::KeyReused),
            Key::Known { .. } => return Ok(level_on(&mut tx, b.sku, now).await?.map_or(Moved::UnknownSku, Moved::Replayed)),
        }
    }
    if super::catalogue::of(&mut tx, [b.sku]).await?.is_empty() {
        return Ok(Moved::UnknownSku);
    }
    let skus = BTreeSet::from([b.sku.clone()]);
    let held = lock_reservations(&mut tx, None, &skus, now).await?;
    if !ensure_shelf(&mut tx, b, now).await? {
        return Ok(Moved::UnknownLocation);
    }
    let run_out: Vec<&Held> = held.iter().filter(|h| h.has_run_out(now)).collect();
    let mut shelves = Shelves::lock(&mut tx, &skus, &run_out).await?;
    shelves.give_back(&mut tx, &run_out, "lapsed", now).await?;
    let before = shelves.now.get(&(b.sku.clone(), b.location.clone())).copied();
    let before = before.unwrap_or(Shelf { on_hand: 0, reserved: 0 });
    let after = match by {
        Change::To(after) => after,
        Change::By(units) => {
            before.on_hand.checked_add(units).ok_or_else(|| StoreError::conflict("more units than a shelf can count"))?
        }
    };
    if after < before.reserved {
        let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
        return Ok(Moved::BelowReserved { on_hand: unsigned(before.on_hand), reserved: unsigned(before.reserved) });
    }
    book(&mut tx, b, after - before.on_hand, now).await?;
    shelves.change(b.sku, b.location, |shelf| shelf.on_hand = after)?;
    backorders::fill(&mut tx, &mut shelves, now).await?;
    shelves.save(&mut tx, now).await?;
    let level = level_on(&mut tx, b.sku, now).await?;
    tx.commit().await?;
    level.map(Moved::Done).ok_or_else(|| StoreError::conflict("the article vanished from the catalogue"))
}

/// Makes sure that the shelf has a row; a receipt also makes the place. `false`: the place is unknown.
async fn ensure_shelf(connection: &mut Conn, b: &Booking<'_>, now: Instant) -> Result<bool> {
    if b.kind == "receipt" {
        sqlx::query::<Db>("INSERT INTO locations (location, created_at) VALUES ($1, $2) ON CONFLICT (location) DO NOTHING")
            .bind(b.location.as_str())
            .bind(cut(now))
            .execute(&mut *connection)
            .await?;
    } else {
        let known = sqlx::query_scalar::<Db, String>("SELECT location FROM locations WHERE location = $1")
            .bind(b.location.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        if known.is_none() {
            return Ok(false);
        }
    }
    sqlx::query::<Db>(
        "INSERT INTO stock (sku, location, on_hand, reserved) VALUES ($1, $2, 0, 0) ON CONFLICT (sku, location) DO NOTHING",
    )
    .bind(b.sku.as_str())
    .bind(b.location.as_str())
    .execute(connection)
    .await?;
    Ok(true)
}

/// Writes a movement; none for no units.
pub(crate) async fn book(connection: &mut Conn, b: &Booking<'_>, units: i64, now: Instant) -> Result<()> {
    if units == 0 {
        return Ok(());
    }
    sqlx::query::<Db>(
        "INSERT INTO movements (sku, location, quantity, kind, reason, actor, order_id, shipment_id, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(b.sku.as_str())
    .bind(b.location.as_str())
    .bind(units)
    .bind(b.kind)
    .bind(b.reason)
    .bind(b.actor)
    .bind(b.parcel.map(|(order, _)| order.as_str()))
    .bind(b.parcel.map(|(_, shipment)| shipment.as_str()))
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(())
}
