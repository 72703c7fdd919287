//! Statements of proposals and of customers' decisions.

use std::collections::BTreeSet;

use oms_domain::Instant;
use oms_domain::customer::{Address, Line};
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::OrderId;
use oms_domain::money::Money;
use oms_domain::pricing::{PricedLine, Totals};
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::{Conn, Db, Pools, cut, word};
use crate::changes::{ProposalState, StoredEdit};
use crate::orders::{Amend, AmendedLine};
use crate::{Result, StoreError};

pub(crate) async fn propose_address(pools: &Pools, id: &str, order_id: &OrderId, address: &Address, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "INSERT INTO address_changes (id, order_id, address, state, created_at) VALUES ($1, $2, $3, 'proposed', $4)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(order_id.as_str())
    .bind(Json(address))
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn propose_edit(
    pools: &Pools,
    id: &str,
    order_id: &OrderId,
    lines: &[PricedLine],
    totals: &Totals,
    now: Instant,
) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "INSERT INTO edits (id, order_id, lines, totals, state, created_at) VALUES ($1, $2, $3, $4, 'proposed', $5)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(order_id.as_str())
    .bind(Json(lines))
    .bind(Json(totals))
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct EditRow {
    id: String,
    order_id: String,
    lines: Json<Vec<PricedLine>>,
    totals: Json<Totals>,
    state: String,
    reason: Option<String>,
    created_at: Instant,
}

pub(crate) async fn edit(pools: &Pools, id: &str) -> Result<Option<StoredEdit>> {
    edit_on(&mut *pools.read.acquire().await?, id).await
}

async fn edit_on(connection: &mut Conn, id: &str) -> Result<Option<StoredEdit>> {
    let row =
        sqlx::query_as::<Db, EditRow>("SELECT id, order_id, lines, totals, state, reason, created_at FROM edits WHERE id = $1")
            .bind(id)
            .fetch_optional(connection)
            .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(StoredEdit {
        id: row.id,
        order_id: OrderId::parse(row.order_id)?,
        lines: row.lines.0,
        totals: row.totals.0,
        state: word("edits.state", &row.state, ProposalState::parse)?,
        reason: row.reason,
        created_at: row.created_at,
    }))
}

