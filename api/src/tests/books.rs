//! Catalogue and stock, end to end on the database.

use axum::http::Method;
use serde_json::json;

use super::Desk;

#[tokio::test]
async fn products_are_put_read_and_paged() {
    let desk = Desk::new().await;
    let body = json!({"name": "Mug", "price": {"amount": 0, "currency": "JPY"}, "weight_g": 350});
    let put = desk.json(Method::PUT, "/v1/catalogue/MUG", &body).await;
    assert_eq!(put.status, 201);
    assert_eq!(put.body, json!({"sku": "MUG", "name": "Mug", "price": {"amount": 0, "currency": "JPY"}, "weight_g": 350}));
    assert_eq!(desk.json(Method::PUT, "/v1/catalogue/MUG", &body).await.status, 200);
    assert_eq!(desk.get("/v1/catalogue/MUG").await.body, put.body);
    for sku in ["A", "B", "C", "D"] {
        desk.put_product(sku, 1).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/catalogue?limit=2".to_owned();
    loop {
        let page = desk.get(&path).await;
        seen.extend(page.body["data"].as_array().unwrap().iter().map(|p| p["sku"].as_str().unwrap().to_owned()));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("/v1/catalogue?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["A", "B", "C", "D", "MUG"]);
}

#[tokio::test]
async fn a_batch_is_judged_row_by_row_and_once_per_key() {
    let desk = Desk::new().await;
    let item = |sku: &str, amount: i64| json!({"sku": sku, "name": "Mug", "price": {"amount": amount, "currency": "EUR"}});
    let body = json!({"items": [item("A", 1), item("B", -1), item("A", 2)]});
    let first = desk.keyed(Method::POST, "/v1/catalogue:batch", Some("k"), &body).await;
    assert_eq!(first.status, 200);
    let results: Vec<_> = first.body["data"].as_array().unwrap().iter().map(|r| r["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["created", "refused", "replaced"]);
    assert_eq!(first.body["data"][1]["errors"][0]["pointer"], "/items/1/price/amount");
    desk.put_product("A", 7).await;
    let again = desk.keyed(Method::POST, "/v1/catalogue:batch", Some("k"), &body).await;
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    assert_eq!(desk.get("/v1/catalogue/A").await.body["price"]["amount"], 7);
    let other = json!({"items": [item("A", 1)]});
    desk.keyed(Method::POST, "/v1/catalogue:batch", Some("k"), &other).await.refuses(422, "idempotency_key_reused", None);
}

#[tokio::test]
async fn stock_moves_once_per_key() {
    let desk = Desk::new().await;
    desk.put_product("MUG", 1_999).await;
    let zeros = json!({"sku": "MUG", "on_hand": 0, "reserved": 0, "available": 0, "waiting": 0, "locations": []});
    assert_eq!(desk.get("/v1/inventory/MUG").await.body, zeros);
    let receipt = json!({"sku": "MUG", "location": "berlin", "quantity": 5, "reason": "delivery"});
    let level = |on_hand: i64| {
        let place = json!({"location": "berlin", "on_hand": on_hand, "reserved": 0, "available": on_hand});
        json!({"sku": "MUG", "on_hand": on_hand, "reserved": 0, "available": on_hand, "waiting": 0, "locations": [place]})
    };
    let first = desk.keyed(Method::POST, "/v1/inventory/receipts", Some("r-1"), &receipt).await;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (201, ""));
    assert_eq!(first.body, level(5));
    let again = desk.keyed(Method::POST, "/v1/inventory/receipts", Some("r-1"), &receipt).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(again.body, level(5));
    let mut more = receipt.clone();
    more["quantity"] = json!(6);
    desk.keyed(Method::POST, "/v1/inventory/receipts", Some("r-1"), &more).await.refuses(422, "idempotency_key_reused", None);
    let mut back = receipt.clone();
    back["quantity"] = json!(-2);
    assert_eq!(desk.json(Method::POST, "/v1/inventory/adjustments", &back).await.body, level(3));
    let counted = desk.json(Method::PUT, "/v1/inventory/MUG/berlin", &json!({"on_hand": 10, "reason": "count"})).await;
    assert_eq!((counted.status.as_u16(), counted.body), (200, level(10)));
    assert_eq!(desk.get("/v1/inventory").await.body, json!({"data": [level(10)], "next_cursor": null}));
    back["quantity"] = json!(-11);
    desk.json(Method::POST, "/v1/inventory/adjustments", &back).await.refuses(409, "below_reserved", None);
}

#[tokio::test]
async fn a_refused_request_does_not_use_up_its_key() {
    let desk = Desk::new().await;
    let receipt = json!({"sku": "MUG", "location": "berlin", "quantity": 5, "reason": "delivery"});
    let refused = desk.keyed(Method::POST, "/v1/inventory/receipts", Some("r-1"), &receipt).await;
    refused.refuses(422, "unknown_sku", Some("/sku"));
    desk.put_product("MUG", 1).await;
    let mut other = receipt.clone();
    other["quantity"] = json!(7);
    let booked = desk.keyed(Method::POST, "/v1/inventory/receipts", Some("r-1"), &other).await;
    assert_eq!((booked.status.as_u16(), booked.header("idempotency-replayed")), (201, ""));
}

#[tokio::test]
async fn a_batch_of_stock_is_judged_row_by_row_and_once_per_key() {
    let desk = Desk::new().await;
    desk.put_product("A", 1).await;
    let row = |more: serde_json::Value| {
        let mut row = json!({"sku": "A", "location": "berlin", "reason": "stocktake"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let body = json!({"items": [
        row(json!({"kind": "receipt", "quantity": 5})),
        row(json!({"kind": "adjustment", "quantity": -2})),
        row(json!({"on_hand": 10})),
        row(json!({"kind": "receipt", "quantity": 0})),
        row(json!({"quantity": 1})),
        row(json!({"kind": "adjustment", "quantity": -11})),
        {"sku": "nope", "location": "berlin", "on_hand": 1, "reason": "stocktake"},
        {"sku": "A", "location": "mars", "on_hand": 1, "reason": "stocktake"},
        row(json!({"kind": "receipt", "quantity": 1})),
    ]});
    let first = desk.keyed(Method::POST, "/v1/inventory:batch", Some("k"), &body).await;
    assert_eq!(first.status, 200);
    let rows = first.body["data"].as_array().unwrap();
    let refused: Vec<_> = rows.iter().map(|r| r["errors"][0]["pointer"].as_str().unwrap_or("booked")).collect();
    assert_eq!(
        refused,
        [
            "booked",
            "booked",
            "booked",
            "/items/3/quantity",
            "/items/4",
            "/items/5/quantity",
            "/items/6/sku",
            "/items/7/location",
            "booked"
        ]
    );
    assert_eq!((&rows[5]["errors"][0]["code"], &rows[6]["errors"][0]["code"]), (&json!("below_reserved"), &json!("unknown_sku")));
    let again = desk.keyed(Method::POST, "/v1/inventory:batch", Some("k"), &body).await;
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    assert_eq!(desk.get("/v1/inventory/A").await.body["on_hand"], 11);
    desk.json(Method::POST, "/v1/inventory:batch", &json!({"items": []})).await.refuses(422, "validation_failed", Some("/items"));
}

#[tokio::test]
async fn places_are_described_and_paged() {
    let desk = Desk::new().await;
    let body = json!({"name": "The barn", "address": {"postal_code": "10115", "country": "DE"}, "priority": 7});
    let put = desk.json(Method::PUT, "/v1/locations/berlin", &body).await;
    let view = |name: &str, address: serde_json::Value, priority: i64| json!({"location": "berlin", "name": name, "address": address, "priority": priority});
    assert_eq!((put.status.as_u16(), &put.body), (201, &view("The barn", body["address"].clone(), 7)));
    let put = desk.json(Method::PUT, "/v1/locations/berlin", &json!({"priority": 1})).await;
    assert_eq!((put.status.as_u16(), &put.body), (200, &view("The barn", body["address"].clone(), 1)));
    desk.json(Method::PUT, "/v1/locations/aachen", &json!({})).await;
    let page = desk.get("/v1/locations?limit=1").await;
    assert_eq!((&page.body["data"][0]["location"], &page.body["data"][0]["priority"]), (&json!("aachen"), &json!(100)));
    let cursor = page.body["next_cursor"].as_str().unwrap();
    assert_eq!(desk.get(&format!("/v1/locations?cursor={cursor}")).await.body["data"][0], put.body);
    for (body, pointer) in [
        (json!({"address": {"country": "DE"}}), "/address/postal_code"),
        (json!({"address": {"postal_code": "1", "country": "Mars"}}), "/address/country"),
        (json!({"priority": -1}), "/priority"),
    ] {
        assert_eq!(desk.json(Method::PUT, "/v1/locations/berlin", &body).await.body["errors"][0]["pointer"], pointer);
    }
}

#[tokio::test]
async fn a_threshold_is_kept() {
    let desk = Desk::new().await;
    let body = json!({"name": "Mug", "price": {"amount": 1, "currency": "EUR"}, "low_stock_at": 5});
    assert_eq!(desk.json(Method::PUT, "/v1/catalogue/MUG", &body).await.body["low_stock_at"], 5);
    assert_eq!(desk.get("/v1/catalogue/MUG").await.body["low_stock_at"], 5);
    let bad = json!({"name": "Mug", "price": {"amount": 1, "currency": "EUR"}, "low_stock_at": -1});
    desk.json(Method::PUT, "/v1/catalogue/MUG", &bad).await.refuses(422, "validation_failed", Some("/low_stock_at"));
}
