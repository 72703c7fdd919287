//! Statements of the one writer: an order's row, timeline, outbox, messages, shipments.

use std::collections::BTreeSet;

use oms_domain::Instant;
use oms_domain::event::Fact;
use oms_domain::ids::{MessageId, OrderId, derive};
use oms_domain::life::Life;
use oms_domain::order::Status;
use oms_domain::shipment::{Scan, ScanResult};
use serde_json::json;
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::{Conn, Db, Pools, cut, reservations, scans, shipments, signed, unsigned, word};
use crate::orders::{Append, Record, Recorded};
use crate::{Result, StoreError};

/// An order's row under lock.
struct Row {
    id: OrderId,
    rev: u64,
    seq: u64,
    status: Status,
    has_phone: bool,
    test: bool,
    life: Life,
}

#[derive(sqlx::FromRow)]
struct LockedRow {
    rev: i64,
    seq: i64,
    status: String,
    has_phone: bool,
    test: bool,
    life: Json<Life>,
}

pub(crate) async fn record(pools: &Pools, record: &Record, now: Instant) -> Result<Recorded> {
    let mut tx = pools.begin().await?;
    let mut row = lock(&mut tx, &record.order_id).await?;
    // an order that is confirmed (or over) was confirmed once: a late repeat must not find its reservation gone
    let confirms = record.confirm && row.status.rank() < Status::Confirmed.rank();
    if confirms && !reservations::confirm(&mut tx, &record.order_id, now).await? {
        return Ok(Recorded { rev: row.rev, seq: row.seq, status: row.status, lapsed: true });
    }
    let before = row.seq;
    add_facts(&mut tx, &mut row, &record.facts, now).await?;
    let news = record.rev > row.rev && record.life.status.rank() >= row.status.rank();
    if news {
        write_life(&mut tx, &mut row, record.rev, &record.life, now).await?;
    } else if row.seq > before {
        write_seq(&mut tx, &row, now).await?;
    }
    for (scan, result) in &record.scans {
        scans::insert(&mut tx, &record.order_id, scan, *result, now).await?;
    }
    tx.commit().await?;
    Ok(Recorded { rev: row.rev, seq: row.seq, status: row.status, lapsed: false })
}

pub(crate) async fn append(
    pools: &Pools,
    order_id: &OrderId,
    facts: &[Fact],
    change: &Append,
    scan: Option<&(Scan, ScanResult)>,
    now: Instant,
) -> Result<Recorded> {
    let mut tx = pools.begin().await?;
    let mut row = lock(&mut tx, order_id).await?;
    let before = row.seq;
    add_facts(&mut tx, &mut row, facts, now).await?;
    let repeat = !facts.is_empty() && row.seq == before;
    let mut life = row.life.clone();
    let changed = !repeat && apply(&mut life, change);
    if changed || row.seq > before {
        let rev = row.rev + 1;
        write_life(&mut tx, &mut row, rev, &life, now).await?;
    }
    if let Some((scan, result)) = scan {
        scans::insert(&mut tx, order_id, scan, *result, now).await?;
    }
    tx.commit().await?;
    Ok(Recorded { rev: row.rev, seq: row.seq, status: row.status, lapsed: false })
}

/// Changes a closed order's state; answers whether anything is new.
fn apply(life: &mut Life, change: &Append) -> bool {
    let mut changed = false;
    if let Some(flag) = &change.attention {
        changed |= life.raise(&flag.code, flag.detail.clone(), flag.since);
    }
    if let Some((id, status)) = &change.shipment_status
        && let Some(shipment) = life.shipments.iter_mut().find(|s| s.id == *id)
        && status.rank() > shipment.status.rank()
    {
        shipment.status = *status;
        changed = true;
    }
    changed
}

async fn lock(connection: &mut Conn, id: &OrderId) -> Result<Row> {
    let row = sqlx::query_as::<Db, LockedRow>(concat!(
        "SELECT o.rev, o.seq, o.status, o.has_phone, o.test, o.life FROM orders o WHERE o.id = $1",
        for_update!("o")
    ))
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| StoreError::conflict(format!("there is no order {id}")))?;
    Ok(Row {
        id: id.clone(),
        rev: unsigned("orders.rev", row.rev)?,
        seq: unsigned("orders.seq", row.seq)?,
        status: word("orders.status", &row.status, Status::parse)?,
        has_phone: row.has_phone,
        test: row.test,
        life: row.life.0,
    })
}

