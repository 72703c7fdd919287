//! Events in: signed reports of the payment gateway and of a carrier, told from outside.

use std::time::Duration;

use chrono::TimeDelta;
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::shipment::ScanType;
use oms_gateways::secret::Secret;
use oms_gateways::signature::sign;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::http::{Answer, Http, fresh, instant, order, order_of};
use crate::support::stack::{CARRIER_SECRET, PAYMENT_SECRET, shared};
use crate::support::until;
use crate::support::world::now;

const PAYMENTS: &str = "/v1/inbound/payments";
const CARRIER: &str = "/v1/inbound/carriers/http";

async fn send(http: &Http, path: &str, secret: &str, at: Instant, body: &str) -> Answer {
    let name = if path == PAYMENTS { "stripe-signature" } else { "carrier-signature" };
    let header = sign(body.as_bytes(), &Secret::new(secret), at);
    let request = http.request(Method::POST, path).header("content-type", "application/json").header(name, header);
    http.send(request.body(body.to_owned())).await
}

async fn result(http: &Http, path: &str, body: &Value) -> String {
    let secret = if path == PAYMENTS { PAYMENT_SECRET } else { CARRIER_SECRET };
    send(http, path, secret, now(), &body.to_string()).await.is(202).text_at("/result").to_owned()
}

fn event(id: &str, kind: &str, order: &str) -> Value {
    let object = json!({"object": "payment_intent", "id": fresh("pi"), "metadata": {"oms_order": order}, "brand_new": {}});
    json!({"id": id, "type": kind, "created": now().timestamp(), "data": {"object": object}, "brand_new": []})
}

fn parcel(id: &str, code: &str, shipment: &str) -> Value {
    json!({"id": id, "code": code, "occurred_at": instant(now()), "reference": format!("{shipment}/book/1"), "brand_new": 1})
}

#[tokio::test]
async fn a_report_must_be_signed_now_with_a_secret_of_ours() {
    let http = shared().await.http();
    for (path, ours) in [(PAYMENTS, PAYMENT_SECRET), (CARRIER, CARRIER_SECRET)] {
        let body = json!({"id": fresh("ev"), "type": "x", "code": "x", "occurred_at": instant(now())}).to_string();
        let old = now() - TimeDelta::seconds(310);
        let ahead = now() + TimeDelta::seconds(310);
        for (secret, at) in [("whsec_other", now()), (ours, old), (ours, ahead)] {
            let answer = send(&http, path, secret, at, &body).await;
            answer.refuses(401, "unauthorized", None);
            assert!(!answer.text.contains(ours) && !answer.text.contains("ago"), "{}", answer.text);
        }
        let unsigned = http.request(Method::POST, path).header("content-type", "application/json").body(body.clone());
        http.send(unsigned).await.refuses(401, "unauthorized", None);
        send(&http, path, ours, now(), "garbage").await.refuses(400, "malformed", None);
        send(&http, path, ours, now(), "[]").await.refuses(400, "malformed", None);
        // none of those used the event up
        let kept = send(&http, path, ours, now(), &body).await.is(202);
        assert_ne!(kept.text_at("/result"), "duplicate");
        assert_eq!(send(&http, path, ours, now(), &body).await.is(202).text_at("/result"), "duplicate");
    }
    send(&http, "/v1/inbound/carriers/nobody", CARRIER_SECRET, now(), "{}").await.refuses(404, "not_found", None);
}

#[tokio::test]
async fn a_parcel_goes_its_way_by_the_carriers_webhooks_alone() {
    let http = shared().await.http();
    let sku = fresh("HOOK");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 1)).await;
    let booked = http.booked(&id).await;
    let shipment = format!("{id}-1");
    let shipped = parcel(&fresh("ev"), "PICKED_UP", &shipment);
    let mut all = vec![result(&http, CARRIER, &shipped).await, result(&http, CARRIER, &shipped).await];
    http.reaches(&id, "shipped").await;
    // a word of its own, and a report that names the parcel by its number
    all.push(result(&http, CARRIER, &parcel(&fresh("ev"), "HELD by customs", &shipment)).await);
    let number = booked["shipments"][0]["tracking_number"].as_str().unwrap();
    let by_number =
        json!({"id": fresh("ev"), "code": "delivered", "occurred_at": "2999-01-01T00:00:00Z", "tracking_number": number});
    all.push(result(&http, CARRIER, &by_number).await);
    assert_eq!(all, ["accepted", "duplicate", "accepted", "accepted"]);
    http.reaches(&id, "completed").await;
    let items = http.get(&format!("/v1/review-items?kind=unknown_carrier_code&order={id}")).await.is(200).body;
    assert_eq!(items["data"][0]["subject"], json!(shipment), "{items}");
    let shown = http.order(&id).await;
    assert_eq!(shown["shipments"][0]["carrier"], booked["shipments"][0]["carrier"], "{shown}");
}

