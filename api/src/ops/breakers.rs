//! `GET /v1/ops/breakers`, `GET` and `PUT /v1/ops/breakers/{dependency}`.

use axum::extract::State;
use chrono::{DateTime, Utc};
use oms_domain::ids::Invalid;
use oms_domain::life::Why;
use oms_store::{Dependency, Switch, SwitchState};
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
    /// `open`: paused by a person, nothing gets through. `closed`: runs by a person's word. `auto`: runs.
    #[schema(value_type = String, example = "auto")]
    state: &'static str,
    /// Why; `null` while nobody ever set it.
    reason: Option<String>,
    actor: Option<String>,
    changed_at: Option<DateTime<Utc>>,
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

impl From<Switch> for Breaker {
    fn from(switch: Switch) -> Self {
        let (reason, actor, changed_at) = match switch.set {
            Some(set) => (Some(set.reason), Some(set.actor), Some(set.at)),
            None => (None, None, None),
        };
        Self { dependency: switch.dependency.as_str(), state: switch.state.as_str(), reason, actor, changed_at }
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
    let switches = state.store.switches().await?;
    Ok(axum::Json(Breakers { data: switches.into_iter().map(Breaker::from).collect() }))
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
    Ok(axum::Json(state.store.switch(dependency(&name)?).await?.into()))
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
    Ok(axum::Json(switch.into()))
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
