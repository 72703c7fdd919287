//! Statements of the review queue. An item about an order is only changed under the lock of the order's row.

use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::life::{Life, Why};
use oms_domain::review::Resolution;
use sqlx::types::Json;
use sqlx::{Connection, QueryBuilder};

use super::{Conn, Db, Pools, cut, record, unsigned, word};
use crate::review_items::{
    ItemCursor, ItemFilter, ItemResolution, ItemSource, ItemState, NewItem, ResolveOutcome, ResolvedItem, ReviewItem,
};
use crate::{Result, StoreError};

/// The columns of an [`ItemRow`].
const COLUMNS: &str = "id, kind, order_id, shipment_id, subject, detail, source, state, opened_at, closed_at, action, reference, \
                       reason, actor";

#[derive(sqlx::FromRow)]
struct ItemRow {
    id: String,
    kind: String,
    order_id: Option<String>,
    shipment_id: Option<String>,
    subject: String,
    detail: String,
    source: String,
    state: String,
    opened_at: Instant,
    closed_at: Option<Instant>,
    action: Option<String>,
    reference: Option<String>,
    reason: Option<String>,
    actor: Option<String>,
}

impl ItemRow {
    fn read(self) -> Result<ReviewItem> {
        let resolution = match (self.action, self.reason, self.actor) {
            (Some(action), Some(reason), Some(actor)) => Some(ItemResolution {
                action: word("review_items.action", &action, Resolution::parse)?,
                reference: self.reference,
                reason: Why::parse(reason)?,
                actor,
            }),
            _ => None,
        };
        Ok(ReviewItem {
            id: self.id,
            kind: self.kind,
            order_id: self.order_id.map(OrderId::parse).transpose()?,
            shipment_id: self.shipment_id.map(ShipmentId::parse).transpose()?,
            subject: self.subject,
            detail: self.detail,
            source: word("review_items.source", &self.source, ItemSource::parse)?,
            state: word("review_items.state", &self.state, ItemState::parse)?,
            opened_at: self.opened_at,
            closed_at: self.closed_at,
            resolution,
        })
    }
}

pub(crate) async fn open(pools: &Pools, item: &NewItem, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let row = record::lock_if_any(&mut tx, item.order_id.as_ref()).await?;
    let opened = insert(&mut tx, item, now).await?;
    if let Some(mut row) = row.filter(|_| opened) {
        record::touch(&mut tx, &mut row, now).await?;
    }
    tx.commit().await?;
    Ok(opened)
}

pub(crate) async fn settle(pools: &Pools, id: &str, now: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let Some(known) = item_on(&mut tx, id).await? else { return Ok(false) };
    let row = record::lock_if_any(&mut tx, known.order_id.as_ref()).await?;
    let settled = settle_all(&mut tx, [id], now).await?;
    if let Some(mut row) = row.filter(|_| settled) {
        record::touch(&mut tx, &mut row, now).await?;
    }
    tx.commit().await?;
    Ok(settled)
}

pub(crate) async fn resolve(pools: &Pools, id: &str, how: &ItemResolution, now: Instant) -> Result<ResolveOutcome> {
    let mut tx = pools.begin().await?;
    // an item never changes what it is about, so the order to lock first may be read without a lock
    let Some(known) = item_on(&mut tx, id).await? else { return Ok(ResolveOutcome::Unknown) };
    let row = record::lock_if_any(&mut tx, known.order_id.as_ref()).await?;
    let decided = ResolvedItem { item: id.to_owned(), resolution: how.clone() };
    let won = close(&mut tx, known.order_id.as_ref(), &decided, now).await?;
    if let Some(mut row) = row.filter(|_| won) {
        let mut fact = Fact::new(format!("resolved/{id}"), FactKind::ReviewResolved, now).by(how.actor.as_str());
        fact = fact.because(format!("{}, {}: {}", known.kind, how.action.as_str(), how.reason));
        fact.shipment = known.shipment_id.clone();
        record::add_facts(&mut tx, &mut row, &[fact], now).await?;
        record::without_flags(&mut tx, &mut row, &[id], known.source == ItemSource::Order, now).await?;
    }
    let item = item_on(&mut tx, id).await?.ok_or_else(|| StoreError::conflict(format!("review item {id} vanished")))?;
    tx.commit().await?;
    Ok(if won { ResolveOutcome::Done(item) } else { ResolveOutcome::AlreadyClosed(item) })
}

