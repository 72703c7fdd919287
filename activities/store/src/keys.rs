//! `Idempotency-Key`s: which request each was used for, and what came of it.

use oms_domain::Instant;

use crate::Result;
use crate::store::{Store, run};

/// A key and the request it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyClaim {
    /// Whose key (`public` until there is identity).
    pub client: String,
    /// The key.
    pub key: String,
    /// Hex SHA-256 of the canonical request.
    pub fingerprint: String,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Nothing: it is ours now.
    Fresh,
    /// It came before with the same request, whose effect may be half done.
    Again,
    /// It came before with the same request, which was answered.
    Done {
        /// The first answer's HTTP status.
        status: u16,
        /// What the request was about: an id.
        subject: String,
    },
    /// It came before with another request.
    Reused,
}

impl Store {
    /// Claims a key for a request.
    pub async fn claim_key(&self, claim: &KeyClaim, now: Instant) -> Result<Claimed> {
        run!(self, keys::claim(claim, now))
    }

    /// Notes what the request was answered. The first answer stays.
    pub async fn finish_key(&self, claim: &KeyClaim, status: u16, subject: &str, now: Instant) -> Result<()> {
        run!(self, keys::finish(claim, status, subject, now))
    }

    /// Gives a key back: a refused request does not use it up. An answered one keeps it.
    pub async fn abandon_key(&self, claim: &KeyClaim) -> Result<()> {
        run!(self, keys::abandon(claim))
    }
}
