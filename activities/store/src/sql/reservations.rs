//! Statements that promise stock and take promises back.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::Instant;
use oms_domain::event::Fact;
use oms_domain::ids::{Location, OrderId, Sku};
use oms_domain::shortage::ShortagePolicy;
use oms_domain::stock::{self, Allocation, Quantity};
use sqlx::QueryBuilder;

use super::backorders::{self, Place};
use super::shelf::{Held, HeldLine, Shelves, lock_reservations, read_lines};
use super::{Conn, Db, Pools, cut, locations, record};
use crate::reservations::{Reserve, Reserved};
use crate::{Result, StoreError};

pub(crate) async fn reserve(pools: &Pools, reserve: &Reserve, now: Instant) -> Result<Reserved> {
    let wanted = stock::demand(reserve.lines.iter().map(|l| (&l.sku, l.quantity)));
    let mut skus: BTreeSet<Sku> = wanted.keys().cloned().collect();
    let mut tx = pools.begin().await?;
    if lock_promise(&mut tx, &reserve.order_id, None).await?.is_some() {
        return Ok(Reserved::Released);
    }
    let queued = backorders::queued(&mut tx, &reserve.order_id).await?;
    let held = lock_reservations(&mut tx, Some(&reserve.order_id), &skus, now).await?;
    let own: Vec<&Held> = held.iter().filter(|h| h.order_id == reserve.order_id.as_str()).collect();
    if let Some(repeat) = own.iter().find(|h| h.revision == i64::from(reserve.revision)) {
        return repeated(&mut tx, repeat, &reserve.order_id).await;
    }
    if own.iter().any(|h| h.revision > i64::from(reserve.revision)) {
        return Ok(Reserved::Released);
    }
    skus.extend(queued);
    // somebody else's reservation may have been confirmed while we waited for its lock: it is not ours to take
    let run_out: Vec<&Held> = held.iter().filter(|h| h.has_run_out(now)).collect();
    let mut older: Vec<Held> = own.into_iter().filter(|h| h.is_open() && !h.has_run_out(now)).cloned().collect();
    let returned: Vec<&Held> = run_out.iter().copied().chain(&older).collect();
    let mut shelves = Shelves::lock(&mut tx, &skus, &returned).await?;
    if !run_out.is_empty() {
        // whoever waits already comes before a newcomer
        shelves.give_back(&mut tx, &run_out, "lapsed", now).await?;
        backorders::fill(&mut tx, &mut shelves, now).await?;
    }
    if !older.is_empty() {
        read_lines(&mut tx, &mut older).await?;
        backorders::leave(&mut tx, &reserve.order_id).await?;
        shelves.give_back(&mut tx, &older.iter().collect::<Vec<_>>(), "released", now).await?;
    }
    let answer = promise(&mut tx, reserve, &wanted, &mut shelves, now).await?;
    if !older.is_empty() {
        backorders::fill(&mut tx, &mut shelves, now).await?;
    }
    shelves.save(&mut tx, now).await?;
    tx.commit().await?;
    Ok(answer)
}

/// Promises what the wish asks for, out of what is free.
async fn promise(
    connection: &mut Conn,
    reserve: &Reserve,
    wanted: &BTreeMap<Sku, u32>,
    shelves: &mut Shelves,
    now: Instant,
) -> Result<Reserved> {
    let supply = shelves.supply();
    let ranking = locations::ranking(connection, &reserve.order_id, reserve.strategy, &supply).await?;
    let (allocations, missing) = match reserve.policy {
        ShortagePolicy::Reject => match stock::plan(wanted, &supply, &ranking) {
            Err(short) => return Ok(Reserved::OutOfStock { short }),
            Ok(allocations) => (allocations, BTreeMap::new()),
        },
        ShortagePolicy::ShipAvailable | ShortagePolicy::Wait => stock::plan_available(wanted, &supply, &ranking),
    };
    let expires_at = (reserve.policy == ShortagePolicy::Reject).then_some(reserve.expires_at);
    let revision = i64::from(reserve.revision);
    insert(connection, &reserve.order_id, revision, expires_at, now).await?;
    add(connection, (&reserve.order_id, revision), &allocations, shelves).await?;
    let place = Place { order_id: &reserve.order_id, revision, placed_at: reserve.placed_at, strategy: reserve.strategy };
    backorders::queue(connection, &place, &missing, now).await?;
    Ok(Reserved::Held { allocations, waiting: quantities(missing) })
}

/// The answer to a repeat: what the order has by now. A promise that ran out answers what it was; its confirmation will tell.
async fn repeated(connection: &mut Conn, repeat: &Held, order: &OrderId) -> Result<Reserved> {
    if repeat.state == "lapsed" {
        return Ok(Reserved::Held { allocations: allocations(&repeat.lines)?, waiting: Vec::new() });
    }
    standing(connection, order).await
}

