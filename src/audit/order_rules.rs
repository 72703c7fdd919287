//! What must hold of every order in SQL, and between SQL and Temporal.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::order::Status;
use oms_domain::shipment::Shipment;
use oms_store::OrderAudit;

use super::finding::Finding;
use super::sources::{OrderBooks, Sources};

/// What is under way (a run without a row, an outbox row, a message) may take so long.
const GRACE: TimeDelta = TimeDelta::seconds(60);

/// Whether something that began then should be done by now.
pub(super) fn overdue(since: Instant, now: Instant) -> bool {
    now - since > GRACE
}

/// Units in some of the shipments that still count.
fn units(row: &OrderAudit, which: impl Fn(&Shipment) -> bool) -> u64 {
    row.life.live_shipments().filter(|s| which(s)).flat_map(|s| &s.lines).map(|l| u64::from(l.quantity)).sum()
}

/// Adds what does not hold of an order's rows.
pub(super) fn order(order: &OrderBooks, sources: &Sources, findings: &mut Vec<Finding>) {
    totals(&order.row, findings);
    // a stack that was killed leaves an open order between two steps; its run goes on from there
    if !sources.stopped || order.row.status.is_terminal() {
        goods(&order.row, findings);
    }
    story(&order.row, sources.now, findings);
    if let Some(seq) = sources.altered.get(&order.row.id) {
        let found = format!("fact {seq} does not follow from the one before it");
        findings.push(Finding::order("timeline_unaltered", &order.row.id, "facts as they were written", found));
    }
}

fn totals(row: &OrderAudit, findings: &mut Vec<Finding>) {
    let totals = &row.totals;
    let sum = totals.subtotal.plus(totals.shipping).and_then(|s| s.plus(totals.tax));
    if sum.as_ref() != Ok(&totals.total) {
        let expected = sum.map_or_else(|e| e.to_string(), |s| format!("{s} = goods + shipping + tax"));
        findings.push(Finding::order("totals_add_up", &row.id, expected, totals.total.to_string()).marked("sums"));
    }
    if row.life.live_shipments().next().is_none() {
        return;
    }
    let parts: i64 = row.life.live_shipments().map(|s| s.amount.minor).fold(0, i64::saturating_add);
    // what waits has its share in no shipment yet, and what is dropped after the rest has left never gets one
    let whole = row.life.waiting.is_empty() && (row.status == Status::Completed || !row.life.departed());
    if parts > totals.total.minor || (whole && parts < totals.total.minor) {
        let expected = if whole { "shipments worth" } else { "shipments worth at most" };
        let found = format!("{parts} minor units");
        findings
            .push(Finding::order("totals_add_up", &row.id, format!("{expected} {}", totals.total), found).marked("shipments"));
    }
}

fn goods(row: &OrderAudit, findings: &mut Vec<Finding>) {
    let left = units(row, |s| s.status.departed());
    let settled = row.status.is_terminal() && !row.needs_attention;
    let found = || format!("{} committed, {} departed", row.committed_units, row.departed_units);
    let wrong = if settled {
        // goods of a cancelled order that left all the same never were committed
        let shipped = matches!(row.status, Status::Completed | Status::PartiallyFulfilled | Status::Returned);
        row.departed_units != left || (shipped && row.committed_units != left)
    } else {
        row.departed_units > left || row.committed_units > left
    };
    if wrong {
        let expected = if settled { format!("{left} units, as shipped") } else { format!("at most {left} units, as shipped") };
        findings.push(Finding::order("committed_as_shipped", &row.id, expected, found()));
    }
    promised(row, findings);
    if row.status.is_terminal() && row.held_units > 0 {
        let found = format!("{} units held", row.held_units);
        findings.push(Finding::order("no_open_undo", &row.id, "no stock held by an ended order", found).marked("stock"));
    }
    if row.status.is_terminal() && row.queued_units + row.life.waiting.len() as u64 > 0 {
        let found = format!("{} units queued for, {} articles on its row", row.queued_units, row.life.waiting.len());
        findings.push(Finding::order("no_open_undo", &row.id, "nothing that an ended order waits for", found).marked("queue"));
    }
    if matches!(row.status, Status::Cancelled | Status::Rejected) && row.open_bookings > 0 {
        let found = format!("{} open", row.open_bookings);
        let expected = format!("no booking of a {} order", row.status);
        findings.push(Finding::order("no_open_undo", &row.id, expected, found).marked("booking"));
    }
}