#[tokio::test]
async fn a_payments_news_make_the_order_ask_the_gateway() {
    let stack = shared().await;
    let (http, client) = (stack.http(), stack.client().await);
    let sku = fresh("NEWS");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let body = order_of("pm_card_authenticationRequired", &[(&sku, 1)]);
    let id = http.place(&fresh("key"), 0, &body).await.is(201).text_at("/id").to_owned();
    http.order_where(&id, "waiting", |o| o["payment"]["status"] == "requires_action").await;
    let news = event(&fresh("evt"), "payment_intent.payment_failed", &id);
    assert_eq!(result(&http, PAYMENTS, &news).await, "accepted");
    assert_eq!(result(&http, PAYMENTS, &news).await, "duplicate");
    // what our own captures cause is kept, and wakes nobody
    assert_eq!(result(&http, PAYMENTS, &event(&fresh("evt"), "payment_intent.succeeded", &id)).await, "ignored");
    let run = client
        .get_workflow_handle::<oms_contract::workflow::Order>(oms_contract::names::order_workflow(&OrderId::parse(&id).unwrap()));
    let events = run.fetch_history(Default::default()).into_events().await.unwrap();
    let signals = events.iter().filter(|e| e.event_type().as_str_name().ends_with("WORKFLOW_EXECUTION_SIGNALED")).count();
    assert_eq!(signals, 1);
    http.cancel(&id).await.is(200);
}

#[tokio::test]
async fn what_is_not_here_yet_is_parked_and_heard_when_it_appears() {
    let http = shared().await.http();
    let sku = fresh("PARK");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let key = fresh("key");
    let id = OrderId::from_key("default", "public", &key).to_string();
    assert_eq!(result(&http, CARRIER, &parcel(&fresh("ev"), "shipped", &format!("{id}-1"))).await, "parked");
    assert_eq!(result(&http, PAYMENTS, &event(&fresh("evt"), "payment_intent.canceled", &id)).await, "parked");
    let placed = http.place(&key, 20, &order(&sku, 1)).await.is(201);
    assert_eq!(placed.text_at("/id"), id);
    until("the parked report is heard", Duration::from_secs(60), || async {
        (http.order(&id).await["status"] == "shipped").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_report_that_is_written_down_and_never_reached_the_run_is_told_again() {
    let stack = shared().await;
    let http = stack.http();
    let sku = fresh("LOST");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 1)).await;
    http.booked(&id).await;
    // what a worker leaves that records a report and is gone before the engine hears of its task
    let url = format!("sqlite:{}", stack.home.data().join("oms.db").display());
    let mut sql = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    for kind in [ScanType::Shipped, ScanType::Delivered] {
        let written = sqlx::query(
            "INSERT INTO shipment_events (shipment_id, event_id, order_id, kind, rank, result, occurred_at, recorded_at)
             VALUES ($1, $2, $3, $2, $4, 'applied', $5, $5)",
        );
        let written = written.bind(format!("{id}-1")).bind(kind.as_str()).bind(&id).bind(i64::from(kind.rank())).bind(now());
        written.execute(&mut sql).await.unwrap();
    }
    for (kind, status) in [("shipped", "shipped"), ("delivered", "completed")] {
        let report = json!({"event_id": kind, "type": kind, "occurred_at": instant(now())});
        for _ in 0..2 {
            let told = http.post(&format!("/v1/shipments/{id}-1/events"), &report).await.is(200);
            assert_eq!(told.text_at("/result"), "duplicate");
        }
        http.reaches(&id, status).await;
    }
}
