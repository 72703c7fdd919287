//! An order's status and what may follow what.

use serde::{Deserialize, Serialize};

/// Where an order stands. A hold is a flag beside it, not a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Accepted; stock and money are being arranged.
    Placed,
    /// A person judges it.
    InReview,
    /// Waits for stock.
    Backordered,
    /// Stock is reserved, money is held.
    Confirmed,
    /// Some shipments have left.
    PartiallyShipped,
    /// All shipments have left.
    Shipped,
    /// All shipments arrived, all money settled.
    Completed,
    /// Refused, everything released.
    Rejected,
    /// A cancel won; the undo runs.
    Cancelling,
    /// Cancelled, every undo done.
    Cancelled,
    /// Some shipments arrived, others never will.
    PartiallyFulfilled,
    /// Everything came back.
    Returned,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 12] = [
        Self::Placed,
        Self::InReview,
        Self::Backordered,
        Self::Confirmed,
        Self::PartiallyShipped,
        Self::Shipped,
        Self::Completed,
        Self::Rejected,
        Self::Cancelling,
        Self::Cancelled,
        Self::PartiallyFulfilled,
        Self::Returned,
    ];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::InReview => "in_review",
            Self::Backordered => "backordered",
            Self::Confirmed => "confirmed",
            Self::PartiallyShipped => "partially_shipped",
            Self::Shipped => "shipped",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::PartiallyFulfilled => "partially_fulfilled",
            Self::Returned => "returned",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// Whether the order's workflow closes here.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Rejected | Self::Cancelled | Self::PartiallyFulfilled | Self::Returned)
    }

    /// Whether the order is decided: what `Prefer: wait` waits for.
    pub fn is_decided(self) -> bool {
        !matches!(self, Self::Placed | Self::Cancelling)
    }

    /// How far the order has come. A later record never has a lower rank, so a reset run cannot move an order back.
    pub fn rank(self) -> u8 {
        match self {
            Self::Placed => 0,
            Self::InReview => 1,
            Self::Backordered => 2,
            Self::Confirmed => 3,
            Self::PartiallyShipped => 4,
            Self::Shipped => 5,
            Self::Cancelling => 6,
            Self::Completed | Self::Rejected | Self::Cancelled | Self::PartiallyFulfilled | Self::Returned => 7,
        }
    }

    /// The legal transitions: every edge that exists, and no other.
    pub fn can_become(self, next: Self) -> bool {
        use Status::*;
        match self {
            Placed => matches!(next, InReview | Backordered | Confirmed | Rejected | Cancelling),
            InReview => matches!(next, Backordered | Confirmed | Rejected | Cancelling),
            Backordered => matches!(next, Confirmed | Rejected | Cancelling),
            Confirmed => matches!(next, PartiallyShipped | Shipped | Cancelling),
            PartiallyShipped => matches!(next, Shipped | Completed | PartiallyFulfilled | Returned),
            Shipped => matches!(next, Completed | PartiallyFulfilled | Returned),
            Cancelling => matches!(next, Cancelled),
            Completed | Rejected | Cancelled | PartiallyFulfilled | Returned => false,
        }
    }
}

/// Why an order was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not enough stock.
    OutOfStock,
    /// The gateway refused to hold the money.
    PaymentDeclined,
    /// A person said no.
    ReviewRejected,
    /// The customer did not authenticate in time.
    PaymentActionExpired,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::OutOfStock, Self::PaymentDeclined, Self::ReviewRejected, Self::PaymentActionExpired];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfStock => "out_of_stock",
            Self::PaymentDeclined => "payment_declined",
            Self::ReviewRejected => "review_rejected",
            Self::PaymentActionExpired => "payment_action_expired",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == name)
    }
}

/// What an operator or shop may do with an order now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Stop it for good.
    Cancel,
    /// Stop it for a while.
    PlaceHold,
    /// Let it go on.
    ReleaseHold,
    /// Approve or reject it.
    Review,
    /// Send the parcel elsewhere.
    ChangeAddress,
    /// Change lines and quantities.
    Edit,
    /// Decide about a long wait.
    Decide,
    /// Give money back.
    Refund,
    /// Take goods back.
    Return,
}

impl Action {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::PlaceHold => "place_hold",
            Self::ReleaseHold => "release_hold",
            Self::Review => "review",
            Self::ChangeAddress => "change_address",
            Self::Edit => "edit",
            Self::Decide => "decide",
            Self::Refund => "refund",
            Self::Return => "return",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
    }

    #[test]
    fn edges_only_lead_forward_and_every_status_can_end() {
        for from in Status::ALL {
            for to in Status::ALL {
                assert!(!from.can_become(to) || to.rank() > from.rank(), "{from:?} -> {to:?}");
            }
            assert_eq!(from.is_terminal(), !Status::ALL.iter().any(|to| from.can_become(*to)), "{from:?}");
        }
    }
}
