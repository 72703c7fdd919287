//! Couriers booked for shipments, one row per operation key.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};

use crate::Result;
use crate::store::{Store, run};

/// What the carrier wants on the parcel. Personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its media type, such as `image/svg+xml`.
    pub media_type: String,
    /// The document.
    pub text: String,
}

/// A booking as the carrier answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingRow {
    /// The operation's key.
    pub key: String,
    /// Whose.
    pub order_id: OrderId,
    /// For which shipment.
    pub shipment_id: ShipmentId,
    /// The carrier.
    pub carrier: String,
    /// The package's number.
    pub tracking_number: String,
    /// The carrier's own reference.
    pub reference: String,
    /// The label, if the carrier gave one.
    pub label: Option<Label>,
    /// When it was booked.
    pub at: Instant,
}

impl Store {
    /// Notes a booking under its key; a repeat changes nothing but a label that was missing.
    pub async fn record_booking(&self, booking: &BookingRow) -> Result<()> {
        run!(self, bookings::record(booking))
    }

    /// Notes that the booking of this key was taken back, also if it was never noted.
    pub async fn record_booking_cancelled(&self, key: &str, now: Instant) -> Result<()> {
        run!(self, bookings::cancelled(key, now))
    }

    /// The label of the shipment's booking that stands; `None` before there is one.
    pub async fn label(&self, shipment_id: &ShipmentId) -> Result<Option<Label>> {
        run!(self, bookings::label(shipment_id))
    }
}
