//! Requests of one client are limited, whoever counts them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use futures::future::{BoxFuture, ready};

use super::{Answer, Desk};
use crate::limits::{Limits, Rate, SharedBuckets, Verdict};

const RATE: Rate = Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(3).unwrap() };

/// A place where replicas count: it never refills, and can be away.
#[derive(Default)]
struct Ledger {
    away: AtomicBool,
    taken: Mutex<BTreeMap<String, u32>>,
}

impl SharedBuckets for Ledger {
    fn take<'a>(&'a self, client: &'a str, rate: Rate) -> BoxFuture<'a, Option<Verdict>> {
        if self.away.load(Ordering::Relaxed) {
            return Box::pin(ready(None));
        }
        let mut taken = self.taken.lock().unwrap();
        let taken = taken.entry(client.to_owned()).or_default();
        let left = rate.burst.get().checked_sub(*taken + 1);
        *taken += u32::from(left.is_some());
        Box::pin(ready(Some(left.map_or(Verdict::Wait(Duration::from_millis(7_100)), Verdict::Pass))))
    }
}

async fn limited(shared: Option<Arc<dyn SharedBuckets>>) -> Desk {
    Desk::with("127.0.0.1:9", |settings| settings.limits = Some(Arc::new(Limits::new(RATE, 0, shared)))).await
}

async fn ask(desk: &Desk, ip: &str, path: &str) -> Answer {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(ip.parse().unwrap(), 1)));
    desk.send(request).await
}

/// Asks until it is refused; answers how often it was not.
async fn drain(desk: &Desk, ip: &str) -> (u32, Answer) {
    for passed in 0..100 {
        let answer = ask(desk, ip, "/v1/event-schemas/none").await;
        if answer.status.as_u16() == 429 {
            return (passed, answer);
        }
    }
    panic!("never refused");
}

#[tokio::test]
async fn a_client_that_asks_too_fast_is_told_when_to_go_on() {
    let desk = limited(None).await;
    let first = ask(&desk, "192.0.2.1", "/v1/event-schemas/none").await;
    let told =
        |answer: &Answer| ["limit", "remaining", "reset"].map(|name| answer.header(&format!("ratelimit-{name}")).to_owned());
    assert_eq!((first.status.as_u16(), told(&first)), (404, ["3", "2", "1"].map(str::to_owned)), "an answer of any kind tells");
    let (passed, refused) = drain(&desk, "192.0.2.1").await;
    assert!(passed >= 2, "the burst");
    refused.refuses(429, "rate_limited", None);
    assert_eq!((refused.header("retry-after"), told(&refused)), ("1", ["3", "0", "3"].map(str::to_owned)));
    assert!(!refused.header("x-request-id").is_empty());
    assert_eq!(
        ask(&desk, "192.0.2.2", "/v1/event-schemas/none").await.status.as_u16(),
        404,
        "another client has a bucket of its own"
    );
    drain(&desk, "192.0.2.1").await;
    for path in ["/livez", "/metrics", "/openapi.json", "/asyncapi.json", "/docs/"] {
        let answer = ask(&desk, "192.0.2.1", path).await;
        assert!(answer.status.is_success() && answer.header("ratelimit-limit").is_empty(), "{path}: {}", answer.status);
    }
    assert_ne!(ask(&desk, "192.0.2.1", "/readyz").await.status.as_u16(), 429);
    let waiting = async {
        while ask(&desk, "192.0.2.1", "/v1/event-schemas/none").await.status.as_u16() == 429 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("time refills it");
}

#[tokio::test]
async fn without_limits_nobody_is_refused() {
    let desk = Desk::new().await;
    for _ in 0..100 {
        let answer = ask(&desk, "192.0.2.1", "/v1/event-schemas/none").await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit-limit")), (404, ""));
    }
}

#[tokio::test]
async fn replicas_count_together_and_alone_while_the_place_for_it_is_away() {
    let ledger = Arc::new(Ledger::default());
    let (one, other) = (limited(Some(ledger.clone())).await, limited(Some(ledger.clone())).await);
    for desk in [&one, &other, &one] {
        assert_eq!(ask(desk, "192.0.2.1", "/v1/event-schemas/none").await.status.as_u16(), 404);
    }
    for desk in [&one, &other] {
        let refused = ask(desk, "192.0.2.1", "/v1/event-schemas/none").await;
        refused.refuses(429, "rate_limited", None);
        assert_eq!(refused.header("retry-after"), "8", "rounded up");
    }
    ledger.away.store(true, Ordering::Relaxed);
    for desk in [&one, &other] {
        assert!(drain(desk, "192.0.2.1").await.0 >= 3, "each has a bucket of its own");
    }
    ledger.away.store(false, Ordering::Relaxed);
    assert_eq!(ask(&one, "192.0.2.1", "/v1/event-schemas/none").await.header("retry-after"), "8", "it counts again by itself");
}
