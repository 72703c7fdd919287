//! Statements of messages.

use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::{MessageId, OrderId, ShipmentId, derive};
use oms_domain::message::{Channel, Topic};

use super::orders::{OrderRow, order_columns, scans};
use super::{Conn, Db, Pools, cut, money, record, review_items, word};
use crate::messages::{Batch, MessageRow, MessageState, Resend, Resent, StoredMessage};
use crate::review_items::{ItemSource, NewItem};
use crate::{Result, StoreError};

/// The kind of a failed message's review item.
const MESSAGE_FAILED: &str = "message_failed";

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

pub(crate) async fn alive(pools: &Pools, batch_id: &str, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>("UPDATE messages SET claimed_at = $2 WHERE state = 'claimed' AND batch_id = $1")
        .bind(batch_id)
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
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
    fact_key: Option<String>,
    detail: Option<String>,
    amount_minor: Option<i64>,
    message_currency: Option<String>,
    resent_of: Option<String>,
    asked_at: Option<Instant>,
}

/// The columns of [`Particulars`] of `messages m`.
macro_rules! particulars {
    () => {
        concat!(
            "m.id AS message_id, m.topic, m.channel AS message_channel, m.shipment_id, m.fact_at, m.state, m.batch_id, m.settled_at, ",
            "m.why, m.fact_key, m.detail, m.amount_minor, m.currency AS message_currency, m.resent_of, m.asked_at"
        )
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
            resent_of: self.resent_of.map(MessageId::parse).transpose()?,
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
    with_order(&mut *pools.read.acquire().await?, id).await
}

async fn with_order(connection: &mut Conn, id: &MessageId) -> Result<Option<StoredMessage>> {
    let row = sqlx::query_as::<Db, WithOrder>(concat!(
        "SELECT ",
        particulars!(),
        ", ",
        order_columns!(),
        " FROM messages m JOIN orders o ON o.id = m.order_id WHERE m.id = $1"
    ))
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let amount = match (row.message.amount_minor, row.message.message_currency.as_deref()) {
        (Some(minor), Some(currency)) => Some(money("messages.amount_minor", minor, currency)?),
        _ => None,
    };
    let (fact_key, detail, asked_at) = (row.message.fact_key.clone(), row.message.detail.clone(), row.message.asked_at);
    let (message, order) = (row.message.read()?, row.order.read()?);
    Ok(Some(StoredMessage {
        id: message.id,
        order_id: order.id.clone(),
        topic: message.topic,
        channel: message.channel,
        shipment: message.shipment,
        fact_at: message.fact_at,
        fact_key,
        detail,
        amount,
        asked_at,
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

pub(crate) async fn fail(pools: &Pools, id: &MessageId, why: &str, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    // a message never changes its order, so the order to lock first may be read without a lock
    let order = sqlx::query_scalar::<Db, String>("SELECT order_id FROM messages WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(order_id) = order.map(OrderId::parse).transpose()? else { return Ok(()) };
    // an order that cannot be read cannot be marked either; its message has failed all the same, and a person is called
    let order = match record::lock_if_any(&mut tx, Some(&order_id)).await {
        Err(StoreError::Corrupt { .. }) => None,
        row => row?.map(|row| (order_id, row)),
    };
    let failed = sqlx::query_as::<Db, (i64, String, String, Option<String>)>(
        "UPDATE messages SET state = 'failed', why = $2, settled_at = $3, failures = failures + 1
         WHERE id = $1 AND state IN ('pending', 'claimed') RETURNING failures, topic, channel, shipment_id",
    )
    .bind(id.as_str())
    .bind(why)
    .bind(cut(now))
    .fetch_optional(&mut *tx)
    .await?;
    let Some((failures, topic, channel, shipment)) = failed else { return Ok(()) };
    let item = NewItem {
        id: derive(&["review", "message", id.as_str(), &failures.to_string()]).to_string(),
        kind: MESSAGE_FAILED.to_owned(),
        order_id: order.as_ref().map(|(id, _)| id.clone()),
        shipment_id: shipment.map(ShipmentId::parse).transpose()?,
        subject: id.to_string(),
        detail: format!("the {channel} message about `{topic}` cannot be sent: {why}"),
        source: ItemSource::Message,
    };
    let opened = review_items::insert(&mut tx, &item, now).await?;
    if let Some((_, mut row)) = order.filter(|_| opened) {
        record::touch(&mut tx, &mut row, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn retry(pools: &Pools, id: &MessageId, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let retried = sqlx::query::<Db>(
        "UPDATE messages SET state = 'pending', batch_id = NULL, claimed_at = NULL, settled_at = NULL, why = NULL, asked_at = $2
         WHERE id = $1 AND state = 'failed'",
    )
    .bind(id.as_str())
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(retried.rows_affected() > 0)
}

pub(crate) async fn resend(pools: &Pools, wish: &Resend, now: Instant) -> Result<Resent> {
    let mut tx = pools.begin().await?;
    let Some(mut row) = record::lock_if_any(&mut tx, Some(&wish.order_id)).await? else { return Ok(Resent::Unknown) };
    let known = with_order(&mut tx, &wish.message).await?.filter(|m| m.order_id == wish.order_id);
    let Some(known) = known else { return Ok(Resent::Unknown) };
    let first = of_wish(&mut tx, wish).await?;
    if let Some(first) = first {
        return Ok(Resent::Done(first));
    }
    if matches!(known.state, MessageState::Pending | MessageState::Claimed) {
        return Ok(Resent::OnItsWay);
    }
    if let Some(why) = known.subject().overtaken(&known.order.life) {
        return Ok(Resent::Stale(why));
    }
    let before = sqlx::query_scalar::<Db, i64>("SELECT COUNT(*) FROM messages WHERE resent_of = $1")
        .bind(wish.message.as_str())
        .fetch_one(&mut *tx)
        .await?;
    let id = wish.message.again(u32::try_from(before + 1).map_err(|e| StoreError::corrupt("messages.resent_of", e))?);
    sqlx::query::<Db>(
        "INSERT INTO messages (id, order_id, event, topic, channel, shipment_id, fact_at, state, created_at, fact_key, detail,
                               amount_minor, currency, resent_of, asked_at)
         SELECT $2, order_id, $3, topic, channel, shipment_id, fact_at, 'pending', $4, fact_key, detail, amount_minor, currency, id, $4
         FROM messages WHERE id = $1",
    )
    .bind(wish.message.as_str())
    .bind(id.as_str())
    .bind(event_of(wish))
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    let mut fact = Fact::new(format!("resent/{id}"), FactKind::MessageResent, now).by(wish.actor.as_str());
    fact = fact.because(format!("{} by {}: {}", known.topic.as_str(), known.channel.as_str(), wish.reason));
    fact.shipment = known.shipment;
    record::add_facts(&mut tx, &mut row, &[fact], now).await?;
    record::touch(&mut tx, &mut row, now).await?;
    let sent = of_wish(&mut tx, wish).await?.ok_or_else(|| StoreError::conflict(format!("message {id} vanished")))?;
    tx.commit().await?;
    Ok(Resent::Done(sent))
}

/// The event of a message that is sent once more: one per wish.
fn event_of(wish: &Resend) -> String {
    format!("again/{}/{}", wish.message, wish.request)
}

/// The message that a wish has led to.
async fn of_wish(connection: &mut Conn, wish: &Resend) -> Result<Option<MessageRow>> {
    let row = sqlx::query_as::<Db, Particulars>(concat!(
        "SELECT ",
        particulars!(),
        " FROM messages m WHERE m.order_id = $1 AND m.event = $2"
    ))
    .bind(wish.order_id.as_str())
    .bind(event_of(wish))
    .fetch_optional(connection)
    .await?;
    row.map(Particulars::read).transpose()
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
