//! Orders that have a row: how they are shown, listed and, once they have ended, steered, without any run.

use axum::body::Body;
use axum::http::{Method, Request};
use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId, ShipmentId, Sku};
use oms_domain::life::Life;
use oms_domain::money::{Currency, Money};
use oms_domain::order::{Reason, Status};
use oms_domain::shipment::{Shipment, ShipmentStatus};
use oms_domain::stock::Quantity;
use oms_store::Record;
use serde_json::{Value, json};

use super::{Desk, order_body};

pub(super) fn at(seconds: i64) -> Instant {
    Instant::from_timestamp(seconds, 0).unwrap()
}

/// Takes an order in (its start fails, there is no engine) and records where it stands.
pub(super) async fn order(desk: &Desk, key: &str, rev: u64, set: impl FnOnce(&OrderId, &mut Life)) -> String {
    desk.put_product("MUG", 1_999).await;
    desk.keyed(Method::POST, "/v1/orders", Some(key), &order_body()).await.refuses(503, "unavailable", None);
    let id = OrderId::from_key("default", "public", key);
    let mut life = Life::placed(Currency::parse("EUR").unwrap());
    set(&id, &mut life);
    let record = Record {
        order_id: id.clone(),
        rev,
        life,
        facts: vec![],
        scans: vec![],
        confirm: false,
        amend: None,
        address: None,
        resolved: vec![],
        build: None,
    };
    desk.store.record(&record, at(1_000_000)).await.unwrap();
    id.to_string()
}

pub(super) fn ship(id: &OrderId, life: &mut Life, status: ShipmentStatus) {
    life.shipments.push(Shipment {
        id: ShipmentId::of(id, 1),
        location: Location::parse("berlin").unwrap(),
        status,
        lines: vec![Quantity { sku: Sku::parse("MUG").unwrap(), quantity: 2 }],
        amount: Money::new(4_997, Currency::parse("EUR").unwrap()),
        carrier: None,
        tracking_number: None,
        more_packages: vec![],
        stray: false,
    });
}

#[tokio::test]
async fn an_order_is_shown_whole() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 3, |id, life| {
        ship(id, life, ShipmentStatus::Booked);
        life.status = Status::Confirmed;
    })
    .await;
    let answer = desk.get(&format!("/v1/orders/{id}")).await;
    let order = &answer.body;
    assert_eq!(answer.header("etag"), "\"3\"");
    assert_eq!((&order["status"], &order["version"], &order["test"]), (&json!("confirmed"), &json!(3), &json!(true)));
    let eur = |amount: i64| json!({"amount": amount, "currency": "EUR"});
    let totals = json!({
        "subtotal": eur(3_998), "discount": eur(0), "shipping": eur(490), "tax": eur(853), "total": eur(5_341),
        "authorized": eur(0), "captured": eur(0), "refunded": eur(0)
    });
    assert_eq!(order["totals"], totals);
    assert_eq!(order["lines"][0]["unit_price"], eur(1_999));
    assert_eq!(order["shipments"][0]["id"], format!("{id}-1"));
    assert_eq!(order["lines"][0]["discount"], eur(0));
    assert_eq!(order["on_shortage"], json!({"policy": "reject", "max": null}));
    assert_eq!((&order["discounts"], &order["waiting"], &order["review"]), (&json!([]), &json!([]), &json!(null)));
    for link in ["timeline", "why", "effects", "events", "refunds", "returns"] {
        assert_eq!(order["links"][link], format!("/v1/orders/{id}/{link}"));
    }
    assert_eq!(order["links"]["self"], format!("/v1/orders/{id}"));
    assert_eq!(order["links"]["temporal_ui"], format!("http://127.0.0.1:8233/namespaces/oms/workflows/order%2F{id}"));
    assert_eq!(order["allowed_actions"], json!(["cancel", "place_hold"]));
    let fields = "allowed_actions,as_of,attention,bill_to,channel,currency,customer,discounts,due_at,holds,id,lines,links,\
                  needs_attention,on_shortage,payment,placed_at,question,reason,reference,review,ship_to,shipments,status,test,totals,\
                  updated_at,version,waiting";
    let mut names: Vec<_> = order.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names.join(","), fields);

    let again = |tag: &str| Request::get(format!("/v1/orders/{id}")).header("if-none-match", tag).body(Body::empty()).unwrap();
    for (tag, status) in [("\"3\"", 304), ("W/\"3\"", 304), ("\"1\", \"3\"", 304), ("*", 304), ("\"2\"", 200)] {
        assert_eq!(desk.send(again(tag)).await.status, status, "{tag}");
    }
    assert!(desk.get(&format!("/v1/orders/{id}/timeline")).await.body["data"].is_array());
}

