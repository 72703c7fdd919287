//! The circuit breaker before an outside party: one that fails call after call is left alone, by every process, until a probe succeeds.
//!
//! Failures are counted in each process, by a crate made for it; what follows from them is shared through the store. Whoever is sent away
//! hears when to come back ([`GatewayError::LeftAlone`]), which the engine keeps: parked orders do not hammer a party that is down, and do
//! not storm one that is up again.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant as Tick};

use futures::future::BoxFuture;
use oms_domain::Instant;
use oms_domain::party::Party;
use oms_gateways::GatewayError;
use oms_store::{Circuit, CircuitState, Pauses, Store, StoreError, SwitchState, Turn};
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::{
    CircuitBreakerConfigError, CircuitBreakerError, CircuitBreakerHandle, CircuitBreakerLayer, DefaultClassifier,
    SlidingWindowType,
};

use crate::Clock;

mod ports;

pub use ports::Guarded;

/// What is known of a circuit is read again after this.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// Whoever probes has so long: longer than any party's timeout.
const PROBE_MAX: Duration = Duration::from_secs(20);
/// A count ends a circuit's closed state, never time: a process opens and closes its own by what the store says.
const FOR_GOOD: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// When a circuit opens, and how it closes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// A process's calls of so long ago count, and none before.
    pub within: Duration,
    /// So many of them must have been made.
    pub calls: usize,
    /// It opens when so many of a hundred of them have failed.
    pub failed_percent: u8,
    /// How long it stays open.
    pub pauses: Pauses,
    /// Calls per second that go on after it closed, those that have waited longest first.
    pub resume_per_second: u32,
}

/// A call of a party that has not begun.
type Call<T> = BoxFuture<'static, Result<T, GatewayError>>;

/// What the crate puts its circuit before: it makes the call.
#[derive(Clone)]
struct Through;

impl<T: Send + 'static> Service<Call<T>> for Through {
    type Response = T;
    type Error = GatewayError;
    type Future = Call<T>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Call<T> {
        call
    }
}

/// Why no circuit follows the rules, such as 0 calls.
pub type BadRules = CircuitBreakerConfigError;

/// The breaker before one party.
pub struct Breaker {
    party: Party,
    store: Store,
    clock: Clock,
    rules: Rules,
    layer: CircuitBreakerLayer<DefaultClassifier>,
    counted: CircuitBreakerHandle,
    known: Mutex<Option<(Tick, Circuit)>>,
}

impl Breaker {
    /// A breaker that shares its circuit with all others of the party and store.
    ///
    /// # Errors
    /// [`BadRules`].
    pub fn new(party: Party, store: Store, clock: Clock, rules: Rules) -> Result<Self, BadRules> {
        let (layer, counted) = CircuitBreakerLayer::builder()
            .name(party.as_str())
            // by time: its window by count never slides, so what went well long ago would keep the circuit closed for as long again
            .sliding_window_type(SlidingWindowType::TimeBased)
            .sliding_window_duration(rules.within)
            .minimum_number_of_calls(rules.calls)
            .failure_rate_threshold(f64::from(rules.failed_percent) / 100.0)
            .wait_duration_in_open(FOR_GOOD)
            .build_with_handle()?;
        Ok(Self { party, store, clock, rules, layer, counted, known: Mutex::new(None) })
    }

