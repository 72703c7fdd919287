//! Statements of the one writer: an order's row, timeline, outbox, messages, shipments.

use std::collections::BTreeSet;

use oms_domain::Instant;
use oms_domain::customer::Customer;
use oms_domain::event::Fact;
use oms_domain::ids::{MessageId, OrderId, derive};
use oms_domain::life::Life;
use oms_domain::order::Status;
use oms_domain::shipment::{Scan, ScanResult};
use serde_json::json;
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::{Conn, Db, Pools, chain, changes, cut, reservations, review_items, scans, shipments, signed, unsigned, word};
use crate::orders::{Append, Record, Recorded};
use crate::review_items::ResolvedItem;
use crate::{Result, StoreError};

/// Whether a person must look: for a flag of the order's own, which `$own` says, or for an open item about it.
macro_rules! needs_attention {
    ($own:literal) => {
        concat!(
            "needs_attention = (",
            $own,
            " OR EXISTS (SELECT 1 FROM review_items i WHERE i.order_id = orders.id AND i.state = 'open'))"
        )
    };
}

/// An order's row under lock.
pub(crate) struct Row {
    id: OrderId,
    rev: u64,
    seq: u64,
    status: Status,
    has_phone: bool,
    test: bool,
    life: Life,
    updated_at: Instant,
}

impl Row {
    /// Where the order stands.
    pub(crate) fn life(&self) -> &Life {
        &self.life
    }
}

#[derive(sqlx::FromRow)]
struct LockedRow {
    rev: i64,
    seq: i64,
    status: String,
    has_phone: bool,
    test: bool,
    life: Json<Life>,
    updated_at: Instant,
}

pub(crate) async fn record(pools: &Pools, record: &Record, now: Instant) -> Result<Recorded> {
    let mut tx = pools.begin().await?;
    let mut row = lock(&mut tx, &record.order_id).await?;
    // an order that is confirmed (or over) was confirmed once: a late repeat must not find its reservation gone
    let confirms = record.confirm && row.status.rank() < Status::Confirmed.rank();
    if confirms && !reservations::confirm(&mut tx, &record.order_id, now).await? {
        return Ok(Recorded { lapsed: true, ..answer(&row) });
    }
    let before = row.seq;
    add_facts(&mut tx, &mut row, &record.facts, now).await?;
    let closed = close_items(&mut tx, &row.id, &record.resolved, now).await?;
    // a run whose worker died before it could answer decides anew, and may have heard more by then: other content under a number that
    // is taken goes on record under the next one, which its answer tells the run
    let taken = record.rev == row.rev && record.life != row.life;
    let rev = record.rev + u64::from(taken);
    let repeat = record.rev == row.rev && !taken;
    // a run that was reset plans anew what was confirmed before: the row stands, and tells the run
    let confirmed_before = record.confirm && !confirms && !repeat;
    let news = rev > row.rev && record.life.status.rank() >= row.status.rank() && !confirmed_before;
    if news {
        if let Some(change) = &record.amend {
            changes::amend(&mut tx, &row.id, change).await?;
        }
        if let Some(change) = &record.address {
            changes::readdress(&mut tx, &row.id, change).await?;
        }
        write_life(&mut tx, &mut row, rev, &record.life, record.build.as_deref(), true, now).await?;
    } else if row.seq > before || closed {
        write_seq(&mut tx, &row, now).await?;
    }
    for (scan, result) in &record.scans {
        scans::insert(&mut tx, &record.order_id, scan, *result, now).await?;
    }
    tx.commit().await?;
    // the repeat of an order's last record, which others have appended to since: a newer number would tell the run that it was
    // reset, and it would write its own life over what they added
    let repeats_the_end = !news && row.status.is_terminal() && record.life.status == row.status && record.rev < row.rev;
    let rev = if repeats_the_end { record.rev } else { row.rev };
    Ok(Recorded { rev, behind: !news && !repeat && !repeats_the_end, confirmed_before, ..answer(&row) })
}

/// The row as a run's answer shows it.
fn answer(row: &Row) -> Recorded {
    Recorded { rev: row.rev, seq: row.seq, status: row.status, lapsed: false, behind: false, confirmed_before: false }
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
    let items = change_items(&mut tx, &row.id, change, now).await?;
    let mut life = row.life.clone();
    // an open run is the only writer of its order's state: what it is not told by an update it does not know
    let changed = row.status.is_terminal() && !repeat && apply(&mut life, change, &row.id);
    if changed || row.seq > before || items {
        let at = if change.quiet { row.updated_at } else { now };
        step(&mut tx, &mut row, &life, changed, at).await?;
    }
    if let Some((scan, result)) = scan {
        scans::insert(&mut tx, order_id, scan, *result, now).await?;
    }
    tx.commit().await?;
    Ok(answer(&row))
}

