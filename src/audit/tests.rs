//! Every rule is broken by hand, one at a time, in books that balance otherwise.

mod sound;

use chrono::TimeDelta;
use oms_domain::ids::ShipmentId;
use oms_domain::order::{Reason, Status};
use oms_domain::payment::PaymentStatus;
use oms_domain::refund::{RefundId, RefundState};
use oms_domain::review::Attention as Flag;
use oms_domain::shipment::ShipmentStatus;
use oms_domain::stock::Quantity;
use oms_gateways::payment::{OperationKind as GatewayKind, OperationResult};
use oms_store::{MessageState, OperationKind};

use super::sources::OrderBooks;
use super::*;
use sound::*;

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
        ("timeline_unaltered", d(), |s| s.altered.extend([(id("delivered"), 2)])),
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
        ("ledgers_agree", d(), |s| {
            pay_for_real(s);
            s.payments[0].captured = eur(WORTH - 1);
        }),
        ("ledgers_agree", d(), |s| {
            pay_for_real(s);
            s.payments[0].payment_id = "pi_other".to_owned();
        }),
        ("payment_has_order", id("lost").to_string(), |s| s.payments[0].order_id = id("lost")),
        ("one_live_authorization", o(), payment_of_edit),
        ("one_live_authorization", o(), |s| {
            s.orders[2].row.life.editing = true;
            payment_of_edit(s);
            payment_of_edit(s);
        }),
        ("refunds_add_up", d(), |s| s.orders[0].row.life.payment.refunded = eur(1)),
        ("refunds_add_up", d(), |s| s.payments[0].refunded = eur(1)),
        ("refunds_add_up", d(), |s| {
            give_back(s);
            s.payments[0].refunded = eur(499);
        }),
        ("refunds_add_up", d(), |s| {
            give_back(s);
            s.orders[0].refunds[0].returned = eur(499);
        }),
        ("ledgers_agree", d(), |s| {
            give_back(s);
            s.payments[0].operations.pop();
        }),
        ("refund_has_run", d(), owe),
        ("waiting_first", mug(), |s| s.stock[0].waiting_sum = 1),
        ("waiting_first", mug(), |s| {
            backorder(s);
            (s.stock[0].on_hand, s.stock[0].movements_sum) = (3, 3);
        }),
        ("reservation_stands", o(), |s| {
            backorder(s);
            s.orders[2].row.queued_units = 1;
        }),
        ("reservation_stands", o(), |s| {
            backorder(s);
            (s.orders[2].row.status, s.orders[2].row.held_units) = (Status::Backordered, 1);
        }),
        ("no_open_undo", c(), |s| s.orders[1].row.queued_units = 1),
        ("no_open_undo", c(), |s| s.orders[1].row.life.waiting = vec![Quantity { sku: sound::mug(), quantity: 1 }]),
        ("no_open_undo", d(), |s| {
            (s.payments[0].status, s.payments[0].authorized) = (PaymentStatus::PartiallyCaptured, eur(WORTH + 1));
        }),
        ("no_open_undo", d(), |s| {
            (s.orders[0].row.status, s.orders[0].row.life.status) = (Status::PartiallyFulfilled, Status::PartiallyFulfilled);
            s.payments[0].status = PaymentStatus::Authorized;
        }),
        ("committed_as_shipped", d(), |s| {
            s.orders[0].row.status = Status::PartiallyFulfilled;
            s.orders[0].row.committed_units = 1;
        }),
        ("committed_as_shipped", d(), |s| {
            s.orders[0].row.status = Status::Returned;
            s.orders[0].row.committed_units = 1;
        }),
        ("totals_add_up", o(), |s| {
            backorder(s);
            s.orders[2].row.life.shipments[0].amount = eur(WORTH + 1);
        }),
        ("captured_as_shipped", d(), |s| s.orders[0].row.life.payment.waived = Some(eur(1))),
        ("failed_message_has_item", o(), |s| s.orders[2].messages[0].state = MessageState::Failed),
        ("bookings_agree", d(), |s| s.bookings[0].stands = false),
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
fn a_real_gateway_is_compared_by_its_sums() {
    let mut sources = sound();
    pay_for_real(&mut sources);
    assert_eq!(check(&sources), Vec::new());
    // the answer to a capture was lost: the run of the open order asks again
    sources.payments[2].captured = eur(WORTH);
    sources.payments[2].status = PaymentStatus::Captured;
    assert_eq!(check(&sources), Vec::new());
    sources.orders[2].row.status = Status::Completed;
    assert!(check(&sources).iter().any(|f| f.invariant == "ledgers_agree"));
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
    sources.orders.push(books(unpromised));
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
    row.life.attention = vec![Flag::new("capture_refused", None, "no", at(1))];
    row.life.shipments[0].status = ShipmentStatus::Delivered;
    (row.committed_units, row.departed_units, row.held_units) = (2, 2, 0);
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn what_a_person_settled_outside_counts_beside_what_was_captured() {
    let mut sources = sound();
    let order = &mut sources.orders[0];
    (order.row.life.payment.waived, order.row.life.payment.captured) = (Some(eur(WORTH)), eur(0));
    order.row.ledger_captured = eur(0);
    order.payments.pop();
    sources.payments[0].operations.pop();
    (sources.payments[0].captured, sources.payments[0].status) = (eur(0), PaymentStatus::Voided);
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn a_shipment_that_an_edit_replaced_counts_no_more() {
    let mut sources = sound();
    let mut replaced = shipment(&id("open"), ShipmentStatus::Cancelled);
    replaced.id = ShipmentId::of(&id("open"), 2);
    sources.orders[2].row.life.shipments.push(replaced);
    assert_eq!(check(&sources), Vec::new());
    // while the next edit holds more money, two holds are alive for a moment
    sources.orders[2].row.life.editing = true;
    payment_of_edit(&mut sources);
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn waiting_for_stock_is_no_violation_while_there_is_none() {
    let mut sources = sound();
    backorder(&mut sources);
    assert_eq!(check(&sources), Vec::new());
    let row = &mut sources.orders[2].row;
    (row.status, row.held_units, row.queued_units) = (Status::Backordered, 1, 3);
    row.life.shipments.clear();
    row.open_bookings = 0;
    sources.bookings.pop();
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn refunds_are_fine_when_all_sides_agree_and_while_their_run_is_open() {
    let mut sources = sound();
    give_back(&mut sources);
    assert_eq!(check(&sources), Vec::new());
    sources.orders[0].refunds[0].state = RefundState::Closed;
    sources.orders[0].refunds[0].returned = eur(0);
    sources.orders[0].payments.pop();
    sources.payments[0].refunded = eur(0);
    sources.payments[0].operations.pop();
    assert_eq!(check(&sources), Vec::new(), "what was returned outside is returned");
    let mut sources = sound();
    owe(&mut sources);
    sources.runs.refunds.insert(RefundId::from_key(id("delivered").as_str(), "back"));
    assert_eq!(check(&sources), Vec::new());
    sources.runs.refunds.clear();
    sources.orders[0].refunds[0].updated_at = now() - TimeDelta::seconds(59);
    assert_eq!(check(&sources), Vec::new(), "it was only asked for a moment ago");
}

#[test]
fn a_failed_message_is_a_persons_case_and_an_alert_is_no_message() {
    let mut sources = sound();
    let order = &mut sources.orders[2];
    order.messages[0].state = MessageState::Failed;
    let failed = order.messages[0].id.to_string();
    order.failures_seen.insert(failed.clone());
    let mail = sources.written.mail.as_mut().unwrap();
    mail.remove(&failed);
    mail.insert("an-alert".to_owned());
    sources.alerts.insert("an-alert".to_owned());
    assert_eq!(check(&sources), Vec::new());
    // nor is the file of an order that was removed by age
    sources.written.mail.as_mut().unwrap().insert("of-long-ago".to_owned());
    assert_eq!(check(&sources).len(), 1);
    sources.written.old.insert("of-long-ago".to_owned());
    assert_eq!(check(&sources), Vec::new());
}

#[test]
fn a_refused_payment_and_an_unheard_one_agree() {
    let mut sources = sound();
    // declined: both say so
    let declined = id("declined");
    let mut refused = row(&declined, Status::Rejected);
    refused.reason = Some(Reason::PaymentDeclined);
    let payments = vec![ours(&declined, OperationKind::Authorize, "declined")];
    sources.orders.push(OrderBooks { payments, ..books(refused) });
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
    let sound = Verdict {
        balanced: true,
        findings: Vec::new(),
        needs_attention: Vec::new(),
        review_items: Vec::new(),
        counts: Counts::of(&sources),
    };
    let line = "books balanced: 3 orders (1 open), 1 shelves, 3 payments at the gateway, 1 open runs, 3 messages written\n";
    assert_eq!(sound.render(), line);
    sources.stock[0].movements_sum = 9;
    let attention = vec![Attention { order_id: id("open"), codes: vec!["lost".to_owned()] }];
    let item = OpenItem { id: "i-1".to_owned(), kind: "lost".to_owned(), order_id: Some(id("open")), subject: "x".to_owned() };
    let broken = Verdict {
        balanced: false,
        findings: check(&sources),
        needs_attention: attention,
        review_items: vec![item],
        counts: Counts::of(&sources),
    };
    let text = broken.render();
    let expected = "stock_conserved: sku MUG at berlin: expected 9 on hand, the sum of its movements, found 8 on hand";
    assert!(text.contains(expected) && text.contains("books NOT balanced: 1 finding"), "{text}");
    assert!(text.contains("needs attention (no violation): order"), "{text}");
    assert!(text.contains("open review item (no violation): lost: order") && text.contains("item i-1"), "{text}");
    let json = serde_json::to_value(&broken).unwrap();
    assert_eq!((&json["findings"][0]["sku"], &json["balanced"]), (&serde_json::json!("MUG"), &serde_json::json!(false)));
}
