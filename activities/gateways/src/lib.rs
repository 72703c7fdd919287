//! Outside parties behind one trait each: payment gateway, carrier, mail, SMS, and a sandbox twin of each; event sinks and webhooks;
//! and what replicas of the API share.
//!
//! The rules of this room: every operation carries an idempotency key and may be called any number of times; *refused* is
//! an answer, not an error; and a party that does not answer is either [`GatewayError::Unavailable`] (nothing happened)
//! or [`GatewayError::UnknownOutcome`] (ask again under the same key, or look the key up, never assume). No party says
//! [`GatewayError::LeftAlone`]: whoever stands before it does.

pub mod carrier;
pub mod events;
pub mod faults;
mod folder;
pub mod ledger;
pub mod mail;
pub mod payment;
pub mod replicas;
pub mod sandbox;
pub mod secret;
pub mod signature;
pub mod sms;
pub mod templates;
mod web;
pub mod webhook;

use std::time::Duration;

pub use web::WebError;

/// Why an outside party gave no answer. `detail` is for operators: it never holds personal data or secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// The party did not act: the same call may be made again later.
    #[error("unavailable: {detail}")]
    Unavailable {
        /// What was seen.
        detail: String,
    },
    /// The party may have acted: only asking it under the same key tells.
    #[error("unknown outcome: {detail}")]
    UnknownOutcome {
        /// What was seen.
        detail: String,
    },
    /// The party was not asked: it has failed so often that it is left alone for now.
    #[error("left alone for {again_in:?}")]
    LeftAlone {
        /// When to come back: earlier is no use.
        again_in: Duration,
    },
}

/// Answer of a party that takes messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It has taken the message and delivers it.
    Taken,
    /// It will never take this message: no attempt will help, a person must look.
    Refused {
        /// Its code for why, such as `550` of SMTP.
        code: String,
    },
}

impl GatewayError {
    /// The party did not act.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable { detail: detail.into() }
    }

    /// The party may have acted.
    pub fn unknown_outcome(detail: impl Into<String>) -> Self {
        Self::UnknownOutcome { detail: detail.into() }
    }
}
