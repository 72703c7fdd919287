//! Orders as a shop, a warehouse and a carrier live them: the real binary, over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::http::{Http, fresh, instant, order, order_of};
use crate::support::stack::shared;
use crate::support::until;
use crate::support::world::now;

fn eur(amount: i64) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

/// The gateway's operations of an order, as `kind result`.
async fn operations(http: &Http, id: &str) -> Vec<String> {
    let told = |o: &Value| format!("{} {}", o["kind"].as_str().unwrap(), o["result"].as_str().unwrap());
    http.ledger(id).await.iter().flat_map(|p| p["operations"].as_array().unwrap()).map(told).collect()
}

#[tokio::test]
async fn a_hundred_posts_with_one_key_are_one_order() {
    let http = shared().await.http();
    let (sku, key) = (fresh("ONCE"), fresh("key"));
    http.sell(&sku, "berlin", 500, 100).await;
    let body = order(&sku, 2);
    let answers = join_all((0..100).map(|_| http.place(&key, 0, &body))).await;
    assert!(answers.iter().all(|a| a.status == 201), "{:?}", answers.iter().find(|a| a.status != 201));
    let ids: BTreeSet<&str> = answers.iter().map(|a| a.text_at("/id")).collect();
    assert_eq!(ids.len(), 1);
    let replayed = answers.iter().filter(|a| a.header("idempotency-replayed") == "true").count();
    assert_eq!(replayed, 99);
    let id = answers[0].text_at("/id").to_owned();
    assert!(answers.iter().all(|a| a.header("location") == format!("/v1/orders/{id}")));
    http.reaches(&id, "confirmed").await;
    assert_eq!(http.stock(&sku).await, (500, 2, 498), "one reservation");
    assert_eq!(operations(&http, &id).await, ["authorize ok"], "one authorization");

    let other = http.place(&key, 0, &order(&sku, 3)).await;
    other.refuses(422, "idempotency_key_reused", None);
    let again = http.place(&key, 0, &body).await.is(201);
    assert_eq!((again.header("idempotency-replayed"), again.text_at("/status")), ("true", "confirmed"), "as it stands now");
    let listed = http.get(&format!("/v1/orders?sku={sku}")).await.body;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(http.stock(&sku).await, (500, 2, 498));
}

#[tokio::test]
async fn of_sixty_four_racers_for_three_units_exactly_three_win() {
    let http = shared().await.http();
    let sku = fresh("RACE");
    http.sell(&sku, "berlin", 3, 100).await;
    let placed = join_all((0..64).map(|n| {
        let key = format!("{sku}-{n}");
        let (http, body) = (&http, order(&sku, 1));
        async move { http.place(&key, 0, &body).await.is(201).text_at("/id").to_owned() }
    }))
    .await;
    let decided = |status: &str| status == "confirmed" || status == "rejected";
    let ended =
        join_all(placed.iter().map(|id| http.order_where(id, "decided", |o| decided(o["status"].as_str().unwrap())))).await;
    let confirmed = ended.iter().filter(|o| o["status"] == "confirmed").count();
    assert_eq!(confirmed, 3);
    assert!(ended.iter().filter(|o| o["status"] == "rejected").all(|o| o["reason"] == "out_of_stock"));
    assert_eq!(http.stock(&sku).await, (3, 3, 0));
    for loser in ended.iter().filter(|o| o["status"] == "rejected") {
        assert_eq!(loser["totals"]["authorized"], eur(0));
    }
}

/// Files of a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|e| e.unwrap().path()).filter(|p| !p.file_name().unwrap().to_string_lossy().starts_with('.'));
    paths.filter(|p| std::fs::read(p).is_ok_and(|b| String::from_utf8_lossy(&b).contains(text))).collect()
}

