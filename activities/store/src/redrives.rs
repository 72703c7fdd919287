//! Bulk re-drives: which orders are to be set going again, one row per order, worked off by one process at a time.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use serde_json::Value;
use std::time::Duration;

use crate::Result;
use crate::orders::OrderFilter;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// Where a re-drive stands.
    RedriveState {
        /// Orders are still to be done.
        Running = "running",
        /// Every order has its outcome.
        Done = "done",
    }
}
words! {
    /// From where an order goes on.
    RedriveFrom {
        /// A run that is stuck or closed goes back to its last completed workflow task.
        LastTask = "last_task",
        /// Runs go on from where they are; none is reset.
        Now = "now",
    }
}
words! {
    /// What a re-drive did with an order.
    RedriveOutcome {
        /// Its run was told to try again now.
        Nudged = "nudged",
        /// Its run was reset.
        Reset = "reset",
        /// There was nothing to do.
        Skipped = "skipped",
        /// It could not be done.
        Failed = "failed",
    }
}

/// Which orders to set going again; everything given must hold. Orders that have ended match only if they are named by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedriveFilter {
    /// What holds for a list of orders holds here.
    pub orders: OrderFilter,
    /// An open review item of this kind is about it.
    pub kind: Option<String>,
    /// One of these; any, if none is named.
    pub ids: Vec<OrderId>,
}

/// A re-drive to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRedrive {
    /// Its id: the same request has the same one.
    pub id: String,
    /// Which orders.
    pub filter: RedriveFilter,
    /// The filter as it was asked for, to be shown again.
    pub asked: Value,
    /// From where they go on.
    pub from: RedriveFrom,
    /// Orders per second at most.
    pub rate: u32,
    /// Who asked.
    pub actor: String,
}

/// A re-drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: RedriveState,
    /// The filter as it was asked for.
    pub asked: Value,
    /// From where orders go on.
    pub from: RedriveFrom,
    /// Orders per second at most.
    pub rate: u32,
    /// Who asked.
    pub actor: String,
    /// When.
    pub created_at: Instant,
    /// When the last order was done.
    pub finished_at: Option<Instant>,
    /// How many orders matched.
    pub matched: u64,
    /// Of them nudged, reset, skipped and failed so far.
    pub outcomes: [u64; 4],
}

/// An order of a re-drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveOrder {
    /// Which.
    pub order_id: OrderId,
    /// What was done; none yet.
    pub outcome: Option<RedriveOutcome>,
    /// What was found, in words.
    pub detail: Option<String>,
    /// When it was done.
    pub at: Option<Instant>,
}

/// Orders of one re-drive at most, the oldest first.
pub const REDRIVE_MAX: u32 = 100_000;

impl Store {
    /// How many orders a re-drive would do, and the first of them by id.
    pub async fn redrive_matches(&self, filter: &RedriveFilter, limit: u32) -> Result<(u64, Vec<OrderId>)> {
        run!(self, redrives::matches(filter, limit))
    }

    /// Begins a re-drive of the orders that match now, [`REDRIVE_MAX`] at most. The same id begins one.
    pub async fn begin_redrive(&self, new: &NewRedrive, now: Instant) -> Result<Redrive> {
        run!(self, redrives::begin(new, now))
    }

    /// A re-drive as it stands.
    pub async fn redrive(&self, id: &str) -> Result<Option<Redrive>> {
        run!(self, redrives::redrive(id))
    }

    /// A page of a re-drive's orders, by id.
    pub async fn redrive_orders(&self, id: &str, after: Option<&OrderId>, limit: u32) -> Result<Vec<RedriveOrder>> {
        run!(self, redrives::orders(id, after, limit))
    }

    /// Takes the oldest re-drive that nobody else works on, or keeps the own one, for as long as `lease`.
    pub async fn lease_redrive(&self, holder: &str, lease: Duration, now: Instant) -> Result<Option<Redrive>> {
        run!(self, redrives::lease(holder, lease, now))
    }

    /// Orders of a re-drive that are still to be done, by id.
    pub async fn redrive_to_do(&self, id: &str, limit: u32) -> Result<Vec<OrderId>> {
        run!(self, redrives::to_do(id, limit))
    }

    /// Ends a re-drive of which no order is left to be done.
    pub async fn finish_redrive(&self, id: &str, now: Instant) -> Result<()> {
        run!(self, redrives::finish(id, now))
    }

    /// Notes what was done with an order. The first outcome stays; with the last one the re-drive is done.
    pub async fn note_redriven(
        &self,
        id: &str,
        order: &OrderId,
        outcome: RedriveOutcome,
        detail: &str,
        now: Instant,
    ) -> Result<()> {
        run!(self, redrives::note(id, order, outcome, detail, now))
    }
}
