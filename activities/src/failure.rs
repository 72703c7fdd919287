//! From the words of store and gateways to the engine's failures: one table, see `oms_contract::failure`.

use oms_contract::failure::{FailureKind, RetryClass};
use oms_gateways::GatewayError;
use oms_store::StoreError;
use std::time::Duration;
use temporalio_common::error::ApplicationFailure;
use temporalio_sdk::activities::ActivityError;

/// A failure of a kind. The sentence is shown in the Temporal UI and kept in the history, so it is ours: what drivers and outside
/// parties said goes to the log only, because it may quote personal data.
fn fail(kind: FailureKind, sentence: &'static str) -> ActivityError {
    fail_until(kind, sentence, None)
}

/// The same, with the pause that the engine keeps before the next attempt in place of its own.
fn fail_until(kind: FailureKind, sentence: &'static str, again_in: Option<Duration>) -> ActivityError {
    let final_ = kind.retry() == RetryClass::AfterAPerson;
    let failure = ApplicationFailure::builder(sentence).type_name(kind.name().to_owned()).non_retryable(final_);
    ActivityError::application(failure.maybe_next_retry_delay(again_in).build())
}

/// What the engine hears when the store could not answer.
pub fn store(error: StoreError) -> ActivityError {
    tracing::warn!(%error, "store");
    match error {
        StoreError::Unavailable { .. } => fail(FailureKind::Unavailable, "the database does not answer"),
        // an operator migrates the database or changes the setting, and the engine's next attempt works
        StoreError::NewerSchema { .. } | StoreError::OldSchema { .. } | StoreError::BadUrl { .. } => {
            fail(FailureKind::Unavailable, "the database has another schema than this worker")
        }
        StoreError::Corrupt { .. } => fail(FailureKind::Inconsistent, "a stored row cannot be read; see the worker's log"),
        StoreError::Conflict { .. } => {
            fail(FailureKind::Inconsistent, "the request contradicts what is stored; see the worker's log")
        }
    }
}

/// What the engine hears when an outside party gave no answer.
pub fn gateway(error: GatewayError) -> ActivityError {
    match error {
        // its circuit has said why, once
        GatewayError::LeftAlone { again_in } => {
            let sentence = "the outside party is left alone until its circuit closes";
            fail_until(FailureKind::Unavailable, sentence, Some(again_in))
        }
        GatewayError::Unavailable { .. } => {
            tracing::warn!(%error, "gateway");
            fail(FailureKind::Unavailable, "the outside party does not answer")
        }
        GatewayError::UnknownOutcome { .. } => {
            tracing::warn!(%error, "gateway");
            fail(FailureKind::UnknownOutcome, "the outside party's answer was lost; the next attempt asks it by the key")
        }
    }
}

/// What the engine hears when something that must exist does not.
pub fn missing(sentence: &'static str) -> ActivityError {
    fail(FailureKind::Inconsistent, sentence)
}

/// What the engine hears when an activity could not ask it.
pub fn engine(error: impl std::fmt::Display) -> ActivityError {
    tracing::warn!(%error, "engine");
    fail(FailureKind::Unavailable, "the engine does not answer")
}
