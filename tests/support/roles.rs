//! The binary's roles as child processes: real pids, real kills. A keeper ends what a dead test process leaves behind.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use temporalio_client::NamespacedClient;

use super::world::World;
use super::{engine, until};

/// Reads `+ pid` and `- pid`; when its input ends, which it does however the test process dies, it kills who is left.
const KEEPER: &str = r#"
list=' '
while read -r sign pid; do
  case $sign in
    +) list="$list$pid " ;;
    -) list="${list%% $pid *} ${list#* $pid }" ;;
  esac
done
for pid in $list; do kill -9 "$pid"; done 2>/dev/null
"#;

/// A role has this long to come up on a busy machine.
const COMES_UP: Duration = Duration::from_secs(60);

fn keeper() -> &'static Mutex<ChildStdin> {
    static KEPT: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    KEPT.get_or_init(|| {
        let mut command = Command::new("sh");
        // a group of its own: Ctrl-C must not take the keeper before those it keeps
        command.args(["-c", KEEPER]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Mutex::new(command.spawn().unwrap().stdin.unwrap())
    })
}

fn keep(sign: char, pid: u32) {
    let mut keeper = keeper().lock().unwrap();
    writeln!(keeper, "{sign} {pid}").unwrap();
}

/// A child process that ends with this value, and with the test process at the latest.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command whose output goes to a file.
    pub fn spawn(mut command: Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        keep('+', child.id());
        Self { child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it says `text`; answers the rest of that line.
    pub async fn says(&mut self, text: &str) -> String {
        until(&format!("{} says `{text}`", self.log.display()), COMES_UP, || {
            let (said, ended) = (self.said(), self.child.try_wait().unwrap());
            let found = said.lines().find_map(|line| line.split_once(text)).map(|(_, rest)| rest.to_owned());
            async move {
                assert!(found.is_some() || ended.is_none(), "it ended ({ended:?}) and said:\n{said}");
                found
            }
        })
        .await
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(self) {
        drop(self);
    }

    fn end(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
        }
        keep('-', self.child.id());
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            eprintln!("--- last words in {}\n{}", self.log.display(), lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// Where roles run: their working directory and data directory, and every variable they see.
#[derive(Clone)]
pub struct Place {
    dir: PathBuf,
    variables: BTreeMap<String, String>,
}

impl Place {
    /// Roles of a data directory, on a Temporal server and a database.
    pub fn new(dir: &Path, address: &str, namespace: &str, database: &str) -> Self {
        let place = Self { dir: dir.to_owned(), variables: BTreeMap::new() };
        place
            .with("DATABASE_URL", database)
            .with("TEMPORAL_ADDRESS", address)
            .with("TEMPORAL_NAMESPACE", namespace)
            .with("OMS__DATA_DIR", &dir.display().to_string())
            .with("OMS__API__LISTEN", "127.0.0.1:0")
            .with("OMS__WORKERS__DRAIN", "1s")
            .with("OMS__RETRY__FIRST", "100ms")
            .with("OMS__RETRY__MOST", "1s")
            .with("RUST_LOG", "warn,oms=info")
    }

    /// Roles that serve a world's orders.
    pub fn of(world: &World) -> Self {
        Self::new(world.dir.path(), engine::address(), &world.client.namespace(), &world.url)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oms"));
        // nothing is inherited that could steer a role, and the working directory holds no settings file
        command.args(arguments).current_dir(&self.dir).env_clear().envs(&self.variables);
        command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
    }

    fn start(&self, arguments: &[&str]) -> Process {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = self.dir.join(format!("{}-{number}.log", arguments[0]));
        Process::spawn(self.command(arguments), log)
    }

    /// `oms worker` with all roles, once it works.
    pub async fn worker(&self) -> Process {
        let mut worker = self.start(&["worker"]);
        worker.says("working").await;
        worker
    }

    /// `oms api` and its URL, once it listens.
    pub async fn api(&self) -> (Process, String) {
        let mut api = self.start(&["api"]);
        let url = api.says("the API listens at ").await;
        (api, url.trim().to_owned())
    }

    /// `oms relay`, once it publishes.
    pub async fn relay(&self) -> Process {
        let mut relay = self.start(&["relay"]);
        relay.says("publishing events").await;
        relay
    }

    /// A command that ends by itself.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap()).await.unwrap()
    }

    /// `oms audit` finds the books balanced.
    pub async fn audit(&self) {
        let audit = self.run(&["audit"]).await;
        let (said, failed) = (String::from_utf8_lossy(&audit.stdout), String::from_utf8_lossy(&audit.stderr));
        assert!(audit.status.success() && said.contains("books balanced"), "{}\n{said}\n{failed}", audit.status);
    }
}
