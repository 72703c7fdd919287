//! Statements of circuits and of the calls that wait for them.

use std::time::Duration;

use chrono::TimeDelta;
use oms_domain::Instant;
use oms_domain::party::Party;

use super::{Conn, Db, Pools, cut, unsigned, word};
use crate::circuits::{Circuit, CircuitState, OVERDUE_MAX, Pauses, Turn};
use crate::switches::{Dependency, SwitchState};
use crate::{Result, StoreError};

/// Whoever may go is told so at most this long before.
const AHEAD_MAX: TimeDelta = TimeDelta::seconds(1);

#[derive(sqlx::FromRow)]
struct CircuitRow {
    state: String,
    openings: i64,
    reason: Option<String>,
    changed_at: Option<Instant>,
    retry_at: Option<Instant>,
    probe_until: Option<Instant>,
    word: Option<String>,
    parked: i64,
}

impl CircuitRow {
    fn read(self, party: Party) -> Result<Circuit> {
        let said = |text: &str| word("switches.state", text, SwitchState::parse);
        Ok(Circuit {
            party,
            state: word("circuits.state", &self.state, CircuitState::parse)?,
            word: self.word.as_deref().map_or(Ok(SwitchState::Auto), said)?,
            since: self.changed_at,
            openings: unsigned("circuits.openings", self.openings)?,
            reason: self.reason,
            retry_at: self.retry_at,
            probe_until: self.probe_until,
            parked: unsigned("parked_calls", self.parked)?,
        })
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Calls that were due before this are not waited for.
fn expected_from(now: Instant) -> Instant {
    cut(now - delta(OVERDUE_MAX))
}

pub(crate) async fn circuits(pools: &Pools, now: Instant) -> Result<Vec<Circuit>> {
    let mut connection = pools.read.acquire().await?;
    let mut all = Vec::with_capacity(Party::ALL.len());
    for party in Party::ALL {
        all.push(circuit_on(&mut connection, party, now).await?);
    }
    Ok(all)
}

pub(crate) async fn circuit(pools: &Pools, party: Party, now: Instant) -> Result<Circuit> {
    circuit_on(&mut *pools.read.acquire().await?, party, now).await
}

async fn circuit_on(connection: &mut Conn, party: Party, now: Instant) -> Result<Circuit> {
    let row = sqlx::query_as::<Db, CircuitRow>(
        "SELECT c.state, c.openings, c.reason, c.changed_at, c.retry_at, c.probe_until,
             (SELECT s.state FROM switches s WHERE s.dependency = $2) AS word,
             (SELECT COUNT(*) FROM parked_calls p WHERE p.party = $1 AND p.admitted_at IS NULL AND p.due_at > $3) AS parked
         FROM circuits c WHERE c.party = $1",
    )
    .bind(party.as_str())
    .bind(Dependency::on(party).as_str())
    .bind(expected_from(now))
    .fetch_optional(connection)
    .await?;
    row.ok_or_else(|| StoreError::corrupt("circuits.party", format!("no row for {}", party.as_str())))?.read(party)
}

/// What is decided under the circuit's lock.
#[derive(sqlx::FromRow)]
struct Locked {
    state: String,
    openings: i64,
    retry_at: Option<Instant>,
    probe_until: Option<Instant>,
    slot_at: Option<Instant>,
}

async fn lock(connection: &mut Conn, party: Party) -> Result<(CircuitState, Locked)> {
    let statement = concat!(
        "SELECT c.state, c.openings, c.retry_at, c.probe_until, c.slot_at FROM circuits c WHERE c.party = $1",
        for_update!("c")
    );
    let row = sqlx::query_as::<Db, Locked>(statement).bind(party.as_str()).fetch_one(connection).await?;
    Ok((word("circuits.state", &row.state, CircuitState::parse)?, row))
}

pub(crate) async fn open(
    pools: &Pools,
    party: Party,
    probe_failed: bool,
    reason: &str,
    pauses: Pauses,
    now: Instant,
) -> Result<(Circuit, bool)> {
    let mut tx = pools.begin().await?;
    let (state, row) = lock(&mut tx, party).await?;
    let changes = state == CircuitState::Closed || probe_failed;
    if changes {
        let openings = unsigned("circuits.openings", row.openings)? + 1;
        sqlx::query::<Db>(
            "UPDATE circuits SET state = 'open', openings = openings + 1, reason = $2, retry_at = $3, probe_until = NULL,
                 changed_at = CASE WHEN state = 'open' THEN changed_at ELSE $4 END
             WHERE party = $1",
        )
        .bind(party.as_str())
        .bind(reason)
        .bind(cut(now + delta(pauses.of(openings))))
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    }
    let stands = circuit_on(&mut tx, party, now).await?;
    tx.commit().await?;
    Ok((stands, changes))
}

pub(crate) async fn probe(pools: &Pools, party: Party, until: Instant, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let taken = sqlx::query::<Db>(
        "UPDATE circuits SET probe_until = $2
         WHERE party = $1 AND state = 'open' AND retry_at <= $3 AND (probe_until IS NULL OR probe_until <= $3)",
    )
    .bind(party.as_str())
    .bind(cut(until))
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(taken.rows_affected() == 1)
}

pub(crate) async fn close(pools: &Pools, party: Party, now: Instant) -> Result<Circuit> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "UPDATE circuits SET state = 'closed', openings = 0, retry_at = NULL, probe_until = NULL, slot_at = $2, changed_at = $2
         WHERE party = $1 AND state = 'open'",
    )
    .bind(party.as_str())
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    let stands = circuit_on(&mut tx, party, now).await?;
    tx.commit().await?;
    Ok(stands)
}

