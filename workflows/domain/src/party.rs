//! Outside parties: who acts for the shop beyond its own walls, called over a network.

use serde::{Deserialize, Serialize};

/// An outside party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The payment gateway.
    Payment,
    /// The carrier.
    Carrier,
    /// The mail server.
    Mail,
    /// The text gateway.
    Sms,
}

impl Party {
    /// Every party, in the order they are listed.
    pub const ALL: [Self; 4] = [Self::Payment, Self::Carrier, Self::Mail, Self::Sms];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Carrier => "carrier",
            Self::Mail => "mail",
            Self::Sms => "sms",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == name)
    }
}
