//! Reports of comparisons with others' books, our side of them, and what is deleted by age.

use std::collections::BTreeMap;

use crate::world::*;
use oms_domain::event::FactKind;
use oms_domain::life::Life;
use oms_domain::order::Status;
use oms_domain::reconciliation::{Action, Day, Finding, FindingKind, Remedy, Sums};
use oms_domain::shipment::{ScanResult, ScanType, ShipmentStatus};
use oms_store::*;
use sqlx::{ConnectOptions, Row};

on_both!(
    reports_keep_what_was_found,
    what_is_in_order_again_is_known,
    what_was_not_judged_is_not_in_order,
    our_side_of_the_books,
    what_cannot_be_undone_is_known_whatever_the_record_says,
    open_orders_page_through_every_status,
    an_ended_order_goes_with_all_its_rows,
    an_order_goes_without_what_a_webhook_is_owed,
    nobody_s_case_is_deleted,
    events_keys_items_and_reports_go_by_age,
    what_operators_did_goes_by_age,
);

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn finding(kind: FindingKind, subject: &str, since: i64) -> Finding {
    Finding {
        kind,
        subject: subject.to_owned(),
        order: None,
        detail: "something is wrong".to_owned(),
        since: kept(since),
        remedy: Remedy::Review,
    }
}

fn item_of(finding: &Finding) -> NewItem {
    NewItem {
        id: finding.item(1),
        kind: finding.kind.as_str().to_owned(),
        order_id: None,
        shipment_id: None,
        subject: finding.subject.clone(),
        detail: finding.detail.clone(),
        source: ItemSource::Reconciliation,
    }
}

async fn reports_keep_what_was_found(world: World) {
    let (store, today) = (&world.store, day("2027-01-15"));
    assert_eq!(store.report(&today).await.unwrap(), None);
    for _ in 0..2 {
        store.begin_report(&today, at(10)).await.unwrap();
    }
    let orphan = finding(FindingKind::OrphanPayment, "pay_1", 1);
    let lost = finding(FindingKind::Terminated, "some-order", 2);
    for _ in 0..2 {
        store.write_findings(&today, &[orphan.clone(), lost.clone()], at(11)).await.unwrap();
    }
    assert_eq!(store.unsettled_findings(&today, 9).await.unwrap(), [orphan.clone(), lost.clone()]);
    let item = orphan.item(1);
    store.open_item(&item_of(&orphan), at(12)).await.unwrap();
    store.settle_finding(&today, &orphan, (Action::Queued, Some(&item)), at(12)).await.unwrap();
    store.settle_finding(&today, &lost, (Action::Repaired, None), at(12)).await.unwrap();
    store.settle_finding(&today, &lost, (Action::Queued, Some("another")), at(13)).await.unwrap();
    let shown: Vec<_> = store.findings(&today, 9).await.unwrap().into_iter().map(|f| (f.action, f.review_item)).collect();
    assert_eq!(shown, [(Action::Queued, Some(item.clone())), (Action::Repaired, None)]);

    let compared = ReportCounts { orders: 1, payments: 2, bookings: 3, reservations: 4 };
    store.finish_report(&today, ReportState::Finished, compared, at(14)).await.unwrap();
    let report = store.report(&today).await.unwrap().unwrap();
    assert_eq!((report.state, report.started_at, report.finished_at), (ReportState::Finished, kept(10), Some(kept(14))));
    assert_eq!((report.compared, report.findings), (compared, 2));

    // the day's second comparison: what a person has is left to the person, what broke again is repaired again
    store.begin_report(&today, at(20)).await.unwrap();
    store.write_findings(&today, &[orphan.clone(), lost.clone()], at(21)).await.unwrap();
    assert_eq!(store.unsettled_findings(&today, 9).await.unwrap(), std::slice::from_ref(&lost));
    // and once the person is done with it, it is looked at anew
    assert!(store.settle_item(&item, at(22)).await.unwrap());
    store.write_findings(&today, std::slice::from_ref(&orphan), at(23)).await.unwrap();
    assert_eq!(store.unsettled_findings(&today, 9).await.unwrap(), [orphan, lost]);
    assert_eq!(store.report(&today).await.unwrap().unwrap().findings, 2);

    store.begin_report(&day("2027-01-14"), at(30)).await.unwrap();
    let days = async |after: Option<&Day>| -> Vec<String> {
        store.reports(after, 1).await.unwrap().iter().map(|r| r.day.to_string()).collect()
    };
    assert_eq!(days(None).await, ["2027-01-15"]);
    assert_eq!(days(Some(&today)).await, ["2027-01-14"]);
    assert!(days(Some(&day("2027-01-14"))).await.is_empty());
}

