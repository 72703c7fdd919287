//! Streams that a ring wakes.

use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures::StreamExt;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::OrderId;
use oms_store::Append;
use tower::ServiceExt;

use super::Desk;
use super::commands::{at, order};

/// One stream and what it has told.
struct Following {
    stream: BodyDataStream,
    text: String,
}

impl Following {
    async fn begin(desk: &Desk, id: &str) -> Self {
        let request = Request::get(format!("/v1/orders/{id}/events")).body(Body::empty()).unwrap();
        let response = desk.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    fn numbers(&self) -> Vec<u64> {
        self.text.lines().filter_map(|line| line.strip_prefix("id:")).map(|n| n.trim().parse().unwrap()).collect()
    }

    /// Reads on until the event of a number has come.
    async fn reads(&mut self, number: u64) {
        let reading = async {
            while self.numbers().last() != Some(&number) {
                let bytes = self.stream.next().await.expect("the stream goes on").unwrap();
                self.text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap_or_else(|_| panic!("no event {number}"));
    }
}

async fn happen(desk: &Desk, id: &OrderId, number: u64) {
    let fact = Fact::new(format!("note/{number}"), FactKind::SignalIgnored, at(1));
    desk.store.append(id, &[fact], Append::default(), None, at(2)).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_woken_tells_at_once_and_one_that_is_not_misses_nothing() {
    let desk = Desk::new().await;
    let bell = desk.state.settings.doorbell.clone();
    let id = order(&desk, "k", 1, |_, _| ()).await;
    let order_id = OrderId::parse(id.as_str()).unwrap();
    bell.heard(true);
    let mut following = Following::begin(&desk, &id).await;
    let mut next = desk.store.order(&order_id).await.unwrap().unwrap().seq;
    if next > 0 {
        following.reads(next).await;
    }
    for _ in 0..3 {
        next += 1;
        happen(&desk, &order_id, next).await;
        let began = Instant::now();
        bell.ring(&id);
        following.reads(next).await;
        // by itself it looks five seconds after the look before
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
    // whoever should ring was killed
    next += 1;
    happen(&desk, &order_id, next).await;
    following.reads(next).await;
    // and now nobody is heard any more
    next += 1;
    happen(&desk, &order_id, next).await;
    bell.heard(false);
    following.reads(next).await;
    assert_eq!(following.numbers(), (1..=next).collect::<Vec<_>>(), "without gap, and nothing twice");
}
