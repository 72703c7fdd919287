//! The invariants of the books, stated once: every life, sweep and race ends with them.

use std::collections::BTreeMap;

use oms_domain::order::Status;
use oms_domain::shipment::ShipmentStatus;
use oms_gateways::payment::OperationResult;

use super::world::World;

/// Asserts that the books balance: stock, money at our side and at the gateway's own, bookings, timeline and outbox.
pub async fn balanced(world: &World) {
    let findings = findings(world).await;
    assert!(findings.is_empty(), "the books do not balance:\n{}", findings.join("\n"));
}

/// Everything that does not balance, naming order or SKU.
pub async fn findings(world: &World) -> Vec<String> {
    let mut findings = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            findings.push(what);
        }
    };
    for shelf in world.store.audit_stock(world.now()).await.unwrap() {
        let place = format!("{} in {}", shelf.sku, shelf.location);
        check(
            shelf.on_hand == shelf.movements_sum,
            format!("{place}: on hand {} but moved {}", shelf.on_hand, shelf.movements_sum),
        );
        check(
            shelf.reserved == shelf.open_reserved_sum,
            format!("{place}: reserved {} but promised {}", shelf.reserved, shelf.open_reserved_sum),
        );
        check(
            0 <= shelf.reserved && shelf.reserved <= shelf.on_hand,
            format!("{place}: {} of {} promised", shelf.reserved, shelf.on_hand),
        );
    }
    let mut gateway: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for payment in world.sandbox.payments.payments(None).await.unwrap() {
        gateway.entry(payment.order_id.to_string()).or_default().push(payment);
    }
    let bookings = world.sandbox.carrier.bookings().await.unwrap();
    for order in world.store.audit_orders(None, 10_000).await.unwrap() {
        let id = &order.id;
        let (payment, life) = (&order.life.payment, &order.life);
        check(
            payment.captured.minor <= order.totals.total.minor,
            format!("{id}: captured {} of {}", payment.captured, order.totals.total),
        );
        check(payment.refunded.minor <= payment.captured.minor, format!("{id}: refunded more than captured"));
        let shipped: i64 = life.shipments.iter().filter(|s| s.status.departed()).map(|s| s.amount.minor).sum();
        let waived = payment.waived.map_or(0, |w| w.minor);
        let settled = payment.captured.minor + waived == shipped || order.needs_attention || !order.status.is_terminal();
        check(settled, format!("{id}: shipped for {shipped} but captured {}", payment.captured));
        check(order.timeline_count == order.timeline_max_seq, format!("{id}: the timeline has gaps"));
        check(order.timeline_count == order.outbox_count, format!("{id}: facts without an outbox row"));
        let theirs = gateway.remove(id.as_str()).unwrap_or_default();
        let captured: i64 = theirs.iter().map(|p| p.captured.minor).sum();
        check(captured == payment.captured.minor, format!("{id}: the gateway took {captured}, we know of {}", payment.captured));
        let live = theirs.iter().filter(|p| matches!(p.status.as_str(), "authorized" | "partially_captured")).count();
        check(live <= 1, format!("{id}: {live} live authorizations"));
        for key in theirs.iter().flat_map(|p| &p.operations).filter(|o| o.result == OperationResult::Ok).map(|o| &o.key) {
            let times =
                theirs.iter().flat_map(|p| &p.operations).filter(|o| o.key == *key && o.result == OperationResult::Ok).count();
            check(times == 1, format!("{id}: {key} had its effect {times} times"));
        }
        if order.status.is_terminal() {
            check(live == 0, format!("{id}: ended with funds still held"));
        }
        let refunded: i64 = theirs.iter().map(|p| p.refunded.minor).sum();
        check(
            refunded == payment.refunded.minor,
            format!("{id}: the gateway gave {refunded} back, we know of {}", payment.refunded),
        );
        if matches!(order.status, Status::Cancelled | Status::Rejected) {
            check(order.held_units == 0, format!("{id}: ended with stock promised"));
            check(live == 0 && captured == 0, format!("{id}: ended with money held or taken"));
            let booked = life.shipments.iter().any(|s| {
                bookings.iter().any(|b| b.shipment_id == s.id && b.status == oms_gateways::carrier::BookingStatus::Booked)
            });
            check(!booked, format!("{id}: ended with a courier booked"));
        }
        if order.status == Status::Completed {
            check(
                order.committed_units == order.ordered_units,
                format!("{id}: shipped {} of {}", order.committed_units, order.ordered_units),
            );
            check(
                life.live_shipments().all(|s| s.status == ShipmentStatus::Delivered),
                format!("{id}: completed but not delivered"),
            );
        }
    }
    check(gateway.is_empty(), format!("payments without an order: {:?}", gateway.keys()));
    findings
}
