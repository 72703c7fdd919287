//! Statements of switches.

use oms_domain::Instant;

use super::{Conn, Db, Pools, cut, word};
use crate::Result;
use crate::switches::{Dependency, Switch, SwitchSet, SwitchState};

#[derive(sqlx::FromRow)]
struct SwitchRow {
    dependency: String,
    state: String,
    reason: String,
    actor: String,
    changed_at: Instant,
}

impl SwitchRow {
    fn read(self) -> Result<Switch> {
        Ok(Switch {
            dependency: word("switches.dependency", &self.dependency, Dependency::parse)?,
            state: word("switches.state", &self.state, SwitchState::parse)?,
            set: Some(SwitchSet { reason: self.reason, actor: self.actor, at: self.changed_at }),
        })
    }
}

pub(crate) async fn switches(pools: &Pools) -> Result<Vec<Switch>> {
    let rows = sqlx::query_as::<Db, SwitchRow>("SELECT dependency, state, reason, actor, changed_at FROM switches")
        .fetch_all(&pools.read)
        .await?;
    let set: Vec<Switch> = rows.into_iter().map(SwitchRow::read).collect::<Result<_>>()?;
    let found = |of: Dependency| set.iter().find(|s| s.dependency == of).cloned().unwrap_or_else(|| Switch::untouched(of));
    Ok(Dependency::ALL.into_iter().map(found).collect())
}

pub(crate) async fn switch(pools: &Pools, dependency: Dependency) -> Result<Switch> {
    switch_on(&mut *pools.read.acquire().await?, dependency).await
}

async fn switch_on(connection: &mut Conn, dependency: Dependency) -> Result<Switch> {
    let row = sqlx::query_as::<Db, SwitchRow>(
        "SELECT dependency, state, reason, actor, changed_at FROM switches WHERE dependency = $1",
    )
    .bind(dependency.as_str())
    .fetch_optional(connection)
    .await?;
    row.map_or_else(|| Ok(Switch::untouched(dependency)), SwitchRow::read)
}

pub(crate) async fn set(
    pools: &Pools,
    dependency: Dependency,
    state: SwitchState,
    reason: &str,
    actor: &str,
    now: Instant,
) -> Result<Switch> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "INSERT INTO switches (dependency, state, reason, actor, changed_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (dependency) DO UPDATE SET state = excluded.state, reason = excluded.reason, actor = excluded.actor,
             changed_at = excluded.changed_at
         WHERE switches.state <> excluded.state",
    )
    .bind(dependency.as_str())
    .bind(state.as_str())
    .bind(reason)
    .bind(actor)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    let stands = switch_on(&mut tx, dependency).await?;
    tx.commit().await?;
    Ok(stands)
}
