//! The locked shelves of a transaction: read once under lock, changed in memory, written back last before the commit, so that a
//! popular article's row is held for as short as can be.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, Sku};
use oms_domain::stock::Supply;
use sqlx::QueryBuilder;

use super::articles::{self, Article};
use super::{Conn, Db, cut, list};
use crate::{Result, StoreError};

/// The figures of one shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shelf {
    pub(crate) on_hand: i64,
    pub(crate) reserved: i64,
}

impl Shelf {
    /// Units that nobody holds.
    pub(crate) fn free(self) -> i64 {
        self.on_hand - self.reserved
    }
}

/// All locked shelves, by SKU and place, and their articles.
pub(crate) struct Shelves {
    articles: BTreeMap<Sku, Article>,
    pub(crate) now: BTreeMap<(Sku, Location), Shelf>,
    before: BTreeMap<(Sku, Location), Shelf>,
}

/// A line of a locked reservation that is neither gone nor given back.
#[derive(sqlx::FromRow)]
struct LineRow {
    order_id: String,
    revision: i64,
    location: String,
    sku: String,
    quantity: i64,
    committed: i64,
}

/// One line of a reservation.
#[derive(Debug, Clone)]
pub(crate) struct HeldLine {
    pub(crate) location: Location,
    pub(crate) sku: Sku,
    pub(crate) quantity: i64,
    pub(crate) committed: i64,
}

/// A locked reservation.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) order_id: String,
    pub(crate) revision: i64,
    pub(crate) state: String,
    pub(crate) expires_at: Option<Instant>,
    pub(crate) lines: Vec<HeldLine>,
}

impl Held {
    /// Neither lapsed nor released.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "held" | "confirmed")
    }

    /// Ran out unconfirmed, and nobody has taken it back yet.
    pub(crate) fn has_run_out(&self, now: Instant) -> bool {
        self.state == "held" && self.expires_at.is_some_and(|at| at <= cut(now))
    }
}

#[derive(sqlx::FromRow)]
struct HeldRow {
    order_id: String,
    revision: i64,
    state: String,
    expires_at: Option<Instant>,
}

