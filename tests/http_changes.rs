//! What may still be changed about an order: reviewed, sent elsewhere, edited, taken off, decided about; and what is told of it
//! meanwhile. The real binary, over HTTP.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::http::{Answer, Http, fresh, order, order_of};
use crate::support::stack::{Home, LONG, Stack, port, shared};
use crate::support::until;

fn eur(amount: i64) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

fn lines(of: &[(&str, u32)]) -> Value {
    of.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect()
}

async fn edit(http: &Http, id: &str, key: &str, of: &[(&str, u32)]) -> Answer {
    let request = http.request(Method::POST, &format!("/v1/orders/{id}/edits")).header("Idempotency-Key", key);
    http.send(request.json(&json!({"lines": lines(of)}))).await
}

/// An order that is confirmed and has no label yet, because a hold keeps it from being booked.
async fn held(http: &Http, body: &Value) -> (String, String) {
    let placed = http.place(&fresh("key"), 0, body).await.is(201);
    let id = placed.text_at("/id").to_owned();
    let hold = http.post(&format!("/v1/orders/{id}/holds"), &json!({"kind": "wait", "reason": "not yet"})).await.is(201);
    http.reaches(&id, "confirmed").await;
    (id, hold.text_at("/id").to_owned())
}

async fn release(http: &Http, id: &str, hold: &str) {
    http.send(http.request(Method::DELETE, &format!("/v1/orders/{id}/holds/{hold}"))).await.is(200);
}

/// Waits until a shipment is booked, the first one or one that took its place; its id.
async fn booked_anew(http: &Http, id: &str) -> String {
    let booked = |order: &Value| order["shipments"].as_array().unwrap().iter().find(|s| s["status"] == "booked").cloned();
    let order = http.order_where(id, "booked", |order| booked(order).is_some()).await;
    booked(&order).unwrap()["id"].as_str().unwrap().to_owned()
}

/// Money held now, over all of the gateway's authorizations that are alive.
async fn authorized(http: &Http, id: &str) -> i64 {
    let live = |payment: &&Value| payment["status"] == "authorized";
    http.ledger(id).await.iter().filter(live).map(|payment| payment["authorized"]["amount"].as_i64().unwrap()).sum()
}

#[tokio::test]
async fn an_address_changes_until_the_label_is_bought() {
    let http = shared().await.http();
    let sku = fresh("MOVE");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let (id, hold) = held(&http, &order(&sku, 1)).await;
    let mut address =
        json!({"name": "Ada Example", "line1": "Other Street 2", "city": "Bonn", "postal_code": "53111", "country": "DE"});
    let key = fresh("move");
    let moved = async |address: &Value| {
        let request = http.request(Method::POST, &format!("/v1/orders/{id}/address")).header("Idempotency-Key", &key);
        http.send(request.json(address)).await
    };
    let answer = moved(&address).await.is(200);
    assert_eq!((answer.text_at("/ship_to/city"), answer.header("idempotency-replayed")), ("Bonn", ""));
    assert_eq!(moved(&address).await.is(200).header("idempotency-replayed"), "true");
    assert_eq!(http.order(&id).await["ship_to"]["line1"], "Other Street 2");
    assert!(http.timeline(&id).await.contains(&"order.address_changed".to_owned()));
    release(&http, &id, &hold).await;
    http.booked(&id).await;
    address["city"] = json!("Ulm");
    let late = http.post(&format!("/v1/orders/{id}/address"), &address).await;
    late.refuses(409, "too_late", None);
    assert!(!late.body["allowed_actions"].as_array().unwrap().contains(&json!("change_address")), "{}", late.text);
    assert_eq!(http.order(&id).await["ship_to"]["city"], "Bonn");
}

