//! Files of orders: taken in as a whole or not at all, placed once each however often the process is killed, never twice.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use oms_domain::ids::OrderId;
use oms_temporal::worker::WorkerTuning;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::http::{Answer, Http, order, order_of};
use crate::support::roles::{Place, Process};
use crate::support::until;
use crate::support::world::World;

/// Every so manieth row is of an article that nobody sells.
const UNKNOWN_EVERY: usize = 97;

/// `oms api` without workers: orders are placed and their runs started, and none goes on.
async fn desk(world: &World) -> (Process, Http, u16) {
    let (process, url) = Place::of(world).api().await;
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    (process, Http::new(port), port)
}

fn refused(n: usize) -> bool {
    n.is_multiple_of(UNKNOWN_EVERY)
}

fn body(n: usize) -> Value {
    let mut body = order(if refused(n) { "NOBODY" } else { "MUG" }, 1);
    body["reference"] = json!(format!("row-{n}"));
    body
}

/// Orders from 1 on, every second with a key of its own.
fn file(rows: usize) -> String {
    let line = |n: usize| {
        let mut body = body(n);
        if n.is_multiple_of(2) {
            body["idempotency_key"] = json!(format!("key-{n}"));
        }
        format!("{body}\n")
    };
    (1..=rows).map(line).collect()
}

async fn send(http: &Http, kind: &str, file: &str) -> Answer {
    let request = http.request(Method::POST, "/v1/imports").header("content-type", kind).timeout(Duration::from_secs(600));
    http.send(request.body(file.to_owned())).await
}

async fn import_where(http: &Http, path: &str, what: &str, within: Duration, holds: impl Fn(&Value) -> bool) -> Value {
    until(&format!("the import is {what}"), within, || async {
        let answer = http.try_get(path).await?;
        (answer.status == 200 && holds(&answer.body)).then_some(answer.body)
    })
    .await
}

/// Rows whose body is still kept.
async fn kept(world: &World) -> i64 {
    let kept = "SELECT COUNT(*) FROM import_rows WHERE content IS NOT NULL AND upload <> $1";
    world.sql().await.number(kept, "none").await
}

