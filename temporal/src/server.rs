//! The dev server as a supervised child with a database file.
//!
//! Any of us may be killed at any moment. A server that outlives us is found by its command line, which names our
//! database file, and is taken over or ended, so there are never two on one file. A database whose first start did not
//! get as far as answering is put aside: its schema may be half made, and the server then refuses it for ever.

mod data;
mod launch;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::data::DataDir;
pub use self::data::ServerRecord;
use self::launch::{Server, Spec};

/// First pause before a dead server is started again; doubles up to [`RESTART_PAUSE_MAX`].
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A server that lived this long had no trouble starting, so the next pause is short again.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// Attempts of one start, because the server picks random inner ports and may lose one to somebody else.
const START_ATTEMPTS: u32 = 3;

/// What the dev server is started with.
#[derive(Debug, Clone)]
pub struct DevServerOptions {
    /// The Temporal CLI, see [`crate::cli::find`].
    pub cli: PathBuf,
    /// Folder of `temporal.db`, `temporal.log` and `temporal.json`; created if missing.
    pub data_dir: PathBuf,
    /// gRPC port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// Web UI port on 127.0.0.1; 0 picks a free one.
    pub ui_port: u16,
}

/// Why the dev server is not up. Every message is one sentence with the remedy.
#[derive(Debug, Error)]
pub enum DevServerError {
    /// Somebody else listens where the server should.
    #[error("port {port} on 127.0.0.1 is taken by another program: stop that program or set {setting} to a free port")]
    PortTaken {
        /// The port.
        port: u16,
        /// The setting that names it.
        setting: &'static str,
    },
    /// Another living process supervises a server in this folder.
    #[error("another process already runs the Temporal dev server of `{dir}`: stop it or use another data directory")]
    AlreadyRunning {
        /// The folder.
        dir: PathBuf,
    },
    /// A server left behind on our database does not end.
    #[error("process {pid} still serves the database in `{dir}` and cannot be ended: end it (kill -9 {pid}) and start again")]
    OrphanStays {
        /// Its process id.
        pid: u32,
        /// The folder.
        dir: PathBuf,
    },
    /// The server ended while starting.
    #[error("the Temporal dev server ended while starting ({status}: {tail}): see `{log}`")]
    EarlyExit {
        /// How it ended.
        status: String,
        /// The end of what it printed.
        tail: String,
        /// Its log file.
        log: PathBuf,
    },
    /// The server runs but does not answer.
    #[error("the Temporal dev server did not answer within {waited_s} s ({tail}): see `{log}` and start again")]
    NotHealthy {
        /// Seconds waited.
        waited_s: u64,
        /// The end of what it printed.
        tail: String,
        /// Its log file.
        log: PathBuf,
    },
    /// The executable cannot be started.
    #[error("`{cli}` cannot be started ({source}): point TEMPORAL_CLI to a working Temporal CLI")]
    Spawn {
        /// The executable.
        cli: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error("the Temporal data directory `{dir}` cannot be used ({source}): make it writable or choose another data directory")]
    DataDir {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is known about the running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerState {
    /// Process id; `None` while it is being started again.
    pub pid: Option<u32>,
    /// How often it was started again after it died.
    pub restarts: u32,
}

/// A running dev server; it is started again whenever it dies, until [`stop`](Self::stop) or drop.
#[derive(Debug)]
pub struct DevServer {
    port: u16,
    ui_port: u16,
    adopted: bool,
    state: watch::Receiver<ServerState>,
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
}

impl DevServer {
    /// Starts the server, or takes over the one that an earlier life of ours left running, and returns when it answers.
    /// Waits at most 60 s per attempt.
    ///
    /// # Errors
    /// [`DevServerError`], see its variants.
    pub async fn start(options: DevServerOptions) -> Result<Self, DevServerError> {
        let data = DataDir::open(&options.data_dir)?;
        let lock = data.lock()?;
        let (spec, server) = first_start(&options, data).await?;
        let (port, ui_port, adopted) = (spec.port, spec.ui_port, server.is_adopted());
        let (tell, state) = watch::channel(ServerState { pid: server.pid(), restarts: 0 });
        let (stop, stopped) = watch::channel(false);
        let supervisor = tokio::spawn(supervise(spec, server, tell, stopped, lock));
        Ok(Self { port, ui_port, adopted, state, stop, supervisor })
    }

    /// gRPC address, `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Address of the Web UI for a browser.
    pub fn ui_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ui_port)
    }