#[tokio::test]
async fn an_edit_moves_stock_money_and_sums_or_nothing() {
    let http = shared().await.http();
    let (mug, cup) = (fresh("EDIT"), fresh("ADD"));
    http.sell(&mug, "berlin", 5, 1_000).await;
    http.sell(&cup, "berlin", 5, 2_000).await;
    let (id, hold) = held(&http, &order(&mug, 2)).await;
    // the catalogue moves on; what was ordered keeps its price
    http.sell(&mug, "berlin", 0, 9_900).await;
    let key = fresh("edit");
    let applied = edit(&http, &id, &key, &[(&mug, 3), (&cup, 1)]).await.is(200);
    assert_eq!(applied.text_at("/result"), "applied");
    assert_eq!(applied.body["order"]["totals"]["total"], eur(6_533)); // (30.00 + 20.00 + 4.90) with 19 %
    assert_eq!((http.stock(&mug).await, http.stock(&cup).await), ((5, 3, 2), (5, 1, 4)));
    assert_eq!(authorized(&http, &id).await, 6_533);
    let again = edit(&http, &id, &key, &[(&mug, 3), (&cup, 1)]).await.is(200);
    assert_eq!((again.header("idempotency-replayed"), again.text_at("/edit_id")), ("true", applied.text_at("/edit_id")));
    let told = http.get(&format!("/v1/orders/{id}/edits/{}", applied.text_at("/edit_id"))).await.is(200);
    assert_eq!((told.text_at("/result"), &told.body["total"]), ("applied", &eur(6_533)));

    let before = http.order(&id).await;
    let key = fresh("edit");
    for _ in 0..2 {
        let refused = edit(&http, &id, &key, &[(&mug, 99)]).await;
        refused.refuses(409, "edit_refused", Some("/lines"));
        assert_eq!(refused.text_at("/errors/0/code"), "out_of_stock");
    }
    let after = http.order(&id).await;
    assert_eq!((&after["lines"], &after["totals"], &after["payment"]), (&before["lines"], &before["totals"], &before["payment"]));
    assert_eq!((http.stock(&mug).await, http.stock(&cup).await), ((5, 3, 2), (5, 1, 4)));
    assert_eq!(authorized(&http, &id).await, 6_533);

    release(&http, &id, &hold).await;
    booked_anew(&http, &id).await;
    edit(&http, &id, &fresh("edit"), &[(&mug, 4), (&cup, 1)]).await.refuses(409, "too_late", None);
}

#[tokio::test]
async fn an_edit_for_a_version_that_is_gone_is_refused() {
    let http = shared().await.http();
    let sku = fresh("MATCH");
    http.sell(&sku, "berlin", 9, 1_000).await;
    let (id, _) = held(&http, &order(&sku, 2)).await;
    let path = format!("/v1/orders/{id}");
    let tag = http.get(&path).await.header("etag").to_owned();
    let with = async |tag: &str, quantity: u32| {
        let request = http.request(Method::POST, &format!("{path}/edits")).header("If-Match", tag);
        http.send(request.json(&json!({"lines": lines(&[(&sku, quantity)])}))).await
    };
    with(&tag, 3).await.is(200);
    with(&tag, 4).await.refuses(412, "precondition_failed", None);
    assert_eq!(http.order(&id).await["lines"][0]["quantity"], 3);
    // of many who changed the same version, one wins
    let tag = http.get(&path).await.header("etag").to_owned();
    let answers = join_all((4..8).map(|quantity| with(&tag, quantity))).await;
    let won: Vec<_> = answers.iter().filter(|a| a.status == 200).collect();
    assert_eq!(won.len(), 1, "{:?}", answers.iter().map(|a| &a.text).collect::<Vec<_>>());
    assert!(answers.iter().all(|a| [200, 409, 412].contains(&a.status)));
    let quantity = won[0].body["order"]["lines"][0]["quantity"].as_u64().unwrap();
    assert_eq!(http.stock(&sku).await, (9, i64::try_from(quantity).unwrap(), 9 - i64::try_from(quantity).unwrap()));
}

#[tokio::test]
async fn units_are_taken_off_and_the_rest_goes_on() {
    let http = shared().await.http();
    let (mug, cup) = (fresh("OFF"), fresh("STAY"));
    http.sell(&mug, "berlin", 5, 1_000).await;
    http.sell(&cup, "berlin", 5, 2_000).await;
    let (id, hold) = held(&http, &order_of("pm_card_visa", &[(&mug, 2), (&cup, 1)])).await;
    let key = fresh("off");
    let off = async |of: &[(&str, u32)]| {
        let request = http.request(Method::POST, &format!("/v1/orders/{id}/cancel")).header("Idempotency-Key", &key);
        http.send(request.json(&json!({"reason": "less", "lines": lines(of)}))).await
    };
    for replayed in ["", "true"] {
        let answer = off(&[(&mug, 1)]).await.is(200);
        assert_eq!((answer.text_at("/result"), answer.header("idempotency-replayed")), ("applied", replayed));
    }
    let left = http.order(&id).await;
    assert_eq!((&left["lines"][0]["quantity"], &left["totals"]["total"]), (&json!(1), &eur(4_153))); // (10.00 + 20.00 + 4.90) with 19 %
    assert_eq!((http.stock(&mug).await, http.stock(&cup).await), ((5, 1, 4), (5, 1, 4)));
    release(&http, &id, &hold).await;
    let shipment = booked_anew(&http, &id).await;
    http.report(&shipment, "gone", "shipped").await.is(200);
    http.order_where(&id, "paid", |order| order["totals"]["captured"] == eur(4_153)).await;

    let (other, _) = held(&http, &order(&cup, 2)).await;
    let all = json!({"reason": "nothing any more", "lines": lines(&[(&cup, 2)])});
    let whole = http.post(&format!("/v1/orders/{other}/cancel"), &all).await.is(200);
    assert!(["cancelled", "cancelling"].contains(&whole.text_at("/result")), "{}", whole.text);
    http.reaches(&other, "cancelled").await;
}

