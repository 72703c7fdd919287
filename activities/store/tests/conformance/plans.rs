//! How Postgres answers the statements that run all the time: each by an index. The server itself says so of every statement that the verbs
//! send (its module `auto_explain`), in a shop with 50 000 orders; docs/postgres.md lists it.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};

use oms_domain::event::FactKind;
use oms_domain::ids::CustomerId;
use oms_domain::message::Topic;
use oms_domain::order::{Reason, Status};
use oms_domain::party::Party;
use oms_domain::shipment::ScanType;
use oms_store::*;
use serde_json::Value;
use sqlx::{ConnectOptions, Connection};
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::world::*;

/// Has the server send the plan of every statement to whoever sent the statement.
const EXPLAINED: &str = "options=-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 \
                         -c auto_explain.log_level=notice -c auto_explain.log_format=json";
/// Tables that stay small however large the shop is: a look at all of their rows is as good as an index.
const SMALL: [&str; 6] = ["circuits", "locations", "outbox_end", "sink_lanes", "switches", "webhooks"];
/// What looks at all rows nevertheless: verb and table. Counting means counting.
const COUNTS: [(&str, &str); 1] = [("circuit", "parked_calls")];

const BEGIN: &str = "<!-- plans: written by the test `the_hot_statements_walk_indexes` -->\n";
const END: &str = "<!-- end of plans -->";

/// Hears the notices of the server.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "message" {
                    value.clone_into(&mut self.0);
                }
            }
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        if event.metadata().target() == "sqlx::postgres::notice" {
            let mut message = Message(String::new());
            event.record(&mut message);
            self.0.lock().unwrap().push(message.0);
        }
    }
}

/// The rows of the document, and what is wrong with them.
#[derive(Default)]
struct Plans {
    ear: Ear,
    rows: Vec<String>,
    scans: Vec<String>,
}

impl Plans {
    /// Notes how a verb's statements were answered.
    async fn of<T>(&mut self, verb: &str, run: impl Future<Output = Result<T>>) -> T {
        self.ear.0.lock().unwrap().clear();
        let answer = run.await.unwrap_or_else(|error| panic!("{verb}: {error}"));
        let heard = std::mem::take(&mut *self.ear.0.lock().unwrap());
        assert!(!heard.is_empty(), "{verb}: the server said nothing");
        let mut statements: Vec<String> = Vec::new();
        for notice in heard {
            let Some((_, json)) = notice.split_once("plan:\n") else { continue };
            let explained: Value = serde_json::from_str(json).unwrap();
            let mut steps = Vec::new();
            walk(&explained["Plan"], &mut steps);
            for table in steps.iter().filter_map(|step| step.strip_prefix("Seq Scan ")) {
                if !SMALL.contains(&table) && !COUNTS.contains(&(verb, table)) {
                    self.scans.push(format!("{verb}: all of {table}, by {}", explained["Query Text"]));
                }
            }
            let statement = steps.join(", ");
            if !steps.is_empty() && !statements.contains(&statement) {
                statements.push(statement);
            }
        }
        self.rows.push(format!("| {verb} | {} |", statements.join("; ")));
        answer
    }
}

/// The steps of a plan that look rows up, or sort them.
fn walk(node: &Value, steps: &mut Vec<String>) {
    let text = |key: &str| node[key].as_str();
    let step = match (text("Node Type").unwrap(), text("Index Name"), text("Relation Name")) {
        ("Bitmap Index Scan", Some(index), _) => Some(format!("Bitmap `{index}`")),
        (kind, Some(index), _) => Some(format!("{} `{index}`", kind.trim_end_matches(" Scan"))),
        ("Seq Scan", None, Some(table)) => Some(format!("Seq Scan {table}")),
        ("ModifyTable", _, _) if node["Conflict Arbiter Indexes"].is_array() => {
            let arbiters = node["Conflict Arbiter Indexes"].as_array().unwrap().iter().map(|index| index.as_str().unwrap());
            Some(format!("Conflict `{}`", arbiters.collect::<Vec<_>>().join("`, `")))
        }
        _ => None,
    };
    if let Some(step) = step
        && !steps.contains(&step)
    {
        steps.push(step);
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        walk(child, steps);
    }
}

