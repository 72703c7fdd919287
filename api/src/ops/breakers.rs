//! `GET /v1/ops/breakers`, `GET` and `PUT /v1/ops/breakers/{dependency}`.

use axum::extract::State;
use chrono::{DateTime, Utc};
use oms_domain::Instant;
use oms_domain::ids::Invalid;
use oms_domain::life::Why;
use oms_store::{Circuit, Dependency, Switch, SwitchState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::{Json, Path};
use crate::problem::{Findings, Problem};
use crate::schema;
use crate::state::AppState;

/// Who acts over HTTP, until there is identity.
const ACTOR: &str = "api";

/// A class of activities and whether it runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Breaker {
    /// `payment`, `carrier`, `messages` or `stock`.
    #[schema(value_type = String, example = "carrier")]
    dependency: &'static str,
    /// `open`: paused by a person, nothing gets through. `closed`: runs by a person's word, whatever its parties' circuits say. `auto`: runs,
    /// and leaves a party alone whose circuit is open.
    #[schema(value_type = String, example = "auto")]
    state: &'static str,
    /// Why; `null` while nobody ever set it.
    reason: Option<String>,
    actor: Option<String>,
    changed_at: Option<DateTime<Utc>>,
    /// The outside parties that such activities call, each with what is observed of it. `stock` has none.
    circuits: Vec<CircuitView>,
}

/// How an outside party fares.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CircuitView {
    /// `payment`, `carrier`, `mail` or `sms`.
    #[schema(value_type = String, example = "carrier")]
    party: &'static str,
    /// `closed`: calls get through. `open`: it fails, and is left alone until `retry_at`. `half_open`: one call is finding out.
    #[schema(value_type = String, example = "closed")]
    state: &'static str,
    /// Since when it is open, or closed again; `null`: it was never open.
    since: Option<DateTime<Utc>>,
    /// When the next call may try, while it is open.
    retry_at: Option<DateTime<Utc>>,
    /// How often in a row it opened.
    openings: u64,
    /// Calls that wait for their turn.
    parked: u64,
    /// What was seen when it opened last.
    reason: Option<String>,
}

/// Every class of activities.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Breakers {
    data: Vec<Breaker>,
}

/// How a breaker is set.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetBreaker {
    /// `open` pauses, `closed` and `auto` let go.
    #[schema(pattern = "^(open|closed|auto)$", example = "open")]
    state: String,
    #[schema(value_type = schema::Reason)]
    reason: String,
}

impl CircuitView {
    fn new(circuit: &Circuit, now: Instant) -> Self {
        let probed = circuit.probe_until.is_some_and(|until| until > now);
        Self {
            party: circuit.party.as_str(),
            state: if probed { "half_open" } else { circuit.state.as_str() },
            since: circuit.since,
            retry_at: circuit.retry_at,
            openings: circuit.openings,
            parked: circuit.parked,
            reason: circuit.reason.clone(),
        }
    }
}

impl Breaker {
    fn new(switch: Switch, circuits: &[Circuit], now: Instant) -> Self {
        let circuits = circuits.iter().filter(|c| Dependency::on(c.party) == switch.dependency);
        let circuits = circuits.map(|c| CircuitView::new(c, now)).collect();
        let (reason, actor, changed_at) = match switch.set {
            Some(set) => (Some(set.reason), Some(set.actor), Some(set.at)),
            None => (None, None, None),
        };
        Self { dependency: switch.dependency.as_str(), state: switch.state.as_str(), reason, actor, changed_at, circuits }
    }

    async fn of(switch: Switch, state: &AppState) -> Result<axum::Json<Self>, Problem> {
        let now = state.now();
        Ok(axum::Json(Self::new(switch, &state.store.circuits(now).await?, now)))
    }
}

fn dependency(name: &str) -> Result<Dependency, Problem> {
    Dependency::parse(name).ok_or_else(|| Problem::not_found("dependency; one of payment, carrier, messages, stock"))
}

/// List the breakers
#[utoipa::path(
    get,
    path = "/v1/ops/breakers",
    tag = "ops",
    responses((status = 200, description = "Every class of activities", body = Breakers))
)]
pub(crate) async fn list(State(state): State<AppState>) -> Result<axum::Json<Breakers>, Problem> {
    let now = state.now();
    let (switches, circuits) = (state.store.switches().await?, state.store.circuits(now).await?);
    Ok(axum::Json(Breakers { data: switches.into_iter().map(|switch| Breaker::new(switch, &circuits, now)).collect() }))
}

/// Read a breaker
#[utoipa::path(
    get,
    path = "/v1/ops/breakers/{dependency}",
    tag = "ops",
    params(("dependency" = String, Path, description = "`payment`, `carrier`, `messages` or `stock`")),
    responses((status = 200, description = "Where it stands", body = Breaker))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(name): Path<String>) -> Result<axum::Json<Breaker>, Problem> {
    Breaker::of(state.store.switch(dependency(&name)?).await?, &state).await
}

/// Pause a class of activities for everybody, or let it go on
///
/// Within about two seconds no worker of any process takes such a task any more; those that run end. What waits is done in its order
/// once the breaker lets go, and nothing has failed. A pause may outlive deadlines.
#[utoipa::path(
    put,
    path = "/v1/ops/breakers/{dependency}",
    tag = "ops",
    params(("dependency" = String, Path, description = "`payment`, `carrier`, `messages` or `stock`")),
    request_body = SetBreaker,
    responses((status = 200, description = "Where it stands now; one that stood there before keeps its first reason", body = Breaker))
)]
pub(crate) async fn put(
    State(state): State<AppState>,
    Path(name): Path<String>,
    Json(body): Json<SetBreaker>,
) -> Result<axum::Json<Breaker>, Problem> {
    let dependency = dependency(&name)?;
    let (wanted, reason) = body.parse()?;
    let switch = state.store.set_switch(dependency, wanted, reason.as_str(), ACTOR, state.now()).await?;
    tracing::warn!(dependency = name, state = wanted.as_str(), "a breaker was set");
    Breaker::of(switch, &state).await
}

impl SetBreaker {
    fn parse(&self) -> Result<(SwitchState, Why), Problem> {
        let mut findings = Findings::default();
        let state = SwitchState::parse(&self.state).ok_or_else(|| Invalid::new("one of open, closed, auto"));
        let state = findings.body("/state", state);
        let reason = findings.body("/reason", Why::parse(&self.reason));
        match (state, reason) {
            (Some(state), Some(reason)) => Ok((state, reason)),
            _ => Err(findings.into_problem()),
        }
    }
}
