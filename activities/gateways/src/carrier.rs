//! The carrier: book a pickup, cancel it. Where a parcel is, it reports through the API's shipment events.

use async_trait::async_trait;
use oms_domain::Instant;
use oms_domain::customer::Address;
use oms_domain::ids::{Location, ShipmentId};
use oms_domain::reconciliation::{CarrierBooking, Listed};
use oms_domain::stock::site::SiteAddress;
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::GatewayError;

pub mod http;
mod label;
mod sandbox;
pub use sandbox::{BookingStatus, CarrierCall, SandboxBooking, SandboxCarrier};

/// From where to where a parcel travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// From one of the shop's places to a customer.
    Out {
        /// The place it leaves from.
        from: Location,
        /// Where it goes.
        to: Address,
    },
    /// From a customer back to one of the shop's places.
    Back {
        /// Where it is fetched.
        from: Address,
        /// The place it goes to.
        to: Location,
        /// That place's address, as far as the shop has told it.
        address: Option<SiteAddress>,
    },
}

impl Route {
    /// The shop's end of it.
    pub fn place(&self) -> &Location {
        match self {
            Self::Out { from: place, .. } | Self::Back { to: place, .. } => place,
        }
    }

    /// The customer's end of it.
    pub fn customer(&self) -> &Address {
        match self {
            Self::Out { to: address, .. } | Self::Back { from: address, .. } => address,
        }
    }
}

/// Books the transport of one shipment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookRequest {
    /// Idempotency key.
    pub key: String,
    /// The shipment.
    pub shipment_id: ShipmentId,
    /// From where to where.
    pub route: Route,
    /// Now.
    pub now: Instant,
}

/// Cancels a transport. Names the booking by its key, because whoever undoes a step may never have heard its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// Idempotency key.
    pub key: String,
    /// The key under which the transport was, or may have been, or may yet be booked.
    pub book_key: String,
    /// The shipment.
    pub shipment_id: ShipmentId,
    /// Now.
    pub now: Instant,
}

/// What the carrier wants on the parcel. Personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its media type, such as `image/svg+xml`.
    pub media_type: String,
    /// The document.
    pub text: String,
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Label({}, {} bytes)", self.media_type, self.text.len())
    }
}

/// Answer to a booking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Booking {
    /// The parcel will be fetched.
    Booked {
        /// The carrier's name.
        carrier: String,
        /// The parcel's number.
        tracking_number: String,
        /// The carrier's id of the booking.
        reference: String,
        /// The parcel's label, where the carrier gives one. A lookup has none: ask to book again under the same key.
        label: Option<Label>,
    },
    /// It will not, and never under this key.
    Refused {
        /// The carrier's word for why, such as `cancelled`.
        code: String,
    },
}

/// Answer to a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancel {
    /// The transport will not take place.
    Cancelled,
    /// Nothing was booked. Nothing will be: a later booking under that key is refused as `cancelled`.
    Nothing,
}

/// What became of one idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarrierOperation {
    /// It was a booking. Tells how it stands now: a cancelled one is refused.
    Book(Booking),
    /// It was a cancellation.
    Cancel(Cancel),
}

/// A carrier. Every operation is idempotent by its key: a repeat has no effect and is answered with the truth.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// Books a transport. Errors: [`GatewayError`].
    async fn book(&self, request: BookRequest) -> Result<Booking, GatewayError>;

    /// Cancels a transport. Errors: [`GatewayError`].
    async fn cancel(&self, request: CancelRequest) -> Result<Cancel, GatewayError>;

    /// The truth about one idempotency key; `None` if nothing ever took effect under it. Errors: [`GatewayError`].
    async fn lookup(&self, key: &str) -> Result<Option<CarrierOperation>, GatewayError>;

    /// A page of the carrier's own books: bookings made at or after `since`, oldest first, behind the cursor that the page before
    /// gave. Errors: [`GatewayError`].
    async fn bookings(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Listed<CarrierBooking>, GatewayError>;

    /// Whether no real parcel moves.
    fn is_sandbox(&self) -> bool;
}
