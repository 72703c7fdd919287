//! The whole stack in one process: database, sandbox, Temporal dev server, workers, relay, API. What `up` and `demo` run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use oms_contract::names::Queue;
use oms_gateways::sandbox::Sandbox;
use oms_store::Store;
use oms_temporal::cli::{TEMPORAL_CLI, find};
use oms_temporal::connect::{ConnectSettings, connect_within};
use oms_temporal::server::{DevServer, DevServerOptions};
use oms_workers::Fleet;
use temporalio_client::Client;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::exit::Blocked;
use crate::lock::DataLock;
use crate::settings::{Settings, base_url};
use crate::{api, relay, wiring};

/// A server that was started or given must answer within this.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// Hears one line per step of a start that takes its time.
pub(crate) type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// Which parts to run beside database, sandbox and Temporal.
pub(crate) struct StackOptions {
    /// The HTTP API.
    pub(crate) api: bool,
    /// Worker roles.
    pub(crate) roles: Vec<Queue>,
    /// The relay of the outbox.
    pub(crate) relay: bool,
    /// Hears how the start goes.
    pub(crate) progress: Progress,
}

impl StackOptions {
    /// Everything.
    pub(crate) fn whole(progress: Progress) -> Self {
        Self { api: true, roles: Queue::ALL.to_vec(), relay: true, progress }
    }
}

/// A running stack.
pub(crate) struct Stack {
    /// Where the API listens, for a client on this machine.
    pub(crate) base_url: String,
    /// The Temporal Web UI: of our own dev server, or as the settings name it.
    pub(crate) ui_url: Option<String>,
    /// The database.
    pub(crate) store: Store,
    /// The Temporal client.
    pub(crate) client: Client,
    /// The sandbox parties.
    pub(crate) sandbox: Sandbox,
    /// Where all embedded state is.
    pub(crate) data_dir: PathBuf,
    connect: ConnectSettings,
    api: Option<Service>,
    fleet: Option<Fleet>,
    relay: Option<Service>,
    server: Option<DevServer>,
    _lock: DataLock,
}

/// A task that runs until it is told to stop.
pub(crate) struct Service {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    /// Runs what `start` makes of the token that will stop it.
    pub(crate) fn spawn<F>(start: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(start(stop.clone())), stop }
    }

    /// Waits for an end that nobody asked for.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.task).await {
            Ok(Ok(())) => anyhow::anyhow!("it ended on its own"),
            Ok(Err(error)) => error,
            Err(error) => error.into(),
        }
    }

    /// Stops it and waits at most `limit`; what is still open then is cut off.
    pub(crate) async fn stop(mut self, limit: Duration) {
        self.stop.cancel();
        match tokio::time::timeout(limit, &mut self.task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "a part of the stack ended badly"),
            Ok(Err(error)) => tracing::warn!(%error, "a part of the stack ended badly"),
            Err(_) => self.task.abort(),
        }
    }
}

impl Stack {
    /// Starts everything; returns when orders can be placed.
    ///
    /// # Errors
    /// One sentence with the remedy: a bad setting, a taken port or data directory, a server that does not answer. What had
    /// been started by then is stopped.
    pub(crate) async fn start(mut settings: Settings, options: StackOptions) -> anyhow::Result<Self> {
        if options.api {
            settings.api.check_listener()?;
        }
        let lock = DataLock::take(&settings.data_dir)?;
        let listener = if options.api { Some(listen(settings.api.listen).await?) } else { None };
        if let Some(listener) = &listener {
            // a port that the system picked is known from here on, so that links in messages lead to it
            settings.api.listen = listener.local_addr()?;
        }
        let (store, sandbox, (server, connect, client)) = tokio::try_join!(
            async { wiring::open_store(&settings).await.context("the database") },
            wiring::open_sandbox(&settings),
            temporal(&settings, &options.progress),
        )?;
        let mut stack = Self {
            base_url: base_url(settings.api.listen),
            ui_url: server.as_ref().map(DevServer::ui_url).or_else(|| settings.temporal.ui_url.clone()),
            store,
            client,
            connect,
            sandbox,
            data_dir: settings.data_dir.clone(),
            api: None,
            fleet: None,
            relay: None,
            server,
            _lock: lock,
        };
        match stack.start_parts(&settings, &options, listener).await {
            Ok(()) => Ok(stack),
            Err(error) => {
                stack.stop().await;
                Err(error)
            }
        }
    }