/// Opens an item; `false`: it exists. The order's row must be locked.
pub(crate) async fn insert(connection: &mut Conn, item: &NewItem, at: Instant) -> Result<bool> {
    let inserted = sqlx::query::<Db>(
        "INSERT INTO review_items (id, kind, order_id, shipment_id, subject, detail, source, state, opened_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', $8) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&item.id)
    .bind(&item.kind)
    .bind(item.order_id.as_ref().map(OrderId::as_str))
    .bind(item.shipment_id.as_ref().map(ShipmentId::as_str))
    .bind(&item.subject)
    .bind(&item.detail)
    .bind(item.source.as_str())
    .bind(cut(at))
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Closes items whose subject is over; answers whether any was open. The order's row must be locked.
pub(crate) async fn settle_all<'a>(
    connection: &mut Conn,
    items: impl IntoIterator<Item = &'a str>,
    now: Instant,
) -> Result<bool> {
    let items: Vec<&str> = items.into_iter().collect();
    if items.is_empty() {
        return Ok(false);
    }
    let settled = sqlx::query::<Db>(concat!(
        "UPDATE review_items SET state = 'settled', closed_at = $2 WHERE state = 'open' AND id ",
        one_of!("$1")
    ))
    .bind(Json(items))
    .bind(cut(now))
    .execute(connection)
    .await?;
    Ok(settled.rows_affected() > 0)
}

/// Closes an item of this order with a person's decision; `false`: it is unknown, closed or another order's. The order's row must
/// be locked.
pub(crate) async fn close(connection: &mut Conn, order: Option<&OrderId>, decided: &ResolvedItem, now: Instant) -> Result<bool> {
    let closed = sqlx::query::<Db>(
        "UPDATE review_items SET state = 'resolved', closed_at = $2, action = $3, reference = $4, reason = $5, actor = $6
         WHERE id = $1 AND state = 'open' AND COALESCE(order_id, '') = $7",
    )
    .bind(&decided.item)
    .bind(cut(now))
    .bind(decided.resolution.action.as_str())
    .bind(&decided.resolution.reference)
    .bind(decided.resolution.reason.as_str())
    .bind(&decided.resolution.actor)
    .bind(order.map_or("", OrderId::as_str))
    .execute(connection)
    .await?;
    Ok(closed.rows_affected() > 0)
}

/// Makes the queue say what the order's flags say: raised ones open their items, lowered ones settle theirs. The order's row must
/// be locked.
pub(crate) async fn mirror(connection: &mut Conn, order: &OrderId, before: &Life, after: &Life, now: Instant) -> Result<()> {
    // every flag, not only new ones: a worker of the version before may have raised it without an item
    raise(connection, order, after).await?;
    let items = |life: &Life| life.attention.iter().map(|flag| flag.item(order)).collect::<Vec<_>>();
    let (was, is) = (items(before), items(after));
    // a run that was reset may raise a flag anew whose item its earlier life had seen closed
    reopen(connection, is.iter().filter(|id| !was.contains(id)).map(String::as_str).collect()).await?;
    settle_all(connection, was.iter().filter(|id| !is.contains(id)).map(String::as_str), now).await?;
    Ok(())
}

async fn reopen(connection: &mut Conn, items: Vec<&str>) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    sqlx::query::<Db>(concat!(
        "UPDATE review_items SET state = 'open', closed_at = NULL, action = NULL, reference = NULL, reason = NULL, actor = NULL
         WHERE state <> 'open' AND id ",
        one_of!("$1")
    ))
    .bind(Json(items))
    .execute(connection)
    .await?;
    Ok(())
}

