//! Facts: what happened to an order, once each, in order. The timeline shows them, the outbox publishes them.

use serde::{Deserialize, Serialize};

use crate::Instant;
use crate::ids::ShipmentId;
use crate::message::Topic;
use crate::money::Money;

/// Declares the kinds of facts with their wire names.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $wire:literal,)*) => {
        /// What kind of thing happened. Wire names are constants: a rename in Rust must not change a published event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum FactKind {
            $($(#[doc = $doc])* #[serde(rename = $wire)] $name,)*
            /// A kind that this version does not know (written by a newer one).
            #[serde(other, rename = "unknown")]
            Unknown,
        }
        impl FactKind {
            /// Every kind that this version writes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The wire name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* Self::Unknown => "unknown" }
            }

            /// Reads the wire name.
            pub fn parse(name: &str) -> Self {
                match name { $($wire => Self::$name,)* _ => Self::Unknown }
            }

            /// What it says, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii_start(),)* Self::Unknown => "" }
            }
        }
    };
}

kinds! {
    /// The order was accepted.
    OrderPlaced = "order.placed",
    /// Stock is reserved and money is held.
    OrderConfirmed = "order.confirmed",
    /// The order was refused; the reason says why.
    OrderRejected = "order.rejected",
    /// A cancel was accepted; the undo has begun.
    OrderCancelling = "order.cancelling",
    /// Every undo is done.
    OrderCancelled = "order.cancelled",
    /// Everything is delivered and paid.
    OrderCompleted = "order.completed",
    /// Some of it is delivered and paid, the rest never will be.
    OrderPartiallyFulfilled = "order.partially_fulfilled",
    /// Everything came back.
    OrderReturned = "order.returned",
    /// A rule wants a person to look before anything is promised.
    OrderInReview = "order.in_review",
    /// The review ended; the reason starts with its verdict.
    OrderReviewed = "order.reviewed",
    /// Not everything is in stock; the order waits for it.
    OrderBackordered = "order.backordered",
    /// The customer was asked what to do about the wait.
    OrderQuestionAsked = "order.question_asked",
    /// The customer, the shop or the default decided.
    OrderQuestionDecided = "order.question_decided",
    /// Lines or quantities changed, and stock, tax and authorization with them.
    OrderEdited = "order.edited",
    /// The change could not be made; the order stands as it was.
    OrderEditRefused = "order.edit_refused",
    /// The parcel goes elsewhere.
    OrderAddressChanged = "order.address_changed",
    /// Lines that will never ship were taken off the order.
    OrderLinesDropped = "order.lines_dropped",
    /// Stock was promised to the order.
    StockReserved = "stock.reserved",
    /// The promise had run out before the order was confirmed.
    StockLapsed = "stock.lapsed",
    /// Goods arrived for an order that waited.
    StockArrived = "stock.arrived",
    /// The promise was taken back.
    StockReleased = "stock.released",
    /// The goods left the stock.
    StockCommitted = "stock.committed",
    /// Goods left although their order was cancelled.
    StockDeparted = "stock.departed",
    /// Funds are held.
    PaymentAuthorized = "payment.authorized",
    /// The gateway refused to hold funds.
    PaymentDeclined = "payment.declined",
    /// The customer must authenticate.
    PaymentActionRequired = "payment.action_required",
    /// Held funds were taken for a shipment.
    PaymentCaptured = "payment.captured",
    /// The gateway refused to take held funds.
    PaymentCaptureRefused = "payment.capture_refused",
    /// The hold on the funds was released.
    PaymentVoided = "payment.voided",
    /// Funds are held anew, because the old hold was about to end.
    PaymentReauthorized = "payment.reauthorized",
    /// The gateway refused to hold funds anew.
    PaymentReauthorizationDeclined = "payment.reauthorization_declined",
    /// The money was settled outside; the reason names the reference.
    PaymentSettledOutside = "payment.settled_outside",
    /// A refund was accepted and is on its way.
    RefundRequested = "refund.requested",
    /// The gateway returned the money.
    RefundCompleted = "refund.completed",
    /// The gateway refused to return the money; it is asked again.
    RefundRefused = "refund.refused",
    /// A refund was settled outside or given up by a person.
    RefundClosed = "refund.closed",
    /// The customer wants to send goods back.
    ReturnRequested = "return.requested",
    /// The shop takes the goods back.
    ReturnApproved = "return.approved",
    /// The shop does not take the goods back.
    ReturnRejected = "return.rejected",
    /// The parcel that comes back has a label; the reason names it.
    ReturnLabelled = "return.labelled",
    /// The goods came back and were inspected.
    ReturnReceived = "return.received",
    /// The goods are back and the money is on its way.
    ReturnCompleted = "return.completed",
    /// The goods did not come in time.
    ReturnExpired = "return.expired",
    /// A courier was booked.
    ShipmentBooked = "shipment.booked",
    /// The carrier refused the booking.
    ShipmentBookingRefused = "shipment.booking_refused",
    /// The booking was taken back.
    ShipmentBookingCancelled = "shipment.booking_cancelled",
    /// The shipment was replaced by others after an edit.
    ShipmentReplaced = "shipment.replaced",
    /// The warehouse was told once more of a shipment that it has not taken over.
    ShipmentHandedOffAgain = "shipment.handed_off_again",
    /// The warehouse took the shipment over.
    ShipmentAcknowledged = "shipment.acknowledged",
    /// Nothing more is expected of the parcel; a person decided.
    ShipmentClosed = "shipment.closed",
    /// The parcel was handed to the carrier.
    ShipmentShipped = "shipment.shipped",
    /// The parcel is on its way.
    ShipmentInTransit = "shipment.in_transit",
    /// The carrier cannot find the parcel.
    ShipmentLost = "shipment.lost",
    /// The parcel arrived.
    ShipmentDelivered = "shipment.delivered",
    /// The parcel came back.
    ShipmentReturned = "shipment.returned_to_sender",
    /// A hold was placed.
    HoldPlaced = "hold.placed",
    /// A hold was released.
    HoldReleased = "hold.released",
    /// A hold reached its end.
    HoldExpired = "hold.expired",
    /// Something needs a person.
    AttentionRaised = "attention.raised",
    /// It no longer does.
    AttentionCleared = "attention.cleared",
    /// A person resolved a review item; the reason says how.
    ReviewResolved = "review.resolved",
    /// A person had a message sent once more; the reason says why.
    MessageResent = "message.resent",
    /// A signal could not be read or was not allowed; nothing changed.
    SignalIgnored = "signal.ignored",
}