#[tokio::test]
async fn orders_are_filtered_and_paged() {
    let desk = Desk::new().await;
    for n in 0..5 {
        order(&desk, &format!("k-{n}"), 1, |_, life| {
            if n == 1 || n == 2 {
                life.status = if n == 1 { Status::InReview } else { Status::Backordered };
            }
            if n == 0 {
                life.status = Status::Rejected;
                life.reason = Some(Reason::OutOfStock);
            }
        })
        .await;
    }
    let count = async |query: &str| desk.get(&format!("/v1/orders?{query}")).await.body["data"].as_array().unwrap().len();
    assert_eq!(count("status=rejected").await, 1);
    assert_eq!(count("reason=out_of_stock").await, 1);
    assert_eq!((count("status=in_review").await, count("status=backordered").await), (1, 1));
    assert_eq!(count("status=placed&customer=c-1&sku=MUG").await, 2);
    assert_eq!(count("email=ada%40example.com").await, 5);
    assert_eq!(count("email=bob%40example.com").await, 0);
    assert_eq!(count("needs_attention=true").await, 0);
    // each costs (39.98 + 4.90) with 19 %
    for (query, expected) in [("total_min=5341&total_max=5341", 5), ("total_min=5342", 0), ("total_max=5340", 0)] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    assert_eq!(count("placed_before=2000-01-01T00:00:00Z").await, 0);
    let mut seen = Vec::new();
    let mut path = "/v1/orders?limit=2".to_owned();
    loop {
        let page = desk.get(&path).await;
        seen.extend(page.body["data"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("/v1/orders?limit=2&cursor={cursor}");
    }
    let newest_first: Vec<_> =
        (0..5).rev().map(|n| OrderId::from_key("default", "public", &format!("k-{n}")).to_string()).collect();
    assert_eq!(seen, newest_first);
}

async fn cancel(desk: &Desk, id: &str, key: Option<&str>) -> super::Answer {
    desk.keyed(Method::POST, &format!("/v1/orders/{id}/cancel"), key, &json!({"reason": "changed my mind"})).await
}

#[tokio::test]
async fn ended_orders_judge_commands_by_their_row() {
    let desk = Desk::new().await;
    let id = order(&desk, "k-1", 2, |_, life| life.status = Status::Cancelled).await;
    for key in [None, Some("c-1"), Some("c-1")] {
        assert_eq!(cancel(&desk, &id, key).await.body, json!({"result": "cancelled"}));
    }
    assert_eq!(cancel(&desk, &id, Some("c-1")).await.header("idempotency-replayed"), "true");
    for (key, status) in [("k-2", Status::Rejected), ("k-3", Status::Completed)] {
        let id = order(&desk, key, 2, |_, life| life.status = status).await;
        let refused = cancel(&desk, &id, None).await;
        refused.refuses(409, "not_allowed_now", None);
        assert_eq!(refused.body["allowed_actions"], json!([]));
        let hold = desk.json(Method::POST, &format!("/v1/orders/{id}/holds"), &json!({"kind": "fraud", "reason": "odd"})).await;
        hold.refuses(409, "not_allowed_now", None);
        desk.json(Method::DELETE, &format!("/v1/orders/{id}/holds/abcdefgh"), &Value::Null).await.refuses(404, "not_found", None);
    }
}

#[tokio::test]
async fn commands_are_checked_before_anything_else() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 1, |_, _| ()).await;
    for (path, body, pointer) in [
        ("cancel", json!({}), "/reason"),
        ("cancel", json!({"reason": ""}), "/reason"),
        ("cancel", json!({"reason": "x".repeat(501)}), "/reason"),
        ("cancel", json!({"reason": "a\u{0}"}), "/reason"),
        ("holds", json!({"reason": "odd"}), "/kind"),
        ("holds", json!({"kind": "fraud", "reason": "odd", "until": "2000-01-01T00:00:00Z"}), "/until"),
    ] {
        let answer = desk.json(Method::POST, &format!("/v1/orders/{id}/{path}"), &body).await;
        answer.refuses(422, "validation_failed", Some(pointer));
    }
}