/// Waits until so many messages to a customer are written, and no longer than a message may take.
async fn written(data: &Path, (email, mails): (&str, usize), (phone, texts): (&str, usize)) {
    let began = Instant::now();
    until(&format!("{mails} mails and {texts} texts are written"), Duration::from_secs(15), || async {
        (holding(&data.join("mail"), email).len() >= mails && holding(&data.join("sms"), phone).len() >= texts).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(5), "they took {:?}", began.elapsed());
    assert_eq!((holding(&data.join("mail"), email).len(), holding(&data.join("sms"), phone).len()), (mails, texts));
}

#[tokio::test]
async fn an_order_lives_from_its_post_to_its_delivery() {
    let stack = shared().await;
    let (http, data) = (stack.http(), stack.home.data());
    let (sku, email) = (fresh("LIFE"), format!("{}@example.com", fresh("life")));
    let phone = format!("+4930{}", rand::random_range(10_000_000..99_999_999));
    http.sell(&sku, "berlin", 5, 1_000).await;
    let mut body = order(&sku, 2);
    (body["customer"]["email"], body["customer"]["phone"]) = (json!(email), json!(phone));
    (body["reference"], body["channel"]) = (json!(sku), json!("web"));
    let placed = http.place(&fresh("key"), 20, &body).await.is(201);
    let id = placed.text_at("/id").to_owned();
    assert_eq!((placed.text_at("/status"), placed.header("preference-applied")), ("confirmed", "wait=20"));
    assert_eq!(placed.header("location"), format!("/v1/orders/{id}"));
    let total = placed.body["totals"]["total"].clone();
    assert_eq!(total, eur(2_963)); // (20.00 + 4.90) with 19 %, rounded
    assert_eq!(http.stock(&sku).await, (5, 2, 3));
    let order = http.booked(&id).await;
    let shipment = &order["shipments"][0];
    assert_eq!((&shipment["location"], &shipment["lines"]), (&json!("berlin"), &json!([{"sku": sku, "quantity": 2}])));
    assert!(order["test"] == true && order["links"]["temporal_ui"].as_str().unwrap().contains(&id));
    written(&data, (&email, 1), (&phone, 0)).await;

    let tag = http.get(&format!("/v1/orders/{id}")).await.header("etag").to_owned();
    let unchanged = http.request(Method::GET, &format!("/v1/orders/{id}")).header("If-None-Match", &tag);
    assert_eq!(http.send(unchanged.try_clone().unwrap()).await.status, 304);
    http.move_on(&id, &["picked", "packed"]).await;
    assert_eq!(http.send(unchanged).await.status, 200, "the warehouse's progress is news");
    assert_eq!(http.stock(&sku).await, (5, 2, 3), "still in the house");
    let event = json!({"event_id": "shipped", "type": "shipped", "occurred_at": instant(now()), "tracking_number": sku});
    http.post(&format!("/v1/shipments/{id}-1/events"), &event).await.is(200);
    let shipped = http.order_where(&id, "paid", |o| o["totals"]["captured"] == total).await;
    assert_eq!((&shipped["status"], &shipped["payment"]["status"]), (&json!("shipped"), &json!("captured")));
    assert_eq!(http.stock(&sku).await, (3, 0, 3));
    let found = http.get(&format!("/v1/orders?tracking_number={sku}")).await.body;
    assert_eq!(found["data"][0]["id"], id);
    let consistent = http.get(&format!("/v1/orders/{id}?consistent=true")).await.is(200);
    assert_eq!((consistent.text_at("/status"), consistent.text_at("/shipments/0/status")), ("shipped", "shipped"));
    http.move_on(&id, &["in_transit", "delivered"]).await;
    let ended = http.reaches(&id, "completed").await;
    assert_eq!(ended["shipments"][0]["status"], "delivered");
    assert_eq!(ended["allowed_actions"], json!(["refund", "return"]));

    let timeline = http.timeline(&id).await;
    let told: Vec<&str> = timeline.iter().map(String::as_str).collect();
    for what in ["order.placed", "order.confirmed", "scan.picked", "scan.packed", "payment.captured", "order.completed"] {
        assert_eq!(told.iter().filter(|t| **t == what).count(), 1, "{what} in {told:?}");
    }
    let at = |what: &str| told.iter().position(|t| *t == what).unwrap();
    assert!(at("order.confirmed") < at("scan.picked") && at("scan.packed") < at("payment.captured"), "{told:?}");
    assert_eq!(operations(&http, &id).await, ["authorize ok", "capture ok"]);
    assert_eq!(http.ledger(&id).await[0]["captured"], total);
    written(&data, (&email, 3), (&phone, 2)).await;
}

#[tokio::test]
async fn a_cancel_gives_back_stock_and_money_and_may_be_repeated() {
    let http = shared().await.http();
    let sku = fresh("CANCEL");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 2)).await;
    http.booked(&id).await;
    http.move_on(&id, &["picked", "packed"]).await;
    let cancel = http.cancel(&id).await.is(200);
    assert!(["cancelled", "cancelling"].contains(&cancel.text_at("/result")), "{}", cancel.text);
    let ended = http.reaches(&id, "cancelled").await;
    assert_eq!(http.stock(&sku).await, (5, 0, 5));
    assert_eq!(operations(&http, &id).await, ["authorize ok", "void ok"]);
    assert_eq!((&ended["payment"]["status"], &ended["shipments"][0]["status"]), (&json!("voided"), &json!("cancelled")));
    assert_eq!(http.cancel(&id).await.is(200).body, json!({"result": "cancelled"}));
    let timeline = http.get(&format!("/v1/orders/{id}/timeline")).await.body;
    let why = timeline["data"].as_array().unwrap().iter().find(|e| e["reason"] == "changed my mind");
    assert_eq!(why.expect("the reason is told")["actor"], "api");
}

