//! Statements of orders that wait for stock. An article's queue is by (placed_at, order), is read and changed under the article's
//! lock only, and is empty whenever a unit of it is free at the end of a transaction.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, Sku};
use oms_domain::stock::site::Site;
use oms_domain::stock::{self, Quantity, Strategy, Supply};
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::shelf::{Held, Shelves, read_lines};
use super::{Conn, Db, Pools, cut, list, locations, word};
use crate::backorders::Wake;
use crate::{Result, StoreError};

/// One order's place in an article's queue.
pub(crate) struct Place<'a> {
    pub(crate) order_id: &'a OrderId,
    pub(crate) revision: i64,
    pub(crate) placed_at: Instant,
    pub(crate) strategy: Strategy,
}

#[derive(sqlx::FromRow)]
struct WaiterRow {
    order_id: String,
    revision: i64,
    quantity: i64,
    strategy: String,
}

/// Units given to an order that waited for them.
struct Given {
    order_id: String,
    revision: i64,
    location: Location,
    sku: Sku,
    units: u32,
}

/// Gives what nobody holds to the orders that wait for it, first placed first served, and writes a wake for each. Every transaction
/// that makes units available calls it before it saves its shelves.
pub(crate) async fn fill(connection: &mut Conn, shelves: &mut Shelves, now: Instant) -> Result<()> {
    let mut free: BTreeMap<Sku, Supply> = BTreeMap::new();
    for ((place, sku), units) in shelves.supply() {
        if units > 0 {
            free.entry(sku.clone()).or_default().insert((place, sku), units);
        }
    }
    let mut given: Vec<Given> = Vec::new();
    for sku in with_queue(connection, &free).await? {
        let Some(mut supply) = free.remove(&sku) else { continue };
        let waiters = first(connection, &sku, &supply).await?;
        let ranks = Ranks::read(connection, &waiters, supply.len()).await?;
        let (mut served, mut left) = (Vec::new(), None);
        for waiter in &waiters {
            let units = u32::try_from(waiter.quantity).map_err(|e| StoreError::corrupt("backorders.quantity", e))?;
            let wanted = BTreeMap::from([(sku.clone(), units)]);
            let ranking = ranks.of(&waiter.order_id, word("backorders.strategy", &waiter.strategy, Strategy::parse)?);
            let (allocations, missing) = stock::plan_available(&wanted, &supply, &ranking);
            for (location, line) in
                allocations.into_iter().flat_map(|a| a.lines.into_iter().map(move |l| (a.location.clone(), l)))
            {
                if let Some(have) = supply.get_mut(&(location.clone(), sku.clone())) {
                    *have -= line.quantity;
                }
                shelves.change(&sku, &location, |shelf| shelf.reserved += i64::from(line.quantity))?;
                let (order_id, revision) = (waiter.order_id.clone(), waiter.revision);
                given.push(Given { order_id, revision, location, sku: sku.clone(), units: line.quantity });
            }
            match missing.get(&sku) {
                None => served.push(waiter.order_id.as_str()),
                Some(rest) if *rest < units => left = Some((waiter.order_id.as_str(), *rest)),
                Some(_) => break,
            }
        }
        shorten(connection, &sku, &served, left).await?;
    }
    if given.is_empty() {
        return Ok(());
    }
    extend(connection, &given).await?;
    wake(connection, &given, now).await
}

/// Those of the articles that somebody waits for.
async fn with_queue(connection: &mut Conn, free: &BTreeMap<Sku, Supply>) -> Result<Vec<Sku>> {
    if free.is_empty() {
        return Ok(Vec::new());
    }
    let skus = sqlx::query_scalar::<Db, String>(concat!(
        "SELECT p.sku FROM products p WHERE EXISTS (SELECT 1 FROM backorders b WHERE b.sku = p.sku) AND p.sku ",
        one_of!("$1"),
        " ORDER BY p.sku"
    ))
    .bind(list(free.keys()))
    .fetch_all(connection)
    .await?;
    skus.into_iter().map(|sku| Ok(Sku::parse(sku)?)).collect()
}

