//! Queue `inventory`: stock.

use oms_activities::inventory::InventoryActivities;
use oms_activities::returns::RestockActivities;
use temporalio_sdk::WorkerOptions;

use crate::{Parts, reconciler};

pub(crate) fn register(mut options: WorkerOptions, parts: &Parts) -> WorkerOptions {
    options.register_activities(reconciler::activities(parts));
    options.register_activities(InventoryActivities { store: parts.store.clone(), clock: parts.clock.clone() });
    options.register_activities(RestockActivities { store: parts.store.clone(), clock: parts.clock.clone() });
    options
}
