//! Queue `shipping`: carriers.

use oms_activities::shipping::ShippingActivities;
use temporalio_sdk::WorkerOptions;

use crate::Parts;

pub(crate) fn register(mut options: WorkerOptions, parts: &Parts) -> WorkerOptions {
    options.register_activities(ShippingActivities {
        store: parts.store.clone(),
        carrier: parts.gateways.carrier.clone(),
        clock: parts.clock.clone(),
    });
    options
}
