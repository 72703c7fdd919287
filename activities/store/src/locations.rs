//! Places that hold stock.

use oms_domain::Instant;
use oms_domain::customer::Line;
use oms_domain::ids::Location;
use oms_domain::stock::site::{Site, SiteAddress};

use crate::Result;
use crate::catalogue::Put;
use crate::store::{Store, run};

/// What to change of a place; what is missing stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiteChange {
    /// Its name.
    pub name: Option<Line>,
    /// Where it is.
    pub address: Option<SiteAddress>,
    /// The shop's own order: the lowest gives first.
    pub priority: Option<u32>,
}

impl Store {
    /// Changes a place, or makes it.
    pub async fn put_location(&self, location: &Location, change: &SiteChange, now: Instant) -> Result<(Put, Site)> {
        run!(self, locations::put(location, change, now))
    }

    /// One place.
    pub async fn location(&self, location: &Location) -> Result<Option<Site>> {
        run!(self, locations::one(location))
    }

    /// A page of places by their ids, after the given one.
    pub async fn locations(&self, after: Option<&Location>, limit: u32) -> Result<Vec<Site>> {
        run!(self, locations::page(after, limit))
    }
}
