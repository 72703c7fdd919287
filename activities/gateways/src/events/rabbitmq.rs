//! RabbitMQ: a durable topic exchange, routed by event type, with publisher confirms and mandatory routing.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::Mutex;

use super::{Event, EventSink, MEDIA_TYPE, SinkError, runs};

/// How long connecting and declaring may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long the broker may take to confirm what was published.
const CONFIRM_MAX: Duration = Duration::from_secs(8);
/// Events on their way at once.
const IN_FLIGHT_MAX: usize = 64;
/// AMQP's number for a message that is written to disk.
const PERSISTENT: u8 = 2;

struct Link {
    // a connection ends with its last handle
    connection: Connection,
    channel: Channel,
}

/// Publishes to an exchange; connects when it has to and again after any failure.
pub struct RabbitSink {
    url: String,
    exchange: ShortString,
    link: Mutex<Option<Link>>,
}

impl RabbitSink {
    /// A sink for the broker at an `amqp:` or `amqps:` URL. Connects with the first event.
    pub fn new(url: impl Into<String>, exchange: &str) -> Self {
        Self { url: url.into(), exchange: exchange.into(), link: Mutex::new(None) }
    }

    async fn connect(&self) -> Result<Link, lapin::Error> {
        let properties = ConnectionProperties::default().with_connection_name("oms relay".into());
        let connection = Connection::connect(&self.url, properties).await?;
        let channel = connection.create_channel().await?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(self.exchange.clone(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Link { connection, channel })
    }

    /// A channel that confirms. Errors: why there is none, without the URL, which may hold a password.
    async fn channel(&self) -> Result<Channel, String> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| link.channel.status().connected()) {
            return Ok(link.channel.clone());
        }
        let made = tokio::time::timeout(CONNECT_MAX, self.connect()).await;
        let made = made.map_err(|_| "the broker does not answer".to_owned())?.map_err(|e| e.to_string())?;
        Ok(link.insert(made).channel.clone())
    }

    /// Forgets the connection: what is said on it is not to be trusted any more.
    async fn hang_up(&self) {
        if let Some(link) = self.link.lock().await.take() {
            // the broker may be gone: nobody waits for its good-bye
            let closing = link.connection.close(200, "starting anew".into());
            drop(tokio::time::timeout(Duration::from_millis(200), closing).await);
        }
    }

    async fn publish_one(&self, channel: &Channel, event: &Event) -> Result<(), String> {
        let properties = BasicProperties::default()
            .with_content_type(MEDIA_TYPE.into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(event.id.as_str().into())
            .with_type(event.kind.as_str().into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (self.exchange.clone(), event.kind.as_str().into());
        let published = channel.basic_publish(exchange, key, options, event.document.as_bytes(), properties).await;
        let confirmed = published.map_err(|e| e.to_string())?.await.map_err(|e| e.to_string())?;
        match confirmed {
            Confirmation::Ack(None) => Ok(()),
            // a message that reaches no queue is confirmed and comes back
            Confirmation::Ack(Some(_)) => {
                Err(format!("no queue is bound to exchange {} for {}: bind one", self.exchange, event.kind))
            }
            Confirmation::Nack(_) => Err("the broker refused an event".to_owned()),
            Confirmation::NotRequested => Err("the broker does not confirm".to_owned()),
        }
    }
}

#[async_trait]
impl EventSink for RabbitSink {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    async fn publish(&self, events: &[Event]) -> Result<(), SinkError> {
        let channel = self.channel().await.map_err(SinkError::all)?;
        let mut safe = 0;
        for run in runs(events, IN_FLIGHT_MAX) {
            let all = join_all(run.iter().map(|event| self.publish_one(&channel, event)));
            let Ok(outcomes) = tokio::time::timeout(CONFIRM_MAX, all).await else {
                self.hang_up().await;
                return Err(SinkError { safe, reason: "the broker does not confirm in time".to_owned() });
            };
            for outcome in outcomes {
                if let Err(reason) = outcome {
                    if !channel.status().connected() {
                        self.hang_up().await;
                    }
                    return Err(SinkError { safe, reason });
                }
                safe += 1;
            }
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), String> {
        self.channel().await.map(drop)
    }
}
