//! The real binary on a data directory of its own, with its dev server, spoken to over HTTP. A watcher ends every process of the
//! directory when this one is gone, however it went.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use oms_temporal::connect::{ConnectSettings, connect_within};
use oms_temporal::server::ServerRecord;
use tempfile::TempDir;
use temporalio_client::Client;
use tokio::sync::OnceCell;

use super::http::Http;
use super::{engine, until};

/// A start, a drain, an audit: anything that takes longer than this has failed.
pub const LONG: Duration = Duration::from_secs(60);

/// Variables that mean something to the binary and must not leak in from outside.
const MEANT: [&str; 9] =
    ["DATABASE_URL", "REDIS_URL", "AMQP_URL", "KAFKA_URL", "SMTP_URL", "RUST_LOG", "OMS_CONFIG", "OMS_TOOLS_DIR", "TEMPORAL_CLI"];

/// Ends what is left of a directory once the test process or the directory is gone.
const WATCH: &str = r#"
while kill -0 "$TESTS" 2>/dev/null && [ -d "$HOME_DIR" ]; do sleep 0.5; done
for pid in "$HOME_DIR"/pids/*; do kill -9 "$(basename "$pid")" 2>/dev/null; done
kill -9 "$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$HOME_DIR/data/temporal.json" 2>/dev/null)" 2>/dev/null
rm -rf "$HOME_DIR"
"#;

/// A port that nobody listens on, outside of the range that the system gives to outgoing connections.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1_000).unwrap() * 20;
    (0..2_000)
        .map(|_| 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// Where the Temporal CLI is: found or fetched once, then given to every child.
pub fn cli() -> &'static Path {
    static CLI: OnceLock<PathBuf> = OnceLock::new();
    CLI.get_or_init(|| {
        oms_temporal::cli::find(&oms_temporal::cli::TEMPORAL_CLI, &engine::tools(), &|line| eprintln!("{line}")).unwrap().path
    })
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Asserts exit code 2 and one sentence that holds all of `words`.
    pub fn is_blocked(&self, words: &[&str]) {
        assert_eq!(self.code, Some(2), "{self:?}");
        let errors: Vec<&str> = self.err.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one sentence: {self:?}");
        assert!(!self.err.contains("panicked") && self.err.trim_end().ends_with(errors[0]), "nothing after it: {self:?}");
        for word in words {
            assert!(errors[0].contains(word), "no `{word}` in {self:?}");
        }
    }
}

/// A directory, its ports and the environment of its commands.
pub struct Home {
    dir: TempDir,
    pub api: u16,
    pub temporal: u16,
    pub ui: u16,
    env: Vec<(String, String)>,
}

impl Home {
    #[expect(clippy::zombie_processes, reason = "the watcher outlives us: it ends what we leave behind")]
    pub fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap(), api: port(), temporal: port(), ui: port(), env: Vec::new() };
        fs::create_dir(home.dir.path().join("pids")).unwrap();
        Command::new("sh")
            .args(["-c", WATCH])
            .env("TESTS", std::process::id().to_string())
            .env("HOME_DIR", home.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        home
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// The working directory of its commands.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oms"));
        for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("OMS__") || n.starts_with("TEMPORAL_")) {
            command.env_remove(name);
        }
        for name in MEANT {
            command.env_remove(name);
        }
        command
            .env("TEMPORAL_CLI", cli())
            .env("OMS__DATA_DIR", self.data())
            .env("OMS__API__LISTEN", format!("127.0.0.1:{}", self.api))
            .env("OMS__TEMPORAL__PORT", self.temporal.to_string())
            .env("OMS__TEMPORAL__UI_PORT", self.ui.to_string())
            .envs(self.env.iter().map(|(n, v)| (n, v)))
            .current_dir(self.path())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, args: &[&str]) -> Ended {
        self.finish(self.command(args)).await
    }

    /// As [`run`](Self::run), with further variables.
    pub async fn run_with(&self, env: &[(&str, &str)], args: &[&str]) -> Ended {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        self.finish(command).await
    }

    async fn finish(&self, mut command: Command) -> Ended {
        let mut child = self.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let read = |mut from: Box<dyn std::io::Read + Send>| {
            tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                from.read_to_string(&mut text).unwrap();
                text
            })
        };
        let (out, err) = (read(Box::new(out)), read(Box::new(err)));
        let code = self.ended(&mut child, LONG * 4).await;
        Ended { code, out: out.await.unwrap(), err: err.await.unwrap() }
    }

    /// Starts a command that goes on beside us and writes to a log of its own.
    pub fn start(&self, args: &[&str], env: &[(&str, &str)]) -> Child {
        let log = File::create(self.path().join(format!("{}.log", args[0]))).unwrap();
        self.spawn(self.command(args).envs(env.iter().copied()).stdout(log.try_clone().unwrap()).stderr(log))
    }

    /// Starts a command that the watcher knows of.
    fn spawn(&self, command: &mut Command) -> Child {
        let child = command.spawn().unwrap();
        File::create(self.note(&child)).unwrap();
        child
    }

    fn note(&self, child: &Child) -> PathBuf {
        self.path().join("pids").join(child.id().to_string())
    }

    /// Waits for a child's end; kills it at the deadline. `None`: ended by a signal.
    pub async fn ended(&self, child: &mut Child, within: Duration) -> Option<i32> {
        let began = std::time::Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > within {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("a command did not end within {within:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let _ = fs::remove_file(self.note(child));
        status.code()
    }

    /// The dev server's process, as recorded.
    pub fn server(&self) -> Option<u32> {
        ServerRecord::read(&self.data()).map(|record| record.pid)
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
    assert!(sent.unwrap().success(), "no process {pid} to signal");
}

/// `oms up` on a home.
pub struct Stack {
    pub home: Home,
    child: Option<Child>,
}

impl Stack {
    pub async fn up(home: Home) -> Self {
        let mut stack = Self { home, child: None };
        stack.start().await;
        stack
    }

    /// Starts it (again) and waits until it is ready.
    pub async fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.home.command(&["up"]);
        self.child = Some(self.home.spawn(command.stdout(log.try_clone().unwrap()).stderr(log)));
        let http = self.http();
        let ready = || async { http.try_get("/readyz").await.filter(|answer| answer.status == 200) };
        tokio::select! {
            _ = until("the stack is ready", LONG, ready) => {}
            () = self.died() => panic!("oms up ended:\n{}", fs::read_to_string(self.log()).unwrap()),
        }
    }

    async fn died(&self) {
        let note = self.home.note(self.child.as_ref().unwrap());
        let pid = note.file_name().unwrap().to_string_lossy().into_owned();
        // a child that ended stays a zombie until it is waited for; ps tells them apart on every system
        loop {
            let state = Command::new("ps").args(["-o", "stat=", "-p", &pid]).output().unwrap().stdout;
            if state.is_empty() || state.starts_with(b"Z") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub fn log(&self) -> PathBuf {
        self.home.path().join("up.log")
    }

    pub fn http(&self) -> Http {
        Http::new(self.home.api)
    }

    /// A client of its dev server.
    pub async fn client(&self) -> Client {
        let address = format!("http://127.0.0.1:{}", self.home.temporal);
        let settings = ConnectSettings { address, namespace: "oms".to_owned(), ..Default::default() };
        connect_within(&settings, LONG).await.unwrap()
    }

    /// SIGKILL, for our process alone: the dev server lives on.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            let _ = fs::remove_file(self.home.note(&child));
        }
    }

    /// SIGTERM, and the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        signal(child.id(), "TERM");
        self.home.ended(&mut child, LONG).await
    }

    /// Asserts that the books balance.
    pub async fn audited(&self) {
        let audit = self.home.run(&["audit"]).await;
        assert_eq!(audit.code, Some(0), "{}\n{}", audit.out, audit.err);
        assert!(audit.out.contains("books balanced"), "{}", audit.out);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let tail = log.lines().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("the end of the log of oms up:\n{tail}");
        }
        self.kill();
        if let Some(pid) = self.home.server() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

/// What signs the reports of the payment gateway and of the carrier on the shared stack.
pub const PAYMENT_SECRET: &str = "whsec_of_the_gateway";
pub const CARRIER_SECRET: &str = "whsec_of_the_carrier";

/// The stack that all tests share which destroy nothing: keep to SKUs, keys and customers of your own.
pub async fn shared() -> &'static Stack {
    static SHARED: OnceCell<Stack> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            let home = Home::new()
                .with("RUST_LOG", "warn,oms=debug")
                .with("OMS__PRICING__SHIPPING_MINOR", 490)
                .with("OMS__PRICING__TAX_BPS", 1_900)
                .with("STRIPE_WEBHOOK_SECRET", format!("whsec_next, {PAYMENT_SECRET}"))
                .with("OMS__CARRIER__HTTP__WEBHOOK_SECRET", CARRIER_SECRET);
            Stack::up(home).await
        })
        .await
}
