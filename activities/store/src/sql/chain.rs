//! The chain of an order's facts: each carries a hash over itself and the hash of the one before it.

use oms_domain::Instant;
use oms_domain::event::Fact;
use oms_domain::ids::OrderId;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::types::Json;

use super::{Conn, Db, Pools, cut, signed, unsigned};
use crate::Result;

/// What is hashed of a fact: everything that the timeline says, in one order.
#[derive(sqlx::FromRow)]
struct Said {
    order_id: String,
    seq: i64,
    key: String,
    kind: String,
    at: Instant,
    actor: String,
    reason: Option<String>,
    shipment_id: Option<String>,
    amount_minor: Option<i64>,
    currency: Option<String>,
    hash: Option<String>,
}

impl Said {
    fn link(&self, before: &str) -> String {
        let said = json!([
            before,
            self.order_id,
            self.seq,
            self.key,
            self.kind,
            self.at.timestamp_micros(),
            self.actor,
            self.reason,
            self.shipment_id,
            self.amount_minor,
            self.currency,
        ]);
        hex::encode(Sha256::digest(said.to_string()))
    }
}

/// The hash of the fact with this number; empty before the first one, and behind facts of earlier versions.
async fn newest(connection: &mut Conn, order: &OrderId, seq: u64) -> Result<String> {
    let hash = sqlx::query_scalar::<Db, Option<String>>("SELECT hash FROM timeline WHERE order_id = $1 AND seq = $2")
        .bind(order.as_str())
        .bind(signed(seq))
        .fetch_optional(connection)
        .await?;
    Ok(hash.flatten().unwrap_or_default())
}

/// The hashes of new facts behind the ones that are there, in order. The order's row must be locked.
pub(crate) async fn links(connection: &mut Conn, order: &OrderId, facts: &[(u64, &Fact)]) -> Result<Vec<String>> {
    let first = facts.first().map_or(1, |(seq, _)| *seq);
    let mut before = if first > 1 { newest(connection, order, first - 1).await? } else { String::new() };
    let mut links = Vec::with_capacity(facts.len());
    for (seq, fact) in facts {
        let said = Said {
            order_id: order.as_str().to_owned(),
            seq: signed(*seq),
            key: fact.key.clone(),
            kind: fact.kind.as_str().to_owned(),
            at: cut(fact.at),
            actor: fact.actor.clone(),
            reason: fact.reason.clone(),
            shipment_id: fact.shipment.as_ref().map(|s| s.as_str().to_owned()),
            amount_minor: fact.amount.map(|a| a.minor),
            currency: fact.amount.map(|a| a.currency.to_string()),
            hash: None,
        };
        before = said.link(&before);
        links.push(before.clone());
    }
    Ok(links)
}

pub(crate) async fn broken(pools: &Pools, orders: &[OrderId]) -> Result<Vec<(OrderId, u64)>> {
    let ids: Vec<&str> = orders.iter().map(OrderId::as_str).collect();
    let rows = sqlx::query_as::<Db, Said>(concat!(
        "SELECT order_id, seq, key, kind, at, actor, reason, shipment_id, amount_minor, currency, hash FROM timeline
         WHERE order_id ",
        one_of!("$1"),
        " ORDER BY order_id, seq"
    ))
    .bind(Json(ids))
    .fetch_all(&pools.read)
    .await?;
    let mut broken: Vec<(OrderId, u64)> = Vec::new();
    let mut before: Option<&Said> = None;
    for row in &rows {
        let of_same = before.filter(|b| b.order_id == row.order_id);
        before = Some(row);
        // what stood before the oldest row may have gone by age
        let anchored = row.seq == 1 || of_same.is_some();
        let (Some(hash), true) = (&row.hash, anchored) else { continue };
        let previous = of_same.and_then(|b| b.hash.as_deref()).unwrap_or_default();
        let follows = of_same.is_none_or(|b| b.seq + 1 == row.seq);
        if (*hash != row.link(previous) || !follows) && broken.last().is_none_or(|(id, _)| id.as_str() != row.order_id) {
            broken.push((OrderId::parse(row.order_id.clone())?, unsigned("timeline.seq", row.seq)?));
        }
    }
    Ok(broken)
}
