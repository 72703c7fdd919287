//! Queue `orders`: orders' workflows, their aftermaths and their records.

use oms_activities::orders::OrderActivities;
use oms_contract::names::Queue;
use oms_temporal::worker::WorkerError;
use oms_workflows::aftermath::Aftermath;
use oms_workflows::order::Order;
use temporalio_sdk::WorkerOptions;

use crate::{Parts, unregistered};

pub(crate) fn register(mut options: WorkerOptions, parts: &Parts) -> Result<WorkerOptions, WorkerError> {
    options.register_workflow::<Order>().map_err(|e| unregistered(Queue::Orders, e))?;
    options.register_workflow::<Aftermath>().map_err(|e| unregistered(Queue::Orders, e))?;
    options.register_activities(OrderActivities { store: parts.store.clone(), clock: parts.clock.clone() });
    Ok(options)
}
