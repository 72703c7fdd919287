//! Reservations: stock promised to an order, taken back, or gone with a parcel.

use oms_domain::Instant;
use oms_domain::event::Fact;
use oms_domain::ids::{Location, OrderId, ShipmentId, Sku};
use oms_domain::shortage::ShortagePolicy;
use oms_domain::stock::{Allocation, Quantity, Strategy};

use crate::Result;
use crate::store::{Store, run};

/// A wish for stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// For whom.
    pub order_id: OrderId,
    /// Which attempt of the order, from 1; a repeat of one attempt changes nothing.
    pub revision: u32,
    /// What; the same SKU on two lines counts together.
    pub lines: Vec<Quantity>,
    /// When the promise runs out unless it is confirmed before; only under policy `reject`, the others do not run out.
    pub expires_at: Instant,
    /// What to do when not everything is there.
    pub policy: ShortagePolicy,
    /// The order's place in the queue.
    pub placed_at: Instant,
    /// Which places give first.
    pub strategy: Strategy,
}

/// Another wish, for an order that may have stock already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeStock {
    /// For whom.
    pub order_id: OrderId,
    /// Which change of the order, from 1: a number that is not above the last one changes nothing.
    pub change: u32,
    /// What the promise covers from now on, units that have left included.
    pub lines: Vec<Quantity>,
    /// What to do when not everything is there; `reject` leaves everything as it was.
    pub policy: ShortagePolicy,
    /// What is in parcels that stay as they are: these units are not given back. Units that left count as kept already.
    pub keep: Vec<Allocation>,
    /// The order's place in the queue.
    pub placed_at: Instant,
    /// Which places give first.
    pub strategy: Strategy,
}

/// The answer to a wish for stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// Promised. A repeat answers what the order has now: units that left are still listed, units given back are not.
    Held {
        /// What each place gives.
        allocations: Vec<Allocation>,
        /// What the order waits for, sorted by SKU.
        waiting: Vec<Quantity>,
    },
    /// Nothing was promised. Not remembered: a repeat may find stock.
    OutOfStock {
        /// What is short, sorted.
        short: Vec<Sku>,
    },
    /// The order's stock was released before (or a newer attempt took this one's place): nothing was promised.
    Released,
}

/// A parcel that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStock {
    /// Whose.
    pub order_id: OrderId,
    /// Which parcel: each leaves once.
    pub shipment_id: ShipmentId,
    /// From where.
    pub location: Location,
    /// What is inside.
    pub lines: Vec<Quantity>,
}

/// What the stock could not account for when a parcel left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departed {
    /// Units that left although no unreserved unit was on the books.
    pub missing: Vec<Quantity>,
}

impl Store {
    /// Promises stock to an order, all of it or nothing. Promises that ran out are taken back first, in the same transaction.
    /// Idempotent by (order, revision); older revisions of the order are given back.
    pub async fn reserve(&self, reserve: &Reserve, now: Instant) -> Result<Reserved> {
        run!(self, reservations::reserve(reserve, now))
    }

    /// Makes the order's promise cover exactly these lines: what it has is kept where possible, what is too much goes back (units
    /// that left do not), what lacks is promised or queued for. Idempotent by (order, change).
    pub async fn change_reservation(&self, change: &ChangeStock, now: Instant) -> Result<Reserved> {
        run!(self, change::change(change, now))
    }

    /// Gives back whatever of the order's stock has not left, confirmed or not; answers whether there was any. From then on the
    /// order gets no more: a late [`reserve`](Self::reserve) finds it released. Idempotent.
    pub async fn release(&self, order_id: &OrderId, now: Instant) -> Result<bool> {
        run!(self, reservations::release(order_id, None, now))
    }

    /// The same for an order that should have nothing any more. If there was any, the fact goes on the order's timeline, if there is
    /// such an order.
    pub async fn release_orphan(&self, order_id: &OrderId, told: &Fact, now: Instant) -> Result<bool> {
        run!(self, reservations::release(order_id, Some(told), now))
    }

    /// Books a parcel's departure out of the order's reservation. Idempotent by shipment. What the reservation no longer covers
    /// is booked like [`depart`](Self::depart) does.
    pub async fn commit_stock(&self, commit: &CommitStock, now: Instant) -> Result<()> {
        let departed: Result<Departed> = run!(self, departures::depart(commit, now));
        departed.map(|_| ())
    }

    /// Books the departure of a parcel that needs no reservation: what the order still has reserved goes first, then `on_hand`
    /// follows as far as unreserved stock allows. Idempotent by shipment, together with [`commit_stock`](Self::commit_stock): a
    /// parcel leaves once; a repeat answers what was missing then.
    pub async fn depart(&self, commit: &CommitStock, now: Instant) -> Result<Departed> {
        run!(self, departures::depart(commit, now))
    }
}
