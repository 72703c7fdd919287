//! Thin adapters between the engine and the world: decode, at most one effect at an outside party, one store call, encode.
//!
//! Every activity may run twice, also twice at once: effects carry a key made of order, step and revision, and the store's verbs
//! are idempotent. What outside parties answered is mapped here; nothing is decided here.

pub mod breaker;
pub mod failure;
pub mod inventory;
pub mod notifications;
pub mod orders;
pub mod payments;
pub mod reconciliation;
pub mod refunds;
pub mod returns;
pub mod shipping;

use oms_domain::Instant;
use std::sync::Arc;

/// Where activities get the time from, so that tests can set it.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| oms_domain::instant(std::time::SystemTime::now()))
}
