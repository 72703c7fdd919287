//! Statements that read orders.

use oms_domain::Instant;
use oms_domain::customer::{Address, Customer, Line};
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::life::Life;
use oms_domain::money::Currency;
use oms_domain::payment::{PaymentMethod, PaymentStatus};
use oms_domain::pricing::{Discount, PriceRules, PricedLine, Totals};
use oms_domain::shipment::{ScanType, Shipment};
use oms_domain::shortage::OnShortage;
use sqlx::QueryBuilder;
use sqlx::types::Json;

use super::{Conn, Db, Pools, cut, unsigned};
use crate::orders::{Cursor, OrderFilter, StoredOrder};
use crate::{Result, StoreError};

/// The warehouse's reports of an order or shipment, and the carrier's that name a package, in one text: reports are parted by U+001E, their fields by U+001F, which no
/// report can hold. `$of` says whose. (A JSON aggregate would be spelled differently on each database.)
macro_rules! scans {
    ($of:literal) => {
        concat!(
            "(SELECT string_agg(e.shipment_id || '\u{1f}' || e.rank || '\u{1f}' || COALESCE(e.carrier, '') || '\u{1f}' || ",
            "COALESCE(e.tracking_number, ''), '\u{1e}' ORDER BY e.recorded_at, e.event_id) ",
            "FROM shipment_events e WHERE (e.rank < 3 OR e.tracking_number IS NOT NULL) AND ",
            $of,
            ") AS scans"
        )
    };
}
pub(crate) use scans;

/// The columns of an [`OrderRow`] of `orders o`.
macro_rules! order_columns {
    () => {
        concat!(
            "o.id, o.client, o.fingerprint, o.reference, o.channel, o.customer, o.ship_to, o.currency, o.payment_method, o.lines, ",
            "o.totals, o.discounts, o.price_rules, o.on_shortage, o.bill_to, o.life, o.needs_attention, o.shape, o.build, o.rev, o.seq, ",
            "o.refunded_minor, o.test, o.placed_at, o.updated_at, o.intake_at, ",
            "(SELECT p.action_url FROM payment_operations p WHERE p.order_id = o.id AND p.outcome = 'action_required' ",
            "ORDER BY p.created_at DESC LIMIT 1) AS action_url, ",
            scans!("e.order_id = o.id")
        )
    };
}
pub(crate) use order_columns;

#[derive(sqlx::FromRow)]
pub(crate) struct OrderRow {
    id: String,
    client: String,
    fingerprint: String,
    reference: Option<String>,
    channel: Option<String>,
    customer: Json<Customer>,
    ship_to: Json<Address>,
    currency: String,
    payment_method: String,
    lines: Json<Vec<PricedLine>>,
    totals: Json<Totals>,
    discounts: Option<Json<Vec<Discount>>>,
    price_rules: Option<Json<PriceRules>>,
    on_shortage: Option<Json<OnShortage>>,
    bill_to: Option<Json<Address>>,
    life: Json<Life>,
    needs_attention: bool,
    shape: i64,
    build: Option<String>,
    rev: i64,
    seq: i64,
    refunded_minor: i64,
    test: bool,
    placed_at: Instant,
    updated_at: Instant,
    intake_at: Instant,
    action_url: Option<String>,
    scans: Option<String>,
}

impl OrderRow {
    pub(crate) fn read(self) -> Result<StoredOrder> {
        let line = |text: Option<String>| text.map(Line::parse).transpose();
        let mut life = self.life.0;
        refine(&mut life.shipments, self.scans.as_deref())?;
        life.payment.note_refunded(self.refunded_minor);
        let acts = life.payment.status == PaymentStatus::RequiresAction;
        Ok(StoredOrder {
            id: OrderId::parse(self.id)?,
            client: self.client,
            fingerprint: self.fingerprint,
            reference: line(self.reference)?,
            channel: line(self.channel)?,
            customer: self.customer.0,
            ship_to: self.ship_to.0,
            bill_to: self.bill_to.map(|a| a.0),
            currency: Currency::parse(&self.currency).map_err(|e| StoreError::corrupt("orders.currency", e))?,
            payment_method: PaymentMethod(self.payment_method),
            lines: self.lines.0,
            totals: self.totals.0,
            discounts: self.discounts.map(|d| d.0).unwrap_or_default(),
            price_rules: self.price_rules.map(|r| r.0),
            on_shortage: self.on_shortage.map(|s| s.0).unwrap_or_default(),
            life,
            items_open: self.needs_attention,
            action_url: self.action_url.filter(|_| acts),
            shape: u32::try_from(self.shape).map_err(|e| StoreError::corrupt("orders.shape", e))?,
            build: self.build,
            rev: unsigned("orders.rev", self.rev)?,
            seq: unsigned("orders.seq", self.seq)?,
            test: self.test,
            placed_at: self.placed_at,
            updated_at: self.updated_at,
            intake_at: self.intake_at,
        })
    }
}

