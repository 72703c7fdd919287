//! The audit has teeth: each invariant is broken by hand, one at a time, in the files of a real stack, and the report names it and
//! the order or SKU.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use futures::StreamExt;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use temporalio_client::WorkflowTerminateOptions;

use oms_contract::workflow as mark;

use crate::support::http::{Http, fresh, order};
use crate::support::stack::{Ended, Home, LONG, Stack};
use crate::support::until;

/// Audits under way at once.
const AT_ONCE: usize = 8;

/// A database as a hand that respects nothing opens it.
async fn open(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false).busy_timeout(LONG);
    let mut sql = options.connect().await.unwrap();
    sql.execute("PRAGMA ignore_check_constraints = ON").await.unwrap();
    sql
}

async fn execute(path: &Path, statements: &str) -> u64 {
    let mut sql = open(path).await;
    let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut sql).await.unwrap();
    sql.close().await.unwrap();
    done.rows_affected()
}

/// What the books hold: one order delivered and refunded in part, one cancelled after its courier was booked, one open. Each has an article of its own.
struct Books {
    delivered: String,
    cancelled: String,
    open: String,
}

async fn written(http: &Http) -> Books {
    for sku in ["DELIVERED", "CANCELLED", "OPEN"] {
        http.sell(sku, "berlin", 10, 1_000).await;
    }
    let delivered = http.confirmed(&order("DELIVERED", 2)).await;
    let cancelled = http.confirmed(&order("CANCELLED", 2)).await;
    let open = http.confirmed(&order("OPEN", 2)).await;
    for id in [&delivered, &cancelled, &open] {
        http.booked(id).await;
    }
    http.move_on(&delivered, &["shipped", "delivered"]).await;
    http.cancel(&cancelled).await.is(200);
    http.reaches(&delivered, "completed").await;
    http.reaches(&cancelled, "cancelled").await;
    let back = json!({"lines": [{"sku": "DELIVERED", "quantity": 1}], "reason": "broken"});
    http.post(&format!("/v1/orders/{delivered}/refunds"), &back).await.is(201);
    http.order_where(&delivered, "refunded in part", |order| order["totals"]["refunded"]["amount"].as_i64() > Some(0)).await;
    Books { delivered, cancelled, open }
}

/// Where a hand breaks the books.
enum Hand {
    /// Statements on our database.
    Sql(String),
    /// Statements on the database of the sandbox's parties.
    Party(String),
    /// The file of the first message of an order goes.
    Mail(String),
    /// A file that no message belongs to.
    Stray,
}

