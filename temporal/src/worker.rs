//! An SDK worker on a thread of its own, because `Worker::run` is not `Send` and all workflow code of a worker runs on
//! the thread that drives it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use temporalio_client::Client;
use temporalio_common::worker::WorkerDeploymentOptions;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, SlotSupplier, TunerHolder};
use temporalio_sdk::runtime::{Runtime, RuntimeOptions};
use temporalio_sdk::{Worker, WorkerOptions};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

/// Why a worker did not start or ended on its own.
#[derive(Debug, Clone, Error)]
pub enum WorkerError {
    /// The SDK's runtime cannot be built.
    #[error("the Temporal worker runtime cannot be built: {0}")]
    Runtime(String),
    /// The options are refused, or the thread cannot be started.
    #[error("the worker for queue `{queue}` cannot start: {reason}")]
    Start {
        /// Task queue.
        queue: String,
        /// What the SDK said.
        reason: String,
    },
    /// The worker ended although nobody stopped it.
    #[error("the worker for queue `{queue}` ended on its own: {reason}")]
    Ended {
        /// Task queue.
        queue: String,
        /// What the SDK said.
        reason: String,
    },
}

/// Builds the SDK's runtime on the current tokio, without the SDK's console logger: that one reaches only the calling
/// thread, while a global `tracing` subscriber (the binary's) reaches all.
///
/// # Errors
/// [`WorkerError::Runtime`]. Must be called inside a tokio runtime.
pub fn runtime() -> Result<Arc<Runtime>, WorkerError> {
    let options = RuntimeOptions::builder().build().map_err(WorkerError::Runtime)?;
    Runtime::from_current_tokio(options).map(Arc::new).map_err(|e| WorkerError::Runtime(e.to_string()))
}

/// The settings of a worker that a deployment may want to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerTuning {
    /// Workflows kept in memory between tasks; zero replays each history at every task.
    pub max_cached_workflows: usize,
    /// Time that running activities get after `stop` before they are cancelled.
    pub graceful_shutdown: Duration,
    /// Time after which a task that waits for a cached workflow goes to any worker.
    pub sticky_timeout: Duration,
    /// Workflow tasks at once.
    pub workflow_slots: usize,
    /// Activities at once.
    pub activity_slots: usize,
    /// Local activities at once.
    pub local_activity_slots: usize,
    /// What histories name as the build that wrote them. Identifies, and steers nothing: tasks go to workers of any build.
    pub build: String,
}

impl Default for WorkerTuning {
    fn default() -> Self {
        Self {
            max_cached_workflows: 1000,
            graceful_shutdown: Duration::from_secs(5),
            sticky_timeout: Duration::from_secs(5),
            workflow_slots: 100,
            activity_slots: 100,
            local_activity_slots: 100,
            build: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Options for a worker of `queue`; call `register_workflow` and `register_activities` on the result.
pub fn worker_options(queue: &str, tuning: &WorkerTuning) -> WorkerOptions {
    let fixed = |slots: usize| SlotSupplier::FixedSize(FixedSizeSlotSupplier::new(slots.max(1)));
    let slots = TunerHolder::builder()
        .workflow_task_slot_supplier(fixed(tuning.workflow_slots))
        .activity_task_slot_supplier(fixed(tuning.activity_slots))
        .local_activity_task_slot_supplier(fixed(tuning.local_activity_slots))
        .nexus_task_slot_supplier(fixed(1))
        .build();
    WorkerOptions::new(queue)
        .max_cached_workflows(tuning.max_cached_workflows)
        .graceful_shutdown_period(tuning.graceful_shutdown)
        .sticky_queue_schedule_to_start_timeout(tuning.sticky_timeout)
        .tuner(slots)
        .deployment_options(WorkerDeploymentOptions::from_build_id(tuning.build.clone()))
        .build()
}

type Shutdown = Box<dyn Fn() + Send + Sync>;

/// A worker that polls until [`stop`](Self::stop); its end is told to everyone who waits in [`finished`](Self::finished).
pub struct WorkerThread {
    queue: String,
    shutdown: Shutdown,
    outcome: watch::Receiver<Option<Result<(), WorkerError>>>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThread {
    /// Starts the thread and returns once the worker exists; the namespace is checked after that, on the thread.
    ///
    /// # Errors
    /// [`WorkerError::Start`]. Must be called inside a tokio runtime, on which activities then run.
    pub async fn spawn(runtime: Arc<Runtime>, client: Client, options: WorkerOptions) -> Result<Self, WorkerError> {
        let queue = options.task_queue.clone();
        let failed = |reason: String| WorkerError::Start { queue: queue.clone(), reason };
        let (ready, started) = oneshot::channel();
        let (tell, outcome) = watch::channel(None);
        let tokio = Handle::current();
        let name = queue.clone();
        let thread = thread::Builder::new()
            .name(format!("worker-{queue}"))
            .spawn(move || drive(&tokio, &runtime, client, options, name, ready, &tell))
            .map_err(|e| failed(e.to_string()))?;
        let shutdown = match started.await {
            Ok(Ok(shutdown)) => shutdown,
            Ok(Err(reason)) => return Err(failed(reason)),
            Err(_) => return Err(failed("its thread panicked".to_owned())),
        };
        Ok(Self { queue, shutdown, outcome, thread: Some(thread) })
    }

    /// The task queue this worker polls.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Asks the worker to take no new tasks and finish what runs. Returns at once; may be called again.
    pub fn stop(&self) {
        (self.shutdown)();
    }

    /// Waits until the worker has ended: `Ok` after [`stop`](Self::stop), an error if it ended on its own.
    ///
    /// # Errors
    /// [`WorkerError::Ended`].
    pub async fn finished(&self) -> Result<(), WorkerError> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(value) => value.clone().unwrap_or(Ok(())),
            Err(_) => Err(WorkerError::Ended { queue: self.queue.clone(), reason: "its thread panicked".to_owned() }),
        }
    }

    /// Stops the worker and waits for its thread.
    ///
    /// # Errors
    /// [`WorkerError::Ended`] if it had already ended on its own, or ends badly.
    pub async fn join(mut self) -> Result<(), WorkerError> {
        self.stop();
        let outcome = self.finished().await;
        if let Some(thread) = self.thread.take()
            && tokio::task::spawn_blocking(move || thread.join()).await.is_err()
        {
            tracing::warn!(queue = self.queue, "the worker's thread could not be joined");
        }
        outcome
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The body of the worker's thread.
fn drive(
    tokio: &Handle,
    runtime: &Runtime,
    client: Client,
    options: WorkerOptions,
    queue: String,
    ready: oneshot::Sender<Result<Shutdown, String>>,
    tell: &watch::Sender<Option<Result<(), WorkerError>>>,
) {
    let _inside = tokio.enter();
    let mut worker = match Worker::new(runtime, client, options) {
        Ok(worker) => worker,
        Err(e) => {
            // The receiver waits for exactly this; if it is gone there is nobody left to tell.
            let _ = ready.send(Err(e.to_string()));
            return;
        }
    };
    if ready.send(Ok(Box::new(worker.shutdown_handle()))).is_err() {
        return;
    }
    let outcome = tokio.block_on(worker.run()).map_err(|e| WorkerError::Ended { queue, reason: with_causes(&e) });
    if let Err(error) = &outcome {
        tracing::error!(%error, "worker ended");
    }
    tell.send_replace(Some(outcome));
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
