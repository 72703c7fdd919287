//! Plugs decisions and effects into task queues: one file per queue says what it registers. Beside them run the intake's sweeper,
//! the waker of orders that wait for stock, the starter of refunds and returns and who looks after their runs, the redriver, the
//! reconciliation's schedule and the janitor (role `orders`), the claimer of messages and the teller of alerts (role `notifications`),
//! the watchdog (every role), and the relay of the outbox.

mod alerter;
mod claimer;
mod deliverer;
mod inventory;
mod janitor;
mod notifications;
mod orders;
mod payments;
mod reconciler;
mod redriver;
mod refunder;
pub mod relay;
mod shipping;
mod stories;
mod sweeper;
mod switch;
mod waker;
pub mod watchdog;

pub use alerter::Alerts;
pub use deliverer::WebhookPolicy;
pub use janitor::Retention;
pub use reconciler::Reconciliation;

use futures::future::{FutureExt, select_all};
use oms_activities::Clock;
use oms_activities::breaker::{BadRules, Breaker, Guarded, Rules};
use oms_activities::notifications::Shop;
use oms_contract::names::Queue;
use oms_contract::start::Patience;
use oms_domain::party::Party;
use oms_gateways::carrier::Carrier;
use oms_gateways::mail::Mailer;
use oms_gateways::payment::PaymentGateway;
use oms_gateways::replicas::Bell;
use oms_gateways::sms::Texter;
use oms_store::Store;
use oms_temporal::worker::{WorkerError, WorkerThread, WorkerTuning, runtime, worker_options};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use switch::Gate;
use temporalio_client::{Client, RetryOptions, RpcOptions};
use temporalio_sdk::WorkerOptions;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

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

impl Gateways {
    /// With a breaker before each party, which shares its circuit with all others of the same store.
    ///
    /// # Errors
    /// [`BadRules`].
    pub fn guarded(self, store: &Store, clock: &Clock, rules: Rules) -> Result<Self, BadRules> {
        let breaker = |party| Breaker::new(party, store.clone(), clock.clone(), rules);
        Ok(Self {
            payments: Arc::new(Guarded::new(self.payments, breaker(Party::Payment)?)),
            carrier: Arc::new(Guarded::new(self.carrier, breaker(Party::Carrier)?)),
            mailer: Arc::new(Guarded::new(self.mailer, breaker(Party::Mail)?)),
            texter: Arc::new(Guarded::new(self.texter, breaker(Party::Sms)?)),
            shop: self.shop,
        })
    }
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
    /// Rung when there is something new of an order.
    pub bell: Bell,
    /// The time.
    pub clock: Clock,
    /// Slots, caches and the drain's length.
    pub tuning: WorkerTuning,
    /// Retry pauses and attempt limits of what is started here.
    pub patience: Patience,
    /// Whom to tell that a person is needed.
    pub alerts: Alerts,
    /// How often the watchdog looks for orders that should have moved; see [`WATCH_EVERY`].
    pub watch_every: Duration,
    /// How long a warehouse may take to take a booked shipment over before a person looks. None: as long as it likes.
    pub handoff_max: Option<Duration>,
    /// When our books are compared with those of others.
    pub reconciliation: Reconciliation,
    /// What is deleted at which age.
    pub retention: Retention,
    /// How often it is looked for what is too old; see [`SWEEP_EVERY`].
    pub janitor_every: Duration,
}

/// How often the watchdog looks, unless it is told otherwise: an order past its deadline is listed within a minute.
pub const WATCH_EVERY: Duration = Duration::from_secs(15);

/// How often it is looked for what is too old, unless told otherwise.
pub const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// A companion's call to the engine may take this long: it comes again soon, and others wait behind it.
const CALL_MAX: Duration = Duration::from_secs(5);

/// Running workers.
pub struct Fleet {
    threads: Vec<WorkerThread>,
    gates: Vec<Gate>,
    // what was started stops again when a later start fails
    stop: DropGuard,
    companions: Companions,
}

/// Tasks beside the workers. One that ends badly is as bad as a worker that does: its work would be left undone unnoticed.
struct Companions {
    running: Vec<JoinHandle<()>>,
    broken: watch::Sender<Option<&'static str>>,
}

impl Companions {
    fn new() -> Self {
        Self { running: Vec::new(), broken: watch::Sender::new(None) }
    }

