//! A shipment: lines that leave one place together; and what warehouse and carrier report of it.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::Instant;
use crate::ids::{Invalid, Location, ShipmentId, text};
use crate::money::Money;
use crate::stock::Quantity;

/// What a warehouse or carrier can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanType {
    /// Taken from the shelf.
    Picked,
    /// In its box.
    Packed,
    /// Handed to the carrier: the pivot.
    Shipped,
    /// On its way.
    InTransit,
    /// The carrier cannot find it.
    Lost,
    /// At the customer's.
    Delivered,
    /// Back where it came from.
    ReturnedToSender,
}

impl ScanType {
    /// Every type, in the order of a parcel's life.
    pub const ALL: [Self; 7] =
        [Self::Picked, Self::Packed, Self::Shipped, Self::InTransit, Self::Lost, Self::Delivered, Self::ReturnedToSender];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Picked => "picked",
            Self::Packed => "packed",
            Self::Shipped => "shipped",
            Self::InTransit => "in_transit",
            Self::Lost => "lost",
            Self::Delivered => "delivered",
            Self::ReturnedToSender => "returned_to_sender",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }

    /// How far the parcel has come: a report is applied only if its rank is above the highest one known. A lost parcel may
    /// still turn up, so `lost` ranks below the two ends.
    pub fn rank(self) -> u8 {
        match self {
            Self::Picked => 1,
            Self::Packed => 2,
            Self::Shipped => 3,
            Self::InTransit => 4,
            Self::Lost => 5,
            Self::Delivered | Self::ReturnedToSender => 6,
        }
    }

    /// Whether the order's workflow must hear of it. Warehouse steps decide nothing.
    pub fn decides(self) -> bool {
        self.rank() >= Self::Shipped.rank()
    }
}

/// Where a shipment stands. `Picked` and `Packed` are never stored by the workflow: reads add them from the scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShipmentStatus {
    /// Planned; no courier yet.
    Pending,
    /// A courier is booked.
    Booked,
    /// Taken from the shelf.
    Picked,
    /// In its box.
    Packed,
    /// Handed to the carrier.
    Shipped,
    /// On its way.
    InTransit,
    /// The carrier cannot find it.
    Lost,
    /// At the customer's.
    Delivered,
    /// Back where it came from.
    ReturnedToSender,
    /// Will not leave: the order was cancelled.
    Cancelled,
}

impl ShipmentStatus {
    /// Every status.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Booked,
        Self::Picked,
        Self::Packed,
        Self::Shipped,
        Self::InTransit,
        Self::Lost,
        Self::Delivered,
        Self::ReturnedToSender,
        Self::Cancelled,
    ];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Booked => "booked",
            Self::Picked => "picked",
            Self::Packed => "packed",
            Self::Shipped => "shipped",
            Self::InTransit => "in_transit",
            Self::Lost => "lost",
            Self::Delivered => "delivered",
            Self::ReturnedToSender => "returned_to_sender",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// The rank of the scan that led here; 0 before the first one. A cancelled shipment ranks as not yet moved: if the
    /// parcel leaves all the same, that is news.
    pub fn rank(self) -> u8 {
        match self {
            Self::Pending | Self::Booked | Self::Cancelled => 0,
            Self::Picked => ScanType::Picked.rank(),
            Self::Packed => ScanType::Packed.rank(),
            Self::Shipped => ScanType::Shipped.rank(),
            Self::InTransit => ScanType::InTransit.rank(),
            Self::Lost => ScanType::Lost.rank(),
            Self::Delivered | Self::ReturnedToSender => ScanType::Delivered.rank(),
        }
    }

    /// Whether the parcel has left the house: after this the order can no longer be cancelled.
    pub fn departed(self) -> bool {
        self.rank() >= ScanType::Shipped.rank()
    }

    /// The status as it is shown: the warehouse's scans (`scanned_rank`, the highest of them) refine what the workflow knows.
    pub fn with_scans(self, scanned_rank: u8) -> Self {
        match self {
            Self::Pending | Self::Booked if scanned_rank == ScanType::Picked.rank() => Self::Picked,
            Self::Pending | Self::Booked if scanned_rank == ScanType::Packed.rank() => Self::Packed,
            other => other,
        }
    }
}

