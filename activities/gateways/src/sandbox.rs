//! The sandbox as one thing: every twin on one file, opened together.

use std::path::Path;
use std::time::Duration;

use crate::carrier::SandboxCarrier;
use crate::faults::Faults;
use crate::ledger::{Ledger, LedgerError};
use crate::payment::SandboxPayments;

/// The ledger's file within the data directory.
pub const LEDGER_FILE: &str = "sandbox.db";

/// How long the sandbox gateway holds funds unless told otherwise: 7 days, as most card schemes do.
pub const AUTHORIZATION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The sandbox twins of payment gateway and carrier, and the switches that make parties fail. Shared by all processes of
/// a data directory; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The payment gateway.
    pub payments: SandboxPayments,
    /// The carrier.
    pub carrier: SandboxCarrier,
    /// What fails, and how.
    pub faults: Faults,
    ledger: Ledger,
}

impl Sandbox {
    /// Opens (and creates, if need be) the sandbox of a data directory. Errors: [`LedgerError`].
    pub async fn open(data_dir: &Path) -> Result<Self, LedgerError> {
        Self::open_with(data_dir, AUTHORIZATION_LIFETIME).await
    }

    /// As [`Sandbox::open`], with funds held for `authorization_lifetime`. Errors: [`LedgerError`].
    pub async fn open_with(data_dir: &Path, authorization_lifetime: Duration) -> Result<Self, LedgerError> {
        let ledger = Ledger::open(&data_dir.join(LEDGER_FILE)).await?;
        let faults = Faults::new(ledger.clone());
        Ok(Self {
            payments: SandboxPayments::new(ledger.clone(), faults.clone(), authorization_lifetime),
            carrier: SandboxCarrier::new(ledger.clone(), faults.clone()),
            faults,
            ledger,
        })
    }

    /// Closes the file and waits until it is closed. Later calls on any clone answer unavailable.
    pub async fn close(&self) {
        self.ledger.close().await;
    }
}
