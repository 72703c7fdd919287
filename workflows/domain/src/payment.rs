//! An order's money: held, taken, given back.

use serde::{Deserialize, Serialize};

use crate::Instant;
use crate::money::{Currency, Money};

/// How the customer pays: a token of the gateway, never card data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentMethod(pub String);

/// Where an order's money stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Nothing was asked of the gateway yet.
    Pending,
    /// The order costs nothing.
    NotRequired,
    /// The customer must authenticate.
    RequiresAction,
    /// Funds are held.
    Authorized,
    /// The gateway refused to hold funds.
    Declined,
    /// Some of the held funds were taken.
    PartiallyCaptured,
    /// All was taken.
    Captured,
    /// The hold on the funds was released.
    Voided,
    /// Taken funds were returned.
    Refunded,
}

impl PaymentStatus {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::NotRequired => "not_required",
            Self::RequiresAction => "requires_action",
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::PartiallyCaptured => "partially_captured",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
        }
    }
}

/// What is done when funds that were held cannot be held again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReauthorizationPolicy {
    /// The gateway is asked again and again; only the shop's own people are told.
    Reauthorize,
    /// The same, and the customer is told once.
    #[default]
    AskCustomer,
    /// The order is cancelled, unless a parcel has left: then as [`Self::AskCustomer`].
    Cancel,
}

impl ReauthorizationPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Reauthorize, Self::AskCustomer, Self::Cancel];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reauthorize => "reauthorize",
            Self::AskCustomer => "ask_customer",
            Self::Cancel => "cancel",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == name)
    }
}

/// An order's payment as the order sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Where it stands.
    pub status: PaymentStatus,
    /// Funds held at most.
    pub authorized: Money,
    /// Funds taken.
    pub captured: Money,
    /// Funds returned.
    pub refunded: Money,
    /// What a person settled outside or gave up, after the gateway had refused to take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Money>,
    /// When the hold on the funds ends by itself.
    #[serde(default)]
    pub authorization_expires_at: Option<Instant>,
    /// When it is too late for the customer to authenticate, while that is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_until: Option<Instant>,
}

impl Payment {
    /// A payment of which nothing has happened.
    pub fn pending(currency: Currency) -> Self {
        let zero = Money::zero(currency);
        Self {
            status: PaymentStatus::Pending,
            authorized: zero,
            captured: zero,
            refunded: zero,
            waived: None,
            authorization_expires_at: None,
            action_until: None,
        }
    }

    /// Takes over what refunds have returned, in minor units: a column of the row, because the order's run is not told.
    pub fn note_refunded(&mut self, minor: i64) {
        self.refunded.minor = minor;
        if self.status == PaymentStatus::Captured && minor > 0 && minor >= self.captured.minor {
            self.status = PaymentStatus::Refunded;
        }
    }
}
