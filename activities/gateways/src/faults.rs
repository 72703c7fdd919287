//! Switches that make a sandbox party fail, shared by all processes of the data directory.

use oms_domain::Instant;
use oms_domain::party::Party;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use std::time::{Duration, SystemTime};

use crate::GatewayError;
use crate::ledger::{Ledger, LedgerError};

/// How long a slow party takes to answer.
pub const SLOW: Duration = Duration::from_secs(3);

/// The operations of a party that a fault can be limited to.
pub fn operations(party: Party) -> &'static [&'static str] {
    match party {
        Party::Payment => &["authorize", "capture", "void", "refund", "lookup"],
        Party::Carrier => &["book", "cancel", "lookup"],
        Party::Mail | Party::Sms => &["send"],
    }
}

/// How a party fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultMode {
    /// Not at all.
    #[default]
    None,
    /// Cannot be reached; nothing happens.
    Down,
    /// Works, after [`SLOW`].
    Slow,
    /// Answers with an error of its own; nothing happens.
    Error,
    /// Acts, and loses the first answer of each operation; a repeat or a lookup tells the truth.
    CommitThenDrop,
}

impl FaultMode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::None, Self::Down, Self::Slow, Self::Error, Self::CommitThenDrop];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Down => "down",
            Self::Slow => "slow",
            Self::Error => "error",
            Self::CommitThenDrop => "commit_then_drop",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.as_str() == name)
    }

    /// The error of a mode in which nothing happens.
    pub(crate) fn refusal(self) -> Option<GatewayError> {
        match self {
            Self::Down => Some(GatewayError::unavailable("connection refused (sandbox fault: down)")),
            Self::Error => Some(GatewayError::unavailable("500 (sandbox fault: error)")),
            Self::None | Self::Slow | Self::CommitThenDrop => None,
        }
    }

    /// Waits, if the party is slow.
    pub(crate) async fn delay(self) {
        if self == Self::Slow {
            tokio::time::sleep(SLOW).await;
        }
    }
}

/// The error of an answer that is lost although the party acted.
pub(crate) fn dropped() -> GatewayError {
    GatewayError::unknown_outcome("the answer was lost (sandbox: commit_then_drop)")
}

/// What is wrong with a party.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fault {
    /// How it fails.
    pub mode: FaultMode,
    /// Only in this operation, if given: one of [`operations`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Until then, if given; afterwards it works again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
}

impl Fault {
    /// A fault in all operations, without end.
    pub fn lasting(mode: FaultMode) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// The switches. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Faults {
    ledger: Ledger,
}

impl Faults {
    /// The switches kept in `ledger`.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    /// Sets what is wrong with a party, from now on, in every process. Errors: [`LedgerError`].
    pub async fn set(&self, party: Party, fault: &Fault) -> Result<(), LedgerError> {
        let mut transaction = self.ledger.begin().await?;
        sqlx::query(
            "INSERT INTO faults (party, mode, operation, until) VALUES ($1, $2, $3, $4)
             ON CONFLICT (party) DO UPDATE SET mode = excluded.mode, operation = excluded.operation, until = excluded.until",
        )
        .bind(party.as_str())
        .bind(fault.mode.as_str())
        .bind(fault.operation.as_deref())
        .bind(fault.until)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What is wrong with a party now; a fault whose time has passed is none. Errors: [`LedgerError`].
    pub async fn get(&self, party: Party) -> Result<Fault, LedgerError> {
        let row = sqlx::query("SELECT mode, operation, until FROM faults WHERE party = $1")
            .bind(party.as_str())
            .fetch_optional(self.ledger.reader())
            .await?;
        let Some(row) = row else { return Ok(Fault::default()) };
        let mode = FaultMode::parse(row.try_get("mode")?).ok_or(LedgerError::Unreadable("fault mode"))?;
        let fault = Fault { mode, operation: row.try_get("operation")?, until: row.try_get("until")? };
        // the machine's clock, not a caller's: the switch is about the outside world, whose time nobody injects
        let past = fault.until.is_some_and(|until| until <= Instant::from(SystemTime::now()));
        Ok(if past { Fault::default() } else { fault })
    }

    /// The mode that applies to one operation of a party.
    pub(crate) async fn mode(&self, party: Party, operation: &str) -> Result<FaultMode, LedgerError> {
        let fault = self.get(party).await?;
        let applies = fault.operation.as_deref().is_none_or(|only| only == operation);
        Ok(if applies { fault.mode } else { FaultMode::None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn faults(dir: &tempfile::TempDir) -> Faults {
        Faults::new(Ledger::open(&dir.path().join("sandbox.db")).await.unwrap())
    }

    #[tokio::test]
    async fn a_switch_is_seen_by_every_process_and_survives_them() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (faults(&dir).await, faults(&dir).await);
        assert_eq!(one.get(Party::Mail).await.unwrap(), Fault::default());
        for mode in FaultMode::ALL {
            one.set(Party::Mail, &Fault::lasting(mode)).await.unwrap();
            assert_eq!(other.get(Party::Mail).await.unwrap().mode, mode);
            assert_eq!(FaultMode::parse(mode.as_str()), Some(mode));
        }
        one.set(Party::Sms, &Fault::lasting(FaultMode::Down)).await.unwrap();
        drop((one, other));
        assert_eq!(faults(&dir).await.get(Party::Sms).await.unwrap().mode, FaultMode::Down);
    }

    #[tokio::test]
    async fn a_fault_ends_at_its_time_and_spares_other_operations() {
        let dir = tempfile::tempdir().unwrap();
        let faults = faults(&dir).await;
        let now = Instant::from(SystemTime::now());
        let mut fault =
            Fault { mode: FaultMode::Down, operation: Some("capture".into()), until: Some(now + Duration::from_secs(60)) };
        faults.set(Party::Payment, &fault).await.unwrap();
        assert_eq!(faults.get(Party::Payment).await.unwrap(), fault);
        assert_eq!(faults.mode(Party::Payment, "capture").await.unwrap(), FaultMode::Down);
        assert_eq!(faults.mode(Party::Payment, "void").await.unwrap(), FaultMode::None);
        assert_eq!(faults.mode(Party::Carrier, "book").await.unwrap(), FaultMode::None);
        fault.until = Some(now);
        faults.set(Party::Payment, &fault).await.unwrap();
        assert_eq!(faults.mode(Party::Payment, "capture").await.unwrap(), FaultMode::None);
    }
}