    /// Calls the party, if it is its turn. Calls under one `key` have one place in line; one without is not kept in line.
    async fn call<T: Send + 'static>(&self, key: Option<&str>, call: Call<T>) -> Result<T, GatewayError> {
        let circuit = match self.circuit().await {
            Ok(circuit) => circuit,
            Err(error) => {
                // whoever calls needs the store too, and will hear of it
                tracing::debug!(%error, party = self.party.as_str(), "a circuit could not be read");
                return self.counting(call).await;
            }
        };
        match (circuit.word, circuit.state) {
            (SwitchState::Closed, _) => call.await,
            (_, CircuitState::Open) if self.may_probe(&circuit).await => self.probe(call).await,
            (_, CircuitState::Closed) if circuit.parked == 0 => self.counting(call).await,
            _ => {
                self.turn(key).await?;
                self.counting(call).await
            }
        }
    }

    /// The circuit as it was within the last second.
    async fn circuit(&self) -> Result<Circuit, StoreError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, circuit)) = known.filter(|(read, _)| read.elapsed() < FRESH_FOR) {
            return Ok(circuit);
        }
        let circuit = self.store.circuit(self.party, (self.clock)()).await?;
        self.learn(&circuit).await;
        Ok(circuit)
    }

    /// What the store says goes before what was counted here.
    async fn learn(&self, circuit: &Circuit) {
        match (circuit.state, self.counted.is_open()) {
            (CircuitState::Open, false) => self.counted.force_open().await,
            (CircuitState::Closed, true) => self.counted.reset().await,
            _ => {}
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Tick::now(), circuit.clone()));
    }

    /// Calls and counts.
    async fn counting<T: Send + 'static>(&self, call: Call<T>) -> Result<T, GatewayError> {
        match self.layer.layer(Through).call(call).await {
            Ok(answer) => Ok(answer),
            Err(CircuitBreakerError::Inner(error)) => {
                if self.counted.is_open() {
                    self.open(false, &error).await;
                }
                Err(error)
            }
            // a call beside this one has just opened it
            Err(CircuitBreakerError::OpenCircuit) => Err(GatewayError::LeftAlone { again_in: self.rules.pauses.first }),
        }
    }

    /// Whether this is the one call that finds out how the party fares.
    async fn may_probe(&self, circuit: &Circuit) -> bool {
        let now = (self.clock)();
        if circuit.retry_at.is_some_and(|at| at > now) {
            return false;
        }
        let taken = self.store.probe_circuit(self.party, now + PROBE_MAX, now).await;
        taken.unwrap_or_else(|error| {
            tracing::debug!(%error, party = self.party.as_str(), "a circuit could not be probed");
            false
        })
    }

    async fn probe<T>(&self, call: Call<T>) -> Result<T, GatewayError> {
        match call.await {
            Ok(answer) => {
                match self.store.close_circuit(self.party, (self.clock)()).await {
                    Ok(circuit) => {
                        tracing::warn!(party = self.party.as_str(), parked = circuit.parked, "answers again: its circuit closes");
                        self.tell("closed");
                        self.learn(&circuit).await;
                    }
                    Err(error) => tracing::warn!(%error, party = self.party.as_str(), "a circuit could not be closed"),
                }
                Ok(answer)
            }
            Err(error) => {
                self.open(true, &error).await;
                Err(error)
            }
        }
    }

    async fn open(&self, probe_failed: bool, seen: &GatewayError) {
        let now = (self.clock)();
        match self.store.open_circuit(self.party, probe_failed, &seen.to_string(), self.rules.pauses, now).await {
            Ok((circuit, changed)) => {
                if probe_failed {
                    tracing::info!(party = self.party.as_str(), %seen, "still fails: its circuit stays open");
                } else if changed {
                    tracing::warn!(party = self.party.as_str(), %seen, "fails call after call: its circuit opens");
                    self.tell("open");
                }
                self.learn(&circuit).await;
            }
            Err(error) => tracing::warn!(%error, party = self.party.as_str(), "a circuit could not be opened"),
        }
    }

    fn tell(&self, state: &'static str) {
        metrics::counter!("oms_circuit_changes_total", "party" => self.party.as_str(), "to" => state).increment(1);
    }

    /// Waits for this call's turn. Errors: it is not soon.
    async fn turn(&self, key: Option<&str>) -> Result<(), GatewayError> {
        let now = (self.clock)();
        let left_alone = |again_in| {
            metrics::counter!("oms_circuit_refused_total", "party" => self.party.as_str()).increment(1);
            Err(GatewayError::LeftAlone { again_in })
        };
        let Some(key) = key else { return left_alone(self.rules.pauses.first) };
        match self.store.take_turn(self.party, key, self.rules.resume_per_second, now).await {
            Ok(Turn::Go(at)) => {
                tokio::time::sleep(until(at, now)).await;
                Ok(())
            }
            Ok(Turn::Wait(at)) => left_alone(until(at, now).max(Duration::from_millis(1))),
            Err(error) => {
                tracing::debug!(%error, party = self.party.as_str(), "a call could not be put in line");
                left_alone(self.rules.pauses.first)
            }
        }
    }
}

fn until(at: Instant, now: Instant) -> Duration {
    (at - now).to_std().unwrap_or_default()
}
