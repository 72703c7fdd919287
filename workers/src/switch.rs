//! Switches: a worker whose class of activities is paused polls nothing. Its tasks wait in Temporal's queue, in their order, and
//! nothing fails; when the switch closes, the worker polls again. Every process looks for itself, so a pause outlives restarts.

use oms_contract::names::Queue;
use oms_store::{Dependency, StoreError, SwitchState};
use oms_temporal::worker::{WorkerError, WorkerThread};
use std::sync::Arc;
use std::time::Duration;
use temporalio_sdk::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Parts, options};

const EVERY: Duration = Duration::from_secs(1);

/// What the activities of a queue depend on. Orders' workflows depend on nobody and are never paused.
pub(crate) fn dependency(queue: Queue) -> Option<Dependency> {
    match queue {
        Queue::Orders => None,
        Queue::Inventory => Some(Dependency::Stock),
        Queue::Payments => Some(Dependency::Payment),
        Queue::Shipping => Some(Dependency::Carrier),
        Queue::Notifications => Some(Dependency::Messages),
    }
}

/// A worker that polls only while its switch lets it.
pub(crate) struct Gate {
    queue: Queue,
    ended: watch::Receiver<Option<WorkerError>>,
    keeper: JoinHandle<()>,
}

/// What keeps the gate.
struct Keeper {
    queue: Queue,
    dependency: Dependency,
    runtime: Arc<Runtime>,
    parts: Parts,
    worker: Option<WorkerThread>,
}

impl Gate {
    /// Starts the worker, unless it is paused or nobody can say yet; watches the switch until `stop`.
    /// Errors: [`WorkerError`] if the worker cannot start.
    pub(crate) async fn start(
        queue: Queue,
        dependency: Dependency,
        runtime: Arc<Runtime>,
        parts: Parts,
        stop: CancellationToken,
    ) -> Result<Self, WorkerError> {
        let mut keeper = Keeper { queue, dependency, runtime, parts, worker: None };
        match keeper.is_paused().await {
            Ok(false) => keeper.let_go().await?,
            Ok(true) => tracing::warn!(queue = queue.name(), "starting paused by its switch"),
            Err(error) => tracing::warn!(%error, queue = queue.name(), "a switch cannot be read; the worker waits for it"),
        }
        let (tell, ended) = watch::channel(None);
        Ok(Self { queue, ended, keeper: tokio::spawn(keeper.keep(tell, stop)) })
    }

    /// Waits until the worker ends on its own.
    pub(crate) async fn failed(&self) -> WorkerError {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.map(|error| error.clone()) {
            Ok(Some(error)) => error,
            // its keeper has stopped it
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Waits for the end that the stop token asked for.
    pub(crate) async fn join(self) {
        if let Err(error) = self.keeper.await {
            tracing::warn!(%error, queue = self.queue.name(), "the keeper of a worker ended badly");
        }
    }
}

impl Keeper {
    async fn is_paused(&self) -> Result<bool, StoreError> {
        Ok(self.parts.store.switch(self.dependency).await?.state == SwitchState::Open)
    }

    async fn let_go(&mut self) -> Result<(), WorkerError> {
        let options = options(self.queue, &self.parts)?;
        self.worker = Some(WorkerThread::spawn(self.runtime.clone(), self.parts.client.clone(), options).await?);
        Ok(())
    }

    /// Takes no new task; running ones get the drain's time to finish.
    async fn hold_back(&mut self) {
        if let Some(worker) = self.worker.take()
            && let Err(error) = worker.join().await
        {
            tracing::warn!(%error, queue = self.queue.name(), "a worker ended badly");
        }
    }

    async fn keep(mut self, tell: watch::Sender<Option<WorkerError>>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.hold_back().await;
                    return;
                }
                error = died(self.worker.as_ref()) => {
                    tell.send_replace(Some(error));
                    return;
                }
                () = tokio::time::sleep(EVERY) => {}
            }
            match (self.is_paused().await, self.worker.is_some()) {
                (Ok(true), true) => {
                    tracing::warn!(queue = self.queue.name(), "paused by its switch; tasks wait");
                    self.hold_back().await;
                }
                (Ok(false), false) => match self.let_go().await {
                    Ok(()) => tracing::info!(queue = self.queue.name(), "let go by its switch"),
                    Err(error) => tracing::warn!(%error, "a worker did not start; tried again soon"),
                },
                (Ok(_), _) => {}
                // it stays as it is: a database that is away must neither end nor begin a pause
                (Err(error), _) => tracing::debug!(%error, "a switch could not be read"),
            }
        }
    }
}

/// Waits until a worker ends on its own, which is always a failure.
pub(crate) async fn died(worker: Option<&WorkerThread>) -> WorkerError {
    let Some(worker) = worker else { return std::future::pending().await };
    let reason = "it stopped without being asked".to_owned();
    worker.finished().await.err().unwrap_or_else(|| WorkerError::Ended { queue: worker.queue().to_owned(), reason })
}