/// An invariant, what the report must name, and the hand that breaks it.
fn breaks(books: &Books) -> Vec<(&'static str, String, Hand)> {
    let Books { delivered: d, cancelled: c, open: o } = books;
    let sku = |name: &str| name.to_owned();
    let sql = |text: String| Hand::Sql(text);
    let party = |text: String| Hand::Party(text);
    let long_ago = "2020-01-01T00:00:00.000000+00:00";
    vec![
        ("stock_conserved", sku("DELIVERED"), sql("UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'DELIVERED'".into())),
        ("stock_conserved", sku("OPEN"), sql("DELETE FROM movements WHERE sku = 'OPEN'".into())),
        ("reservations_add_up", sku("OPEN"), sql("UPDATE stock SET reserved = reserved - 1 WHERE sku = 'OPEN'".into())),
        ("never_oversold", sku("OPEN"), sql("UPDATE stock SET on_hand = 1 WHERE sku = 'OPEN'".into())),
        (
            "totals_add_up",
            d.clone(),
            sql(format!("UPDATE orders SET totals = json_set(totals, '$.tax.amount', 1) WHERE id = '{d}'")),
        ),
        (
            "totals_add_up",
            o.clone(),
            sql(format!("UPDATE orders SET life = json_set(life, '$.shipments[0].amount.amount', 1) WHERE id = '{o}'")),
        ),
        (
            "committed_as_shipped",
            d.clone(),
            sql(format!("UPDATE reservation_lines SET committed = committed - 1 WHERE order_id = '{d}'")),
        ),
        ("reservation_stands", o.clone(), sql(format!("UPDATE reservation_lines SET quantity = 1 WHERE order_id = '{o}'"))),
        ("no_open_undo", c.clone(), sql(format!("UPDATE reservations SET state = 'confirmed' WHERE order_id = '{c}'"))),
        ("no_open_undo", c.clone(), sql(format!("UPDATE bookings SET cancelled_at = NULL WHERE order_id = '{c}'"))),
        ("no_open_undo", c.clone(), party(format!("UPDATE payments SET status = 'authorized' WHERE order_id = '{c}'"))),
        (
            "timeline_unaltered",
            d.clone(),
            sql(format!("UPDATE timeline SET actor = 'somebody else' WHERE order_id = '{d}' AND seq = 2")),
        ),
        ("timeline_without_gaps", d.clone(), sql(format!("DELETE FROM timeline WHERE order_id = '{d}' AND seq = 2"))),
        ("facts_in_outbox", d.clone(), sql(format!("DELETE FROM outbox WHERE order_id = '{d}' AND seq = 3"))),
        (
            "facts_published",
            o.clone(),
            sql(format!("UPDATE outbox SET published_at = NULL, created_at = '{long_ago}' WHERE order_id = '{o}' AND seq = 2")),
        ),
        (
            "ended_order_has_no_run",
            o.clone(),
            sql(format!(
                "UPDATE orders SET status = 'completed', life = json_set(life, '$.status', 'completed'), updated_at = '{long_ago}' \
                 WHERE id = '{o}'"
            )),
        ),
        (
            "open_order_has_run",
            d.clone(),
            sql(format!("UPDATE orders SET status = 'shipped', life = json_set(life, '$.status', 'shipped') WHERE id = '{d}'")),
        ),
        ("captured_within_authorized", d.clone(), party(format!("UPDATE payments SET authorized = 1 WHERE order_id = '{d}'"))),
        (
            "refunded_within_captured",
            d.clone(),
            party(format!("UPDATE payments SET refunded = captured + 1 WHERE order_id = '{d}'")),
        ),
        (
            "captured_as_shipped",
            d.clone(),
            sql(format!(
                "UPDATE payment_operations SET amount_minor = amount_minor - 1 WHERE order_id = '{d}' AND kind = 'capture'"
            )),
        ),
        (
            "captured_as_shipped",
            d.clone(),
            sql(format!("UPDATE orders SET life = json_set(life, '$.payment.captured.amount', 1) WHERE id = '{d}'")),
        ),
        ("ledgers_agree", d.clone(), party(format!("DELETE FROM payment_operations WHERE key LIKE '{d}%' AND kind = 'capture'"))),
        ("ledgers_agree", o.clone(), party(format!("DELETE FROM payments WHERE order_id = '{o}'"))),
        ("ledgers_agree", o.clone(), sql(format!("DELETE FROM payment_operations WHERE order_id = '{o}'"))),
        (
            "payment_has_order",
            "nobody-knows".into(),
            party(format!("UPDATE payments SET order_id = 'nobody-knows' WHERE order_id = '{o}'")),
        ),
        (
            "one_live_authorization",
            o.clone(),
            party(format!(
                "INSERT INTO payments (payment_id, order_id, authorize_key, method, status, currency, requested, authorized, created_at) \
                 SELECT 'pay_second', order_id, authorize_key || '-2', method, status, currency, requested, authorized, created_at \
                 FROM payments WHERE order_id = '{o}'"
            )),
        ),
        ("refunds_add_up", d.clone(), sql(format!("UPDATE orders SET refunded_minor = refunded_minor - 1 WHERE id = '{d}'"))),
        ("refunds_add_up", d.clone(), party(format!("UPDATE payments SET refunded = refunded - 1 WHERE order_id = '{d}'"))),
        (
            "refund_has_run",
            d.clone(),
            sql(format!(
                "UPDATE refunds SET settled_at = NULL, state = 'refused', updated_at = '{long_ago}' WHERE order_id = '{d}'"
            )),
        ),
        (
            "waiting_first",
            sku("OPEN"),
            sql(format!(
                "INSERT INTO backorders (order_id, sku, revision, quantity, strategy, placed_at, queued_at) \
                 VALUES ('{o}', 'OPEN', 1, 1, 'priority', '{long_ago}', '{long_ago}')"
            )),
        ),
        (
            "no_open_undo",
            c.clone(),
            sql(format!(
                "UPDATE orders SET life = json_set(life, '$.waiting', json('[{{\"sku\":\"CANCELLED\",\"quantity\":1}}]')) WHERE id = '{c}'"
            )),
        ),
        (
            "failed_message_has_item",
            d.clone(),
            sql(format!("UPDATE messages SET state = 'failed' WHERE order_id = '{d}' AND topic = 'confirmed'")),
        ),
        ("bookings_agree", d.clone(), party(format!("UPDATE bookings SET status = 'cancelled' WHERE shipment_id = '{d}-1'"))),
        (
            "messages_settled",
            d.clone(),
            sql(format!(
                "UPDATE messages SET state = 'pending', fact_at = '{long_ago}' WHERE order_id = '{d}' AND topic = 'confirmed'; \
                 UPDATE orders SET updated_at = '{long_ago}' WHERE id = '{d}'"
            )),
        ),
        ("messages_written", d.clone(), Hand::Mail(d.clone())),
        ("messages_written", "m-nobody".into(), Hand::Stray),
    ]
}

