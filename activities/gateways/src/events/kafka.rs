//! Kafka: one topic; the subject is the key, so that all events of an order share a partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::record::Record;
use tokio::sync::Mutex;

use super::{Event, EventSink, MEDIA_TYPE, SinkError};

/// How long connecting, or one call, may take.
const CALL_MAX: Duration = Duration::from_secs(8);

/// Produces to a topic that exists; connects when it has to and again after any failure.
pub struct KafkaSink {
    brokers: Vec<String>,
    topic: String,
    partitions: Mutex<Option<Arc<Vec<PartitionClient>>>>,
}

impl KafkaSink {
    /// A sink for a topic, which must exist. Brokers are `host:port`.
    pub fn new(brokers: Vec<String>, topic: impl Into<String>) -> Self {
        Self { brokers, topic: topic.into(), partitions: Mutex::new(None) }
    }

    async fn connect(&self) -> Result<Vec<PartitionClient>, String> {
        let client = ClientBuilder::new(self.brokers.clone()).client_id("oms").build().await.map_err(|e| e.to_string())?;
        let topics = client.list_topics().await.map_err(|e| e.to_string())?;
        let Some(topic) = topics.into_iter().find(|topic| topic.name == self.topic) else {
            return Err(format!("topic {} does not exist: create it", self.topic));
        };
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            let made = client.partition_client(&self.topic, partition, UnknownTopicHandling::Error).await;
            partitions.push(made.map_err(|e| e.to_string())?);
        }
        Ok(partitions)
    }

    async fn partitions(&self) -> Result<Arc<Vec<PartitionClient>>, String> {
        let mut kept = self.partitions.lock().await;
        if let Some(partitions) = kept.as_ref() {
            return Ok(partitions.clone());
        }
        let made = tokio::time::timeout(CALL_MAX, self.connect()).await;
        let made = made.map_err(|_| "no broker answers".to_owned())??;
        Ok(kept.insert(Arc::new(made)).clone())
    }

    async fn produce(&self, events: &[Event]) -> Result<(), String> {
        let partitions = self.partitions().await?;
        let mut batches: BTreeMap<usize, Vec<Record>> = BTreeMap::new();
        for event in events {
            let partition = partition_of(&event.subject, partitions.len());
            batches.entry(partition).or_default().push(record(event));
        }
        for (partition, records) in batches {
            let producing = partitions[partition].produce(records, Compression::NoCompression);
            let produced = tokio::time::timeout(CALL_MAX, producing).await;
            produced.map_err(|_| "no broker answers".to_owned())?.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

fn record(event: &Event) -> Record {
    let headers = [("content-type", MEDIA_TYPE), ("id", &event.id), ("type", &event.kind)];
    Record {
        key: Some(event.subject.clone().into_bytes()),
        value: Some(event.document.clone().into_bytes()),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect(),
        timestamp: oms_domain::instant(SystemTime::now()),
    }
}

/// A subject's partition: the same for as long as the topic has as many (FNV-1a).
fn partition_of(subject: &str, partitions: usize) -> usize {
    let hash = subject.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let count = partitions.max(1) as u64;
    usize::try_from(hash % count).unwrap_or_default()
}

#[async_trait]
impl EventSink for KafkaSink {
    fn name(&self) -> &'static str {
        "kafka"
    }

    async fn publish(&self, events: &[Event]) -> Result<(), SinkError> {
        let produced = self.produce(events).await;
        if produced.is_err() {
            self.partitions.lock().await.take();
        }
        produced.map_err(SinkError::all)
    }

    async fn check(&self) -> Result<(), String> {
        self.partitions().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_keeps_its_partition() {
        assert_eq!(partition_of("order-0001", 12), partition_of("order-0001", 12));
        let used: std::collections::BTreeSet<usize> = (0..100).map(|n| partition_of(&format!("order-{n:04}"), 8)).collect();
        assert_eq!(used.len(), 8);
    }
}