#[tokio::test]
async fn a_cancel_while_the_payment_is_under_way_leaves_nothing_behind() {
    let http = shared().await.http();
    let sku = fresh("MIDWAY");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let placed = http.place(&fresh("key"), 0, &order_of("pm_sandbox_slow", &[(&sku, 2)])).await.is(201);
    let id = placed.text_at("/id");
    until("the stock is promised", Duration::from_secs(20), || async { (http.stock(&sku).await.1 == 2).then_some(()) }).await;
    http.cancel(id).await.is(200);
    http.reaches(id, "cancelled").await;
    assert_eq!(http.stock(&sku).await, (5, 0, 5));
    for payment in http.ledger(id).await {
        assert_eq!((&payment["status"], &payment["captured"]), (&json!("voided"), &eur(0)));
    }
}

#[tokio::test]
async fn commands_that_come_too_late_say_what_is_allowed() {
    let http = shared().await.http();
    let sku = fresh("LATE");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 1)).await;
    http.booked(&id).await;
    http.move_on(&id, &["shipped"]).await;
    http.reaches(&id, "shipped").await;
    let late = http.cancel(&id).await;
    late.refuses(409, "too_late", None);
    assert!(late.body["allowed_actions"].is_array() && !late.text.contains("\"cancel\""), "{}", late.text);
    assert_eq!(late.body["alternative"], "return", "what has left comes back");
    assert!(!late.body["allowed_actions"].as_array().unwrap().contains(&json!("return")), "but nothing has arrived yet");
    let early = json!({"lines": [{"sku": sku, "quantity": 1}], "reason": "does not fit"});
    http.post(&format!("/v1/orders/{id}/returns"), &early).await.refuses(409, "return_exceeds_delivered", None);
    http.move_on(&id, &["delivered"]).await;
    http.reaches(&id, "completed").await;
    let declined = http.place(&fresh("key"), 20, &order_of("pm_card_chargeDeclined", &[(&sku, 1)])).await.is(201);
    assert_eq!((declined.text_at("/status"), declined.text_at("/reason")), ("rejected", "payment_declined"));
    for (ended, allowed) in [(id.as_str(), json!(["refund", "return"])), (declined.text_at("/id"), json!([]))] {
        for answer in [http.cancel(ended).await, http.post(&format!("/v1/orders/{ended}/holds"), &hold("fraud")).await] {
            answer.refuses(409, "not_allowed_now", None);
            assert_eq!(answer.body["allowed_actions"], allowed);
        }
    }
    assert_eq!(http.ledger(declined.text_at("/id")).await[0]["status"], "declined");
    assert_eq!(http.stock(&sku).await, (4, 0, 4));
}

fn hold(kind: &str) -> Value {
    json!({"kind": kind, "reason": "looks odd"})
}

