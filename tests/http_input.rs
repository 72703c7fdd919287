//! Bad input at the real binary: each limit is refused with its status, code and place, and nothing comes of it.

use std::time::{Duration, Instant};

use oms_contract::names::order_workflow;
use oms_contract::workflow as mark;
use oms_domain::ids::OrderId;
use reqwest::Method;
use serde_json::{Value, json};
use temporalio_client::errors::WorkflowInteractionError;

use crate::support::http::{Http, fresh, order, order_of};
use crate::support::stack::shared;

fn with(mut body: Value, at: &str, value: Value) -> Value {
    let (parent, name) = at.rsplit_once('/').unwrap();
    match body.pointer_mut(at) {
        Some(place) => *place = value,
        None => body.pointer_mut(parent).unwrap()[name] = value,
    }
    body
}

/// Asserts that no order of the article exists, neither in SQL nor as a run.
async fn nothing_came_of_it(http: &Http, sku: &str, key: &str) {
    assert_eq!(http.get(&format!("/v1/orders?sku={sku}")).await.is(200).body["data"], json!([]));
    assert_eq!(http.stock(sku).await, (5, 0, 5));
    let run = order_workflow(&OrderId::from_key("default", "public", key));
    let described = shared().await.client().await.get_workflow_handle::<mark::Order>(run).describe(Default::default()).await;
    assert!(matches!(described, Err(WorkflowInteractionError::NotFound(_))), "a run was started");
    let answer = http.place(key, 0, &order(sku, 1)).await.is(201);
    assert_eq!(answer.header("idempotency-replayed"), "", "a refused request does not use up its key");
}

#[tokio::test]
async fn every_limit_of_an_order_is_refused_with_its_place_and_nothing_comes_of_it() {
    let http = shared().await.http();
    let (sku, dollars, key) = (fresh("LIMIT"), fresh("USD"), fresh("key"));
    http.sell(&sku, "berlin", 5, 100).await;
    let price = json!({"name": "In dollars", "price": {"amount": 100, "currency": "USD"}});
    http.put(&format!("/v1/catalogue/{dollars}"), &price).await.is(201);
    let good = order(&sku, 1);
    let line = |sku: &str, quantity: Value| json!({"sku": sku, "quantity": quantity});
    let (v, long) = ("validation_failed", "x".repeat(201));
    let cases: Vec<(&str, Value, &str, &str)> = vec![
        ("/lines", json!([]), v, "/lines"),
        ("/lines", Value::Array(vec![line(&sku, json!(1)); 101]), v, "/lines"),
        ("/lines/0", line(&sku, json!(0)), v, "/lines/0/quantity"),
        ("/lines/0", line(&sku, json!(-1)), v, "/lines/0/quantity"),
        ("/lines/0", line(&sku, json!(10_001)), v, "/lines/0/quantity"),
        ("/lines/0", line(&sku, json!(1.5)), v, "/lines/0/quantity"),
        ("/lines/0", line("", json!(1)), v, "/lines/0/sku"),
        ("/lines/0", line("-x", json!(1)), v, "/lines/0/sku"),
        ("/lines/0", line(&"x".repeat(65), json!(1)), v, "/lines/0/sku"),
        ("/lines/0", line("NOBODY-SELLS-IT", json!(1)), "unknown_sku", "/lines/0/sku"),
        ("/lines/0", line(&dollars, json!(1)), "currency_mismatch", "/currency"),
        ("/lines/0", json!({"sku": sku, "quantity": 1, "price": 1}), v, "/lines/0/price"),
        ("/currency", json!("eur"), v, "/currency"),
        ("/customer/id", json!(""), v, "/customer/id"),
        ("/customer/id", json!("a b"), v, "/customer/id"),
        ("/customer/id", json!("x".repeat(65)), v, "/customer/id"),
        ("/customer/name", json!(""), v, "/customer/name"),
        ("/customer/name", json!(long), v, "/customer/name"),
        ("/customer/name", json!("Ada\nExample"), v, "/customer/name"),
        ("/customer/email", json!("ada"), v, "/customer/email"),
        ("/customer/email", json!("a@example.com, b@example.com"), v, "/customer/email"),
        ("/customer/email", json!(format!("{}@example.com", "x".repeat(243))), v, "/customer/email"),
        ("/customer/phone", json!("030 123456"), v, "/customer/phone"),
        ("/ship_to/line1", json!(""), v, "/ship_to/line1"),
        ("/ship_to/city", json!(long), v, "/ship_to/city"),
        ("/ship_to/country", json!("XX"), v, "/ship_to/country"),
        ("/ship_to/country", json!("DEU"), v, "/ship_to/country"),
        ("/ship_to/postal_code", json!(null), v, "/ship_to/postal_code"),
        ("/payment/method", json!("pm_unheard_of"), v, "/payment/method"),
        ("/reference", json!(""), v, "/reference"),
        ("/channel", json!(long), v, "/channel"),
        ("/discount", json!(1), v, "/discount"),
        ("/customer/name", json!("4242 4242 4242 4242"), "card_number_refused", "/customer/name"),
        ("/reference", json!("my card 5555-5555-5555-4444"), "card_number_refused", "/reference"),
        ("/payment/number", json!("378282246310005"), "card_number_refused", "/payment/number"),
    ];
    for (at, value, code, place) in cases {
        let answer = http.place(&key, 0, &with(good.clone(), at, value.clone())).await;
        answer.refuses(422, code, Some(place));
        assert!(!["4242 4242", "5555-5555", "378282"].iter().any(|digits| answer.text.contains(digits)), "{}", answer.text);
    }
    let log = std::fs::read_to_string(shared().await.log()).unwrap();
    assert!(
        !["4242 4242", "5555-5555-5555", "378282246"].iter().any(|digits| log.contains(digits)),
        "a card number is in the log"
    );
    nothing_came_of_it(&http, &sku, &key).await;
}

