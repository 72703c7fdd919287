//! Where events go: a trait, and the sinks behind it. Every event may come twice, under the same id and with the same bytes.

mod journal;
#[cfg(feature = "kafka")]
mod kafka;
mod kafka_address;
mod rabbitmq;
mod redis_stream;

pub use journal::JournalSink;
#[cfg(feature = "kafka")]
pub use kafka::KafkaSink;
pub use kafka_address::KafkaAddress;
pub use rabbitmq::RabbitSink;
pub use redis_stream::RedisSink;

use async_trait::async_trait;
use std::collections::BTreeSet;

/// An event on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id: the same whenever it is published again.
    pub id: String,
    /// Its type, with its version.
    pub kind: String,
    /// What it is about. Events of one subject keep their order.
    pub subject: String,
    /// The whole event, a CloudEvent in structured JSON.
    pub document: String,
}

/// The media type of an event's document.
pub const MEDIA_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// Why events could not be handed over. The reason never holds secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("events could not be handed over: {reason}")]
pub struct SinkError {
    /// How many of the events, from the first on, are safe all the same.
    pub safe: usize,
    /// What went wrong.
    pub reason: String,
}

impl SinkError {
    /// None of the events is safe.
    pub fn all(reason: impl Into<String>) -> Self {
        Self { safe: 0, reason: reason.into() }
    }
}

/// Where events go.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// The name under which its cursor is kept. Never changes.
    fn name(&self) -> &'static str;

    /// Hands events over; returns when they are safe. An event is handed over only when those of its subject before it are safe.
    /// Errors: [`SinkError`]; what is not safe comes again.
    async fn publish(&self, events: &[Event]) -> Result<(), SinkError>;

    /// Whether it can be reached, for operators. Errors: a sentence with the remedy.
    async fn check(&self) -> Result<(), String>;
}

/// Cuts events into runs in which no subject comes twice, at most `most` long: what is inside a run may be on its way at once.
fn runs(events: &[Event], most: usize) -> Vec<&[Event]> {
    let (mut runs, mut begin, mut seen) = (Vec::new(), 0, BTreeSet::new());
    for (at, event) in events.iter().enumerate() {
        if at - begin == most || !seen.insert(event.subject.as_str()) {
            runs.push(&events[begin..at]);
            begin = at;
            seen = BTreeSet::from([event.subject.as_str()]);
        }
    }
    if begin < events.len() {
        runs.push(&events[begin..]);
    }
    runs
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An event of a subject.
    pub(crate) fn event(subject: &str, number: u32) -> Event {
        let id = format!("{subject}-{number}");
        Event {
            document: format!("{{\"id\":\"{id}\"}}"),
            id,
            kind: "oms.order.placed.v1".to_owned(),
            subject: subject.to_owned(),
        }
    }

    #[test]
    fn a_run_holds_each_subject_once() {
        let events = [event("a", 1), event("b", 1), event("a", 2), event("c", 1), event("d", 1), event("e", 1)];
        let lengths: Vec<usize> = runs(&events, 3).iter().map(|run| run.len()).collect();
        assert_eq!(lengths, [2, 3, 1]);
        assert_eq!(runs(&events, 3).concat(), events);
        assert!(runs(&[], 3).is_empty());
    }
}
