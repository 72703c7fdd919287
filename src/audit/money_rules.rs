//! What must hold of an order's money: in its row, in our ledger, at the gateway, and between the three.

use std::collections::{BTreeMap, BTreeSet};

use oms_domain::ids::OrderId;
use oms_domain::order::Status;
use oms_domain::payment::PaymentStatus;
use oms_domain::refund::RefundState;
use oms_domain::shipment::ShipmentStatus;
use oms_gateways::payment::{OperationKind as GatewayKind, OperationResult, SandboxOperation, SandboxPayment};
use oms_store::{OperationKind, PaymentOperation, StoredRefund};

use super::finding::Finding;
use super::order_rules::{KEPT_AT_LEAST, overdue};
use super::sources::{OrderBooks, Sources};

/// Adds what does not hold of the money of all orders.
pub(super) fn money(sources: &Sources, findings: &mut Vec<Finding>) {
    let mut at_gateway: BTreeMap<&OrderId, Vec<&SandboxPayment>> = BTreeMap::new();
    for payment in &sources.payments {
        at_gateway.entry(&payment.order_id).or_default().push(payment);
    }
    for order in &sources.orders {
        let payments = at_gateway.remove(&order.row.id).unwrap_or_default();
        limits(order, &payments, findings);
        // a stack that was killed leaves an open order between two steps; its run goes on from there
        if !sources.stopped || order.row.status.is_terminal() {
            taken(order, findings);
        }
        standing(order, &payments, findings);
        if sources.real_gateway && !order.row.test {
            sums(order, &payments, findings);
        } else {
            ledgers(order, &payments, findings);
        }
        refunds(order, &payments, sources, findings);
    }
    for (id, payments) in at_gateway {
        // the janitor may have deleted an order whose money has been at rest for so long
        let last = payments.iter().flat_map(|p| &p.operations).map(|o| o.at).max();
        if last.is_some_and(|at| at < sources.now - KEPT_AT_LEAST) {
            continue;
        }
        let found = format!("{} at the gateway", payments.len());
        findings.push(Finding::order("payment_has_order", id, "no payment without an order in SQL", found));
    }
    bookings(sources, findings);
}

fn limits(order: &OrderBooks, payments: &[&SandboxPayment], findings: &mut Vec<Finding>) {
    let id = &order.row.id;
    let row = &order.row.life.payment;
    let sides = [("row", row.authorized, row.captured, row.refunded)]
        .into_iter()
        .chain(payments.iter().map(|p| (p.payment_id.as_str(), p.authorized, p.captured, p.refunded)));
    for (side, authorized, captured, refunded) in sides {
        if captured.minor > authorized.minor {
            let finding = Finding::order("captured_within_authorized", id, format!("at most {authorized}"), captured.to_string());
            findings.push(finding.marked(side));
        }
        if refunded.minor > captured.minor {
            let finding = Finding::order("refunded_within_captured", id, format!("at most {captured}"), refunded.to_string());
            findings.push(finding.marked(side));
        }
    }
    let (authorized, captured) = (order.row.ledger_authorized, order.row.ledger_captured);
    if captured.minor > authorized.minor {
        let finding = Finding::order("captured_within_authorized", id, format!("at most {authorized}"), captured.to_string());
        findings.push(finding.marked("ledger"));
    }
}

/// Taken, by the gateway or outside = what left the house. While the order is open the capture may still be coming; a person's case is a person's.
fn taken(order: &OrderBooks, findings: &mut Vec<Finding>) {
    let row = &order.row;
    let left = row.life.live_shipments().filter(|s| s.status.departed());
    let worth = left.map(|s| s.amount.minor).fold(0, i64::saturating_add);
    let waived = row.life.payment.waived.map_or(0, |w| w.minor);
    let value = worth - waived;
    for (side, captured) in [("row", row.life.payment.captured.minor), ("ledger", row.ledger_captured.minor)] {
        let wrong = if row.status.is_terminal() { captured != value } else { captured > value };
        if wrong && !row.needs_attention {
            let outside = if waived == 0 { String::new() } else { format!(", {waived} being settled outside") };
            let expected = format!("{value} minor units captured, as shipped{outside}");
            let found = format!("{captured} captured in the {side}");
            findings.push(Finding::order("captured_as_shipped", &row.id, expected, found).marked(side));
        }
    }
    if row.status.is_terminal() && row.life.payment.captured != row.ledger_captured {
        let found = format!("{} in the order's row", row.life.payment.captured);
        let expected = format!("{} captured, as our ledger says", row.ledger_captured);
        findings.push(Finding::order("ledgers_agree", &row.id, expected, found).marked("row"));
    }
}

/// What is still held of a payment of which some was taken.
fn rest(payment: &SandboxPayment) -> i64 {
    if payment.status != PaymentStatus::PartiallyCaptured {
        return 0;
    }
    let released: i64 = payment
        .operations
        .iter()
        .filter(|o| o.kind == GatewayKind::Void && o.result == OperationResult::Ok)
        .map(|o| o.amount.minor)
        .sum();
    payment.authorized.minor - payment.captured.minor - released
}

