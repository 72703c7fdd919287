//! The words of order fulfilment and the rules between them: pure, deterministic, without I/O.
//!
//! Everything here is data and functions on data. No clock, no randomness: instants and ids come in as arguments, so the
//! same code decides the same way in a workflow, in its replay and in a test.

pub mod customer;
pub mod event;
pub mod ids;
pub mod life;
pub mod message;
pub mod money;
pub mod order;
pub mod paper;
pub mod party;
pub mod payment;
pub mod pricing;
pub mod reconciliation;
pub mod refund;
pub mod returning;
pub mod review;
pub mod risk;
pub mod shipment;
pub mod shortage;
pub mod stock;
pub mod webhook;

/// An instant. Always UTC; a customer's time zone exists only in message templates.
pub type Instant = chrono::DateTime<chrono::Utc>;

/// A system time as an [`Instant`], cut to microseconds: what both databases keep, so that a written instant reads back equal.
pub fn instant(time: std::time::SystemTime) -> Instant {
    chrono::SubsecRound::trunc_subsecs(Instant::from(time), 6)
}
