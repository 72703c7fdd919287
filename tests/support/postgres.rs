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
# two authorities, each of which has signed a server called `localhost`; `ours` has signed a client too
certify() {
  mkdir "$dir/tls" && cd "$dir/tls" || return 1
  printf '%s\n' '[req]' 'distinguished_name=dn' 'x509_extensions=ca' '[dn]' '[ca]' 'basicConstraints=critical,CA:TRUE' \
    'subjectKeyIdentifier=hash' '[leaf]' 'basicConstraints=CA:FALSE' 'subjectAltName=DNS:localhost' >cnf
  new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config cnf'
  for authority in ours others; do
    openssl req -x509 $new -days 2 -subj "/CN=$authority" -keyout $authority.key -out $authority.pem || return 1
    for name in server certified; do
      openssl req $new -subj "/CN=$name" -keyout $authority-$name.key -out request || return 1
      openssl x509 -req -in request -CA $authority.pem -CAkey $authority.key -CAcreateserial -days 2 -extfile cnf -extensions leaf \
        -out $authority-$name.pem || return 1
    done
  done
  present ours
}
present() { cp "$dir/tls/$1-server.pem" "$dir/tls/server.pem" && cp "$dir/tls/$1-server.key" "$dir/tls/server.key"; }
begin() {
  "$BIN/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 120 -o "-p $PORT -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
-c fsync=off -c max_connections=200 $tls" start >>"$dir/ctl" 2>&1 </dev/null || { cat "$dir/ctl" "$dir/log" >&2; return 1; }
}
halt() { "$BIN/pg_ctl" -D "$dir/data" -m immediate -w stop >>"$dir/ctl" 2>&1 </dev/null; }
clean() { halt; rm -rf "$dir"; }
trap 'clean; exit 0' HUP INT TERM
"$BIN/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-sync >"$dir/ctl" 2>&1 || { cat "$dir/ctl" >&2; clean; exit 1; }
# two roles are not let in without more ado
hba="$dir/data/pg_hba.conf"
echo 'host all guarded 127.0.0.1/32 scram-sha-256' >"$hba"
tls=
if [ -n "$TLS" ]; then
  certify >>"$dir/ctl" 2>&1 || { cat "$dir/ctl" >&2; clean; exit 1; }
  tls="-c ssl=on -c ssl_cert_file=$dir/tls/server.pem -c ssl_key_file=$dir/tls/server.key -c ssl_ca_file=$dir/tls/ours.pem"
  echo 'hostssl all certified 127.0.0.1/32 cert' >>"$hba"
fi
echo 'host all all 127.0.0.1/32 trust' >>"$hba"
begin || { clean; exit 1; }
echo done
while read -r word; do
  case $word in
    start) begin && echo done ;;
    stop) halt && echo done ;;
    ours|others) halt && present "$word" && begin && echo done ;;
    where) echo "$dir/tls" && echo done ;;
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
        Self::start_as(false)
    }

    /// One that offers TLS, with a certificate for `localhost`.
    pub fn start_with_tls() -> Self {
        Self::start_as(true)
    }

    fn start_as(tls: bool) -> Self {
        let port = free_port();
        // initdb refuses to run as root
        let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"));
        let mut command = if root { Command::new("runuser") } else { Command::new("sh") };
        if root {
            command.args(["-u", "postgres", "--", "sh"]);
        }
        command.args(["-c", WARDEN]).env("BIN", programs()).env("PORT", port.to_string()).current_dir("/");
        command.env("TLS", if tls { "on" } else { "" });
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

    /// Starts it again with a certificate that this authority has signed: `ours` or `others`.
    pub fn present(&mut self, authority: &str) {
        self.tell(authority);
    }

    /// The folder of certificates and keys: `ours.pem`, `others.pem`, `ours-certified.pem`, …
    pub fn certificates(&mut self) -> PathBuf {
        writeln!(self.orders.as_mut().unwrap(), "where").unwrap();
        let mut folder = String::new();
        self.answers.read_line(&mut folder).unwrap();
        self.hear();
        PathBuf::from(folder.trim_end())
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