fn standing(order: &OrderBooks, payments: &[&SandboxPayment], findings: &mut Vec<Finding>) {
    let live: Vec<&str> = payments
        .iter()
        .filter(|p| matches!(p.status, PaymentStatus::RequiresAction | PaymentStatus::Authorized) || rest(p) > 0)
        .map(|p| p.payment_id.as_str())
        .collect();
    let id = &order.row.id;
    // an edit that costs more holds the new sum before it lets the old one go, so that a refusal changes nothing
    let most = if order.row.life.editing { 2 } else { 1 };
    if live.len() > most {
        let found = format!("{}: {}", live.len(), live.join(", "));
        findings.push(Finding::order("one_live_authorization", id, format!("at most {most}"), found));
    }
    if order.row.status.is_terminal() && !live.is_empty() {
        let expected = format!("no authorization of a {} order", order.row.status);
        findings.push(Finding::order("no_open_undo", id, expected, format!("{} live", live.join(", "))).marked("payment"));
    }
}

/// Our ledger and a real gateway's, payment by payment: it lists sums, not operations. It may be ahead by an answer that was lost or is being
/// repeated, as long as somebody works on it; what goes back is compared with the refunds.
fn sums(order: &OrderBooks, payments: &[&SandboxPayment], findings: &mut Vec<Finding>) {
    let mut ours: BTreeMap<&str, i64> = BTreeMap::new();
    for operation in &order.payments {
        let counts = matches!((operation.kind, operation.outcome.as_str()), (OperationKind::Capture, "captured"));
        if let (Some(payment), true) = (operation.payment_id.as_deref(), counts) {
            *ours.entry(payment).or_default() += operation.amount.map_or(0, |a| a.minor);
        }
    }
    let theirs: BTreeMap<&str, i64> = payments.iter().map(|p| (p.payment_id.as_str(), p.captured.minor)).collect();
    for payment in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let of = |side: &BTreeMap<&str, i64>| side.get(payment).copied().unwrap_or_default();
        let ahead = of(&theirs) > of(&ours) && !order.row.status.is_terminal();
        if of(&theirs) != of(&ours) && !ahead {
            let expected = format!("{} minor units taken by payment {payment}, as our ledger says", of(&ours));
            let found = format!("{} at the gateway", of(&theirs));
            findings.push(Finding::order("ledgers_agree", &order.row.id, expected, found).marked(*payment));
        }
    }
}

/// Our ledger and the gateway's, operation by operation: both name them by the same keys.
fn ledgers(order: &OrderBooks, payments: &[&SandboxPayment], findings: &mut Vec<Finding>) {
    let theirs: BTreeMap<&str, (&SandboxPayment, &SandboxOperation)> = payments
        .iter()
        .flat_map(|p| p.operations.iter().map(move |o| (*p, o)))
        .filter(|(_, o)| o.result != OperationResult::Failed)
        .map(|(p, o)| (o.key.as_str(), (p, o)))
        .collect();
    let mut differ = |key: &str, expected: &str, found: String| {
        findings.push(Finding::order("ledgers_agree", &order.row.id, format!("{expected} ({key})"), found).marked(key));
    };
    for ours in &order.payments {
        if let Some(found) = contradiction(ours, theirs.get(ours.key.as_str()).copied()) {
            differ(&ours.key, &format!("{} {} at the gateway", ours.kind.as_str(), ours.outcome), found);
        }
    }
    let known: BTreeSet<&str> = order.payments.iter().map(|o| o.key.as_str()).collect();
    for (key, (payment, theirs)) in theirs {
        let effect = theirs.result == OperationResult::Ok && theirs.amount.minor > 0;
        // an authorization whose answer nobody heard is known by the void that undid it
        let undone = theirs.kind == GatewayKind::Authorize && payment.status == PaymentStatus::Voided;
        if effect && !undone && !known.contains(key) && !on_its_way(order, payment, theirs.kind) {
            differ(key, "no such operation, as our ledger says", format!("{} of {}", theirs.kind.as_str(), theirs.amount));
        }
    }
}

/// Whether an open order's run may still be asking the gateway for this answer, which was lost or is being repeated: its row does not
/// show the effect yet either.
fn on_its_way(order: &OrderBooks, payment: &SandboxPayment, kind: GatewayKind) -> bool {
    let row = &order.row;
    let seen = &row.life.payment;
    // refunds have runs of their own, which outlive the order's
    if kind == GatewayKind::Refund {
        return row.open_refunds > 0;
    }
    !row.status.is_terminal()
        && match kind {
            GatewayKind::Authorize => {
                let asking =
                    matches!(seen.status, PaymentStatus::Pending | PaymentStatus::RequiresAction | PaymentStatus::Declined);
                asking || row.life.editing
            }
            GatewayKind::Capture => seen.captured.minor < payment.captured.minor,
            GatewayKind::Void => true,
            GatewayKind::Refund => false,
        }
}