    async fn start_parts(
        &mut self,
        settings: &Settings,
        options: &StackOptions,
        listener: Option<TcpListener>,
    ) -> anyhow::Result<()> {
        if !options.roles.is_empty() {
            let parts = wiring::parts(settings, self.client.clone(), self.store.clone(), &self.sandbox)?;
            self.fleet = Some(Fleet::start(&options.roles, parts).await?);
        }
        if options.relay {
            self.relay = Some(relay::service(settings, self.store.clone()));
        }
        if let Some(listener) = listener {
            self.base_url = base_url(listener.local_addr()?);
            let parts = api::Parts {
                store: self.store.clone(),
                sandbox: self.sandbox.clone(),
                client: Some(self.client.clone()),
                connect: self.connect.clone(),
                temporal_ui: self.ui_url.clone(),
            };
            self.api = Some(api::service(settings, parts, listener)?);
        }
        Ok(())
    }

    /// Waits for a part to end on its own; the stack is of no use then.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        let (api, relay, fleet) = (&mut self.api, &mut self.relay, &mut self.fleet);
        tokio::select! {
            error = failure(api) => error.context("the API has failed"),
            error = failure(relay) => error.context("the relay has failed"),
            error = async {
                match fleet {
                    Some(fleet) => anyhow::Error::from(fleet.failed().await),
                    None => std::future::pending().await,
                }
            } => error.context("a worker has failed"),
        }
    }

    /// Stops everything in the order in which work flows: no new orders, running steps finished, facts published.
    pub(crate) async fn stop(self) {
        if let Some(api) = self.api {
            api.stop(api::DRAIN_MAX).await;
        }
        if let Some(fleet) = self.fleet {
            fleet.stop().await;
        }
        if let Some(relay) = self.relay {
            relay.stop(relay::DRAIN_MAX).await;
        }
        drop(self.client);
        if let Some(server) = self.server {
            server.stop().await;
        }
        self.store.close().await;
        self.sandbox.close().await;
    }
}

async fn failure(service: &mut Option<Service>) -> anyhow::Error {
    match service {
        Some(service) => service.failed().await,
        None => std::future::pending().await,
    }
}

/// Takes the API's port.
///
/// # Errors
/// One sentence with the remedy.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        let why = match e.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program listens there: stop it, or choose another port with OMS__API__LISTEN"
            }
            _ => "choose another address with OMS__API__LISTEN",
        };
        Blocked(format!("the API cannot listen on {address} ({e}): {why}")).into()
    })
}

/// The Temporal server in force, ready for use: the given one, or our own.
async fn temporal(settings: &Settings, progress: &Progress) -> anyhow::Result<(Option<DevServer>, ConnectSettings, Client)> {
    let server = match settings.temporal.address {
        Some(_) => None,
        None => Some(dev_server(settings, progress).await?),
    };
    let connect = match &server {
        Some(server) => settings.temporal.connect_settings_at(server.address()),
        None => settings.temporal.connect_settings(&settings.data_dir),
    };
    let client = connect_within(&connect, CONNECT_MAX).await?;
    wiring::prepare(&client).await?;
    Ok((server, connect, client))
}

async fn dev_server(settings: &Settings, progress: &Progress) -> anyhow::Result<DevServer> {
    let (tools_dir, told) = (settings.temporal.tools_dir.clone(), progress.clone());
    let cli = tokio::task::spawn_blocking(move || find(&TEMPORAL_CLI, &tools_dir, &|line| told(line))).await??;
    let options = DevServerOptions {
        cli: cli.path,
        data_dir: settings.data_dir.clone(),
        port: settings.temporal.port,
        ui_port: settings.temporal.ui_port,
    };
    Ok(DevServer::start(options).await?)
}
