//! The adapter against the sandbox carrier over HTTP.

use super::*;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode as Status, Uri};
use axum::response::{IntoResponse, Response};
use oms_domain::customer::{Address, Country, Line};
use oms_domain::ids::{Location, OrderId};

use crate::carrier::{CarrierCall, SandboxCarrier};
use crate::faults::{Fault, FaultMode};
use crate::sandbox::Sandbox;
use oms_domain::party::Party;

async fn serve(State(carrier): State<SandboxCarrier>, verb: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if headers["authorization"] != "Bearer hunter2" {
        return (Status::UNAUTHORIZED, "{}").into_response();
    }
    let call = CarrierCall {
        post: verb == Method::POST,
        path: uri.path().strip_prefix("/v1/").unwrap(),
        query: uri.query().unwrap_or_default(),
        body: std::str::from_utf8(&body).unwrap(),
        key: headers.get("idempotency-key").and_then(|k| k.to_str().ok()),
        now: now(),
    };
    let (status, body) = carrier.http(call).await;
    (Status::from_u16(status).unwrap(), body.to_string()).into_response()
}

struct World {
    sandbox: Sandbox,
    carrier: HttpCarrier,
    _dir: tempfile::TempDir,
}

async fn world() -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::open(dir.path()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(serve).with_state(sandbox.carrier.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    World { sandbox, carrier: HttpCarrier::new(settings(base_url, "hunter2")).unwrap(), _dir: dir }
}

fn settings(base_url: String, token: &str) -> HttpCarrierSettings {
    HttpCarrierSettings { base_url, token: Secret::new(token), service: None, timeout: Duration::from_secs(5) }
}

fn now() -> Instant {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

fn booking(key: &str) -> BookRequest {
    let line = |text: &str| Line::parse(text).unwrap();
    let shipment_id = ShipmentId::of(&OrderId::from_key("default", "public", key), 1);
    BookRequest {
        key: format!("{shipment_id}/book/1"),
        shipment_id,
        route: Route::Out {
            from: Location::parse("berlin").unwrap(),
            to: Address {
                name: line("Zoë Canary"),
                line1: line("Canary street 1"),
                line2: None,
                city: line("Bonn"),
                region: None,
                postal_code: line("53111"),
                country: Country::parse("DE").unwrap(),
            },
        },
        now: now(),
    }
}

fn cancel(key: &str) -> CancelRequest {
    let BookRequest { key: book_key, shipment_id, .. } = booking(key);
    CancelRequest { key: format!("{shipment_id}/cancel/1"), book_key, shipment_id, now: now() }
}

#[tokio::test]
async fn a_label_is_bought_once_and_voided_once() {
    let World { sandbox, carrier, _dir } = world().await;
    carrier.check().await.unwrap();
    let key = booking("a").key;
    assert_eq!(carrier.lookup(&key).await.unwrap(), None);
    let first = carrier.book(booking("a")).await.unwrap();
    let Booking::Booked { label: Some(label), tracking_number, .. } = &first else { panic!("{first:?}") };
    assert!(label.text.contains(tracking_number.as_str()) && label.text.contains("Canary"));
    assert_eq!(carrier.book(booking("a")).await.unwrap(), first, "a repeat has the document too");
    let known = carrier.lookup(&key).await.unwrap();
    assert!(matches!(known, Some(CarrierOperation::Book(Booking::Booked { label: None, .. }))), "{known:?}");
    carrier.book(booking("b")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(carrier.cancel(cancel("a")).await.unwrap(), Cancel::Cancelled);
    }
    let gone = Booking::Refused { code: "cancelled".into() };
    assert_eq!(carrier.book(booking("a")).await.unwrap(), gone);
    assert_eq!(carrier.lookup(&key).await.unwrap(), Some(CarrierOperation::Book(gone.clone())));
    // a void that comes first stops the purchase
    assert_eq!(carrier.cancel(cancel("c")).await.unwrap(), Cancel::Nothing);
    assert_eq!(carrier.book(booking("c")).await.unwrap(), gone);
    assert_eq!(sandbox.carrier.bookings().await.unwrap().len(), 2, "whatever was repeated");

    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = Carrier::bookings(&carrier, now(), after.as_deref(), 1).await.unwrap();
        seen.extend(page.entries.into_iter().map(|b| (b.key, b.stands)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [(key, false), (booking("b").key, true)]);
}

#[tokio::test]
async fn trouble_is_told_apart() {
    let World { sandbox, carrier, _dir } = world().await;
    sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
    let error = carrier.book(booking("a")).await.unwrap_err();
    assert!(matches!(error, GatewayError::UnknownOutcome { .. }), "{error}");
    assert!(matches!(carrier.book(booking("a")).await.unwrap(), Booking::Booked { .. }));
    assert_eq!(sandbox.carrier.bookings().await.unwrap().len(), 1);
    sandbox.faults.set(Party::Carrier, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let error = carrier.book(booking("b")).await.unwrap_err();
    assert!(matches!(error, GatewayError::Unavailable { .. }), "{error}");
    let stranger = HttpCarrier::new(settings(carrier.base.clone(), "wrong")).unwrap();
    let error = stranger.check().await.unwrap_err();
    assert!(matches!(&error, GatewayError::Unavailable { detail } if detail.contains("TOKEN")), "{error}");
    assert!(!format!("{carrier:?}").contains("hunter2"));
}

#[test]
fn the_wanted_service_is_chosen_else_the_cheapest() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rate = |id: &str, service: &str, amount| Rate { id: id.into(), service: service.into(), amount };
    let offers = || vec![rate("1", "express", 900), rate("2", "standard", 490), rate("3", "standard", 480)];
    let chosen = |service: Option<&str>| {
        let settings = HttpCarrierSettings { service: service.map(str::to_owned), ..settings("http://127.0.0.1:1".into(), "t") };
        HttpCarrier::new(settings).unwrap().choose(offers()).map(|rate| rate.id)
    };
    assert_eq!(chosen(None).as_deref(), Some("3"));
    assert_eq!(chosen(Some("express")).as_deref(), Some("1"));
    assert_eq!(chosen(Some("overnight")).as_deref(), Some("3"));
}