async fn raise(connection: &mut Conn, order: &OrderId, life: &Life) -> Result<()> {
    for flag in &life.attention {
        let item = NewItem {
            id: flag.item(order),
            kind: flag.code.clone(),
            order_id: Some(order.clone()),
            shipment_id: flag.shipment.clone(),
            subject: flag.shipment.as_ref().map_or(order.as_str(), ShipmentId::as_str).to_owned(),
            detail: flag.detail.clone(),
            source: ItemSource::Order,
        };
        insert(connection, &item, flag.since).await?;
    }
    Ok(())
}

/// Opens the items of orders that were flagged before there was a queue: the flag of one that has ended is never written again.
pub(crate) async fn catch_up(connection: &mut Conn) -> Result<()> {
    let flagged = sqlx::query_scalar::<Db, String>(
        "SELECT o.id FROM orders o WHERE o.needs_attention
         AND NOT EXISTS (SELECT 1 FROM review_items i WHERE i.order_id = o.id) ORDER BY o.placed_at, o.id",
    )
    .fetch_all(&mut *connection)
    .await?;
    for id in flagged {
        let id = OrderId::parse(id)?;
        let mut tx = connection.begin().await?;
        if let Some(row) = record::lock_if_any(&mut tx, Some(&id)).await? {
            raise(&mut tx, &id, row.life()).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

async fn item_on(connection: &mut Conn, id: &str) -> Result<Option<ReviewItem>> {
    let mut query = QueryBuilder::<Db>::new(format!("SELECT {COLUMNS} FROM review_items WHERE id = "));
    let row = query.push_bind(id).build_query_as::<ItemRow>().fetch_optional(connection).await?;
    row.map(ItemRow::read).transpose()
}

pub(crate) async fn item(pools: &Pools, id: &str) -> Result<Option<ReviewItem>> {
    item_on(&mut *pools.read.acquire().await?, id).await
}

pub(crate) async fn items(pools: &Pools, filter: &ItemFilter, after: Option<&ItemCursor>, limit: u32) -> Result<Vec<ReviewItem>> {
    let rows = listing(filter, after, limit).build_query_as::<ItemRow>().fetch_all(&pools.read).await?;
    rows.into_iter().map(ItemRow::read).collect()
}

/// The one query of a list: only the conditions that are asked for, so that each question runs on its own index.
pub(crate) fn listing(filter: &ItemFilter, after: Option<&ItemCursor>, limit: u32) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::<Db>::new(format!("SELECT {COLUMNS} FROM review_items WHERE 1 = 1"));
    let texts = [
        (" AND state = ", filter.state.map(|s| s.as_str().to_owned())),
        (" AND kind = ", filter.kind.clone()),
        (" AND source = ", filter.source.map(|s| s.as_str().to_owned())),
        (" AND order_id = ", filter.order_id.as_ref().map(|o| o.as_str().to_owned())),
    ];
    for (before, value) in texts {
        if let Some(value) = value {
            query.push(before).push_bind(value);
        }
    }
    if let Some(at) = filter.opened_before {
        query.push(" AND opened_at < ").push_bind(cut(at));
    }
    if let Some(cursor) = after {
        query.push(" AND (opened_at, id) > (").push_bind(cut(cursor.opened_at)).push(", ").push_bind(cursor.id.clone()).push(")");
    }
    query.push(" ORDER BY opened_at, id LIMIT ").push_bind(i64::from(limit));
    query
}

pub(crate) async fn count_open(pools: &Pools) -> Result<Vec<(String, u64)>> {
    let rows = sqlx::query_as::<Db, (String, i64)>(
        "SELECT kind, COUNT(*) FROM review_items WHERE state = 'open' GROUP BY kind ORDER BY kind",
    )
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(|(kind, count)| Ok((kind, unsigned("review_items", count)?))).collect()
}
