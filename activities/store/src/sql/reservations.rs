//! Statements that promise stock and take promises back.

use std::collections::BTreeSet;

use oms_domain::Instant;
use oms_domain::ids::{OrderId, Sku};
use oms_domain::stock::{self, Allocation, Quantity, Supply};
use sqlx::QueryBuilder;

use super::shelf::{Held, HeldLine, Shelves, lock_reservations};
use super::{Conn, Db, Pools, cut};
use crate::reservations::{Reserve, Reserved};
use crate::{Result, StoreError};

pub(crate) async fn reserve(pools: &Pools, reserve: &Reserve, now: Instant) -> Result<Reserved> {
    let wanted = stock::demand(reserve.lines.iter().map(|l| (&l.sku, l.quantity)));
    let skus: BTreeSet<Sku> = wanted.keys().cloned().collect();
    let mut tx = pools.begin().await?;
    if lock_promise(&mut tx, &reserve.order_id, None).await?.is_some() {
        return Ok(Reserved::Released);
    }
    let held = lock_reservations(&mut tx, Some(&reserve.order_id), &skus, now).await?;
    let own: Vec<&Held> = held.iter().filter(|h| h.order_id == reserve.order_id.as_str()).collect();
    if let Some(repeat) = own.iter().find(|h| h.revision == i64::from(reserve.revision)) {
        return Ok(Reserved::Held { allocations: allocations(&repeat.lines)? });
    }
    if own.iter().any(|h| h.revision > i64::from(reserve.revision)) {
        return Ok(Reserved::Released);
    }
    // somebody else's reservation may have been confirmed while we waited for its lock: it is not ours to take
    let run_out: Vec<&Held> = held.iter().filter(|h| h.has_run_out(now)).collect();
    let older: Vec<&Held> = own.into_iter().filter(|h| h.is_open() && !h.has_run_out(now)).collect();
    let returned: Vec<&Held> = run_out.iter().chain(&older).copied().collect();
    let mut shelves = Shelves::lock(&mut tx, &skus, &returned).await?;
    shelves.give_back(&mut tx, &run_out, "lapsed", now).await?;
    shelves.give_back(&mut tx, &older, "released", now).await?;
    let supply: Supply = shelves
        .now
        .iter()
        .map(|((sku, place), shelf)| ((place.clone(), sku.clone()), u32::try_from(shelf.free().max(0)).unwrap_or(u32::MAX)))
        .collect();
    let answer = match stock::plan(&wanted, &supply) {
        Err(short) => Reserved::OutOfStock { short },
        Ok(allocations) => {
            insert(&mut tx, reserve, &allocations, now).await?;
            for (place, line) in allocations.iter().flat_map(|a| a.lines.iter().map(move |l| (&a.location, l))) {
                shelves.change(&line.sku, place, |shelf| shelf.reserved += i64::from(line.quantity))?;
            }
            Reserved::Held { allocations }
        }
    };
    shelves.save(&mut tx).await?;
    tx.commit().await?;
    Ok(answer)
}

pub(crate) async fn release(pools: &Pools, order_id: &OrderId, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    lock_promise(&mut tx, order_id, Some(now)).await?;
    let held = lock_reservations(&mut tx, Some(order_id), &BTreeSet::new(), now).await?;
    let open: Vec<&Held> = held.iter().filter(|h| h.is_open()).collect();
    let mut released = false;
    if !open.is_empty() {
        let mut shelves = Shelves::lock(&mut tx, &BTreeSet::new(), &open).await?;
        released = shelves.give_back(&mut tx, &open, "released", now).await?;
        shelves.save(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(released)
}

/// Locks the order's promise, and marks it released if `release` says when. Answers when it was released, if ever.
pub(crate) async fn lock_promise(connection: &mut Conn, order: &OrderId, release: Option<Instant>) -> Result<Option<Instant>> {
    let released = sqlx::query_scalar::<Db, Option<Instant>>(
        "INSERT INTO promises (order_id, released_at) VALUES ($1, $2)
         ON CONFLICT (order_id) DO UPDATE SET released_at = COALESCE(promises.released_at, excluded.released_at)
         RETURNING released_at",
    )
    .bind(order.as_str())
    .bind(release.map(cut))
    .fetch_one(connection)
    .await?;
    Ok(released)
}

/// Confirms the order's reservation, so that it never runs out. `false`: it has run out, or there is none. Idempotent.
pub(crate) async fn confirm(connection: &mut Conn, order: &OrderId, now: Instant) -> Result<bool> {
    let confirmed = sqlx::query::<Db>(
        "UPDATE reservations SET state = 'confirmed', expires_at = NULL, updated_at = $2
         WHERE order_id = $1 AND state = 'held' AND expires_at > $2",
    )
    .bind(order.as_str())
    .bind(cut(now))
    .execute(&mut *connection)
    .await?;
    if confirmed.rows_affected() > 0 {
        return Ok(true);
    }
    let before: Option<i64> =
        sqlx::query_scalar::<Db, i64>("SELECT revision FROM reservations WHERE order_id = $1 AND state = 'confirmed'")
            .bind(order.as_str())
            .fetch_optional(connection)
            .await?;
    Ok(before.is_some())
}

async fn insert(connection: &mut Conn, reserve: &Reserve, allocations: &[Allocation], now: Instant) -> Result<()> {
    sqlx::query::<Db>(
        "INSERT INTO reservations (order_id, revision, state, expires_at, created_at, updated_at)
         VALUES ($1, $2, 'held', $3, $4, $4)",
    )
    .bind(reserve.order_id.as_str())
    .bind(i64::from(reserve.revision))
    .bind(cut(reserve.expires_at))
    .bind(cut(now))
    .execute(&mut *connection)
    .await?;
    let lines: Vec<(&Allocation, &Quantity)> = allocations.iter().flat_map(|a| a.lines.iter().map(move |l| (a, l))).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let mut insert =
        QueryBuilder::<Db>::new("INSERT INTO reservation_lines (order_id, revision, location, sku, quantity, committed) ");
    insert.push_values(lines, |mut row, (allocation, line)| {
        row.push_bind(reserve.order_id.as_str()).push_bind(i64::from(reserve.revision)).push_bind(allocation.location.as_str());
        row.push_bind(line.sku.as_str()).push_bind(i64::from(line.quantity)).push_bind(0i64);
    });
    insert.build().execute(connection).await?;
    Ok(())
}

/// Lines sorted by place and SKU as allocations.
fn allocations(lines: &[HeldLine]) -> Result<Vec<Allocation>> {
    let mut made: Vec<Allocation> = Vec::new();
    for line in lines {
        if made.last().is_none_or(|a| a.location != line.location) {
            made.push(Allocation { location: line.location.clone(), lines: Vec::new() });
        }
        let quantity = u32::try_from(line.quantity).map_err(|e| StoreError::corrupt("reservation_lines.quantity", e))?;
        if let Some(last) = made.last_mut() {
            last.lines.push(Quantity { sku: line.sku.clone(), quantity });
        }
    }
    Ok(made)
}
