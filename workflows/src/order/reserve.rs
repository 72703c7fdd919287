//! Stock is promised to the order.

use oms_contract::activity::{Reserve, Reserved};
use oms_contract::definitions::Inventory;
use oms_domain::event::{Fact, FactKind};
use oms_domain::order::Reason;
use oms_domain::stock::{Allocation, Quantity, demand};

use super::Stop;
use super::desk::{Desk, after};
use super::undo::Pending;
use crate::saga::Step;

/// Promises stock, all lines or none; answers where it lies.
pub(super) async fn reserve(desk: &Desk, revision: u32) -> Result<Vec<Allocation>, Stop> {
    let start = desk.start();
    desk.write(|s| s.register(Pending::Release));
    let input = Reserve {
        order_id: start.order_id.clone(),
        revision,
        lines: demand(start.lines.iter().map(|line| (&line.sku, line.quantity)))
            .into_iter()
            .map(|(sku, quantity)| Quantity { sku, quantity })
            .collect(),
        expires_at: after(desk.now(), start.deadlines.reservation),
    };
    match desk.step(Step::Reserve, || Inventory::reserve, input, None).await? {
        Reserved::Held { allocations } => {
            desk.note(Fact::new(format!("reserved/{revision}"), FactKind::StockReserved, desk.now()));
            Ok(allocations)
        }
        // a tombstone without a cancel is left only by a run of this order that was reset away: nothing may be sold for it
        Reserved::OutOfStock { .. } | Reserved::Released => Err(Stop::Refused(Reason::OutOfStock)),
    }
}
