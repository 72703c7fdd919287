//! Plugs decisions and effects into task queues: one file per queue says what it registers. Beside them run the intake's sweeper
//! (role `orders`), the claimer of messages (role `notifications`) and the relay of the outbox.

mod claimer;
mod inventory;
mod notifications;
mod orders;
mod payments;
pub mod relay;
mod shipping;
mod sweeper;

use futures::future::{FutureExt, select_all};
use oms_activities::Clock;
use oms_activities::notifications::Shop;
use oms_contract::names::Queue;
use oms_gateways::carrier::Carrier;
use oms_gateways::mail::Mailer;
use oms_gateways::payment::PaymentGateway;
use oms_gateways::sms::Texter;
use oms_store::Store;
use oms_temporal::worker::{WorkerError, WorkerThread, WorkerTuning, runtime, worker_options};
use std::sync::Arc;
use temporalio_client::Client;
use temporalio_sdk::WorkerOptions;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The outside parties.
#[derive(Clone)]
pub struct Gateways {
    /// Holds and takes money.
    pub payments: Arc<dyn PaymentGateway>,
    /// Carries parcels.
    pub carrier: Arc<dyn Carrier>,
    /// Sends mail.
    pub mailer: Arc<dyn Mailer>,
    /// Sends text messages.
    pub texter: Arc<dyn Texter>,
    /// The shop as its messages show it.
    pub shop: Shop,
}

/// What workers are made of.
#[derive(Clone)]
pub struct Parts {
    /// The engine.
    pub client: Client,
    /// The database.
    pub store: Store,
    /// The outside parties.
    pub gateways: Gateways,
    /// The time.
    pub clock: Clock,
    /// Slots, caches and the drain's length.
    pub tuning: WorkerTuning,
}

/// Running workers.
pub struct Fleet {
    threads: Vec<WorkerThread>,
    stop: CancellationToken,
    companions: Vec<JoinHandle<()>>,
}

/// What a role registers.
fn options(role: Queue, parts: &Parts) -> Result<WorkerOptions, WorkerError> {
    let blank = worker_options(role.name(), &parts.tuning);
    match role {
        Queue::Orders => orders::register(blank, parts),
        Queue::Inventory => Ok(inventory::register(blank, parts)),
        Queue::Payments => Ok(payments::register(blank, parts)),
        Queue::Shipping => Ok(shipping::register(blank, parts)),
        Queue::Notifications => notifications::register(blank, parts),
    }
}

/// A workflow type that cannot be registered.
fn unregistered(role: Queue, error: impl std::fmt::Display) -> WorkerError {
    WorkerError::Start { queue: role.name().to_owned(), reason: error.to_string() }
}

impl Fleet {
    /// Starts one worker per role. Errors: [`WorkerError`] if one cannot start; those already started stop again.
    pub async fn start(roles: &[Queue], parts: Parts) -> Result<Self, WorkerError> {
        let runtime = runtime()?;
        let stop = CancellationToken::new();
        let mut fleet = Self { threads: Vec::new(), stop: stop.clone(), companions: Vec::new() };
        for role in roles {
            let thread = WorkerThread::spawn(runtime.clone(), parts.client.clone(), options(*role, &parts)?).await?;
            fleet.threads.push(thread);
            match role {
                Queue::Orders => fleet.companions.push(tokio::spawn(sweeper::run(parts.clone(), stop.clone()))),
                Queue::Notifications => fleet.companions.push(tokio::spawn(claimer::run(parts.clone(), stop.clone()))),
                Queue::Inventory | Queue::Payments | Queue::Shipping => {}
            }
        }
        Ok(fleet)
    }

    /// Waits until a worker ends on its own, which is always a failure.
    pub async fn failed(&self) -> WorkerError {
        if self.threads.is_empty() {
            return std::future::pending().await;
        }
        let ends = self.threads.iter().map(|thread| thread.finished().map(|end| (thread.queue().to_owned(), end)).boxed());
        let ((queue, end), ..) = select_all(ends).await;
        end.err().unwrap_or(WorkerError::Ended { queue, reason: "it stopped without being asked".to_owned() })
    }

    /// Stops: no new task is taken, running ones get the drain's time to finish.
    pub async fn stop(self) {
        self.stop.cancel();
        for thread in &self.threads {
            thread.stop();
        }
        for companion in self.companions {
            if let Err(error) = companion.await {
                tracing::warn!(%error, "a companion of the workers ended badly");
            }
        }
        for thread in self.threads {
            if let Err(error) = thread.join().await {
                tracing::warn!(%error, "a worker ended badly");
            }
        }
    }
}