pub(crate) async fn take_turn(pools: &Pools, party: Party, key: &str, per_second: u32, now: Instant) -> Result<Turn> {
    let now = cut(now);
    let mut tx = pools.begin().await?;
    let (state, row) = lock(&mut tx, party).await?;
    let turn = if state == CircuitState::Open {
        send_back(&mut tx, party, key).await?;
        let first = row.retry_at.into_iter().chain(row.probe_until).max().unwrap_or(now).max(now);
        let ahead = stand(&mut tx, party, key, now).await?;
        Turn::Wait(first + share(ahead, per_second))
    } else if has_gone(&mut tx, party, key).await? {
        Turn::Go(now)
    } else {
        let ahead = stand(&mut tx, party, key, now).await?;
        let slot = row.slot_at.unwrap_or(now).max(now);
        match (now + share(ahead, per_second)).max(slot) {
            later if later > now + AHEAD_MAX => Turn::Wait(later),
            _ => Turn::Go(slot),
        }
    };
    match turn {
        Turn::Wait(due) => {
            let statement = sqlx::query::<Db>("UPDATE parked_calls SET due_at = $3 WHERE party = $1 AND key = $2");
            statement.bind(party.as_str()).bind(key).bind(cut(due)).execute(&mut *tx).await?;
        }
        Turn::Go(slot) if state == CircuitState::Closed => {
            let statement = sqlx::query::<Db>("UPDATE parked_calls SET admitted_at = $3 WHERE party = $1 AND key = $2");
            statement.bind(party.as_str()).bind(key).bind(cut(now)).execute(&mut *tx).await?;
            let statement = sqlx::query::<Db>("UPDATE circuits SET slot_at = $2 WHERE party = $1");
            statement.bind(party.as_str()).bind(cut(slot + share(1, per_second))).execute(&mut *tx).await?;
        }
        Turn::Go(_) => {}
    }
    tx.commit().await?;
    Ok(turn)
}

/// How long so many calls take.
fn share(calls: u64, per_second: u32) -> TimeDelta {
    let micros = u128::from(calls) * 1_000_000 / u128::from(per_second.max(1));
    TimeDelta::microseconds(i64::try_from(micros).unwrap_or(i64::MAX))
}

async fn has_gone(connection: &mut Conn, party: Party, key: &str) -> Result<bool> {
    let statement = "SELECT COUNT(*) FROM parked_calls WHERE party = $1 AND key = $2 AND admitted_at IS NOT NULL";
    let found = sqlx::query_scalar::<Db, i64>(statement).bind(party.as_str()).bind(key).fetch_one(connection).await?;
    Ok(found > 0)
}

/// Puts a call in line unless it stands there; answers how many go before it.
async fn stand(connection: &mut Conn, party: Party, key: &str, now: Instant) -> Result<u64> {
    let statement =
        "INSERT INTO parked_calls (party, key, since, due_at) VALUES ($1, $2, $3, $3) ON CONFLICT (party, key) DO NOTHING";
    sqlx::query::<Db>(statement).bind(party.as_str()).bind(key).bind(cut(now)).execute(&mut *connection).await?;
    let ahead = sqlx::query_scalar::<Db, i64>(
        "SELECT COUNT(*) FROM parked_calls p WHERE p.party = $1 AND p.admitted_at IS NULL AND p.due_at > $3
             AND (p.since, p.key) < ((SELECT me.since FROM parked_calls me WHERE me.party = $1 AND me.key = $2), $2)",
    )
    .bind(party.as_str())
    .bind(key)
    .bind(expected_from(now))
    .fetch_one(connection)
    .await?;
    unsigned("parked_calls", ahead)
}

async fn send_back(connection: &mut Conn, party: Party, key: &str) -> Result<()> {
    let statement = "UPDATE parked_calls SET admitted_at = NULL WHERE party = $1 AND key = $2";
    sqlx::query::<Db>(statement).bind(party.as_str()).bind(key).execute(connection).await?;
    Ok(())
}
