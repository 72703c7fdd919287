//! One Temporal dev server for the whole test run, in memory, on a free port. A watcher ends it when this process is gone, however
//! it went.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use oms_contract::search;
use oms_temporal::bootstrap::{AttributeType, DEFAULT_RETENTION, bootstrap};
use oms_temporal::connect::{ConnectSettings, connect_within};
use temporalio_client::Client;

static ADDRESS: OnceLock<String> = OnceLock::new();
/// Children that end by their own watch when this process is gone.
static TETHERED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A port below those that the system gives to anybody who asks for one, so that nobody takes it before its server does.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Where tools are cached between runs.
pub fn tools() -> PathBuf {
    std::env::var_os("OMS_TOOLS_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools"), PathBuf::from)
}

/// Starts a command that ends when this process does.
pub fn tethered(command: &str) {
    tethered_while(command, "true");
}

/// Starts a command that ends when this process does, or when the shell's `condition` no longer holds.
pub fn tethered_while(command: &str, condition: &str) {
    let watch = format!(
        "{command} & c=$!; trap 'kill -9 $c' EXIT; \
         while kill -0 {} 2>/dev/null && kill -0 $c 2>/dev/null && {condition}; do sleep 0.5; done",
        std::process::id()
    );
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(watch).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    TETHERED.lock().unwrap().push(shell.spawn().unwrap());
}

/// The address of the run's server.
pub fn address() -> &'static str {
    ADDRESS.get_or_init(|| {
        let cli = oms_temporal::cli::find(&oms_temporal::cli::TEMPORAL_CLI, &tools(), &|line| eprintln!("{line}")).unwrap();
        for _ in 0..3 {
            let (port, ui) = (free_port(), free_port());
            tethered(&format!(
                "'{}' server start-dev --headless --ip 127.0.0.1 --port {port} --ui-port {ui} --log-level never \
                 --dynamic-config-value matching.numTaskqueueReadPartitions=1 \
                 --dynamic-config-value matching.numTaskqueueWritePartitions=1",
                cli.path.display()
            ));
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(30) {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return format!("127.0.0.1:{port}");
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        panic!("the Temporal dev server did not start");
    })
}

/// A client for a namespace of its own, with our search attributes.
pub async fn namespace(name: &str) -> Client {
    let settings = ConnectSettings { address: format!("http://{}", address()), namespace: name.to_owned(), ..Default::default() };
    let client = connect_within(&settings, Duration::from_secs(60)).await.unwrap();
    let attributes = search::ALL.map(|(name, kind)| (name, attribute_type(kind)));
    bootstrap(&client, DEFAULT_RETENTION, &attributes).await.unwrap();
    client
}

fn attribute_type(kind: search::Kind) -> AttributeType {
    match kind {
        search::Kind::Keyword => AttributeType::Keyword,
        search::Kind::KeywordList => AttributeType::KeywordList,
        search::Kind::Bool => AttributeType::Bool,
        search::Kind::Int => AttributeType::Int,
    }
}
