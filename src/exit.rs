//! How a command ends: one sentence on standard error and an exit code that scripts can rely on.

use std::process::ExitCode;

use oms_gateways::ledger::LedgerError;
use oms_gateways::mail::SmtpUrlError;
use oms_store::StoreError;
use oms_temporal::bootstrap::BootstrapError;
use oms_temporal::cli::CliError;
use oms_temporal::connect::ConnectError;
use oms_temporal::server::DevServerError;

use crate::lock::LockError;
use crate::settings::SettingsError;

/// A finding, or a failure while running.
const FAILED: u8 = 1;

/// Usage, a setting or the environment stands in the way: nothing was done.
const BLOCKED: u8 = 2;

/// Something in the environment stands in the way; the sentence names the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Blocked(pub(crate) String);

/// The exit code of a failed command.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(if error.chain().any(is_blocked) { BLOCKED } else { FAILED })
}

/// The error as one sentence.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_blocked(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<Blocked>()
        || error.is::<SettingsError>()
        || error.is::<LockError>()
        || error.is::<CliError>()
        || error.is::<DevServerError>()
        || error.is::<ConnectError>()
        || error.is::<BootstrapError>()
        || error.is::<SmtpUrlError>()
        || matches!(error.downcast_ref(), Some(LedgerError::Open { .. } | LedgerError::Newer { .. } | LedgerError::Locked { .. }))
        || matches!(
            error.downcast_ref(),
            Some(StoreError::OldSchema { .. } | StoreError::NewerSchema { .. } | StoreError::BadUrl { .. })
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn the_environment_is_told_from_a_failure_however_deep_it_lies() {
        let code = |error: &anyhow::Error| format!("{:?}", code_of(error));
        let blocked = Err::<(), _>(StoreError::OldSchema { found: 1, known: 2 }).context("while starting").unwrap_err();
        assert_eq!(code(&blocked), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(&anyhow!("worker ended")), format!("{:?}", ExitCode::from(1)));
        assert_eq!(sentence(&anyhow!("a\n  b").context("c")), "c: a b");
    }
}
