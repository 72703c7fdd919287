//! What tests share: a Temporal server for the whole run, a world per test, and waiting until something is true.

pub mod bench;
pub mod books;
#[path = "../../activities/gateways/tests/peers/broker.rs"]
pub mod broker;
pub mod database;
pub mod driver;
pub mod engine;
pub mod fate;
pub mod http;
pub mod model;
pub mod postgres;
pub mod road;
pub mod roles;
pub mod shop;
pub mod skipping;
pub mod stack;
pub mod world;

use std::time::{Duration, Instant};

/// Installs the TLS provider, as the binary does; again is harmless.
pub fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Asks again until there is an answer; fails loudly at the deadline.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < within, "waited {within:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}
