//! Steering an order, as far as it goes without its run: what is refused, what its row answers, the customer's page, the queue of
//! review items, the stream of its events.

use axum::body::Body;
use axum::http::{Method, Request};
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::{OrderId, Sku};
use oms_domain::life::Life;
use oms_domain::order::Status;
use oms_domain::review::{LOST, Review, STUCK};
use oms_domain::shipment::ShipmentStatus;
use oms_domain::shortage::{Decision, Question};
use oms_domain::stock::Quantity;
use oms_store::{Append, ItemSource, NewItem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::commands::{at, order, ship};
use super::{Answer, Desk};

fn address() -> Value {
    json!({"name": "Ada", "line1": "Street 2", "city": "Bonn", "postal_code": "53111", "country": "DE"})
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

async fn post(desk: &Desk, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    desk.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn commands_against_a_rule() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 1, |_, _| ()).await;
    let lines = |sku: &str, quantity: i64| json!({"lines": [{"sku": sku, "quantity": quantity}]});
    let cancel = |lines: Value| json!({"reason": "less", "lines": lines});
    let card = json!("4111 1111 1111 1111");
    for (path, body, code, pointer) in [
        ("review", json!({"decision": "maybe", "reason": "x"}), "validation_failed", "/decision"),
        ("review", json!({"decision": "approve"}), "validation_failed", "/reason"),
        ("address", with(address(), "country", json!("XX")), "validation_failed", "/country"),
        ("address", with(address(), "line3", json!("x")), "validation_failed", "/line3"),
        ("address", with(address(), "line1", card.clone()), "card_number_refused", "/line1"),
        ("edits", json!({"lines": []}), "validation_failed", "/lines"),
        ("edits", lines("MUG", 0), "validation_failed", "/lines/0/quantity"),
        ("edits", lines("a b", 1), "validation_failed", "/lines/0/sku"),
        ("edits", lines("NOPE", 1), "unknown_sku", "/lines/0/sku"),
        ("edits", with(lines("MUG", 1), "reason", card), "card_number_refused", "/reason"),
        ("decision", json!({"decision": "both"}), "validation_failed", "/decision"),
        ("cancel", cancel(json!([])), "validation_failed", "/lines"),
        ("cancel", cancel(json!([{"sku": "MUG", "quantity": 3}])), "validation_failed", "/lines/0"),
        ("cancel", cancel(json!([{"sku": "CUP", "quantity": 1}])), "validation_failed", "/lines/0"),
    ] {
        let answer = desk.keyed(Method::POST, &format!("/v1/orders/{id}/{path}"), Some("one-key"), &body).await;
        answer.refuses(422, code, Some(pointer));
        assert!(!answer.text.contains("1111"), "{}", answer.text);
    }
    for path in ["why", "effects", "events", "edits/abc"] {
        desk.get(&format!("/v1/orders/nowhere1/{path}")).await.refuses(404, "not_found", None);
    }
    desk.get(&format!("/v1/orders/{id}/edits/abc")).await.refuses(404, "not_found", None);
}

#[tokio::test]
async fn an_ended_order_is_not_changed_any_more() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 2, |_, life| life.status = Status::Cancelled).await;
    for (path, body) in [
        ("review", json!({"decision": "approve", "reason": "fine"})),
        ("address", address()),
        ("edits", json!({"lines": [{"sku": "MUG", "quantity": 1}]})),
        ("decision", json!({"decision": "wait"})),
    ] {
        let answer = desk.json(Method::POST, &format!("/v1/orders/{id}/{path}"), &body).await;
        answer.refuses(409, "not_allowed_now", None);
        assert_eq!(answer.body["allowed_actions"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn an_edit_is_made_for_a_version() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 3, |_, life| life.status = Status::Confirmed).await;
    let path = format!("/v1/orders/{id}/edits");
    let body = json!({"lines": [{"sku": "MUG", "quantity": 1}]}).to_string();
    for stale in ["\"2\"", "W/\"3\"", "3", "\"1\", \"2\""] {
        post(&desk, &path, &[JSON, ("if-match", stale)], &body).await.refuses(412, "precondition_failed", None);
    }
    // from here on it is the run's turn, and there is none
    for current in ["\"3\"", "\"1\", \"3\"", "*"] {
        post(&desk, &path, &[JSON, ("if-match", current)], &body).await.refuses(503, "unavailable", None);
    }
}

#[tokio::test]
async fn an_item_of_somebody_else_is_news_and_needs_attention() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 3, |_, life| life.status = Status::Confirmed).await;
    let path = format!("/v1/orders/{id}");
    let tag = desk.get(&path).await.header("etag").to_owned();
    for (number, source) in [(1, ItemSource::Watchdog), (2, ItemSource::Refund), (3, ItemSource::Reconciliation)] {
        let item_id = format!("item-000{number}");
        desk.store.open_item(&item(&item_id, "look_at_it", Some(&id), source), at(5)).await.unwrap();
        let known = Request::get(&path).header("if-none-match", &tag).body(Body::empty()).unwrap();
        let shown = desk.send(known).await;
        assert_eq!((shown.status.as_u16(), &shown.body["needs_attention"]), (200, &json!(true)), "{source:?}");
        // an edit is made for a version: neither the new tag nor the bare version is refused
        let body = json!({"lines": [{"sku": "MUG", "quantity": 1}]}).to_string();
        for current in [shown.header("etag"), "\"3\""] {
            let edit = post(&desk, &format!("{path}/edits"), &[JSON, ("if-match", current)], &body).await;
            edit.refuses(503, "unavailable", None);
        }
        let why = desk.get(&format!("{path}/why")).await.body;
        assert_eq!((&why["needs_attention"], &why["review_items"]), (&json!(true), &json!([item_id])), "{source:?}");
        desk.store.settle_item(&item_id, at(6)).await.unwrap();
        assert_eq!(desk.get(&path).await.header("etag"), tag);
        assert_eq!(desk.get(&format!("{path}/why")).await.body["needs_attention"], false);
    }
}