/// A database with the shop in it, and its store whose statements are explained.
async fn shop() -> Store {
    let world = World::postgres().await;
    world.stocked("a", "berlin", 1_000_000).await;
    world.placed("template", 0).await;
    for id in ["hook-aaaa", "hook-bbbb"] {
        let (url, secret) = ("https://example.com/".to_owned(), WebhookSecret("whsec_one".to_owned()));
        let hook = NewWebhook { id: id.to_owned(), url, description: None, kinds: Vec::new(), secret };
        world.store.create_webhook(&hook, 9, at(0)).await.unwrap().unwrap();
    }
    let options: sqlx::postgres::PgConnectOptions = world.url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    // one by one: VACUUM runs in no transaction
    for statement in include_str!("plans/shop.sql").split(";\n") {
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    Store::connect(&format!("{}?{}", world.url, EXPLAINED.replace(' ', "%20"))).await.unwrap()
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn the_hot_statements_walk_indexes() {
    let store = shop().await;
    let mut plans = Plans::default();
    let _heard = tracing::subscriber::set_default(tracing_subscriber::registry().with(plans.ear.clone()));
    orders(&store, &mut plans).await;
    lists(&store, &mut plans).await;
    queues(&store, &mut plans).await;
    counts(&store, &mut plans).await;
    assert!(plans.scans.is_empty(), "these look at every row:\n{}", plans.scans.join("\n"));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/postgres.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let table = format!("\n| Verb | Looked up by |\n|---|---|\n{}\n\n", plans.rows.join("\n"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    // which of two good indexes is walked depends on the sample that the statistics are made of; that one is, does not
    let verbs = |table: &str| -> BTreeSet<String> {
        table.lines().filter_map(|row| row.strip_prefix("| ")?.split(" |").next().map(str::to_owned)).collect()
    };
    assert_eq!(verbs(written), verbs(&table), "docs/postgres.md lists other verbs: run with UPDATE_GOLDEN=1 and read the diff");
}

/// What one order goes through.
async fn orders(store: &Store, plans: &mut Plans) {
    let now = at(60_000);
    let (id, shipment) = (order_id("plan"), shipment_id("plan", 1));
    let new = NewOrder { lines: vec![NewLine { sku: sku("sku-7"), quantity: 2 }], ..new_order("plan") };
    let key = claim("plan", "body");
    plans.of("claim_key", store.claim_key(&key, now)).await;
    plans.of("intake", store.intake(&new, &RULES, now)).await;
    plans.of("finish_key", store.finish_key(&key, 201, id.as_str(), now)).await;
    plans.of("evidence", store.evidence(&id, std::time::Duration::from_secs(86_400))).await;
    let wish = Reserve { expires_at: at(61_000), placed_at: now, ..wish("plan", 1, &[("sku-7", 2), ("sku-8", 1)]) };
    plans.of("reserve", store.reserve(&wish, now)).await;
    let row = AuthorizationRow {
        payment_id: Some("pay-plan".to_owned()),
        outcome: AuthorizationOutcome::Held,
        amount: eur(2_490),
        expires_at: None,
        code: None,
        action_url: None,
    };
    plans.of("record_authorization", store.record_authorization(&id, "plan-key", row, now)).await;
    let facts =
        vec![fact("placed", FactKind::OrderPlaced), fact("confirmed", FactKind::OrderConfirmed).told_as(Topic::Confirmed)];
    let mut confirmed = life(Status::Confirmed);
    confirmed.shipments.push(oms_domain::shipment::Shipment {
        lines: quantities(&[("sku-7", 2), ("sku-8", 1)]),
        ..crate::world::shipment("plan", 1, oms_domain::shipment::ShipmentStatus::Pending)
    });
    let record = Record { confirm: true, ..record("plan", 1, confirmed, facts) };
    plans.of("record", store.record(&record, now)).await;
    plans.of("record_scan", store.record_scan(&scan("plan", "scan-1", ScanType::Picked), now)).await;
    plans.of("heard", store.heard(&shipment, "scan-1")).await;
    plans.of("commit_stock", store.commit_stock(&parcel("plan", "berlin", &[("sku-7", 2), ("sku-8", 1)]), now)).await;
    plans.of("release", store.release(&id, now)).await;
    plans.of("depart", store.depart(&parcel("other", "berlin", &[("sku-9", 1)]), now)).await;
    plans.of("order", store.order(&id)).await;
    plans.of("timeline", store.timeline(&id)).await;
    plans.of("payment_operations", store.payment_operations(&id)).await;
    plans.of("refunds", store.refunds(&id)).await;
    plans.of("messages_of", store.messages_of(&id)).await;
    plans.of("events_of", store.events_of(&id, 0, 50)).await;
    plans.of("stock", store.stock(&sku("sku-7"), now)).await;
    plans.of("stocks", store.stocks(Some(&sku("sku-7")), 50, now)).await;
    plans.of("product", store.product(&sku("sku-7"))).await;
}

/// Pages of lists, each filter.
async fn lists(store: &Store, plans: &mut Plans) {
    let after = Cursor { placed_at: at(49_000), id: order_id("plan") };
    let all = OrderFilter::default;
    for (name, filter) in [
        ("all", all()),
        ("status", OrderFilter { status: Some(Status::Confirmed), ..all() }),
        ("reason", OrderFilter { reason: Some(Reason::OutOfStock), ..all() }),
        ("customer", OrderFilter { customer: Some(CustomerId::parse("c-7").unwrap()), ..all() }),
        ("email", OrderFilter { email: Some("c-7@example.com".to_owned()), ..all() }),
        ("reference", OrderFilter { reference: Some("ref-7".to_owned()), ..all() }),
        ("attention", OrderFilter { needs_attention: Some(true), ..all() }),
        ("article", OrderFilter { sku: Some(sku("sku-7")), ..all() }),
        ("package", OrderFilter { tracking_number: Some("track-7".to_owned()), ..all() }),
        ("hold", OrderFilter { hold: Some("kind-1".to_owned()), ..all() }),
    ] {
        plans.of(&format!("orders: {name}"), store.orders(&filter, Some(&after), 50)).await;
    }
    let after = ItemCursor { opened_at: at(100), id: "item-100".to_owned() };
    let all = ItemFilter::default;
    let (state, kind) = (Some(ItemState::Open), Some("kind-1".to_owned()));
    for (name, filter) in [
        ("all", all()),
        ("state", ItemFilter { state, ..all() }),
        ("kind", ItemFilter { kind: kind.clone(), ..all() }),
        ("state and kind", ItemFilter { state, kind, ..all() }),
        ("source", ItemFilter { source: Some(ItemSource::Watchdog), ..all() }),
        ("order", ItemFilter { order_id: Some(order_id("plan")), ..all() }),
    ] {
        plans.of(&format!("review_items: {name}"), store.review_items(&filter, Some(&after), 50)).await;
    }
    plans.of("events_after", store.events_after(140_000, 50)).await;
}

/// What processes take from each other.
async fn queues(store: &Store, plans: &mut Plans) {
    let now = at(60_000);
    plans.of("place_events", store.place_events(100)).await;
    plans.of("open_lanes", store.open_lanes(&["test"], now)).await;
    let lanes = plans.of("lease_lanes", store.lease_lanes("test", "me", LANES, at(60_010), now)).await;
    assert!(!lanes.is_empty());
    let events = plans.of("events_in_lane", store.events_in_lane(&lanes[0], 50)).await;
    let end = LaneEnd { lane: lanes[0].lane, position: events.last().unwrap().position.unwrap(), rests_until: None };
    plans.of("leave_lanes", store.leave_lanes("test", "me", &[end], &["test"], now)).await;
    plans.of("owe_webhooks", store.owe_webhooks(50, now)).await;
    let owed = plans.of("claim_deliveries", store.claim_deliveries("hook-aaaa", "me", at(60_010), 20, now)).await;
    plans.of("delivered", store.delivered("hook-aaaa", owed[0].event.position.unwrap(), "me", 200, now)).await;
    plans.of("due_webhooks", store.due_webhooks(now)).await;
    let report = NewInbound {
        source: "payment".to_owned(),
        event_id: "new".to_owned(),
        kind: "k".to_owned(),
        body: "{}".to_owned(),
        due_at: Some(now),
    };
    plans.of("receive_inbound", store.receive_inbound(&report, now)).await;
    plans.of("claim_inbound", store.claim_inbound(at(60_010), 20, now)).await;
    plans.of("order_of_payment", store.order_of_payment("pay-7")).await;
    plans.of("shipment_of_package", store.shipment_of_package("track-7")).await;
    let batch = plans.of("claim_messages", store.claim_messages("batch", 20, now)).await;
    plans.of("claimed_batches", store.claimed_batches(now, 20)).await;
    plans.of("message", store.message(&batch[0])).await;
    plans.of("mark_sent", store.mark_sent(&batch[0], now)).await;
    let wakes = plans.of("wakes", store.wakes(50)).await;
    plans.of("woken", store.woken(&wakes[0])).await;
    plans.of("take_back_lapsed", store.take_back_lapsed(20, now)).await;
    plans.of("unstarted", store.unstarted(now, 50)).await;
    plans.of("unstarted_refunds", store.unstarted_refunds(50)).await;
    plans.of("circuit", store.circuit(Party::Payment, now)).await;
    plans.of("take_turn", store.take_turn(Party::Payment, "call-8", 20, now)).await;
}

/// What gauges count.
async fn counts(store: &Store, plans: &mut Plans) {
    plans.of("count_orders_by_status", store.count_orders_by_status()).await;
    plans.of("count_open_orders", store.count_open_orders_by_shape_and_build()).await;
    plans.of("count_unpublished_events", store.count_unpublished_events()).await;
    plans.of("count_open_items", store.count_open_items()).await;
    plans.of("overdue_orders", store.overdue_orders(at(60_000), 50)).await;
}
