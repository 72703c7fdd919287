//! Operations: probes and metrics, breakers, re-drives, versions.

mod breakers;
pub(crate) mod gauges;
mod metrics;
mod probes;
mod redrive;
mod versions;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(breakers::list))
        .routes(routes!(breakers::read, breakers::put))
        .routes(routes!(redrive::redrive))
        .routes(routes!(redrive::read))
        .routes(routes!(versions::versions))
}