#[tokio::test]
async fn the_warehouse_reports_without_a_run() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 2, |id, life| {
        ship(id, life, ShipmentStatus::Booked);
        life.status = Status::Confirmed;
    })
    .await;
    let path = format!("/v1/shipments/{id}-1/events");
    let event = |event_id: &str, kind: &str| json!({"event_id": event_id, "type": kind, "occurred_at": "2026-01-01T00:00:00Z"});
    for (event_id, kind, result) in
        [("e-2", "packed", "applied"), ("e-2", "packed", "duplicate"), ("e-1", "picked", "stale"), ("e-1", "picked", "duplicate")]
    {
        let answer = desk.json(Method::POST, &path, &event(event_id, kind)).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &json!({"result": result})), "{event_id} {kind}");
    }
    desk.json(Method::POST, &path, &event("e-2", "picked")).await.refuses(422, "event_id_reused", Some("/event_id"));
    desk.json(Method::POST, &path, &event("e-2", "shipped")).await.refuses(422, "event_id_reused", Some("/event_id"));
    desk.json(Method::POST, &path, &event("e-3", "shipped")).await.refuses(503, "unavailable", None);
    let order = desk.get(&format!("/v1/orders/{id}")).await;
    assert_eq!((&order.body["shipments"][0]["status"], order.header("etag")), (&json!("packed"), "\"2-1.2\""));

    // a carrier's own word is kept, shown and a person's; nobody's word is garbage
    desk.json(Method::POST, &path, &event("e-4", "customs.hold")).await.refuses(422, "validation_failed", Some("/type"));
    let foreign = |event_id: &str, kind: &str| {
        let mut event = event(event_id, kind);
        (event["carrier"], event["tracking_number"]) = (json!("dhl"), json!("P-9"));
        event
    };
    for (event_id, kind, result) in [
        ("e-4", "customs.hold", "stale"),
        ("e-4", "customs.hold", "duplicate"),
        ("e-5", "customs.hold", "stale"),
        ("e-6", "z-7", "stale"),
    ] {
        let answer = desk.json(Method::POST, &path, &foreign(event_id, kind)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body),
            (200, &json!({"result": result})),
            "{event_id} {kind}: {}",
            answer.text
        );
    }
    for reused in [foreign("e-4", "z-7"), event("e-4", "packed"), event("e-4", "shipped")] {
        desk.json(Method::POST, &path, &reused).await.refuses(422, "event_id_reused", Some("/event_id"));
    }
    let shown = desk.get(&format!("/v1/orders/{id}")).await.body;
    let shipment = &shown["shipments"][0];
    assert_eq!((&shipment["status"], &shipment["tracking_number"]), (&json!("packed"), &json!("P-9")));
    assert_eq!(shown["needs_attention"], true);
    let timeline = desk.get(&format!("/v1/orders/{id}/timeline")).await.body;
    let told: Vec<&str> = timeline["data"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(told.iter().filter(|kind| **kind == "scan.customs.hold").count(), 2, "{told:?}");
    let items = desk.get("/v1/review-items?kind=unknown_carrier_code&source=carrier").await.body;
    assert_eq!(items["data"].as_array().unwrap().len(), 2, "one per code");
    let item = &items["data"][0];
    assert_eq!((&item["resolutions"], &item["shipment_id"]), (&json!(["use_external_reference"]), &json!(format!("{id}-1"))));
    let decision = json!({"action": "use_external_reference", "reference": "the carrier's manual, 7", "reason": "harmless"});
    for item in items["data"].as_array().unwrap() {
        let resolve = format!("/v1/review-items/{}/resolve", item["id"].as_str().unwrap());
        assert_eq!(desk.json(Method::POST, &resolve, &decision).await.status.as_u16(), 200);
    }
    assert_eq!(desk.json(Method::POST, &path, &foreign("e-8", "z-7")).await.body, json!({"result": "stale"}));
    assert_eq!(desk.get(&format!("/v1/orders/{id}")).await.body["needs_attention"], false, "a person knows this code");
    let listed = desk.get("/v1/shipments?status=packed&location=berlin").await;
    assert_eq!(listed.body["data"][0]["id"], format!("{id}-1"));
    assert_eq!(desk.get("/v1/shipments?status=booked").await.body["data"], json!([]));
    assert_eq!(desk.get(&format!("/v1/shipments/{id}-1")).await.body["order_id"], id);
}

#[tokio::test]
async fn a_late_report_on_an_ended_order_is_stale() {
    let desk = Desk::new().await;
    let id = order(&desk, "k", 2, |id, life| {
        ship(id, life, ShipmentStatus::Delivered);
        life.status = Status::Completed;
    })
    .await;
    let tag = || async { desk.get(&format!("/v1/orders/{id}")).await.header("etag").to_owned() };
    assert_eq!(tag().await, "\"2\"");
    let event = |number: &str| json!({"event_id": number, "type": "in_transit", "occurred_at": "2026-01-01T00:00:00Z", "tracking_number": number});
    for (number, result, known) in
        [("P-1", "stale", &["P-1"][..]), ("P-1", "duplicate", &["P-1"]), ("P-2", "stale", &["P-1", "P-2"])]
    {
        let answer = desk.json(Method::POST, &format!("/v1/shipments/{id}-1/events"), &event(number)).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, json!({"result": result})));
        for path in [format!("/v1/orders/{id}"), format!("/v1/shipments/{id}-1")] {
            let shown = desk.get(&path).await.body;
            let shipment = shown.pointer("/shipments/0").unwrap_or(&shown);
            assert_eq!((&shipment["status"], &shipment["tracking_number"]), (&json!("delivered"), &json!(known[0])), "{path}");
            assert_eq!(shipment["more_tracking_numbers"], json!(known[1..]), "{path}");
        }
    }
    assert_ne!(tag().await, "\"2\"", "another package is news");
}
