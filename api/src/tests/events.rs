//! Events out: the page of them, their schemas, webhooks.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use oms_domain::event::{event_type, published_kinds};
use serde_json::{Value, json};

use super::Desk;
use crate::events::ENVELOPE;

/// A desk whose outbox holds events of an article: it comes back, and runs low, and comes back.
async fn eventful() -> Desk {
    let desk = Desk::new().await;
    desk.put_product("MUG", 1_000).await;
    // a place begins with its first receipt
    let receipt = json!({"sku": "MUG", "location": "berlin", "quantity": 5, "reason": "delivery"});
    assert!(desk.json(Method::POST, "/v1/inventory/receipts", &receipt).await.status.is_success());
    for quantity in [0, 7] {
        let body = json!({"on_hand": quantity, "reason": "count"});
        assert!(desk.json(Method::PUT, "/v1/inventory/MUG/berlin", &body).await.status.is_success());
    }
    while desk.store.place_events(9).await.unwrap() > 0 {}
    desk
}

#[tokio::test]
async fn the_page_holds_the_very_bytes_and_goes_on_where_it_ended() {
    let desk = eventful().await;
    let rows = desk.store.events_after(0, 99).await.unwrap();
    assert!(rows.len() >= 2);
    let whole = desk.get("/v1/events").await;
    assert_eq!((whole.status, whole.header("content-type")), (StatusCode::OK, "application/json"));
    let bytes: Vec<String> = rows.iter().map(|row| row.document("urn:test")).collect();
    assert_eq!(whole.text, format!(r#"{{"data":[{}],"next_after":"{}"}}"#, bytes.join(","), rows.len()));
    let (mut after, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let page = desk.get(&format!("/v1/events?after={after}&limit=1")).await.body;
        let data = page["data"].as_array().unwrap().clone();
        after = page["next_after"].as_str().unwrap().to_owned();
        if data.is_empty() {
            break;
        }
        seen.extend(data);
    }
    assert_eq!(json!(seen), whole.body["data"]);
    assert_eq!(desk.get("/v1/events?after=999").await.body, json!({"data": [], "next_after": "999"}));
    for (query, name) in
        [("after=-1", "after"), ("after=x", "after"), ("limit=0", "limit"), ("limit=1001", "limit"), ("afer=1", "afer")]
    {
        desk.get(&format!("/v1/events?{query}")).await.refuses(422, "validation_failed", Some(name));
    }
}

#[tokio::test]
async fn every_type_has_its_schema_and_the_document_is_served() {
    let desk = Desk::new().await;
    for name in published_kinds().map(event_type).chain([ENVELOPE.to_owned()]) {
        let schema = desk.get(&format!("/v1/event-schemas/{name}")).await;
        assert_eq!((schema.status, schema.header("content-type")), (StatusCode::OK, "application/schema+json"));
        assert_eq!(schema.body["$id"], format!("urn:oms:schema:{name}"));
    }
    desk.get("/v1/event-schemas/oms.order.placed.v9").await.refuses(404, "not_found", None);
    assert_eq!(desk.get("/asyncapi.json").await.body, crate::events::asyncapi());
}

#[tokio::test]
async fn a_webhook_is_made_shown_without_its_secret_steered_and_deleted() {
    let desk = eventful().await;
    let body = json!({"url": "http://127.0.0.1:9/hook", "events": ["oms.stock.back.v1"], "description": "ours"});
    let made = desk.keyed(Method::POST, "/v1/webhooks", Some("key-1"), &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let (id, secret) = (made.body["id"].as_str().unwrap().to_owned(), made.body["secret"].as_str().unwrap().to_owned());
    assert!(secret.starts_with("whsec_"));
    let again = desk.keyed(Method::POST, "/v1/webhooks", Some("key-1"), &body).await;
    assert_eq!((again.status, &again.body["id"], &again.body["secret"]), (StatusCode::CREATED, &json!(id), &Value::Null));
    assert_eq!(again.header("idempotency-replayed"), "true");

    let path = format!("/v1/webhooks/{id}");
    let key = secret.trim_start_matches("whsec_");
    for shown in [desk.get("/v1/webhooks").await, desk.get(&path).await, desk.get(&format!("{path}/deliveries")).await] {
        assert!(shown.status.is_success() && !shown.text.contains(key), "{}", shown.text);
    }
    let seen = desk.get(&path).await.body;
    assert_eq!(
        (&seen["state"], &seen["events"], &seen["pending"]),
        (&json!("enabled"), &json!(["oms.stock.back.v1"]), &json!(0))
    );

    let rotated = desk.json(Method::POST, &format!("{path}/rotate"), &json!({})).await;
    assert_eq!(rotated.status, StatusCode::OK, "{}", rotated.text);
    assert_ne!(rotated.body["secret"], json!(secret));
    assert!(rotated.body["old_secret_until"].is_string());

    let now = oms_domain::instant(std::time::SystemTime::now());
    desk.store.disable_webhook(&id, "it failed", now).await.unwrap();
    let items = desk.get("/v1/review-items?source=webhook").await.body;
    assert_eq!((&items["data"][0]["kind"], &items["data"][0]["subject"]), (&json!("webhook_disabled"), &json!(id)));
    assert_eq!(desk.get(&path).await.body["why"], "it failed");
    let enabled = desk.json(Method::POST, &format!("{path}/enable"), &json!({})).await;
    assert_eq!((enabled.status, &enabled.body["state"]), (StatusCode::OK, &json!("enabled")));
    assert_eq!(desk.get("/v1/review-items?source=webhook").await.body["data"], json!([]));
    // a person who resolves the item has it enabled too
    desk.store.disable_webhook(&id, "again", now + std::time::Duration::from_secs(1)).await.unwrap();
    let item = desk.get("/v1/review-items?source=webhook").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let resolve = json!({"action": "retry", "reason": "mended"});
    let resolved = desk.json(Method::POST, &format!("/v1/review-items/{item}/resolve"), &resolve).await;
    assert_eq!(resolved.status, StatusCode::OK, "{}", resolved.text);
    assert_eq!(desk.get(&path).await.body["state"], "enabled");

    let replayed = desk.json(Method::POST, &format!("{path}/replay"), &json!({"from": 1})).await;
    assert_eq!(replayed.status, StatusCode::ACCEPTED, "{}", replayed.text);
    while desk.store.owe_webhooks(9, now).await.unwrap() > 0 {}
    let owed = desk.get(&format!("{path}/deliveries?state=pending&limit=1")).await.body;
    assert_eq!((&owed["data"][0]["type"], &owed["data"][0]["subject"]), (&json!("oms.stock.back.v1"), &json!("sku/MUG")));
    let next = owed["next_cursor"].as_str().unwrap();
    let rest = desk.get(&format!("{path}/deliveries?cursor={next}")).await.body;
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));

    let delete = || Request::delete(&path).body(Body::empty()).unwrap();
    assert_eq!(desk.send(delete()).await.status, StatusCode::NO_CONTENT);
    desk.send(delete()).await.refuses(404, "not_found", None);
    desk.get(&path).await.refuses(404, "not_found", None);
}

#[tokio::test]
async fn what_is_no_webhook_is_refused_at_its_place() {
    let desk = Desk::new().await;
    for (body, place) in [
        (json!({"url": "ftp://example.com/"}), "/url"),
        (json!({"url": "https://user:secret@example.com/"}), "/url"),
        (json!({"url": "https://example.com/", "events": ["order.placed"]}), "/events/0"),
        (json!({"url": "https://example.com/", "events": []}), "/events"),
        (json!({"url": "https://example.com/", "secret": "mine"}), "/secret"),
        (json!({}), "/url"),
    ] {
        let refused = desk.json(Method::POST, "/v1/webhooks", &body).await;
        refused.refuses(422, "validation_failed", Some(place));
        assert!(!refused.text.contains("user:secret"));
    }
    desk.json(Method::POST, "/v1/webhooks/nobody-1/replay", &json!({"from": 0})).await.refuses(
        422,
        "validation_failed",
        Some("/from"),
    );
    for path in ["/v1/webhooks/nobody-1", "/v1/webhooks/nobody-1/deliveries", "/v1/webhooks/%00"] {
        desk.get(path).await.refuses(404, "not_found", None);
    }
    for i in 0..100 {
        let made = desk.json(Method::POST, "/v1/webhooks", &json!({"url": format!("https://example.com/{i}")})).await;
        assert_eq!(made.status, StatusCode::CREATED);
    }
    let full = desk.json(Method::POST, "/v1/webhooks", &json!({"url": "https://example.com/"})).await;
    full.refuses(409, "not_allowed_now", None);
}
