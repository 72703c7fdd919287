//! Statements of idempotency keys.

use oms_domain::Instant;

use super::{Conn, Db, Pools, cut};
use crate::keys::{Claimed, KeyClaim};
use crate::{Result, StoreError};

/// What a transaction finds under a key.
pub(crate) enum Key {
    /// Nothing; it is taken now.
    Fresh,
    /// Another request.
    Reused,
    /// The same request, and how it was answered, if it was.
    Known { answer: Option<(i64, String)> },
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    fingerprint: String,
    status: Option<i64>,
    subject: Option<String>,
}

/// Takes the key inside a transaction; whoever comes second waits for it to end.
pub(crate) async fn take(connection: &mut Conn, claim: &KeyClaim, now: Instant) -> Result<Key> {
    // a rolled-back first claimer leaves nothing, then the second one is the first
    let fresh = sqlx::query::<Db>(
        "INSERT INTO idempotency_keys (client, key, fingerprint, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (client, key) DO NOTHING",
    )
    .bind(&claim.client)
    .bind(&claim.key)
    .bind(&claim.fingerprint)
    .bind(cut(now))
    .execute(&mut *connection)
    .await?;
    if fresh.rows_affected() > 0 {
        return Ok(Key::Fresh);
    }
    let row =
        sqlx::query_as::<Db, KeyRow>("SELECT fingerprint, status, subject FROM idempotency_keys WHERE client = $1 AND key = $2")
            .bind(&claim.client)
            .bind(&claim.key)
            .fetch_optional(connection)
            .await?
            // given back between the two statements: the caller asks again
            .ok_or_else(|| StoreError::Unavailable { detail: "the key was given back just now".to_owned() })?;
    if row.fingerprint != claim.fingerprint {
        return Ok(Key::Reused);
    }
    Ok(Key::Known { answer: row.status.zip(row.subject) })
}

/// Notes the answer; the first one stays.
pub(crate) async fn answer(connection: &mut Conn, claim: &KeyClaim, status: u16, subject: &str, now: Instant) -> Result<()> {
    sqlx::query::<Db>(
        "UPDATE idempotency_keys SET status = $4, subject = $5, finished_at = $6
         WHERE client = $1 AND key = $2 AND fingerprint = $3 AND status IS NULL",
    )
    .bind(&claim.client)
    .bind(&claim.key)
    .bind(&claim.fingerprint)
    .bind(i64::from(status))
    .bind(subject)
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn claim(pools: &Pools, claim: &KeyClaim, now: Instant) -> Result<Claimed> {
    let mut tx = pools.begin().await?;
    let key = take(&mut tx, claim, now).await?;
    tx.commit().await?;
    Ok(match key {
        Key::Fresh => Claimed::Fresh,
        Key::Reused => Claimed::Reused,
        Key::Known { answer: None } => Claimed::Again,
        Key::Known { answer: Some((status, subject)) } => {
            let status = u16::try_from(status).map_err(|e| StoreError::corrupt("idempotency_keys.status", e))?;
            Claimed::Done { status, subject }
        }
    })
}

pub(crate) async fn finish(pools: &Pools, claim: &KeyClaim, status: u16, subject: &str, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    answer(&mut tx, claim, status, subject, now).await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn abandon(pools: &Pools, claim: &KeyClaim) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("DELETE FROM idempotency_keys WHERE client = $1 AND key = $2 AND fingerprint = $3 AND status IS NULL")
        .bind(&claim.client)
        .bind(&claim.key)
        .bind(&claim.fingerprint)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}