#[tokio::test]
async fn bodies_keys_and_paths_that_cannot_be_read() {
    let http = shared().await.http();
    let (sku, key) = (fresh("BODY"), fresh("key"));
    http.sell(&sku, "berlin", 5, 100).await;
    let raw = |body: String| {
        let request = http.request(Method::POST, "/v1/orders").header("content-type", "application/json");
        http.send(request.header("Idempotency-Key", &key).body(body))
    };
    for broken in ["", "{", "[1,", "order please"] {
        raw(broken.to_owned()).await.refuses(400, "malformed", None);
    }
    let fat = with(order(&sku, 1), "/reference", json!("x".repeat(256 * 1024)));
    raw(fat.to_string()).await.refuses(413, "too_large", None);
    let text = http.request(Method::POST, "/v1/orders").header("content-type", "text/plain").body("{}");
    http.send(text).await.refuses(415, "unsupported_media_type", None);
    for bad in ["two words", &"k".repeat(256)] {
        http.place(bad, 0, &order(&sku, 1)).await.refuses(422, "validation_failed", Some("Idempotency-Key"));
    }
    for (path, code, status) in [
        ("/v1/orders/", "not_found", 404),
        ("/v1/orders/abcdefgh", "not_found", 404),
        ("/v1/orders/no", "not_found", 404),
        ("/v1/orders/abcdefgh/timeline", "not_found", 404),
        ("/v1/shipments/abcdefgh-1", "not_found", 404),
        ("/v1/inventory/NOBODY-SELLS-IT", "not_found", 404),
        ("/v3/orders", "not_found", 404),
        ("/v1/orders?colour=red", "validation_failed", 422),
        ("/v1/orders?status=great", "validation_failed", 422),
        ("/v1/orders?limit=0", "validation_failed", 422),
        ("/v1/orders?limit=101", "validation_failed", 422),
        ("/v1/orders?cursor=nonsense", "validation_failed", 422),
        ("/v1/orders/abcdefgh?colour=red", "validation_failed", 422),
        ("/v1/sandbox/payments?colour=red", "validation_failed", 422),
    ] {
        http.get(path).await.refuses(status, code, None);
    }
    nothing_came_of_it(&http, &sku, &key).await;
}

