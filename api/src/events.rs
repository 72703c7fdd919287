//! Events out: reading them in one order, their schemas, and the document about all of it.

mod asyncapi;
mod list;
mod schema;

pub use asyncapi::asyncapi;
pub use schema::{ENVELOPE, data_schema, envelope_schema};

use axum::Json;
use axum::response::{IntoResponse, Response};
use oms_domain::event::kind_of_type;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::extract::Path;
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list::list)).routes(routes!(read_schema)).routes(routes!(document))
}

/// The JSON Schema of an event type's data
///
/// An event's `dataschema` is this schema's `$id`.
#[utoipa::path(
    get,
    path = "/v1/event-schemas/{type}",
    tag = "events",
    params(("type" = String, Path, description = "An event type, such as `oms.order.placed.v1`, or `oms.envelope.v1` for what is around the data")),
    responses((status = 200, description = "The schema", body = serde_json::Value, content_type = "application/schema+json"))
)]
pub(crate) async fn read_schema(Path(name): Path<String>) -> Result<Response, Problem> {
    let schema = match kind_of_type(&name) {
        Some(kind) => data_schema(kind),
        None if name == ENVELOPE => envelope_schema(),
        None => return Err(Problem::not_found("event type")),
    };
    Ok(([("content-type", "application/schema+json")], Json(schema)).into_response())
}

/// The AsyncAPI document
///
/// Every event type with its channel and schema.
#[utoipa::path(
    get,
    path = "/asyncapi.json",
    tag = "events",
    responses((status = 200, description = "AsyncAPI 3.0", body = serde_json::Value))
)]
pub(crate) async fn document() -> Json<serde_json::Value> {
    Json(asyncapi())
}
