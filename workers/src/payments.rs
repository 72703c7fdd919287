//! Queue `payments`: money.

use oms_activities::payments::PaymentActivities;
use oms_activities::refunds::PayBackActivities;
use temporalio_sdk::WorkerOptions;

use crate::{Parts, reconciler};

pub(crate) fn register(mut options: WorkerOptions, parts: &Parts) -> WorkerOptions {
    options.register_activities(reconciler::activities(parts));
    options.register_activities(PaymentActivities {
        store: parts.store.clone(),
        gateway: parts.gateways.payments.clone(),
        clock: parts.clock.clone(),
    });
    options.register_activities(PayBackActivities {
        store: parts.store.clone(),
        gateway: parts.gateways.payments.clone(),
        clock: parts.clock.clone(),
    });
    options
}
