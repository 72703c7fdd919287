//! How many requests a client may send: a bucket per client, which each request takes one out of and time refills.
//!
//! Replicas take from one bucket where there is a place for it. While that place does not answer, each process has buckets of its own:
//! no request is refused or fails because of that.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::problem::{Code, Problem};

pub(crate) const LIMITED: &str = "oms_http_rate_limited_total";
pub(crate) const ALONE: &str = "oms_limits_alone_total";

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// After so many requests full buckets are thrown away: clients come and go.
const TIDY_EVERY: u32 = 4_096;

/// How fast a client's requests may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second in the long run.
    pub per_second: NonZeroU32,
    /// Requests at once after a rest.
    pub burst: NonZeroU32,
}

/// What a bucket says to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on; so many more may at once.
    Pass(u32),
    /// It comes too soon by so much.
    Wait(Duration),
}

/// Buckets that all replicas take from.
pub trait SharedBuckets: Send + Sync {
    /// Takes one out of a client's bucket. `None`, within a few hundredths of a second, if nobody answers: the caller then has its own.
    fn take<'a>(&'a self, client: &'a str, rate: Rate) -> BoxFuture<'a, Option<Verdict>>;
}

/// The limits in force.
pub struct Limits {
    rate: Rate,
    proxies: usize,
    shared: Option<Arc<dyn SharedBuckets>>,
    own: RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock, StateInformationMiddleware>,
    clock: DefaultClock,
    taken: AtomicU32,
}

impl Limits {
    /// Limits at a rate. So many `proxies` stand in front and say in `X-Forwarded-For` whom they heard.
    pub fn new(rate: Rate, proxies: usize, shared: Option<Arc<dyn SharedBuckets>>) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let own = RateLimiter::keyed(quota).with_middleware();
        Self { rate, proxies, shared, own, clock: DefaultClock::default(), taken: AtomicU32::new(0) }
    }

    async fn judge(&self, client: &str) -> Verdict {
        if let Some(shared) = &self.shared {
            if let Some(verdict) = shared.take(client, self.rate).await {
                return verdict;
            }
            metrics::counter!(ALONE).increment(1);
        }
        if self.taken.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            self.own.retain_recent();
        }
        match self.own.check_key(&client.to_owned()) {
            Ok(left) => Verdict::Pass(left.remaining_burst_capacity()),
            Err(soon) => Verdict::Wait(soon.wait_time_from(self.clock.now())),
        }
    }

    /// How the bucket stands, for the client: its size, what is left in it, the seconds until it is full again.
    fn tell(&self, verdict: Verdict, headers: &mut HeaderMap) {
        let Rate { per_second, burst } = self.rate;
        let left = match verdict {
            Verdict::Pass(left) => left.min(burst.get()),
            Verdict::Wait(_) => 0,
        };
        headers.insert(LIMIT, HeaderValue::from(burst.get()));
        headers.insert(REMAINING, HeaderValue::from(left));
        headers.insert(RESET, HeaderValue::from((burst.get() - left).div_ceil(per_second.get())));
    }
}

/// The layer: refuses a request that comes too soon, before anything is done for it.
pub(crate) async fn guard(State(limits): State<Option<Arc<Limits>>>, request: Request, next: Next) -> Response {
    let Some(limits) = limits.filter(|_| !is_free(request.uri().path())) else { return next.run(request).await };
    let client = client(&request, limits.proxies);
    let verdict = limits.judge(&client).await;
    let mut response = match verdict {
        Verdict::Pass(_) => next.run(request).await,
        Verdict::Wait(wait) => refusal(wait),
    };
    limits.tell(verdict, response.headers_mut());
    response
}

fn refusal(wait: Duration) -> Response {
    metrics::counter!(LIMITED).increment(1);
    let seconds = wait.as_millis().div_ceil(1_000).max(1);
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    let problem =
        Problem::new(Code::RateLimited, "these are more requests than one client may send; go on after Retry-After seconds");
    let mut response = problem.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// What machines that look after us ask, and the documents.
pub(crate) fn is_free(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/metrics" | "/openapi.json" | "/asyncapi.json" | "/docs") || path.starts_with("/docs/")
}

/// Whose bucket a request takes from: the address it comes from, until clients have names.
fn client(request: &Request, proxies: usize) -> String {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let forwarded = || forwarded(request.headers(), proxies);
    match forwarded().or(peer) {
        Some(ip) => network(ip),
        None => "unknown".to_owned(),
    }
}

/// Each proxy adds at the right whom it heard; what stands left of what ours have added, anybody may have written.
fn forwarded(headers: &HeaderMap, proxies: usize) -> Option<IpAddr> {
    if proxies == 0 {
        return None;
    }
    let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let heard: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let text = heard.get(heard.len().checked_sub(proxies)?)?;
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("{}/64", Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn from(peer: &str, forwarded: &[&str]) -> Request {
        let mut request = Request::get("/v1/orders").body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 5_000)));
        for value in forwarded {
            request.headers_mut().append("x-forwarded-for", value.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_client_is_where_it_comes_from() {
        assert_eq!(client(&from("192.0.2.1", &[]), 0), "192.0.2.1");
        assert_eq!(client(&from("::ffff:192.0.2.1", &[]), 0), "192.0.2.1");
        assert_eq!(client(&from("2001:db8:1:2:3::4", &[]), 0), client(&from("2001:db8:1:2:ffff::", &[]), 0));
        assert_ne!(client(&from("2001:db8:1:2:3::4", &[]), 0), client(&from("2001:db8:1:3::4", &[]), 0));
        assert_eq!(client(&Request::get("/").body(Body::empty()).unwrap(), 0), "unknown");
    }

    #[test]
    fn only_what_our_own_proxies_have_written_is_believed() {
        let spoofed = ["203.0.113.9, 198.51.100.1", "10.0.0.2:4711"];
        assert_eq!(client(&from("10.0.0.1", &spoofed), 0), "10.0.0.1");
        assert_eq!(client(&from("10.0.0.1", &spoofed), 1), "10.0.0.2");
        assert_eq!(client(&from("10.0.0.1", &spoofed), 2), "198.51.100.1");
        // without a word of theirs it is they who ask
        assert_eq!(client(&from("10.0.0.1", &spoofed), 4), "10.0.0.1");
        assert_eq!(client(&from("10.0.0.1", &["nonsense"]), 1), "10.0.0.1");
        assert_eq!(client(&from("10.0.0.1", &[]), 1), "10.0.0.1");
    }
}
