//! Inputs and results of activities. Every one may run twice; effects are keyed by order, step and revision.

use oms_domain::Instant;
use oms_domain::event::Fact;
use oms_domain::ids::{Location, MessageId, OrderId, ShipmentId, Sku};
use oms_domain::life::{Attention, Life};
use oms_domain::money::Money;
use oms_domain::order::Status;
use oms_domain::payment::PaymentMethod;
use oms_domain::shipment::{Scan, ScanResult, ShipmentStatus};
use oms_domain::stock::{Allocation, Quantity};
use serde::{Deserialize, Serialize};

/// The idempotency key of an effect: order or shipment, step, revision. Never random, so a reset or a re-drive repeats it.
pub fn effect_key(subject: &str, step: &str, revision: u32) -> String {
    format!("{subject}/{step}/{revision}")
}

/// Write the order's row, timeline, outbox and messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which order.
    pub order_id: OrderId,
    /// Number of this record, from 1.
    pub rev: u64,
    /// The order's state now.
    pub life: Life,
    /// What happened since the last record.
    #[serde(default)]
    pub facts: Vec<Fact>,
    /// Reports heard since the last record.
    #[serde(default)]
    pub scans: Vec<HeardScan>,
    /// This record confirms the order: the reservation stops expiring in the same transaction.
    #[serde(default)]
    pub confirm: bool,
}

/// A report and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardScan {
    /// The report.
    pub scan: Scan,
    /// What became of it.
    pub result: ScanResult,
}

/// The row after a [`Record`]: ahead of the workflow after a reset, which then goes on from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The row's newest record.
    pub rev: u64,
    /// The newest fact's number.
    pub seq: u64,
    /// The row's status.
    pub status: Status,
    /// The reservation had run out; nothing was written.
    #[serde(default)]
    pub lapsed: bool,
}

/// Add to a closed order's story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// Which order.
    pub order_id: OrderId,
    /// What happened.
    pub facts: Vec<Fact>,
    /// What needs a person.
    #[serde(default)]
    pub attention: Option<Attention>,
    /// The shipment's new status.
    #[serde(default)]
    pub shipment: Option<(ShipmentId, ShipmentStatus)>,
    /// The report behind it.
    #[serde(default)]
    pub scan: Option<HeardScan>,
}

/// Promise stock to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// Which order.
    pub order_id: OrderId,
    /// 1; one more each time a promise ran out.
    pub revision: u32,
    /// What.
    pub lines: Vec<Quantity>,
    /// Until when, unless confirmed before.
    pub expires_at: Instant,
}

/// The answer to [`Reserve`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Reserved {
    /// Promised, by location.
    Held {
        /// One per location.
        allocations: Vec<Allocation>,
    },
    /// Not enough.
    OutOfStock {
        /// What lacks.
        short: Vec<Sku>,
    },
    /// Released before it came: the order is being undone.
    Released,
}

/// Take the promise back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Which order.
    pub order_id: OrderId,
}

/// The goods of a shipment left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Which order.
    pub order_id: OrderId,
    /// Which shipment.
    pub shipment_id: ShipmentId,
    /// From where.
    pub location: Location,
    /// What.
    pub lines: Vec<Quantity>,
}

/// What left although nothing was promised any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departed {
    /// Units that the books could not give, because they are promised to others.
    #[serde(default)]
    pub missing: Vec<Quantity>,
}

/// Hold funds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorize {
    /// Which order.
    pub order_id: OrderId,
    /// 1; one more for each new authorization.
    pub revision: u32,
    /// How much.
    pub amount: Money,
    /// The gateway's token.
    pub method: PaymentMethod,
}

/// The answer to [`Authorize`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Authorized {
    /// Funds are held.
    Held {
        /// The gateway's id.
        payment_id: String,
        /// When the hold ends by itself.
        expires_at: Option<Instant>,
    },
    /// The customer must authenticate.
    ActionRequired {
        /// The gateway's id.
        payment_id: String,
    },
    /// Refused.
    Declined {
        /// The gateway's code.
        code: String,
    },
}

/// Take held funds for a shipment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Which order.
    pub order_id: OrderId,
    /// Which shipment.
    pub shipment_id: ShipmentId,
    /// The gateway's id.
    pub payment_id: String,
    /// 1; one more after each refusal.
    pub revision: u32,
    /// How much.
    pub amount: Money,
}

/// The answer to [`Capture`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Captured {
    /// Taken.
    Taken,
    /// Refused.
    Refused {
        /// The gateway's code.
        code: String,
    },
}

/// Release held funds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Void {
    /// Which order.
    pub order_id: OrderId,
    /// The revision of the authorization to undo.
    pub revision: u32,
}

/// The answer to [`Void`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voided {
    /// Whether anything had been held.
    pub released: bool,
}

/// Book a courier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// Which order.
    pub order_id: OrderId,
    /// Which shipment.
    pub shipment_id: ShipmentId,
    /// 1; one more after each refusal.
    pub revision: u32,
    /// From where.
    pub location: Location,
}

/// The answer to [`Book`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Booked {
    /// A courier comes.
    Booked {
        /// The carrier.
        carrier: String,
        /// The parcel's number.
        tracking_number: String,
    },
    /// Refused.
    Refused {
        /// The carrier's code.
        code: String,
    },
}

/// Take a booking back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelBooking {
    /// Which order.
    pub order_id: OrderId,
    /// Which shipment.
    pub shipment_id: ShipmentId,
    /// The revision of the booking to undo.
    pub revision: u32,
}

/// The answer to [`CancelBooking`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingCancelled {
    /// Whether anything had been booked.
    pub cancelled: bool,
}

/// Send one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// Which.
    pub message_id: MessageId,
}

/// The answer to [`Send`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Sent {
    /// Handed to the mail server or text gateway.
    Sent,
    /// Dropped as stale.
    Dropped {
        /// Why.
        why: String,
    },
}
