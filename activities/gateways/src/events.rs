//! Where events go: a trait, and the sinks behind it. Every event may come twice, under the same id and with the same bytes.

mod journal;

pub use journal::JournalSink;

use async_trait::async_trait;

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
}
