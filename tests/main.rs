//! The story told from outside.
#![allow(missing_docs, clippy::unwrap_used, unreachable_pub)]

mod support;

mod architecture;
mod audit;
mod http_input;
mod http_orders;
mod kills;
mod lives;
mod mail_sink;
mod names;
mod postgres;
mod replay;
mod stack;
mod sweeps;
mod tables;
