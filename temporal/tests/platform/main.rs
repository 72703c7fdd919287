//! The platform crate against the real Temporal CLI, which is fetched into the tools cache if it is nowhere else.

#![allow(clippy::unwrap_used)]

mod bootstrapping;
mod dev_server;
mod entry;
mod finding;
mod working;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oms_temporal::cli::{TEMPORAL_CLI, find};
use oms_temporal::connect::ConnectSettings;
use oms_temporal::server::{DevServer, DevServerOptions};

/// Where fetched tools are kept between runs.
fn tools_dir() -> PathBuf {
    std::env::var_os("OMS_TOOLS_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(".tools"), PathBuf::from)
}

fn cli() -> PathBuf {
    find(&TEMPORAL_CLI, &tools_dir(), &|line| eprintln!("{line}")).unwrap().path
}

fn options(dir: &Path) -> DevServerOptions {
    DevServerOptions { cli: cli(), data_dir: dir.to_owned(), port: 0, ui_port: 0 }
}

fn settings(server: &DevServer, namespace: &str) -> ConnectSettings {
    ConnectSettings {
        address: server.address(),
        namespace: namespace.to_owned(),
        identity: "test".to_owned(),
        ..Default::default()
    }
}

/// Waits until `condition` gives something, at most 20 s.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