/// What is in a shipment is held until it leaves; what is not, is held or queued for. While an edit moves stock, it is neither.
fn promised(row: &OrderAudit, findings: &mut Vec<Finding>) {
    let shipping = matches!(row.status, Status::Confirmed | Status::PartiallyShipped | Status::Shipped);
    let waits = !row.life.waiting.is_empty() && (shipping || row.status == Status::Backordered);
    if row.life.editing || row.needs_attention || !(shipping || waits) {
        return;
    }
    let wanted = if waits { row.ordered_units } else { units(row, |_| true) };
    let queued = if waits { row.queued_units } else { 0 };
    if row.held_units + row.committed_units + queued != wanted {
        let found = format!("{} held, {} committed, {} queued for", row.held_units, row.committed_units, row.queued_units);
        let expected = format!("{wanted} units held or committed{}", if waits { ", or queued for" } else { "" });
        findings.push(Finding::order("reservation_stands", &row.id, expected, found));
    }
}

/// Nothing younger than this is ever deleted by age.
pub(super) const KEPT_AT_LEAST: TimeDelta = TimeDelta::days(30);

fn story(row: &OrderAudit, now: Instant, findings: &mut Vec<Finding>) {
    // the janitor may have been here
    let aged = now - KEPT_AT_LEAST;
    let forgotten = row.timeline_count == 0 && row.status.is_terminal() && row.updated_at < aged;
    if !forgotten && (row.timeline_count != row.seq || row.timeline_max_seq != row.seq) {
        let found = format!("{} facts, the last one number {}", row.timeline_count, row.timeline_max_seq);
        findings.push(Finding::order("timeline_without_gaps", &row.id, format!("facts 1 to {}", row.seq), found));
    }
    let published_long_ago = row.placed_at < aged && row.outbox_count < row.timeline_count;
    if !forgotten && !published_long_ago && row.outbox_count != row.timeline_count {
        let found = format!("{} rows", row.outbox_count);
        let expected = format!("{} rows, one per fact", row.timeline_count);
        findings.push(Finding::order("facts_in_outbox", &row.id, expected, found));
    }
    if let Some(since) = row.outbox_unpublished_since.filter(|since| overdue(*since, now)) {
        let found = format!("unpublished for {} s", (now - since).num_seconds());
        findings.push(Finding::order("facts_published", &row.id, format!("published within {} s", GRACE.num_seconds()), found));
    }
}

/// Adds where SQL and Temporal contradict each other.
pub(super) fn runs(sources: &Sources, findings: &mut Vec<Finding>) {
    let known: BTreeSet<&OrderId> = sources.orders.iter().map(|o| &o.row.id).collect();
    for row in sources.orders.iter().map(|o| &o.row) {
        let open = sources.runs.open.contains_key(&row.id);
        // a row of rev 0 without a run was never promised to anybody: the sweeper removes it
        if !row.status.is_terminal() && row.rev > 0 && !open {
            let expected = format!("an open run, as the order is {}", row.status);
            findings.push(Finding::order("open_order_has_run", &row.id, expected, "none"));
        }
        if row.status.is_terminal() && open && overdue(row.updated_at, sources.now) {
            let expected = format!("no open run, as the order is {}", row.status);
            findings.push(Finding::order("ended_order_has_no_run", &row.id, expected, "an open one"));
        }
    }
    for (id, since) in &sources.runs.open {
        if !known.contains(id) && overdue(*since, sources.now) {
            findings.push(Finding::order("run_has_order", id, "a row in SQL", "an open run only"));
        }
    }
}
