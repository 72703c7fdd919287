//! What must hold of every shelf.

use oms_store::StockAudit;

use super::finding::Finding;

/// Adds what does not hold of a shelf.
pub(super) fn shelf(row: &StockAudit, findings: &mut Vec<Finding>) {
    let at = (&row.sku, &row.location);
    if row.on_hand != row.movements_sum {
        let expected = format!("{} on hand, the sum of its movements", row.movements_sum);
        findings.push(Finding::shelf("stock_conserved", at, expected, format!("{} on hand", row.on_hand)));
    }
    if row.reserved != row.open_reserved_sum {
        let expected = format!("{} reserved, the sum of its reservations", row.open_reserved_sum);
        findings.push(Finding::shelf("reservations_add_up", at, expected, format!("{} reserved", row.reserved)));
    }
    if row.reserved < 0 || row.reserved > row.on_hand {
        let found = format!("{} reserved", row.reserved);
        findings.push(Finding::shelf("never_oversold", at, format!("0 to {} reserved", row.on_hand), found));
    }
    let free = row.on_hand - row.reserved;
    if free > 0 && row.waiting_sum > 0 {
        let expected = format!("nothing free, as orders wait for {} units", row.waiting_sum);
        findings.push(Finding::shelf("waiting_first", at, expected, format!("{free} free")));
    }
}
