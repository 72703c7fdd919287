//! Queue `payments`: money.

use oms_activities::payments::PaymentActivities;
use temporalio_sdk::WorkerOptions;

use crate::Parts;

pub(crate) fn register(mut options: WorkerOptions, parts: &Parts) -> WorkerOptions {
    options.register_activities(PaymentActivities {
        store: parts.store.clone(),
        gateway: parts.gateways.payments.clone(),
        clock: parts.clock.clone(),
    });
    options
}
