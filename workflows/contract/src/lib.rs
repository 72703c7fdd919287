//! Every name and shape that crosses Temporal.
//!
//! Names are explicit constants, so that a rename in Rust never breaks a running order; `tests/` lists them in one snapshot. Shapes
//! evolve: new fields are `#[serde(default)]`, nothing refuses unknown fields, one struct per call. No personal data in any of them.

pub mod activity;
pub mod command;
pub mod definitions;
pub mod failure;
pub mod names;
pub mod reconciliation;
pub mod refund;
pub mod returning;
pub mod search;
pub mod start;
pub mod workflow;
