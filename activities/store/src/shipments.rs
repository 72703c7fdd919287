//! Shipments and what warehouse and carrier report of them.

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, ShipmentId};
use oms_domain::shipment::{ForeignScan, Scan, ScanResult, Shipment, ShipmentStatus};

use crate::Result;
use crate::store::{Store, run};

/// A shipment as it stands in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredShipment {
    /// Whose.
    pub order_id: OrderId,
    /// The shipment, refined with what the warehouse reported.
    pub shipment: Shipment,
    /// When it last changed.
    pub updated_at: Instant,
    /// Its order was placed against a sandbox.
    pub test: bool,
}

/// Which shipments to list; everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShipmentFilter {
    /// Where it stands, with the warehouse's reports (`picked`, `packed`).
    pub status: Option<ShipmentStatus>,
    /// The place it leaves from.
    pub location: Option<Location>,
}

/// A report that was heard before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The wire name of its type, or a carrier's code.
    pub kind: String,
    /// What became of it.
    pub result: ScanResult,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// It was heard.
    Result(ScanResult),
    /// Its id was used for another type.
    EventIdReused,
    /// There is no such shipment (yet).
    UnknownShipment,
}

impl Store {
    /// A page of shipments by id, after the given one.
    pub async fn shipments(&self, filter: ShipmentFilter, after: Option<&ShipmentId>, limit: u32) -> Result<Vec<StoredShipment>> {
        run!(self, shipments::shipments(&filter, after, limit))
    }

    /// One shipment.
    pub async fn shipment(&self, id: &ShipmentId) -> Result<Option<StoredShipment>> {
        run!(self, shipments::shipment(id))
    }

    /// The report of this id, if it was heard before.
    pub async fn heard(&self, shipment: &ShipmentId, event_id: &str) -> Result<Option<Heard>> {
        run!(self, scans::heard(shipment, event_id))
    }

    /// Hears a report that no run decides on: applied if it ranks above all that is known of the shipment, else stale.
    pub async fn record_scan(&self, scan: &Scan, now: Instant) -> Result<Scanned> {
        run!(self, scans::record_scan(scan, now))
    }

    /// Keeps a report in a carrier's own word: it is `stale` and changes no status, and one review item is opened per shipment and word.
    pub async fn record_foreign_scan(&self, scan: &ForeignScan, now: Instant) -> Result<Scanned> {
        run!(self, scans::record_foreign(scan, now))
    }
}
