//! Queue `inventory`: stock.

use oms_activities::inventory::InventoryActivities;
use temporalio_sdk::WorkerOptions;

use crate::Parts;

pub(crate) fn register(mut options: WorkerOptions, parts: &Parts) -> WorkerOptions {
    options.register_activities(InventoryActivities { store: parts.store.clone(), clock: parts.clock.clone() });
    options
}
