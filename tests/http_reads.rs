//! What can be read of an order: the real binary, over HTTP.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::http::{Http, fresh, instant, order, order_of};
use crate::support::stack::shared;
use crate::support::until;
use crate::support::world::now;

/// Reports a parcel under a number of its own; what became of it.
async fn parcel(http: &Http, shipment: &str, kind: &str, number: &str) -> String {
    let event = json!({"event_id": number, "type": kind, "occurred_at": instant(now()), "tracking_number": number});
    http.post(&format!("/v1/shipments/{shipment}/events"), &event).await.is(200).text_at("/result").to_owned()
}

/// The numbers of a shipment's packages.
fn numbers(shipment: &Value) -> Vec<String> {
    let first = shipment["tracking_number"].as_str().into_iter();
    let more = shipment["more_tracking_numbers"].as_array().unwrap().iter().map(|n| n.as_str().unwrap());
    let mut numbers: Vec<String> = first.chain(more).map(str::to_owned).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn every_parcel_of_a_shipment_is_shown_however_late_it_is_reported() {
    let http = shared().await.http();
    let sku = fresh("PARCEL");
    http.sell(&sku, "berlin", 9, 1_000).await;
    let id = http.confirmed(&order(&sku, 2)).await;
    let booked = http.booked(&id).await;
    let mut known = numbers(&booked["shipments"][0]);
    let shipment = format!("{id}-1");
    let sees = async |known: &[String]| {
        for path in [format!("/v1/orders/{id}"), format!("/v1/orders/{id}?consistent=true"), format!("/v1/shipments/{id}-1")] {
            let shown = http.get(&path).await.is(200).body;
            assert_eq!(numbers(shown.pointer("/shipments/0").unwrap_or(&shown)), known, "{path}");
        }
        for number in known {
            assert_eq!(http.get(&format!("/v1/orders?tracking_number={number}")).await.body["data"][0]["id"], id);
        }
    };
    let mut told = async |kind: &str, result: &str| {
        let number = fresh("P");
        assert_eq!(parcel(&http, &shipment, kind, &number).await, result, "{kind}");
        known.push(number);
        known.sort_unstable();
        known.clone()
    };
    for (kind, result) in [("packed", "applied"), ("shipped", "applied"), ("shipped", "stale"), ("picked", "stale")] {
        let known = told(kind, result).await;
        sees(&known).await;
    }
    http.move_on(&id, &["delivered"]).await;
    http.reaches(&id, "completed").await;
    let tag = http.get(&format!("/v1/orders/{id}")).await.header("etag").to_owned();
    let known = told("shipped", "stale").await;
    sees(&known).await;
    assert_ne!(http.get(&format!("/v1/orders/{id}")).await.header("etag"), tag, "a package is news");
}

#[tokio::test]
async fn a_parcel_that_left_after_the_end_shows_its_number() {
    let http = shared().await.http();
    let sku = fresh("GONE");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 1)).await;
    http.booked(&id).await;
    http.cancel(&id).await.is(200);
    http.reaches(&id, "cancelled").await;
    let number = fresh("P");
    assert_eq!(parcel(&http, &format!("{id}-1"), "shipped", &number).await, "applied");
    let shown = http.order_where(&id, "gone", |o| o["shipments"][0]["status"] == "shipped").await;
    assert!(numbers(&shown["shipments"][0]).contains(&number), "{shown}");
}

