//! Statements that make an order's promise cover other lines.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, Sku};
use oms_domain::shortage::ShortagePolicy;
use oms_domain::stock;
use sqlx::types::Json;

use super::backorders::{self, Place};
use super::reservations::{add, insert, lock_promise, standing};
use super::shelf::{Held, Shelves, lock_reservations, read_lines};
use super::{Conn, Db, Pools, cut, locations};
use crate::reservations::{ChangeStock, Reserved};
use crate::{Result, StoreError};

pub(crate) async fn change(pools: &Pools, change: &ChangeStock, now: Instant) -> Result<Reserved> {
    let order = &change.order_id;
    let wanted = stock::demand(change.lines.iter().map(|l| (&l.sku, l.quantity)));
    let mut tx = pools.begin().await?;
    if lock_promise(&mut tx, order, None).await?.is_some() {
        return Ok(Reserved::Released);
    }
    if let Some(before) = repeated(&mut tx, change).await? {
        return Ok(before);
    }
    let mut skus: BTreeSet<Sku> = wanted.keys().cloned().collect();
    skus.extend(backorders::queued(&mut tx, order).await?);
    let held = lock_reservations(&mut tx, Some(order), &skus, now).await?;
    let run_out: Vec<&Held> = held.iter().filter(|h| h.has_run_out(now)).collect();
    let mut own: Vec<Held> = held.iter().filter(|h| h.order_id == order.as_str()).cloned().collect();
    let returned: Vec<&Held> = run_out.iter().copied().chain(own.iter().filter(|h| h.is_open())).collect();
    let mut shelves = Shelves::lock(&mut tx, &skus, &returned).await?;
    if !run_out.is_empty() {
        shelves.give_back(&mut tx, &run_out, "lapsed", now).await?;
        backorders::fill(&mut tx, &mut shelves, now).await?;
    }
    for held in own.iter_mut().filter(|h| h.has_run_out(now)) {
        held.state = "lapsed".to_owned();
    }
    read_lines(&mut tx, &mut own).await?;
    let short = cover(&mut tx, change, &wanted, &own, &mut shelves, now).await?;
    note(&mut tx, change, short.as_ref()).await?;
    if short.is_none() {
        backorders::fill(&mut tx, &mut shelves, now).await?;
    }
    shelves.save(&mut tx, now).await?;
    let answer = match short {
        Some(short) => Reserved::OutOfStock { short },
        None => standing(&mut tx, order).await?,
    };
    tx.commit().await?;
    Ok(answer)
}

/// The answer to a number that came before: a refusal is repeated, otherwise what the order has now.
async fn repeated(connection: &mut Conn, change: &ChangeStock) -> Result<Option<Reserved>> {
    let (last, short) =
        sqlx::query_as::<Db, (i64, Option<Json<Vec<Sku>>>)>("SELECT last_change, change_short FROM promises WHERE order_id = $1")
            .bind(change.order_id.as_str())
            .fetch_one(&mut *connection)
            .await?;
    let number = i64::from(change.change);
    match short {
        _ if number > last => Ok(None),
        Some(Json(short)) if number == last => Ok(Some(Reserved::OutOfStock { short })),
        _ => standing(connection, &change.order_id).await.map(Some),
    }
}

/// A refused change uses its number up too: an attempt of it that comes late must not change what the order went on with.
async fn note(connection: &mut Conn, change: &ChangeStock, short: Option<&Vec<Sku>>) -> Result<()> {
    sqlx::query::<Db>("UPDATE promises SET last_change = $2, change_short = $3 WHERE order_id = $1")
        .bind(change.order_id.as_str())
        .bind(i64::from(change.change))
        .bind(short.map(Json))
        .execute(connection)
        .await?;
    Ok(())
}

/// Gives back what is too much, promises or queues for what lacks. Answers what is short, and has changed nothing then.
async fn cover(
    connection: &mut Conn,
    change: &ChangeStock,
    wanted: &BTreeMap<Sku, u32>,
    own: &[Held],
    shelves: &mut Shelves,
    now: Instant,
) -> Result<Option<Vec<Sku>>> {
    let (surplus, lacking) = compare(wanted, own);
    let supply = shelves.supply();
    let ranking = locations::ranking(connection, &change.order_id, change.strategy, &supply).await?;
    let (more, missing) = match change.policy {
        ShortagePolicy::Reject => match stock::plan(&lacking, &supply, &ranking) {
            Err(short) => return Ok(Some(short)),
            Ok(more) => (more, BTreeMap::new()),
        },
        ShortagePolicy::ShipAvailable | ShortagePolicy::Wait => stock::plan_available(&lacking, &supply, &ranking),
    };
    // places that rank last give back first
    let lines: Vec<_> = own.iter().filter(|h| h.is_open()).flat_map(|h| h.lines.iter().map(move |l| (h.revision, l))).collect();
    let places = ranking.sorted(lines.iter().map(|(_, line)| &line.location));
    let mut kept = kept(change, own);
    for (sku, mut units) in surplus {
        for place in places.iter().rev() {
            for (revision, line) in lines.iter().filter(|(_, l)| l.sku == sku && l.location == **place) {
                let open = line.quantity - line.committed;
                let stays = kept.get_mut(&(&line.location, &line.sku)).map_or(0, |kept| {
                    let stays = (*kept).min(open);
                    *kept -= stays;
                    stays
                });
                let back = (open - stays).min(units);
                if back > 0 {
                    units -= back;
                    shrink(connection, &change.order_id, *revision, line, back).await?;
                    shelves.change(&sku, place, |shelf| shelf.reserved -= back)?;
                }
            }
        }
    }
    let lasts = change.policy != ShortagePolicy::Reject;
    let revision = current(connection, &change.order_id, own, lasts, now).await?;
    add(connection, (&change.order_id, revision), &more, shelves).await?;
    backorders::leave(connection, &change.order_id).await?;
    let place = Place { order_id: &change.order_id, revision, placed_at: change.placed_at, strategy: change.strategy };
    backorders::queue(connection, &place, &missing, now).await?;
    Ok(None)
}