#[tokio::test]
async fn a_short_order_waits_until_somebody_decides() {
    let http = shared().await.http();
    let sku = fresh("SHORT");
    http.sell(&sku, "berlin", 1, 1_000).await;
    let mut body = order(&sku, 3);
    body["on_shortage"] = json!({"policy": "wait", "max": "PT1S"});
    let id = http.place(&fresh("key"), 0, &body).await.is(201).text_at("/id").to_owned();
    http.reaches(&id, "backordered").await;
    http.order_where(&id, "asked about", |order| order["allowed_actions"].as_array().unwrap().contains(&json!("decide"))).await;
    let why = http.get(&format!("/v1/orders/{id}/why")).await.is(200);
    assert_eq!((why.text_at("/stage"), why.text_at("/next_action"), why.text_at("/source")), ("stock", "decide", "run"));
    assert!(!why.body["waiting_on"].as_array().unwrap().is_empty(), "{}", why.text);
    let decided = http.post(&format!("/v1/orders/{id}/decision"), &json!({"decision": "ship_available"})).await.is(200);
    assert_eq!(decided.text_at("/result"), "ship_available");
    let going = http.reaches(&id, "confirmed").await;
    assert_eq!(going["totals"]["total"], eur(1_773)); // (10.00 + 4.90) with 19 %
    http.post(&format!("/v1/orders/{id}/decision"), &json!({"decision": "cancel"})).await.refuses(409, "not_allowed_now", None);
    assert_eq!(http.stock(&sku).await, (1, 1, 0));
}

#[tokio::test]
async fn the_customer_decides_on_the_page_of_the_mail() {
    let stack = shared().await;
    let (http, sku, email) = (stack.http(), fresh("ASK"), format!("{}@example.com", fresh("ask")));
    http.sell(&sku, "berlin", 1, 1_000).await;
    let mut body = order(&sku, 2);
    body["on_shortage"] = json!({"policy": "wait", "max": "PT1S"});
    body["customer"]["email"] = json!(email);
    let id = http.place(&fresh("key"), 0, &body).await.is(201).text_at("/id").to_owned();
    let mails = stack.home.data().join("mail");
    let link = until("the question is mailed", Duration::from_secs(30), || async {
        let files = std::fs::read_dir(&mails).ok()?.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
        // quoted-printable breaks lines
        files.filter(|mail| mail.contains(&email)).map(|mail| mail.replace("=\r\n", "").replace("=\n", "")).find_map(|mail| {
            let (_, rest) = mail.split_once("/decide/")?;
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))).unwrap_or(rest.len());
            Some(format!("/decide/{}", &rest[..end]))
        })
    })
    .await;
    let page = http.get(&link).await.is(200);
    assert!(page.text.contains("value=\"cancel\"") && !page.text.contains("Ada"), "{}", page.text);
    let press = async || {
        let request = http.request(Method::POST, &link).header("content-type", "application/x-www-form-urlencoded");
        http.send(request.body("decision=cancel")).await
    };
    assert!(press().await.is(200).text.contains("Thank you"));
    http.reaches(&id, "cancelled").await;
    assert!(press().await.is(409).text.contains("already decided"));
    assert_eq!(http.stock(&sku).await, (1, 0, 1));
}

