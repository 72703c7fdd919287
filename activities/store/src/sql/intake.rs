//! Statements of the intake.

use std::collections::BTreeMap;

use oms_domain::Instant;
use oms_domain::ids::{OrderId, Sku};
use oms_domain::life::Life;
use oms_domain::money::MoneyError;
use oms_domain::pricing::{PriceRules, PricedLine, Totals, excessive, reprice};
use oms_domain::shortage::OnShortage;
use serde_json::Value;
use sqlx::types::Json;

use super::orders::order_locked;
use super::{Conn, Db, Pools, catalogue, cut};
use crate::catalogue::Product;
use crate::intake::{Intake, NewOrder, Unstarted};
use crate::orders::StoredOrder;
use crate::{Result, StoreError};

pub(crate) async fn intake(pools: &Pools, new: &NewOrder, rules: &PriceRules, now: Instant) -> Result<Intake> {
    let mut tx = pools.begin().await?;
    // the row of an earlier request comes first: its prices are frozen, whatever became of the catalogue since
    let mut known = order_locked(&mut tx, &new.id).await?;
    if known.is_none() {
        if is_gone(&mut tx, &new.id).await? {
            return Ok(Intake::Gone);
        }
        let (lines, totals) = match price(&mut tx, new, rules).await? {
            Ok(priced) => priced,
            Err(refused) => return Ok(refused),
        };
        let order = placed(new, rules, (lines, totals), now);
        if insert(&mut tx, &order, &new.terms).await? {
            insert_skus(&mut tx, &order).await?;
            tx.commit().await?;
            return Ok(Intake::Placed(order));
        }
        // somebody else was faster; the insert has waited for them
        known = order_locked(&mut tx, &new.id).await?;
    }
    // forgotten between the two statements: nobody was promised anything, so asking again is right
    let lost = || StoreError::Unavailable { detail: "the order's row was removed just now".to_owned() };
    let mut known = known.ok_or_else(lost)?;
    if known.fingerprint != new.fingerprint || known.client != new.client {
        return Ok(Intake::KeyReused);
    }
    if known.rev == 0 && known.intake_at < cut(now) {
        known.intake_at = cut(now);
        sqlx::query::<Db>("UPDATE orders SET intake_at = $2 WHERE id = $1")
            .bind(known.id.as_str())
            .bind(known.intake_at)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(Intake::Known(known))
}

/// Whether the id was an order's that has been removed. Its effects would repeat the keys of that one's.
async fn is_gone(connection: &mut Conn, id: &OrderId) -> Result<bool> {
    let gone = sqlx::query_scalar::<Db, String>("SELECT id FROM gone_orders WHERE id = $1").bind(id.as_str());
    Ok(gone.fetch_optional(connection).await?.is_some())
}

/// Prices the lines from the catalogue. The inner error is the answer to the client.
async fn price(connection: &mut Conn, new: &NewOrder, rules: &PriceRules) -> Result<std::result::Result<Priced, Intake>> {
    let products: BTreeMap<Sku, Product> =
        catalogue::of(connection, new.lines.iter().map(|l| &l.sku)).await?.into_iter().map(|p| (p.sku.clone(), p)).collect();
    let lines_where = |bad: &dyn Fn(Option<&Product>) -> bool| -> Vec<usize> {
        new.lines.iter().enumerate().filter(|(_, l)| bad(products.get(&l.sku))).map(|(at, _)| at).collect()
    };
    let unknown = lines_where(&|product| product.is_none());
    if !unknown.is_empty() {
        return Ok(Err(Intake::UnknownSku { lines: unknown }));
    }
    let foreign = lines_where(&|product| product.is_some_and(|p| p.price.currency != new.currency));
    if let Some(product) = foreign.first().and_then(|at| products.get(&new.lines[*at].sku)) {
        return Ok(Err(Intake::CurrencyMismatch { expected: product.price.currency, lines: foreign }));
    }
    let mut lines = Vec::with_capacity(new.lines.len());
    for line in &new.lines {
        let Some(product) = products.get(&line.sku) else { continue };
        let Ok(total) = product.price.times(line.quantity) else { return Ok(Err(Intake::TooLarge)) };
        lines.push(PricedLine {
            sku: line.sku.clone(),
            name: product.name.clone(),
            quantity: line.quantity,
            unit_price: product.price,
            discount: None,
            total,
        });
    }
    Ok(discounted(new, &lines, rules).unwrap_or(Err(Intake::TooLarge)))
}

type Priced = (Vec<PricedLine>, Totals);

/// Takes the discounts off. The outer error: a sum is too large, before discounts or after.
fn discounted(
    new: &NewOrder,
    lines: &[PricedLine],
    rules: &PriceRules,
) -> std::result::Result<std::result::Result<Priced, Intake>, MoneyError> {
    rules.totals(lines, new.currency)?;
    if let Some(discount) = excessive(lines, &new.discounts, new.currency)? {
        return Ok(Err(Intake::DiscountTooLarge { discount }));
    }
    Ok(Ok(reprice(lines, &new.discounts, rules, new.currency)?))
}

fn placed(new: &NewOrder, rules: &PriceRules, (lines, totals): Priced, now: Instant) -> StoredOrder {
    StoredOrder {
        id: new.id.clone(),
        client: new.client.clone(),
        fingerprint: new.fingerprint.clone(),
        reference: new.reference.clone(),
        channel: new.channel.clone(),
        customer: new.customer.clone(),
        ship_to: new.ship_to.clone(),
        bill_to: new.bill_to.clone(),
        currency: new.currency,
        payment_method: new.payment_method.clone(),
        lines,
        totals,
        discounts: new.discounts.clone(),
        price_rules: Some(*rules),
        on_shortage: new.on_shortage,
        life: Life::placed(new.currency),
        items_open: false,
        action_url: None,
        shape: new.shape,
        build: None,
        rev: 0,
        seq: 0,
        test: new.test,
        placed_at: cut(now),
        updated_at: cut(now),
        intake_at: cut(now),
    }
}

/// `false`: the row exists.
async fn insert(connection: &mut Conn, order: &StoredOrder, terms: &Value) -> Result<bool> {
    let inserted = sqlx::query::<Db>(
        "INSERT INTO orders (id, client, fingerprint, reference, channel, customer_id, email, has_phone, customer, ship_to,
             currency, payment_method, lines, totals, total_minor, life, status, reason, needs_attention, rev, seq, test,
             placed_at, updated_at, intake_at, bill_to, discounts, price_rules, on_shortage, shape, terms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, NULL, $18, 0, 0, $19, $20, $20, $20,
             $21, $22, $23, $24, $25, $26)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(order.id.as_str())
    .bind(&order.client)
    .bind(&order.fingerprint)
    .bind(order.reference.as_ref().map(|r| r.as_str()))
    .bind(order.channel.as_ref().map(|c| c.as_str()))
    .bind(order.customer.id.as_str())
    .bind(order.customer.email.as_str().to_ascii_lowercase())
    .bind(order.customer.phone.is_some())
    .bind(Json(&order.customer))
    .bind(Json(&order.ship_to))
    .bind(order.currency.to_string())
    .bind(&order.payment_method.0)
    .bind(Json(&order.lines))
    .bind(Json(&order.totals))
    .bind(order.totals.total.minor)
    .bind(Json(&order.life))
    .bind(order.life.status.as_str())
    .bind(!order.life.attention.is_empty())
    .bind(order.test)
    .bind(order.placed_at)
    .bind(order.bill_to.as_ref().map(Json))
    .bind(Some(&order.discounts).filter(|d| !d.is_empty()).map(Json))
    .bind(order.price_rules.map(Json))
    .bind(Some(order.on_shortage).filter(|s| *s != OnShortage::default()).map(Json))
    .bind(i64::from(order.shape))
    .bind(Json(terms))
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

async fn insert_skus(connection: &mut Conn, order: &StoredOrder) -> Result<()> {
    let skus: std::collections::BTreeSet<&Sku> = order.lines.iter().map(|l| &l.sku).collect();
    if skus.is_empty() {
        return Ok(());
    }
    let mut insert = sqlx::QueryBuilder::<Db>::new("INSERT INTO order_skus (sku, placed_at, order_id) ");
    insert.push_values(skus, |mut row, sku| {
        row.push_bind(sku.as_str()).push_bind(order.placed_at).push_bind(order.id.as_str());
    });
    insert.build().execute(connection).await?;
    Ok(())
}

pub(crate) async fn terms(pools: &Pools, id: &OrderId) -> Result<Option<Value>> {
    let terms = sqlx::query_scalar::<Db, Option<Json<Value>>>("SELECT terms FROM orders WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&pools.read)
        .await?;
    Ok(terms.flatten().map(|terms| terms.0))
}

pub(crate) async fn unstarted(pools: &Pools, intake_before: Instant, limit: u32) -> Result<Vec<Unstarted>> {
    let rows = sqlx::query_as::<Db, (String, Instant)>(
        "SELECT id, intake_at FROM orders WHERE rev = 0 AND intake_at < $1 ORDER BY intake_at, id LIMIT $2",
    )
    .bind(cut(intake_before))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter().map(|(id, intake_at)| Ok(Unstarted { id: OrderId::parse(id)?, intake_at })).collect()
}

pub(crate) async fn forget(pools: &Pools, id: &OrderId, intake_at: Instant) -> Result<bool> {
    let mut tx = pools.begin().await?;
    let gone = sqlx::query::<Db>("DELETE FROM orders WHERE id = $1 AND rev = 0 AND intake_at = $2")
        .bind(id.as_str())
        .bind(cut(intake_at))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(gone.rows_affected() > 0)
}
