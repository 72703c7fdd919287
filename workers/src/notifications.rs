//! Queue `notifications`: batches of messages and their sending.

use oms_activities::notifications::NotificationActivities;
use oms_contract::names::Queue;
use oms_temporal::worker::WorkerError;
use oms_workflows::mailout::Mailout;
use temporalio_sdk::WorkerOptions;

use crate::{Parts, unregistered};

pub(crate) fn register(mut options: WorkerOptions, parts: &Parts) -> Result<WorkerOptions, WorkerError> {
    options.register_workflow::<Mailout>().map_err(|e| unregistered(Queue::Notifications, e))?;
    options.register_activities(NotificationActivities {
        store: parts.store.clone(),
        mailer: parts.gateways.mailer.clone(),
        texter: parts.gateways.texter.clone(),
        shop: parts.gateways.shop.clone(),
        fresh_token: std::sync::Arc::new(|| format!("{:032x}", rand::random::<u128>())),
        clock: parts.clock.clone(),
    });
    Ok(options)
}