pub(crate) fn quantities(missing: BTreeMap<Sku, u32>) -> Vec<Quantity> {
    missing.into_iter().map(|(sku, quantity)| Quantity { sku, quantity }).collect()
}

/// `told`: the fact that goes on the order's timeline if anything is given back.
pub(crate) async fn release(pools: &Pools, order_id: &OrderId, told: Option<&Fact>, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    // the order's row first, as its records lock it
    let row = record::lock_if_any(&mut tx, told.map(|_| order_id)).await?;
    lock_promise(&mut tx, order_id, Some(now)).await?;
    let queued = backorders::queued(&mut tx, order_id).await?;
    let held = lock_reservations(&mut tx, Some(order_id), &BTreeSet::new(), now).await?;
    let mut open: Vec<Held> = held.into_iter().filter(Held::is_open).collect();
    let mut released = false;
    if !open.is_empty() {
        let mut shelves = Shelves::lock(&mut tx, &queued, &open.iter().collect::<Vec<_>>()).await?;
        read_lines(&mut tx, &mut open).await?;
        backorders::leave(&mut tx, order_id).await?;
        released = shelves.give_back(&mut tx, &open.iter().collect::<Vec<_>>(), "released", now).await?;
        backorders::fill(&mut tx, &mut shelves, now).await?;
        backorders::let_sleep(&mut tx, order_id).await?;
        shelves.save(&mut tx, now).await?;
    }
    if let (true, Some(mut row), Some(fact)) = (released, row, told) {
        record::tell(&mut tx, &mut row, std::slice::from_ref(fact), now).await?;
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

/// Makes a reservation without lines. It runs out if `expires_at` says when.
pub(crate) async fn insert(
    connection: &mut Conn,
    order: &OrderId,
    revision: i64,
    expires_at: Option<Instant>,
    now: Instant,
) -> Result<()> {
    sqlx::query::<Db>(
        "INSERT INTO reservations (order_id, revision, state, expires_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(order.as_str())
    .bind(revision)
    .bind(if expires_at.is_some() { "held" } else { "confirmed" })
    .bind(expires_at.map(cut))
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds to a reservation and takes it from the shelves.
pub(crate) async fn add(
    connection: &mut Conn,
    (order, revision): (&OrderId, i64),
    allocations: &[Allocation],
    shelves: &mut Shelves,
) -> Result<()> {
    let lines: Vec<(&Location, &Quantity)> =
        allocations.iter().flat_map(|a| a.lines.iter().map(move |l| (&a.location, l))).collect();
    if lines.is_empty() {
        return Ok(());
    }
    for (place, line) in &lines {
        shelves.change(&line.sku, place, |shelf| shelf.reserved += i64::from(line.quantity))?;
    }
    let mut insert =
        QueryBuilder::<Db>::new("INSERT INTO reservation_lines (order_id, revision, location, sku, quantity, committed) ");
    insert.push_values(lines, |mut row, (place, line)| {
        row.push_bind(order.as_str()).push_bind(revision).push_bind(place.as_str());
        row.push_bind(line.sku.as_str()).push_bind(i64::from(line.quantity)).push_bind(0i64);
    });
    insert.push(
        " ON CONFLICT (order_id, revision, location, sku)
          DO UPDATE SET quantity = reservation_lines.quantity + excluded.quantity",
    );
    insert.build().execute(connection).await?;
    Ok(())
}

/// What an order has and what it waits for, in one statement: units move from one to the other at any time.
pub(crate) async fn standing(connection: &mut Conn, order: &OrderId) -> Result<Reserved> {
    let mut rows = sqlx::query_as::<Db, (Option<String>, String, i64)>(
        "SELECT location, sku, CAST(SUM(units) AS BIGINT) FROM (
             SELECT l.location, l.sku, CASE WHEN r.state IN ('held', 'confirmed') THEN l.quantity ELSE l.committed END AS units
             FROM reservation_lines l JOIN reservations r ON r.order_id = l.order_id AND r.revision = l.revision
             WHERE l.order_id = $1
         ) AS had GROUP BY location, sku HAVING SUM(units) > 0
         UNION ALL SELECT NULL, sku, quantity FROM backorders WHERE order_id = $1",
    )
    .bind(order.as_str())
    .fetch_all(connection)
    .await?;
    rows.sort();
    let (mut lines, mut waiting) = (Vec::new(), Vec::new());
    for (location, sku, quantity) in rows {
        let sku = Sku::parse(sku)?;
        match location {
            Some(location) => lines.push(HeldLine { location: Location::parse(location)?, sku, quantity, committed: 0 }),
            None => {
                let quantity = u32::try_from(quantity).map_err(|e| StoreError::corrupt("backorders.quantity", e))?;
                waiting.push(Quantity { sku, quantity });
            }
        }
    }
    Ok(Reserved::Held { allocations: allocations(&lines)?, waiting })
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
