//! A Postgres server of one test: it can be stopped and started, and is gone when the test is, however it ends.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{ConnectOptions, Connection, Executor};

use super::engine::free_port;

/// Starts the server, then obeys `start` and `stop`; when its input ends, which it does even if we are killed, it cleans up.
const WARDEN: &str = r#"
dir=$(mktemp -d) || exit 1
begin() {
  "$BIN/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 120 -o "-p $PORT -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
-c fsync=off -c max_connections=200" start >>"$dir/ctl" 2>&1 </dev/null || { cat "$dir/ctl" "$dir/log" >&2; return 1; }
}
halt() { "$BIN/pg_ctl" -D "$dir/data" -m immediate -w stop >>"$dir/ctl" 2>&1 </dev/null; }
clean() { halt; rm -rf "$dir"; }
trap 'clean; exit 0' HUP INT TERM
"$BIN/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-sync >"$dir/ctl" 2>&1 || { cat "$dir/ctl" >&2; clean; exit 1; }
begin || { clean; exit 1; }
echo done
while read -r word; do
  case $word in
    start) begin && echo done ;;
    stop) halt && echo done ;;
  esac
done
clean
"#;

/// The newest installed server's programs.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|v| v.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    let whole = |dir: &PathBuf| ["initdb", "pg_ctl"].iter().all(|program| dir.join(program).exists());
    debian
        .into_iter()
        .rev()
        .chain(on_path)
        .find(whole)
        .expect("no Postgres server found: install it (Debian: apt-get install postgresql) or put initdb on the PATH")
}

/// The server.
pub struct Postgres {
    port: u16,
    warden: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Postgres {
    /// A new, empty server that accepts connections.
    pub fn start() -> Self {
        let port = free_port();
        // initdb refuses to run as root
        let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"));
        let mut command = if root { Command::new("runuser") } else { Command::new("sh") };
        if root {
            command.args(["-u", "postgres", "--", "sh"]);
        }
        command.args(["-c", WARDEN]).env("BIN", programs()).env("PORT", port.to_string()).current_dir("/");
        // a group of its own: Ctrl-C must not kill the warden before it has stopped the server
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
        let mut warden = command.spawn().unwrap();
        let (orders, answers) = (warden.stdin.take(), BufReader::new(warden.stdout.take().unwrap()));
        let mut server = Self { port, warden, orders, answers };
        server.hear();
        server
    }

    fn hear(&mut self) {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "Postgres did not obey; its log is above");
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{word}").unwrap();
        self.hear();
    }

    /// Ends it as a crash would.
    pub fn crash(&mut self) {
        self.tell("stop");
    }

    /// Starts it again on its data.
    pub fn restart(&mut self) {
        self.tell("start");
    }

    /// The URL of a new, empty database.
    pub async fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let base = format!("postgres://postgres@127.0.0.1:{}", self.port);
        let options: sqlx::postgres::PgConnectOptions = format!("{base}/postgres").parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        connection.close().await.unwrap();
        format!("{base}/{name}")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.warden.wait();
    }
}