async fn what_is_in_order_again_is_known(world: World) {
    let store = &world.store;
    let days = [day("2027-01-14"), day("2027-01-15")];
    for day in &days {
        store.begin_report(day, at(0)).await.unwrap();
    }
    let (old, gone, still) = (
        finding(FindingKind::OrphanPayment, "pay_old", -900),
        finding(FindingKind::OrphanPayment, "pay_gone", 1),
        finding(FindingKind::OrphanPayment, "pay_still", 1),
    );
    store.write_findings(&days[0], &[old.clone(), gone.clone(), still.clone()], at(10)).await.unwrap();
    for f in [&old, &gone, &still] {
        let item = item_of(f);
        assert!(store.open_item(&item, at(10)).await.unwrap());
        assert!(!store.open_item(&item, at(11)).await.unwrap(), "once");
        store.settle_finding(&days[0], f, (Action::Queued, Some(&item.id)), at(11)).await.unwrap();
    }
    store.write_findings(&days[1], std::slice::from_ref(&still), at(110)).await.unwrap();
    store.settle_finding(&days[1], &still, (Action::Queued, Some(&still.item(1))), at(111)).await.unwrap();
    // what is older than the books that were read may still be wrong
    assert_eq!(store.items_in_order(at(0), at(100), at(100), 9).await.unwrap(), [gone.item(1)]);
    store.settle_item(&gone.item(1), at(120)).await.unwrap();
    assert!(store.items_in_order(at(0), at(100), at(100), 9).await.unwrap().is_empty());
}

/// With a grace, the order of an item may have changed too lately to be judged again.
async fn what_was_not_judged_is_not_in_order(world: World) {
    let store = &world.store;
    completed(&world, "o").await;
    let (id, today) = (order_id("o"), day("2027-01-15"));
    store.begin_report(&today, at(50)).await.unwrap();
    let found = Finding { order: Some(id.clone()), ..finding(FindingKind::LedgerMismatch, "pay_1", 2) };
    store.write_findings(&today, std::slice::from_ref(&found), at(50)).await.unwrap();
    let item = NewItem { order_id: Some(id.clone()), ..item_of(&found) };
    store.open_item(&item, at(51)).await.unwrap();
    store.settle_finding(&today, &found, (Action::Queued, Some(&item.id)), at(51)).await.unwrap();
    let order = store.order(&id).await.unwrap().unwrap();
    assert_eq!((order.items_open, order.updated_at), (true, kept(20)), "the item is no news of the order");
    assert_eq!(store.items_in_order(at(0), at(60), at(55), 9).await.unwrap(), [found.item(1)]);
    store.append(&id, &[fact("refund/1", FactKind::RefundRequested)], Append::default(), None, at(56)).await.unwrap();
    assert!(store.items_in_order(at(0), at(60), at(55), 9).await.unwrap().is_empty(), "it was not judged");
    assert_eq!(store.items_in_order(at(0), at(60), at(57), 9).await.unwrap(), [found.item(1)]);
}