#[tokio::test]
async fn a_refund_of_an_open_order_is_seen_by_every_reader() {
    let http = shared().await.http();
    let sku = fresh("BACK");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 2)).await;
    http.booked(&id).await;
    http.move_on(&id, &["shipped"]).await;
    let path = format!("/v1/orders/{id}");
    http.order_where(&id, "paid", |o| o["payment"]["status"] == "captured").await;
    let tag = http.get(&path).await.header("etag").to_owned();
    let ask = json!({"amount": {"amount": 500, "currency": "EUR"}, "reason": "a scratch"});
    http.post(&format!("{path}/refunds"), &ask).await.is(201);
    http.order_where(&id, "refunded", |o| o["totals"]["refunded"]["amount"] == 500).await;
    let consistent = http.get(&format!("{path}?consistent=true")).await.is(200);
    assert_eq!(consistent.body["totals"]["refunded"]["amount"], 500, "{}", consistent.text);
    let known = http.request(Method::GET, &path).header("If-None-Match", &tag);
    assert_eq!(http.send(known).await.status, 200, "money that went back is news");
    assert_eq!(consistent.header("etag"), http.get(&path).await.header("etag"));
    assert_eq!(http.order(&id).await["status"], "shipped", "its run is open");
}

#[tokio::test]
async fn a_cancel_says_what_is_still_to_be_undone() {
    let http = shared().await.http();
    let sku = fresh("UNDO");
    http.sell(&sku, "berlin", 5, 1_000).await;
    // this gateway takes its time to let go of the money
    let id = http.confirmed(&order_of("pm_sandbox_slow", &[(&sku, 1)])).await;
    http.booked(&id).await;
    let cancelled = http.cancel(&id).await.is(200);
    assert_eq!(cancelled.text_at("/result"), "cancelling");
    let remaining = cancelled.body["remaining_effects"].as_array().unwrap();
    let money = remaining.iter().find(|effect| effect["kind"] == "authorize").unwrap();
    assert_eq!((&money["undo"], &money["undo_key"]), (&json!("pending"), &json!(format!("{id}/void/1"))), "{}", cancelled.text);
    http.reaches(&id, "cancelled").await;
    let again = http.cancel(&id).await.is(200);
    assert_eq!(again.body, json!({"result": "cancelled"}), "nothing remains");
    let effects = http.get(&format!("/v1/orders/{id}/effects")).await.is(200);
    assert!(effects.body["data"].as_array().unwrap().iter().all(|e| e["undo"] != "pending"), "{}", effects.text);
}

#[tokio::test]
async fn label_and_packing_slip_are_papers_to_print() {
    let http = shared().await.http();
    let sku = fresh("PAPER");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let mut body = order(&sku, 2);
    (body["customer"]["locale"], body["reference"]) = (json!("de"), json!("<R&D>"));
    let placed = http.place(&fresh("key"), 0, &body).await.is(201);
    let id = placed.text_at("/id").to_owned();
    http.get(&format!("/v1/shipments/{id}-9/label")).await.refuses(404, "not_found", None);
    let booked = http.booked(&id).await;
    let number = booked["shipments"][0]["tracking_number"].as_str().unwrap();
    for (paper, says) in [("label", number), ("packing-slip", "Lieferschein")] {
        let drawn = http.get(&format!("/v1/shipments/{id}-1/{paper}")).await.is(200);
        assert_eq!(drawn.header("content-type"), "image/svg+xml", "{paper}");
        assert!(drawn.header("content-security-policy").contains("sandbox"), "{paper}");
        assert!(drawn.text.starts_with("<svg ") && drawn.text.trim_end().ends_with("</svg>"), "{}", drawn.text);
        assert!(drawn.text.contains(says) && drawn.text.contains("10115 Berlin"), "{}", drawn.text);
    }
    let slip = http.get(&format!("/v1/shipments/{id}-1/packing-slip")).await.text;
    assert!(slip.contains("&lt;R&amp;D&gt;") && slip.contains(&format!(">The {sku}<")) && slip.contains(">2<"), "{slip}");
    http.get("/v1/shipments/nowhere1-1/packing-slip").await.refuses(404, "not_found", None);
}

