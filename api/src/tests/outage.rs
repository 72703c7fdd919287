//! The engine is dead, or silent: reads go on, commands say 503 about a second later, and an interrupted POST can be finished.

use std::time::{Duration, Instant};

use axum::http::Method;
use oms_domain::life::Life;
use oms_domain::order::Status;
use oms_store::{OrderFilter, Record};
use serde_json::json;
use tokio::net::TcpListener;

use super::{Desk, order_body};

async fn is_refused_in_time(desk: &Desk) {
    desk.put_product("MUG", 1_999).await;
    let begun = Instant::now();
    let answer = desk.keyed(Method::POST, "/v1/orders", Some("k-1"), &order_body()).await;
    answer.refuses(503, "unavailable", None);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(begun.elapsed() < Duration::from_millis(1_800), "{:?}", begun.elapsed());

    let begun = Instant::now();
    let ready = desk.get("/readyz").await;
    ready.refuses(503, "unavailable", None);
    assert_eq!(ready.body["checks"][0], json!({"name": "database", "ok": true}));
    assert_eq!((&ready.body["checks"][1]["name"], &ready.body["checks"][1]["ok"]), (&json!("temporal"), &json!(false)));
    assert!(begun.elapsed() < Duration::from_millis(1_800), "{:?}", begun.elapsed());
    assert!(desk.get("/livez").await.status.is_success());
}

#[tokio::test]
async fn a_dead_engine_is_said_so() {
    let desk = Desk::new().await;
    is_refused_in_time(&desk).await;

    // the row stands; the same key asks for the same order, another body is another order
    let listed = desk.get("/v1/orders").await;
    let id = listed.body["data"][0]["id"].as_str().unwrap().to_owned();
    desk.keyed(Method::POST, "/v1/orders", Some("k-1"), &order_body()).await.refuses(503, "unavailable", None);
    let mut other = order_body();
    other["lines"][0]["quantity"] = json!(3);
    desk.keyed(Method::POST, "/v1/orders", Some("k-1"), &other).await.refuses(422, "idempotency_key_reused", None);
    assert_eq!(desk.get("/v1/orders").await.body["data"].as_array().unwrap().len(), 1);

    let begun = Instant::now();
    let order = desk.get(&format!("/v1/orders/{id}?consistent=true")).await;
    assert_eq!((order.status.as_u16(), &order.body["status"]), (200, &json!("placed")));
    assert!(begun.elapsed() < Duration::from_millis(1_800));
    let cancel = desk.json(Method::POST, &format!("/v1/orders/{id}/cancel"), &json!({"reason": "no"})).await;
    cancel.refuses(503, "unavailable", None);
}

#[tokio::test]
async fn a_silent_engine_is_said_so() {
    // accepts and never answers
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let desk = Desk::with_engine_at(&listener.local_addr().unwrap().to_string()).await;
    let silence = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    is_refused_in_time(&desk).await;
    silence.abort();
}

#[tokio::test]
async fn the_key_of_an_order_that_was_removed_by_age_places_nothing() {
    let desk = Desk::new().await;
    desk.put_product("MUG", 1_999).await;
    desk.keyed(Method::POST, "/v1/orders", Some("k-1"), &order_body()).await.refuses(503, "unavailable", None);
    let order = desk.store.orders(&OrderFilter::default(), None, 9).await.unwrap().remove(0);
    let ended = Record {
        order_id: order.id.clone(),
        rev: 1,
        life: Life { status: Status::Cancelled, ..order.life.clone() },
        facts: Vec::new(),
        scans: Vec::new(),
        confirm: false,
        amend: None,
        address: None,
        resolved: Vec::new(),
        build: None,
    };
    desk.store.record(&ended, order.placed_at).await.unwrap();
    let later = order.placed_at + Duration::from_secs(1);
    assert!(desk.store.purge_order(&order.id, later, later).await.unwrap());
    let again = desk.keyed(Method::POST, "/v1/orders", Some("k-1"), &order_body()).await;
    again.refuses(422, "idempotency_key_reused", None);
    assert!(again.text.contains("removed by age"), "{}", again.text);
    desk.keyed(Method::POST, "/v1/orders", Some("k-2"), &order_body()).await.refuses(503, "unavailable", None);
}