async fn our_side_of_the_books(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 9).await;
    let order = world.placed("o", 0).await;
    for key in ["o", "nobody"] {
        world.reserve(key, &[("a", 2)], 5).await;
    }
    let promised = store.promised(None, 9).await.unwrap();
    let shown: BTreeMap<_, _> = promised.iter().map(|p| (p.order.clone(), (p.units, p.status, p.updated_at))).collect();
    assert_eq!(shown[&order_id("o")], (2, Some(Status::Placed), kept(5)));
    assert_eq!(shown[&order_id("nobody")], (2, None, kept(5)));
    let first = store.promised(None, 1).await.unwrap().remove(0);
    let second = store.promised(Some(&first.order), 1).await.unwrap().remove(0);
    assert_eq!([first, second].as_slice(), promised);
    store.release(&order_id("nobody"), at(6)).await.unwrap();
    assert_eq!(store.promised(None, 9).await.unwrap().len(), 1);

    let authorized = |outcome, code: &str| AuthorizationRow {
        payment_id: Some("pay_1".to_owned()),
        outcome,
        amount: eur(900),
        expires_at: None,
        code: Some(code.to_owned()),
        action_url: None,
    };
    let held = authorized(AuthorizationOutcome::Held, "");
    store
        .record_authorization(&order.id, "k/authorize/1", authorized(AuthorizationOutcome::Declined, "no"), at(1))
        .await
        .unwrap();
    store.record_authorization(&order.id, "k/authorize/2", held.clone(), at(2)).await.unwrap();
    store.record_authorization(&order.id, "k/authorize/3", held, at(3)).await.unwrap();
    for (key, outcome) in [("c/1", CaptureOutcome::Captured), ("c/2", CaptureOutcome::Refused), ("c/3", CaptureOutcome::Captured)]
    {
        let shipment = shipment_id("o", 1);
        store.record_capture(&order.id, key, "pay_1", &shipment, eur(100), outcome, at(4)).await.unwrap();
    }
    world
        .sql(
            "INSERT INTO payment_operations (key, order_id, kind, payment_id, amount_minor, currency, outcome, created_at, at)
             SELECT 'r/1', order_id, 'refund', payment_id, 30, currency, 'returned', created_at, at
             FROM payment_operations WHERE key = 'c/1'",
        )
        .await;
    let sums = store.payment_sums(std::slice::from_ref(&order.id)).await.unwrap();
    assert_eq!(sums, BTreeMap::from([("pay_1".to_owned(), Sums { captured: 200, refunded: 30 })]));
    let asked = store.asked_of(&order.id).await.unwrap();
    assert_eq!(asked.authorizations, ["k/authorize/3", "k/authorize/2"]);

    let books = store.order_books(&[order.id.clone(), order_id("nobody")]).await.unwrap();
    assert_eq!(books.keys().collect::<Vec<_>>(), [&order.id]);
    let ours = books[&order.id].clone().unwrap();
    assert_eq!((ours.total, ours.rev), (order.totals.total, 0));

    // a row that cannot be read is there, and hides no other
    world.sql("UPDATE orders SET life = '{}'").await;
    let other = world.placed("other", 1).await;
    let books = store.order_books(&[order.id.clone(), other.id.clone()]).await.unwrap();
    assert_eq!((books.len(), &books[&order.id], books[&other.id].is_some()), (2, &None, true));
    let open = store.open_orders_after(None, 9).await.unwrap();
    let readable: BTreeMap<_, _> = open.into_iter().map(|(cursor, books)| (cursor.id, books.is_some())).collect();
    assert_eq!(readable, BTreeMap::from([(order.id, false), (other.id, true)]));
}

async fn what_cannot_be_undone_is_known_whatever_the_record_says(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 9).await;
    for key in ["booked", "left", "paid", "reported"] {
        world.placed(key, 0).await;
        world.reserve(key, &[("a", 2)], 1).await;
        let confirmed = Life { shipments: vec![shipment(key, 1, ShipmentStatus::Booked)], ..life(Status::Confirmed) };
        store.record(&Record { confirm: true, ..record(key, 1, confirmed, vec![]) }, at(2)).await.unwrap();
        store.record_scan(&scan(key, "e-1", ScanType::Packed), at(3)).await.unwrap();
        let refused = CaptureOutcome::Refused;
        let (order, operation) = (order_id(key), format!("{key}/refused"));
        store.record_capture(&order, &operation, "pay_1", &shipment_id(key, 1), eur(100), refused, at(3)).await.unwrap();
        assert!(!store.is_past_undo(&order_id(key)).await.unwrap(), "{key}");
    }
    store.commit_stock(&parcel("left", "berlin", &[("a", 2)]), at(4)).await.unwrap();
    let (paid, taken) = (order_id("paid"), CaptureOutcome::Captured);
    store.record_capture(&paid, "paid/taken", "pay_1", &shipment_id("paid", 1), eur(100), taken, at(4)).await.unwrap();
    let told = Record {
        scans: vec![(scan("reported", "e-2", ScanType::Shipped), ScanResult::Applied)],
        ..record("reported", 1, life(Status::Placed), vec![])
    };
    store.record(&told, at(4)).await.unwrap();
    for (key, past) in [("booked", false), ("left", true), ("paid", true), ("reported", true)] {
        assert_eq!(store.is_past_undo(&order_id(key)).await.unwrap(), past, "{key}");
    }
}