#[tokio::test]
async fn a_hold_stops_the_money_until_it_is_released() {
    let http = shared().await.http();
    let (sku, kind) = (fresh("HOLD"), fresh("kind"));
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 1)).await;
    http.booked(&id).await;
    let key = fresh("hold");
    let mut holds = Vec::new();
    for replayed in ["", "true"] {
        let request =
            http.request(Method::POST, &format!("/v1/orders/{id}/holds")).header("Idempotency-Key", &key).json(&hold(&kind));
        let answer = http.send(request).await.is(201);
        assert_eq!(answer.header("idempotency-replayed"), replayed);
        holds.push(answer.text_at("/id").to_owned());
    }
    assert_eq!(holds[0], holds[1]);
    let order = http.order(&id).await;
    assert_eq!((order["holds"].as_array().unwrap().len(), &order["holds"][0]["kind"]), (1, &json!(kind)));
    assert!(order["allowed_actions"].as_array().unwrap().contains(&json!("release_hold")));
    assert_eq!(http.get(&format!("/v1/orders?hold={kind}")).await.body["data"][0]["id"], id);
    http.move_on(&id, &["picked", "packed", "shipped"]).await;
    http.order_where(&id, "gone", |o| o["shipments"][0]["status"] == "shipped").await;
    until("the stock has left", Duration::from_secs(10), || async { (http.stock(&sku).await == (4, 0, 4)).then_some(()) }).await;
    assert_eq!(operations(&http, &id).await, ["authorize ok"], "no money is taken under a hold");
    let release = || http.send(http.request(Method::DELETE, &format!("/v1/orders/{id}/holds/{}", holds[0])));
    assert_eq!(release().await.is(200).body["holds"], json!([]));
    http.order_where(&id, "paid", |o| o["payment"]["status"] == "captured").await;
    release().await.refuses(404, "not_found", None);
    assert_eq!(http.get(&format!("/v1/orders?hold={kind}")).await.body["data"], json!([]));
}

#[tokio::test]
async fn a_carrier_that_goes_backwards_changes_nothing() {
    let http = shared().await.http();
    let sku = fresh("BACK");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let early = http.place(&fresh("key"), 0, &order_of("pm_sandbox_slow", &[(&sku, 1)])).await.is(201);
    let early = format!("{}-1", early.text_at("/id"));
    http.report(&early, "e", "picked").await.refuses(404, "not_found", None);
    let id = http.confirmed(&order(&sku, 1)).await;
    http.booked(&id).await;
    let shipment = format!("{id}-1");
    let said =
        async |event_id: &str, kind: &str| http.report(&shipment, event_id, kind).await.is(200).text_at("/result").to_owned();
    assert_eq!(said("e-1", "packed").await, "applied", "steps may be skipped");
    assert_eq!(said("e-2", "picked").await, "stale");
    assert_eq!(said("e-1", "packed").await, "duplicate");
    http.report(&shipment, "e-1", "shipped").await.refuses(422, "event_id_reused", Some("/event_id"));
    assert_eq!(said("e-3", "in_transit").await, "applied");
    assert_eq!(said("e-4", "shipped").await, "stale");
    assert_eq!(said("e-3", "in_transit").await, "duplicate");
    http.report(&shipment, "e-3", "delivered").await.refuses(422, "event_id_reused", Some("/event_id"));
    http.order_where(&id, "paid", |o| o["payment"]["status"] == "captured").await;
    assert_eq!(said("e-5", "delivered").await, "applied");
    http.reaches(&id, "completed").await;
    assert_eq!(said("e-6", "in_transit").await, "stale");
    assert_eq!(http.order(&id).await["shipments"][0]["status"], "delivered");
    assert_eq!(operations(&http, &id).await, ["authorize ok", "capture ok"]);
    let listed = http.get("/v1/shipments?status=delivered&location=berlin&limit=100").await.is(200).body;
    assert!(listed["data"].as_array().unwrap().iter().any(|s| s["id"] == shipment));
}

#[tokio::test]
async fn a_parcel_that_left_although_the_cancel_had_won_is_followed_by_the_stock() {
    let http = shared().await.http();
    let sku = fresh("AFTER");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 2)).await;
    http.booked(&id).await;
    http.cancel(&id).await.is(200);
    http.reaches(&id, "cancelled").await;
    assert_eq!(http.stock(&sku).await, (5, 0, 5));
    let shipment = format!("{id}-1");
    assert_eq!(http.report(&shipment, "gone", "shipped").await.is(200).body, json!({"result": "applied"}));
    let order = http.order_where(&id, "a case for a person", |o| o["needs_attention"] == true).await;
    assert_eq!(order["status"], "cancelled");
    until("stock follows the parcel", Duration::from_secs(10), || async { (http.stock(&sku).await == (3, 0, 3)).then_some(()) })
        .await;
    assert_eq!(http.report(&shipment, "gone", "shipped").await.is(200).body, json!({"result": "duplicate"}));
    assert_eq!(http.stock(&sku).await, (3, 0, 3), "once");
    let listed = http.get(&format!("/v1/orders?needs_attention=true&sku={sku}")).await.body;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(operations(&http, &id).await, ["authorize ok", "void ok"], "no money is taken for it");
}