#[tokio::test]
async fn messages_are_listed_and_sent_again() {
    let http = shared().await.http();
    let sku = fresh("TOLD");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 1)).await;
    let path = format!("/v1/orders/{id}/messages");
    let sent = until("the mail is sent", Duration::from_secs(60), || async {
        let listed = http.get(&path).await.is(200).body;
        listed["data"].as_array().unwrap().iter().find(|m| m["topic"] == "confirmed" && m["state"] == "sent").cloned()
    })
    .await;
    assert_eq!((&sent["channel"], &sent["resent_of"]), (&json!("mail"), &Value::Null));
    let first = sent["id"].as_str().unwrap().to_owned();
    let (key, resend) = (fresh("key"), format!("{path}/{first}/resend"));
    let again =
        async |body: &Value| http.send(http.request(Method::POST, &resend).header("Idempotency-Key", &key).json(body)).await;
    again(&json!({"reason": ""})).await.refuses(422, "validation_failed", Some("/reason"));
    let mut ids = Vec::new();
    for replayed in ["", "true"] {
        let answer = again(&json!({"reason": "it went astray"})).await.is(201);
        assert_eq!((answer.header("idempotency-replayed"), answer.text_at("/resent_of")), (replayed, first.as_str()));
        ids.push(answer.text_at("/id").to_owned());
    }
    assert!(ids[0] == ids[1] && ids[0] != first);
    until("it is sent once more", Duration::from_secs(60), || async {
        let listed = http.get(&path).await.is(200).body;
        listed["data"].as_array().unwrap().iter().any(|m| m["id"] == ids[0].as_str() && m["state"] == "sent").then_some(())
    })
    .await;
    assert!(http.timeline(&id).await.contains(&"message.resent".to_owned()));
    let unknown = format!("{path}/{}/resend", "0".repeat(36));
    http.post(&unknown, &json!({"reason": "which"})).await.refuses(404, "not_found", None);
}

#[tokio::test]
async fn a_discounted_order_goes_back_to_the_last_cent() {
    let http = shared().await.http();
    let (mug, cup) = (fresh("MUG"), fresh("CUP"));
    http.sell(&mug, "berlin", 5, 1_000).await;
    http.sell(&cup, "berlin", 5, 333).await;
    let mut body = order_of("pm_card_visa", &[(&mug, 2), (&cup, 1)]);
    body["discounts"] = json!([{"code": "SPRING", "amount": {"amount": 500, "currency": "EUR"}}]);
    let id = http.confirmed(&body).await;
    http.booked(&id).await;
    // 23.33 less 5.00; by largest remainder 4.29 come off the mugs and 0.71 off the cup; with 4.90 for shipping and 19 %
    let placed = http.order(&id).await;
    let off: Vec<&Value> = placed["lines"].as_array().unwrap().iter().map(|line| &line["discount"]["amount"]).collect();
    assert_eq!(off, [429, 71]);
    assert_eq!((&placed["totals"]["subtotal"]["amount"], &placed["totals"]["total"]["amount"]), (&json!(1_833), &json!(2_764)));
    http.move_on(&id, &["shipped", "delivered"]).await;
    http.reaches(&id, "completed").await;
    let mut back = 0;
    for ask in [
        json!({"lines": [{"sku": mug, "quantity": 1}], "reason": "chipped"}),
        json!({"lines": [{"sku": cup, "quantity": 1}], "reason": "chipped"}),
        json!({"reason": "all of it"}),
    ] {
        let refund = http.post(&format!("/v1/orders/{id}/refunds"), &ask).await.is(201);
        back += refund.body["amount"]["amount"].as_i64().unwrap();
        http.order_where(&id, "refunded", |o| o["totals"]["refunded"]["amount"] == back).await;
    }
    assert_eq!(back, 2_764, "neither a cent more nor less");
    let returned: i64 = http.ledger(&id).await.iter().map(|payment| payment["refunded"]["amount"].as_i64().unwrap()).sum();
    assert_eq!(returned, 2_764, "the gateway's own books agree");
    let ended = http.order(&id).await;
    assert_eq!((&ended["payment"]["status"], &ended["totals"]["captured"]["amount"]), (&json!("refunded"), &json!(2_764)));
    http.post(&format!("/v1/orders/{id}/refunds"), &json!({"amount": {"amount": 1, "currency": "EUR"}, "reason": "more"}))
        .await
        .refuses(409, "refund_exceeds_captured", None);
}
