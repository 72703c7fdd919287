//! What happens to an order of which not everything is in stock.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::Instant;

/// The shop's policy for one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortagePolicy {
    /// The order is refused as a whole.
    #[default]
    Reject,
    /// What is there ships at once; the rest waits and follows in one go.
    ShipAvailable,
    /// Nothing ships before everything is there.
    Wait,
}

impl ShortagePolicy {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::ShipAvailable => "ship_available",
            Self::Wait => "wait",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Reject, Self::ShipAvailable, Self::Wait].into_iter().find(|p| p.as_str() == name)
    }
}

/// A policy and its patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OnShortage {
    /// What to do.
    pub policy: ShortagePolicy,
    /// How long the order waits before the customer is asked; the shop's setting when missing.
    #[serde(default)]
    pub max: Option<Duration>,
}

/// What the customer (or the shop for them) wants of an order that has waited long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go on waiting, as long again.
    Wait,
    /// Ship what is there and drop the rest.
    ShipAvailable,
    /// Drop what has not shipped; an order of which nothing ships is cancelled.
    Cancel,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 3] = [Self::Wait, Self::ShipAvailable, Self::Cancel];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::ShipAvailable => "ship_available",
            Self::Cancel => "cancel",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.as_str() == name)
    }
}

/// The customer was asked what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Which time, from 1: a link of an earlier time decides nothing.
    pub round: u32,
    /// Since when.
    pub asked_at: Instant,
    /// When the default decides.
    pub until: Instant,
    /// What is decided then.
    pub default: Decision,
}