/// Gives the order the address of a proposal of its own. An unknown one (named by hand, in a signal) changes nothing: a record
/// that fails would stop the order for good. The order's row must be locked.
pub(crate) async fn readdress(connection: &mut Conn, order: &OrderId, change: &str) -> Result<()> {
    let applied = sqlx::query::<Db>("UPDATE address_changes SET state = 'applied' WHERE id = $1 AND order_id = $2")
        .bind(change)
        .bind(order.as_str())
        .execute(&mut *connection)
        .await?;
    if applied.rows_affected() > 0 {
        sqlx::query::<Db>("UPDATE orders SET ship_to = (SELECT c.address FROM address_changes c WHERE c.id = $2) WHERE id = $1")
            .bind(order.as_str())
            .bind(change)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Gives the order other lines and sums, and the articles it is found by. The order's row must be locked.
pub(crate) async fn amend(connection: &mut Conn, order: &OrderId, amend: &Amend) -> Result<()> {
    let proposal = match &amend.edit {
        Some(id) => edit_on(connection, id).await?.filter(|edit| edit.order_id == *order),
        None => None,
    };
    let (own, placed_at) =
        sqlx::query_as::<Db, (Json<Vec<PricedLine>>, Instant)>("SELECT lines, placed_at FROM orders WHERE id = $1")
            .bind(order.as_str())
            .fetch_one(&mut *connection)
            .await?;
    let lines = match proposal {
        Some(edit) => {
            sqlx::query::<Db>("UPDATE edits SET state = 'applied', reason = NULL WHERE id = $1")
                .bind(&edit.id)
                .execute(&mut *connection)
                .await?;
            edit.lines
        }
        None => relined(&own, &amend.lines)?,
    };
    let totals = amend.totals;
    sqlx::query::<Db>("UPDATE orders SET lines = $2, totals = $3, total_minor = $4 WHERE id = $1")
        .bind(order.as_str())
        .bind(Json(&lines))
        .bind(Json(totals))
        .bind(totals.total.minor)
        .execute(&mut *connection)
        .await?;
    let skus: BTreeSet<&str> = lines.iter().map(|line| line.sku.as_str()).collect();
    sqlx::query::<Db>("DELETE FROM order_skus WHERE order_id = $1").bind(order.as_str()).execute(&mut *connection).await?;
    if skus.is_empty() {
        return Ok(());
    }
    let mut insert = QueryBuilder::<Db>::new("INSERT INTO order_skus (sku, placed_at, order_id) ");
    insert.push_values(skus, |mut row, sku| {
        row.push_bind(sku).push_bind(placed_at).push_bind(order.as_str());
    });
    insert.build().execute(connection).await?;
    Ok(())
}

/// The order's own lines with other quantities. Lines are matched by their place, or, where that is another article (the row was
/// amended before), by the article; one that the order never had is named by its article.
fn relined(own: &[PricedLine], wanted: &[AmendedLine]) -> Result<Vec<PricedLine>> {
    let mut lines = Vec::with_capacity(wanted.len());
    for (place, line) in wanted.iter().enumerate().filter(|(_, line)| line.quantity > 0) {
        let of = own.get(place).filter(|o| o.sku == line.sku).or_else(|| own.iter().find(|o| o.sku == line.sku));
        let (name, unit_price) = match of {
            Some(of) => (of.name.clone(), of.unit_price),
            None => {
                let unit = Money::new(line.total.minor / i64::from(line.quantity), line.total.currency);
                (Line::parse(line.sku.as_str())?, unit)
            }
        };
        let off = Money::new(unit_price.times(line.quantity)?.minor - line.total.minor, line.total.currency);
        lines.push(PricedLine {
            sku: line.sku.clone(),
            name,
            quantity: line.quantity,
            unit_price,
            discount: (off.minor > 0).then_some(off),
            total: line.total,
        });
    }
    Ok(lines)
}

/// Marks the proposal refused that a new fact says was refused.
pub(crate) async fn hear_refusal(connection: &mut Conn, order: &OrderId, fact: &Fact) -> Result<()> {
    let named = fact.key.strip_prefix("edit/").and_then(|rest| rest.strip_suffix("/refused"));
    let Some(id) = named.filter(|_| fact.kind == FactKind::OrderEditRefused) else { return Ok(()) };
    sqlx::query::<Db>("UPDATE edits SET state = 'refused', reason = $3 WHERE id = $1 AND order_id = $2 AND state = 'proposed'")
        .bind(id)
        .bind(order.as_str())
        .bind(fact.reason.as_deref())
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) async fn decision_token(pools: &Pools, order_id: &OrderId, round: u32, fresh: &str, now: Instant) -> Result<String> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "INSERT INTO decision_tokens (order_id, round, token, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (order_id, round) DO NOTHING",
    )
    .bind(order_id.as_str())
    .bind(i64::from(round))
    .bind(fresh)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    let token = sqlx::query_scalar::<Db, String>("SELECT token FROM decision_tokens WHERE order_id = $1 AND round = $2")
        .bind(order_id.as_str())
        .bind(i64::from(round))
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(token)
}

pub(crate) async fn decision_by_token(pools: &Pools, token: &str) -> Result<Option<(OrderId, u32)>> {
    let row = sqlx::query_as::<Db, (String, i64)>("SELECT order_id, round FROM decision_tokens WHERE token = $1")
        .bind(token)
        .fetch_optional(&pools.read)
        .await?;
    let Some((order, round)) = row else { return Ok(None) };
    let round = u32::try_from(round).map_err(|e| StoreError::corrupt("decision_tokens.round", e))?;
    Ok(Some((OrderId::parse(order)?, round)))
}
