//! Queue `orders`: orders' workflows, their aftermaths and their records.

use oms_activities::orders::OrderActivities;
use oms_activities::refunds::RefundActivities;
use oms_activities::returns::ReturnActivities;
use oms_contract::names::Queue;
use oms_temporal::worker::WorkerError;
use oms_workflows::aftermath::Aftermath;
use oms_workflows::order::Order;
use oms_workflows::reconcile::Reconcile;
use oms_workflows::refund::Refund;
use oms_workflows::returning::Returning;
use temporalio_sdk::WorkerOptions;

use crate::{Parts, reconciler, unregistered};

pub(crate) fn register(mut options: WorkerOptions, parts: &Parts) -> Result<WorkerOptions, WorkerError> {
    options.register_workflow::<Order>().map_err(|e| unregistered(Queue::Orders, e))?;
    options.register_workflow::<Aftermath>().map_err(|e| unregistered(Queue::Orders, e))?;
    options.register_workflow::<Refund>().map_err(|e| unregistered(Queue::Orders, e))?;
    options.register_workflow::<Returning>().map_err(|e| unregistered(Queue::Orders, e))?;
    options.register_workflow::<Reconcile>().map_err(|e| unregistered(Queue::Orders, e))?;
    options.register_activities(reconciler::activities(parts));
    options.register_activities(OrderActivities {
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        bell: parts.bell.clone(),
    });
    options.register_activities(RefundActivities { store: parts.store.clone(), clock: parts.clock.clone() });
    options.register_activities(ReturnActivities { store: parts.store.clone(), clock: parts.clock.clone() });
    Ok(options)
}
