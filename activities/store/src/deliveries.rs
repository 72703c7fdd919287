//! Deliveries: what webhooks are owed, event by event. Of one subject only the first that is pending is tried, so that a webhook hears
//! of an order in the order's order; what fails for one webhook holds nobody else up.

use oms_domain::Instant;

use crate::Result;
use crate::circuits::Pauses;
use crate::outbox::OutboxRow;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// Where a delivery stands.
    DeliveryState {
        /// It is tried until it succeeds.
        Pending = "pending",
        /// The receiver has it.
        Delivered = "delivered",
    }
}

/// A delivery to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// The event.
    pub event: OutboxRow,
    /// How often it was tried.
    pub attempts: u64,
    /// Since when it fails; `None`: it has not failed.
    pub failing_since: Option<Instant>,
}

/// What a try that failed found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The receiver's status, if it answered.
    pub status: Option<u16>,
    /// What was wrong, in a word or two. Never what the receiver said.
    pub error: String,
    /// When to try again.
    pub due_at: Instant,
}

/// A webhook of which nothing is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// Since when every request to it has failed.
    pub since: Instant,
    /// Until when this attempt has sent it to rest, if it did.
    pub rests_until: Option<Instant>,
}

/// Requests to a webhook in a row that fail before it rests.
pub const FAILURES_MAX: u64 = 8;

/// A delivery as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryView {
    /// The event's place.
    pub position: u64,
    /// The event's id.
    pub event_id: String,
    /// What it is about.
    pub subject: String,
    /// The fact's wire name.
    pub kind: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u64,
    /// When it is tried next, unless an earlier event of its subject is still pending.
    pub due_at: Instant,
    /// The receiver's last status, if it answered.
    pub status: Option<u16>,
    /// What was wrong the last time.
    pub error: Option<String>,
    /// When it was tried last.
    pub attempted_at: Option<Instant>,
}

impl Store {
    /// Owes every enabled webhook the events that have come since it was looked at, at most `limit` each; answers how many events were
    /// looked at.
    pub async fn owe_webhooks(&self, limit: u32, now: Instant) -> Result<u64> {
        run!(self, deliveries::owe(limit, now))
    }

    /// Claims what is due for a webhook until `until`, the first of each subject.
    pub async fn claim_deliveries(
        &self,
        webhook: &str,
        owner: &str,
        until: Instant,
        limit: u32,
        now: Instant,
    ) -> Result<Vec<ClaimedDelivery>> {
        run!(self, deliveries::claim(webhook, owner, until, limit, now))
    }

    /// The receiver has the event. Nothing changes for an owner that has lost the claim.
    pub async fn delivered(&self, webhook: &str, position: u64, owner: &str, status: u16, now: Instant) -> Result<()> {
        run!(self, deliveries::delivered(webhook, position, owner, status, now))
    }

    /// The receiver may not have the event: it, and what waits behind it, is due again later. After [`FAILURES_MAX`] failures with no
    /// success between them the webhook rests as a whole, longer each time in a row. `None`, and nothing changes, for an owner
    /// that has lost the claim.
    pub async fn not_delivered(
        &self,
        webhook: &str,
        position: u64,
        owner: &str,
        attempt: &Attempt,
        rests: Pauses,
        now: Instant,
    ) -> Result<Option<Failing>> {
        run!(self, deliveries::not_delivered(webhook, position, owner, attempt, rests, now))
    }

    /// A page of a webhook's deliveries, newest first, before a place.
    pub async fn deliveries(
        &self,
        webhook: &str,
        state: Option<DeliveryState>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<DeliveryView>> {
        run!(self, deliveries::page(webhook, state, before, limit))
    }
}
