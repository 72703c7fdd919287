//! Sinks against brokers that nobody here wrote. Each test starts its own and ends it.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lapin::options::{BasicAckOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use oms_gateways::events::{Event, EventSink, RabbitSink, RedisSink};

use crate::peer::{free_port, tls, until};

fn event(subject: &str, number: u32) -> Event {
    let id = format!("{subject}-{number}");
    let document = format!(r#"{{"id":"{id}"}}"#);
    Event { id, kind: "oms.order.placed.v1".to_owned(), subject: subject.to_owned(), document }
}

/// A broker's process, with everything that it starts; gone with this value, and with the test process at the latest.
struct Broker {
    start: Box<dyn Fn() -> Command>,
    child: Child,
}

/// Runs a command in a group of its own and kills the group when its input ends, which it does however the test process dies.
const KEEPER: &str = r#"setsid "$@" </dev/null & pid=$!; cat >/dev/null; kill -9 -$pid 2>/dev/null; wait"#;

impl Broker {
    fn spawn(start: impl Fn() -> Command + 'static) -> Self {
        let child = start().stdin(Stdio::piped()).spawn().unwrap();
        Self { start: Box::new(start), child }
    }

    /// SIGKILL to all of it; returns when it is gone.
    fn kill(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    /// Starts it again on its data.
    fn restart(&mut self) {
        self.child = (self.start)().stdin(Stdio::piped()).spawn().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn kept(program: &Path, log: &Path) -> Command {
    let mut command = Command::new("sh");
    let log = File::options().create(true).append(true).open(log).unwrap();
    command.args(["-c", KEEPER, "keeper"]).arg(program).stdout(log.try_clone().unwrap()).stderr(log);
    command
}

fn rabbitmq(dir: PathBuf, port: u16) -> Broker {
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

fn redis_server(dir: PathBuf, port: u16) -> Broker {
    Broker::spawn(move || {
        let mut command = kept(Path::new("redis-server"), &dir.join("log"));
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(&dir);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        command
    })
}

async fn consumer(url: &str) -> (Connection, Channel) {
    let connection =
        until("the broker accepts", || async { Connection::connect(url, ConnectionProperties::default()).await.ok() }).await;
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// Takes what is in the queue.
async fn drain(channel: &Channel) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some(message) = channel.basic_get("all".into(), BasicGetOptions::default()).await.unwrap() {
        let id = message.properties.message_id().clone().unwrap().to_string();
        found.push((id, String::from_utf8(message.delivery.data.clone()).unwrap()));
        message.delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server"]
async fn rabbitmq_confirms_returns_and_comes_back() {
    tls();
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let url = format!("amqp://127.0.0.1:{port}/%2f");
    let sink = RabbitSink::new(&url, "oms.test");
    assert!(sink.check().await.is_err(), "nobody is there yet");
    let mut broker = rabbitmq(dir.path().to_owned(), port);
    let (_connection, channel) = consumer(&url).await;
    sink.check().await.unwrap();

    let lost = sink.publish(&[event("order-a", 1)]).await.unwrap_err();
    assert!(lost.safe == 0 && lost.reason.contains("no queue is bound"), "{lost:?}");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("all".into(), durable, FieldTable::default()).await.unwrap();
    let binding = QueueBindOptions::default();
    channel.queue_bind("all".into(), "oms.test".into(), "oms.order.#".into(), binding, FieldTable::default()).await.unwrap();
    let mixed = [event("order-a", 1), event("order-a", 2), Event { kind: "oms.stock.low.v1".to_owned(), ..event("sku/x", 1) }];
    let partly = sink.publish(&mixed).await.unwrap_err();
    assert_eq!(partly.safe, 2, "what went before is safe: {partly:?}");
    let got = drain(&channel).await;
    let ids: Vec<&str> = got.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["order-a-1", "order-a-2"]);
    assert_eq!(got[0].1, mixed[0].document, "the bytes are the event's");

    let many: Vec<Event> = (1..=30).flat_map(|n| ["order-b", "order-c"].map(|order| event(order, n))).collect();
    sink.publish(&many).await.unwrap();
    broker.kill();
    assert!(sink.publish(&[event("order-b", 31)]).await.is_err());
    broker.restart();
    let (_connection, channel) = consumer(&url).await;
    until("the sink connects again", || async { sink.publish(&[event("order-b", 31)]).await.ok() }).await;
    let got = drain(&channel).await;
    for order in ["order-b", "order-c"] {
        let mine: Vec<&String> = got.iter().map(|(id, _)| id).filter(|id| id.starts_with(order)).collect();
        let last = if order == "order-b" { 31 } else { 30 };
        assert_eq!(mine, (1..=last).map(|n| format!("{order}-{n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn redis_keeps_the_order_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let url = format!("redis://127.0.0.1:{port}");
    let sink = RedisSink::new(&url, "oms:test", None);
    assert!(sink.check().await.is_err(), "nobody is there yet");
    let mut broker = redis_server(dir.path().to_owned(), port);
    until("redis accepts", || async { sink.check().await.ok() }).await;
    sink.publish(&[event("order-a", 1), event("order-b", 1), event("order-a", 2)]).await.unwrap();
    broker.kill();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(sink.publish(&[event("order-a", 3)]).await.is_err());
    broker.restart();
    until("the sink connects again", || async { sink.publish(&[event("order-a", 3)]).await.ok() }).await;
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("oms:test").arg("-").arg("+").query_async(&mut connection).await.unwrap();
    let told: Vec<[&str; 2]> = entries.iter().map(|(_, fields)| [fields[0].as_str(), fields[1].as_str()]).collect();
    assert_eq!(told, [["id", "order-a-1"], ["id", "order-b-1"], ["id", "order-a-2"], ["id", "order-a-3"]]);
    let expected = event("order-a", 1).document;
    assert_eq!(entries[0].1[6..], ["event".to_owned(), expected], "the bytes are the event's");
}
