//! Statements of places, and of what is near to an order.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::Instant;
use oms_domain::customer::{Address, Line};
use oms_domain::ids::{Location, OrderId};
use oms_domain::stock::site::{Site, SiteAddress};
use oms_domain::stock::{Ranking, Strategy, Supply};
use sqlx::types::Json;

use super::{Conn, Db, Pools, cut};
use crate::catalogue::Put;
use crate::locations::SiteChange;
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
struct SiteRow {
    location: String,
    name: Option<String>,
    address: Option<Json<SiteAddress>>,
    priority: i64,
}

impl SiteRow {
    fn read(self) -> Result<Site> {
        Ok(Site {
            location: Location::parse(self.location)?,
            name: self.name.map(Line::parse).transpose()?,
            address: self.address.map(|Json(address)| address),
            priority: u32::try_from(self.priority).map_err(|e| StoreError::corrupt("locations.priority", e))?,
        })
    }
}

pub(crate) async fn put(pools: &Pools, location: &Location, change: &SiteChange, now: Instant) -> Result<(Put, Site)> {
    let mut tx = pools.begin().await?;
    let new = sqlx::query::<Db>("INSERT INTO locations (location, created_at) VALUES ($1, $2) ON CONFLICT (location) DO NOTHING")
        .bind(location.as_str())
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    let row = sqlx::query_as::<Db, SiteRow>(
        "UPDATE locations SET name = COALESCE($2, name), address = COALESCE($3, address), priority = COALESCE($4, priority),
             updated_at = $5 WHERE location = $1 RETURNING location, name, address, priority",
    )
    .bind(location.as_str())
    .bind(change.name.as_ref().map(Line::as_str))
    .bind(change.address.as_ref().map(Json))
    .bind(change.priority.map(i64::from))
    .bind(cut(now))
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((if new.rows_affected() > 0 { Put::Created } else { Put::Replaced }, row.read()?))
}

pub(crate) async fn one(pools: &Pools, location: &Location) -> Result<Option<Site>> {
    let row = sqlx::query_as::<Db, SiteRow>("SELECT location, name, address, priority FROM locations WHERE location = $1")
        .bind(location.as_str())
        .fetch_optional(&pools.read)
        .await?;
    row.map(SiteRow::read).transpose()
}

pub(crate) async fn page(pools: &Pools, after: Option<&Location>, limit: u32) -> Result<Vec<Site>> {
    let rows = sqlx::query_as::<Db, SiteRow>(
        "SELECT location, name, address, priority FROM locations WHERE location > $1 ORDER BY location LIMIT $2",
    )
    .bind(after.map_or("", Location::as_str))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(SiteRow::read).collect()
}

/// Every place.
pub(crate) async fn sites(connection: &mut Conn) -> Result<Vec<Site>> {
    let rows = sqlx::query_as::<Db, SiteRow>("SELECT location, name, address, priority FROM locations ORDER BY location")
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(SiteRow::read).collect()
}

/// Where these orders go. An order without a row goes nowhere.
pub(crate) async fn addresses(connection: &mut Conn, orders: &[&str]) -> Result<BTreeMap<String, Address>> {
    if orders.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query_as::<Db, (String, Json<Address>)>(concat!("SELECT id, ship_to FROM orders WHERE id ", one_of!("$1")))
        .bind(Json(orders))
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(id, Json(address))| (id, address)).collect())
}

/// Where these orders have something already that has not left.
pub(crate) async fn in_use(connection: &mut Conn, orders: &[&str]) -> Result<BTreeMap<String, BTreeSet<Location>>> {
    if orders.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query_as::<Db, (String, String)>(concat!(
        "SELECT DISTINCT l.order_id, l.location FROM reservation_lines l
         JOIN reservations r ON r.order_id = l.order_id AND r.revision = l.revision
         WHERE l.quantity > l.committed AND r.state IN ('held', 'confirmed') AND l.order_id ",
        one_of!("$1")
    ))
    .bind(Json(orders))
    .fetch_all(connection)
    .await?;
    let mut used: BTreeMap<String, BTreeSet<Location>> = BTreeMap::new();
    for (order, location) in rows {
        used.entry(order).or_default().insert(Location::parse(location)?);
    }
    Ok(used)
}

/// In which order places give to this order. With one place that has anything there is nothing to rank.
pub(crate) async fn ranking(connection: &mut Conn, order: &OrderId, strategy: Strategy, supply: &Supply) -> Result<Ranking> {
    let places: BTreeSet<&Location> = supply.iter().filter(|(_, units)| **units > 0).map(|((place, _), _)| place).collect();
    if places.len() < 2 {
        return Ok(Ranking::by_name(strategy));
    }
    let order = [order.as_str()];
    let to = match strategy {
        Strategy::Nearest => addresses(connection, &order).await?.into_values().next(),
        Strategy::FewestShipments | Strategy::Priority => None,
    };
    let ranking = Site::rank(&sites(connection).await?, strategy, to.as_ref());
    if strategy != Strategy::FewestShipments {
        return Ok(ranking);
    }
    Ok(ranking.first(in_use(connection, &order).await?.into_values().flatten()))
}
