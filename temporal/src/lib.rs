//! What this project knows about the Temporal platform, and nothing about orders.
//!
//! - [`cli`]: finds or fetches the `temporal` executable (and the time-skipping test server).
//! - [`server`]: runs the dev server as a supervised child with a database file.
//! - [`connect`]: a client within a bounded time, and the call options of a request path.
//! - [`bootstrap`]: namespace and search attributes, usable before it returns.
//! - [`describe`]: how a run stands as the server sees it.
//! - [`reset`]: setting a run going again.
//! - [`worker`]: an SDK worker on a thread of its own.
//! - [`replay`]: recorded histories against today's workflow code.
//! - [`schedule`]: a Temporal Schedule, kept as it is wanted.

pub mod bootstrap;
pub mod cli;
pub mod connect;
pub mod describe;
mod install;
mod process;
pub mod replay;
pub mod reset;
pub mod schedule;
pub mod server;
pub mod worker;