#[tokio::test]
async fn an_unknown_action_is_404_and_a_wrong_method_405() {
    let http = shared().await.http();
    let sku = fresh("ACTION");
    http.sell(&sku, "berlin", 5, 100).await;
    let id = http.confirmed(&order(&sku, 1)).await;
    let reason = json!({"reason": "why not"});
    http.post(&format!("/v1/orders/{id}/teleport"), &reason).await.refuses(404, "not_found", None);
    http.post("/v1/orders//cancel", &reason).await.refuses(404, "not_found", None);
    for (method, path, allowed) in
        [(Method::DELETE, format!("/v1/orders/{id}"), "GET"), (Method::GET, format!("/v1/orders/{id}/cancel"), "POST")]
    {
        let answer = http.send(http.request(method, &path)).await;
        answer.refuses(405, "method_not_allowed", None);
        assert!(answer.header("allow").contains(allowed), "{:?}", answer.headers);
    }
    for (path, body, place) in [
        ("cancel", json!({}), "/reason"),
        ("cancel", json!({"reason": "x".repeat(501)}), "/reason"),
        ("holds", json!({"reason": "odd"}), "/kind"),
        ("holds", json!({"kind": "fraud", "reason": "odd", "until": "2001-01-01T00:00:00Z"}), "/until"),
    ] {
        http.post(&format!("/v1/orders/{id}/{path}"), &body).await.refuses(422, "validation_failed", Some(place));
    }
    for (kind, at, event_id, place) in [
        ("teleported", "2026-01-01T00:00:00Z", "e", "/type"),
        ("picked", "tomorrow", "e", "/occurred_at"),
        ("picked", "2999-01-01T00:00:00Z", "e", "/occurred_at"),
        ("picked", "2026-01-01T00:00:00Z", "", "/event_id"),
    ] {
        let event = json!({"event_id": event_id, "type": kind, "occurred_at": at});
        let answer = http.post(&format!("/v1/shipments/{id}-1/events"), &event).await;
        answer.refuses(422, "validation_failed", Some(place));
    }
    let order = http.order(&id).await;
    assert_eq!((&order["status"], order["holds"].as_array().unwrap().len()), (&json!("confirmed"), 0));
}

#[tokio::test]
async fn prefer_wait_is_kept_and_nonsense_is_ignored() {
    let http = shared().await.http();
    let sku = fresh("WAIT");
    http.sell(&sku, "berlin", 50, 100).await;
    let place = async |prefer: &str, method: &str| {
        let request = http.request(Method::POST, "/v1/orders").header("Prefer", prefer).json(&order_of(method, &[(&sku, 1)]));
        let began = Instant::now();
        let answer = http.send(request).await.is(201);
        (began.elapsed(), answer.header("preference-applied").to_owned(), answer.text_at("/status").to_owned())
    };
    let (took, applied, status) = place("wait=20", "pm_card_visa").await;
    assert_eq!((applied.as_str(), status.as_str()), ("wait=20", "confirmed"));
    assert!(took < Duration::from_secs(10), "answered once it is decided: {took:?}");
    let (_, applied, _) = place("wait=9999", "pm_card_visa").await;
    assert_eq!(applied, "wait=30");
    let (took, applied, status) = place("wait=1", "pm_sandbox_slow").await;
    assert_eq!((applied.as_str(), status.as_str()), ("wait=1", "placed"), "what stands after a second");
    assert!((Duration::from_secs(1)..Duration::from_millis(2_900)).contains(&took), "{took:?}");
    for nonsense in ["wait", "wait=soon", "wait=-1", "respond-async"] {
        let (took, applied, _) = place(nonsense, "pm_sandbox_slow").await;
        assert_eq!(applied, "", "{nonsense}");
        assert!(took < Duration::from_millis(2_500), "{nonsense}: {took:?}");
    }
}

