//! Inputs and results of activities. Every one may run twice; effects are keyed by order, step and revision.

use oms_domain::Instant;
use oms_domain::event::Fact;
use oms_domain::ids::{Location, MessageId, OrderId, ShipmentId, Sku};
use oms_domain::life::{Life, Why};
use oms_domain::money::Money;
use oms_domain::order::Status;
use oms_domain::payment::PaymentMethod;
use oms_domain::pricing::Totals;
use oms_domain::review::{Attention, Resolution};
use oms_domain::risk::RiskRules;
use oms_domain::shipment::{Scan, ScanResult, ShipmentStatus};
use oms_domain::shortage::ShortagePolicy;
use oms_domain::stock::{Allocation, Quantity, Strategy};
use serde::{Deserialize, Serialize};

use crate::start::OrderLine;

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
    /// Lines and sums changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amend: Option<Amend>,
    /// The parcel goes to the address of this change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Review items that a person resolved since the last record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<ResolvedItem>,
}

/// A review item and what a person decided about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedItem {
    /// Which item.
    pub item: String,
    /// How.
    pub action: Resolution,
    /// Where it was settled outside.
    #[serde(default)]
    pub reference: Option<String>,
    /// Why.
    pub reason: Why,
    /// Who decided.
    pub actor: String,
}

/// A review item that a story beside the order's run opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedItem {
    /// Its id, the same however often it is opened.
    pub id: String,
    /// A stable word: `refund_refused`, …
    pub kind: String,
    /// What it is about: a refund's or a return's id.
    pub subject: String,
    /// A sentence for the operator.
    pub detail: String,
}

/// An order's lines and sums from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amend {
    /// The edit whose proposal becomes the order's lines; without one the order's own lines get the quantities of `lines`.
    #[serde(default)]
    pub edit: Option<String>,
    /// The lines, in the order of the row's; a quantity of zero takes the line off.
    pub lines: Vec<OrderLine>,
    /// The sums.
    pub totals: Totals,
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
    /// The row was ahead, so the record's lines and address were not written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
    /// The record was to confirm an order that an earlier life of this run had confirmed: how far that one had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Box<Standing>>,
}

/// How far an order had come before its run was reset. What the run forgot stands here; it goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The order's state as its row shows it.
    pub life: Life,
    /// Its lines.
    pub lines: Vec<OrderLine>,
    /// What it costs.
    pub total: Money,
    /// The number of the last change of its promise.
    #[serde(default)]
    pub last_change: u32,
    /// The highest revision of an authorization that was asked for.
    #[serde(default)]
    pub authorizations: u32,
    /// Bookings that were asked for.
    #[serde(default)]
    pub bookings: Vec<(ShipmentId, u32)>,
    /// Shipments whose money was taken, or settled outside, for all that is on record.
    #[serde(default)]
    pub taken: Vec<ShipmentId>,
    /// Shipments that a person has closed.
    #[serde(default)]
    pub closed: Vec<ShipmentId>,
    /// Edits that are in the lines.
    #[serde(default)]
    pub edits: Vec<String>,
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
    /// Review items to open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<OpenedItem>,
    /// Review items that settled themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<String>,
    /// Review items that a person resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<ResolvedItem>,
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
    /// What to do when not everything is there. With any policy but `reject` the order queues for the rest by its `placed_at`,
    /// gets it when it arrives, and what it has does not expire.
    #[serde(default)]
    pub policy: ShortagePolicy,
    /// The order's place in the queue; its intake.
    #[serde(default)]
    pub placed_at: Option<Instant>,
    /// Which places give first.
    #[serde(default)]
    pub strategy: Strategy,
}

/// Make an order's promise cover other lines: an edit, or what is left once the wait is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeReservation {
    /// Which order.
    pub order_id: OrderId,
    /// Number of this change within the order, from 1: an older one that comes late changes nothing.
    pub change: u32,
    /// What the promise covers from now on, units that have left included.
    pub lines: Vec<Quantity>,
    /// What to do when not everything is there; `reject` leaves the old promise as it was.
    pub policy: ShortagePolicy,
    /// What is in parcels that stay as they are: these units are not given back, wherever others rank.
    #[serde(default)]
    pub keep: Vec<Allocation>,
    /// The order's place in the queue; its intake.
    pub placed_at: Instant,
    /// Which places give first.
    #[serde(default)]
    pub strategy: Strategy,
}

/// The answer to [`Reserve`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Reserved {
    /// Promised, by location.
    Held {
        /// One per location.
        allocations: Vec<Allocation>,
        /// Units that the order waits for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waiting: Vec<Quantity>,
    },
    /// Not enough.
    OutOfStock {
        /// What lacks.
        short: Vec<Sku>,
    },
    /// Released before it came: the order is being undone.
    Released,
}

/// Let the shop's rules look at an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assess {
    /// Which order.
    pub order_id: OrderId,
    /// The rules.
    pub rules: RiskRules,
}

/// The answer to [`Assess`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessed {
    /// Which rules want a person to look; none: the order goes on.
    pub reasons: Vec<String>,
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
    /// This revision was held and released before: a run that was reset asks again, and goes on to the next one.
    Released,
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
    /// It cannot be sent; a review item says why.
    Failed {
        /// Why.
        why: String,
    },
}