async fn break_by(hand: &Hand, data: &Path) {
    match hand {
        Hand::Sql(text) => assert!(execute(&data.join("oms.db"), text).await > 0, "{text} changed nothing"),
        Hand::Party(text) => assert!(execute(&data.join("sandbox.db"), text).await > 0, "{text} changed nothing"),
        Hand::Mail(id) => {
            let first = "SELECT id FROM messages WHERE order_id = ? AND channel = 'mail' LIMIT 1";
            let row = sqlx::query(first).bind(id).fetch_one(&mut open(&data.join("oms.db")).await).await.unwrap();
            fs::remove_file(data.join(format!("mail/{}.eml", row.get::<String, _>("id")))).unwrap();
        }
        Hand::Stray => fs::write(data.join("mail/m-nobody.eml"), "Subject: boo\n\n").unwrap(),
    }
}

/// Copies the books while they are in use.
async fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["oms.db", "sandbox.db"] {
        let mut sql = open(&from.join(name)).await;
        let vacuum = format!("VACUUM INTO '{}'", to.join(name).display());
        sqlx::raw_sql(AssertSqlSafe(vacuum)).execute(&mut sql).await.unwrap();
        sql.execute("SELECT 1").await.unwrap();
    }
    for folder in ["mail", "sms"] {
        fs::create_dir_all(to.join(folder)).unwrap();
        for entry in fs::read_dir(from.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.join(folder).join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// Audits a copy of the books against the running server.
async fn audit(home: &Home, data: &Path) -> Ended {
    let server = format!("127.0.0.1:{}", home.temporal);
    let env = [("OMS__DATA_DIR", data.to_str().unwrap()), ("TEMPORAL_ADDRESS", server.as_str())];
    home.run_with(&env, &["audit", "--json"]).await
}

fn findings(ended: &Ended) -> Vec<(String, String)> {
    let verdict: Value = serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    let list = verdict["findings"].as_array().unwrap();
    assert_eq!(verdict["balanced"], json!(list.is_empty()));
    let subject = |f: &Value| ["order_id", "sku", "message_id"].iter().find_map(|k| f[*k].as_str()).unwrap().to_owned();
    list.iter().map(|f| (f["invariant"].as_str().unwrap().to_owned(), subject(f))).collect()
}

#[tokio::test]
async fn every_invariant_broken_by_hand_is_found_and_names_its_order_or_sku() {
    let stack = Stack::up(Home::new().with("OMS__PRICING__TAX_BPS", 1_900)).await;
    let home = &stack.home;
    let books = written(&stack.http()).await;
    until("all is told and the books balance", LONG, || async {
        let mut sql = open(&home.data().join("oms.db")).await;
        let open = "SELECT (SELECT count(*) FROM messages WHERE state NOT IN ('sent', 'dropped')) + (SELECT count(*) FROM outbox WHERE published_at IS NULL) AS n";
        let open: i64 = sqlx::query(open).fetch_one(&mut sql).await.unwrap().get("n");
        (open == 0).then_some(())
    })
    .await;
    let sound = home.path().join("sound");
    copy(&home.data(), &sound).await;
    let ended = audit(home, &sound).await;
    assert_eq!((ended.code, findings(&ended)), (Some(0), Vec::new()), "a copy that nobody touched balances");

    let breaks = breaks(&books);
    let audits = futures::stream::iter(breaks.iter().enumerate()).map(|(number, (invariant, culprit, hand))| {
        let (data, sound) = (home.path().join(format!("broken-{number}")), &sound);
        async move {
            copy(sound, &data).await;
            break_by(hand, &data).await;
            (invariant, culprit, number, audit(home, &data).await)
        }
    });
    let audits: Vec<_> = audits.buffer_unordered(AT_ONCE).collect().await;
    let mut shown = BTreeSet::new();
    for (invariant, culprit, number, ended) in audits {
        assert_eq!(ended.code, Some(1), "break {number}, {invariant} of {culprit}: {ended:?}");
        let found = findings(&ended);
        assert!(
            found.contains(&((*invariant).to_owned(), culprit.clone())),
            "break {number}: no {invariant} of {culprit} in {found:?}"
        );
        let named: BTreeSet<&str> = found.iter().map(|(_, subject)| subject.as_str()).collect();
        assert!(named.len() <= 2, "break {number} of {culprit} accuses others: {named:?}");
        shown.insert(*invariant);
    }
    let sources = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit")).unwrap();
    let rules: String = sources
        .map(|e| e.unwrap().path())
        .filter(|p| p.to_string_lossy().ends_with("_rules.rs"))
        .map(|p| fs::read_to_string(p).unwrap())
        .collect();
    let made = rules
        .split("Finding::")
        .skip(1)
        .filter_map(|rest| rest.split_once('(')?.1.trim_start().strip_prefix('"')?.split('"').next());
    // a run without a row must be a minute old before it counts: shown beside the rule itself
    let known: BTreeSet<&str> = made.filter(|name| *name != "run_has_order").collect();
    assert!(known.len() >= 15, "the rules are read: {known:?}");
    let missing: BTreeSet<&str> = known.difference(&shown).copied().collect();
    assert!(missing.is_empty(), "invariants that nobody breaks: {missing:?}");
}

#[tokio::test]
async fn beside_a_live_stack_and_on_a_stopped_one_the_audit_sees_what_is_broken_and_what_is_mended() {
    let mut stack = Stack::up(Home::new()).await;
    let http = stack.http();
    http.sell("MUG", "berlin", 10, 1_000).await;
    let id = http.confirmed(&order("MUG", 1)).await;
    http.place(&fresh("key"), 20, &order("MUG", 99)).await.is(201);
    let finds = async |stack: &Stack, words: &[&str]| {
        let ended = stack.home.run(&["audit"]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(words.iter().all(|w| ended.out.contains(w)) && ended.out.contains("books NOT balanced"), "{}", ended.out);
    };
    stack.audited().await;
    let database = stack.home.data().join("oms.db");
    execute(&database, "UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'MUG'").await;
    finds(&stack, &["stock_conserved", "MUG"]).await;
    assert_eq!(stack.stop().await, Some(0));
    finds(&stack, &["stock_conserved", "MUG"]).await;
    execute(&database, "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'MUG'").await;
    stack.audited().await;
    stack.start().await;
    let run = stack.client().await.get_workflow_handle::<mark::Order>(format!("order/{id}"));
    run.terminate(WorkflowTerminateOptions::default()).await.unwrap();
    finds(&stack, &["open_order_has_run", &id]).await;
}
