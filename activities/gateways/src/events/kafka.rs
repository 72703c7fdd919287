//! Kafka: one topic, keyed by what an event is about, each batch acknowledged by all replicas that are in sync.

mod partition;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use futures::future::join_all;
use rskafka::BackoffConfig;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;

use super::{Event, EventSink, KafkaAddress, MEDIA_TYPE, SinkError};
use partition::partition_of;

/// How long connecting, or one call, may take.
const CALL_MAX: Duration = Duration::from_secs(5);

struct Link {
    client: Client,
    /// One for each partition, connected to its leader when it is first written to.
    partitions: Vec<OnceCell<PartitionClient>>,
    /// Whether a call has failed: what was learnt, such as who leads a partition, may not hold any more.
    failed: AtomicBool,
}

/// The connection, or how the last attempt to make one went.
#[derive(Default)]
struct Kept {
    link: Option<Arc<Link>>,
    refused: Option<(Instant, String)>,
}

/// Appends to a topic that exists; connects when it has to and again after any failure.
pub struct KafkaSink {
    address: KafkaAddress,
    topic: String,
    kept: Mutex<Kept>,
}

impl KafkaSink {
    /// A sink for a topic. Connects with the first event.
    pub fn new(address: KafkaAddress, topic: impl Into<String>) -> Self {
        Self { address, topic: topic.into(), kept: Mutex::default() }
    }

    async fn connect(&self) -> Result<Link, String> {
        // The relay tries again, and every attempt begins with whether the topic is there. A client that went on by itself would ask
        // for the topic by its name, which makes brokers with automatic topics create it.
        let once = BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() };
        let mut builder = ClientBuilder::new(self.address.brokers.clone()).client_id("oms relay").backoff_config(once);
        if self.address.tls {
            builder = builder.tls_config(encrypted()?);
        }
        if let Some((user, password)) = &self.address.login {
            builder = builder.sasl_config(SaslConfig::Plain(Credentials::new(user.clone(), password.reveal().to_owned())));
        }
        let client = builder.build().await.map_err(|e| self.why(&e))?;
        let count = self.count(&client).await?;
        let partitions = (0..count).map(|_| OnceCell::new()).collect();
        Ok(Link { client, partitions, failed: AtomicBool::new(false) })
    }

    /// How many partitions the topic has. A missing topic is never made here: how many it should have, and how many copies, is for
    /// whoever runs the brokers to say.
    async fn count(&self, client: &Client) -> Result<usize, String> {
        let topics = client.list_topics().await.map_err(|e| self.why(&e))?;
        let ours = topics.iter().find(|topic| topic.name == self.topic);
        ours.map(|topic| topic.partitions.len()).filter(|count| *count > 0).ok_or_else(|| self.missing())
    }

    fn missing(&self) -> String {
        format!(
            "topic `{}` does not exist, or we may not see it: create it with the partitions and replicas that you want (kafka-topics.sh \
             --create), let us describe and write it, or name another with kafka.topic",
            self.topic
        )
    }

    /// The connection to all partitions.
    async fn link(&self) -> Result<Arc<Link>, String> {
        let asked = Instant::now();
        let mut kept = self.kept.lock().await;
        if let Some(link) = kept.link.as_ref().filter(|link| !link.failed.load(Ordering::Relaxed)) {
            return Ok(link.clone());
        }
        // whoever waited while another lane tried in vain is told the same, instead of trying as long once more
        if let Some((_, why)) = kept.refused.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(why.clone());
        }
        let made = timeout(CALL_MAX, self.connect()).await.unwrap_or_else(|_| Err("no broker answers".to_owned()));
        match made {
            Ok(link) => Ok(kept.link.insert(Arc::new(link)).clone()),
            Err(why) => {
                kept.refused = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn open(&self, link: &Link, partition: usize) -> Result<PartitionClient, String> {
        // asking for a partition names the topic, so whether it is there is asked just before
        if self.count(&link.client).await? != link.partitions.len() {
            return Err(format!("topic `{}` has another number of partitions now: keys are spread anew", self.topic));
        }
        let number = i32::try_from(partition).map_err(|e| e.to_string())?;
        let opened = link.client.partition_client(&self.topic, number, UnknownTopicHandling::Error).await;
        opened.map_err(|e| self.why(&e))
    }

    /// Appends events to a partition, in their order: all of them or, with an error, perhaps none.
    async fn append(&self, link: &Link, partition: usize, events: &[&Event]) -> Result<(), String> {
        let client = link.partitions[partition].get_or_try_init(|| self.open(link, partition)).await?;
        let records = events.iter().map(|event| record(event)).collect();
        client.produce(records, Compression::NoCompression).await.map(drop).map_err(|e| self.why(&e))
    }

    /// Why it did not work, as a sentence.
    fn why(&self, error: &Error) -> String {
        let topic = &self.topic;
        match error {
            Error::ServerError { protocol_error: ProtocolError::UnknownTopicOrPartition, .. } => self.missing(),
            Error::ServerError { protocol_error: ProtocolError::TopicAuthorizationFailed, .. } => {
                format!("we may not write to topic `{topic}`: grant it")
            }
            Error::ServerError { protocol_error: ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge, .. } => {
                format!("an event is larger than topic `{topic}` takes: raise its max.message.bytes")
            }
            Error::ServerError { protocol_error, .. } => format!("a broker answers {protocol_error} for topic `{topic}`"),
            Error::RetryFailed(rskafka::BackoffError::DeadlineExceded { source, .. }) => match source.downcast_ref::<Error>() {
                Some(inner) => self.why(inner),
                None => source.to_string(),
            },
            // it tells of retries that we did not ask for before it tells the reason
            other => other.to_string().rsplit("Source: ").next().unwrap_or_default().to_owned(),
        }
    }
}

/// TLS with the certificates that this machine trusts.
fn encrypted() -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "no certificates are trusted here: install ca-certificates, or name a file of them in SSL_CERT_FILE".to_owned()
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| e.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A CloudEvent in structured mode. Stamped with the time of its appending, not with the event's: retention counts from there, and an event
/// that had to wait is kept as long as any other.
fn record(event: &Event) -> Record {
    Record {
        key: Some(event.subject.clone().into_bytes()),
        value: Some(event.document.clone().into_bytes()),
        headers: BTreeMap::from([("content-type".to_owned(), MEDIA_TYPE.as_bytes().to_vec())]),
        timestamp: SystemTime::now().into(),
    }
}

/// Events by their partition, each in its order; with where the first of them stood.
fn spread(events: &[Event], partitions: usize) -> BTreeMap<usize, (usize, Vec<&Event>)> {
    let mut spread = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        let partition = partition_of(event.subject.as_bytes(), partitions);
        spread.entry(partition).or_insert_with(|| (at, Vec::new())).1.push(event);
    }
    spread
}