/// Adds the facts that are not on the timeline yet, under the next numbers, with their events and messages.
async fn add_facts(connection: &mut Conn, row: &mut Row, facts: &[Fact], now: Instant) -> Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = facts.iter().map(|f| f.key.as_str()).collect();
    let known =
        sqlx::query_scalar::<Db, String>(concat!("SELECT key FROM timeline WHERE order_id = $1 AND key IN ", each!("$2")))
            .bind(row.id.as_str())
            .bind(Json(keys))
            .fetch_all(&mut *connection)
            .await?;
    let mut known: BTreeSet<String> = known.into_iter().collect();
    let mut new: Vec<(u64, &Fact)> = Vec::new();
    for fact in facts {
        if known.insert(fact.key.clone()) {
            row.seq += 1;
            new.push((row.seq, fact));
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    insert_facts(connection, &row.id, &new, now).await?;
    insert_events(connection, &row.id, &new, now).await?;
    for (_, fact) in new {
        insert_messages(connection, row, fact, now).await?;
    }
    Ok(())
}

async fn insert_facts(connection: &mut Conn, order: &OrderId, facts: &[(u64, &Fact)], now: Instant) -> Result<()> {
    let mut insert = QueryBuilder::<Db>::new(
        "INSERT INTO timeline (order_id, seq, key, kind, at, recorded_at, actor, reason, shipment_id, amount_minor, currency) ",
    );
    insert.push_values(facts, |mut row, (seq, fact)| {
        row.push_bind(order.as_str()).push_bind(signed(*seq)).push_bind(fact.key.as_str()).push_bind(fact.kind.as_str());
        row.push_bind(cut(fact.at)).push_bind(cut(now)).push_bind(fact.actor.as_str()).push_bind(fact.reason.as_deref());
        row.push_bind(fact.shipment.as_ref().map(|s| s.as_str()));
        row.push_bind(fact.amount.map(|a| a.minor)).push_bind(fact.amount.map(|a| a.currency.to_string()));
    });
    insert.build().execute(connection).await?;
    Ok(())
}

/// The id of an order's event: the same however often it is published.
pub(crate) fn event_id(order: &OrderId, seq: u64) -> String {
    derive(&["event", order.as_str(), &seq.to_string()]).to_string()
}

async fn insert_events(connection: &mut Conn, order: &OrderId, facts: &[(u64, &Fact)], now: Instant) -> Result<()> {
    let mut insert = QueryBuilder::<Db>::new("INSERT INTO outbox (order_id, seq, event_id, kind, body, created_at) ");
    insert.push_values(facts, |mut row, (seq, fact)| {
        let id = event_id(order, *seq);
        let body = json!({
            "id": id, "type": fact.kind.as_str(), "order_id": order, "seq": seq, "at": cut(fact.at), "actor": fact.actor,
            "reason": fact.reason, "shipment_id": fact.shipment, "amount": fact.amount,
        });
        row.push_bind(order.as_str()).push_bind(signed(*seq)).push_bind(id).push_bind(fact.kind.as_str());
        row.push_bind(Json(body)).push_bind(cut(now));
    });
    insert.build().execute(connection).await?;
    Ok(())
}

async fn insert_messages(connection: &mut Conn, row: &Row, fact: &Fact, now: Instant) -> Result<()> {
    let Some(topic) = fact.tell else { return Ok(()) };
    let event = match &fact.shipment {
        Some(shipment) => format!("{}/{shipment}", topic.as_str()),
        None => topic.as_str().to_owned(),
    };
    for channel in topic.channels(row.has_phone) {
        sqlx::query::<Db>(
            "INSERT INTO messages (id, order_id, event, topic, channel, shipment_id, fact_at, state, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8) ON CONFLICT (order_id, event, channel) DO NOTHING",
        )
        .bind(MessageId::of(&row.id, &event, channel.as_str()).as_str())
        .bind(row.id.as_str())
        .bind(&event)
        .bind(topic.as_str())
        .bind(channel.as_str())
        .bind(fact.shipment.as_ref().map(|s| s.as_str()))
        .bind(cut(fact.at))
        .bind(cut(now))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn write_seq(connection: &mut Conn, row: &Row, now: Instant) -> Result<()> {
    sqlx::query::<Db>("UPDATE orders SET seq = $2, updated_at = $3 WHERE id = $1")
        .bind(row.id.as_str())
        .bind(signed(row.seq))
        .bind(cut(now))
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes where the order stands, and everything that is searched for.
async fn write_life(connection: &mut Conn, row: &mut Row, rev: u64, life: &Life, now: Instant) -> Result<()> {
    sqlx::query::<Db>(
        "UPDATE orders SET rev = $2, seq = $3, life = $4, status = $5, reason = $6, needs_attention = $7, updated_at = $8
         WHERE id = $1",
    )
    .bind(row.id.as_str())
    .bind(signed(rev))
    .bind(signed(row.seq))
    .bind(Json(life))
    .bind(life.status.as_str())
    .bind(life.reason.map(|r| r.as_str()))
    .bind(!life.attention.is_empty())
    .bind(cut(now))
    .execute(&mut *connection)
    .await?;
    if row.life.holds != life.holds {
        write_holds(connection, &row.id, life).await?;
    }
    if row.life.shipments != life.shipments {
        shipments::upsert(connection, &row.id, &row.life.shipments, &life.shipments, row.test, now).await?;
    }
    row.rev = rev;
    row.status = life.status;
    row.life = life.clone();
    Ok(())
}

async fn write_holds(connection: &mut Conn, order: &OrderId, life: &Life) -> Result<()> {
    sqlx::query::<Db>("DELETE FROM order_holds WHERE order_id = $1").bind(order.as_str()).execute(&mut *connection).await?;
    let kinds: BTreeSet<&str> = life.holds.iter().map(|h| h.kind.as_str()).collect();
    for kind in kinds {
        sqlx::query::<Db>("INSERT INTO order_holds (kind, order_id) VALUES ($1, $2)")
            .bind(kind)
            .bind(order.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
