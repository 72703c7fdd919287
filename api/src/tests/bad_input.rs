//! What is refused, with its status, code and place; and that nothing came of it.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use super::{Desk, order_body};

fn post(path: &str, content_type: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path);
    let request = if let Some(kind) = content_type { request.header("content-type", kind) } else { request };
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let desk = Desk::new().await;
    let json = Some("application/json");
    for broken in ["", "{", "{\"a\": }", "nul", "{\"a\": 1e999}", "\u{feff}{}"] {
        desk.send(post("/v1/orders", json, broken)).await.refuses(400, "malformed", None);
    }
    desk.send(post("/v1/orders", json, vec![0x22, 0xff, 0x22])).await.refuses(400, "malformed", None);
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx")] {
        desk.send(post("/v1/orders", kind, "{}")).await.refuses(415, "unsupported_media_type", None);
    }
    let fits = format!("{{}}{}", " ".repeat(256 * 1024 - 2));
    desk.send(post("/v1/orders", json, fits.clone())).await.refuses(422, "validation_failed", Some("/customer"));
    desk.send(post("/v1/orders", json, format!("{fits} "))).await.refuses(413, "too_large", None);
    desk.send(post("/v1/orders", Some("application/json; charset=utf-8"), "[]")).await.refuses(
        422,
        "validation_failed",
        Some(""),
    );
}

#[tokio::test]
async fn orders_against_a_rule() {
    let desk = Desk::new().await;
    desk.put_product("MUG", 1_999).await;
    let cases: Vec<(&str, &str, &str, Value)> = vec![
        ("/customer/email", "validation_failed", "/customer/email", json!("ada")),
        ("/lines", "validation_failed", "/lines", json!([])),
        ("/lines/0/quantity", "validation_failed", "/lines/0/quantity", json!(0)),
        ("/lines/0/sku", "unknown_sku", "/lines/0/sku", json!("NOPE")),
        ("/currency", "currency_mismatch", "/currency", json!("USD")),
        ("/payment/method", "validation_failed", "/payment/method", json!("pm_unknown")),
        ("/customer/name", "card_number_refused", "/customer/name", json!("4111 1111 1111 1111")),
        ("/bill_to/city", "card_number_refused", "/bill_to/city", json!("4111 1111 1111 1111")),
        ("/discounts/0/amount/amount", "validation_failed", "/discounts/0/amount", json!(3_999)),
        ("/discounts/0/code", "card_number_refused", "/discounts/0/code", json!("4111111111111111")),
        ("/lines/0", "validation_failed", "/lines/0/price", json!({"sku": "MUG", "quantity": 1, "price": 1})),
        ("/payment", "card_number_refused", "/payment/number", json!({"method": "pm_card_visa", "number": "4111111111111111"})),
    ];
    for (at, code, pointer, value) in cases {
        let mut body = order_body();
        // two mugs are 3,998: what is off may be all of it and no more
        body["discounts"] = json!([{"code": "SPRING", "amount": {"amount": 3_998, "currency": "EUR"}}]);
        body["bill_to"] = body["ship_to"].clone();
        if at == "/currency" {
            body["discounts"][0]["amount"]["currency"] = value.clone();
        }
        *body.pointer_mut(at).unwrap() = value.clone();
        let answer = desk.keyed(Method::POST, "/v1/orders", Some("one-key"), &body).await;
        answer.refuses(422, code, Some(pointer));
        assert!(!answer.text.contains("1111"), "{}", answer.text);
    }
    let listed = desk.get("/v1/orders").await;
    assert_eq!(listed.body, json!({"data": [], "next_cursor": null}));
    for key in ["", "with space", "ä", &"k".repeat(256)] {
        desk.keyed(Method::POST, "/v1/orders", Some(key), &order_body()).await.refuses(
            422,
            "validation_failed",
            Some("Idempotency-Key"),
        );
    }
}

#[tokio::test]
async fn parameters_against_a_rule() {
    let desk = Desk::new().await;
    for (path, parameter) in [
        ("/v1/orders?colour=red", "colour"),
        ("/v1/orders?limit=1&limit=2", "limit"),
        ("/v1/orders?status=great", "status"),
        ("/v1/orders?reason=bored", "reason"),
        ("/v1/orders?customer=a%20b", "customer"),
        ("/v1/orders?sku=", "sku"),
        ("/v1/orders?email=", "email"),
        ("/v1/orders?needs_attention=yes", "needs_attention"),
        ("/v1/orders?placed_after=yesterday", "placed_after"),
        ("/v1/orders?placed_before=2026-01-31", "placed_before"),
        ("/v1/orders?limit=0", "limit"),
        ("/v1/orders?limit=101", "limit"),
        ("/v1/orders?cursor=abc", "cursor"),
        ("/v1/orders/abcdefgh?consistent=maybe", "consistent"),
        ("/v1/orders/abcdefgh?x=1", "x"),
        ("/v1/shipments?status=confirmed", "status"),
        ("/v1/shipments?location=a%20b", "location"),
        ("/v1/shipments?cursor=b3w", "cursor"),
        ("/v1/inventory?limit=-1", "limit"),
        ("/v1/catalogue?limit=ten", "limit"),
        ("/v1/catalogue?page=2", "page"),
    ] {
        desk.get(path).await.refuses(422, "validation_failed", Some(parameter));
    }
}

