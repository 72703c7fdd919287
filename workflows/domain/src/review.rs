//! What needs a person: the manual review of an order, flags that policy cannot settle, and what a person may do about them.

use serde::{Deserialize, Serialize};

use crate::Instant;
use crate::ids::{OrderId, ShipmentId, derive};

/// The verdict of a manual review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewDecision {
    /// The order goes on.
    Approve,
    /// The order is rejected.
    Reject,
}

impl ReviewDecision {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Approve, Self::Reject].into_iter().find(|d| d.as_str() == name)
    }
}

/// An order's manual review while it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Which rules sent it here: `amount`, `velocity`, `address_mismatch`.
    pub reasons: Vec<String>,
    /// Since when.
    pub since: Instant,
    /// When policy decides if nobody does.
    pub until: Instant,
}

/// The flag of a parcel that left although a cancel had won or an edit had replaced it: it outlives the order's end.
pub const DEPARTED_AFTER_CANCEL: &str = "departed_after_cancel";
/// The flag of goods that left although the books promise them to others: it outlives the order's end.
pub const STOCK_SHORT: &str = "stock_short_after_departure";
/// The flag of a parcel that the carrier cannot find: it outlives the order's end.
pub const LOST: &str = "lost";
/// The flag of a parcel that came back to the sender.
pub const RETURNED_TO_SENDER: &str = "returned_to_sender";
/// The flag of a parcel of which nobody hears.
pub const NO_SCAN: &str = "no_scan";
/// The flag of an order that stands still.
pub const STUCK: &str = "stuck";
/// The flag of a step that ended in a defect.
pub const DEFECT: &str = "defect";
/// The flag of an order that waits for a manual review.
pub const IN_REVIEW: &str = "in_review";
/// The flag of an order that waits for its customer to authenticate.
pub const ACTION_REQUIRED: &str = "payment_action_required";
/// The flag of a capture that the gateway refused.
pub const CAPTURE_REFUSED: &str = "capture_refused";
/// The flag of a shipment that no carrier takes.
pub const BOOKING_REFUSED: &str = "booking_refused";
/// The flag of an order whose funds could not be held again.
pub const UNFUNDED: &str = "reauthorization_declined";
/// A refund that the gateway refuses.
pub const REFUND_REFUSED: &str = "refund_refused";
/// A refund to which nobody gives an answer.
pub const REFUND_UNANSWERED: &str = "refund_unanswered";
/// A return whose parcel no carrier takes.
pub const RETURN_LABEL_REFUSED: &str = "return_label_refused";
/// A return whose parcel nobody books, or says that he does not.
pub const RETURN_LABEL_UNANSWERED: &str = "return_label_unanswered";
/// A return of which another step goes on without an answer: its goods are not on the shelf, its parcel is not called off.
pub const RETURN_UNANSWERED: &str = "return_unanswered";

/// The item of a code of a carrier that means nothing to us.
pub const UNKNOWN_CARRIER_CODE: &str = "unknown_carrier_code";

/// The item of a report whose order or parcel never appeared here.
pub const UNROUTED_REPORT: &str = "unrouted_report";

/// What a person may do about a review item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Try the step again now, or keep waiting.
    Retry,
    /// It was settled outside; the reference says where.
    UseExternalReference,
    /// Give the money back and end what is left.
    RefundAndClose,
    /// Cancel the order.
    Cancel,
}

impl Resolution {
    /// Every resolution.
    pub const ALL: [Self; 4] = [Self::Retry, Self::UseExternalReference, Self::RefundAndClose, Self::Cancel];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::UseExternalReference => "use_external_reference",
            Self::RefundAndClose => "refund_and_close",
            Self::Cancel => "cancel",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == name)
    }
}

/// What may be done about a flag.
pub fn resolutions(code: &str) -> &'static [Resolution] {
    use Resolution::{Cancel, RefundAndClose, Retry, UseExternalReference};
    match code {
        CAPTURE_REFUSED => &[Retry, UseExternalReference, RefundAndClose],
        BOOKING_REFUSED => &[Retry, UseExternalReference, Cancel],
        LOST | NO_SCAN | RETURNED_TO_SENDER => &[Retry, UseExternalReference, RefundAndClose],
        UNFUNDED => &[Retry, UseExternalReference, Cancel],
        STUCK | DEFECT | ACTION_REQUIRED => &[Retry, Cancel],
        // approved or rejected by the order's own `review`
        IN_REVIEW => &[Cancel],
        // nothing is tried again: what it was about has happened
        DEPARTED_AFTER_CANCEL | STOCK_SHORT | UNKNOWN_CARRIER_CODE | UNROUTED_REPORT => &[UseExternalReference],
        // nothing outside takes its place: the shelf is ours, and a booking is only called off by its carrier
        RETURN_UNANSWERED => &[Retry],
        _ => &[Retry, UseExternalReference],
    }
}

/// Something about the order that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// A stable word: `capture_refused`, `lost`, `stuck`, …
    pub code: String,
    /// The shipment it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipment: Option<ShipmentId>,
    /// A sentence for the operator.
    pub detail: String,
    /// Since when.
    pub since: Instant,
    /// Tells this flag from an earlier one of the same code. None: `since` does, on orders of shapes before 4 and on what is raised after
    /// an order's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode: Option<String>,
}

impl Attention {
    /// A flag; `episode` is to be added where one of the same code may have been up before.
    pub fn new(code: &str, shipment: Option<&ShipmentId>, detail: impl Into<String>, since: Instant) -> Self {
        Self { code: code.to_owned(), shipment: shipment.cloned(), detail: detail.into(), since, episode: None }
    }

    /// The id of its item in the review queue: the same for every process that looks at it.
    pub fn item(&self, order: &OrderId) -> String {
        let shipment = self.shipment.as_ref().map_or("", |s| s.as_str());
        let episode = self.episode.clone().unwrap_or_else(|| self.since.to_rfc3339());
        derive(&["review", order.as_str(), &self.code, shipment, &episode]).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_a_next_move() {
        for code in [
            CAPTURE_REFUSED,
            BOOKING_REFUSED,
            LOST,
            NO_SCAN,
            STUCK,
            DEFECT,
            DEPARTED_AFTER_CANCEL,
            RETURN_UNANSWERED,
            "anything_new",
        ] {
            assert!(!resolutions(code).is_empty(), "{code}");
        }
        for resolution in Resolution::ALL {
            assert_eq!(Resolution::parse(resolution.as_str()), Some(resolution));
        }
    }
}
