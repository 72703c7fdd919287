//! `GET /livez` and `GET /readyz`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use oms_store::StoreError;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::engine::EngineError;
use crate::problem::{Check, Problem};
use crate::state::AppState;

/// Longest wait for the database.
const DATABASE_MAX: Duration = Duration::from_secs(1);

/// Whether the process serves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(value_type = String, example = "ok")]
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    checks: Vec<Check>,
}

/// Whether the process lives
#[utoipa::path(
    get,
    path = "/livez",
    tag = "ops",
    responses((status = 200, description = "It does", body = Health))
)]
pub(crate) async fn livez() -> Json<Health> {
    Json(Health { status: "ok", checks: Vec::new() })
}

/// Whether the process can serve: the database and the order engine answer
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "ops",
    responses(
        (status = 200, description = "It can", body = Health),
        (status = 503, description = "`unavailable`: it cannot; `checks` says which dependency is gone",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn readyz(State(state): State<AppState>) -> Result<Json<Health>, Problem> {
    let database = async {
        let answer = async {
            state.store.ping().await?;
            state.store.check_schema().await
        };
        match timeout(DATABASE_MAX, answer).await {
            Ok(Ok(())) => None,
            Ok(Err(StoreError::OldSchema { .. })) => Some("the schema is older than this version: run `oms migrate`"),
            Ok(Err(StoreError::NewerSchema { .. })) => Some("the schema is newer than this version: run the newer version"),
            Ok(Err(
                StoreError::Unavailable { .. }
                | StoreError::Corrupt { .. }
                | StoreError::BadUrl { .. }
                | StoreError::Conflict { .. },
            ))
            | Err(_) => Some("it does not answer"),
        }
    };
    let temporal = async {
        match state.engine.health().await {
            Ok(()) => None,
            Err(EngineError::Unavailable { .. }) => Some("it does not answer, or lacks the namespace"),
            Err(EngineError::NoRun | EngineError::Refused(_) | EngineError::Internal { .. }) => Some("it refuses us"),
        }
    };
    let (database, temporal) = futures::join!(database, temporal);
    let check = |name, wrong: Option<&str>| Check { name, ok: wrong.is_none(), detail: wrong.map(str::to_owned) };
    let checks = vec![check("database", database), check("temporal", temporal)];
    let gone: Vec<&str> = checks.iter().filter(|check| !check.ok).map(|check| check.name).collect();
    if gone.is_empty() {
        return Ok(Json(Health { status: "ok", checks }));
    }
    Err(Problem::unavailable(format!("not ready: {}; see checks", gone.join(", "))).with_checks(checks))
}
