//! Messages to the customer: which facts are told, and on which channels.

use serde::{Deserialize, Serialize};

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    Mail,
    /// Text message; only to customers who gave a phone number.
    Sms,
}

impl Channel {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Sms => "sms",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Mail, Self::Sms].into_iter().find(|c| c.as_str() == name)
    }
}

/// What a message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// The order was accepted and paid for.
    Confirmed,
    /// A shipment left.
    Shipped,
    /// A shipment arrived.
    Delivered,
    /// The order was refused.
    Rejected,
    /// The order was cancelled.
    Cancelled,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 5] = [Self::Confirmed, Self::Shipped, Self::Delivered, Self::Rejected, Self::Cancelled];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }

    /// The channels on which this topic is told to a customer. SMS only where it saves the customer a wait at the door.
    pub fn channels(self, has_phone: bool) -> &'static [Channel] {
        match self {
            Self::Shipped | Self::Delivered if has_phone => &[Channel::Mail, Channel::Sms],
            _ => &[Channel::Mail],
        }
    }

    /// Whether the message still makes sense for a cancelled order: what was promised before is no longer true.
    pub fn survives_cancellation(self) -> bool {
        matches!(self, Self::Cancelled | Self::Delivered)
    }
}

/// A message older than this when its turn comes is dropped: news of yesterday confuses more than it helps.
pub const STALE_AFTER_HOURS: i64 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_read_back() {
        for topic in Topic::ALL {
            assert_eq!(Topic::parse(topic.as_str()), Some(topic));
        }
        assert_eq!(Channel::parse("sms"), Some(Channel::Sms));
    }

    #[test]
    fn nobody_without_a_phone_is_texted() {
        assert!(Topic::ALL.iter().all(|t| !t.channels(false).contains(&Channel::Sms)));
        assert!(Topic::Shipped.channels(true).contains(&Channel::Sms));
    }
}