/// Units that parcels hold which stay as they are and have not left, by place and article.
fn kept<'a>(change: &'a ChangeStock, own: &'a [Held]) -> BTreeMap<(&'a Location, &'a Sku), i64> {
    let mut kept: BTreeMap<(&Location, &Sku), i64> = BTreeMap::new();
    for place in &change.keep {
        for line in &place.lines {
            *kept.entry((&place.location, &line.sku)).or_default() += i64::from(line.quantity);
        }
    }
    for line in own.iter().flat_map(|held| &held.lines) {
        if let Some(units) = kept.get_mut(&(&line.location, &line.sku)) {
            *units = (*units - line.committed).max(0);
        }
    }
    kept
}

/// Units that are too many and units that lack, by article. Units that left count, whatever became of their reservation.
fn compare(wanted: &BTreeMap<Sku, u32>, own: &[Held]) -> (BTreeMap<Sku, i64>, BTreeMap<Sku, u32>) {
    let (mut open, mut gone): (BTreeMap<&Sku, i64>, BTreeMap<&Sku, i64>) = (BTreeMap::new(), BTreeMap::new());
    for (held, line) in own.iter().flat_map(|h| h.lines.iter().map(move |l| (h, l))) {
        *gone.entry(&line.sku).or_default() += line.committed;
        *open.entry(&line.sku).or_default() += if held.is_open() { line.quantity - line.committed } else { 0 };
    }
    let (mut surplus, mut lacking) = (BTreeMap::new(), BTreeMap::new());
    let skus: BTreeSet<&Sku> = wanted.keys().chain(open.keys().copied()).collect();
    for sku in skus {
        let of = |units: &BTreeMap<&Sku, i64>| units.get(sku).copied().unwrap_or(0);
        let target = (i64::from(wanted.get(sku).copied().unwrap_or(0)) - of(&gone)).max(0);
        match target - of(&open) {
            0 => {}
            more if more > 0 => drop(lacking.insert(sku.clone(), u32::try_from(more).unwrap_or(u32::MAX))),
            less => drop(surplus.insert(sku.clone(), -less)),
        }
    }
    (surplus, lacking)
}

/// Takes units off a line; an empty line goes.
async fn shrink(connection: &mut Conn, order: &OrderId, revision: i64, line: &super::shelf::HeldLine, by: i64) -> Result<()> {
    let statement = if line.quantity == by {
        "DELETE FROM reservation_lines WHERE order_id = $1 AND revision = $2 AND location = $3 AND sku = $4 AND quantity = $5"
    } else {
        "UPDATE reservation_lines SET quantity = quantity - $5
         WHERE order_id = $1 AND revision = $2 AND location = $3 AND sku = $4"
    };
    let done = sqlx::query::<Db>(statement)
        .bind(order.as_str())
        .bind(revision)
        .bind(line.location.as_str())
        .bind(line.sku.as_str())
        .bind(by)
        .execute(connection)
        .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::conflict(format!("no promise of {} to shrink", line.sku))) }
}

/// The reservation that takes what is promised from now on: the open one, else the last one anew, else the first. One that `lasts`
/// does not run out, nor does one that had to be taken up again.
async fn current(connection: &mut Conn, order: &OrderId, own: &[Held], lasts: bool, now: Instant) -> Result<i64> {
    let open = own.iter().filter(|h| h.is_open()).max_by_key(|h| h.revision);
    let Some(held) = open.or_else(|| own.iter().max_by_key(|h| h.revision)) else {
        insert(connection, order, 1, None, now).await?;
        return Ok(1);
    };
    if !held.is_open() {
        // what it had went back; what left stays
        sqlx::query::<Db>("DELETE FROM reservation_lines WHERE order_id = $1 AND revision = $2 AND committed = 0")
            .bind(order.as_str())
            .bind(held.revision)
            .execute(&mut *connection)
            .await?;
        sqlx::query::<Db>("UPDATE reservation_lines SET quantity = committed WHERE order_id = $1 AND revision = $2")
            .bind(order.as_str())
            .bind(held.revision)
            .execute(&mut *connection)
            .await?;
    }
    if held.state != "confirmed" && (lasts || !held.is_open()) {
        sqlx::query::<Db>(
            "UPDATE reservations SET state = 'confirmed', expires_at = NULL, updated_at = $3 WHERE order_id = $1 AND revision = $2",
        )
        .bind(order.as_str())
        .bind(held.revision)
        .bind(cut(now))
        .execute(connection)
        .await?;
    }
    Ok(held.revision)
}