async fn open_orders_page_through_every_status(world: World) {
    let store = &world.store;
    let statuses = [Status::Placed, Status::Placed, Status::Confirmed, Status::Shipped, Status::Completed, Status::Cancelled];
    for (n, status) in statuses.into_iter().enumerate() {
        let key = format!("o-{n}");
        world.placed(&key, n as i64).await;
        if status != Status::Placed {
            store.record(&record(&key, 1, life(status), Vec::new()), at(10)).await.unwrap();
        }
    }
    for limit in [1, 2, 3, 9] {
        let mut seen = Vec::new();
        let mut after: Option<OpenCursor> = None;
        loop {
            let page = store.open_orders_after(after.as_ref(), limit).await.unwrap();
            after = page.last().map(|(cursor, _)| cursor.clone());
            let last = page.len() < limit as usize;
            seen.extend(page.into_iter().map(|(_, books)| books.unwrap().id));
            if last {
                break;
            }
        }
        assert_eq!(seen, (0..4).map(|n| order_id(&format!("o-{n}"))).collect::<Vec<_>>(), "pages of {limit}");
    }
}

/// How many rows each table that names orders has of this one.
async fn rows_of(world: &World, order: &str) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    macro_rules! count {
        ($options:ty, $tables:literal) => {{
            let mut sql = world.url.parse::<$options>().unwrap().connect().await.unwrap();
            for table in sqlx::query($tables).fetch_all(&mut sql).await.unwrap() {
                let table: String = table.get(0);
                let count = format!("SELECT COUNT(*) FROM {table} WHERE order_id = '{order}'");
                let rows = sqlx::query(sqlx::AssertSqlSafe(count)).fetch_one(&mut sql).await.unwrap();
                counts.insert(table, rows.get::<i64, _>(0));
            }
        }};
    }
    match world.store.backend() {
        Backend::Sqlite => count!(
            sqlx::sqlite::SqliteConnectOptions,
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'order_id' WHERE m.type = 'table'"
        ),
        Backend::Postgres => count!(
            sqlx::postgres::PgConnectOptions,
            "SELECT table_name::text FROM information_schema.columns WHERE column_name = 'order_id' AND table_schema = current_schema()"
        ),
    }
    counts
}

/// An order with rows wherever a straight life leaves some; completed in second 20.
async fn completed(world: &World, key: &str) {
    let store = &world.store;
    world.stocked("a", "berlin", 9).await;
    let order = world.placed(key, 0).await;
    world.reserve(key, &[("a", 2)], 1).await;
    let confirmed = Life { shipments: vec![shipment(key, 1, ShipmentStatus::Pending)], ..life(Status::Confirmed) };
    let facts = vec![fact("confirmed", FactKind::OrderConfirmed)];
    store.record(&Record { confirm: true, ..record(key, 1, confirmed, facts) }, at(2)).await.unwrap();
    let held = AuthorizationRow {
        payment_id: Some("pay_1".to_owned()),
        outcome: AuthorizationOutcome::Held,
        amount: eur(900),
        expires_at: None,
        code: None,
        action_url: None,
    };
    store.record_authorization(&order.id, &format!("{}/authorize/1", order.id), held, at(2)).await.unwrap();
    store.record_booking_cancelled(&format!("{}/book/1", shipment_id(key, 1)), at(2)).await.unwrap();
    store.commit_stock(&parcel(key, "berlin", &[("a", 2)]), at(3)).await.unwrap();
    let done = Life { shipments: vec![shipment(key, 1, ShipmentStatus::Delivered)], ..life(Status::Completed) };
    let facts = vec![fact("completed", FactKind::OrderCompleted)];
    store.record(&record(key, 2, done, facts), at(20)).await.unwrap();
    world.sql("UPDATE messages SET state = 'sent', settled_at = created_at").await;
}

async fn publish(world: &World) {
    world.publish(21).await;
}

