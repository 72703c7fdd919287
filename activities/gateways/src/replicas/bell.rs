//! A bell that whoever writes an order's events rings, and that every replica of the API hears.
//!
//! A ring names an order and nothing else. Some are lost: while Redis is away, or when their process dies after its commit.

use std::time::Duration;

use futures::StreamExt;
use oms_domain::ids::OrderId;
use redis::Client;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use super::{Line, Unusable};

/// Rings that wait to go out at most; more are lost.
const WAITING_MAX: usize = 1_024;

/// Rings that go out at once.
const BATCH: usize = 100;

/// Connecting, or an answer to whether somebody is there, may take so long.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// After so long a silence it is asked whether somebody is there: a connection can be dead without a word.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Pause before hearing is tried again.
const REST: Duration = Duration::from_secs(1);

/// How often a ring is tried, and how long after each other: as long as a stream that hears the bell sleeps without one.
const ATTEMPTS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(250);

fn channel_of(prefix: &str) -> String {
    format!("{prefix}orders")
}

/// The bell, to be rung; one that nobody hears by default. Cheap to clone.
#[derive(Clone, Default)]
pub struct Bell {
    rung: Option<Sender<OrderId>>,
}

impl Bell {
    /// A bell at the server of a line. Must be called inside a tokio runtime, which then carries the rings.
    pub fn new(line: Line, prefix: &str) -> Self {
        let (rung, rings) = channel(WAITING_MAX);
        tokio::spawn(carry(line, channel_of(prefix), rings));
        Self { rung: Some(rung) }
    }

    /// Says that there is something new of an order. Waits for nothing.
    pub fn ring(&self, order: &OrderId) {
        if let Some(rung) = &self.rung {
            // a lost ring costs whoever follows the order a few seconds
            let _ = rung.try_send(order.clone());
        }
    }
}

async fn carry(line: Line, channel: String, mut rings: Receiver<OrderId>) {
    let mut batch = Vec::with_capacity(BATCH);
    while rings.recv_many(&mut batch, BATCH).await > 0 {
        let mut publish = redis::pipe();
        for order in batch.drain(..) {
            publish.cmd("PUBLISH").arg(&channel).arg(order.as_str()).ignore();
        }
        // a ring may come late: whoever follows the order has looked by itself by then
        for _ in 0..ATTEMPTS {
            if line.call::<()>(&publish).await.is_some() {
                break;
            }
            sleep(BETWEEN).await;
        }
    }
}

/// What is heard of the bell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Rings are heard from now on.
    On,
    /// They are not any more.
    Off,
    /// There is something new of the order of this id.
    Ring(&'a str),
}

/// Hears the bell; connects again after every failure. Never ends by itself.
pub struct Hearing {
    client: Client,
    channel: String,
}

impl Hearing {
    /// Of the server at a `redis:` or `rediss:` URL.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(url: &str, prefix: &str) -> Result<Self, Unusable> {
        Ok(Self { client: Client::open(url).map_err(|_| Unusable)?, channel: channel_of(prefix) })
    }

    /// Tells what is heard, for ever.
    pub async fn tell(&self, hear: impl Fn(Heard<'_>)) {
        loop {
            if let Some((sink, stream)) = self.subscribe().await {
                hear(Heard::On);
                listen(sink, stream, &hear).await;
                hear(Heard::Off);
            }
            sleep(REST).await;
        }
    }

    async fn subscribe(&self) -> Option<(PubSubSink, PubSubStream)> {
        let subscribing = async {
            let mut bell = self.client.get_async_pubsub().await?;
            bell.subscribe(&self.channel).await?;
            Ok::<_, redis::RedisError>(bell.split())
        };
        timeout(ANSWER_MAX, subscribing).await.ok()?.ok()
    }
}

/// Hears until there is nobody any more.
async fn listen(mut sink: PubSubSink, mut stream: PubSubStream, hear: &impl Fn(Heard<'_>)) {
    loop {
        match timeout(SILENCE_MAX, stream.next()).await {
            Ok(Some(message)) => hear(Heard::Ring(&String::from_utf8_lossy(message.get_payload_bytes()))),
            Ok(None) => return,
            Err(_) => match timeout(ANSWER_MAX, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            },
        }
    }
}
