//! The relay: publishes the outbox's rows, in order per subject, and alone marks them published. At least once: a consumer drops what
//! it has seen by the event's id.

use async_trait::async_trait;
use oms_activities::Clock;
use oms_store::{OutboxRow, Store, Subject};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_millis(500);
const BATCH_MAX: u32 = 500;

/// Why events could not be handed over.
#[derive(Debug, thiserror::Error)]
#[error("events could not be handed over: {0}")]
pub struct SinkError(String);

/// Where events go.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// Hands events over, in this order; returns when they are safe. Errors: [`SinkError`]; the same events come again.
    async fn publish(&self, events: &[OutboxRow]) -> Result<(), SinkError>;
}

/// A file of one JSON document per line: the sink of a shop without a broker.
pub struct JournalSink {
    path: PathBuf,
}

impl JournalSink {
    /// A journal `events.ndjson` in a directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join("events.ndjson") }
    }
}

#[async_trait]
impl EventSink for JournalSink {
    async fn publish(&self, events: &[OutboxRow]) -> Result<(), SinkError> {
        let mut lines = Vec::new();
        for event in events {
            let (about, id) = match &event.subject {
                Subject::Order(order) => ("order_id", order.as_str()),
                Subject::Sku(sku) => ("sku", sku.as_str()),
            };
            let line = serde_json::json!({
                "id": event.event_id, "type": event.kind, about: id, "seq": event.seq, "time": event.created_at, "data": event.body,
            });
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        let failed = |error: std::io::Error| SinkError(error.to_string());
        let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(&self.path).await.map_err(failed)?;
        file.write_all(&lines).await.map_err(failed)?;
        file.sync_data().await.map_err(failed)
    }
}

/// Publishes until told to stop.
pub async fn run(store: Store, sink: Arc<dyn EventSink>, clock: Clock, stop: CancellationToken) {
    loop {
        match publish(&store, &*sink, &clock).await {
            // a full batch means that more is waiting
            Ok(published) if published >= BATCH_MAX as usize && !stop.is_cancelled() => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(error, "the outbox could not be relayed; tried again soon"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

async fn publish(store: &Store, sink: &dyn EventSink, clock: &Clock) -> Result<usize, String> {
    let events = store.unpublished(BATCH_MAX).await.map_err(|e| e.to_string())?;
    if events.is_empty() {
        return Ok(0);
    }
    sink.publish(&events).await.map_err(|e| e.to_string())?;
    let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
    store.mark_published(&ids, clock()).await.map_err(|e| e.to_string())?;
    Ok(events.len())
}