/// Locks all reservations of `order` and those of anybody that ran out with one of `skus` in them, in one order. (CROSS JOIN tells
/// SQLite to start with the few that are wanted, here and elsewhere; to Postgres it says nothing.)
pub(crate) async fn lock_reservations(
    connection: &mut Conn,
    order: Option<&OrderId>,
    skus: &BTreeSet<Sku>,
    now: Instant,
) -> Result<Vec<Held>> {
    let rows = sqlx::query_as::<Db, HeldRow>(concat!(
        "SELECT r.order_id, r.revision, r.state, r.expires_at FROM (
             SELECT o.order_id, o.revision FROM reservations o WHERE o.order_id = $1
             UNION
             SELECT x.order_id, x.revision FROM reservations x WHERE x.state = 'held' AND x.expires_at <= $2 AND EXISTS (
                 SELECT 1 FROM reservation_lines l WHERE l.order_id = x.order_id AND l.revision = x.revision AND l.sku ",
        one_of!("$3"),
        ")) AS wanted CROSS JOIN reservations r
         WHERE r.order_id = wanted.order_id AND r.revision = wanted.revision ORDER BY r.order_id, r.revision",
        for_update!("r")
    ))
    .bind(order.map_or("", OrderId::as_str))
    .bind(cut(now))
    .bind(list(skus))
    .fetch_all(&mut *connection)
    .await?;
    let mut held: Vec<Held> = rows
        .into_iter()
        .map(|r| Held { order_id: r.order_id, revision: r.revision, state: r.state, expires_at: r.expires_at, lines: Vec::new() })
        .collect();
    if !held.is_empty() {
        read_lines(connection, &mut held).await?;
    }
    Ok(held)
}

/// Reads the lines of locked reservations: after the lock, because a departure may just have changed them. Lines of an order that
/// waits for stock grow without its reservation's lock, under those of the articles: whoever counts units reads them once more
/// when the shelves are locked.
pub(crate) async fn read_lines(connection: &mut Conn, held: &mut [Held]) -> Result<()> {
    held.iter_mut().for_each(|h| h.lines.clear());
    let orders: BTreeSet<&str> = held.iter().map(|h| h.order_id.as_str()).collect();
    let rows = sqlx::query_as::<Db, LineRow>(concat!(
        "SELECT order_id, revision, location, sku, quantity, committed FROM reservation_lines WHERE order_id ",
        one_of!("$1"),
        " ORDER BY order_id, revision, location, sku"
    ))
    .bind(sqlx::types::Json(orders))
    .fetch_all(connection)
    .await?;
    for row in rows {
        if let Some(held) = held.iter_mut().find(|h| h.order_id == row.order_id && h.revision == row.revision) {
            let (location, sku) = (Location::parse(row.location)?, Sku::parse(row.sku)?);
            held.lines.push(HeldLine { location, sku, quantity: row.quantity, committed: row.committed });
        }
    }
    Ok(())
}

impl Shelves {
    /// Locks the articles of `skus` and of every line of `returned`, in one order, and then their shelves. The article first:
    /// otherwise a shelf, or an order in the queue, that somebody else has just added would not be seen.
    pub(crate) async fn lock(connection: &mut Conn, skus: &BTreeSet<Sku>, returned: &[&Held]) -> Result<Self> {
        let mut all: BTreeSet<&Sku> = skus.iter().collect();
        all.extend(returned.iter().flat_map(|h| &h.lines).map(|l| &l.sku));
        let articles = articles::lock(connection, &all).await?;
        let rows = sqlx::query_as::<Db, (String, String, i64, i64)>(concat!(
            "SELECT s.sku, s.location, s.on_hand, s.reserved FROM stock s WHERE s.sku ",
            one_of!("$1"),
            " ORDER BY s.sku, s.location",
            for_update!("s")
        ))
        .bind(list(all))
        .fetch_all(connection)
        .await?;
        let mut now = BTreeMap::new();
        for (sku, location, on_hand, reserved) in rows {
            now.insert((Sku::parse(sku)?, Location::parse(location)?), Shelf { on_hand, reserved });
        }
        Ok(Self { articles, before: now.clone(), now })
    }

    /// What nobody holds.
    pub(crate) fn supply(&self) -> Supply {
        let free = |shelf: &Shelf| u32::try_from(shelf.free().max(0)).unwrap_or(u32::MAX);
        self.now.iter().map(|((sku, place), shelf)| ((place.clone(), sku.clone()), free(shelf))).collect()
    }

    /// Changes one shelf. Errors: [`StoreError::Conflict`] if it does not exist.
    pub(crate) fn change(&mut self, sku: &Sku, location: &Location, change: impl FnOnce(&mut Shelf)) -> Result<()> {
        let shelf = self.now.get_mut(&(sku.clone(), location.clone()));
        change(shelf.ok_or_else(|| StoreError::conflict(format!("no shelf for {sku} at {location}")))?);
        Ok(())
    }

    /// Gives the open units of these reservations back and marks them `state`; answers whether there were any.
    pub(crate) async fn give_back(
        &mut self,
        connection: &mut Conn,
        held: &[&Held],
        state: &'static str,
        now: Instant,
    ) -> Result<bool> {
        let mut any = false;
        for reservation in held {
            for line in &reservation.lines {
                let open = line.quantity - line.committed;
                any |= open > 0;
                self.change(&line.sku, &line.location, |shelf| shelf.reserved -= open)?;
            }
            sqlx::query::<Db>("UPDATE reservations SET state = $3, updated_at = $4 WHERE order_id = $1 AND revision = $2")
                .bind(&reservation.order_id)
                .bind(reservation.revision)
                .bind(state)
                .bind(cut(now))
                .execute(&mut *connection)
                .await?;
        }
        Ok(any)
    }

    /// Writes the changed shelves back, and tells of articles that ran low or are back: the last statements of a transaction.
    pub(crate) async fn save(mut self, connection: &mut Conn, now: Instant) -> Result<()> {
        let changed: Vec<_> = self.now.iter().filter(|(key, shelf)| self.before.get(key) != Some(shelf)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let mut update = QueryBuilder::<Db>::new("UPDATE stock SET on_hand = v.column3, reserved = v.column4 FROM (");
        update.push_values(&changed, |mut row, ((sku, location), shelf)| {
            row.push_bind(sku.as_str()).push_bind(location.as_str()).push_bind(shelf.on_hand).push_bind(shelf.reserved);
        });
        update.push(") AS v WHERE stock.sku = v.column1 AND stock.location = v.column2");
        update.build().execute(&mut *connection).await?;
        let skus: BTreeSet<Sku> = changed.into_iter().map(|((sku, _), _)| sku.clone()).collect();
        for sku in skus {
            let free = |shelves: &BTreeMap<(Sku, Location), Shelf>| -> i64 {
                shelves.iter().filter(|((s, _), _)| *s == sku).map(|(_, shelf)| shelf.free()).sum()
            };
            let (before, after) = (free(&self.before), free(&self.now));
            if let Some(article) = self.articles.get_mut(&sku) {
                articles::tell(connection, &sku, article, (before, after), now).await?;
            }
        }
        Ok(())
    }
}
