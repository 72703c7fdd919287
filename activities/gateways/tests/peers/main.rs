//! The adapters against software that nobody here wrote. Run with `cargo test -- --ignored`; needs Python 3 with the packages that
//! `.ci/install-peers` installs.

#![allow(clippy::unwrap_used)]

mod broker;
#[cfg(feature = "kafka")]
mod kafka;
mod localstripe;
mod peer;
mod replicas;
mod sinks;
mod smtp;
mod stripe_client;
mod twilio;
