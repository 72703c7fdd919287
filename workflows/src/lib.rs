//! An order's life as durable decisions. Everything in this crate is deterministic: it decides, activities do.

pub mod aftermath;
pub mod mailout;
pub mod order;
pub mod policy;
pub mod saga;
