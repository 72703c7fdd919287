//! Statements of the audit: sums, counted by the database.

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, Sku};
use oms_domain::life::Life;
use oms_domain::money::Money;
use oms_domain::order::{Reason, Status};
use oms_domain::pricing::{PricedLine, Totals};
use sqlx::types::Json;

use super::{Db, Pools, cut, unsigned, word};
use crate::Result;
use crate::audit::{OrderAudit, StockAudit};

#[derive(sqlx::FromRow)]
struct ShelfRow {
    sku: String,
    location: String,
    on_hand: i64,
    reserved: i64,
    movements_sum: i64,
    open_sum: i64,
    waiting_sum: i64,
    lapsed_sum: i64,
}

pub(crate) async fn stock(pools: &Pools, now: Instant) -> Result<Vec<StockAudit>> {
    let rows = sqlx::query_as::<Db, ShelfRow>(
        "SELECT s.sku, s.location, s.on_hand, s.reserved,
             COALESCE((SELECT CAST(SUM(m.quantity) AS BIGINT) FROM movements m
                 WHERE m.sku = s.sku AND m.location = s.location), 0) AS movements_sum,
             COALESCE((SELECT CAST(SUM(l.quantity - l.committed) AS BIGINT) FROM reservation_lines l
                 JOIN reservations r ON r.order_id = l.order_id AND r.revision = l.revision
                 WHERE l.sku = s.sku AND l.location = s.location AND r.state IN ('held', 'confirmed')), 0) AS open_sum,
             COALESCE((SELECT CAST(SUM(b.quantity) AS BIGINT) FROM backorders b WHERE b.sku = s.sku), 0) AS waiting_sum,
             COALESCE((SELECT CAST(SUM(l.quantity - l.committed) AS BIGINT) FROM reservation_lines l
                 JOIN reservations r ON r.order_id = l.order_id AND r.revision = l.revision
                 WHERE l.sku = s.sku AND l.location = s.location AND r.state = 'held' AND r.expires_at <= $1), 0) AS lapsed_sum
         FROM stock s ORDER BY s.sku, s.location",
    )
    .bind(cut(now))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(StockAudit {
                sku: Sku::parse(row.sku)?,
                location: Location::parse(row.location)?,
                on_hand: row.on_hand,
                reserved: row.reserved,
                movements_sum: row.movements_sum,
                open_reserved_sum: row.open_sum,
                waiting_sum: row.waiting_sum,
                live_reserved_sum: row.open_sum - row.lapsed_sum,
            })
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct OrderRow {
    id: String,
    status: String,
    reason: Option<String>,
    rev: i64,
    seq: i64,
    needs_attention: bool,
    test: bool,
    lines: Json<Vec<PricedLine>>,
    totals: Json<Totals>,
    life: Json<Life>,
    refunded_minor: i64,
    placed_at: Instant,
    updated_at: Instant,
    intake_at: Instant,
    held_units: i64,
    queued_units: i64,
    committed_units: i64,
    departed_units: i64,
    open_bookings: i64,
    open_refunds: i64,
    authorized: i64,
    captured: i64,
    voids: i64,
    timeline_count: i64,
    timeline_max_seq: i64,
    outbox_count: i64,
    outbox_unpublished_since: Option<Instant>,
    messages_count: i64,
    messages_open_since: Option<Instant>,
}

const ORDERS: &str =
    "SELECT o.id, o.status, o.reason, o.rev, o.seq, o.needs_attention, o.test, o.lines, o.totals, o.life, o.refunded_minor,
    o.placed_at, o.updated_at, o.intake_at,
    COALESCE((SELECT CAST(SUM(l.quantity - l.committed) AS BIGINT) FROM reservation_lines l
        JOIN reservations r ON r.order_id = l.order_id AND r.revision = l.revision
        WHERE l.order_id = o.id AND r.state IN ('held', 'confirmed')), 0) AS held_units,
    COALESCE((SELECT CAST(SUM(b.quantity) AS BIGINT) FROM backorders b WHERE b.order_id = o.id), 0) AS queued_units,
    COALESCE((SELECT CAST(SUM(l.committed) AS BIGINT) FROM reservation_lines l WHERE l.order_id = o.id), 0) AS committed_units,
    COALESCE((SELECT CAST(-SUM(m.quantity) AS BIGINT) FROM movements m
        WHERE m.order_id = o.id AND m.kind <> 'return'), 0) AS departed_units,
    (SELECT COUNT(*) FROM bookings b WHERE b.order_id = o.id AND b.cancelled_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM returns e WHERE e.id = b.shipment_id)) AS open_bookings,
    (SELECT COUNT(*) FROM refunds f WHERE f.order_id = o.id AND f.settled_at IS NULL) AS open_refunds,
    COALESCE((SELECT CAST(SUM(p.amount_minor) AS BIGINT) FROM payment_operations p
        WHERE p.order_id = o.id AND p.kind = 'authorize' AND p.outcome = 'held'), 0) AS authorized,
    COALESCE((SELECT CAST(SUM(p.amount_minor) AS BIGINT) FROM payment_operations p
        WHERE p.order_id = o.id AND p.kind = 'capture' AND p.outcome = 'captured'), 0) AS captured,
    (SELECT COUNT(*) FROM payment_operations p WHERE p.order_id = o.id AND p.kind = 'void') AS voids,
    (SELECT COUNT(*) FROM timeline t WHERE t.order_id = o.id) AS timeline_count,
    COALESCE((SELECT MAX(t.seq) FROM timeline t WHERE t.order_id = o.id), 0) AS timeline_max_seq,
    (SELECT COUNT(*) FROM outbox x WHERE x.order_id = o.id) AS outbox_count,
    (SELECT MIN(x.created_at) FROM outbox x WHERE x.order_id = o.id AND x.published_at IS NULL) AS outbox_unpublished_since,
    (SELECT COUNT(*) FROM messages g WHERE g.order_id = o.id) AS messages_count,
    (SELECT MIN(g.fact_at) FROM messages g WHERE g.order_id = o.id AND g.state IN ('pending', 'claimed')) AS messages_open_since
    FROM orders o WHERE o.id > $1 ORDER BY o.id LIMIT $2";