/// A webhook that is down must not keep customers' data, nor miss what happened.
async fn an_order_goes_without_what_a_webhook_is_owed(world: World) {
    let store = &world.store;
    let hook = NewWebhook {
        id: "hook-aaaa".to_owned(),
        url: "https://example.com/".to_owned(),
        description: None,
        kinds: vec!["order.completed".to_owned()],
        secret: WebhookSecret("whsec_one".to_owned()),
    };
    store.create_webhook(&hook, 9, at(0)).await.unwrap();
    completed(&world, "o").await;
    publish(&world).await;
    let id = order_id("o");
    let events = store.events_of(&id, 0, 99).await.unwrap();
    store.owe_webhooks(99, at(22)).await.unwrap();
    store.disable_webhook("hook-aaaa", "it failed", at(23)).await.unwrap();
    assert!(store.purge_order(&id, at(99), at(200)).await.unwrap());
    assert_eq!(store.order(&id).await.unwrap(), None);
    let last = events.last().unwrap();
    let left = store.events_of(&id, 0, 99).await.unwrap();
    assert_eq!(left.iter().collect::<Vec<_>>(), [last], "only what is owed is left");
    store.enable_webhook("hook-aaaa", at(201)).await.unwrap();
    let claimed = store.claim_deliveries("hook-aaaa", "me", at(220), 9, at(202)).await.unwrap();
    assert_eq!(claimed.iter().map(|delivery| &delivery.event).collect::<Vec<_>>(), [last]);
    store.delivered("hook-aaaa", last.position.unwrap(), "me", 200, at(203)).await.unwrap();
    store.purge_outbox(at(210), 9).await.unwrap();
    assert_eq!(store.events_of(&id, 0, 99).await.unwrap(), [], "then it goes by its age");
}

async fn an_ended_order_goes_with_all_its_rows(world: World) {
    let store = &world.store;
    completed(&world, "o").await;
    completed(&world, "other").await;
    let id = order_id("o");
    assert!(!store.purge_order(&id, at(99), at(200)).await.unwrap(), "an event is not published");
    publish(&world).await;
    assert!(!store.purge_order(&id, at(20), at(200)).await.unwrap(), "too young");
    let ended = store.ended_before(at(99), None, 9).await.unwrap();
    assert_eq!(ended.len(), 2);
    assert_eq!(store.ended_before(at(99), Some(&ended[0]), 9).await.unwrap(), ended[1..]);
    assert!(store.ended_before(at(20), None, 9).await.unwrap().is_empty());

    assert_eq!(store.with_timeline_before(at(99), None, 9).await.unwrap(), ended);
    assert!(store.purge_timeline(&id, at(99)).await.unwrap());
    let left = store.with_timeline_before(at(99), None, 9).await.unwrap();
    assert_eq!(left.iter().map(|o| &o.id).collect::<Vec<_>>(), [&order_id("other")]);
    assert!(!store.purge_timeline(&id, at(99)).await.unwrap(), "once");
    assert!(store.timeline(&id).await.unwrap().is_empty() && store.order(&id).await.unwrap().is_some());

    let before = rows_of(&world, order_id("other").as_str()).await;
    assert!(store.purge_order(&id, at(99), at(200)).await.unwrap());
    assert!(!store.purge_order(&id, at(99), at(200)).await.unwrap(), "once");
    assert_eq!(store.order(&id).await.unwrap(), None);
    // stock on hand is the sum of its movements, and what an operator or an upload did is their story
    let kept = ["movements", "import_rows", "redrive_orders", "reconciliation_findings"];
    let left: Vec<_> = rows_of(&world, id.as_str()).await.into_iter().filter(|(_, n)| *n > 0).collect();
    assert!(left.iter().all(|(table, _)| kept.contains(&table.as_str())), "{left:?}");
    assert_eq!(rows_of(&world, order_id("other").as_str()).await, before, "nothing of another order");
    // the same key would make the same id, and its effects the keys of those of the order that is gone
    for again in [new_order("o"), NewOrder { fingerprint: "0".repeat(64), ..new_order("o") }] {
        assert_eq!(store.intake(&again, &RULES, at(300)).await.unwrap(), Intake::Gone);
    }
    assert!(matches!(store.intake(&new_order("new"), &RULES, at(300)).await.unwrap(), Intake::Placed(_)));
    world.balanced(99).await;
}