#[tokio::test]
async fn an_order_tells_what_it_waits_on_and_what_it_did() {
    let http = shared().await.http();
    let sku = fresh("WHY");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let (id, hold) = held(&http, &order(&sku, 1)).await;
    let why = http.get(&format!("/v1/orders/{id}/why")).await.is(200);
    assert_eq!((why.text_at("/status"), why.text_at("/next_action")), ("confirmed", "release_hold"));
    assert!(!why.body["waiting_on"].as_array().unwrap().is_empty(), "{}", why.text);
    release(&http, &id, &hold).await;
    http.booked(&id).await;
    let why = http.get(&format!("/v1/orders/{id}/why")).await.is(200);
    assert_eq!((why.text_at("/stage"), why.text_at("/source")), ("handover", "run"));
    assert!(why.body["deadline"].is_string() && why.body["last_error"].is_null(), "{}", why.text);
    http.move_on(&id, &["shipped", "delivered"]).await;
    http.reaches(&id, "completed").await;
    let why = http.get(&format!("/v1/orders/{id}/why")).await.is(200);
    assert_eq!((why.text_at("/stage"), &why.body["waiting_on"]), ("ended", &json!([])));
    let effects = http.get(&format!("/v1/orders/{id}/effects")).await.is(200).body;
    let kinds: Vec<&str> = effects["data"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    for kind in ["reserve", "authorize", "book", "commit", "capture"] {
        assert_eq!(kinds.iter().filter(|k| **k == kind).count(), 1, "{kind} in {kinds:?}");
    }
    assert!(effects["data"].as_array().unwrap().iter().all(|effect| effect["undo"] != "pending"), "{effects}");
}

#[tokio::test]
async fn a_stream_follows_an_order_to_its_end_and_resumes_without_gap() {
    let http = shared().await.http();
    let sku = fresh("FOLLOW");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let (id, _) = held(&http, &order(&sku, 1)).await;
    let follow = async |last: Option<u64>| {
        let request = http.request(Method::GET, &format!("/v1/orders/{id}/events"));
        let request = if let Some(last) = last { request.header("Last-Event-ID", last) } else { request };
        http.send(request).await
    };
    // the stream ends by itself, once the order has
    let (told, _) = futures::join!(follow(None), async {
        http.cancel(&id).await.is(200);
        http.reaches(&id, "cancelled").await
    });
    let seqs: Vec<u64> = told.text.lines().filter_map(|l| l.strip_prefix("id:")).map(|n| n.trim().parse().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "{}", told.text);
    let kinds: Vec<&str> = told.text.lines().filter_map(|l| l.strip_prefix("event:")).map(str::trim).collect();
    let timeline = http.timeline(&id).await;
    assert_eq!(kinds, timeline, "everything is told, in its order");
    assert!(kinds.contains(&"order.cancelled"), "{kinds:?}");
    let middle = seqs.len() as u64 / 2;
    let rest = follow(Some(middle)).await.is(200);
    assert!(
        rest.text.contains(&format!("id: {}\n", middle + 1)) && !rest.text.contains(&format!("id: {middle}\n")),
        "{}",
        rest.text
    );
    follow(Some(seqs.len() as u64)).await.is(204);
}

#[tokio::test]
async fn a_review_is_decided_once() {
    let home = Home::new().with("OMS__RISK__AMOUNT_MIN", 5_000);
    let stack = Stack::up(home).await;
    let http = stack.http();
    let sku = fresh("RISK");
    http.sell(&sku, "berlin", 50, 1_000).await;
    let small = http.confirmed(&order(&sku, 1)).await;
    let review = |id: &str, decision: &str| {
        let (http, path) = (http.clone(), format!("/v1/orders/{id}/review"));
        let body = json!({"decision": decision, "reason": "looked at it"});
        async move { http.post(&path, &body).await }
    };
    review(&small, "approve").await.refuses(409, "not_allowed_now", None);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = http.place(&fresh("key"), 20, &order(&sku, 9)).await.is(201).text_at("/id").to_owned();
        http.reaches(&id, "in_review").await;
        ids.push(id);
    }
    let why = http.get(&format!("/v1/orders/{}/why", ids[0])).await.is(200);
    assert_eq!((why.text_at("/stage"), why.text_at("/next_action")), ("review", "review"));
    assert_eq!(review(&ids[0], "approve").await.is(200).body, json!({"result": "approved"}));
    http.reaches(&ids[0], "confirmed").await;
    assert_eq!(review(&ids[1], "reject").await.is(200).body, json!({"result": "rejected"}));
    assert_eq!(http.reaches(&ids[1], "rejected").await["reason"], "review_rejected");
    let verdicts = join_all((0..8).map(|n| review(&ids[2], if n % 2 == 0 { "approve" } else { "reject" }))).await;
    assert_eq!(verdicts.iter().filter(|verdict| verdict.status == 200).count(), 1, "one of them decided");
    assert!(verdicts.iter().all(|verdict| [200, 409].contains(&verdict.status)));
    stack.audited().await;
}

