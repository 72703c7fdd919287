//! Reports of others, without an engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use chrono::TimeDelta;
use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::shipment::ScanType;
use oms_store::{InboundState, ItemFilter, NewInbound};
use serde_json::{Value, json};

use super::{Answer, Desk, order_body};
use crate::inbound::{About, NotTaken, ParcelNews, Report, Reporter, Reporters, turn};

/// A reporter that believes whoever says `please`.
struct Polite;

impl Reporter for Polite {
    fn receive(&self, body: &[u8], headers: &HeaderMap, _now: Instant) -> Result<Report, NotTaken> {
        match headers.get("x-word").and_then(|word| word.to_str().ok()) {
            Some("please") => self.read(body),
            _ => Err(NotTaken::NotGenuine("a rude word".to_owned())),
        }
    }

    fn read(&self, body: &[u8]) -> Result<Report, NotTaken> {
        let no = || NotTaken::NotAReport("no report".to_owned());
        let value: Value = serde_json::from_slice(body).map_err(|_| no())?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let order = text("order").and_then(|id| OrderId::parse(id).ok());
        let about = match (value["parcel"].as_str(), text("payment")) {
            (Some(parcel), _) => About::Parcel(ParcelNews {
                shipment: ShipmentId::parse(parcel).ok(),
                tracking_number: None,
                scan: Some(ScanType::Shipped),
                at: Instant::UNIX_EPOCH,
            }),
            (None, payment_id) if order.is_some() || payment_id.is_some() => About::Payment { order, payment_id },
            (None, _) => About::Nothing,
        };
        Ok(Report { event_id: text("id").ok_or_else(no)?, kind: text("kind").unwrap_or_default(), about })
    }
}

pub(super) fn reporters() -> Reporters {
    let polite: Arc<dyn Reporter> = Arc::new(Polite);
    Reporters { payments: Some(polite.clone()), carriers: BTreeMap::from([("dhl".to_owned(), polite)]) }
}

async fn send(desk: &Desk, path: &str, word: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("content-type", "application/json").header("x-word", word);
    desk.send(request.body(body.into()).unwrap()).await
}

async fn payment(desk: &Desk, body: &Value) -> String {
    let answer = send(desk, "/v1/inbound/payments", "please", body.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    answer.body["result"].as_str().unwrap().to_owned()
}

fn id(source: &str, event: &str) -> String {
    let (source, event_id) = (source.to_owned(), event.to_owned());
    NewInbound { source, event_id, kind: String::new(), body: String::new(), due_at: None }.id()
}

#[tokio::test]
async fn nothing_is_kept_that_is_not_genuine() {
    let desk = Desk::new().await;
    for path in ["/v1/inbound/payments", "/v1/inbound/carriers/dhl"] {
        let answer = send(&desk, path, "now!", r#"{"id": "e-1"}"#).await;
        answer.refuses(401, "unauthorized", None);
        assert!(!answer.text.contains("rude"), "the sender is not told what was wrong");
        send(&desk, path, "please", "no json").await.refuses(400, "malformed", None);
        send(&desk, path, "please", "{}").await.refuses(400, "malformed", None);
        send(&desk, path, "please", r#"{"id": "a\u0000"}"#).await.refuses(400, "malformed", None);
        send(&desk, path, "please", vec![b' '; 300_000]).await.refuses(413, "too_large", None);
    }
    send(&desk, "/v1/inbound/carriers/nobody", "please", "{}").await.refuses(404, "not_found", None);
    assert!(desk.store.inbound(&id("payment", "e-1")).await.unwrap().is_none());
}

#[tokio::test]
async fn reports_are_kept_once_and_what_decides_nothing_is_ignored() {
    let desk = Desk::new().await;
    let body = json!({"id": "e-1", "kind": "customer.created", "new": [1]});
    assert_eq!(payment(&desk, &body).await, "ignored");
    assert_eq!(payment(&desk, &body).await, "duplicate");
    let row = desk.store.inbound(&id("payment", "e-1")).await.unwrap().unwrap();
    assert_eq!((row.state, row.body), (InboundState::Ignored, body.to_string()));
    let answer = send(&desk, "/v1/inbound/carriers/dhl", "please", body.to_string()).await;
    assert_eq!(answer.body["result"], "ignored", "another's event of the same id is another event");
}

#[tokio::test]
async fn an_engine_that_is_away_costs_no_report() {
    let desk = Desk::new().await;
    desk.put_product("MUG", 1_000).await;
    // the engine is away, so the order was not promised; its row is here
    desk.keyed(axum::http::Method::POST, "/v1/orders", Some("one"), &order_body()).await.refuses(503, "unavailable", None);
    let order = OrderId::from_key("default", "public", "one");
    assert!(desk.store.order(&order).await.unwrap().is_some());
    assert_eq!(payment(&desk, &json!({"id": "e-1", "order": order.as_str()})).await, "accepted");
    let row = id("payment", "e-1");
    assert_eq!(desk.store.inbound(&row).await.unwrap().unwrap().state, InboundState::Stored);
    // days later it is still there to be routed, and nobody was called
    let later = oms_domain::instant(std::time::SystemTime::now()) + TimeDelta::days(3);
    assert_eq!(turn(&desk.state, later).await.unwrap(), 1);
    assert_eq!(desk.store.inbound(&row).await.unwrap().unwrap().state, InboundState::Stored);
    assert!(desk.store.review_items(&ItemFilter::default(), None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_unknown_is_parked_for_a_day_and_then_a_person_is_told() {
    let desk = Desk::new().await;
    assert_eq!(payment(&desk, &json!({"id": "e-1", "order": "order-0001"})).await, "parked");
    assert_eq!(payment(&desk, &json!({"id": "e-2", "payment": "pi_1"})).await, "parked");
    let parcel = json!({"id": "e-3", "parcel": "order-0001-1"}).to_string();
    let answer = send(&desk, "/v1/inbound/carriers/dhl", "please", parcel).await;
    assert_eq!(answer.body["result"], "parked");
    let began = oms_domain::instant(std::time::SystemTime::now());
    let rows = [id("payment", "e-1"), id("payment", "e-2"), id("carrier:dhl", "e-3")];
    for (after, state) in [(TimeDelta::hours(23), InboundState::Parked), (TimeDelta::hours(25), InboundState::Expired)] {
        assert_eq!(turn(&desk.state, began + after).await.unwrap(), 3);
        for row in &rows {
            assert_eq!(desk.store.inbound(row).await.unwrap().unwrap().state, state);
        }
    }
    assert_eq!(turn(&desk.state, began + TimeDelta::days(9)).await.unwrap(), 0);
    let items = desk.get("/v1/review-items?kind=unrouted_report").await.body;
    assert_eq!(items["data"].as_array().unwrap().len(), 3, "{items}");
    assert_eq!(items["data"][0]["resolutions"], json!(["use_external_reference"]));
    assert_eq!(payment(&desk, &json!({"id": "e-1", "order": "order-0001"})).await, "duplicate");
}