/// As many of an article's waiters as its free units could serve at most.
async fn first(connection: &mut Conn, sku: &Sku, supply: &Supply) -> Result<Vec<WaiterRow>> {
    let units: i64 = supply.values().map(|units| i64::from(*units)).sum();
    let rows = sqlx::query_as::<Db, WaiterRow>(
        "SELECT order_id, revision, quantity, strategy FROM backorders WHERE sku = $1 ORDER BY placed_at, order_id LIMIT $2",
    )
    .bind(sku.as_str())
    .bind(units)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// What ranks the places that can serve one article's waiters. Empty if there is only one.
struct Ranks {
    sites: Vec<Site>,
    addresses: BTreeMap<String, oms_domain::customer::Address>,
    shelves: BTreeMap<String, BTreeSet<Location>>,
}

impl Ranks {
    async fn read(connection: &mut Conn, waiters: &[WaiterRow], places: usize) -> Result<Self> {
        let mut ranks = Self { sites: Vec::new(), addresses: BTreeMap::new(), shelves: BTreeMap::new() };
        if places > 1 {
            let of = |strategy: Strategy| -> Vec<&str> {
                waiters.iter().filter(|w| w.strategy == strategy.as_str()).map(|w| w.order_id.as_str()).collect()
            };
            ranks.sites = locations::sites(connection).await?;
            ranks.addresses = locations::addresses(connection, &of(Strategy::Nearest)).await?;
            ranks.shelves = locations::in_use(connection, &of(Strategy::FewestShipments)).await?;
        }
        Ok(ranks)
    }

    fn of(&self, order: &str, strategy: Strategy) -> stock::Ranking {
        let ranking = Site::rank(&self.sites, strategy, self.addresses.get(order));
        ranking.first(self.shelves.get(order).into_iter().flatten().cloned())
    }
}

/// Takes served orders off an article's queue; `left` is the one that got only a part, and what it still waits for.
async fn shorten(connection: &mut Conn, sku: &Sku, served: &[&str], left: Option<(&str, u32)>) -> Result<()> {
    if !served.is_empty() {
        sqlx::query::<Db>(concat!("DELETE FROM backorders WHERE sku = $1 AND order_id ", one_of!("$2")))
            .bind(sku.as_str())
            .bind(Json(served))
            .execute(&mut *connection)
            .await?;
    }
    if let Some((order, rest)) = left {
        sqlx::query::<Db>("UPDATE backorders SET quantity = $3 WHERE sku = $1 AND order_id = $2")
            .bind(sku.as_str())
            .bind(order)
            .bind(i64::from(rest))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Rows per statement: SQLite takes 32,766 parameters, Postgres 65,535.
const CHUNK: usize = 1_000;

async fn extend(connection: &mut Conn, given: &[Given]) -> Result<()> {
    for chunk in given.chunks(CHUNK) {
        let mut insert =
            QueryBuilder::<Db>::new("INSERT INTO reservation_lines (order_id, revision, location, sku, quantity, committed) ");
        insert.push_values(chunk, |mut row, given| {
            row.push_bind(&given.order_id).push_bind(given.revision).push_bind(given.location.as_str());
            row.push_bind(given.sku.as_str()).push_bind(i64::from(given.units)).push_bind(0i64);
        });
        insert.push(
            " ON CONFLICT (order_id, revision, location, sku)
              DO UPDATE SET quantity = reservation_lines.quantity + excluded.quantity",
        );
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Sorted by order, so that two transactions that wake the same orders do not wait for each other.
async fn wake(connection: &mut Conn, given: &[Given], now: Instant) -> Result<()> {
    let orders: Vec<&str> = given.iter().map(|g| g.order_id.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    for chunk in orders.chunks(CHUNK) {
        let mut insert = QueryBuilder::<Db>::new("INSERT INTO wakes (order_id, version, created_at) ");
        insert.push_values(chunk, |mut row, order| {
            row.push_bind(*order).push_bind(1i64).push_bind(cut(now));
        });
        insert.push(" ON CONFLICT (order_id) DO UPDATE SET version = wakes.version + 1, created_at = excluded.created_at");
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Puts an order into the queues of what it lacks.
pub(crate) async fn queue(connection: &mut Conn, place: &Place<'_>, missing: &BTreeMap<Sku, u32>, now: Instant) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut insert =
        QueryBuilder::<Db>::new("INSERT INTO backorders (order_id, sku, revision, quantity, strategy, placed_at, queued_at) ");
    insert.push_values(missing, |mut row, (sku, units)| {
        row.push_bind(place.order_id.as_str()).push_bind(sku.as_str()).push_bind(place.revision).push_bind(i64::from(*units));
        row.push_bind(place.strategy.as_str()).push_bind(cut(place.placed_at)).push_bind(cut(now));
    });
    insert.build().execute(connection).await?;
    Ok(())
}

/// The articles that an order waits for. Read before its lines: what moves from the queue to the lines in between is in both.
pub(crate) async fn queued(connection: &mut Conn, order: &OrderId) -> Result<BTreeSet<Sku>> {
    let skus = sqlx::query_scalar::<Db, String>("SELECT sku FROM backorders WHERE order_id = $1")
        .bind(order.as_str())
        .fetch_all(connection)
        .await?;
    skus.into_iter().map(|sku| Ok(Sku::parse(sku)?)).collect()
}

/// Takes an order out of all queues. Only under the locks of what it waits for.
pub(crate) async fn leave(connection: &mut Conn, order: &OrderId) -> Result<()> {
    sqlx::query::<Db>("DELETE FROM backorders WHERE order_id = $1").bind(order.as_str()).execute(connection).await?;
    Ok(())
}

/// Forgets that an order was to be woken.
pub(crate) async fn let_sleep(connection: &mut Conn, order: &OrderId) -> Result<()> {
    sqlx::query::<Db>("DELETE FROM wakes WHERE order_id = $1").bind(order.as_str()).execute(connection).await?;
    Ok(())
}

pub(crate) async fn waiting(pools: &Pools, order: &OrderId) -> Result<Vec<Quantity>> {
    let rows = sqlx::query_as::<Db, (String, i64)>("SELECT sku, quantity FROM backorders WHERE order_id = $1 ORDER BY sku")
        .bind(order.as_str())
        .fetch_all(&pools.read)
        .await?;
    let quantity = |n| u32::try_from(n).map_err(|e| StoreError::corrupt("backorders.quantity", e));
    rows.into_iter().map(|(sku, n)| Ok(Quantity { sku: Sku::parse(sku)?, quantity: quantity(n)? })).collect()
}

pub(crate) async fn take_back(pools: &Pools, limit: u32, now: Instant) -> Result<u32> {
    let mut tx = pools.begin().await?;
    let rows = sqlx::query_as::<Db, (String, i64, String, Option<Instant>)>(concat!(
        "SELECT order_id, revision, state, expires_at FROM reservations WHERE state = 'held' AND expires_at <= $1
         ORDER BY expires_at LIMIT $2",
        skip_locked!()
    ))
    .bind(cut(now))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut held: Vec<Held> = rows
        .into_iter()
        .map(|(order_id, revision, state, expires_at)| Held { order_id, revision, state, expires_at, lines: Vec::new() })
        .collect();
    read_lines(&mut tx, &mut held).await?;
    let run_out: Vec<&Held> = held.iter().collect();
    let mut shelves = Shelves::lock(&mut tx, &BTreeSet::new(), &run_out).await?;
    shelves.give_back(&mut tx, &run_out, "lapsed", now).await?;
    fill(&mut tx, &mut shelves, now).await?;
    shelves.save(&mut tx, now).await?;
    tx.commit().await?;
    Ok(u32::try_from(held.len()).unwrap_or(u32::MAX))
}

pub(crate) async fn wakes(pools: &Pools, limit: u32) -> Result<Vec<Wake>> {
    let rows = sqlx::query_as::<Db, (String, i64, Instant)>(
        "SELECT order_id, version, created_at FROM wakes ORDER BY created_at, order_id LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter()
        .map(|(order, version, created_at)| Ok(Wake { order_id: OrderId::parse(order)?, version, created_at }))
        .collect()
}

pub(crate) async fn woken(pools: &Pools, wake: &Wake) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("DELETE FROM wakes WHERE order_id = $1 AND version = $2 AND created_at = $3")
        .bind(wake.order_id.as_str())
        .bind(wake.version)
        .bind(cut(wake.created_at))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}
