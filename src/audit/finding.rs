//! What the audit finds: an invariant that does not hold, and of what.

use std::fmt;

use oms_domain::ids::{Location, OrderId, Sku};
use serde::Serialize;

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub(crate) enum Subject {
    /// An order.
    Order {
        /// Which.
        order_id: OrderId,
    },
    /// A shelf.
    Shelf {
        /// Of what.
        sku: Sku,
        /// Where.
        location: Location,
    },
    /// A written message that belongs to no order.
    Message {
        /// The id its file is named after.
        message_id: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order { order_id } => write!(f, "order {order_id}"),
            Self::Shelf { sku, location } => write!(f, "sku {sku} at {location}"),
            Self::Message { message_id } => write!(f, "message {message_id}"),
        }
    }
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The invariant's name.
    pub(crate) invariant: &'static str,
    /// Of what.
    #[serde(flatten)]
    pub(crate) subject: Subject,
    /// What must be.
    pub(crate) expected: String,
    /// What is.
    pub(crate) found: String,
    /// Tells findings of one invariant and subject apart, where there may be several.
    #[serde(skip)]
    mark: String,
}

impl Finding {
    /// About an order.
    pub(crate) fn order(invariant: &'static str, id: &OrderId, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(invariant, Subject::Order { order_id: id.clone() }, expected.into(), found.into())
    }

    /// About a shelf.
    pub(crate) fn shelf(
        invariant: &'static str,
        (sku, location): (&Sku, &Location),
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let subject = Subject::Shelf { sku: sku.clone(), location: location.clone() };
        Self::new(invariant, subject, expected.into(), found.into())
    }

    /// About a written message without an order.
    pub(crate) fn message(invariant: &'static str, id: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(invariant, Subject::Message { message_id: id.to_owned() }, expected.into(), found.into())
    }

    fn new(invariant: &'static str, subject: Subject, expected: String, found: String) -> Self {
        Self { invariant, subject, expected, found, mark: String::new() }
    }

    /// Told apart from others of its kind by `mark`.
    pub(crate) fn marked(mut self, mark: impl Into<String>) -> Self {
        self.mark = mark.into();
        self
    }

    /// Whether `other` is this finding, seen again: the figures may have moved meanwhile.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.invariant == other.invariant && self.subject == other.subject && self.mark == other.mark
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: expected {}, found {}", self.invariant, self.subject, self.expected, self.found)
    }
}