/// Adds to shipments what their order's run was not told: `picked`, `packed`, packages; those too that were reported when it had
/// closed.
pub(crate) fn refine(shipments: &mut [Shipment], scans: Option<&str>) -> Result<()> {
    let mut furthest = vec![0u8; shipments.len()];
    for scan in scans.unwrap_or_default().split('\u{1e}').filter(|s| !s.is_empty()) {
        let fields: Vec<&str> = scan.split('\u{1f}').collect();
        let [shipment, rank, carrier, tracking_number] = fields[..] else {
            return Err(StoreError::corrupt("shipment_events", "a report of other than four fields"));
        };
        let rank: u8 = rank.parse().map_err(|e| StoreError::corrupt("shipment_events.rank", e))?;
        let Some(at) = shipments.iter().position(|s| s.id.as_str() == shipment) else { continue };
        let some = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let (carrier, tracking_number) = (some(carrier), some(tracking_number));
        if (ScanType::Picked.rank()..ScanType::Shipped.rank()).contains(&rank) {
            furthest[at] = furthest[at].max(rank);
            shipments[at].note_package(carrier.as_deref(), tracking_number.as_deref());
        } else {
            shipments[at].note_late(carrier.as_deref(), tracking_number.as_deref());
        }
    }
    for (shipment, rank) in shipments.iter_mut().zip(furthest) {
        shipment.status = shipment.status.with_scans(rank);
    }
    Ok(())
}

pub(crate) async fn order(pools: &Pools, id: &OrderId) -> Result<Option<StoredOrder>> {
    order_on(&mut *pools.read.acquire().await?, id).await
}

async fn order_on(connection: &mut Conn, id: &OrderId) -> Result<Option<StoredOrder>> {
    let row = sqlx::query_as::<Db, OrderRow>(concat!("SELECT ", order_columns!(), " FROM orders o WHERE o.id = $1"))
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    row.map(OrderRow::read).transpose()
}

/// One order, locked.
pub(crate) async fn order_locked(connection: &mut Conn, id: &OrderId) -> Result<Option<StoredOrder>> {
    let row =
        sqlx::query_as::<Db, OrderRow>(concat!("SELECT ", order_columns!(), " FROM orders o WHERE o.id = $1", for_update!("o")))
            .bind(id.as_str())
            .fetch_optional(connection)
            .await?;
    row.map(OrderRow::read).transpose()
}

pub(crate) async fn orders(pools: &Pools, filter: &OrderFilter, after: Option<&Cursor>, limit: u32) -> Result<Vec<StoredOrder>> {
    let rows = listing(filter, after, limit).build_query_as::<OrderRow>().fetch_all(&pools.read).await?;
    rows.into_iter().map(OrderRow::read).collect()
}

/// The one query of a list.
pub(crate) fn listing(filter: &OrderFilter, after: Option<&Cursor>, limit: u32) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::<Db>::new(concat!("SELECT ", order_columns!(), " FROM "));
    // an article's orders are walked on the index of its own table, all others on one of the orders
    let (placed_at, id) = match &filter.sku {
        Some(sku) => {
            query.push("order_skus k CROSS JOIN orders o WHERE o.id = k.order_id AND k.sku = ").push_bind(sku.as_str());
            ("k.placed_at", "k.order_id")
        }
        None => {
            query.push("orders o WHERE 1 = 1");
            ("o.placed_at", "o.id")
        }
    };
    restrict(&mut query, filter);
    if let Some(cursor) = after {
        query.push(format_args!(" AND ({placed_at}, {id}) < (")).push_bind(cut(cursor.placed_at));
        query.push(", ").push_bind(cursor.id.as_str()).push(")");
    }
    if let Some(at) = filter.placed_after {
        query.push(format_args!(" AND {placed_at} >= ")).push_bind(cut(at));
    }
    if let Some(at) = filter.placed_before {
        query.push(format_args!(" AND {placed_at} < ")).push_bind(cut(at));
    }
    query.push(format_args!(" ORDER BY {placed_at} DESC, {id} DESC LIMIT ")).push_bind(i64::from(limit));
    query
}

/// Only the conditions that are asked for, so that each question runs on its own index.
pub(crate) fn restrict(query: &mut QueryBuilder<Db>, filter: &OrderFilter) {
    let texts = [
        (" AND o.status = ", filter.status.map(|s| s.as_str().to_owned()), ""),
        (" AND o.reason = ", filter.reason.map(|r| r.as_str().to_owned()), ""),
        (" AND o.customer_id = ", filter.customer.as_ref().map(|c| c.as_str().to_owned()), ""),
        (" AND o.reference = ", filter.reference.clone(), ""),
        (" AND o.email = ", filter.email.as_ref().map(|e| e.to_ascii_lowercase()), ""),
        (" AND o.id IN (SELECT order_id FROM order_holds WHERE kind = ", filter.hold.clone(), ")"),
        (" AND o.id IN (SELECT order_id FROM packages WHERE tracking_number = ", filter.tracking_number.clone(), ")"),
    ];
    for (before, value, behind) in texts {
        if let Some(value) = value {
            query.push(before).push_bind(value).push(behind);
        }
    }
    for (before, minor) in [(" AND o.total_minor >= ", filter.total_min), (" AND o.total_minor <= ", filter.total_max)] {
        if let Some(minor) = minor {
            query.push(before).push_bind(minor);
        }
    }
    match filter.needs_attention {
        Some(true) => query.push(" AND o.needs_attention"),
        Some(false) => query.push(" AND NOT o.needs_attention"),
        None => query,
    };
}

/// Remembers a package's number, so that the order is found by it.
pub(crate) async fn remember_package(
    connection: &mut Conn,
    order: &OrderId,
    shipment: &ShipmentId,
    tracking_number: &str,
) -> Result<()> {
    sqlx::query::<Db>(
        "INSERT INTO packages (tracking_number, shipment_id, order_id) VALUES ($1, $2, $3)
         ON CONFLICT (tracking_number, shipment_id) DO NOTHING",
    )
    .bind(tracking_number)
    .bind(shipment.as_str())
    .bind(order.as_str())
    .execute(connection)
    .await?;
    Ok(())
}
