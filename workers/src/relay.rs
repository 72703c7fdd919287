//! The relay: gives events their places and hands them over to every sink, in order per subject. It alone marks them published. At
//! least once: a consumer drops what it has seen by the event's id.
//!
//! Several relays share the work. Each leases lanes of a sink, so that a subject's events are in one hand at a time; a relay that dies
//! loses its lanes by time. Sinks have cursors of their own: a slow one holds nobody up.

use futures::future::join_all;
use oms_activities::Clock;
use oms_gateways::events::{Event, EventSink};
use oms_store::{LANES, Lane, OutboxRow, Store, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::deliverer::{self, WebhookPolicy};

/// Pause between two looks.
pub(crate) const EVERY: Duration = Duration::from_millis(300);
/// Longest pause of a lane that fails.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Events of a lane at once.
const BATCH_MAX: u32 = 100;
/// Events that are given places at once.
const PLACES_MAX: u32 = 1_000;
/// How long a sink may take for a batch: well within the lease, so that nobody else begins meanwhile.
const PUBLISH_MAX: Duration = Duration::from_secs(12);
/// How long a relay that has died keeps its lanes from others.
const LEASE: Duration = Duration::from_secs(20);

/// What a relay is made of.
#[derive(Clone)]
pub struct Relay {
    /// The database.
    pub store: Store,
    /// Where events go.
    pub sinks: Vec<Arc<dyn EventSink>>,
    /// How patiently webhooks are served.
    pub webhooks: WebhookPolicy,
    /// Who events are from: the shop, as a URI.
    pub source: String,
    /// The time.
    pub clock: Clock,
}

/// An event as sinks take it.
fn outgoing(row: &OutboxRow, source: &str) -> Event {
    Event {
        id: row.event_id.clone(),
        kind: oms_domain::event::event_type(&row.kind),
        subject: row.subject.to_string(),
        document: row.document(source),
    }
}

/// Publishes until told to stop; what is on its way then gets its end.
pub async fn run(relay: Relay, stop: CancellationToken) {
    let owner = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    let names: Vec<&'static str> = relay.sinks.iter().map(|sink| sink.name()).collect();
    while let Err(error) = relay.store.open_lanes(&names, (relay.clock)()).await {
        tracing::warn!(%error, "the outbox could not be opened; tried again soon");
        if stop.run_until_cancelled(tokio::time::sleep(PAUSE_MAX)).await.is_none() {
            return;
        }
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(place(relay.clone(), stop.clone()));
    for sink in &relay.sinks {
        let feeder = Feeder {
            relay: relay.clone(),
            sink: sink.clone(),
            owner: owner.clone(),
            names: names.clone(),
            failures: BTreeMap::new(),
        };
        tasks.spawn(feeder.run(stop.clone()));
    }
    tasks.spawn(deliverer::run(relay, owner, stop));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            // a relay with half its parts would look well and do half the work
            tracing::error!(%error, "a part of the relay has failed");
            return;
        }
    }
}

async fn place(relay: Relay, stop: CancellationToken) {
    loop {
        let placed = relay.store.place_events(PLACES_MAX).await;
        let outcome = match placed {
            // without sinks an event is out once its place says where to read it
            Ok(placed) if placed > 0 && relay.sinks.is_empty() => {
                relay.store.open_lanes(&[], (relay.clock)()).await.map(|()| placed)
            }
            placed => placed,
        };
        match outcome {
            // a full batch means that more is waiting
            Ok(placed) if placed >= u64::from(PLACES_MAX) && !stop.is_cancelled() => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "events could not be given their places; tried again soon"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// Hands events over to one sink.
struct Feeder {
    relay: Relay,
    sink: Arc<dyn EventSink>,
    owner: String,
    names: Vec<&'static str>,
    /// How often in a row a lane has failed.
    failures: BTreeMap<u32, u32>,
}

/// What became of a lane's batch.
struct Handed {
    lane: u32,
    events: usize,
    trouble: Option<String>,
}

impl Feeder {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            match self.round().await {
                Ok(true) if !stop.is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, sink = self.sink.name(), "the outbox could not be read; tried again soon"),
            }
            if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Hands the next events of every free lane over; answers whether any went.
    async fn round(&mut self) -> Result<bool, StoreError> {
        let now = (self.relay.clock)();
        // half of the lanes leave work to another relay
        let lanes = self.relay.store.lease_lanes(self.sink.name(), &self.owner, LANES / 2, now + LEASE, now).await?;
        let handed: Vec<Handed> =
            join_all(lanes.iter().map(|lane| self.hand_over(lane))).await.into_iter().collect::<Result<_, _>>()?;
        for lane in &handed {
            match &lane.trouble {
                None => {
                    self.failures.remove(&lane.lane);
                }
                Some(reason) => {
                    *self.failures.entry(lane.lane).or_default() += 1;
                    tracing::warn!(reason, sink = self.sink.name(), lane = lane.lane, "events wait; tried again soon");
                }
            }
        }
        Ok(handed.iter().any(|lane| lane.events > 0))
    }

    async fn hand_over(&self, lane: &Lane) -> Result<Handed, StoreError> {
        let failures = self.failures.get(&lane.lane).copied().unwrap_or(0);
        // after a failure one event tries the way: what goes out behind one that fails would come again with every attempt
        let rows = self.relay.store.events_in_lane(lane, if failures > 0 { 1 } else { BATCH_MAX }).await?;
        let events: Vec<Event> = rows.iter().map(|row| outgoing(row, &self.relay.source)).collect();
        let (safe, trouble) = match tokio::time::timeout(PUBLISH_MAX, self.sink.publish(&events)).await {
            Ok(Ok(())) => (events.len(), None),
            Ok(Err(error)) => (error.safe, Some(error.reason)),
            Err(_) => (0, Some("it takes too long".to_owned())),
        };
        let now = (self.relay.clock)();
        match rows.get(..safe).and_then(<[OutboxRow]>::last).and_then(|row| row.position) {
            Some(position) => {
                let sink = self.sink.name();
                if !self.relay.store.advance_lane(sink, lane.lane, &self.owner, position, &self.names, now).await? {
                    tracing::warn!(sink, lane = lane.lane, "another relay has taken a lane over; its events come again");
                }
            }
            None => {
                let pause = (EVERY * 2_u32.pow(failures.min(8))).min(PAUSE_MAX);
                let until = trouble.as_ref().map(|_| now + pause);
                self.relay.store.release_lane(self.sink.name(), lane.lane, &self.owner, until).await?;
            }
        }
        Ok(Handed { lane: lane.lane, events: safe, trouble })
    }
}
