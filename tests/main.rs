//! The story told from outside.
#![allow(missing_docs, clippy::unwrap_used, unreachable_pub)]

mod support;

mod architecture;
mod lives;
mod names;
mod replay;
mod tables;
