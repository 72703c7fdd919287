//! The story told from outside.
#![allow(missing_docs, clippy::unwrap_used, unreachable_pub)]

mod support;

mod alerts;
mod architecture;
mod audit;
mod backorders;
mod bench;
mod bend_resets;
mod bend_sweeps;
mod bends;
mod circuits;
mod events;
mod funds;
mod holds;
mod http_changes;
mod http_input;
mod http_orders;
mod http_reads;
mod imports;
mod inbound;
#[cfg(feature = "kafka")]
mod kafka;
mod kills;
mod lives;
mod mail_sink;
mod model;
mod moments;
mod names;
mod operations;
mod parties;
mod pay_page;
mod postgres;
mod postgres_doors;
mod races;
mod reconciliation;
mod refunds;
mod replay;
mod replay_stories;
mod replicas;
mod returns;
mod stack;
mod story_sweeps;
mod sweeps;
mod tables;
mod time;