/// A body as the API reads it: its fields in their own order, which the fingerprint is made of.
#[derive(Serialize, Deserialize)]
struct Lines {
    lines: Vec<OneLine>,
}

#[derive(Serialize, Deserialize)]
struct OneLine {
    sku: String,
    quantity: i64,
}

#[tokio::test]
async fn a_proposal_is_priced_and_can_be_read() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 3, |_, life| life.status = Status::Confirmed).await;
    desk.put_product("MUG", 9_999).await;
    desk.put_product("CUP", 500).await;
    let body = json!({"lines": [{"sku": "MUG", "quantity": 1}, {"sku": "CUP", "quantity": 2}]});
    desk.keyed(Method::POST, &format!("/v1/orders/{id}/edits"), Some("e-1"), &body).await.refuses(503, "unavailable", None);
    let read: Lines = serde_json::from_value(body).unwrap();
    let claim = crate::idempotency::fingerprint(&format!("POST /v1/orders/{id}/edits"), &read).unwrap();
    let edit = oms_domain::ids::derive(&["edit", &id, "public", "e-1", &claim]).to_string();
    let shown = desk.get(&format!("/v1/orders/{id}/edits/{edit}")).await;
    let eur = |amount: i64| json!({"amount": amount, "currency": "EUR"});
    assert_eq!((shown.status.as_u16(), &shown.body["result"]), (200, &json!("pending")), "{}", shown.text);
    assert_eq!(shown.body["lines"][0]["unit_price"], eur(1_999), "the price that it was ordered at");
    assert_eq!(shown.body["lines"][1]["total"], eur(1_000));
    assert_eq!(shown.body["total"], eur(4_152)); // (29.99 + 4.90) with 19 %, rounded
    let other = order(&desk, "k-2", 1, |_, _| ()).await;
    desk.get(&format!("/v1/orders/{other}/edits/{edit}")).await.refuses(404, "not_found", None);
}

fn asked(life: &mut Life, round: u32) {
    life.status = Status::Backordered;
    life.waiting = vec![Quantity { sku: Sku::parse("MUG").unwrap(), quantity: 2 }];
    life.question = Some(Question { round, asked_at: at(1), until: at(2_000_000_000), default: Decision::Cancel });
}