    /// True if the server was already running and has been taken over.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// The server's process now.
    pub fn state(&self) -> ServerState {
        *self.state.borrow()
    }

    /// Ends the server: asks it, waits up to 5 s, then forces it. Returns when it is gone.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.supervisor.await {
            tracing::warn!(%error, "the supervisor of the Temporal dev server did not end by itself");
        }
    }
}

/// A start with port 0 may lose the port it picked to somebody else, and any start an inner one.
async fn first_start(options: &DevServerOptions, data: DataDir) -> Result<(Spec, Server), DevServerError> {
    let mut attempt = 1;
    loop {
        let spec = Spec {
            cli: options.cli.clone(),
            data: data.clone(),
            port: free_port_if_zero(options.port, &data)?,
            ui_port: free_port_if_zero(options.ui_port, &data)?,
        };
        match spec.launch().await {
            Ok(server) => return Ok((spec, server)),
            Err(error) if attempt < START_ATTEMPTS && may_pass(options, &error) => {
                tracing::warn!(%error, attempt, "starting the Temporal dev server again");
            }
            Err(error) => return Err(error),
        }
        attempt += 1;
    }
}

fn may_pass(options: &DevServerOptions, error: &DevServerError) -> bool {
    match error {
        DevServerError::EarlyExit { .. } => true,
        DevServerError::PortTaken { port, .. } => *port != options.port && *port != options.ui_port,
        _ => false,
    }
}

fn free_port_if_zero(port: u16, data: &DataDir) -> Result<u16, DevServerError> {
    if port != 0 {
        return Ok(port);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
    Ok(listener.map_err(|e| data.failed(e))?.port())
}

/// Keeps the server alive. Ends it when told to, or when the [`DevServer`] is dropped; if the tokio runtime goes away
/// first, dropping `server` kills it. The lock is held until then.
async fn supervise(
    spec: Spec,
    mut server: Server,
    tell: watch::Sender<ServerState>,
    mut stopped: watch::Receiver<bool>,
    _lock: File,
) {
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let since = Instant::now();
        tokio::select! {
            () = told_to_stop(&mut stopped) => {
                server.end().await;
                spec.data.forget();
                return;
            }
            how = server.exited() => tracing::warn!(how, "the Temporal dev server died; starting it again"),
        }
        tell.send_modify(|s| s.pid = None);
        if since.elapsed() > SETTLED_AFTER {
            pause = RESTART_PAUSE_MIN;
        }
        server = tokio::select! {
            () = told_to_stop(&mut stopped) => return,
            next = relaunch(&spec, &mut pause) => next,
        };
        tracing::info!(pid = server.pid(), "the Temporal dev server is up again");
        tell.send_modify(|s| *s = ServerState { pid: server.pid(), restarts: s.restarts.saturating_add(1) });
    }
}

async fn relaunch(spec: &Spec, pause: &mut Duration) -> Server {
    loop {
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(RESTART_PAUSE_MAX);
        match spec.launch().await {
            Ok(server) => return server,
            Err(error) => tracing::error!(%error, "the Temporal dev server is still down"),
        }
    }
}

/// Ready when stop was called or the owner is gone.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    // An error means the sender was dropped with its `DevServer`, which is the same wish.
    let _ = stopped.wait_for(|stop| *stop).await;
}
