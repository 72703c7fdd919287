//! `GET /v1/orders/{id}/events`: what happens to an order, as it happens, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use oms_domain::ids::{Invalid, OrderId};
use oms_store::{OutboxRow, StoreError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;

use crate::doorbell::Follow;
use crate::extract::Path;
use crate::problem::{Findings, Problem};
use crate::state::AppState;

/// Open streams of one process at most; an idle one costs a small read per look, and how often it looks is the doorbell's.
const STREAMS_MAX: usize = 200;

/// Pause after the database could not be read.
const REST: Duration = Duration::from_secs(2);

/// A comment is sent after this silence, so that nobody between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// After this time a client connects again.
const RETRY: Duration = Duration::from_secs(3);

/// Events read at once.
const BATCH: u32 = 100;

static STREAMS: Semaphore = Semaphore::const_new(STREAMS_MAX);

/// Follow an order
///
/// Every event's `id` is the fact's number, its `event` the fact's kind, its `data` the same document that is published. A client that
/// connects again with `Last-Event-ID` misses nothing and gets nothing twice. The stream ends once the order has ended and
/// everything is told; asked again then, the answer is 204, which tells a browser to stop.
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/events",
    tag = "orders",
    params(
        ("id" = String, Path, description = "The order's id"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last fact that is known; all without it"),
    ),
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The order has ended, and nothing was told since"),
    )
)]
pub(crate) async fn events(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers)?;
    let order = state.order(&id).await?;
    if after.is_some_and(|after| after >= order.seq) && order.life.status.is_terminal() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let slot = STREAMS.try_acquire().map_err(|_| Problem::unavailable("too many open streams; try again"))?;
    let follow = state.settings.doorbell.follow(&order.id);
    let follower = Follower {
        state,
        order: order.id,
        follow,
        last: after.unwrap_or(0),
        told: Vec::new().into_iter(),
        greeted: false,
        _slot: slot,
    };
    let stream = Sse::new(stream_of(follower)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([("cache-control", "no-store"), ("x-accel-buffering", "no")], stream).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
    let number = number.filter(|number: &u64| i64::try_from(*number).is_ok());
    let mut findings = Findings::default();
    let number = findings.parameter("Last-Event-ID", number.ok_or_else(|| Invalid::new("the id of an event of this stream")));
    findings.check().map(|()| number)
}

struct Follower {
    state: AppState,
    order: OrderId,
    follow: Follow,
    last: u64,
    told: std::vec::IntoIter<OutboxRow>,
    greeted: bool,
    _slot: SemaphorePermit<'static>,
}

fn stream_of(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(follower, |mut follower| async move { follower.next().await.map(|event| (Ok(event), follower)) })
}

impl Follower {
    /// The next event; none once there will be no more.
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            return Some(Event::default().retry(RETRY).comment("ok"));
        }
        loop {
            if let Some(row) = self.told.next() {
                self.last = row.seq;
                return Some(Event::default().id(row.seq.to_string()).event(row.kind).data(row.body.to_string()));
            }
            match self.look().await {
                Ok(true) => return None,
                Ok(false) if self.told.len() > 0 => {}
                Ok(false) => self.follow.wait().await,
                // the stream goes on when the database does
                Err(error) => {
                    tracing::debug!(%error, "an order's events could not be read");
                    sleep(REST).await;
                }
            }
        }
    }

    /// Reads what is new; answers whether nothing more will come. The row is read first: what it counts is there to be read.
    async fn look(&mut self) -> Result<bool, StoreError> {
        self.follow.looks();
        let Some(order) = self.state.store.order(&self.order).await? else { return Ok(true) };
        if order.seq > self.last {
            self.told = self.state.store.events_of(&self.order, self.last, BATCH).await?.into_iter();
            // facts that retention has removed are told by nobody any more
            return Ok(self.told.len() == 0 && order.life.status.is_terminal());
        }
        Ok(order.life.status.is_terminal())
    }
}
