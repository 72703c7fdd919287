//! Stock.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::activity::{Commit, Departed, Release, Reserve, Reserved};
use oms_contract::definitions::markers;
use oms_store::{CommitStock, Store};
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

#[activities]
impl InventoryActivities {
    /// Promise stock.
    #[activity(definition = markers::Reserve)]
    pub async fn reserve(self: Arc<Self>, _ctx: ActivityContext, input: Reserve) -> Result<Reserved, ActivityError> {
        let reserve = oms_store::Reserve {
            order_id: input.order_id,
            revision: input.revision,
            lines: input.lines,
            expires_at: input.expires_at,
        };
        let answer = self.store.reserve(&reserve, (self.clock)()).await.map_err(failure::store)?;
        Ok(match answer {
            oms_store::Reserved::Held { allocations } => Reserved::Held { allocations },
            oms_store::Reserved::OutOfStock { short } => Reserved::OutOfStock { short },
            oms_store::Reserved::Released => Reserved::Released,
        })
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