#[async_trait]
impl EventSink for KafkaSink {
    fn name(&self) -> &'static str {
        "kafka"
    }

    async fn publish(&self, events: &[Event]) -> Result<(), SinkError> {
        let link = self.link().await.map_err(SinkError::all)?;
        let link = &link;
        let parts = spread(events, link.partitions.len()).into_iter();
        let appended = parts.map(|(partition, (first, events))| async move {
            let appended = timeout(CALL_MAX, self.append(link, partition, &events)).await;
            (first, appended.unwrap_or_else(|_| Err("the broker does not acknowledge in time".to_owned())))
        });
        let failed = join_all(appended).await.into_iter().filter_map(|(first, appended)| Some((first, appended.err()?)));
        // what stands before the first event of any partition that failed is in partitions that did not
        match failed.min_by_key(|(first, _)| *first) {
            None => Ok(()),
            Some((safe, reason)) => {
                link.failed.store(true, Ordering::Relaxed);
                Err(SinkError { safe, reason })
            }
        }
    }

    async fn check(&self) -> Result<(), String> {
        let link = self.link().await?;
        let asked = timeout(CALL_MAX, self.count(&link.client)).await;
        let answer = asked.unwrap_or_else(|_| Err("no broker answers".to_owned())).map(drop);
        if answer.is_err() {
            link.failed.store(true, Ordering::Relaxed);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::event;

    #[test]
    fn events_of_a_subject_stay_together_in_their_order() {
        let events: Vec<Event> = (1..=3).flat_map(|n| ["a", "b", "c", "d", "e"].map(|order| event(order, n))).collect();
        let spread = spread(&events, 3);
        assert_eq!(spread.values().map(|(_, events)| events.len()).sum::<usize>(), events.len());
        for (partition, (first, part)) in &spread {
            assert_eq!(&events[*first], part[0], "where the first of them stood");
            for subject in ["a", "b", "c", "d", "e"] {
                let ids: Vec<&str> = part.iter().filter(|e| e.subject == subject).map(|e| e.id.as_str()).collect();
                let mine = partition_of(subject.as_bytes(), 3) == *partition;
                let all = [1, 2, 3].map(|n| format!("{subject}-{n}"));
                assert!(if mine { ids == all } else { ids.is_empty() }, "{subject} in {partition}: {ids:?}");
            }
        }
        // whatever stands before the first event of a partition is in others: that much is safe if it alone fails
        let last = spread.values().map(|(first, _)| *first).max().unwrap();
        let before: Vec<usize> = events[..last].iter().map(|e| partition_of(e.subject.as_bytes(), 3)).collect();
        assert!(!before.contains(&partition_of(events[last].subject.as_bytes(), 3)) && last > 0);
    }

    #[test]
    fn a_record_is_a_cloud_event_in_structured_mode() {
        let event = event("order-a", 1);
        let record = record(&event);
        assert_eq!(record.key.unwrap(), b"order-a");
        assert_eq!(record.value.unwrap(), event.document.as_bytes());
        let headers: Vec<_> = record.headers.into_iter().collect();
        assert_eq!(headers, [("content-type".to_owned(), b"application/cloudevents+json; charset=UTF-8".to_vec())]);
    }

    #[tokio::test]
    async fn a_broker_that_takes_calls_and_says_nothing_is_not_waited_for_and_all_lanes_are_told_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((socket, _)) = listener.accept().await {
                held.push(socket);
            }
        });
        let address = KafkaAddress::parse(&format!("kafka://oms:hunter2@127.0.0.1:{port}")).unwrap();
        let sink = KafkaSink::new(address, "oms.events");
        let began = Instant::now();
        let lanes = join_all((0..16).map(|lane| {
            let (sink, name) = (&sink, format!("lane-{lane}"));
            async move { sink.publish(&[event(&name, 1)]).await }
        }));
        for told in lanes.await {
            let error = told.unwrap_err();
            assert!(error.safe == 0 && error.reason == "no broker answers", "{error:?}");
        }
        assert!(began.elapsed() < CALL_MAX * 2, "{:?}: one wait serves all", began.elapsed());
    }

    #[tokio::test]
    async fn a_refusal_says_who_refused_and_no_secret() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = KafkaAddress::parse(&format!("kafka://oms:hunter2@127.0.0.1:{port}")).unwrap();
        let why = KafkaSink::new(address, "oms.events").check().await.unwrap_err();
        assert!(why.contains(&port.to_string()) && why.contains("refused"), "{why}");
        assert!(!why.contains("hunter2") && !why.contains("retries"), "{why}");
    }
}
