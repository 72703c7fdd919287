//! One start of the dev server: take over or end what is left of the last one, check the ports, spawn, wait until it answers.

use std::env;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;
use tokio::process::{Child, Command};

use super::DevServerError;
use super::data::{DataDir, ServerRecord};
use crate::connect::{ConnectSettings, connect};
use crate::process::{self, Running};

/// A cold disk and a busy machine need seconds; a minute means it will not come.
const HEALTHY_MAX: Duration = Duration::from_secs(60);

/// A server left behind had time to start already; if it does not answer soon it is replaced.
const ADOPT_MAX: Duration = Duration::from_secs(5);

/// Time to end by itself before it is forced.
const END_MAX: Duration = Duration::from_secs(5);

/// The system shows a killed process as gone a moment before it closes its sockets; what is taken for longer is somebody else's.
const PORT_FREED_MAX: Duration = Duration::from_secs(2);

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(50);

/// Everything that is the same at every start of one server.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) cli: PathBuf,
    pub(super) data: DataDir,
    pub(super) port: u16,
    pub(super) ui_port: u16,
}

/// A server that answers: our child, or one that an earlier life of ours started.
#[derive(Debug)]
pub(super) enum Server {
    /// Killed when dropped.
    Child(Child),
    /// Asked to end when dropped.
    Adopted(Adopted),
}

#[derive(Debug)]
pub(super) struct Adopted(Running);

impl Drop for Adopted {
    fn drop(&mut self) {
        if process::is_alive(&self.0) {
            process::terminate(self.0.pid);
        }
    }
}

impl Server {
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Child(child) => child.id(),
            Self::Adopted(adopted) => Some(adopted.0.pid),
        }
    }

    pub(super) fn is_adopted(&self) -> bool {
        matches!(self, Self::Adopted(_))
    }

    /// Returns when the server has ended, saying how.
    pub(super) async fn exited(&mut self) -> String {
        match self {
            Self::Child(child) => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(e) => e.to_string(),
            },
            Self::Adopted(adopted) => {
                while process::is_alive(&adopted.0) {
                    tokio::time::sleep(POLL * 4).await;
                }
                "ended".to_owned()
            }
        }
    }

    /// Asks the server to end, forces it after a while, and returns when it is gone.
    pub(super) async fn end(self) {
        match self {
            Self::Child(mut child) => {
                if let Some(pid) = child.id() {
                    process::terminate(pid);
                }
                if tokio::time::timeout(END_MAX, child.wait()).await.is_err()
                    && let Err(error) = child.kill().await
                {
                    tracing::warn!(%error, "the Temporal dev server could not be killed");
                }
            }
            Self::Adopted(adopted) => {
                if !process::end(&adopted.0, END_MAX).await {
                    tracing::warn!(pid = adopted.0.pid, "the Temporal dev server could not be ended");
                }
            }
        }
    }
}

impl Spec {
    /// Brings a server up on this database and these ports.
    pub(super) async fn launch(&self) -> Result<Server, DevServerError> {
        let server = match self.adopt_or_end().await? {
            Some(adopted) => Server::Adopted(adopted),
            None => {
                self.check_port(self.port, "OMS__TEMPORAL__PORT").await?;
                self.check_port(self.ui_port, "OMS__TEMPORAL__UI_PORT").await?;
                self.data.prepare_database()?;
                Server::Child(self.spawn().await?)
            }
        };
        self.data.mark_ready()?;
        Ok(server)
    }

    fn arguments(&self) -> Vec<OsString> {
        let (port, ui_port) = (self.port.to_string(), self.ui_port.to_string());
        let mut all: Vec<OsString> = ["server", "start-dev", "--db-filename"].iter().map(Into::into).collect();
        all.push(self.data.database().into_os_string());
        let rest = [
            // With WAL the file-backed server is nearly as fast as one in memory; FULL also survives a power cut.
            ["--sqlite-pragma", "journal_mode=WAL"],
            ["--sqlite-pragma", "synchronous=FULL"],
            ["--ip", "127.0.0.1"],
            ["--port", &port],
            ["--ui-port", &ui_port],
            ["--log-level", "error"],
            // one partition per queue: what was parked goes on in the order in which it came
            ["--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"],
            ["--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"],
        ];
        all.extend(rest.iter().flatten().map(Into::into));
        all
    }