async fn nobody_s_case_is_deleted(world: World) {
    let store = &world.store;
    completed(&world, "o").await;
    publish(&world).await;
    let (id, before) = (order_id("o"), at(99));
    let waits = async |why: &str| {
        assert!(!store.purge_order(&id, before, at(200)).await.unwrap(), "{why}");
        assert!(!store.purge_timeline(&id, before).await.unwrap(), "{why}");
    };
    let item = NewItem {
        id: "item-0001".to_owned(),
        kind: "lost".to_owned(),
        order_id: Some(id.clone()),
        shipment_id: None,
        subject: id.to_string(),
        detail: "gone".to_owned(),
        source: ItemSource::Watchdog,
    };
    store.open_item(&item, at(21)).await.unwrap();
    waits("an open review item").await;
    store.settle_item("item-0001", at(22)).await.unwrap();

    world
        .sql(
            "INSERT INTO refunds (id, order_id, state, amount_minor, currency, asked, breakdown, reason, actor, terms, created_at,
                 updated_at) SELECT 'refund-1', id, 'requested', 5, 'EUR', '{}', '{}', 'r', 'a', '{}', placed_at, placed_at FROM orders",
        )
        .await;
    waits("an open refund").await;
    world.sql("UPDATE refunds SET state = 'closed', settled_at = updated_at").await;

    world
        .sql(
            "INSERT INTO returns (id, order_id, state, rev, body, refund_shipping, auto_approve, location, reason, actor, terms,
                 created_at, updated_at)
             SELECT 'return-1', id, 'approved', 1, '{}', FALSE, FALSE, 'berlin', 'r', 'a', '{}', placed_at, placed_at FROM orders",
        )
        .await;
    waits("an open return").await;
    world.sql("UPDATE returns SET state = 'expired'").await;

    world
        .sql(
            "INSERT INTO messages (id, order_id, event, topic, channel, fact_at, state, created_at)
             SELECT 'message-1', id, 'late', 'delivered', 'mail', placed_at, 'pending', placed_at FROM orders",
        )
        .await;
    waits("an unsent message").await;
    world.sql("UPDATE messages SET state = 'dropped'").await;

    world.sql("UPDATE reservation_lines SET committed = 1").await;
    waits("stock promised").await;
    world.sql("UPDATE reservation_lines SET committed = quantity").await;

    world.sql("UPDATE orders SET status = 'shipped'").await;
    waits("still open").await;
    world.sql("UPDATE orders SET status = 'completed'").await;
    assert!(store.purge_order(&id, before, at(200)).await.unwrap());
}

async fn events_keys_items_and_reports_go_by_age(world: World) {
    let store = &world.store;
    completed(&world, "o").await;
    let published = store.unpublished(99).await.unwrap().len() as u64;
    world.publish(30).await;
    let unheard = vec![fact("late", FactKind::HoldReleased)];
    store.append(&order_id("o"), &unheard, Append::default(), None, at(31)).await.unwrap();
    assert_eq!(store.purge_outbox(at(30), 9).await.unwrap(), 0, "too young");
    assert_eq!(store.purge_outbox(at(31), 1).await.unwrap(), 1, "in small batches");
    assert_eq!(store.purge_outbox(at(31), 99).await.unwrap(), published - 1);
    assert_eq!(store.events_of(&order_id("o"), 0, 99).await.unwrap().len(), 1, "what nobody has heard of stays");

    for (n, key) in ["k-1", "k-2", "k-3"].into_iter().enumerate() {
        store.claim_key(&claim(key, "f"), at(40 + n as i64)).await.unwrap();
    }
    assert_eq!(store.purge_keys(at(42), 1).await.unwrap(), 1, "in small batches");
    assert_eq!(store.purge_keys(at(42), 9).await.unwrap(), 1);
    assert_eq!(store.claim_key(&claim("k-3", "f"), at(50)).await.unwrap(), Claimed::Again);

    let reports = [day("2027-01-13"), day("2027-01-14"), day("2027-01-15")];
    for report in &reports {
        store.begin_report(report, at(0)).await.unwrap();
    }
    let found = finding(FindingKind::OrphanPayment, "pay_1", 0);
    store.write_findings(&reports[0], std::slice::from_ref(&found), at(1)).await.unwrap();
    let item = item_of(&found);
    store.open_item(&item, at(1)).await.unwrap();
    store.settle_finding(&reports[0], &found, (Action::Queued, Some(&item.id)), at(1)).await.unwrap();
    assert_eq!(store.purge_reports(&reports[2], 9).await.unwrap(), 1, "one of them has an open item");
    assert_eq!(store.purge_items(at(99), 9).await.unwrap(), 0);
    store.settle_item(&item.id, at(60)).await.unwrap();
    assert_eq!(store.purge_items(at(60), 9).await.unwrap(), 0, "too young");
    assert_eq!(store.purge_items(at(61), 9).await.unwrap(), 1);
    assert_eq!(store.purge_reports(&reports[2], 9).await.unwrap(), 1);
    assert!(store.report(&reports[2]).await.unwrap().is_some());
}

