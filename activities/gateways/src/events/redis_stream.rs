//! Redis Streams: one stream, appended to in transactions.

use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use super::{Event, EventSink, SinkError};

/// How long connecting, or one call, may take.
const CALL_MAX: Duration = Duration::from_secs(5);

/// Appends to a stream; connects when it has to and again after any failure.
pub struct RedisSink {
    url: String,
    stream: String,
    kept: Option<u64>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisSink {
    /// A sink for a stream of the server at a `redis:` or `rediss:` URL. About `kept` events stay in the stream, all of them without
    /// it.
    pub fn new(url: impl Into<String>, stream: impl Into<String>, kept: Option<u64>) -> Self {
        Self { url: url.into(), stream: stream.into(), kept, connection: Mutex::new(None) }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, String> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref() {
            return Ok(connection.clone());
        }
        let client = redis::Client::open(self.url.as_str()).map_err(|_| "its URL cannot be used".to_owned())?;
        let connecting = tokio::time::timeout(CALL_MAX, client.get_multiplexed_async_connection()).await;
        let made = connecting.map_err(|_| "it does not answer".to_owned())?.map_err(|e| e.to_string())?;
        Ok(kept.insert(made).clone())
    }

    fn append(&self, events: &[Event]) -> redis::Pipeline {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for event in events {
            let command = pipeline.cmd("XADD").arg(&self.stream);
            if let Some(kept) = self.kept {
                command.arg("MAXLEN").arg("~").arg(kept);
            }
            command.arg("*").arg("id").arg(&event.id).arg("type").arg(&event.kind).arg("subject").arg(&event.subject);
            command.arg("event").arg(&event.document).ignore();
        }
        pipeline
    }

    async fn call<T: redis::FromRedisValue>(&self, pipeline: &redis::Pipeline) -> Result<T, String> {
        let mut connection = self.connection().await?;
        let called = tokio::time::timeout(CALL_MAX, pipeline.query_async(&mut connection)).await;
        let answer = called.map_err(|_| "it does not answer".to_owned()).and_then(|answer| answer.map_err(|e| e.to_string()));
        if answer.is_err() {
            self.connection.lock().await.take();
        }
        answer
    }
}

#[async_trait]
impl EventSink for RedisSink {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn publish(&self, events: &[Event]) -> Result<(), SinkError> {
        self.call::<()>(&self.append(events)).await.map_err(SinkError::all)
    }

    async fn check(&self) -> Result<(), String> {
        let mut ping = redis::pipe();
        ping.cmd("PING").ignore();
        self.call::<()>(&ping).await
    }
}
