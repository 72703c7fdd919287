//! A Postgres server of this test process: started with the first test that needs it, gone when the process is, however it ends.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, Executor};

struct Server {
    port: u16,
    // the pipe to the watcher's standard input: its end is the sign to stop the server
    _watcher: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();

/// Starts the server, says `ready`, and stops it when standard input ends, which it does even if we are killed.
const WATCHER: &str = r#"
dir=$(mktemp -d) || exit 1
pg=
stop() { [ -n "$pg" ] && kill -QUIT "$pg" 2>/dev/null && wait "$pg" 2>/dev/null; rm -rf "$dir"; }
trap 'stop; exit 0' HUP INT TERM
"$BIN/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; stop; exit 1; }
"$BIN/postgres" -D "$dir/data" -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
  -c fsync=off -c max_connections=400 >>"$dir/log" 2>&1 </dev/null &
pg=$!
n=0
until "$BIN/pg_isready" -q -h 127.0.0.1 -p "$PORT"; do
  n=$((n+1))
  [ $n -gt 300 ] || ! kill -0 $pg 2>/dev/null && { cat "$dir/log" >&2; stop; exit 1; }
  sleep 0.1
done
echo ready
cat >/dev/null
stop
"#;

/// The newest installed server's programs.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|v| v.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    let whole = |dir: &PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|program| dir.join(program).exists());
    debian
        .into_iter()
        .rev()
        .chain(on_path)
        .find(whole)
        .expect("no Postgres server found: install it (Debian: apt-get install postgresql) or put initdb on the PATH")
}

fn start() -> Server {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // initdb refuses to run as root
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"));
    let mut command = if root { Command::new("runuser") } else { Command::new("sh") };
    if root {
        command.args(["-u", "postgres", "--", "sh"]);
    }
    command.args(["-c", WATCHER]).env("BIN", programs()).env("PORT", port.to_string()).current_dir("/");
    // a group of its own: Ctrl-C must not kill the watcher before it has stopped the server
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
    let mut watcher = command.spawn().expect("cannot start the Postgres watcher");
    let mut line = String::new();
    BufReader::new(watcher.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "Postgres did not start; its log is above");
    Server { port, _watcher: watcher }
}

/// The URL of a new, empty database.
pub(crate) async fn database() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await.unwrap();
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let base = format!("postgres://postgres@127.0.0.1:{}", server.port);
    let options: sqlx::postgres::PgConnectOptions = format!("{base}/postgres").parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    connection.close().await.unwrap();
    format!("{base}/{name}")
}

/// Another process in the middle of a transaction.
pub(crate) struct Session(sqlx::PgConnection);

impl Session {
    pub(crate) async fn begin(url: &str) -> Self {
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let mut session = Self(options.connect().await.unwrap());
        session.run("BEGIN").await;
        session
    }

    pub(crate) async fn run(&mut self, statement: &'static str) {
        self.0.execute(statement).await.unwrap();
    }

    /// How many sessions have this name.
    pub(crate) async fn sessions(&mut self, name: &'static str) -> i64 {
        let named = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = $1";
        sqlx::query_scalar::<_, i64>(named).bind(name).fetch_one(&mut self.0).await.unwrap()
    }

    /// Until somebody waits for a lock that this transaction holds.
    pub(crate) async fn until_awaited(&mut self) {
        const WAITING: &str = "SELECT COUNT(*) FROM pg_locks
             WHERE NOT granted AND locktype = 'transactionid' AND transactionid = pg_current_xact_id()::xid";
        let deadline = Instant::now() + Duration::from_secs(4);
        while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut self.0).await.unwrap() == 0 {
            assert!(Instant::now() < deadline, "nobody waits for what this transaction holds");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until somebody waits for a table of this database, or nobody does any more.
    pub(crate) async fn until_table_wanted(&mut self, wanted: bool) {
        const WAITING: &str = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let deadline = Instant::now() + Duration::from_secs(20);
        while (sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut self.0).await.unwrap() > 0) != wanted {
            assert!(Instant::now() < deadline, "wanted: {wanted}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn commit(mut self) {
        self.run("COMMIT").await;
        self.0.close().await.unwrap();
    }
}
