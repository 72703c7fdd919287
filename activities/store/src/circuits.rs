//! Circuits: an outside party that fails call after call is left alone for a while, by all processes together.
//!
//! An open circuit lets one call through once its pause is over, and its success closes it. Whoever is sent away stands in line: those that
//! have waited longest go first, so many per second.

use std::time::Duration;

use oms_domain::Instant;
use oms_domain::party::Party;

use crate::payments::words;
use crate::store::{Store, run};
use crate::{Result, SwitchState};

words! {
    /// Whether calls get through.
    CircuitState {
        /// They do.
        Closed = "closed",
        /// None does but a probe, once the pause is over.
        Open = "open",
    }
}

/// A call that does not come back for so long after it was due is not waited for: its order may have ended.
pub const OVERDUE_MAX: Duration = Duration::from_secs(60);

/// A circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    /// To whom.
    pub party: Party,
    /// Whether calls get through.
    pub state: CircuitState,
    /// What a person said about the class of activities that calls it.
    pub word: SwitchState,
    /// Since when it stands so; `None`: it was never open.
    pub since: Option<Instant>,
    /// How often in a row it opened.
    pub openings: u64,
    /// What was seen when it opened last.
    pub reason: Option<String>,
    /// From when on one call may try, while it is open.
    pub retry_at: Option<Instant>,
    /// Until when somebody is trying.
    pub probe_until: Option<Instant>,
    /// Calls that stand in line.
    pub parked: u64,
}

/// How long a circuit stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// The first time. It doubles each time in a row.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

impl Pauses {
    /// The pause of an opening, counted from 1.
    pub(crate) fn of(self, opening: u64) -> Duration {
        let doublings = u32::try_from(opening.saturating_sub(1)).unwrap_or(u32::MAX);
        2_u32.checked_pow(doublings).map_or(self.most, |times| self.first.saturating_mul(times)).min(self.most)
    }
}

/// Whether a call in line may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// At this instant, which is less than a second away.
    Go(Instant),
    /// Not before this instant: it asks again then.
    Wait(Instant),
}

impl Store {
    /// Every circuit.
    pub async fn circuits(&self, now: Instant) -> Result<Vec<Circuit>> {
        run!(self, circuits::circuits(now))
    }

    /// A party's circuit.
    pub async fn circuit(&self, party: Party, now: Instant) -> Result<Circuit> {
        run!(self, circuits::circuit(party, now))
    }

    /// Opens a circuit, for longer if it is open and the probe failed; one that somebody else has just opened stays as it is. Answers how it
    /// stands then, and whether this changed it.
    pub async fn open_circuit(
        &self,
        party: Party,
        probe_failed: bool,
        reason: &str,
        pauses: Pauses,
        now: Instant,
    ) -> Result<(Circuit, bool)> {
        run!(self, circuits::open(party, probe_failed, reason, pauses, now))
    }

    /// Takes the one probe of an open circuit whose pause is over; answers whether the caller has it, until `until`.
    pub async fn probe_circuit(&self, party: Party, until: Instant, now: Instant) -> Result<bool> {
        run!(self, circuits::probe(party, until, now))
    }

    /// Closes a circuit; answers how it stands then.
    pub async fn close_circuit(&self, party: Party, now: Instant) -> Result<Circuit> {
        run!(self, circuits::close(party, now))
    }

    /// Puts a call in line unless it stands there, and answers whether it may go. One that went may go again, unless the circuit opened
    /// meanwhile: then it has its place again.
    pub async fn take_turn(&self, party: Party, key: &str, per_second: u32, now: Instant) -> Result<Turn> {
        run!(self, circuits::take_turn(party, key, per_second, now))
    }

    /// Forgets calls that went, or that should have come back, before an instant; answers how many.
    pub async fn purge_parked_calls(&self, before: Instant, limit: u32) -> Result<u64> {
        run!(self, retention::parked_calls(before, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_end() {
        let pauses = Pauses { first: Duration::from_secs(5), most: Duration::from_secs(60) };
        assert_eq!([0, 1, 2, 3, 4, 5, 90].map(|n| pauses.of(n).as_secs()), [5, 5, 10, 20, 40, 60, 60]);
    }
}