/// Opens and closes the items that a story names; answers whether anything is new.
async fn change_items(connection: &mut Conn, order: &OrderId, change: &Append, now: Instant) -> Result<bool> {
    let mut changed = false;
    for item in &change.opened {
        changed |= review_items::insert(connection, item, now).await?;
    }
    changed |= close_items(connection, order, &change.resolved, now).await?;
    changed |= review_items::settle_all(connection, change.settled.iter().map(String::as_str), now).await?;
    Ok(changed)
}

async fn close_items(connection: &mut Conn, order: &OrderId, resolved: &[ResolvedItem], now: Instant) -> Result<bool> {
    let mut changed = false;
    for decided in resolved {
        changed |= review_items::close(connection, Some(order), decided, now).await?;
    }
    Ok(changed)
}

/// Changes a closed order's state; answers whether anything is new. A flag whose item has closed comes down.
fn apply(life: &mut Life, change: &Append, order: &OrderId) -> bool {
    let mut changed = false;
    if let Some(flag) = &change.attention {
        changed |= life.raise(flag.clone());
    }
    let closed: Vec<&str> =
        change.settled.iter().map(String::as_str).chain(change.resolved.iter().map(|r| r.item.as_str())).collect();
    changed |= lower(life, order, &closed);
    if let Some((id, status)) = &change.shipment_status
        && let Some(shipment) = life.shipments.iter_mut().find(|s| s.id == *id)
        && status.rank() > shipment.status.rank()
    {
        shipment.status = *status;
        changed = true;
    }
    changed
}

/// Takes the flags of closed items off a life; answers whether any was up.
fn lower(life: &mut Life, order: &OrderId, items: &[&str]) -> bool {
    let before = life.attention.len();
    life.attention.retain(|flag| !items.contains(&flag.item(order).as_str()));
    life.attention.len() != before
}

/// Writes what an order shows after something beside its run has changed: a closed order's state under the next version; of an
/// open one only what is no part of its state. `moved`: something of its state has changed.
async fn step(connection: &mut Conn, row: &mut Row, life: &Life, moved: bool, now: Instant) -> Result<()> {
    if row.status.is_terminal() {
        let rev = row.rev + 1;
        write_life(connection, row, rev, life, None, moved, now).await
    } else {
        write_seq(connection, row, now).await
    }
}

/// Writes what an order shows after items about it were opened or closed.
pub(crate) async fn touch(connection: &mut Conn, row: &mut Row, now: Instant) -> Result<()> {
    let life = row.life.clone();
    step(connection, row, &life, false, now).await
}

/// The same after a person closed items; `own`: they are the order's own, and their flags come down with them.
pub(crate) async fn without_flags(connection: &mut Conn, row: &mut Row, items: &[&str], own: bool, now: Instant) -> Result<()> {
    let mut life = row.life.clone();
    if !own {
        return step(connection, row, &life, false, now).await;
    }
    lower(&mut life, &row.id, items);
    let rev = row.rev + 1;
    write_life(connection, row, rev, &life, None, true, now).await
}

/// Puts facts of somebody beside the order's run on its timeline. The row must be locked.
pub(crate) async fn tell(connection: &mut Conn, row: &mut Row, facts: &[Fact], now: Instant) -> Result<()> {
    let before = row.seq;
    add_facts(connection, row, facts, now).await?;
    if row.seq > before { touch(connection, row, now).await } else { Ok(()) }
}

/// Locks the row of an order if there is one.
pub(crate) async fn lock_if_any(connection: &mut Conn, id: Option<&OrderId>) -> Result<Option<Row>> {
    match id {
        Some(id) => find(connection, id).await,
        None => Ok(None),
    }
}

async fn lock(connection: &mut Conn, id: &OrderId) -> Result<Row> {
    find(connection, id).await?.ok_or_else(|| StoreError::conflict(format!("there is no order {id}")))
}

async fn find(connection: &mut Conn, id: &OrderId) -> Result<Option<Row>> {
    let row = sqlx::query_as::<Db, LockedRow>(concat!(
        "SELECT o.rev, o.seq, o.status, o.has_phone, o.test, o.life, o.updated_at FROM orders o WHERE o.id = $1",
        for_update!("o")
    ))
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Row {
        id: id.clone(),
        rev: unsigned("orders.rev", row.rev)?,
        seq: unsigned("orders.seq", row.seq)?,
        status: word("orders.status", &row.status, Status::parse)?,
        has_phone: row.has_phone,
        test: row.test,
        life: row.life.0,
        updated_at: row.updated_at,
    }))
}

