//! Every rule is broken by hand, one at a time, in books that balance otherwise.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use oms_domain::Instant;
use oms_domain::ids::{Location, MessageId, OrderId, ShipmentId, Sku};
use oms_domain::life::{Attention as Flag, Life};
use oms_domain::message::{Channel, Topic};
use oms_domain::money::{Currency, Money};
use oms_domain::order::{Reason, Status};
use oms_domain::payment::PaymentStatus;
use oms_domain::pricing::Totals;
use oms_domain::shipment::{Shipment, ShipmentStatus};
use oms_domain::stock::Quantity;
use oms_gateways::carrier::{BookingStatus, SandboxBooking};
use oms_gateways::payment::{OperationKind as GatewayKind, OperationResult, SandboxOperation, SandboxPayment};
use oms_store::{MessageRow, MessageState, OperationKind, OrderAudit, PaymentOperation, StockAudit};

use super::sources::{OrderBooks, Runs, Written};
use super::*;

const WORTH: i64 = 2_000;

fn at(seconds: i64) -> Instant {
    Instant::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}
fn now() -> Instant {
    at(1_000)
}
fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}
fn id(name: &str) -> OrderId {
    OrderId::from_key("t", "c", name)
}
fn mug() -> Sku {
    Sku::parse("MUG").unwrap()
}
fn berlin() -> Location {
    Location::parse("berlin").unwrap()
}

fn shipment(order: &OrderId, status: ShipmentStatus) -> Shipment {
    Shipment {
        id: ShipmentId::of(order, 1),
        location: berlin(),
        status,
        lines: vec![Quantity { sku: mug(), quantity: 2 }],
        amount: eur(WORTH),
        carrier: None,
        tracking_number: None,
        more_packages: Vec::new(),
    }
}

fn row(order: &OrderId, status: Status) -> OrderAudit {
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
        totals: Totals { subtotal: eur(1_500), shipping: eur(181), tax: eur(319), total: eur(WORTH) },
        life,
        placed_at: at(0),
        updated_at: at(100),
        intake_at: at(0),
        ordered_units: 2,
        held_units: 0,
        committed_units: 0,
        departed_units: 0,
        open_bookings: 0,
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

fn ours(order: &OrderId, kind: OperationKind, outcome: &str) -> PaymentOperation {
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

fn theirs(order: &OrderId, kind: GatewayKind, amount: i64) -> SandboxOperation {
    let key = format!("{order}/{}", kind.as_str());
    SandboxOperation { key, kind, amount: eur(amount), result: OperationResult::Ok, at: at(10) }
}

fn payment(order: &OrderId, status: PaymentStatus, captured: i64, operations: Vec<SandboxOperation>) -> SandboxPayment {
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

fn message(order: &OrderId, topic: Topic) -> MessageRow {
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
    }
}

/// Three orders that are as they should be: 0 delivered, 1 cancelled after its money was held, 2 confirmed and waiting.
fn sound() -> Sources {
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
            row: one,
            payments: vec![held(&delivered), ours(&delivered, OperationKind::Capture, "captured")],
            messages: vec![message(&delivered, Topic::Delivered)],
        },
        OrderBooks {
            row: two,
            payments: vec![held(&cancelled), ours(&cancelled, OperationKind::Void, "voided")],
            messages: vec![message(&cancelled, Topic::Cancelled)],
        },
        OrderBooks { row: three, payments: vec![held(&open)], messages: vec![message(&open, Topic::Confirmed)] },
    ];
    let mail: BTreeSet<String> = orders.iter().flat_map(|o| &o.messages).map(|m| m.id.to_string()).collect();
    let capture = theirs(&delivered, GatewayKind::Capture, WORTH);
    let void = theirs(&cancelled, GatewayKind::Void, WORTH);
    Sources {
        stopped: false,
        now: now(),
        stock: vec![StockAudit {
            sku: mug(),
            location: berlin(),
            on_hand: 8,
            reserved: 2,
            movements_sum: 8,
            open_reserved_sum: 2,
            live_reserved_sum: 2,
        }],
        payments: vec![
            payment(&delivered, PaymentStatus::Captured, WORTH, vec![authorized(&delivered), capture]),
            payment(&cancelled, PaymentStatus::Voided, 0, vec![authorized(&cancelled), void]),
            payment(&open, PaymentStatus::Authorized, 0, vec![authorized(&open)]),
        ],
        bookings: vec![booking(&delivered), booking(&open)],
        runs: Runs { open: [(open, at(0))].into() },
        written: Written { mail: Some(mail), sms: Some(BTreeSet::new()) },
        orders,
    }
}