async fn what_operators_did_goes_by_age(world: World) {
    let store = &world.store;
    completed(&world, "o").await;
    let item = NewItem {
        id: "item-0001".to_owned(),
        kind: "lost".to_owned(),
        order_id: None,
        shipment_id: None,
        subject: "s".to_owned(),
        detail: "gone".to_owned(),
        source: ItemSource::Watchdog,
    };
    store.open_item(&item, at(30)).await.unwrap();
    store.raise_alerts(&[AlertWay::Mail], std::time::Duration::from_secs(60), at(31)).await.unwrap();
    assert_eq!(store.purge_alerts(at(31), 9).await.unwrap(), 0, "too young");
    store.settle_item("item-0001", at(32)).await.unwrap();
    assert_eq!(store.purge_items(at(33), 9).await.unwrap(), 1);
    assert_eq!(store.purge_alerts(at(32), 9).await.unwrap(), 1);
    assert_eq!(store.purge_alerts(at(99), 9).await.unwrap(), 0, "the alert and what it had told");

    let redrive = |id: &str, ids: Vec<oms_domain::ids::OrderId>| NewRedrive {
        id: id.to_owned(),
        filter: RedriveFilter { ids, ..Default::default() },
        asked: serde_json::json!({}),
        from: RedriveFrom::Now,
        rate: 1,
        actor: "ada".to_owned(),
    };
    store.begin_redrive(&redrive("r-open", vec![order_id("o")]), at(40)).await.unwrap();
    store.begin_redrive(&redrive("r-done", Vec::from([order_id("x")])), at(40)).await.unwrap();
    assert_eq!(store.purge_redrives(at(40), 9).await.unwrap(), 0, "too young");
    assert_eq!(store.purge_redrives(at(99), 9).await.unwrap(), 1, "what is under way stays");
    assert!(store.redrive("r-done").await.unwrap().is_none() && store.redrive("r-open").await.unwrap().is_some());

    world
        .sql(
            "INSERT INTO imports (id, upload, client, state, row_count, placed, refused, created_at, touched_at, started_at, finished_at)
             SELECT 'import-1', 'upload-1', 'public', 'done', 2, 2, 0, placed_at, placed_at, placed_at, placed_at FROM orders",
        )
        .await;
    world
        .sql("INSERT INTO import_rows (upload, number, status) VALUES ('upload-1', 1, 'placed'), ('upload-1', 2, 'placed')")
        .await;
    assert_eq!(store.purge_imports(at(0), 9).await.unwrap(), 0, "too young");
    let purged = [store.purge_imports(at(1), 9).await.unwrap(), store.purge_imports(at(1), 9).await.unwrap()];
    assert_eq!(purged, [2, 1], "its rows first");
    assert_eq!(store.purge_imports(at(99), 9).await.unwrap(), 0);
}

/// The janitor has looked at an order, and waits for its row, when the holder of that row accepts a refund or a return.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn an_order_does_not_go_with_what_was_accepted_a_moment_ago() {
    const ACCEPTED: [&str; 2] = [
        "INSERT INTO refunds (id, order_id, state, amount_minor, currency, asked, breakdown, reason, actor, terms, created_at,
             updated_at) SELECT 'refund-1', id, 'requested', 5, 'EUR', '{}', '{}', 'r', 'a', '{}', placed_at, placed_at FROM orders",
        "INSERT INTO returns (id, order_id, state, rev, body, refund_shipping, auto_approve, location, reason, actor, terms,
             created_at, updated_at)
         SELECT 'return-1', id, 'requested', 0, '{}', FALSE, FALSE, 'berlin', 'r', 'a', '{}', placed_at, placed_at FROM orders",
    ];
    for accepted in ACCEPTED {
        let world = World::postgres().await;
        completed(&world, "o").await;
        publish(&world).await;
        let mut other = crate::postgres::Session::begin(&world.url).await;
        other.run("SELECT id FROM orders FOR NO KEY UPDATE").await;
        other.run(accepted).await;
        let store = world.store.clone();
        let purge = tokio::spawn(async move { store.purge_order(&order_id("o"), at(99), at(200)).await.unwrap() });
        other.until_awaited().await;
        other.commit().await;
        assert!(!purge.await.unwrap(), "{accepted}");
        assert!(world.store.order(&order_id("o")).await.unwrap().is_some(), "{accepted}");
    }
}
