//! Reservations: stock promised to an order, taken back, or gone with a parcel.

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, ShipmentId, Sku};
use oms_domain::stock::{Allocation, Quantity};

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
    /// When the promise runs out unless it is confirmed before.
    pub expires_at: Instant,
}

/// The answer to a wish for stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// Promised; a repeat answers the same allocations, whatever became of them since.
    Held {
        /// What each place gives.
        allocations: Vec<Allocation>,
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

    /// Gives back whatever of the order's stock has not left, confirmed or not; answers whether there was any. From then on the
    /// order gets no more: a late [`reserve`](Self::reserve) finds it released. Idempotent.
    pub async fn release(&self, order_id: &OrderId, now: Instant) -> Result<bool> {
        run!(self, reservations::release(order_id, now))
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