/// Imports `rows` orders with a kill in the middle.
async fn imported(rows: usize, within: Duration) {
    let world = World::idle(WorkerTuning::default()).await;
    let (process, http, _) = desk(&world).await;
    http.sell("MUG", "berlin", 0, 1_999).await;
    let file = file(rows);
    let taken = send(&http, "application/x-ndjson", &file).await.is(202);
    let path = taken.header("location").to_owned();
    assert_eq!((taken.text_at("/links/self"), &taken.body["rows"]), (path.as_str(), &json!(rows)));
    let some = rows as u64 / 8;
    import_where(&http, &path, "under way", within, |import| import["placed"].as_u64().unwrap() >= some).await;
    process.kill();

    let (process, http, _) = desk(&world).await;
    let found = http.get(&path).await.is(200);
    assert_eq!(found.text_at("/state"), "running", "it was killed in the middle: {}", found.text);
    let done = import_where(&http, &path, "done", within, |import| import["state"] == "done").await;
    let unknown = (1..=rows).filter(|n| refused(*n)).count();
    assert_eq!((&done["placed"], &done["refused"], &done["pending"]), (&json!(rows - unknown), &json!(unknown), &json!(0)));
    assert!(done["rate"].as_f64().unwrap() > 0.0 && done["finished_at"].is_string(), "{done}");
    assert_eq!(kept(&world).await, 0, "what is settled is not kept");

    let shown: Vec<Value> = http.pages(&format!("{path}/rows?limit=100")).await.into_iter().flatten().collect();
    assert_eq!(shown.iter().map(|row| row["row"].as_u64().unwrap() as usize).collect::<Vec<_>>(), (1..=rows).collect::<Vec<_>>());
    let ids: BTreeSet<&str> = shown.iter().filter_map(|row| row["order_id"].as_str()).collect();
    assert_eq!(ids.len(), rows - unknown, "each row is an order of its own");
    let bad: Vec<Value> = http.pages(&format!("{path}/rows?result=refused&limit=100")).await.into_iter().flatten().collect();
    assert_eq!(bad.len(), unknown);
    assert_eq!((&bad[0]["row"], &bad[0]["status"]), (&json!(UNKNOWN_EVERY), &json!("refused")));
    assert_eq!(bad[0]["errors"][0]["pointer"], "/lines/0/sku");
    assert_eq!(bad[0]["errors"][0]["code"], "unknown_sku");
    let orders = world.store.audit_orders(None, 200_000).await.unwrap();
    assert_eq!(orders.len(), rows - unknown, "the kill made none twice");

    // what came by import is found by its key, as if it had been posted
    let posted = http.place("key-2", 0, &body(2)).await.is(201);
    assert_eq!((posted.header("idempotency-replayed"), posted.text_at("/id")), ("true", shown[1]["order_id"].as_str().unwrap()));
    assert_eq!(posted.text_at("/id"), OrderId::from_key("default", "public", "key-2").as_str());

    let again = send(&http, "application/x-ndjson", &file).await.is(200);
    assert_eq!((again.header("idempotency-replayed"), again.text_at("/links/self")), ("true", path.as_str()));
    assert_eq!(http.get("/v1/imports").await.is(200).body["data"].as_array().unwrap().len(), 1);
    assert_eq!(world.store.audit_orders(None, 200_000).await.unwrap().len(), rows - unknown, "the same file adds nothing");
    drop(process);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_orders_survive_a_kill_and_come_once() {
    imported(2_000, Duration::from_secs(180)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs minutes"]
async fn a_hundred_thousand_orders_survive_a_kill_and_come_once() {
    imported(100_000, Duration::from_secs(3_600)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_places_nothing_and_may_come_again() {
    let world = World::idle(WorkerTuning::default()).await;
    let (process, http, port) = desk(&world).await;
    http.sell("MUG", "berlin", 0, 1_999).await;
    let file = file(20);
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST /v1/imports HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        file.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(&file.as_bytes()[..file.len() / 2]).unwrap();
    until("the file comes in", Duration::from_secs(30), || async {
        (http.get("/v1/imports").await.body["data"][0]["state"] == "receiving").then_some(())
    })
    .await;
    drop(socket);
    let taken = send(&http, "application/x-ndjson", &file).await.is(202);
    let path = taken.header("location").to_owned();
    import_where(&http, &path, "done", Duration::from_secs(60), |import| import["state"] == "done").await;
    assert_eq!(world.store.audit_orders(None, 100).await.unwrap().len(), 20, "of the broken file nothing runs");
    let states: BTreeSet<String> = http.get("/v1/imports").await.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|import| import["links"]["self"] != path)
        .map(|import| import["state"].as_str().unwrap().to_owned())
        .collect();
    assert!(states.iter().all(|state| state == "receiving"), "{states:?}");
    drop(process);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_makes_orders_and_what_is_no_file_is_refused() {
    let world = World::idle(WorkerTuning::default()).await;
    let (process, http, _) = desk(&world).await;
    for (sku, price) in [("MUG", 1_000), ("PEN", 300)] {
        http.sell(sku, "berlin", 0, price).await;
    }
    let head = "order,customer_id,customer_name,customer_email,customer_locale,currency,ship_to_name,ship_to_line1,ship_to_city,\
                ship_to_postal_code,ship_to_country,method,on_shortage,discount_code,discount_amount,sku,quantity";
    let ada =
        "c-1,Ada Example,ada@example.com,de,EUR,Ada Example,\"Street 1, rear\",Berlin,10115,DE,pm_card_visa,wait,SPRING,130";
    let table = format!("{head}\r\nA,{ada},MUG,1\r\nA,,,,,,,,,,,,,,,PEN,1\r\nB,{ada},MUG,0\r\n");
    let taken = send(&http, "text/csv; charset=utf-8", &table).await.is(202);
    let path = taken.header("location").to_owned();
    import_where(&http, &path, "done", Duration::from_secs(60), |import| import["state"] == "done").await;
    let rows = http.get(&format!("{path}/rows")).await.is(200).body;
    assert_eq!((&rows["data"][0]["status"], &rows["data"][1]["status"]), (&json!("placed"), &json!("refused")));
    assert_eq!(rows["data"][1]["errors"][0]["pointer"], "/lines/0/quantity");
    let placed = http.order(rows["data"][0]["order_id"].as_str().unwrap()).await;
    let eur = |amount: i64| json!({"amount": amount, "currency": "EUR"});
    assert_eq!((&placed["lines"][0]["discount"], &placed["lines"][1]["discount"]), (&eur(100), &eur(30)));
    assert_eq!((&placed["totals"]["discount"], &placed["totals"]["subtotal"]), (&eur(130), &eur(1_170)));
    assert_eq!(placed["discounts"], json!([{"code": "SPRING", "amount": eur(130), "sku": null}]));
    assert_eq!(placed["on_shortage"], json!({"policy": "wait", "max": null}));
    assert_eq!((&placed["customer"]["locale"], &placed["ship_to"]["line1"]), (&json!("de"), &json!("Street 1, rear")));

    send(&http, "application/json", "{}").await.refuses(415, "unsupported_media_type", None);
    send(&http, "text/csv", "sku,quantity,price\n").await.refuses(422, "validation_failed", Some("column 3"));
    send(&http, "application/x-ndjson", "\n\n").await.refuses(422, "validation_failed", None);
    http.get("/v1/imports/no-such-import").await.refuses(404, "not_found", None);
    http.get(&format!("{path}/rows?result=lost")).await.refuses(422, "validation_failed", Some("result"));
    let keyed = |file: Value| {
        http.request(Method::POST, "/v1/imports")
            .header("idempotency-key", "k")
            .header("content-type", "application/x-ndjson")
            .body(format!("{file}\n"))
    };
    let first = http.send(keyed(order_of("pm_card_visa", &[("MUG", 1)]))).await.is(202);
    let again = http.send(keyed(order_of("pm_card_visa", &[("MUG", 1)]))).await.is(200);
    assert_eq!(again.text_at("/id"), first.text_at("/id"));
    http.send(keyed(order_of("pm_card_visa", &[("MUG", 2)]))).await.refuses(422, "idempotency_key_reused", None);
    assert_eq!(http.get("/v1/imports").await.body["data"].as_array().unwrap().len(), 2, "what was refused left nothing");
    drop(process);
    world.end().await;
}