pub(crate) async fn alerts(pools: &Pools) -> Result<Vec<String>> {
    let ids = sqlx::query_scalar::<Db, String>("SELECT id FROM alerts WHERE way = 'mail'");
    Ok(ids.fetch_all(&pools.read).await?)
}

pub(crate) async fn orders(pools: &Pools, after: Option<&OrderId>, limit: u32) -> Result<Vec<OrderAudit>> {
    let rows = sqlx::query_as::<Db, OrderRow>(ORDERS)
        .bind(after.map_or("", OrderId::as_str))
        .bind(i64::from(limit))
        .fetch_all(&pools.read)
        .await?;
    rows.into_iter().map(audit).collect()
}

fn audit(row: OrderRow) -> Result<OrderAudit> {
    let currency = row.totals.total.currency;
    let mut life = row.life.0;
    life.payment.note_refunded(row.refunded_minor);
    Ok(OrderAudit {
        id: OrderId::parse(row.id)?,
        status: word("orders.status", &row.status, Status::parse)?,
        reason: row.reason.map(|reason| word("orders.reason", &reason, Reason::parse)).transpose()?,
        rev: unsigned("orders.rev", row.rev)?,
        seq: unsigned("orders.seq", row.seq)?,
        needs_attention: row.needs_attention,
        test: row.test,
        ordered_units: row.lines.iter().map(|l| u64::from(l.quantity)).sum(),
        totals: row.totals.0,
        life,
        placed_at: row.placed_at,
        updated_at: row.updated_at,
        intake_at: row.intake_at,
        held_units: unsigned("held_units", row.held_units)?,
        queued_units: unsigned("queued_units", row.queued_units)?,
        committed_units: unsigned("committed_units", row.committed_units)?,
        departed_units: unsigned("departed_units", row.departed_units)?,
        open_bookings: unsigned("open_bookings", row.open_bookings)?,
        open_refunds: unsigned("open_refunds", row.open_refunds)?,
        ledger_authorized: Money::new(row.authorized, currency),
        ledger_captured: Money::new(row.captured, currency),
        ledger_voids: unsigned("voids", row.voids)?,
        timeline_count: unsigned("timeline_count", row.timeline_count)?,
        timeline_max_seq: unsigned("timeline_max_seq", row.timeline_max_seq)?,
        outbox_count: unsigned("outbox_count", row.outbox_count)?,
        outbox_unpublished_since: row.outbox_unpublished_since,
        messages_count: unsigned("messages_count", row.messages_count)?,
        messages_open_since: row.messages_open_since,
    })
}
