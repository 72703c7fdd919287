//! The relay: gives events their places and hands them over to every sink, in order per subject. It alone marks them published. At
//! least once: a consumer drops what it has seen by the event's id.
//!
//! Several relays share the work. Each leases lanes of a sink, so that a subject's events are in one hand at a time; a relay that dies
//! loses its lanes by time. Sinks have cursors of their own: a slow one holds nobody up.

use futures::future::join_all;
use oms_activities::Clock;
use oms_domain::Instant;
use oms_gateways::events::{Event, EventSink};
use oms_store::{LANES, Lane, LaneEnd, OutboxRow, Store, StoreError};
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
/// How long a relay that has died keeps its lanes from others. A batch ends well before, so no lease is ever made longer.
const LEASE: Duration = Duration::from_secs(20);
/// How often it is noted which sinks are served. Retention looks at it, in days.
const NOTE_EVERY: Duration = Duration::from_secs(3_600);

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
    tasks.spawn(note(relay.clone(), names.clone(), stop.clone()));
    for sink in &relay.sinks {
        let feeder = Feeder {
            relay: relay.clone(),
            sink: sink.clone(),
            owner: owner.clone(),
            names: names.clone(),
            failures: BTreeMap::new(),
            full: false,
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

/// Notes from time to time that the sinks are served.
async fn note(relay: Relay, names: Vec<&'static str>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(NOTE_EVERY)).await.is_some() {
        if let Err(error) = relay.store.open_lanes(&names, (relay.clock)()).await {
            tracing::warn!(%error, "it could not be noted which sinks are served; tried again later");
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
    /// Whether a lane had a whole batch in the last round.
    full: bool,
}

/// What became of a lane's batch.
struct Handed {
    lane: Lane,
    /// How many events the sink has now.
    events: usize,
    /// The place of the last of them.
    position: Option<u64>,
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

    /// Hands the next events of every free lane over; answers whether any went. One read if nothing is new, and however many lanes have
    /// moved, two transactions: SQLite's one writer has better things to do.
    async fn round(&mut self) -> Result<bool, StoreError> {
        let (store, sink, now) = (&self.relay.store, self.sink.name(), (self.relay.clock)());
        // while more waits than goes at once, half of the lanes are another relay's
        let most = if self.full { LANES / 2 } else { LANES };
        let lanes = store.lease_lanes(sink, &self.owner, most, now + LEASE, now).await?;
        let handed = join_all(lanes.iter().map(|lane| self.hand_over(*lane))).await;
        let now = (self.relay.clock)();
        let ends: Vec<LaneEnd> = handed.iter().map(|handed| self.end(handed, now)).collect();
        for lane in store.leave_lanes(sink, &self.owner, &ends, &self.names, now).await? {
            tracing::warn!(sink, lane, "another relay has taken a lane over; its events come again");
        }
        for Handed { lane, trouble, .. } in &handed {
            match trouble {
                None => {
                    self.failures.remove(&lane.lane);
                }
                Some(reason) => {
                    *self.failures.entry(lane.lane).or_default() += 1;
                    tracing::warn!(reason, sink, lane = lane.lane, "events wait; tried again soon");
                }
            }
        }
        self.full = handed.iter().any(|lane| lane.events >= BATCH_MAX as usize);
        Ok(handed.iter().any(|lane| lane.events > 0))
    }

    async fn hand_over(&self, lane: Lane) -> Handed {
        // after a failure one event tries the way: what goes out behind one that fails would come again with every attempt
        let limit = if self.failures.contains_key(&lane.lane) { 1 } else { BATCH_MAX };
        let rows = match self.relay.store.events_in_lane(&lane, limit).await {
            Ok(rows) => rows,
            Err(error) => return Handed { lane, events: 0, position: None, trouble: Some(error.to_string()) },
        };
        let events: Vec<Event> = rows.iter().map(|row| outgoing(row, &self.relay.source)).collect();
        let (safe, trouble) = match tokio::time::timeout(PUBLISH_MAX, self.sink.publish(&events)).await {
            Ok(Ok(())) => (events.len(), None),
            Ok(Err(error)) => (error.safe, Some(error.reason)),
            Err(_) => (0, Some("it takes too long".to_owned())),
        };
        let position = rows.get(..safe).and_then(<[OutboxRow]>::last).and_then(|row| row.position);
        Handed { lane, events: safe, position, trouble }
    }

    /// How a lane is left: one of which nothing went rests, longer each time.
    fn end(&self, handed: &Handed, now: Instant) -> LaneEnd {
        let lane = handed.lane.lane;
        let failures = self.failures.get(&lane).copied().unwrap_or(0);
        let rests = handed.position.is_none() && handed.trouble.is_some();
        LaneEnd {
            lane,
            position: handed.position.unwrap_or(handed.lane.position),
            rests_until: rests.then(|| now + (EVERY * 2_u32.pow(failures.min(8))).min(PAUSE_MAX)),
        }
    }
}
