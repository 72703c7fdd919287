//! The comparison of our books with those of others: what its workflow is started with, and what its activities take and answer.
//! Only counts and cursors pass through the engine; findings are rows.

use oms_domain::Instant;
use oms_domain::reconciliation::Day;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::names::Queue;
use crate::start::Patience;

/// The id of the Temporal Schedule that starts a comparison.
pub const SCHEDULE: &str = "reconciliation";
/// The workflow id of scheduled comparisons, to which the engine adds the time.
pub const SCHEDULED: &str = "reconcile/scheduled";

/// The workflow id of a comparison that somebody asked for.
pub fn reconcile_workflow(day: &Day) -> String {
    format!("reconcile/{day}")
}

/// Whose books are compared, in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Promises of stock.
    Reservations,
    /// The gateway's.
    Payments,
    /// The carrier's.
    Bookings,
    /// Orders, the gateway's books and the engine's open runs.
    Orders,
}

impl Source {
    /// Where its pages are compared and acted on: with the party whose books they are, so that pausing the party pauses this too.
    pub fn queue(self) -> Queue {
        match self {
            Self::Reservations => Queue::Inventory,
            Self::Bookings => Queue::Shipping,
            // the gateway is asked about the money of each order
            Self::Payments | Self::Orders => Queue::Payments,
        }
    }

    /// What comes next.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Reservations => Some(Self::Payments),
            Self::Payments => Some(Self::Bookings),
            Self::Bookings => Some(Self::Orders),
            Self::Orders => None,
        }
    }
}

/// The input of workflow `Reconcile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReconcileStart {
    /// The report's day; that of the start if none is given.
    pub date: Option<Day>,
    /// How far back the books of others are read. Less than the 30 days for which nothing of ours is ever deleted.
    pub window: Duration,
    /// What changed more recently than this may still be moving.
    pub grace: Duration,
    /// Pause between the two readings that a finding needs.
    pub second_reading: Duration,
    /// Entries per page.
    pub page: u32,
    /// Retry pauses.
    pub patience: Patience,
    /// How far an earlier run of this comparison came.
    pub progress: Option<Progress>,
}

impl Default for ReconcileStart {
    fn default() -> Self {
        Self {
            date: None,
            window: Duration::from_secs(28 * 24 * 3_600),
            grace: Duration::from_secs(15 * 60),
            second_reading: Duration::from_secs(3),
            page: 100,
            patience: Patience::default(),
            progress: None,
        }
    }
}

/// How far a comparison came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Its terms.
    pub begun: Begun,
    /// What is compared next.
    pub source: Option<Source>,
    /// Behind which entry.
    #[serde(default)]
    pub after: Option<String>,
    /// What was compared.
    #[serde(default)]
    pub counts: Counts,
}

/// How many entries were compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Orders that have not ended.
    pub orders: u64,
    /// Payments at the gateway.
    pub payments: u64,
    /// Bookings at the carrier.
    pub bookings: u64,
    /// Orders with stock promised.
    pub reservations: u64,
}

impl Counts {
    /// Counts entries of a source.
    pub fn add(&mut self, source: Source, entries: u64) {
        let count = match source {
            Source::Reservations => &mut self.reservations,
            Source::Payments => &mut self.payments,
            Source::Bookings => &mut self.bookings,
            Source::Orders => &mut self.orders,
        };
        *count += entries;
    }
}

/// Open the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The report's day; today if none is given.
    pub date: Option<Day>,
    /// How far back the books of others are read.
    pub window: Duration,
    /// What changed more recently than this may still be moving.
    pub grace: Duration,
}

/// The terms of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The report's day.
    pub date: Day,
    /// When it began.
    pub started_at: Instant,
    /// The books of others are read from here on.
    pub since: Instant,
    /// What changed later may still be moving.
    pub before: Instant,
}

/// Compare one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The comparison's terms.
    pub begun: Begun,
    /// Whose books.
    pub source: Source,
    /// Behind which entry.
    pub after: Option<String>,
    /// Entries at most.
    pub limit: u32,
    /// Pause before the second reading.
    pub second_reading: Duration,
}

/// The answer to [`Compare`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Entries compared.
    pub entries: u64,
    /// Findings written.
    pub found: u64,
    /// Behind which entry the next page begins; none behind the last one.
    pub next: Option<String>,
}

/// Do something about findings that nothing was done about yet, a few at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleFindings {
    /// The report's day.
    pub date: Day,
    /// Retry pauses of orders that are started again.
    #[serde(default)]
    pub patience: Patience,
}

/// The answer to [`SettleFindings`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledFindings {
    /// There are more.
    pub more: bool,
}

/// Close the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// The comparison's terms.
    pub begun: Begun,
    /// What was compared.
    pub counts: Counts,
    /// It ended in a defect: nothing is said about what it did not look at.
    #[serde(default)]
    pub failed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::effect_key;
    use oms_domain::reconciliation::revision;

    #[test]
    fn our_keys_tell_their_revision() {
        assert_eq!(revision(&effect_key("some-order", "authorize", 3), "some-order", "authorize"), Some(3));
    }

    #[test]
    fn every_source_is_compared_once() {
        let all: Vec<Source> = std::iter::successors(Some(Source::Reservations), |s| s.next()).collect();
        assert_eq!(all, [Source::Reservations, Source::Payments, Source::Bookings, Source::Orders]);
    }
}