fn booking(order: &OrderId) -> SandboxBooking {
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

type Break = fn(&mut Sources);

/// Invariant, what names the culprit in the report, and the hand that breaks it.
fn breaks() -> Vec<(&'static str, String, Break)> {
    let (delivered, cancelled, open) = (id("delivered").to_string(), id("cancelled").to_string(), id("open").to_string());
    let mug = || "MUG".to_owned();
    let (d, c, o) = (|| delivered.clone(), || cancelled.clone(), || open.clone());
    vec![
        ("stock_conserved", mug(), |s| s.stock[0].movements_sum = 9),
        ("reservations_add_up", mug(), |s| s.stock[0].open_reserved_sum = 1),
        ("never_oversold", mug(), |s| s.stock[0].on_hand = 1),
        ("never_oversold", mug(), |s| s.stock[0].reserved = -1),
        ("totals_add_up", d(), |s| s.orders[0].row.totals.tax = eur(1)),
        ("totals_add_up", d(), |s| s.orders[0].row.life.shipments[0].amount = eur(WORTH - 1)),
        ("committed_as_shipped", d(), |s| s.orders[0].row.committed_units = 1),
        ("committed_as_shipped", d(), |s| s.orders[0].row.departed_units = 3),
        ("committed_as_shipped", o(), |s| s.orders[2].row.departed_units = 1),
        ("reservation_stands", o(), |s| s.orders[2].row.held_units = 1),
        ("no_open_undo", c(), |s| s.orders[1].row.held_units = 2),
        ("no_open_undo", d(), |s| s.orders[0].row.held_units = 1),
        ("no_open_undo", c(), |s| s.orders[1].row.open_bookings = 1),
        ("no_open_undo", c(), |s| s.payments[1].status = PaymentStatus::Authorized),
        ("no_open_undo", c(), |s| {
            s.payments[1].status = PaymentStatus::Authorized;
            s.payments[1].operations.truncate(1);
        }),
        ("timeline_without_gaps", d(), |s| s.orders[0].row.timeline_max_seq = 7),
        ("timeline_without_gaps", d(), |s| s.orders[0].row.timeline_count = 5),
        ("facts_in_outbox", d(), |s| s.orders[0].row.outbox_count = 5),
        ("facts_published", d(), |s| s.orders[0].row.outbox_unpublished_since = Some(now() - TimeDelta::seconds(61))),
        ("open_order_has_run", o(), |s| s.runs.open.clear()),
        ("ended_order_has_no_run", d(), |s| s.runs.open.extend([(id("delivered"), at(0))])),
        ("run_has_order", id("lost").to_string(), |s| s.runs.open.extend([(id("lost"), at(0))])),
        ("captured_within_authorized", d(), |s| s.orders[0].row.life.payment.authorized = eur(1)),
        ("captured_within_authorized", d(), |s| s.orders[0].row.ledger_authorized = eur(1)),
        ("captured_within_authorized", d(), |s| s.payments[0].authorized = eur(1)),
        ("refunded_within_captured", d(), |s| s.orders[0].row.life.payment.refunded = eur(WORTH + 1)),
        ("refunded_within_captured", d(), |s| s.payments[0].refunded = eur(WORTH + 1)),
        ("captured_as_shipped", d(), |s| s.orders[0].row.life.payment.captured = eur(1)),
        ("captured_as_shipped", d(), |s| s.orders[0].row.ledger_captured = eur(1)),
        ("captured_as_shipped", o(), |s| s.orders[2].row.ledger_captured = eur(1)),
        ("ledgers_agree", d(), |s| drop(s.payments.remove(0))),
        ("ledgers_agree", d(), |s| drop(s.payments[0].operations.remove(1))),
        ("ledgers_agree", d(), |s| s.payments[0].operations[1].amount = eur(1)),
        ("ledgers_agree", d(), |s| s.payments[0].payment_id = "pay_other".to_owned()),
        ("ledgers_agree", d(), |s| s.payments[0].operations[1].result = OperationResult::Declined),
        ("ledgers_agree", d(), |s| drop(s.orders[0].payments.remove(1))),
        ("ledgers_agree", o(), |s| s.payments[2].status = PaymentStatus::RequiresAction),
        ("ledgers_agree", o(), |s| s.orders[2].payments.clear()),
        ("payment_has_order", id("lost").to_string(), |s| s.payments[0].order_id = id("lost")),
        ("one_live_authorization", o(), |s| {
            let mut second = s.payments[2].clone();
            second.payment_id = "pay_second".to_owned();
            s.payments.push(second);
        }),
        ("bookings_agree", d(), |s| s.bookings[0].status = BookingStatus::Cancelled),
        ("bookings_agree", c(), |s| s.bookings.push(booking(&id("cancelled")))),
        ("messages_settled", o(), |s| s.orders[2].messages[0].state = MessageState::Claimed),
        ("messages_written", o(), |s| {
            let gone = s.orders[2].messages[0].id.to_string();
            s.written.mail.as_mut().unwrap().remove(&gone);
        }),
        ("messages_written", "m-unknown".to_owned(), |s| s.written.mail.as_mut().unwrap().extend(["m-unknown".to_owned()])),
    ]
}

#[test]
fn sound_books_have_no_findings() {
    assert_eq!(check(&sound()), Vec::new());
}

#[test]
fn each_broken_invariant_is_found_and_names_its_subject() {
    for (number, (invariant, culprit, break_)) in breaks().into_iter().enumerate() {
        let mut sources = sound();
        break_(&mut sources);
        let findings = check(&sources);
        let hit = findings.iter().any(|f| f.invariant == invariant && f.subject.to_string().contains(&culprit));
        assert!(hit, "break {number}: no {invariant} of {culprit} in {findings:#?}");
    }
}

#[test]
fn what_is_under_way_gets_its_time() {
    let mut sources = sound();
    sources.orders[0].row.outbox_unpublished_since = Some(now() - TimeDelta::seconds(59));
    sources.runs.open.insert(id("new"), now() - TimeDelta::seconds(59));
    sources.orders[2].messages[0].state = MessageState::Pending;
    sources.orders[2].row.updated_at = now() - TimeDelta::seconds(1);
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn an_open_order_with_an_open_run_is_fine_at_any_age_and_a_row_of_rev_0_without_one() {
    let mut sources = sound();
    sources.now = at(100_000_000);
    assert_eq!(check(&sources), Vec::new());
    let mut unpromised = row(&id("unpromised"), Status::Placed);
    (unpromised.rev, unpromised.seq) = (0, 0);
    (unpromised.timeline_count, unpromised.timeline_max_seq, unpromised.outbox_count) = (0, 0, 0);
    sources.orders.push(OrderBooks { row: unpromised, payments: Vec::new(), messages: Vec::new() });
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn an_answer_on_its_way_to_an_open_order_is_no_violation() {
    let mut sources = sound();
    let order = &mut sources.orders[2];
    (order.row.status, order.row.life.payment.status) = (Status::Placed, PaymentStatus::Pending);
    order.row.life.payment.authorized = eur(0);
    order.row.ledger_authorized = eur(0);
    order.payments.clear();
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn what_a_killed_stack_left_half_done_is_no_violation_until_it_runs_again() {
    let mut sources = sound();
    // the goods were booked out and the money taken, and nobody came to write the record
    let row = &mut sources.orders[2].row;
    (row.committed_units, row.departed_units, row.held_units, row.ledger_captured) = (2, 2, 0, eur(WORTH));
    assert_ne!(check(&sources), Vec::new());
    sources.stopped = true;
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn a_case_for_a_person_is_no_violation() {
    let mut sources = sound();
    let row = &mut sources.orders[2].row;
    row.needs_attention = true;
    row.life.attention = vec![Flag { code: "capture_refused".to_owned(), detail: "no".to_owned(), since: at(1) }];
    row.life.shipments[0].status = ShipmentStatus::Delivered;
    (row.committed_units, row.departed_units, row.held_units) = (2, 2, 0);
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn a_refused_payment_and_an_unheard_one_agree() {
    let mut sources = sound();
    // declined: both say so
    let declined = id("declined");
    let mut refused = row(&declined, Status::Rejected);
    refused.reason = Some(Reason::PaymentDeclined);
    sources.orders.push(OrderBooks {
        row: refused,
        payments: vec![ours(&declined, OperationKind::Authorize, "declined")],
        messages: Vec::new(),
    });
    let mut operation = theirs(&declined, GatewayKind::Authorize, WORTH);
    operation.result = OperationResult::Declined;
    let mut payment = payment(&declined, PaymentStatus::Declined, 0, vec![operation]);
    payment.authorized = eur(0);
    sources.payments.push(payment);
    // held at the gateway, never heard of, undone by a void
    sources.orders[1].payments.remove(0);
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn only_what_stands_on_the_second_reading_counts() {
    let mut first = sound();
    first.orders[0].row.committed_units = 1;
    first.stock[0].movements_sum = 9;
    let mut second = sound();
    second.stock[0].movements_sum = 10;
    second.orders[2].row.held_units = 1;
    let counted = standing(&check(&first), check(&second));
    assert_eq!(counted.iter().map(|f| f.invariant).collect::<Vec<_>>(), ["stock_conserved"]);
}

#[test]
fn the_verdict_reads_well() {
    let mut sources = sound();
    let sound = Verdict { balanced: true, findings: Vec::new(), needs_attention: Vec::new(), counts: Counts::of(&sources) };
    let line = "books balanced: 3 orders (1 open), 1 shelves, 3 payments at the gateway, 1 open runs, 3 messages written\n";
    assert_eq!(sound.render(), line);
    sources.stock[0].movements_sum = 9;
    let attention = vec![Attention { order_id: id("open"), codes: vec!["lost".to_owned()] }];
    let broken = Verdict { balanced: false, findings: check(&sources), needs_attention: attention, counts: Counts::of(&sources) };
    let text = broken.render();
    let expected = "stock_conserved: sku MUG at berlin: expected 9 on hand, the sum of its movements, found 8 on hand";
    assert!(text.contains(expected) && text.contains("books NOT balanced: 1 finding"), "{text}");
    assert!(text.contains("needs attention (no violation): order"), "{text}");
    let json = serde_json::to_value(&broken).unwrap();
    assert_eq!((&json["findings"][0]["sku"], &json["balanced"]), (&serde_json::json!("MUG"), &serde_json::json!(false)));
}
