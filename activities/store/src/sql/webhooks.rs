//! Statements of webhooks.

use oms_domain::Instant;
use oms_domain::ids::derive;
use sqlx::types::Json;

use super::{Conn, Db, Pools, cut, review_items, signed, unsigned, word};
use crate::Result;
use crate::review_items::{ItemSource, NewItem};
use crate::webhooks::{NewWebhook, Signing, Webhook, WebhookSecret, WebhookState};

/// The kind of the review item about a webhook that is not served any more.
const DISABLED: &str = "webhook_disabled";

#[derive(sqlx::FromRow)]
struct WebhookRow {
    id: String,
    url: String,
    description: Option<String>,
    kinds: Json<Vec<String>>,
    state: String,
    why: Option<String>,
    disabled_at: Option<Instant>,
    failing_since: Option<Instant>,
    rests_until: Option<Instant>,
    old_secret_until: Option<Instant>,
    position: i64,
    created_at: Instant,
    pending: i64,
}

/// Webhooks `w`, with what they are owed.
macro_rules! webhooks {
    ($rest:literal) => {
        concat!(
            "SELECT w.id, w.url, w.description, w.kinds, w.state, w.why, w.disabled_at, w.failing_since, w.rests_until,
                 w.old_secret_until, w.position, w.created_at,
                 (SELECT COUNT(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending') AS pending
             FROM webhooks w ",
            $rest
        )
    };
}

fn webhook(row: WebhookRow) -> Result<Webhook> {
    Ok(Webhook {
        id: row.id,
        url: row.url,
        description: row.description,
        kinds: row.kinds.0,
        state: word("webhooks.state", &row.state, WebhookState::parse)?,
        why: row.why,
        disabled_at: row.disabled_at,
        failing_since: row.failing_since,
        rests_until: row.rests_until,
        old_secret_until: row.old_secret_until,
        position: unsigned("webhooks.position", row.position)?,
        created_at: row.created_at,
        pending: unsigned("webhook_deliveries", row.pending)?,
    })
}

pub(crate) async fn create(pools: &Pools, new: &NewWebhook, most: u32, now: Instant) -> Result<Option<Webhook>> {
    let mut tx = pools.begin().await?;
    // the end of the outbox is what every placer locks: nobody makes a webhook beside us either
    let end = sqlx::query_scalar::<Db, i64>(concat!("SELECT e.position FROM outbox_end e WHERE e.id = 1", for_update!("e")))
        .fetch_one(&mut *tx)
        .await?;
    let others = sqlx::query_scalar::<Db, i64>("SELECT COUNT(*) FROM webhooks WHERE id <> $1").bind(&new.id);
    if others.fetch_one(&mut *tx).await? >= i64::from(most) {
        return Ok(None);
    }
    sqlx::query::<Db>(
        "INSERT INTO webhooks (id, url, description, kinds, secret, state, position, created_at)
         VALUES ($1, $2, $3, $4, $5, 'enabled', $6, $7) ON CONFLICT (id) DO UPDATE SET secret = excluded.secret",
    )
    .bind(&new.id)
    .bind(&new.url)
    .bind(&new.description)
    .bind(Json(&new.kinds))
    .bind(&new.secret.0)
    .bind(end)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    let made = sqlx::query_as::<Db, WebhookRow>(webhooks!("WHERE w.id = $1")).bind(&new.id).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    webhook(made).map(Some)
}

pub(crate) async fn all(pools: &Pools) -> Result<Vec<Webhook>> {
    let rows = sqlx::query_as::<Db, WebhookRow>(webhooks!("ORDER BY w.created_at, w.id")).fetch_all(&pools.read).await?;
    rows.into_iter().map(webhook).collect()
}

pub(crate) async fn one(pools: &Pools, id: &str) -> Result<Option<Webhook>> {
    let row = sqlx::query_as::<Db, WebhookRow>(webhooks!("WHERE w.id = $1")).bind(id).fetch_optional(&pools.read).await?;
    row.map(webhook).transpose()
}

pub(crate) async fn delete(pools: &Pools, id: &str, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let deleted = sqlx::query::<Db>("DELETE FROM webhooks WHERE id = $1").bind(id).execute(&mut *tx).await?;
    settle_items(&mut tx, id, now).await?;
    tx.commit().await?;
    Ok(deleted.rows_affected() > 0)
}

pub(crate) async fn rotate(pools: &Pools, id: &str, rotation: &str, secret: &WebhookSecret, until: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let rotated = sqlx::query::<Db>(
        "UPDATE webhooks SET old_secret = CASE WHEN rotation = $4 THEN old_secret ELSE secret END, old_secret_until = $3, secret = $2,
             rotation = $4 WHERE id = $1",
    )
    .bind(id)
    .bind(&secret.0)
    .bind(cut(until))
    .bind(rotation)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rotated.rows_affected() > 0)
}

pub(crate) async fn enable(pools: &Pools, id: &str, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let enabled = sqlx::query::<Db>(
        "UPDATE webhooks SET state = 'enabled', why = NULL, disabled_at = NULL, failures = 0, failing_since = NULL,
             rests_until = NULL WHERE id = $1",
    )
    .bind(id)
    .execute(&mut *tx)
    .await?;
    // patience starts anew
    sqlx::query::<Db>(
        "UPDATE webhook_deliveries SET due_at = $2, failing_since = NULL WHERE webhook_id = $1 AND state = 'pending'",
    )
    .bind(id)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    settle_items(&mut tx, id, now).await?;
    tx.commit().await?;
    Ok(enabled.rows_affected() > 0)
}

pub(crate) async fn disable(pools: &Pools, id: &str, why: &str, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let disabled = sqlx::query::<Db>(
        "UPDATE webhooks SET state = 'disabled', why = $2, disabled_at = $3 WHERE id = $1 AND state = 'enabled'",
    )
    .bind(id)
    .bind(why)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    if disabled.rows_affected() == 0 {
        return Ok(false);
    }
    let item = NewItem {
        // another one each time: a closed item is not opened again, and nobody would be alerted
        id: derive(&["item", DISABLED, id, &cut(now).to_rfc3339()]).to_string(),
        kind: DISABLED.to_owned(),
        order_id: None,
        shipment_id: None,
        subject: id.to_owned(),
        detail: format!("the webhook gets no events any more: {why}; POST /v1/webhooks/{id}/enable sends what it is owed"),
        source: ItemSource::Webhook,
    };
    review_items::insert(&mut tx, &item, now).await?;
    tx.commit().await?;
    Ok(true)
}

async fn settle_items(connection: &mut Conn, id: &str, now: Instant) -> Result<()> {
    let open =
        sqlx::query_scalar::<Db, String>("SELECT id FROM review_items WHERE state = 'open' AND kind = $1 AND subject = $2")
            .bind(DISABLED)
            .bind(id)
            .fetch_all(&mut *connection)
            .await?;
    review_items::settle_all(connection, open.iter().map(String::as_str), now).await?;
    Ok(())
}

pub(crate) async fn replay(pools: &Pools, id: &str, from: u64) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let rewound =
        sqlx::query::<Db>("UPDATE webhooks SET position = CASE WHEN position < $2 THEN position ELSE $2 END WHERE id = $1")
            .bind(id)
            .bind(signed(from.saturating_sub(1)))
            .execute(&mut *tx)
            .await?;
    sqlx::query::<Db>("DELETE FROM webhook_deliveries WHERE webhook_id = $1 AND position >= $2")
        .bind(id)
        .bind(signed(from))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rewound.rows_affected() > 0)
}

pub(crate) async fn due(pools: &Pools, now: Instant) -> Result<Vec<Signing>> {
    let rows = sqlx::query_as::<Db, (String, String, String, Option<String>, Option<Instant>, Option<Instant>)>(
        "SELECT w.id, w.url, w.secret, w.old_secret, w.old_secret_until, w.rests_until FROM webhooks w
         WHERE w.state = 'enabled' AND (w.rests_until IS NULL OR w.rests_until <= $1)
             AND EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending' AND d.due_at <= $1)
         ORDER BY w.id",
    )
    .bind(cut(now))
    .fetch_all(&pools.read)
    .await?;
    let signing = rows.into_iter().map(|(id, url, secret, old, until, rests_until)| {
        let old = old.filter(|_| until.is_some_and(|until| until > now));
        let secrets = std::iter::once(secret).chain(old).map(WebhookSecret).collect();
        Signing { id, url, secrets, rested: rests_until.is_some() }
    });
    Ok(signing.collect())
}
