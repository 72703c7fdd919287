//! The Kafka sink against a broker that nobody here wrote. Each test starts its own and ends it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use oms_gateways::events::{Event, EventSink, KafkaAddress, KafkaSink, SinkError};
use rskafka::BackoffConfig;
use rskafka::client::partition::UnknownTopicHandling;
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;

use crate::broker::kafka;
use crate::peer::{PATIENT, free_port, until};
use crate::sinks::event;

const TOPIC: &str = "oms.test";
const PARTITIONS: i32 = 4;
/// Subjects, and the partitions of four in which Kafka's own producers put them.
const SUBJECTS: [(&str, usize); 5] =
    [("21", 0), ("foobar", 2), ("abc", 3), ("a-little-bit-long-string", 0), ("a-little-bit-longer-string", 3)];

fn sink(port: u16) -> KafkaSink {
    KafkaSink::new(KafkaAddress::parse(&format!("kafka://127.0.0.1:{port}")).unwrap(), TOPIC)
}

async fn client(port: u16) -> Client {
    let once = BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() };
    until("the broker answers", || async {
        let client = ClientBuilder::new(vec![format!("127.0.0.1:{port}")]).backoff_config(once.clone()).build();
        tokio::time::timeout(Duration::from_secs(5), client).await.ok()?.ok()
    })
    .await
}

async fn create_topic(client: &Client) {
    client.controller_client().unwrap().create_topic(TOPIC, PARTITIONS, 1, 5_000).await.unwrap();
}

/// Everything in the topic, by partition.
async fn everything(client: &Client) -> Vec<Vec<Record>> {
    let mut all = Vec::new();
    for number in 0..PARTITIONS {
        let partition = client.partition_client(TOPIC, number, UnknownTopicHandling::Error).await.unwrap();
        let mut records = Vec::new();
        loop {
            let at = i64::try_from(records.len()).unwrap();
            let (found, end) = partition.fetch_records(at, 1..1_000_000, 500).await.unwrap();
            records.extend(found.into_iter().map(|found| found.record));
            if i64::try_from(records.len()).unwrap() >= end {
                break;
            }
        }
        all.push(records);
    }
    all
}

fn text(bytes: Option<&Vec<u8>>) -> &str {
    std::str::from_utf8(bytes.unwrap()).unwrap()
}

/// The numbers of a subject's events as they first came, whatever came again.
fn first_copies(records: &[Record], subject: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for record in records.iter().filter(|record| text(record.key.as_ref()) == subject) {
        let id = text(record.value.as_ref()).strip_prefix(r#"{"id":""#).unwrap().strip_suffix(r#""}"#).unwrap();
        let number = id.rsplit_once('-').unwrap().1.parse().unwrap();
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn kafka_keeps_each_subject_in_its_partition_and_order_and_repeats_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let _broker = kafka(dir.path().to_owned(), port);
    let client = client(port).await;
    create_topic(&client).await;
    let sink = sink(port);
    sink.check().await.unwrap();
    let events: Vec<Event> = (1..=40).flat_map(|n| SUBJECTS.map(|(subject, _)| event(subject, n))).collect();
    for batch in events.chunks(37) {
        sink.publish(batch).await.unwrap();
    }
    // the relay could not note that these were safe
    sink.publish(&events[100..]).await.unwrap();
    let partitions = everything(&client).await;
    assert_eq!(partitions.iter().map(Vec::len).sum::<usize>(), events.len() + 100);
    for (subject, home) in SUBJECTS {
        assert_eq!(first_copies(&partitions[home], subject), (1..=40).collect::<Vec<_>>(), "{subject}");
        let elsewhere = partitions.iter().enumerate().filter(|(number, _)| *number != home);
        let strays: usize = elsewhere.map(|(_, records)| first_copies(records, subject).len()).sum();
        assert_eq!(strays, 0, "{subject} is in one partition");
    }
    let documents: BTreeMap<&str, &str> = events.iter().map(|event| (event.document.as_str(), event.subject.as_str())).collect();
    for record in partitions.iter().flatten() {
        assert_eq!(documents[text(record.value.as_ref())], text(record.key.as_ref()), "the bytes are the event's");
        assert_eq!(text(record.headers.get("content-type")), "application/cloudevents+json; charset=UTF-8");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn kafka_without_the_topic_is_told_apart_and_none_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let sink = sink(port);
    assert!(sink.check().await.unwrap_err().contains("refused"), "nobody is there yet");
    let _broker = kafka(dir.path().to_owned(), port);
    let client = client(port).await;
    for _ in 0..2 {
        let SinkError { safe, reason } = sink.publish(&[event("order-a", 1)]).await.unwrap_err();
        assert!(safe == 0 && reason.contains("topic `oms.test` does not exist") && reason.contains("create it"), "{reason}");
    }
    assert!(sink.check().await.unwrap_err().contains("topic `oms.test` does not exist"));
    assert!(client.list_topics().await.unwrap().iter().all(|topic| topic.name != TOPIC), "nobody made it");
    create_topic(&client).await;
    until("the sink finds it", || async { sink.publish(&[event("order-a", 1)]).await.ok() }).await;
    sink.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn kafka_that_is_killed_meanwhile_gets_the_rest_in_order_once_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut broker = kafka(dir.path().to_owned(), port);
    create_topic(&client(port).await).await;
    let sink = sink(port);
    let safe = Cell::new(0);
    let batch = |from: u32| -> Vec<Event> {
        SUBJECTS.iter().flat_map(|(subject, _)| (from + 1..=from + 20).map(|n| event(subject, n))).collect()
    };
    let publishing = async {
        loop {
            match sink.publish(&batch(safe.get())).await {
                Ok(()) => safe.set(safe.get() + 20),
                Err(error) => return error,
            }
        }
    };
    let killing = async {
        until("it is in full swing", || async { (safe.get() >= 100).then_some(()) }).await;
        broker.kill();
    };
    let (error, ()) = tokio::join!(tokio::time::timeout(PATIENT, publishing), killing);
    assert!(error.unwrap().safe < batch(0).len());
    broker.restart();
    let (client, safe) = (client(port).await, safe.get());
    until("it is noticed that the topic went with the broker", || async {
        let error = sink.publish(&batch(safe)).await.unwrap_err();
        error.reason.contains("topic `oms.test` does not exist").then_some(())
    })
    .await;
    assert!(client.list_topics().await.unwrap().iter().all(|topic| topic.name != TOPIC), "nobody made it");
    create_topic(&client).await;
    until("the sink goes on", || async { sink.publish(&batch(safe)).await.ok() }).await;
    let partitions = everything(&client).await;
    for (subject, home) in SUBJECTS {
        assert_eq!(first_copies(&partitions[home], subject), (safe + 1..=safe + 20).collect::<Vec<_>>(), "{subject}");
    }
}
