//! How activities fail, and what the engine does about it. Business answers (declined, out of stock) are results, not failures.

/// A class of failure. `docs/retries.md` shows this table to operators; a test compares the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The database or an outside party did not answer, or said that it cannot now.
    Unavailable,
    /// The call may or may not have had its effect: the next attempt asks by the idempotency key first.
    UnknownOutcome,
    /// Stored data contradicts the request, or a row does not decode: a defect or a manual edit.
    Inconsistent,
    /// The engine refuses the payload's size.
    PayloadsTooLarge,
}

/// What the engine does after a failure of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Tried again with growing pauses, without end: an outage parks an order, it never fails one.
    WithoutEnd,
    /// Not tried again by the engine: the order raises `needs_attention` and the workflow asks again after a long pause.
    AfterAPerson,
}

impl FailureKind {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Unavailable, Self::UnknownOutcome, Self::Inconsistent, Self::PayloadsTooLarge];

    /// The failure's type name in Temporal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Inconsistent => "inconsistent",
            // the name that the SDK gives it
            Self::PayloadsTooLarge => "PayloadsTooLarge",
        }
    }

    /// What the engine does about it.
    pub fn retry(self) -> RetryClass {
        match self {
            Self::Unavailable | Self::UnknownOutcome => RetryClass::WithoutEnd,
            Self::Inconsistent | Self::PayloadsTooLarge => RetryClass::AfterAPerson,
        }
    }

    /// The type names that end an activity at its first failure.
    pub fn non_retryable() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().filter(|kind| kind.retry() == RetryClass::AfterAPerson).map(Self::name)
    }
}
