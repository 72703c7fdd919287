//! Sinks against brokers that nobody here wrote. Each test starts its own and ends it.

use std::net::TcpStream;

use lapin::options::{BasicAckOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use oms_gateways::events::{Event, EventSink, RabbitSink, RedisSink};

use crate::broker::{rabbitmq, redis_server};
use crate::peer::{free_port, tls, until};

pub(crate) fn event(subject: &str, number: u32) -> Event {
    let id = format!("{subject}-{number}");
    let document = format!(r#"{{"id":"{id}"}}"#);
    Event { id, kind: "oms.order.placed.v1".to_owned(), subject: subject.to_owned(), document }
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