/// Events about an article's stock, which are no facts of an order: it runs low; it can be sold again.
pub const STOCK_KINDS: [&str; 2] = ["stock.low", "stock.back"];

/// What a published kind says, in one sentence; empty for one that is not ours.
pub fn meaning(kind: &str) -> &'static str {
    match kind {
        "stock.low" => "No more units than the article's threshold can be sold.",
        "stock.back" => "The article can be sold again.",
        kind => FactKind::parse(kind).meaning(),
    }
}

/// The wire names of everything that is published, in one order.
pub fn published_kinds() -> impl Iterator<Item = &'static str> {
    FactKind::ALL.iter().map(|kind| kind.as_str()).chain(STOCK_KINDS)
}

const TYPE_PREFIX: &str = "oms.";
/// A change that a reader of the present shape would trip over gets the next number, and both are published for a while.
const TYPE_VERSION: &str = ".v1";

/// The type under which a kind is published, such as `oms.order.placed.v1`.
pub fn event_type(kind: &str) -> String {
    format!("{TYPE_PREFIX}{kind}{TYPE_VERSION}")
}

/// The kind that is published under a type, if it is one of ours.
pub fn kind_of_type(event_type: &str) -> Option<&'static str> {
    let kind = event_type.strip_prefix(TYPE_PREFIX)?.strip_suffix(TYPE_VERSION)?;
    published_kinds().find(|known| *known == kind)
}

/// The name of the JSON Schema of a kind's data.
pub fn schema_id(kind: &str) -> String {
    format!("urn:oms:schema:{}", event_type(kind))
}

/// One thing that happened to an order. Holds no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Names the fact within its order: recording it again (a retry, a workflow reset) changes nothing.
    pub key: String,
    /// What kind.
    pub kind: FactKind,
    /// When it happened.
    pub at: Instant,
    /// Who caused it: `system`, `api`, `temporal`, `carrier`, or the actor that a command named.
    pub actor: String,
    /// Why, in the actor's words or a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The shipment it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipment: Option<ShipmentId>,
    /// The money it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// The message that the customer gets about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tell: Option<Topic>,
}

impl Fact {
    /// A fact of the system itself.
    pub fn new(key: impl Into<String>, kind: FactKind, at: Instant) -> Self {
        Self { key: key.into(), kind, at, actor: "system".to_owned(), reason: None, shipment: None, amount: None, tell: None }
    }

    /// Caused by `actor`.
    pub fn by(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// For this reason.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// About this shipment.
    pub fn about(mut self, shipment: &ShipmentId) -> Self {
        self.shipment = Some(shipment.clone());
        self
    }

    /// Moving this money.
    pub fn moving(mut self, amount: Money) -> Self {
        self.amount = Some(amount);
        self
    }

    /// Told to the customer.
    pub fn told_as(mut self, topic: Topic) -> Self {
        self.tell = Some(topic);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_are_unique_and_read_back() {
        for kind in FactKind::ALL {
            assert_eq!(FactKind::parse(kind.as_str()), *kind);
            assert_eq!(serde_json::to_string(kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
        assert_eq!(serde_json::from_str::<FactKind>("\"order.teleported\"").unwrap(), FactKind::Unknown);
    }

    #[test]
    fn types_are_versioned_and_read_back() {
        assert_eq!(event_type(FactKind::OrderPlaced.as_str()), "oms.order.placed.v1");
        let mut seen = std::collections::BTreeSet::new();
        for kind in published_kinds() {
            assert_eq!(kind_of_type(&event_type(kind)), Some(kind));
            assert!(seen.insert(kind), "{kind} twice");
        }
        for strange in ["order.placed", "oms.order.placed", "oms.order.placed.v2", "oms.order.teleported.v1", ""] {
            assert_eq!(kind_of_type(strange), None);
        }
    }
}
