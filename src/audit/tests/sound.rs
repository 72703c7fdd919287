//! Books that balance, and the parts they are made of.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::Instant;
use oms_domain::ids::{Location, MessageId, OrderId, ShipmentId, Sku};
use oms_domain::life::Life;
use oms_domain::message::{Channel, Topic};
use oms_domain::money::{Currency, Money};
use oms_domain::order::Status;
use oms_domain::payment::PaymentStatus;
use oms_domain::pricing::Totals;
use oms_domain::refund::{Ask, Breakdown, RefundId, RefundState};
use oms_domain::shipment::{Shipment, ShipmentStatus};
use oms_domain::stock::Quantity;
use oms_gateways::carrier::{BookingStatus, SandboxBooking};
use oms_gateways::payment::{OperationKind as GatewayKind, OperationResult, SandboxOperation, SandboxPayment};
use oms_store::{MessageRow, MessageState, OperationKind, OrderAudit, PaymentOperation, StockAudit, StoredRefund};

use super::super::sources::{OrderBooks, Runs, Sources, Written};

pub(super) const WORTH: i64 = 2_000;

pub(super) fn at(seconds: i64) -> Instant {
    Instant::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}
pub(super) fn now() -> Instant {
    at(1_000)
}
pub(super) fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}
pub(super) fn id(name: &str) -> OrderId {
    OrderId::from_key("t", "c", name)
}
pub(super) fn mug() -> Sku {
    Sku::parse("MUG").unwrap()
}
pub(super) fn berlin() -> Location {
    Location::parse("berlin").unwrap()
}

pub(super) fn shipment(order: &OrderId, status: ShipmentStatus) -> Shipment {
    Shipment {
        id: ShipmentId::of(order, 1),
        location: berlin(),
        status,
        lines: vec![Quantity { sku: mug(), quantity: 2 }],
        amount: eur(WORTH),
        carrier: None,
        tracking_number: None,
        more_packages: Vec::new(),
        stray: false,
    }
}

pub(super) fn row(order: &OrderId, status: Status) -> OrderAudit {
    let mut life = Life::placed(Currency::parse("EUR").unwrap());
    life.status = status;
    OrderAudit {
        id: order.clone(),
        status,
        reason: None,
        rev: 4,
        seq: 6,
        needs_attention: false,
        test: true,
        totals: Totals { subtotal: eur(1_500), discount: None, shipping: eur(181), tax: eur(319), total: eur(WORTH) },
        life,
        placed_at: at(0),
        updated_at: at(100),
        intake_at: at(0),
        ordered_units: 2,
        held_units: 0,
        queued_units: 0,
        committed_units: 0,
        departed_units: 0,
        open_bookings: 0,
        open_refunds: 0,
        ledger_authorized: eur(0),
        ledger_captured: eur(0),
        ledger_voids: 0,
        timeline_count: 6,
        timeline_max_seq: 6,
        outbox_count: 6,
        outbox_unpublished_since: None,
        messages_count: 1,
        messages_open_since: None,
    }
}

pub(super) fn ours(order: &OrderId, kind: OperationKind, outcome: &str) -> PaymentOperation {
    PaymentOperation {
        key: format!("{order}/{}", kind.as_str()),
        kind,
        payment_id: Some(format!("pay_{order}")),
        shipment_id: None,
        amount: (kind != OperationKind::Void).then(|| eur(WORTH)),
        outcome: outcome.to_owned(),
        at: at(10),
    }
}

pub(super) fn theirs(order: &OrderId, kind: GatewayKind, amount: i64) -> SandboxOperation {
    let key = format!("{order}/{}", kind.as_str());
    SandboxOperation { key, kind, amount: eur(amount), result: OperationResult::Ok, at: at(10) }
}

pub(super) fn payment(
    order: &OrderId,
    status: PaymentStatus,
    captured: i64,
    operations: Vec<SandboxOperation>,
) -> SandboxPayment {
    SandboxPayment {
        payment_id: format!("pay_{order}"),
        order_id: order.clone(),
        status,
        authorized: eur(WORTH),
        captured: eur(captured),
        refunded: eur(0),
        operations,
    }
}

pub(super) fn message(order: &OrderId, topic: Topic) -> MessageRow {
    MessageRow {
        id: MessageId::of(order, topic.as_str(), "mail"),
        topic,
        channel: Channel::Mail,
        shipment: None,
        fact_at: at(100),
        state: MessageState::Sent,
        batch_id: None,
        settled_at: None,
        why: None,
        resent_of: None,
    }
}

/// An order of which nothing is on record but its row.
pub(super) fn books(row: OrderAudit) -> OrderBooks {
    OrderBooks { row, payments: Vec::new(), refunds: Vec::new(), messages: Vec::new(), failures_seen: BTreeSet::new() }
}

pub(super) fn refund(order: &OrderId, state: RefundState) -> StoredRefund {
    let settled_at = state.is_settled().then(|| at(60));
    StoredRefund {
        id: RefundId::from_key(order.as_str(), "back"),
        order_id: order.clone(),
        state,
        amount: eur(500),
        returned: eur(if state == RefundState::Returned { 500 } else { 0 }),
        ask: Ask::default(),
        breakdown: Breakdown { lines: Vec::new(), shipping: None, amount: eur(500) },
        parts: Vec::new(),
        reason: "broken".to_owned(),
        actor: "api".to_owned(),
        terms: serde_json::Value::Null,
        revision: 1,
        code: None,
        reference: None,
        created_at: at(50),
        updated_at: at(60),
        settled_at,
    }
}