#[tokio::test]
async fn a_customer_authenticates_or_does_not() {
    let http = shared().await.http();
    let sku = fresh("AUTH");
    http.sell(&sku, "berlin", 5, 1_000).await;
    for (outcome, other, status) in [("succeed", "fail", "confirmed"), ("fail", "succeed", "rejected")] {
        let body = order_of("pm_card_authenticationRequired", &[(&sku, 1)]);
        let id = http.place(&fresh("key"), 0, &body).await.is(201).text_at("/id").to_owned();
        http.order_where(&id, "waiting", |o| o["payment"]["status"] == "requires_action").await;
        let payment = http.ledger(&id).await.remove(0);
        assert_eq!(payment["status"], "requires_action");
        let path = format!("/v1/sandbox/payments/{}/authenticate", payment["payment_id"].as_str().unwrap());
        http.post(&path, &json!({"outcome": "maybe"})).await.refuses(422, "validation_failed", Some("/outcome"));
        assert_eq!(http.order(&id).await["status"], "placed");
        http.post(&path, &json!({"outcome": outcome})).await.is(200);
        let order = http.reaches(&id, status).await;
        http.post(&path, &json!({"outcome": outcome})).await.is(200);
        http.post(&path, &json!({"outcome": other})).await.refuses(409, "not_allowed_now", None);
        if status == "rejected" {
            assert_eq!(order["reason"], "payment_declined");
        }
    }
    until("one unit is promised", Duration::from_secs(5), || async { (http.stock(&sku).await == (5, 1, 4)).then_some(()) }).await;
    let missing = json!({"outcome": "succeed"});
    http.post("/v1/sandbox/payments/nobody-paid/authenticate", &missing).await.refuses(404, "not_found", None);
}

#[tokio::test]
async fn every_order_is_listed_once_page_by_page_and_newest_first() {
    let http = shared().await.http();
    let (sku, customer) = (fresh("PAGE"), fresh("c"));
    http.sell(&sku, "berlin", 20, 100).await;
    let placed = join_all((0..30).map(|n| {
        let (http, mut body) = (&http, order(&sku, 1));
        (body["customer"]["id"], body["reference"]) = (json!(customer), json!(format!("{sku}/{n}")));
        async move { http.place(&fresh("key"), 30, &body).await.is(201).text_at("/id").to_owned() }
    }))
    .await;
    let pages = http.pages(&format!("/v1/orders?customer={customer}&limit=7")).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 7, 7, 2]);
    let rows: Vec<&Value> = pages.iter().flatten().collect();
    let ids: BTreeSet<&str> = rows.iter().map(|o| o["id"].as_str().unwrap()).collect();
    assert_eq!(ids, placed.iter().map(String::as_str).collect());
    let times: Vec<&str> = rows.iter().map(|o| o["placed_at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let count = async |filter: &str| {
        let pages = http.pages(&format!("/v1/orders?sku={sku}&limit=100{filter}")).await;
        pages.iter().map(Vec::len).sum::<usize>()
    };
    let (middle, last) = (times[15], times[29]);
    assert_eq!((count("").await, count("&status=confirmed").await, count("&status=rejected").await), (30, 20, 10));
    assert_eq!((count("&reason=out_of_stock").await, count("&reason=payment_declined").await), (10, 0));
    assert_eq!((count(&format!("&reference={sku}/7")).await, count("&email=ada@example.com").await), (1, 30));
    let (before, after) = (count(&format!("&placed_before={middle}")).await, count(&format!("&placed_after={middle}")).await);
    assert_eq!((before + after, count(&format!("&placed_before={last}")).await), (30, 0));
    let between = count(&format!("&placed_after={}&placed_before={}", times[20], times[10])).await;
    assert!((1..=20).contains(&between) && count("&customer=nobody").await == 0);
}

/// Fewer than the commands that the engine takes at once for one order; what happens beyond has a test of its own.
const AT_ONCE: usize = 8;

