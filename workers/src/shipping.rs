//! Queue `shipping`: carriers.

use oms_activities::returns::ReturnLabelActivities;
use oms_activities::shipping::ShippingActivities;
use temporalio_sdk::WorkerOptions;

use crate::{Parts, reconciler};

pub(crate) fn register(mut options: WorkerOptions, parts: &Parts) -> WorkerOptions {
    options.register_activities(reconciler::activities(parts));
    options.register_activities(ShippingActivities {
        store: parts.store.clone(),
        carrier: parts.gateways.carrier.clone(),
        clock: parts.clock.clone(),
    });
    options.register_activities(ReturnLabelActivities {
        store: parts.store.clone(),
        carrier: parts.gateways.carrier.clone(),
        clock: parts.clock.clone(),
    });
    options
}
