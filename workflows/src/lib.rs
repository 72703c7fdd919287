//! An order's life as durable decisions. Everything in this crate is deterministic: it decides, activities do.

pub mod aftermath;
mod beside;
pub mod mailout;
pub mod order;
pub mod policy;
pub mod reconcile;
pub mod refund;
pub mod returning;
pub mod saga;
mod unanswered;