#[tokio::test]
async fn the_customers_page_asks_once_and_names_nobody() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 3, |_, life| asked(life, 2)).await;
    let order_id = OrderId::parse(id.as_str()).unwrap();
    for round in [1, 2] {
        let token = desk.store.decision_token(&order_id, round, &format!("token-{round}"), at(5)).await.unwrap();
        assert_eq!(token, format!("token-{round}"));
    }
    let page = desk.get("/decide/token-2").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "no-referrer"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    for value in ["wait", "ship_available", "cancel"] {
        assert!(page.text.contains(&format!("value=\"{value}\"")), "{}", page.text);
    }
    assert!(page.text.contains("2 &times; Mug") && page.text.contains("<header>Test Shop</header>"), "{}", page.text);
    assert!(page.text.contains("<strong>18.5.2033 by the clock of en</strong>"), "{}", page.text);
    for personal in ["Ada", "example.com", "Street", "4930", &id] {
        assert!(!page.text.contains(personal), "{personal}");
    }
    let old = desk.get("/decide/token-1").await;
    assert!(old.status.is_success() && old.text.contains("already decided") && !old.text.contains("<button"), "{}", old.text);
    let pressed = post(&desk, "/decide/token-1", &[FORM], "decision=wait").await;
    assert_eq!((pressed.status.as_u16(), pressed.header("content-type")), (409, "text/html; charset=utf-8"));
    post(&desk, "/decide/token-1", &[JSON], r#"{"decision": "wait"}"#).await.refuses(409, "not_allowed_now", None);
    // the newest question is open, and the run that decides it is not there
    post(&desk, "/decide/token-2", &[FORM], "decision=wait").await.refuses(503, "unavailable", None);
    for unknown in ["token-3", "a%00b", &"x".repeat(200)] {
        let missing = desk.get(&format!("/decide/{unknown}")).await;
        assert_eq!((missing.status.as_u16(), missing.header("content-type")), (404, "text/html; charset=utf-8"));
        post(&desk, &format!("/decide/{unknown}"), &[JSON], r#"{"decision": "wait"}"#).await.refuses(404, "not_found", None);
    }
    post(&desk, "/decide/token-2", &[FORM], "decision=no").await.refuses(422, "validation_failed", Some("/decision"));
    post(&desk, "/decide/token-2", &[("content-type", "text/plain")], "wait").await.refuses(415, "unsupported_media_type", None);
}

#[tokio::test]
async fn the_page_speaks_the_customers_language() {
    let desk = Desk::new().await;
    desk.put_product("MUG", 1_999).await;
    for (locale, title, buttons) in [
        ("de", "Ihre Bestellung wartet auf Ware", ["Länger warten", "Senden, was da ist", "Stornieren"]),
        ("es", "Su pedido espera mercancía", ["Seguir esperando", "Enviar lo que hay", "Cancelar"]),
    ] {
        let mut body = super::order_body();
        body["customer"]["locale"] = json!(locale);
        desk.keyed(Method::POST, "/v1/orders", Some(locale), &body).await.refuses(503, "unavailable", None);
        let order_id = OrderId::from_key("default", "public", locale);
        let mut life = Life::placed(oms_domain::money::Currency::parse("EUR").unwrap());
        asked(&mut life, 1);
        let record = oms_store::Record {
            order_id: order_id.clone(),
            rev: 1,
            life,
            facts: vec![],
            scans: vec![],
            confirm: false,
            amend: None,
            address: None,
            resolved: vec![],
            build: None,
        };
        desk.store.record(&record, at(5)).await.unwrap();
        desk.store.decision_token(&order_id, 1, &format!("token-{locale}"), at(5)).await.unwrap();
        let page = desk.get(&format!("/decide/token-{locale}")).await;
        assert!(page.text.contains(&format!("<html lang=\"{locale}\">")) && page.text.contains(title), "{}", page.text);
        assert!(buttons.iter().all(|label| page.text.contains(&format!(">{label}</button>"))), "{}", page.text);
        assert!(page.text.contains(&format!("by the clock of {locale}")), "{}", page.text);
    }
    assert!(desk.get("/decide/nothing").await.text.contains("<html lang=\"en\">"), "the shop's language for nobody");
}

#[tokio::test]
async fn why_is_told_even_when_the_engine_is_gone() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 3, |_, life| {
        life.status = Status::InReview;
        life.due_at = Some(at(9));
        life.review = Some(Review { reasons: vec!["amount".into()], since: at(3), until: at(8) });
    })
    .await;
    let why = desk.get(&format!("/v1/orders/{id}/why")).await.body;
    assert_eq!((&why["status"], &why["stage"], &why["source"]), (&json!("in_review"), &json!("review"), &json!("row")));
    assert_eq!((&why["next_action"], &why["last_error"]), (&json!("review"), &Value::Null));
    let wait = json!({
        "part": "review", "on": "a manual review (amount)", "since": "1970-01-01T00:00:03Z", "until": "1970-01-01T00:00:08Z"
    });
    assert_eq!((&why["waiting_on"], &why["deadline"]), (&json!([wait]), &json!("1970-01-01T00:00:09Z")));
    let ended = order(&desk, "k-2", 2, |_, life| life.status = Status::Completed).await;
    let why = desk.get(&format!("/v1/orders/{ended}/why")).await.body;
    assert_eq!((&why["stage"], &why["waiting_on"], &why["deadline"]), (&json!("ended"), &json!([]), &Value::Null));
    assert_eq!((&why["next_action"], &why["needs_attention"]), (&json!("ended"), &json!(false)));
    assert_eq!(desk.get(&format!("/v1/orders/{ended}/effects")).await.body, json!({"data": []}));
}

