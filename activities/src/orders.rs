//! The order's own row.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::activity::{Append, Record, Recorded};
use oms_contract::definitions::markers;
use oms_store::Store;
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// Writes records.
pub struct OrderActivities {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
}

fn recorded(row: oms_store::Recorded) -> Recorded {
    Recorded { rev: row.rev, seq: row.seq, status: row.status, lapsed: row.lapsed }
}

#[activities]
impl OrderActivities {
    /// Write the order's row, timeline, outbox and messages.
    #[activity(definition = markers::Record)]
    pub async fn record(self: Arc<Self>, _ctx: ActivityContext, input: Record) -> Result<Recorded, ActivityError> {
        let record = oms_store::Record {
            order_id: input.order_id,
            rev: input.rev,
            life: input.life,
            facts: input.facts,
            scans: input.scans.into_iter().map(|heard| (heard.scan, heard.result)).collect(),
            confirm: input.confirm,
        };
        self.store.record(&record, (self.clock)()).await.map(recorded).map_err(failure::store)
    }

    /// Add to a closed order's story.
    #[activity(definition = markers::Append)]
    pub async fn append(self: Arc<Self>, _ctx: ActivityContext, input: Append) -> Result<Recorded, ActivityError> {
        let change = oms_store::Append { attention: input.attention, shipment_status: input.shipment };
        let scan = input.scan.map(|heard| (heard.scan, heard.result));
        let row = self.store.append(&input.order_id, &input.facts, change, scan, (self.clock)()).await;
        row.map(recorded).map_err(failure::store)
    }
}
