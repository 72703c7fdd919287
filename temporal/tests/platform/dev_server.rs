//! The dev server's life: state survives, deaths are repaired, never two on one database.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use oms_temporal::bootstrap::{DEFAULT_RETENTION, bootstrap};
use oms_temporal::connect::{ConnectError, ConnectSettings, TlsSettings, connect_within, quick_rpc};
use oms_temporal::server::{DevServer, DevServerError, DevServerOptions, ServerRecord};
use rustix::process::Signal;
use temporalio_client::{Client, UntypedWorkflow, WorkflowDescribeOptions};

use crate::{entry, free_port, options, settings, signal, until};

const LONG: Duration = Duration::from_secs(20);

async fn client(server: &DevServer) -> Client {
    connect_within(&settings(server, "oms"), LONG).await.unwrap()
}

/// True if the namespace of an earlier bootstrap is there.
async fn remembers(server: &DevServer) -> bool {
    !bootstrap(&client(server).await, DEFAULT_RETENTION, &[]).await.unwrap().namespace_created
}

fn is_gone(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |c| c.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_survives_stop_and_kill_and_the_port_stays() {
    let dir = tempfile::tempdir().unwrap();
    let server = DevServer::start(options(dir.path())).await.unwrap();
    assert!(!remembers(&server).await);
    let first = server.state().pid.unwrap();
    let address = server.address();

    signal(first, Signal::KILL);
    let second = until("a new server", || async { server.state().pid.filter(|pid| *pid != first) }).await;
    assert_eq!(server.address(), address);
    assert_eq!(server.state().restarts, 1);
    assert!(remembers(&server).await);

    server.stop().await;
    assert!(is_gone(second));
    assert_eq!(ServerRecord::read(dir.path()), None);
    let server = DevServer::start(options(dir.path())).await.unwrap();
    assert!(remembers(&server).await);
    assert!(!server.adopted());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_is_adopted_on_its_ports_and_replaced_on_others() {
    let dir = tempfile::tempdir().unwrap();
    let same = DevServerOptions { port: free_port(), ui_port: free_port(), ..options(dir.path()) };
    let mut owner = entry::dev_server(&same);
    let marker = dir.path().join("temporal.db.ready");
    until("the first server", || async { marker.exists().then_some(()) }).await;
    owner.kill().unwrap();
    owner.wait().unwrap();
    let orphan = ServerRecord::read(dir.path()).unwrap().pid;
    assert!(!is_gone(orphan));

    let server = DevServer::start(same.clone()).await.unwrap();
    assert!(server.adopted());
    assert_eq!(server.state().pid, Some(orphan));
    // An adopted server that dies is repaired like any other.
    signal(orphan, Signal::KILL);
    let child = until("a new server", || async { server.state().pid.filter(|pid| *pid != orphan) }).await;
    assert!(!remembers(&server).await);
    server.stop().await;
    assert!(is_gone(child));

    let mut owner = entry::dev_server(&same);
    let orphan = until("a recorded server", || async { ServerRecord::read(dir.path()) }).await.pid;
    owner.kill().unwrap();
    owner.wait().unwrap();
    let other = DevServerOptions { port: free_port(), ui_port: free_port(), ..same };
    let server = DevServer::start(other).await.unwrap();
    assert!(!server.adopted());
    assert!(is_gone(orphan));
    assert!(remembers(&server).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_on_one_directory_are_refused_and_a_dropped_one_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = DevServer::start(options(dir.path())).await.unwrap();
    let pid = server.state().pid.unwrap();
    let second = DevServer::start(options(dir.path())).await.unwrap_err();
    assert!(matches!(second, DevServerError::AlreadyRunning { .. }), "{second}");
    drop(server);
    until("the dropped server's end", || async { is_gone(pid).then_some(()) }).await;
}

#[tokio::test]
async fn a_taken_port_is_one_sentence_with_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = stranger.local_addr().unwrap().port();
    let error = DevServer::start(DevServerOptions { port: taken, ..options(dir.path()) }).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "port {taken} on 127.0.0.1 is taken by another program: stop that program or set OMS__TEMPORAL__PORT to a free port"
        )
    );
    let error = DevServer::start(DevServerOptions { ui_port: taken, ..options(dir.path()) }).await.unwrap_err();
    assert!(error.to_string().contains("OMS__TEMPORAL__UI_PORT"), "{error}");
    assert!(!dir.path().join("temporal.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_killed_at_any_moment_does_not_block_the_next() {
    // Milliseconds after the server's start; its schema is half made at about 50 to 80 on an idle machine.
    let moments = [0, 20, 40, 55, 70, 85, 120, 200];
    for (turn, moment) in moments.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let options = DevServerOptions { port: free_port(), ui_port: free_port(), ..options(dir.path()) };
        let mut owner = entry::dev_server(&options);
        let pid = until("a recorded server", || async { ServerRecord::read(dir.path()) }).await.pid;
        let kill_at = Instant::now() + Duration::from_millis(moment);
        tokio::time::sleep_until(kill_at.into()).await;
        owner.kill().unwrap();
        // Every other time only we die, and the server goes on alone.
        if turn % 2 == 0 {
            signal(pid, Signal::KILL);
        }
        owner.wait().unwrap();
        let server = DevServer::start(options).await.unwrap_or_else(|e| panic!("killed after {moment} ms: {e}"));
        assert!(!remembers(&server).await);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_made_database_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("temporal.db"), "").unwrap();
    let server = DevServer::start(options(dir.path())).await.unwrap();
    assert!(!remembers(&server).await);
    assert!(dir.path().join("discarded-temporal.db").exists());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_opened_is_reported_with_the_end_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("temporal.db"), "this is no database").unwrap();
    fs::write(dir.path().join("temporal.db.ready"), "").unwrap();
    let error = DevServer::start(options(dir.path())).await.unwrap_err();
    assert!(matches!(&error, DevServerError::EarlyExit { tail, .. } if tail.contains("not a database")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_and_a_dead_server_are_errors_within_about_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let server = DevServer::start(options(dir.path())).await.unwrap();
    // A name takes another path through the client than a number.
    let by_name = ConnectSettings { address: server.address().replace("127.0.0.1", "localhost"), ..settings(&server, "oms") };
    let clients = [client(&server).await, connect_within(&by_name, LONG).await.unwrap()];
    bootstrap(&clients[0], DEFAULT_RETENTION, &[]).await.unwrap();
    let pid = server.state().pid.unwrap();
    signal(pid, Signal::STOP);
    let silent = [quick_describe(&clients[0]).await, quick_describe(&clients[1]).await];
    signal(pid, Signal::CONT);
    server.stop().await;
    let dead = [quick_describe(&clients[0]).await, quick_describe(&clients[1]).await];
    eprintln!("silent {silent:?}, dead {dead:?}");
    assert!(silent.iter().all(|took| *took > Duration::from_millis(500) && *took < Duration::from_millis(1500)), "{silent:?}");
    assert!(dead.iter().all(|took| *took < Duration::from_millis(1500)), "{dead:?}");
}

/// Time until a call that cannot succeed gives up.
async fn quick_describe(client: &Client) -> Duration {
    let started = Instant::now();
    let options = WorkflowDescribeOptions::builder().rpc_options(quick_rpc()).build();
    let answer = client.get_workflow_handle::<UntypedWorkflow>("none").describe(options).await;
    assert!(answer.is_err());
    started.elapsed()
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_sentence() {
    let mut settings =
        ConnectSettings { address: format!("127.0.0.1:{}", free_port()), namespace: "oms".to_owned(), ..Default::default() };
    let error = connect_within(&settings, Duration::from_millis(300)).await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("correct TEMPORAL_ADDRESS"), "{error}");
    settings.address = "ftp://x".to_owned();
    assert!(matches!(connect_within(&settings, LONG).await, Err(ConnectError::Address { .. })));
    settings.address = "127.0.0.1:7233".to_owned();
    settings.tls = Some(TlsSettings { ca_path: Some(Path::new("/no/such/ca.pem").to_owned()), ..Default::default() });
    assert!(matches!(connect_within(&settings, LONG).await, Err(ConnectError::TlsFile { .. })));
}