    /// The command line as the process list will show it.
    fn command_line(&self) -> String {
        let mut words = vec![self.cli.to_string_lossy().into_owned()];
        words.extend(self.arguments().iter().map(|a| a.to_string_lossy().into_owned()));
        words.join(" ")
    }

    /// Takes over the one server on our database if it is what we would start and it answers; ends all others.
    async fn adopt_or_end(&self) -> Result<Option<Adopted>, DevServerError> {
        let database = format!(" {} ", self.data.database().display());
        let left = process::matching(&["start-dev", &database]).map_err(|e| self.data.failed(e))?;
        if let [only] = left.as_slice()
            && only.command == self.command_line()
            && self.answers_within(ADOPT_MAX, || process::is_alive(only)).await
        {
            tracing::info!(pid = only.pid, "taking over the Temporal dev server of an earlier run");
            self.record(only.pid)?;
            return Ok(Some(Adopted(only.clone())));
        }
        for orphan in left {
            tracing::warn!(pid = orphan.pid, "ending a Temporal dev server left on our database");
            if !process::end(&orphan, END_MAX).await {
                return Err(DevServerError::OrphanStays { pid: orphan.pid, dir: self.data.path().to_owned() });
            }
        }
        Ok(None)
    }

    async fn check_port(&self, port: u16, setting: &'static str) -> Result<(), DevServerError> {
        let started = Instant::now();
        while TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            if started.elapsed() > PORT_FREED_MAX {
                return Err(DevServerError::PortTaken { port, setting });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn spawn(&self) -> Result<Child, DevServerError> {
        let (log, begins) = self.data.open_log()?;
        let errors = log.try_clone().map_err(|e| self.data.failed(e))?;
        let mut command = Command::new(&self.cli);
        // A process group of its own: Ctrl-C on our terminal must not reach it while we still drain.
        command.args(self.arguments()).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // These steer the CLI as a client and mean another server than this one.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TEMPORAL_")) {
            command.env_remove(name);
        }
        let mut child = command.spawn().map_err(|source| DevServerError::Spawn { cli: self.cli.clone(), source })?;
        if let Some(pid) = child.id() {
            self.record(pid)?;
        }
        let mut ended = None;
        let alive = || match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                ended = Some(status.to_string());
                false
            }
            Err(e) => {
                ended = Some(e.to_string());
                false
            }
        };
        if self.answers_within(HEALTHY_MAX, alive).await {
            return Ok(child);
        }
        let (tail, log) = (self.data.log_tail(begins), self.data.log());
        Err(match ended {
            Some(status) => DevServerError::EarlyExit { status, tail, log },
            None => DevServerError::NotHealthy { waited_s: HEALTHY_MAX.as_secs(), tail, log },
        })
    }

    fn record(&self, pid: u32) -> Result<(), DevServerError> {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.data.record(&ServerRecord { pid, port: self.port, ui_port: self.ui_port, started_at })
    }

    /// True as soon as the server answers with data from its database; false when it is no longer alive or time is up.
    async fn answers_within(&self, limit: Duration, mut alive: impl FnMut() -> bool) -> bool {
        let started = Instant::now();
        while alive() && started.elapsed() < limit {
            if tokio::time::timeout(Duration::from_secs(2), self.answers()).await.unwrap_or(false) {
                // What answers must be this server and not a stranger that took the port meanwhile.
                return alive();
            }
            tokio::time::sleep(POLL).await;
        }
        false
    }

    async fn answers(&self) -> bool {
        let settings = ConnectSettings {
            address: format!("127.0.0.1:{}", self.port),
            namespace: "default".to_owned(),
            ..Default::default()
        };
        let Ok(client) = connect(&settings).await else { return false };
        let request = DescribeNamespaceRequest { namespace: "default".to_owned(), ..Default::default() };
        client.connection().workflow_service().describe_namespace(tonic::Request::new(request)).await.is_ok()
    }
}
