//! What surrounds every endpoint: unknown paths, wrong methods, request ids, the document, the probes.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use crate::{openapi, telemetry};

#[tokio::test]
async fn a_wrong_method_names_the_right_ones() {
    let desk = Desk::new().await;
    for (method, path, allowed) in [
        (Method::DELETE, "/v1/orders", vec!["GET", "POST"]),
        (Method::GET, "/v1/orders/abcdefgh/cancel", vec!["POST"]),
        (Method::POST, "/v1/catalogue/MUG", vec!["GET", "PUT"]),
        (Method::PUT, "/livez", vec!["GET"]),
    ] {
        let answer = desk.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await;
        answer.refuses(405, "method_not_allowed", None);
        for method in allowed {
            assert!(answer.header("allow").split(',').any(|m| m.trim() == method), "{path}: {}", answer.header("allow"));
        }
    }
}

#[tokio::test]
async fn request_ids_are_taken_or_made() {
    let desk = Desk::new().await;
    let with = |id: &str| Request::get("/livez").header("x-request-id", id).body(Body::empty()).unwrap();
    assert_eq!(desk.send(with("abc-1")).await.header("x-request-id"), "abc-1");
    let made = desk.send(with("not a plain id")).await;
    assert_eq!(made.header("x-request-id").len(), 36);
    assert!(!desk.get("/nowhere").await.header("x-request-id").is_empty());
}

#[utoipa::path(get, path = "/v1/boom", responses((status = 200, description = "never")))]
async fn boom() -> &'static str {
    panic!("secret words")
}

#[tokio::test]
async fn a_panic_is_a_problem_and_extra_routes_are_part_of_the_document() {
    let extra = || OpenApiRouter::new().routes(routes!(boom));
    let state = Desk::new().await;
    let document = openapi(extra());
    assert!(document.paths.paths.contains_key("/v1/boom"));
    let router = extra().split_for_parts().0.layer(tower_http::catch_panic::CatchPanicLayer::custom(telemetry::panicked));
    let answer = Desk { router, ..state }.get("/v1/boom").await;
    answer.refuses(500, "internal", None);
    assert!(!answer.text.contains("secret"));
}

#[tokio::test]
async fn the_document_describes_every_answer() {
    let desk = Desk::new().await;
    let document = desk.get("/openapi.json").await.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses {
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{method} {path} {status} has no description");
            }
            let has = |status: &str| responses.contains_key(status);
            assert!(has("500") && has("503"), "{method} {path}");
            assert_eq!(
                has("429"),
                !["/livez", "/readyz", "/metrics", "/asyncapi.json"].contains(&path.as_str()),
                "{method} {path}"
            );
            if !operation["requestBody"].is_null() {
                assert!(has("400") && has("413") && has("415") && has("422"), "{method} {path}");
            }
            assert_eq!(path.contains('{'), has("404"), "{method} {path}");
        }
    }
    assert_eq!(operations, 80);
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to and missing");
    }
    assert_eq!(schemas["PlaceOrder"]["additionalProperties"], json!(false));
    assert_eq!(schemas["PlaceOrder"]["properties"]["lines"]["maxItems"], 100);
}

#[tokio::test]
async fn the_pages_for_people_and_machines_are_served() {
    let desk = Desk::new().await;
    assert_eq!(desk.get("/livez").await.body, json!({"status": "ok"}));
    let docs = desk.get("/docs/").await;
    assert!(docs.status.is_success() && docs.text.contains("swagger"), "{}", docs.status);
    assert!(desk.get("/docs").await.status.is_redirection());
    let metrics = desk.get("/metrics").await;
    assert!(metrics.status.is_success() && metrics.header("content-type").starts_with("text/plain"));
}
