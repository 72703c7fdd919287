//! Stock.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::activity::{ChangeReservation, Commit, Departed, Release, Reserve, Reserved};
use oms_contract::definitions::markers;
use oms_store::{ChangeStock, CommitStock, Store};
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// Moves stock.
pub struct InventoryActivities {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
}

fn stock(input: Commit) -> CommitStock {
    CommitStock { order_id: input.order_id, shipment_id: input.shipment_id, location: input.location, lines: input.lines }
}

fn reserved(answer: oms_store::Reserved) -> Reserved {
    match answer {
        oms_store::Reserved::Held { allocations, waiting } => Reserved::Held { allocations, waiting },
        oms_store::Reserved::OutOfStock { short } => Reserved::OutOfStock { short },
        oms_store::Reserved::Released => Reserved::Released,
    }
}

#[activities]
impl InventoryActivities {
    /// Promise stock.
    #[activity(definition = markers::Reserve)]
    pub async fn reserve(self: Arc<Self>, _ctx: ActivityContext, input: Reserve) -> Result<Reserved, ActivityError> {
        let now = (self.clock)();
        let reserve = oms_store::Reserve {
            order_id: input.order_id,
            revision: input.revision,
            lines: input.lines,
            expires_at: input.expires_at,
            policy: input.policy,
            placed_at: input.placed_at.unwrap_or(now),
            strategy: input.strategy,
        };
        self.store.reserve(&reserve, now).await.map(reserved).map_err(failure::store)
    }

    /// Make the promise cover other lines.
    #[activity(definition = markers::Change)]
    pub async fn change(self: Arc<Self>, _ctx: ActivityContext, input: ChangeReservation) -> Result<Reserved, ActivityError> {
        let change = ChangeStock {
            order_id: input.order_id,
            change: input.change,
            lines: input.lines,
            policy: input.policy,
            keep: input.keep,
            placed_at: input.placed_at,
            strategy: input.strategy,
        };
        self.store.change_reservation(&change, (self.clock)()).await.map(reserved).map_err(failure::store)
    }

    /// Take the promise back.
    #[activity(definition = markers::Release)]
    pub async fn release(self: Arc<Self>, _ctx: ActivityContext, input: Release) -> Result<bool, ActivityError> {
        self.store.release(&input.order_id, (self.clock)()).await.map_err(failure::store)
    }

    /// Book the goods out.
    #[activity(definition = markers::Commit)]
    pub async fn commit(self: Arc<Self>, _ctx: ActivityContext, input: Commit) -> Result<(), ActivityError> {
        self.store.commit_stock(&stock(input), (self.clock)()).await.map_err(failure::store)
    }

    /// Book out goods that left although their order was cancelled.
    #[activity(definition = markers::Depart)]
    pub async fn depart(self: Arc<Self>, _ctx: ActivityContext, input: Commit) -> Result<Departed, ActivityError> {
        let departed = self.store.depart(&stock(input), (self.clock)()).await.map_err(failure::store)?;
        Ok(Departed { missing: departed.missing })
    }
}