/// Gives some of the delivered order's money back, on all sides.
pub(super) fn give_back(sources: &mut Sources) {
    let order = &mut sources.orders[0];
    order.refunds = vec![refund(&order.row.id, RefundState::Returned)];
    order.row.life.payment.refunded = eur(500);
    let row = PaymentOperation { amount: Some(eur(500)), ..ours(&order.row.id, OperationKind::Refund, "returned") };
    order.payments.push(row);
    sources.payments[0].refunded = eur(500);
    sources.payments[0].operations.push(theirs(&id("delivered"), GatewayKind::Refund, 500));
}

/// A real gateway is in force, of whose payments only the sums are known.
pub(super) fn pay_for_real(sources: &mut Sources) {
    sources.real_gateway = true;
    for order in &mut sources.orders {
        order.row.test = false;
    }
    for payment in &mut sources.payments {
        payment.operations.truncate(1);
    }
}

/// Makes the delivered order owe money.
pub(super) fn owe(sources: &mut Sources) {
    let order = &mut sources.orders[0];
    order.refunds = vec![refund(&order.row.id, RefundState::Refused)];
    order.row.open_refunds = 1;
}

/// Lets the open order wait for two more units.
pub(super) fn backorder(sources: &mut Sources) {
    let row = &mut sources.orders[2].row;
    row.ordered_units = 4;
    row.life.waiting = vec![Quantity { sku: mug(), quantity: 2 }];
    row.queued_units = 2;
    row.life.shipments[0].amount = eur(WORTH / 2);
    sources.stock[0].waiting_sum = 2;
    (sources.stock[0].on_hand, sources.stock[0].movements_sum) = (2, 2);
}

pub(super) fn payment_of_edit(sources: &mut Sources) {
    let mut second = sources.payments[2].clone();
    second.payment_id = "pay_second".to_owned();
    second.operations[0].key = format!("{}/authorize/{}", second.order_id, sources.payments.len());
    sources.payments.push(second);
}

/// Three orders that are as they should be: 0 delivered, 1 cancelled after its money was held, 2 confirmed and waiting.
pub(super) fn sound() -> Sources {
    let (delivered, cancelled, open) = (id("delivered"), id("cancelled"), id("open"));
    let mut one = row(&delivered, Status::Completed);
    one.life.shipments = vec![shipment(&delivered, ShipmentStatus::Delivered)];
    (one.life.payment.authorized, one.life.payment.captured) = (eur(WORTH), eur(WORTH));
    (one.ledger_authorized, one.ledger_captured) = (eur(WORTH), eur(WORTH));
    (one.committed_units, one.departed_units, one.open_bookings) = (2, 2, 1);
    let mut two = row(&cancelled, Status::Cancelled);
    (two.ledger_authorized, two.ledger_voids, two.life.payment.authorized) = (eur(WORTH), 1, eur(WORTH));
    let mut three = row(&open, Status::Confirmed);
    three.life.shipments = vec![shipment(&open, ShipmentStatus::Booked)];
    (three.held_units, three.open_bookings, three.ledger_authorized) = (2, 1, eur(WORTH));
    three.life.payment.authorized = eur(WORTH);
    three.life.payment.status = PaymentStatus::Authorized;
    let held = |order: &OrderId| ours(order, OperationKind::Authorize, "held");
    let authorized = |order: &OrderId| theirs(order, GatewayKind::Authorize, WORTH);
    let orders = vec![
        OrderBooks {
            payments: vec![held(&delivered), ours(&delivered, OperationKind::Capture, "captured")],
            messages: vec![message(&delivered, Topic::Delivered)],
            ..books(one)
        },
        OrderBooks {
            payments: vec![held(&cancelled), ours(&cancelled, OperationKind::Void, "voided")],
            messages: vec![message(&cancelled, Topic::Cancelled)],
            ..books(two)
        },
        OrderBooks { payments: vec![held(&open)], messages: vec![message(&open, Topic::Confirmed)], ..books(three) },
    ];
    let mail: BTreeSet<String> = orders.iter().flat_map(|o| &o.messages).map(|m| m.id.to_string()).collect();
    let capture = theirs(&delivered, GatewayKind::Capture, WORTH);
    let void = theirs(&cancelled, GatewayKind::Void, WORTH);
    Sources {
        altered: BTreeMap::new(),
        stopped: false,
        now: now(),
        stock: vec![StockAudit {
            sku: mug(),
            location: berlin(),
            on_hand: 8,
            reserved: 2,
            movements_sum: 8,
            open_reserved_sum: 2,
            waiting_sum: 0,
            live_reserved_sum: 2,
        }],
        payments: vec![
            payment(&delivered, PaymentStatus::Captured, WORTH, vec![authorized(&delivered), capture]),
            payment(&cancelled, PaymentStatus::Voided, 0, vec![authorized(&cancelled), void]),
            payment(&open, PaymentStatus::Authorized, 0, vec![authorized(&open)]),
        ],
        real_gateway: false,
        bookings: vec![booking(&delivered), booking(&open)],
        items: Vec::new(),
        alerts: BTreeSet::new(),
        runs: Runs { open: [(open, at(0))].into(), refunds: BTreeSet::new() },
        written: Written { mail: Some(mail), sms: Some(BTreeSet::new()), old: BTreeSet::new() },
        orders,
    }
}

pub(super) fn booking(order: &OrderId) -> SandboxBooking {
    SandboxBooking {
        reference: format!("bk_{order}"),
        book_key: format!("{order}-1/book/1"),
        shipment_id: ShipmentId::of(order, 1),
        location: berlin(),
        status: BookingStatus::Booked,
        carrier: "sandbox".to_owned(),
        tracking_number: "SBX1".to_owned(),
        booked_at: at(10),
        cancelled_at: None,
    }
}
