//! What the other tests run as processes of their own, so that they can be killed or get another environment.
//! Without their variable these do nothing.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use oms_temporal::cli::{TEMPORAL_CLI, find};
use oms_temporal::server::{DevServer, DevServerOptions};

const DIR: &str = "OMS_TEST_ENTRY_DIR";
const PORTS: &str = "OMS_TEST_ENTRY_PORTS";
const FIND: &str = "OMS_TEST_ENTRY_TOOLS";

/// A process that runs a dev server until it is killed.
pub(crate) fn dev_server(options: &DevServerOptions) -> Child {
    let mut command = this_binary("entry::run_dev_server");
    command.env(DIR, &options.data_dir).env(PORTS, format!("{} {}", options.port, options.ui_port));
    command.spawn().unwrap()
}

/// A process that looks for the CLI with the cache in `tools_dir` and prints what it hears and gets.
pub(crate) fn finder(tools_dir: &std::path::Path) -> Command {
    let mut command = this_binary("entry::run_finder");
    command.env(FIND, tools_dir).stdout(Stdio::piped());
    command
}

fn this_binary(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn run_dev_server() {
    let (Some(dir), Ok(ports)) = (std::env::var_os(DIR), std::env::var(PORTS)) else { return };
    let (port, ui_port) = ports.split_once(' ').unwrap();
    let options = DevServerOptions {
        data_dir: PathBuf::from(dir),
        port: port.parse().unwrap(),
        ui_port: ui_port.parse().unwrap(),
        cli: crate::cli(),
    };
    let _server = DevServer::start(options).await.unwrap();
    std::future::pending::<()>().await;
}

#[test]
fn run_finder() {
    let Some(dir) = std::env::var_os(FIND) else { return };
    match find(&TEMPORAL_CLI, &PathBuf::from(dir), &|line| println!("progress: {line}")) {
        Ok(found) => println!("found: {}", found.path.display()),
        Err(error) => println!("error: {error}"),
    }
}
