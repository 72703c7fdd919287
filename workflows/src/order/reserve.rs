//! Stock is promised to the order.

use oms_contract::activity::{ChangeReservation, Reserve, Reserved};
use oms_contract::definitions::Inventory;
use oms_contract::names::Queue;
use oms_domain::event::{Fact, FactKind};
use oms_domain::order::{Reason, Status};
use oms_domain::shortage::ShortagePolicy;
use oms_domain::stock::{Allocation, Quantity, demand};

use super::desk::{Desk, after};
use super::undo::Pending;
use super::{Order, Stop};
use crate::saga::Step;

impl Order {
    /// What is ordered now, article by article.
    pub(super) fn demand(&self) -> Vec<Quantity> {
        demand(self.lines.iter().map(|line| (&line.sku, line.quantity)))
            .into_iter()
            .filter(|(_, quantity)| *quantity > 0)
            .map(|(sku, quantity)| Quantity { sku, quantity })
            .collect()
    }

    fn promise(&mut self, allocations: Vec<Allocation>, waiting: Vec<Quantity>) {
        self.allocations = allocations;
        self.life.waiting = waiting;
    }

    fn reserve_input(&self) -> Reserve {
        Reserve {
            order_id: self.start.order_id.clone(),
            revision: self.reservation,
            lines: self.demand(),
            expires_at: after(self.moved_at, self.start.deadlines.reservation),
            policy: self.start.on_shortage.policy,
            placed_at: Some(self.start.placed_at),
            strategy: self.start.strategy,
        }
    }
}

/// Promises stock: all lines or none, unless the order may wait for the rest.
pub(super) async fn reserve(desk: &Desk) -> Result<(), Stop> {
    let now = desk.now();
    let input = desk.write(|s| {
        s.register(Pending::Release);
        s.reservation += 1;
        Reserve { expires_at: after(now, s.start.deadlines.reservation), ..s.reserve_input() }
    });
    let revision = input.revision;
    match desk.step(Step::Reserve, || Inventory::reserve, input, None).await? {
        Reserved::Held { allocations, waiting } => {
            if !allocations.is_empty() {
                desk.note(Fact::new(format!("reserved/{revision}"), FactKind::StockReserved, desk.now()));
            }
            desk.write(|s| s.promise(allocations, waiting));
            Ok(())
        }
        // a tombstone without a cancel is left only by a run of this order that was reset away: nothing may be sold for it
        Reserved::OutOfStock { .. } | Reserved::Released => Err(Stop::Refused(Reason::OutOfStock)),
    }
}

/// Looks what has arrived for an order that waits: asking again under the same revision answers what is promised by now.
pub(super) async fn look_again(desk: &Desk) -> Result<(), Stop> {
    loop {
        desk.until(|s| !s.life.editing || s.life.status == Status::Cancelling).await;
        let (input, changes) = desk.read(|s| (s.reserve_input(), s.changes));
        match desk.must(Queue::Inventory, "look what has arrived for the order", || Inventory::reserve, input).await {
            // older than a change that was made beside it: what the promise is now, the next look tells
            Reserved::Held { .. } if desk.read(|s| s.changes != changes || s.life.editing) => {}
            Reserved::Held { allocations, waiting } => {
                let now = desk.now();
                desk.write(|s| {
                    if s.life.waiting != waiting {
                        s.publish_arrival(now);
                    }
                    s.promise(allocations, waiting);
                });
                return Ok(());
            }
            // only an undo releases, and it has the word then
            Reserved::OutOfStock { .. } | Reserved::Released => return Err(Stop::Cancelled),
        }
    }
}

impl Order {
    fn publish_arrival(&mut self, now: oms_domain::Instant) {
        let key = format!("arrived/{}", self.arrivals);
        self.journal.publish(Fact::new(key, FactKind::StockArrived, now));
    }
}

/// How a change of the promise ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Done,
    OutOfStock,
    /// The order is being undone.
    Released,
}

/// Makes the promise cover `lines`; what is in labelled parcels stays where it is.
pub(super) async fn change(desk: &Desk, lines: Vec<Quantity>, policy: ShortagePolicy) -> Change {
    let input = desk.write(|s| {
        s.changes += 1;
        ChangeReservation {
            order_id: s.start.order_id.clone(),
            change: s.changes,
            lines,
            policy,
            keep: s.labelled().map(|p| Allocation { location: p.location.clone(), lines: p.lines.clone() }).collect(),
            placed_at: s.start.placed_at,
            strategy: s.start.strategy,
        }
    });
    if desk.read(|s| s.life.status == Status::Cancelling) {
        return Change::Released;
    }
    match desk.must(Queue::Inventory, "change what is promised to the order", || Inventory::change, input).await {
        Reserved::Held { allocations, waiting } => {
            desk.write(|s| s.promise(allocations, waiting));
            Change::Done
        }
        Reserved::OutOfStock { .. } => Change::OutOfStock,
        Reserved::Released => Change::Released,
    }
}
