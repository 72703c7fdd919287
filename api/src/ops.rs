//! Probes and metrics.

mod metrics;
mod probes;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(probes::livez)).routes(routes!(probes::readyz)).routes(routes!(metrics::metrics))
}
