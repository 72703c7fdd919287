//! The whole stack as processes: killed, silenced, stopped and refused; what it tells outsiders and what it never does.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};

use crate::support::http::{Answer, Http, fresh, order, order_of};
use crate::support::stack::{Home, LONG, Stack, cli, port, shared, signal};
use crate::support::until;

async fn database(home: &Home, file: &str) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(home.data().join(file)).busy_timeout(Duration::from_secs(10));
    options.connect().await.unwrap()
}

/// Results of the gateway's operations of an order that had an effect.
async fn effects(http: &Http, id: &str) -> Vec<String> {
    let payments = http.ledger(id).await;
    let operations = payments.iter().flat_map(|p| p["operations"].as_array().unwrap());
    operations.filter(|o| o["result"] == "ok").map(|o| o["kind"].as_str().unwrap().to_owned()).collect()
}

fn in_time(began: Instant) {
    assert!(began.elapsed() < Duration::from_millis(2_500), "answered after {:?}", began.elapsed());
}

fn is_unavailable(answer: &Answer) {
    answer.refuses(503, "unavailable", None);
    assert!(!answer.header("retry-after").is_empty());
}

async fn turns(http: &Http, ready: u16) {
    until(&format!("/readyz is {ready}"), LONG, || async {
        let answer = http.try_get("/readyz").await?;
        (answer.status == ready).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_silent_and_then_dead_engine_stops_no_reads_and_loses_no_order() {
    let stack = Stack::up(Home::new()).await;
    let (http, key, body) = (stack.http(), fresh("key"), order("MUG", 1));
    http.sell("MUG", "berlin", 50, 1_000).await;
    let done = http.confirmed(&body).await;
    let slow = order_of("pm_sandbox_slow", &[("MUG", 1)]);
    let flying =
        join_all((0..6).map(|_| async { http.place(&fresh("key"), 0, &slow).await.is(201).text_at("/id").to_owned() })).await;
    let server = stack.home.server().unwrap();
    signal(server, "STOP");
    let began = Instant::now();
    for path in [
        format!("/v1/orders/{done}"),
        "/v1/orders".to_owned(),
        "/v1/inventory/MUG".to_owned(),
        format!("/v1/orders/{done}/timeline"),
    ] {
        http.get(&path).await.is(200);
    }
    let consistent = http.get(&format!("/v1/orders/{done}?consistent=true")).await.is(200);
    assert!(consistent.text_at("/status") == "confirmed" && !consistent.text_at("/as_of").is_empty());
    in_time(began);
    for _ in 0..2 {
        let began = Instant::now();
        is_unavailable(&http.place(&key, 20, &body).await);
        in_time(began);
    }
    is_unavailable(&http.cancel(&done).await);
    turns(&http, 503).await;
    assert_eq!(http.get("/livez").await.status, 200);

    signal(server, "KILL");
    turns(&http, 200).await;
    assert!(stack.home.server().is_some_and(|pid| pid != server), "another process serves");
    let placed = until("the same key brings the order", LONG, || async {
        Some(http.place(&key, 20, &body).await).filter(|a| a.status == 201)
    })
    .await;
    assert_eq!(placed.header("idempotency-replayed"), "true");
    for id in flying.iter().map(String::as_str).chain([placed.text_at("/id")]) {
        http.reaches(id, "confirmed").await;
        assert_eq!(effects(&http, id).await, ["authorize"], "{id}");
    }
    assert_eq!(http.stock("MUG").await, (50, 8, 42));
    stack.audited().await;
}

#[tokio::test]
async fn a_flood_of_commands_at_one_order_is_answered_and_brings_nothing_down() {
    let stack = Stack::up(Home::new()).await;
    let http = stack.http();
    http.sell("MUG", "berlin", 50, 1_000).await;
    for _ in 0..6 {
        let id = http.confirmed(&order("MUG", 1)).await;
        http.booked(&id).await;
        let shipment = format!("{id}-1");
        let answers = join_all((0..25).map(|_| http.report(&shipment, "gone", "shipped"))).await;
        // the engine takes ten commands at once for one order: the others wait their turn, or are told to come again
        let odd = answers.iter().find(|a| a.status != 200 && a.status != 503);
        assert!(odd.is_none(), "{odd:?}");
        let applied = answers.iter().filter(|a| a.text_at("/result") == "applied").count();
        assert_eq!(applied, 1, "the first one is heard, and it once");
        http.order_where(&id, "paid", |o| o["payment"]["status"] == "captured").await;
        assert_eq!(effects(&http, &id).await, ["authorize", "capture"]);
    }
    stack.audited().await;
}

/// Ways to pay, and what becomes of an order paid like that.
const FATES: [(&str, &str); 5] = [
    ("pm_card_visa", "confirmed"),
    ("pm_sandbox_slow", "confirmed"),
    ("pm_card_chargeDeclined", "rejected"),
    ("pm_sandbox_flaky", "confirmed"),
    ("pm_sandbox_commit_then_drop", "confirmed"),
];

#[tokio::test]
async fn killed_in_mid_flight_every_order_ends_as_it_should() {
    // what a killed process was about is asked again once its time is up
    let mut stack = Stack::up(Home::new().with("OMS__RETRY__SQL_ATTEMPT", "3s").with("OMS__RETRY__GATEWAY_ATTEMPT", "5s")).await;
    let http = stack.http();
    http.sell("MUG", "berlin", 50, 1_000).await;
    let mut delivered = BTreeSet::new();
    for server_too in [false, true] {
        let placed = join_all((0..10).map(|n| {
            let (http, (method, fate)) = (&http, FATES[n % FATES.len()]);
            async move {
                (http.place(&fresh("key"), 0, &order_of(method, &[("MUG", 1)])).await.is(201).text_at("/id").to_owned(), fate)
            }
        }))
        .await;
        let open = http.get("/v1/orders?status=placed").await.body["data"].as_array().unwrap().len();
        assert!(open >= 2, "{open} orders are under way");
        stack.kill();
        if server_too {
            signal(stack.home.server().unwrap(), "KILL");
        }
        stack.start().await;
        for (id, fate) in &placed {
            http.reaches(id, fate).await;
        }
        let confirmed: Vec<&str> = placed.iter().filter(|(_, fate)| *fate == "confirmed").map(|(id, _)| id.as_str()).collect();
        for id in &confirmed {
            http.booked(id).await;
            http.move_on(id, &["shipped"]).await;
        }
        if server_too {
            // the captures are under way; a report that was answered survives
            stack.kill();
            signal(stack.home.server().unwrap(), "KILL");
            stack.start().await;
        }
        for id in confirmed {
            assert_eq!(http.report(&format!("{id}-1"), "shipped", "shipped").await.is(200).body, json!({"result": "duplicate"}));
            http.move_on(id, &["delivered"]).await;
            http.reaches(id, "completed").await;
            assert_eq!(effects(&http, id).await, ["authorize", "capture"], "{id}");
            delivered.insert(id.to_owned());
        }
    }
    assert_eq!((http.stock("MUG").await, delivered.len()), ((34, 0, 34), 16));
    stack.audited().await;
}

#[tokio::test]
async fn sigterm_under_load_loses_no_accepted_order() {
    let mut stack = Stack::up(Home::new()).await;
    let http = stack.http();
    http.sell("MUG", "berlin", 100_000, 1_000).await;
    let count = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (http, count) = (http.clone(), count.clone());
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                for n in 0.. {
                    let key = format!("load-{client}-{n}");
                    match http.try_place(&key, 0, &order("MUG", 1)).await {
                        Some(answer) if answer.status == 201 => accepted.push(answer.text_at("/id").to_owned()),
                        _ => return (accepted, key),
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                unreachable!()
            })
        })
        .collect();
    until("forty orders are accepted", LONG, || async { (count.load(Ordering::Relaxed) >= 40).then_some(()) }).await;
    let began = Instant::now();
    assert_eq!(stack.stop().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    assert_eq!(stack.home.server(), None, "the dev server is stopped too");
    let (mut accepted, mut cut_off) = (Vec::new(), Vec::new());
    for client in clients {
        let (ids, key) = client.await.unwrap();
        accepted.extend(ids);
        cut_off.push(key);
    }
    stack.start().await;
    for key in cut_off {
        accepted.push(http.place(&key, 0, &order("MUG", 1)).await.is(201).text_at("/id").to_owned());
    }
    for id in &accepted {
        http.reaches(id, "confirmed").await;
    }
    let listed: usize = http.pages("/v1/orders?limit=100").await.iter().map(Vec::len).sum();
    assert_eq!(listed, accepted.len());
    assert_eq!(http.stock("MUG").await.1, i64::try_from(listed).unwrap());
    stack.audited().await;
}

#[tokio::test]
async fn faults_park_orders_until_they_are_switched_off() {
    let stack = Stack::up(Home::new().with("OMS__RETRY__FIRST", "100ms").with("OMS__RETRY__MOST", "500ms")).await;
    let http = stack.http();
    http.sell("MUG", "berlin", 50, 1_000).await;
    let fault = |party: &str, body: Value| {
        let (http, path) = (http.clone(), format!("/v1/sandbox/faults/{party}"));
        async move { http.put(&path, &body).await }
    };
    fault("weather", json!({"mode": "down"})).await.refuses(404, "not_found", None);
    fault("payment", json!({"mode": "tired"})).await.refuses(422, "validation_failed", Some("/mode"));
    fault("payment", json!({"mode": "down", "operation": "fly"})).await.refuses(422, "validation_failed", Some("/operation"));
    fault("payment", json!({"mode": "down", "for": "a while"})).await.refuses(422, "validation_failed", Some("/for"));
    let listed = http.get("/v1/sandbox/faults").await.is(200).body;
    assert_eq!(listed["data"].as_array().unwrap().iter().filter(|f| f["mode"] == "none").count(), 4);

    for party in ["payment", "mail"] {
        assert_eq!(fault(party, json!({"mode": "down"})).await.is(200).body["mode"], "down");
    }
    let parked = http.place("parked", 2, &order("MUG", 1)).await.is(201);
    let id = parked.text_at("/id");
    assert_eq!((parked.text_at("/status"), http.stock("MUG").await), ("placed", (50, 1, 49)));
    assert!(http.ledger(id).await.is_empty(), "an attempt without effect makes no row");
    fault("payment", json!({"mode": "commit_then_drop", "operation": "capture"})).await.is(200);
    http.booked(id).await;
    http.move_on(id, &["shipped", "delivered"]).await;
    http.order_where(id, "paid", |o| o["payment"]["status"] == "captured").await;
    http.reaches(id, "completed").await;
    assert_eq!(effects(&http, id).await, ["authorize", "capture"], "an answer that was lost is found");
    let mails = || {
        std::fs::read_dir(stack.home.data().join("mail"))
            .map_or(0, |d| d.filter(|e| !e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count())
    };
    assert_eq!(mails(), 0, "no mail, and the order ended all the same");
    fault("mail", json!({"mode": "none"})).await.is(200);
    until("the mails go out", LONG, || async { (mails() == 3).then_some(()) }).await;
    fault("payment", json!({"mode": "down", "for": "2s"})).await.is(200);
    let second = http.place("second", 15, &order("MUG", 1)).await.is(201);
    assert_eq!(second.text_at("/status"), "confirmed", "a fault with an end ends by itself");
    stack.audited().await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_one_sentence_and_exit_code_2() {
    let running = shared().await;
    running.home.run(&["up"]).await.is_blocked(&["OMS__DATA_DIR", "process"]);
    let home = Home::new();
    let taken = format!("127.0.0.1:{}", running.home.api);
    home.run_with(&[("OMS__API__LISTEN", taken.as_str())], &["up"]).await.is_blocked(&[taken.as_str(), "OMS__API__LISTEN"]);
    let busy = TcpListener::bind(("127.0.0.1", port())).unwrap();
    let number = busy.local_addr().unwrap().port().to_string();
    for name in ["OMS__TEMPORAL__PORT", "OMS__TEMPORAL__UI_PORT"] {
        home.run_with(&[(name, number.as_str())], &["up"]).await.is_blocked(&[number.as_str(), name]);
    }
    for (name, value, words) in [
        ("OMS__DEADLINES__STUCK", "soon", "deadlines.stuck"),
        ("OMS__DEADLINES__STUKC", "1h", "OMS__DEADLINES__STUKC"),
        ("OMS__API__LISTEN", "everywhere", "api.listen"),
        ("TEMPORAL_TLS_CLIENT_KEY_DATA", "secret", "TEMPORAL_TLS_CLIENT_KEY_DATA"),
        ("DATABASE_URL", "mysql://localhost/oms", "sqlite:"),
        ("SMTP_URL", "pigeon://loft", "SMTP_URL"),
    ] {
        let ended = home.run_with(&[(name, value)], &["up"]).await;
        ended.is_blocked(&[words]);
        assert!(!ended.err.contains("secret"), "{}", ended.err);
    }
    let public = format!("0.0.0.0:{}", home.api);
    for command in ["up", "api"] {
        home.run_with(&[("OMS__API__LISTEN", &public)], &[command])
            .await
            .is_blocked(&["OMS__API__ALLOW_UNAUTHENTICATED_PUBLIC_LISTENER"]);
    }
    std::fs::write(home.path().join("oms.toml"), "[deadlines]\nstukc = \"1h\"\n").unwrap();
    home.run(&["up"]).await.is_blocked(&["oms.toml", "deadlines.stukc", "deadlines.stuck"]);
    std::fs::remove_file(home.path().join("oms.toml")).unwrap();

    let old = home.path().join("old-temporal");
    std::fs::write(&old, "#!/bin/sh\necho 'temporal version 1.2.3 (Server 1.2.3)'\n").unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&old).status().unwrap().success());
    home.run_with(&[("TEMPORAL_CLI", old.to_str().unwrap())], &["up"]).await.is_blocked(&["TEMPORAL_CLI", "1.2.3", "1.9.1"]);
    home.run_with(&[("TEMPORAL_CLI", "/nowhere/temporal")], &["up"]).await.is_blocked(&["TEMPORAL_CLI"]);

    let fresh = Home::new();
    fresh.run(&["audit"]).await.is_blocked(&["OMS__DATA_DIR"]);
    assert_eq!(fresh.run(&["migrate"]).await.code, Some(0));
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', 1, x'00', 1)";
    sqlx::query(newer).execute(&mut database(&fresh, "oms.db").await).await.unwrap();
    for command in ["up", "migrate", "api", "audit"] {
        fresh.run(&[command]).await.is_blocked(&["999"]);
    }
}

#[tokio::test]
async fn the_demo_proves_its_books_again_and_again_and_its_orders_can_be_read_with_nothing_else_running() {
    let home = Home::new();
    for (run, orders) in ["14", "6"].into_iter().enumerate() {
        let demo = home.run(&["demo", "--orders", orders, "--exit"]).await;
        assert_eq!(demo.code, Some(0), "{}\n{}", demo.out, demo.err);
        assert!(demo.out.contains("books balanced"), "{}", demo.out);
        let fates = ["delivered", "card declined", "out of stock", "cancelled at once"];
        assert!(run > 0 || fates.iter().all(|fate| demo.out.contains(fate)), "{}", demo.out);
    }
    let audit = home.run(&["audit", "--json"]).await;
    let verdict: Value = serde_json::from_str(&audit.out).unwrap();
    assert_eq!((audit.code, &verdict["balanced"], &verdict["counts"]["orders"]), (Some(0), &json!(true), &json!(20)));

    let alone = port();
    let mut api = home.start(&["api"], &[("OMS__API__LISTEN", &format!("127.0.0.1:{alone}"))]);
    let http = Http::new(alone);
    until("the API answers", LONG, || async { http.try_get("/livez").await }).await;
    let orders: Vec<Value> = http.pages("/v1/orders?limit=6").await.concat();
    assert_eq!(orders.len(), 20);
    for order in &orders {
        let id = order["id"].as_str().unwrap();
        assert_eq!(http.order(id).await["status"], order["status"]);
        assert!(!http.timeline(id).await.is_empty());
    }
    let began = Instant::now();
    is_unavailable(&http.place("lonely", 10, &order("DEMO-MUG", 1)).await);
    in_time(began);
    assert_eq!(http.get("/readyz").await.status, 503);
    // what the API lacks may come later, and it finds it by itself
    let stack = Stack::up(home).await;
    turns(&http, 200).await;
    let placed = http.place("lonely", 20, &order("DEMO-MUG", 1)).await.is(201);
    assert_eq!(placed.text_at("/status"), "confirmed", "{}", placed.text);
    signal(api.id(), "TERM");
    assert_eq!(stack.home.ended(&mut api, LONG).await, Some(0));
}

/// Nobody is called this, and no other test writes it.
const CANARIES: [&str; 6] =
    ["Quetzalcoatl", "quetzal.bird", "Fledermausgasse", "Hinterhaus 4711", "Tripsdrill", "+4930999888777"];

#[tokio::test]
async fn a_customer_is_found_nowhere_but_in_sql_and_messages() {
    let stack = shared().await;
    let http = stack.http();
    let sku = fresh("CANARY");
    http.sell(&sku, "berlin", 10, 1_000).await;
    let body = |method: &str| {
        let mut body = order_of(method, &[(&sku, 1)]);
        body["customer"] =
            json!({"id": "c-canary", "name": CANARIES[0], "email": "quetzal.bird@example.com", "phone": CANARIES[5]});
        body["ship_to"] = json!({"name": CANARIES[0], "line1": format!("{} 3", CANARIES[2]), "line2": CANARIES[3], "city": CANARIES[4], "postal_code": "74389", "country": "DE"});
        body
    };
    let id = http.confirmed(&body("pm_card_visa")).await;
    let declined = http.place(&fresh("key"), 20, &body("pm_card_chargeDeclined")).await.is(201).text_at("/id").to_owned();
    let cancelled = http.confirmed(&body("pm_card_visa")).await;
    http.cancel(&cancelled).await.is(200);
    http.get("/v1/orders?email=quetzal.bird@example.com").await.is(200);
    let mut bad = body("pm_card_visa");
    bad["customer"]["email"] = json!("quetzal.bird@");
    http.place(&fresh("key"), 0, &bad).await.refuses(422, "validation_failed", Some("/customer/email"));
    http.booked(&id).await;
    http.move_on(&id, &["picked", "shipped", "delivered"]).await;
    http.reaches(&id, "completed").await;
    http.reaches(&cancelled, "cancelled").await;
    let mut sql = database(&stack.home, "oms.db").await;
    let mut batches = BTreeSet::new();
    for order in [&id, &declined, &cancelled] {
        until("all messages are settled", LONG, || async {
            let mut sql = database(&stack.home, "oms.db").await;
            let open = "SELECT count(*) AS n FROM messages WHERE order_id = ? AND state NOT IN ('sent', 'dropped')";
            let open: i64 = sqlx::query(open).bind(order).fetch_one(&mut sql).await.unwrap().get("n");
            (open == 0).then_some(())
        })
        .await;
        let rows = sqlx::query("SELECT batch_id FROM messages WHERE order_id = ?").bind(order).fetch_all(&mut sql).await.unwrap();
        batches.extend(rows.iter().map(|row| row.get::<String, _>("batch_id")));
    }
    let rows = sqlx::query("SELECT body FROM outbox WHERE order_id = ?").bind(&id).fetch_all(&mut sql).await.unwrap();
    let outbox: String = rows.iter().map(|row| row.get::<String, _>("body")).collect();

    let history = |workflow: String| {
        let address = format!("127.0.0.1:{}", stack.home.temporal);
        let shown = Command::new(cli())
            .args([
                "workflow",
                "show",
                "--namespace",
                "oms",
                "--output",
                "json",
                "--address",
                &address,
                "--workflow-id",
                &workflow,
            ])
            .output()
            .unwrap();
        decoded(&serde_json::from_slice(&shown.stdout).expect("a history"))
    };
    // where it is looked for, and what must be found there, so that a look at the wrong place does not pass
    let mut places = vec![
        ("outbox".to_owned(), outbox, id.clone()),
        ("published events".to_owned(), read(stack, "events.ndjson"), id.clone()),
        ("log".to_owned(), std::fs::read_to_string(stack.log()).unwrap(), "DEBUG".to_owned()),
        ("metrics".to_owned(), http.get("/metrics").await.is(200).text, "oms_orders_placed_total".to_owned()),
        ("the server's database".to_owned(), read(stack, "temporal.db") + &read(stack, "temporal.db-wal"), id.clone()),
    ];
    for order in [&id, &declined, &cancelled] {
        places.push((format!("history of {order}"), history(format!("order/{order}")), sku.clone()));
    }
    assert!(!batches.is_empty());
    for batch in batches {
        places.push((format!("history of {batch}"), history(format!("mailout/{batch}")), "notification.send".to_owned()));
    }
    for (place, text, control) in &places {
        assert!(text.contains(control.as_str()), "{place} was not read: no {control} in {} bytes", text.len());
        for canary in CANARIES {
            assert!(!text.contains(canary), "{canary} is in the {place}");
        }
    }
    let mails = std::fs::read_dir(stack.home.data().join("mail")).unwrap();
    let told =
        mails.filter(|e| String::from_utf8_lossy(&std::fs::read(e.as_ref().unwrap().path()).unwrap()).contains("quetzal.bird"));
    assert!(told.count() >= 4, "the customer was written to");
}

/// All texts of a history, payloads decoded.
fn decoded(value: &Value) -> String {
    match value {
        Value::Array(values) => values.iter().map(decoded).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value.as_str() {
                Some(text) if name == "data" => base64(text),
                _ => decoded(value),
            })
            .collect(),
        Value::String(text) => format!("{text}\n"),
        _ => String::new(),
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|d| *d == byte));
    let (mut bits, mut count, mut bytes) = (0, 0, Vec::new());
    for digit in digits {
        (bits, count) = (bits << 6 | digit & 63, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 255).unwrap());
            bits &= (1 << count) - 1;
        }
    }
    format!("{}\n", String::from_utf8_lossy(&bytes))
}

/// A file of the data directory, whatever its bytes.
fn read(stack: &Stack, file: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(stack.home.data().join(file)).unwrap_or_default()).into_owned()
}

#[tokio::test]
async fn the_document_and_the_pages_are_served() {
    let http = shared().await.http();
    let document = http.get("/openapi.json").await.is(200).body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let printed = shared().await.home.run(&["openapi"]).await;
    assert_eq!(serde_json::from_str::<Value>(&printed.out).unwrap(), document);
    let paths: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in ["/v1/orders", "/v1/orders/{id}/cancel", "/v1/shipments/{id}/events", "/v1/sandbox/payments"] {
        assert!(paths.contains(path), "{path} in {paths:?}");
    }
    let page = http.send(http.request(Method::GET, "/docs")).await;
    assert!(page.status == 200 && page.header("content-type").starts_with("text/html"), "{page:?}");
}