#[tokio::test]
async fn lines_are_priced_by_the_catalogue_and_add_up_to_the_cent() {
    let http = shared().await.http();
    let (mug, tee) = (fresh("MUG"), fresh("TEE"));
    http.sell(&mug, "berlin", 10, 1_999).await;
    http.sell(&tee, "berlin", 10, 333).await;
    let eur = |amount: i64| json!({"amount": amount, "currency": "EUR"});
    // 2 × 19.99 + 3 × 3.33 = 49.97; 4.90 to ship; 19 % of 54.87 = 10.4253
    let id = http.confirmed(&order_of("pm_card_visa", &[(&mug, 2), (&tee, 3)])).await;
    let placed = http.order(&id).await;
    assert_eq!((&placed["lines"][0]["total"], &placed["lines"][1]["total"]), (&eur(3_998), &eur(999)));
    let totals = json!({
        "subtotal": eur(4_997), "shipping": eur(490), "tax": eur(1_043), "total": eur(6_530),
        "authorized": eur(6_530), "captured": eur(0), "refunded": eur(0), "discount": eur(0),
    });
    assert_eq!(placed["totals"], totals);
    // a new price is for new orders; the same article on two lines counts together
    let dearer = json!({"name": "Dearer", "price": {"amount": 5_000, "currency": "EUR"}});
    http.put(&format!("/v1/catalogue/{mug}"), &dearer).await.is(200);
    assert_eq!(http.order(&id).await["totals"], totals);
    let second = http.order(&http.confirmed(&order_of("pm_card_visa", &[(&mug, 1), (&mug, 1)])).await).await;
    assert_eq!(second["totals"]["subtotal"], eur(10_000));
    assert_eq!(http.stock(&mug).await, (10, 4, 6));
}

#[tokio::test]
async fn stock_and_catalogue_keep_their_limits_and_their_promises() {
    let http = shared().await.http();
    let (sku, path) = (fresh("SHELF"), "/v1/inventory");
    let product = json!({"name": "Shelf", "price": {"amount": 100, "currency": "EUR"}, "weight_g": 5});
    http.put(&format!("/v1/catalogue/{sku}"), &product).await.is(201);
    http.put(&format!("/v1/catalogue/{sku}"), &product).await.is(200);
    assert_eq!(http.stock(&sku).await, (0, 0, 0), "known, and none of it");
    let movement =
        |sku: &str, quantity: i64| json!({"sku": sku, "location": "berlin", "quantity": quantity, "reason": "delivery"});
    let receipts = format!("{path}/receipts");
    http.post(&receipts, &movement("NOBODY-SELLS-IT", 1)).await.refuses(422, "unknown_sku", Some("/sku"));
    for quantity in [0, -1, 1_000_001] {
        http.post(&receipts, &movement(&sku, quantity)).await.refuses(422, "validation_failed", Some("/quantity"));
    }
    let key = fresh("receipt");
    for replayed in ["", "true"] {
        let request = http.request(Method::POST, &receipts).header("Idempotency-Key", &key).json(&movement(&sku, 10));
        assert_eq!(http.send(request).await.is(201).header("idempotency-replayed"), replayed);
    }
    assert_eq!(http.stock(&sku).await, (10, 0, 10), "received once");
    http.confirmed(&order(&sku, 4)).await;
    let adjustments = format!("{path}/adjustments");
    http.post(&adjustments, &movement(&sku, -7)).await.refuses(409, "below_reserved", None);
    assert_eq!(http.stock(&sku).await, (10, 4, 6));
    http.post(&adjustments, &movement(&sku, -6)).await.is(201);
    assert_eq!(http.stock(&sku).await, (4, 4, 0));
    let count = |on_hand: i64| json!({"on_hand": on_hand, "reason": "counted"});
    http.put(&format!("{path}/{sku}/berlin"), &count(3)).await.refuses(409, "below_reserved", None);
    let counted = http.put(&format!("{path}/{sku}/berlin"), &count(9)).await.is(200);
    let place = json!({"location": "berlin", "on_hand": 9, "reserved": 4, "available": 5});
    let level = json!({"sku": sku, "on_hand": 9, "reserved": 4, "available": 5, "waiting": 0, "locations": [place]});
    assert_eq!(counted.body, level);
}