impl From<ScanType> for ShipmentStatus {
    fn from(scan: ScanType) -> Self {
        match scan {
            ScanType::Picked => Self::Picked,
            ScanType::Packed => Self::Packed,
            ScanType::Shipped => Self::Shipped,
            ScanType::InTransit => Self::InTransit,
            ScanType::Lost => Self::Lost,
            ScanType::Delivered => Self::Delivered,
            ScanType::ReturnedToSender => Self::ReturnedToSender,
        }
    }
}

/// Lines of an order that leave one place together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipment {
    /// Its id.
    pub id: ShipmentId,
    /// The place it leaves from.
    pub location: Location,
    /// Where it stands.
    pub status: ShipmentStatus,
    /// What is inside.
    pub lines: Vec<Quantity>,
    /// Its exact share of the order's total: what is captured when it leaves.
    pub amount: Money,
    /// The carrier, once known.
    #[serde(default)]
    pub carrier: Option<String>,
    /// The first package's number, once known.
    #[serde(default)]
    pub tracking_number: Option<String>,
    /// Numbers of further packages, in the order in which they were reported.
    #[serde(default)]
    pub more_packages: Vec<String>,
    /// It left although a cancel or a change had called it off: it is no part of the order any more, a person looks after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stray: bool,
}

/// One report about a shipment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// The shipment.
    pub shipment: ShipmentId,
    /// The reporter's id of this report, unique per shipment.
    pub event_id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: ScanType,
    /// When it happened, by the reporter's clock.
    pub occurred_at: Instant,
    /// The carrier, if the report names one.
    #[serde(default)]
    pub carrier: Option<String>,
    /// A package's number, if the report names one.
    #[serde(default)]
    pub tracking_number: Option<String>,
}

text!(
    /// What a carrier calls something that we have no word for: 1 to 64 characters of `a-z 0-9 _ . -`.
    CarrierCode,
    |text| {
        let ok = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b));
        if ok { Ok(()) } else { Err(Invalid::new("a carrier's code is 1 to 64 characters of a-z 0-9 _ . -")) }
    }
);

/// One report about a shipment in a carrier's own word. It changes no status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignScan {
    /// The shipment.
    pub shipment: ShipmentId,
    /// The reporter's id of this report, unique per shipment.
    pub event_id: String,
    /// What happened, as the carrier calls it.
    pub code: CarrierCode,
    /// When it happened, by the reporter's clock.
    pub occurred_at: Instant,
    /// Whose word it is.
    pub carrier: String,
    /// A package's number, if the report names one.
    pub tracking_number: Option<String>,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanResult {
    /// It moved the shipment forward.
    Applied,
    /// This event id was reported before.
    Duplicate,
    /// The shipment is already further; stored, nothing else.
    Stale,
}

impl ScanResult {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
        }
    }
}

impl Shipment {
    /// The numbers of its packages, the first one first.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.tracking_number.iter().chain(&self.more_packages).map(String::as_str)
    }

    /// Notes the package of a report that came too late to move the shipment: its carrier says nothing about the one in use.
    pub fn note_late(&mut self, carrier: Option<&str>, tracking_number: Option<&str>) {
        self.note_package(carrier.filter(|_| self.carrier.is_none()), tracking_number);
    }

    /// Notes carrier and package number of a report; a number that is not known yet adds a package.
    pub fn note_package(&mut self, carrier: Option<&str>, tracking_number: Option<&str>) {
        if let Some(carrier) = carrier {
            self.carrier = Some(carrier.to_owned());
        }
        let Some(number) = tracking_number else { return };
        match &self.tracking_number {
            None => self.tracking_number = Some(number.to_owned()),
            Some(known) if known == number || self.more_packages.iter().any(|n| n == number) => {}
            Some(_) => self.more_packages.push(number.to_owned()),
        }
    }
}
