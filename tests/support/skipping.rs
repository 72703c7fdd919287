//! A world on the time-skipping test server: days pass in milliseconds, and the SQL clock and the sandbox follow the server's time.

use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use oms_activities::Clock;
use oms_contract::names::Queue;
use oms_temporal::cli;
use oms_temporal::connect::{ConnectSettings, connect_within};
use oms_temporal::worker::WorkerTuning;
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::testservice::v1::SleepRequest;
use tonic::Request;

use super::engine::{free_port, tethered_while, tools};
use super::world::World;

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A world whose time stands still, but for the seconds that work takes, until it is told to pass.
pub struct Skipping {
    pub world: World,
    // the server ends with it
    _leash: tempfile::TempDir,
}

impl Skipping {
    /// On a server of its own, with all workers running.
    pub async fn new() -> Self {
        let leash = tempfile::tempdir().unwrap();
        let address = tokio::task::block_in_place(|| start(&leash));
        let tuning = WorkerTuning { graceful_shutdown: Duration::from_secs(1), ..Default::default() };
        let mut world = World::on(connect(&address).await, server_clock(address), tuning).await;
        world.search_attributes = false;
        world.start_workers(&Queue::ALL).await;
        Self { world, _leash: leash }
    }

    /// Lets time pass. Timers fire at their time, one after the other, each when the work of those before it is done; activities and
    /// workflow tasks take the time that they take.
    pub async fn pass(&self, span: Duration) {
        let sleep = SleepRequest { duration: Some(span.try_into().unwrap()) };
        let mut server = self.world.client.connection().test_service();
        let passing = server.unlock_time_skipping_with_sleep(Request::new(sleep));
        tokio::time::timeout(super::world::PATIENT, passing).await.expect("time passes").unwrap();
    }
}

/// Starts a server that ends when this process has, or when the leash is gone; answers its address.
fn start(leash: &tempfile::TempDir) -> String {
    let server = cli::find(&cli::TEST_SERVER, &tools(), &|line| eprintln!("{line}")).unwrap();
    for _ in 0..3 {
        let port = free_port();
        tethered_while(&format!("'{}' {port}", server.path.display()), &format!("[ -d '{}' ]", leash.path().display()));
        let began = Instant::now();
        while began.elapsed() < STARTS_WITHIN {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return format!("127.0.0.1:{port}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("the time-skipping test server did not start");
}

async fn connect(address: &str) -> Client {
    // it has this namespace and no other
    let settings = ConnectSettings { address: format!("http://{address}"), namespace: "default".into(), ..Default::default() };
    connect_within(&settings, STARTS_WITHIN).await.unwrap()
}

/// The server's time, asked at every call: a copy of any age would be days old after a leap. A thread of its own asks, because a
/// clock is no future.
fn server_clock(address: String) -> Clock {
    let (ask, asked) = mpsc::channel::<mpsc::Sender<oms_domain::Instant>>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut server = runtime.block_on(connect(&address)).connection().test_service();
        for answer in asked {
            let told = runtime.block_on(server.get_current_time(Request::new(()))).unwrap().into_inner();
            // a caller that is gone wants no answer
            let _ = answer.send(oms_domain::instant(SystemTime::try_from(told.time.unwrap()).unwrap()));
        }
    });
    Arc::new(move || {
        let (answer, told) = mpsc::channel();
        ask.send(answer).unwrap();
        told.recv().unwrap()
    })
}