/// What goes back: our refunds, the order's row and the gateway say the same sum, and every refund that is owed has its run.
fn refunds(order: &OrderBooks, payments: &[&SandboxPayment], sources: &Sources, findings: &mut Vec<Finding>) {
    let id = &order.row.id;
    let sum = |amounts: &mut dyn Iterator<Item = i64>| amounts.fold(0, i64::saturating_add);
    let settled = |r: &StoredRefund| if r.state == RefundState::Closed { r.amount.minor } else { r.returned.minor };
    let ours = sum(&mut order.refunds.iter().map(settled));
    let row = order.row.life.payment.refunded.minor;
    if row != ours {
        let expected = format!("{ours} minor units refunded, as its refunds say");
        findings.push(Finding::order("refunds_add_up", id, expected, format!("{row} in the order's row")).marked("row"));
    }
    let returned = sum(&mut order.refunds.iter().map(|r| r.returned.minor));
    let theirs = sum(&mut payments.iter().map(|p| p.refunded.minor));
    // the gateway may be ahead by an answer that was lost or is being repeated
    if theirs < returned || (theirs > returned && order.row.open_refunds == 0) {
        let expected = format!("{returned} minor units returned by the gateway, as its refunds say");
        findings.push(Finding::order("refunds_add_up", id, expected, format!("{theirs} at the gateway")).marked("gateway"));
    }
    for refund in order.refunds.iter().filter(|r| r.settled_at.is_none()) {
        if !sources.runs.refunds.contains(&refund.id) && overdue(refund.updated_at, sources.now) {
            let expected = format!("an open run of refund {}, as it is {}", refund.id, refund.state.as_str());
            findings.push(Finding::order("refund_has_run", id, expected, "none").marked(refund.id.as_str()));
        }
    }
}

/// What the gateway says instead of what our ledger says, if it does.
fn contradiction(ours: &PaymentOperation, theirs: Option<(&SandboxPayment, &SandboxOperation)>) -> Option<String> {
    let funded = |p: &SandboxPayment| {
        !matches!(p.status, PaymentStatus::RequiresAction | PaymentStatus::Declined | PaymentStatus::Pending)
    };
    let effect = matches!(ours.outcome.as_str(), "held" | "captured" | "returned");
    let Some((payment, theirs)) = theirs else {
        // a void before its authorization and a refusal without a payment leave nothing in the gateway's ledger
        return effect.then(|| "nothing".to_owned());
    };
    let ok = theirs.result == OperationResult::Ok;
    let agrees = match (ours.kind, theirs.kind) {
        (OperationKind::Authorize, GatewayKind::Authorize) => match ours.outcome.as_str() {
            "held" => ok && funded(payment),
            // what the customer did since, only the gateway knows until the run asks it
            "action_required" => true,
            _ => !ok || !funded(payment) || payment.status == PaymentStatus::Voided,
        },
        (OperationKind::Capture, GatewayKind::Capture) | (OperationKind::Refund, GatewayKind::Refund) => ok == effect,
        (OperationKind::Void, GatewayKind::Void) => ok,
        _ => false,
    };
    let same_amount = !effect || ours.amount.is_none_or(|amount| amount == theirs.amount);
    let same_payment = ours.payment_id.as_deref().is_none_or(|id| id == payment.payment_id);
    let agreed = agrees && same_amount && same_payment;
    (!agreed).then(|| {
        let (kind, result) = (theirs.kind.as_str(), theirs.result.as_str());
        format!("{kind} of {} {result}, payment {} {}", theirs.amount, payment.payment_id, payment.status.as_str())
    })
}

/// The carrier's list against ours.
fn bookings(sources: &Sources, findings: &mut Vec<Finding>) {
    let mut open: BTreeMap<OrderId, u64> = BTreeMap::new();
    for booking in sources.bookings.iter().filter(|b| b.stands) {
        if let Ok(order) = booking.shipment.order() {
            *open.entry(order).or_default() += 1;
        }
    }
    for row in sources.orders.iter().map(|o| &o.row) {
        let theirs = open.get(&row.id).copied().unwrap_or_default();
        // an answer of the carrier that was lost or is being repeated
        let waiting = row.life.shipments.iter().any(|s| s.status == ShipmentStatus::Pending);
        let on_its_way =
            !row.status.is_terminal() && (waiting || row.status == Status::Cancelling || row.life.editing || sources.stopped);
        if theirs != row.open_bookings && !on_its_way {
            let expected = format!("{} open at the carrier, as SQL says", row.open_bookings);
            findings.push(Finding::order("bookings_agree", &row.id, expected, theirs.to_string()));
        }
    }
}
