//! Statements of messages.

use oms_domain::Instant;
use oms_domain::ids::{MessageId, OrderId, ShipmentId};
use oms_domain::message::{Channel, Topic};

use super::orders::{OrderRow, order_columns, scans};
use super::{Db, Pools, cut, word};
use crate::Result;
use crate::messages::{Batch, MessageRow, MessageState, StoredMessage};

pub(crate) async fn claim(pools: &Pools, batch_id: &str, limit: u32, now: Instant) -> Result<Vec<MessageId>> {
    let mut tx = pools.begin().await?;
    // materialized: the planner must not look for due rows twice
    let mut ids = sqlx::query_scalar::<Db, String>(concat!(
        "WITH due AS MATERIALIZED (SELECT id FROM messages WHERE state = 'pending' ORDER BY created_at, id LIMIT $3",
        skip_locked!(),
        ") UPDATE messages SET state = 'claimed', batch_id = $1, claimed_at = $2 WHERE id IN (SELECT id FROM due) RETURNING id"
    ))
    .bind(batch_id)
    .bind(cut(now))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    ids.sort();
    ids.into_iter().map(|id| Ok(MessageId::parse(id)?)).collect()
}

pub(crate) async fn batches(pools: &Pools, claimed_before: Instant, limit: u32) -> Result<Vec<Batch>> {
    let rows = sqlx::query_as::<Db, (String, String)>(
        "SELECT m.batch_id, m.id FROM messages m JOIN (
             SELECT batch_id, MIN(claimed_at) AS since FROM messages WHERE state = 'claimed' AND claimed_at < $1
             GROUP BY batch_id ORDER BY MIN(claimed_at), batch_id LIMIT $2
         ) AS b ON b.batch_id = m.batch_id WHERE m.state = 'claimed' ORDER BY b.since, m.batch_id, m.id",
    )
    .bind(cut(claimed_before))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    let mut batches: Vec<Batch> = Vec::new();
    for (batch_id, id) in rows {
        if batches.last().is_none_or(|b| b.batch_id != batch_id) {
            batches.push(Batch { batch_id, messages: Vec::new() });
        }
        if let Some(last) = batches.last_mut() {
            last.messages.push(MessageId::parse(id)?);
        }
    }
    Ok(batches)
}

#[derive(sqlx::FromRow)]
struct Particulars {
    message_id: String,
    topic: String,
    message_channel: String,
    shipment_id: Option<String>,
    fact_at: Instant,
    state: String,
    batch_id: Option<String>,
    settled_at: Option<Instant>,
    why: Option<String>,
}

/// The columns of [`Particulars`] of `messages m`.
macro_rules! particulars {
    () => {
        "m.id AS message_id, m.topic, m.channel AS message_channel, m.shipment_id, m.fact_at, m.state, m.batch_id, m.settled_at, m.why"
    };
}

impl Particulars {
    fn read(self) -> Result<MessageRow> {
        Ok(MessageRow {
            id: MessageId::parse(self.message_id)?,
            topic: word("messages.topic", &self.topic, Topic::parse)?,
            channel: word("messages.channel", &self.message_channel, Channel::parse)?,
            shipment: self.shipment_id.map(ShipmentId::parse).transpose()?,
            fact_at: self.fact_at,
            state: word("messages.state", &self.state, MessageState::parse)?,
            batch_id: self.batch_id,
            settled_at: self.settled_at,
            why: self.why,
        })
    }
}

#[derive(sqlx::FromRow)]
struct WithOrder {
    #[sqlx(flatten)]
    message: Particulars,
    #[sqlx(flatten)]
    order: OrderRow,
}

pub(crate) async fn message(pools: &Pools, id: &MessageId) -> Result<Option<StoredMessage>> {
    let row = sqlx::query_as::<Db, WithOrder>(concat!(
        "SELECT ",
        particulars!(),
        ", ",
        order_columns!(),
        " FROM messages m JOIN orders o ON o.id = m.order_id WHERE m.id = $1"
    ))
    .bind(id.as_str())
    .fetch_optional(&pools.read)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (message, order) = (row.message.read()?, row.order.read()?);
    Ok(Some(StoredMessage {
        id: message.id,
        order_id: order.id.clone(),
        topic: message.topic,
        channel: message.channel,
        shipment: message.shipment,
        fact_at: message.fact_at,
        state: message.state,
        order,
    }))
}

pub(crate) async fn settle(pools: &Pools, id: &MessageId, state: MessageState, why: Option<&str>, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "UPDATE messages SET state = $2, why = $3, settled_at = $4 WHERE id = $1 AND state IN ('pending', 'claimed')",
    )
    .bind(id.as_str())
    .bind(state.as_str())
    .bind(why)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn messages_of(pools: &Pools, order_id: &OrderId) -> Result<Vec<MessageRow>> {
    let rows = sqlx::query_as::<Db, Particulars>(concat!(
        "SELECT ",
        particulars!(),
        " FROM messages m WHERE m.order_id = $1 ORDER BY m.created_at, m.fact_at, m.id"
    ))
    .bind(order_id.as_str())
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(Particulars::read).collect()
}