    fn start(&mut self, name: &'static str, companion: impl Future<Output = ()> + Send + 'static) {
        let broken = self.broken.clone();
        self.running.push(tokio::spawn(async move {
            if AssertUnwindSafe(companion).catch_unwind().await.is_err() {
                broken.send_replace(Some(name));
            }
        }));
    }

    /// Waits until a companion panics.
    async fn failed(&self) -> WorkerError {
        let mut broken = self.broken.subscribe();
        match broken.wait_for(Option::is_some).await.map(|name| *name) {
            Ok(Some(name)) => WorkerError::Ended { queue: name.to_owned(), reason: "it panicked; see the log".to_owned() },
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    async fn join(self) {
        for companion in self.running {
            if let Err(error) = companion.await {
                tracing::warn!(%error, "a companion of the workers ended badly");
            }
        }
    }
}

/// The terms of a companion's call to the engine: an answer within seconds, or none.
fn call_options() -> RpcOptions {
    RpcOptions::builder().timeout(CALL_MAX).retry_options(RetryOptions::no_retries()).build()
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
        let mut fleet =
            Self { threads: Vec::new(), gates: Vec::new(), stop: stop.clone().drop_guard(), companions: Companions::new() };
        for role in roles {
            match switch::dependency(*role) {
                None => {
                    let options = options(*role, &parts)?;
                    fleet.threads.push(WorkerThread::spawn(runtime.clone(), parts.client.clone(), options).await?);
                }
                Some(dependency) => {
                    let gate = Gate::start(*role, dependency, runtime.clone(), parts.clone(), stop.clone()).await?;
                    fleet.gates.push(gate);
                }
            }
            match role {
                Queue::Orders => {
                    fleet.companions.start("sweeper", sweeper::run(parts.clone(), stop.clone()));
                    fleet.companions.start("waker", waker::run(parts.clone(), stop.clone()));
                    fleet.companions.start("taker back", waker::take_back(parts.clone(), stop.clone()));
                    fleet.companions.start("starter of refunds", refunder::run(parts.clone(), stop.clone()));
                    fleet.companions.start("keeper of refunds", stories::run(parts.clone(), stop.clone()));
                    fleet.companions.start("redriver", redriver::run(parts.clone(), stop.clone()));
                    fleet.companions.start("keeper of the schedule", reconciler::keep_schedule(parts.clone(), stop.clone()));
                    fleet.companions.start("janitor", janitor::run(parts.clone(), stop.clone()));
                }
                Queue::Notifications => {
                    fleet.companions.start("claimer", claimer::run(parts.clone(), stop.clone()));
                    fleet.companions.start("alerter", alerter::run(parts.clone(), stop.clone()));
                }
                Queue::Inventory | Queue::Payments | Queue::Shipping => {}
            }
        }
        // in every process of workers: whoever is left says that the others are gone
        fleet.companions.start("watchdog", watchdog::run(parts.clone(), stop.clone()));
        Ok(fleet)
    }

    /// Waits until a worker ends on its own or one of its companions breaks, which is always a failure.
    pub async fn failed(&self) -> WorkerError {
        let threads = self.threads.iter().map(|thread| switch::died(Some(thread)).boxed());
        let gates = self.gates.iter().map(|gate| gate.failed().boxed());
        let mut ends: Vec<_> = threads.chain(gates).collect();
        ends.push(self.companions.failed().boxed());
        select_all(ends).await.0
    }

    /// Stops: no new task is taken, running ones get the drain's time to finish.
    pub async fn stop(self) {
        drop(self.stop);
        for thread in &self.threads {
            thread.stop();
        }
        self.companions.join().await;
        for gate in self.gates {
            gate.join().await;
        }
        for thread in self.threads {
            if let Err(error) = thread.join().await {
                tracing::warn!(%error, "a worker ended badly");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_companion_that_panics_is_a_failure_and_one_that_is_done_is_none() {
        let mut companions = Companions::new();
        companions.start("done", async {});
        let still = tokio::time::timeout(Duration::from_millis(50), companions.failed()).await;
        assert!(still.is_err(), "{still:?}");
        companions.start("broken", async { panic!("a defect") });
        let error = tokio::time::timeout(Duration::from_secs(5), companions.failed()).await.unwrap();
        assert!(error.to_string().contains("`broken`"), "{error}");
        companions.join().await;
    }
}