#[tokio::test]
async fn stock_and_catalogue_against_a_rule() {
    let desk = Desk::new().await;
    desk.put_product("MUG", 1_999).await;
    let receipt = |at: &str, value: Value| {
        let mut body = json!({"sku": "MUG", "location": "berlin", "quantity": 5, "reason": "delivery"});
        body[at] = value;
        body
    };
    for (field, value, code) in [
        ("sku", json!("-"), "validation_failed"),
        ("sku", json!("NOPE"), "unknown_sku"),
        ("location", json!("a b"), "validation_failed"),
        ("location", json!("x".repeat(33)), "validation_failed"),
        ("quantity", json!(0), "validation_failed"),
        ("quantity", json!(-1), "validation_failed"),
        ("quantity", json!(1_000_001), "validation_failed"),
        ("reason", json!(""), "validation_failed"),
        ("reason", json!("x".repeat(501)), "validation_failed"),
        ("colour", json!("red"), "validation_failed"),
    ] {
        let answer = desk.json(Method::POST, "/v1/inventory/receipts", &receipt(field, value)).await;
        answer.refuses(422, code, Some(&format!("/{field}")));
    }
    let adjust = desk.json(Method::POST, "/v1/inventory/adjustments", &receipt("location", json!("nowhere"))).await;
    adjust.refuses(422, "unknown_location", Some("/location"));
    desk.json(Method::POST, "/v1/inventory/adjustments", &receipt("quantity", json!(0))).await.refuses(
        422,
        "validation_failed",
        Some("/quantity"),
    );
    for (body, pointer) in [
        (json!({"on_hand": -1, "reason": "count"}), "/on_hand"),
        (json!({"on_hand": 1}), "/reason"),
        (json!({"on_hand": 1, "reason": " "}), "/reason"),
    ] {
        desk.json(Method::PUT, "/v1/inventory/MUG/berlin", &body).await.refuses(422, "validation_failed", Some(pointer));
    }
    let good = json!({"on_hand": 1, "reason": "count"});
    desk.json(Method::PUT, "/v1/inventory/NOPE/berlin", &good).await.refuses(404, "not_found", None);
    let price = |amount: Value, currency: &str| json!({"name": "Mug", "price": {"amount": amount, "currency": currency}});
    for (sku, body, place) in [
        ("-MUG", price(json!(1), "EUR"), "sku"),
        ("MUG", price(json!(-1), "EUR"), "/price/amount"),
        ("MUG", price(json!(1.5), "EUR"), "/price/amount"),
        ("MUG", price(json!(1), "euro"), "/price/currency"),
        ("MUG", json!({"name": "", "price": {"amount": 1, "currency": "EUR"}}), "/name"),
        ("MUG", json!({"name": "Mug"}), "/price"),
        ("MUG", json!({"name": "Mug", "price": [1, "EUR"]}), "/price"),
        ("MUG", json!({"name": "Mug", "price": {"amount": 1, "currency": "EUR"}, "weight_g": -1}), "/weight_g"),
    ] {
        desk.json(Method::PUT, &format!("/v1/catalogue/{sku}"), &body).await.refuses(422, "validation_failed", Some(place));
    }
    desk.json(Method::POST, "/v1/catalogue:batch", &json!({"items": []})).await.refuses(422, "validation_failed", Some("/items"));
}

#[tokio::test]
async fn what_does_not_exist() {
    let desk = Desk::new().await;
    let event = json!({"event_id": "e", "type": "picked", "occurred_at": "2026-01-01T00:00:00Z"});
    let reason = json!({"reason": "changed my mind"});
    for path in [
        "/",
        "/v1",
        "/v1/orders/",
        "/v1/orders/abcdefgh",
        "/v1/orders/x",
        "/v1/orders/%ff",
        "/v1/orders/abcdefgh/timeline",
        "/v1/shipments/abcdefgh-1",
        "/v1/inventory/NOPE",
        "/v1/catalogue/NOPE",
        "/v2/orders",
    ] {
        desk.get(path).await.refuses(404, "not_found", None);
    }
    desk.json(Method::POST, "/v1/orders/abcdefgh/cancel", &reason).await.refuses(404, "not_found", None);
    desk.json(Method::POST, "/v1/orders/abcdefgh/holds", &json!({"kind": "fraud", "reason": "odd"})).await.refuses(
        404,
        "not_found",
        None,
    );
    desk.json(Method::POST, "/v1/shipments/abcdefgh-1/events", &event).await.refuses(404, "not_found", None);
    desk.json(Method::POST, "/v1/shipments/abcdefgh-1/events", &json!({})).await.refuses(
        422,
        "validation_failed",
        Some("/event_id"),
    );
    desk.json(Method::DELETE, "/v1/orders/abcdefgh/holds/abcdefgh", &json!(null)).await.refuses(404, "not_found", None);
}