#[tokio::test]
async fn a_lost_parcel_is_an_item_that_one_admin_resolves() {
    let stack = Stack::up(Home::new()).await;
    let http = stack.http();
    let sku = fresh("ITEM");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 1)).await;
    http.booked(&id).await;
    http.report(&format!("{id}-1"), "lost-1", "shipped").await.is(200);
    http.order_where(&id, "paid", |order| order["payment"]["status"] == "captured").await;
    http.report(&format!("{id}-1"), "lost-2", "lost").await.is(200);
    let item = until("the item is in the queue", Duration::from_secs(20), || async {
        let page = http.get(&format!("/v1/review-items?order={id}")).await.is(200).body;
        page["data"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&item["kind"], &item["source"], &item["state"]), (&json!("lost"), &json!("order"), &json!("open")));
    let path = format!("/v1/review-items/{}/resolve", item["id"].as_str().unwrap());
    http.post(&path, &json!({"action": "cancel", "reason": "no"})).await.refuses(422, "validation_failed", Some("/action"));
    let answers = join_all((0..6).map(|n| {
        let body = json!({"action": "use_external_reference", "reference": format!("claim {n}"), "reason": "insured"});
        let (http, path) = (&http, &path);
        async move { http.post(path, &body).await }
    }))
    .await;
    assert_eq!(
        answers.iter().filter(|a| a.status == 200).count(),
        1,
        "{:?}",
        answers.iter().map(|a| &a.text).collect::<Vec<_>>()
    );
    for lost in answers.iter().filter(|a| a.status != 200) {
        lost.refuses(409, "already_resolved", None);
    }
    let closed = http.get(&format!("/v1/review-items/{}", item["id"].as_str().unwrap())).await.is(200);
    assert_eq!((closed.text_at("/state"), closed.text_at("/action")), ("resolved", "use_external_reference"));
}

#[tokio::test]
async fn a_resolution_that_is_written_down_and_never_reached_the_run_is_made_again() {
    let stack = shared().await;
    let http = stack.http();
    let sku = fresh("UNHEARD");
    http.sell(&sku, "berlin", 5, 1_000).await;
    let id = http.confirmed(&order(&sku, 1)).await;
    http.booked(&id).await;
    http.move_on(&id, &["shipped", "lost"]).await;
    let items = format!("/v1/review-items?kind=lost&order={id}");
    let item =
        until("the loss is an item", LONG, || async { http.get(&items).await.body["data"][0]["id"].as_str().map(str::to_owned) })
            .await;
    let (path, key) = (format!("/v1/review-items/{item}/resolve"), fresh("key"));
    let resolve = async |http: &Http| {
        let request = http.request(Method::POST, &path).header("Idempotency-Key", &key);
        http.send(request.json(&json!({"action": "refund_and_close", "reason": "the search is over"}))).await
    };
    // the key is known, and nobody has decided: an API whose engine is away
    let alone = port();
    let listen = format!("127.0.0.1:{alone}");
    let mut cut_off = stack.home.start(&["api"], &[("OMS__API__LISTEN", &listen), ("TEMPORAL_ADDRESS", "127.0.0.1:9")]);
    let elsewhere = Http::new(alone);
    until("the other API answers", LONG, || async { elsewhere.try_get("/livez").await }).await;
    resolve(&elsewhere).await.refuses(503, "unavailable", None);
    cut_off.kill().unwrap();
    cut_off.wait().unwrap();
    // what a worker leaves that records a resolution and is gone before the engine hears of its task
    let url = format!("sqlite:{}", stack.home.data().join("oms.db").display());
    let mut sql = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let written = "UPDATE review_items SET state = 'resolved', closed_at = opened_at, action = 'refund_and_close',
                       reason = 'the search is over', actor = 'api' WHERE id = $1";
    sqlx::query(written).bind(&item).execute(&mut sql).await.unwrap();
    assert_eq!(resolve(&http).await.is(200).text_at("/result"), "resolved");
    http.reaches(&id, "partially_fulfilled").await;
}