/// Sends the same request many times at once; how often each answer came.
async fn at_once(http: &Http, path: &str, key: Option<&str>, body: &Value, told: &str) -> BTreeMap<String, usize> {
    let answers = join_all((0..AT_ONCE).map(|_| {
        let request = http.request(Method::POST, path).json(body);
        http.send(if let Some(key) = key { request.header("Idempotency-Key", key) } else { request })
    }))
    .await;
    let mut counts = BTreeMap::new();
    for answer in answers {
        assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.text);
        *counts.entry(answer.text_at(told).to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn whatever_is_sent_many_times_at_once_happens_once() {
    let http = shared().await.http();
    let (sku, key) = (fresh("MANY"), fresh("key"));
    http.sell(&sku, "berlin", 0, 1_000).await;
    let receipt = json!({"sku": sku, "location": "berlin", "quantity": 7, "reason": "delivery"});
    at_once(&http, "/v1/inventory/receipts", Some(&key), &receipt, "/sku").await;
    assert_eq!(http.stock(&sku).await, (7, 0, 7));
    let id = http.confirmed(&order(&sku, 1)).await;
    http.booked(&id).await;
    let holds = at_once(&http, &format!("/v1/orders/{id}/holds"), Some(&fresh("key")), &hold("fraud"), "/id").await;
    assert_eq!(holds.len(), 1, "{holds:?}");
    assert_eq!(http.order(&id).await["holds"].as_array().unwrap().len(), 1);
    let (held, _) = holds.first_key_value().unwrap();
    let released =
        join_all((0..AT_ONCE).map(|_| http.send(http.request(Method::DELETE, &format!("/v1/orders/{id}/holds/{held}"))))).await;
    assert!(
        released.iter().all(|a| [200, 404].contains(&a.status)),
        "{:?}",
        released.iter().find(|a| ![200, 404].contains(&a.status))
    );
    assert!(released.iter().any(|a| a.status == 200));
    for kind in ["picked", "shipped", "delivered"] {
        let event = json!({"event_id": kind, "type": kind, "occurred_at": instant(now())});
        let results = at_once(&http, &format!("/v1/shipments/{id}-1/events"), None, &event, "/result").await;
        assert_eq!(results, BTreeMap::from([("applied".to_owned(), 1), ("duplicate".to_owned(), AT_ONCE - 1)]), "{kind}");
    }
    http.reaches(&id, "completed").await;
    let timeline = http.timeline(&id).await;
    for what in ["scan.picked", "payment.captured", "order.completed"] {
        assert_eq!(timeline.iter().filter(|t| *t == what).count(), 1, "{what} in {timeline:?}");
    }
    let second = http.confirmed(&order(&sku, 1)).await;
    let results = at_once(&http, &format!("/v1/orders/{second}/cancel"), None, &json!({"reason": "no"}), "/result").await;
    assert!(results.keys().all(|r| r == "cancelled" || r == "cancelling"), "{results:?}");
    http.reaches(&second, "cancelled").await;
    assert_eq!(operations(&http, &second).await, ["authorize ok", "void ok"]);
    assert_eq!(http.stock(&sku).await, (6, 0, 6));
}

#[tokio::test]
async fn a_cancel_and_the_carrier_race_and_one_of_them_wins() {
    let stack = shared().await;
    let http = stack.http();
    let sku = fresh("DUEL");
    http.sell(&sku, "berlin", 20, 1_000).await;
    let placed = join_all((0..12).map(|_| async {
        let id = http.confirmed(&order(&sku, 1)).await;
        http.booked(&id).await;
        id
    }))
    .await;
    let duels = join_all(placed.iter().map(async |id| {
        let shipment = format!("{id}-1");
        let (cancel, report) = futures::join!(http.cancel(id), http.report(&shipment, "gone", "shipped"));
        (id, cancel, report.is(200).text_at("/result").to_owned())
    }))
    .await;
    let mut left = 0;
    for (id, cancel, reported) in duels {
        assert_eq!(reported, "applied", "a fact is never refused");
        left += 1;
        if cancel.status == 200 {
            let order = http.order_where(id, "ended", |o| o["status"] == "cancelled" && o["needs_attention"] == true).await;
            assert_eq!(order["totals"]["captured"], eur(0));
            assert_eq!(operations(&http, id).await, ["authorize ok", "void ok"]);
        } else {
            cancel.refuses(409, "too_late", None);
            http.order_where(id, "paid", |o| o["payment"]["status"] == "captured").await;
            http.move_on(id, &["delivered"]).await;
            http.reaches(id, "completed").await;
            assert_eq!(operations(&http, id).await, ["authorize ok", "capture ok"]);
        }
    }
    until("the stock has followed every parcel", Duration::from_secs(20), || async {
        (http.stock(&sku).await == (20 - left, 0, 20 - left)).then_some(())
    })
    .await;
    // beside all that the other tests have under way
    stack.audited().await;
}
