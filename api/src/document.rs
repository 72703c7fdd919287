//! The OpenAPI document: its frame, and the refusals that every operation of a kind shares, written once here instead of at each
//! handler.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use crate::limits;
use crate::problem::{self, FieldError, ProblemBody};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "oms",
        description = "Order fulfilment on durable workflows. Money is in minor units, instants are RFC 3339 in UTC, every error is an RFC 9457 \
                       problem document with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemBody, FieldError)),
    tags(
        (name = "orders", description = "Placing, reading and steering orders"),
        (name = "refunds", description = "Money that goes back"),
        (name = "returns", description = "Goods that come back"),
        (name = "review", description = "What needs a person, and what a person may do about it"),
        (name = "imports", description = "Files of orders"),
        (name = "shipments", description = "What warehouse and carrier see and report"),
        (name = "inbound", description = "What payment gateway and carriers report by signed webhooks"),
        (name = "inventory", description = "Stock and its movements"),
        (name = "catalogue", description = "What is sold and for how much"),
        (name = "events", description = "What happened, told to other systems"),
        (name = "pages", description = "Pages for customers"),
        (name = "ops", description = "Probes and metrics")
    )
)]
struct Frame;

/// The document without its paths.
pub(crate) fn frame() -> utoipa::openapi::OpenApi {
    Frame::openapi()
}

/// Adds to every operation the refusals that it has by its kind and does not name itself.
pub(crate) fn complete(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for (route, item) in &mut document.paths.paths {
        for operation in operations(item) {
            let named = |location: &ParameterIn| {
                operation.parameters.iter().flatten().any(|parameter| match parameter {
                    RefOr::T(parameter) => parameter.parameter_in == *location,
                    RefOr::Ref(_) => false,
                })
            };
            let (query, path, header) = (named(&ParameterIn::Query), named(&ParameterIn::Path), named(&ParameterIn::Header));
            let body = operation.request_body.is_some();
            if path {
                add(operation, "404", "`not_found`: the path names nothing that exists");
            }
            if body {
                add(operation, "400", "`malformed`: the body is no JSON");
                add(operation, "413", "`too_large`: the body is above 256 KiB");
                add(operation, "415", "`unsupported_media_type`: the body is not `application/json`");
            }
            if body || query || header {
                add(operation, "422", "`validation_failed` and its relatives: `errors` names each broken rule and its place");
            }
            if !limits::is_free(route) {
                add(
                    operation,
                    "429",
                    "`rate_limited`: more requests than one client may send, where limits are set; see `Retry-After`",
                );
            }
            add(operation, "500", "`internal`: a defect; the log has it under `x-request-id`");
            add(operation, "503", "`unavailable`: something is gone or overloaded; see `Retry-After`");
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(refusal(description)));
}

fn refusal(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content(problem::CONTENT_TYPE, content).build()
}