/// Adds the facts that are not on the timeline yet, under the next numbers, with their events and messages.
pub(crate) async fn add_facts(connection: &mut Conn, row: &mut Row, facts: &[Fact], now: Instant) -> Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = facts.iter().map(|f| f.key.as_str()).collect();
    let known = sqlx::query_scalar::<Db, String>(concat!("SELECT key FROM timeline WHERE order_id = $1 AND key ", one_of!("$2")))
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
        changes::hear_refusal(connection, &row.id, fact).await?;
    }
    Ok(())
}

async fn insert_facts(connection: &mut Conn, order: &OrderId, facts: &[(u64, &Fact)], now: Instant) -> Result<()> {
    let links = chain::links(connection, order, facts).await?;
    let mut insert = QueryBuilder::<Db>::new(
        "INSERT INTO timeline (order_id, seq, key, kind, at, recorded_at, actor, reason, shipment_id, amount_minor, currency, hash) ",
    );
    insert.push_values(facts.iter().zip(links), |mut row, ((seq, fact), link)| {
        row.push_bind(order.as_str()).push_bind(signed(*seq)).push_bind(fact.key.as_str()).push_bind(fact.kind.as_str());
        row.push_bind(cut(fact.at)).push_bind(cut(now)).push_bind(fact.actor.as_str()).push_bind(fact.reason.as_deref());
        row.push_bind(fact.shipment.as_ref().map(|s| s.as_str()));
        row.push_bind(fact.amount.map(|a| a.minor)).push_bind(fact.amount.map(|a| a.currency.to_string()));
        row.push_bind(link);
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
        _ if topic.repeats() => format!("{}/{}", topic.as_str(), fact.key),
        Some(shipment) => format!("{}/{shipment}", topic.as_str()),
        None => topic.as_str().to_owned(),
    };
    let customer = sqlx::query_scalar::<Db, Json<Customer>>("SELECT customer FROM orders WHERE id = $1")
        .bind(row.id.as_str())
        .fetch_one(&mut *connection)
        .await?;
    for channel in topic.channels_for(row.has_phone, &customer.0.notify) {
        sqlx::query::<Db>(
            "INSERT INTO messages
                 (id, order_id, event, topic, channel, shipment_id, fact_at, state, created_at, fact_key, detail, amount_minor, currency)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9, $10, $11, $12)
             ON CONFLICT (order_id, event, channel) DO NOTHING",
        )
        .bind(MessageId::of(&row.id, &event, channel.as_str()).as_str())
        .bind(row.id.as_str())
        .bind(&event)
        .bind(topic.as_str())
        .bind(channel.as_str())
        .bind(fact.shipment.as_ref().map(|s| s.as_str()))
        .bind(cut(fact.at))
        .bind(cut(now))
        .bind(&fact.key)
        .bind(fact.reason.as_deref())
        .bind(fact.amount.map(|a| a.minor))
        .bind(fact.amount.map(|a| a.currency.to_string()))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Writes the newest fact's number. Items alone do not make the order move: the watchdog must not take its own call for news.
async fn write_seq(connection: &mut Conn, row: &Row, now: Instant) -> Result<()> {
    sqlx::query::<Db>(concat!(
        "UPDATE orders SET seq = $2, updated_at = CASE WHEN seq < $2 THEN $3 ELSE updated_at END, ",
        needs_attention!("$4"),
        " WHERE id = $1"
    ))
    .bind(row.id.as_str())
    .bind(signed(row.seq))
    .bind(cut(now))
    .bind(!row.life.attention.is_empty())
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes where the order stands, and everything that is searched for. `build`: who writes, if it is the order's run. Unless it has
/// `moved` or has new facts, it did not change: a comparison must not take the item that it has opened for news.
async fn write_life(
    connection: &mut Conn,
    row: &mut Row,
    rev: u64,
    life: &Life,
    build: Option<&str>,
    moved: bool,
    now: Instant,
) -> Result<()> {
    // before the row, which says whether any item is open; the row's lock is held since before
    review_items::mirror(connection, &row.id, &row.life, life, now).await?;
    sqlx::query::<Db>(concat!(
        "UPDATE orders SET rev = $2, seq = $3, life = $4, status = $5, reason = $6, due_at = $9, ",
        "updated_at = CASE WHEN $11 OR seq < $3 THEN $8 ELSE updated_at END, build = COALESCE($10, build), ",
        needs_attention!("$7"),
        " WHERE id = $1"
    ))
    .bind(row.id.as_str())
    .bind(signed(rev))
    .bind(signed(row.seq))
    .bind(Json(life))
    .bind(life.status.as_str())
    .bind(life.reason.map(|r| r.as_str()))
    .bind(!life.attention.is_empty())
    .bind(cut(now))
    .bind(life.due_at.map(cut))
    .bind(build)
    .bind(moved)
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