fn item(id: &str, kind: &str, order: Option<&str>, source: ItemSource) -> NewItem {
    NewItem {
        id: id.to_owned(),
        kind: kind.to_owned(),
        order_id: order.map(|id| OrderId::parse(id).unwrap()),
        shipment_id: None,
        subject: order.unwrap_or("pay-1").to_owned(),
        detail: "somebody must look".to_owned(),
        source,
    }
}

#[tokio::test]
async fn the_queue_is_listed_and_each_item_is_resolved_once() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 3, |id, life| {
        ship(id, life, ShipmentStatus::Booked);
        life.status = Status::Confirmed;
    })
    .await;
    let ended = order(&desk, "k-2", 3, |_, life| life.status = Status::Completed).await;
    for (n, new) in [
        item("item-aaaa", "orphan_payment", None, ItemSource::Reconciliation),
        item("item-bbbb", STUCK, Some(&id), ItemSource::Watchdog),
        item("item-cccc", LOST, Some(&ended), ItemSource::Order),
    ]
    .iter()
    .enumerate()
    {
        assert!(desk.store.open_item(new, at(10 + i64::try_from(n).unwrap())).await.unwrap());
    }
    let ids = async |query: &str| {
        let page = desk.get(&format!("/v1/review-items?{query}")).await;
        let ids: Vec<_> = page.body["data"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect();
        (ids.join(" "), page.body["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(ids("limit=100").await, ("item-aaaa item-bbbb item-cccc".to_owned(), None));
    let (first, cursor) = ids("limit=2").await;
    assert_eq!(
        (first.as_str(), ids(&format!("limit=2&cursor={}", cursor.unwrap())).await.0.as_str()),
        ("item-aaaa item-bbbb", "item-cccc")
    );
    assert_eq!(ids(&format!("order={id}")).await.0, "item-bbbb");
    assert_eq!((ids("kind=lost").await.0.as_str(), ids("source=reconciliation").await.0.as_str()), ("item-cccc", "item-aaaa"));
    assert_eq!(ids("state=resolved").await.0, "");
    let young = item("item-dddd", LOST, Some(&ended), ItemSource::Watchdog);
    assert!(desk.store.open_item(&young, oms_domain::instant(std::time::SystemTime::now())).await.unwrap());
    assert_eq!(
        (ids("kind=lost").await.0.as_str(), ids("kind=lost&age=2d").await.0.as_str()),
        ("item-cccc item-dddd", "item-cccc")
    );
    assert!(desk.store.settle_item("item-dddd", at(20)).await.unwrap());
    for (query, parameter) in
        [("state=closed", "state"), ("source=me", "source"), ("kind=A", "kind"), ("cursor=b3w", "cursor"), ("age=old", "age")]
    {
        desk.get(&format!("/v1/review-items?{query}")).await.refuses(422, "validation_failed", Some(parameter));
    }
    let shown = desk.get("/v1/review-items/item-bbbb").await.body;
    assert_eq!(
        (&shown["resolutions"], &shown["links"]["order"]),
        (&json!(["retry", "cancel"]), &json!(format!("/v1/orders/{id}")))
    );
    let why = desk.get(&format!("/v1/orders/{id}/why")).await.body;
    assert_eq!((&why["review_items"], &why["next_action"]), (&json!(["item-bbbb"]), &json!("resolve_review_item")));

    let resolve = async |item: &str, key: Option<&str>, action: &str, reference: Value| {
        let body = json!({"action": action, "reason": "looked at it", "reference": reference});
        desk.keyed(Method::POST, &format!("/v1/review-items/{item}/resolve"), key, &body).await
    };
    let none = || Value::Null;
    resolve("item-zzzz", None, "retry", none()).await.refuses(404, "not_found", None);
    resolve("item-aaaa", None, "forget", none()).await.refuses(422, "validation_failed", Some("/action"));
    resolve("item-aaaa", None, "use_external_reference", none()).await.refuses(422, "validation_failed", Some("/reference"));
    let cancel = resolve("item-aaaa", None, "cancel", none()).await;
    cancel.refuses(422, "validation_failed", Some("/action"));
    assert!(cancel.text.contains("can be resolved by use_external_reference"), "{}", cancel.text);
    resolve("item-aaaa", None, "retry", none()).await.refuses(422, "validation_failed", Some("/action"));
    for replayed in ["", "true"] {
        let done = resolve("item-aaaa", Some("r-1"), "use_external_reference", json!("T-1")).await;
        assert_eq!((done.status.as_u16(), &done.body), (200, &json!({"result": "resolved"})), "{}", done.text);
        assert_eq!(done.header("idempotency-replayed"), replayed);
    }
    resolve("item-aaaa", Some("r-2"), "retry", none()).await.refuses(409, "already_resolved", None);
    let closed = desk.get("/v1/review-items/item-aaaa").await.body;
    assert_eq!((&closed["state"], &closed["action"]), (&json!("resolved"), &json!("use_external_reference")));
    assert_eq!((&closed["reference"], &closed["actor"], &closed["resolutions"]), (&json!("T-1"), &json!("api"), &json!([])));

    assert_eq!(resolve("item-bbbb", None, "retry", none()).await.status.as_u16(), 200, "whether or not the engine is there");
    // a lost parcel of an order whose run has closed: money needs somebody who moves it
    resolve("item-cccc", None, "refund_and_close", none()).await.refuses(409, "not_allowed_now", None);
    assert_eq!(resolve("item-cccc", None, "use_external_reference", json!("claim 7")).await.status.as_u16(), 200);
    assert_eq!(ids("limit=100").await.0, "");
}

#[tokio::test]
async fn two_admins_resolve_one_item_and_one_of_them_wins() {
    let desk = Desk::new().await;
    for n in 0..20 {
        let id = format!("item-{n:04}");
        desk.store.open_item(&item(&id, "orphan_payment", None, ItemSource::Reconciliation), at(1)).await.unwrap();
        let path = format!("/v1/review-items/{id}/resolve");
        let body = json!({"action": "use_external_reference", "reference": "T-1", "reason": "looked at it"});
        let (one, other) = tokio::join!(desk.json(Method::POST, &path, &body), desk.json(Method::POST, &path, &body));
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", one.text, other.text);
    }
}

#[tokio::test]
async fn an_orders_events_are_streamed_without_gap_and_end_with_it() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 2, |_, life| life.status = Status::Completed).await;
    let order_id = OrderId::parse(id.as_str()).unwrap();
    let facts: Vec<Fact> = (1..=130)
        .map(|n| Fact::new(format!("note/{n}"), FactKind::SignalIgnored, at(n)).because(format!("number {n}")))
        .collect();
    let seq = desk.store.append(&order_id, &facts, Append::default(), None, at(2)).await.unwrap().seq;
    assert_eq!(seq, 130);
    let follow = async |last: Option<&str>| {
        let mut request = Request::get(format!("/v1/orders/{id}/events"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        desk.send(request.body(Body::empty()).unwrap()).await
    };
    let ids = |text: &str| -> Vec<u64> {
        text.lines().filter_map(|line| line.strip_prefix("id:")).map(|n| n.trim().parse().unwrap()).collect()
    };
    let all = follow(None).await;
    assert_eq!((all.status.as_u16(), all.header("content-type")), (200, "text/event-stream"));
    assert_eq!(ids(&all.text), (1..=130).collect::<Vec<_>>());
    assert!(all.text.contains("retry:") && all.text.contains("event: signal.ignored"), "{}", &all.text[..400]);
    let data = all.text.lines().find_map(|line| line.strip_prefix("data:")).unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["type"], &data["seq"], &data["order_id"]), (&json!("signal.ignored"), &json!(1), &json!(id)));
    assert_eq!(ids(&follow(Some("127")).await.text), [128, 129, 130]);
    assert_eq!(follow(Some("130")).await.status.as_u16(), 204, "a browser stops asking");
    for bad in ["", "-1", "+1", "x", "99999999999999999999"] {
        follow(Some(bad)).await.refuses(422, "validation_failed", Some("Last-Event-ID"));
    }
}
