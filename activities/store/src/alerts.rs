//! Alerts to operators: what was newly opened in the review queue, told once per kind and window by whichever process comes first.

use oms_domain::Instant;
use std::time::Duration;

use crate::Result;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// How operators are told.
    AlertWay {
        /// By mail.
        Mail = "mail",
        /// By a POST to their own address.
        Webhook = "webhook",
    }
}

/// Something to tell operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id: the same on every way and for every attempt.
    pub id: String,
    /// How it is told.
    pub way: AlertWay,
    /// The kind of the review items.
    pub kind: String,
    /// How many were opened.
    pub items: u64,
    /// The ids of a few of them, oldest first.
    pub sample: Vec<String>,
    /// When it was made.
    pub created_at: Instant,
}

impl Store {
    /// Makes alerts of the open review items that nobody was told of, one per kind that was not told of for `window`, for each of the
    /// ways. Of several callers one makes it.
    pub async fn raise_alerts(&self, ways: &[AlertWay], window: Duration, now: Instant) -> Result<()> {
        run!(self, alerts::raise(ways, window, now))
    }

    /// Claims alerts to send, oldest first: those that nobody has claimed since `claimed_before`.
    pub async fn claim_alerts(&self, claimed_before: Instant, limit: u32, now: Instant) -> Result<Vec<Alert>> {
        run!(self, alerts::claim(claimed_before, limit, now))
    }

    /// Notes that an alert was sent. A repeat changes nothing.
    pub async fn alert_sent(&self, id: &str, way: AlertWay, now: Instant) -> Result<()> {
        run!(self, alerts::sent(id, way, now))
    }
}
