use super::*;
use crate::carrier::Route;
use crate::faults::Fault;
use crate::sandbox::Sandbox;
use oms_domain::customer::{Address, Country, Line};
use oms_domain::ids::OrderId;

fn now() -> Instant {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

fn shipment(key: &str) -> ShipmentId {
    ShipmentId::of(&OrderId::from_key("default", "public", key), 1)
}

fn booking(key: &str) -> BookRequest {
    let line = |text: &str| Line::parse(text).unwrap();
    BookRequest {
        key: format!("{key}/book"),
        shipment_id: shipment(key),
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

fn cancel_of(key: &str) -> CancelRequest {
    CancelRequest { key: format!("{key}/cancel"), book_key: format!("{key}/book"), shipment_id: shipment(key), now: now() }
}

#[tokio::test]
async fn a_booking_happens_once_and_ends_once() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Sandbox::open(dir.path()).await.unwrap().carrier;
    assert_eq!(carrier.lookup("a/book").await.unwrap(), None);
    let first = carrier.book(booking("a")).await.unwrap();
    assert_eq!(carrier.book(booking("a")).await.unwrap(), first);
    let Booking::Booked { carrier: name, tracking_number, reference, label: Some(label) } = first.clone() else {
        panic!("{first:?}");
    };
    assert!(label.text.contains(&tracking_number));
    let known = Booking::Booked { carrier: name, tracking_number, reference, label: None };
    assert_eq!(carrier.lookup("a/book").await.unwrap(), Some(CarrierOperation::Book(known)), "the list keeps no address");
    let other = carrier.book(booking("b")).await.unwrap();
    assert_ne!(first, other, "another key is another parcel");
    for _ in 0..2 {
        assert_eq!(carrier.cancel(cancel_of("a")).await.unwrap(), Cancel::Cancelled);
    }
    let again = CancelRequest { key: "a/cancel/2".into(), ..cancel_of("a") };
    assert_eq!(carrier.cancel(again).await.unwrap(), Cancel::Nothing);
    assert_eq!(carrier.book(booking("a")).await.unwrap(), cancelled(), "a late repeat must not believe in a pickup");
    let bookings = carrier.bookings().await.unwrap();
    assert_eq!(bookings.iter().map(|b| b.status).collect::<Vec<_>>(), [BookingStatus::Cancelled, BookingStatus::Booked]);
    assert!(!serde_json::to_string(&bookings).unwrap().contains("Canary"));
    assert!(carrier.cancel(CancelRequest { key: "b/book".into(), ..cancel_of("b") }).await.is_err(), "a key names one operation");
}

#[tokio::test]
async fn a_cancellation_that_comes_first_stops_the_booking() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Sandbox::open(dir.path()).await.unwrap().carrier;
    assert_eq!(carrier.cancel(cancel_of("a")).await.unwrap(), Cancel::Nothing);
    assert_eq!(carrier.lookup("a/cancel").await.unwrap(), Some(CarrierOperation::Cancel(Cancel::Nothing)));
    for _ in 0..2 {
        assert_eq!(carrier.book(booking("a")).await.unwrap(), cancelled());
    }
    assert_eq!(carrier.bookings().await.unwrap(), []);
}

#[tokio::test]
async fn faults_of_the_carrier() {
    let dir = tempfile::tempdir().unwrap();
    let Sandbox { carrier, faults, .. } = Sandbox::open(dir.path()).await.unwrap();
    for mode in [FaultMode::Down, FaultMode::Error] {
        faults.set(Party::Carrier, &Fault::lasting(mode)).await.unwrap();
        assert!(matches!(carrier.book(booking("a")).await, Err(GatewayError::Unavailable { .. })));
        assert!(matches!(carrier.lookup("a/book").await, Err(GatewayError::Unavailable { .. })));
        assert_eq!(carrier.bookings().await.unwrap(), []);
    }
    faults.set(Party::Carrier, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
    assert!(matches!(carrier.book(booking("a")).await, Err(GatewayError::UnknownOutcome { .. })));
    assert!(matches!(carrier.lookup("a/book").await.unwrap(), Some(CarrierOperation::Book(Booking::Booked { .. }))));
    assert!(matches!(carrier.book(booking("a")).await.unwrap(), Booking::Booked { .. }));
    assert!(matches!(carrier.cancel(cancel_of("a")).await, Err(GatewayError::UnknownOutcome { .. })));
    assert_eq!(carrier.cancel(cancel_of("a")).await.unwrap(), Cancel::Cancelled);
    assert_eq!(carrier.bookings().await.unwrap().len(), 1);
    faults.set(Party::Carrier, &Fault { operation: Some("cancel".into()), ..Fault::lasting(FaultMode::Down) }).await.unwrap();
    assert!(matches!(carrier.book(booking("b")).await.unwrap(), Booking::Booked { .. }));
    assert!(matches!(carrier.cancel(cancel_of("b")).await, Err(GatewayError::Unavailable { .. })));
}

#[tokio::test]
async fn the_carriers_books_are_read_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Sandbox::open(dir.path()).await.unwrap().carrier;
    let early = BookRequest { now: now() - chrono::TimeDelta::days(2), ..booking("early") };
    carrier.book(early).await.unwrap();
    for key in ["a", "b", "c"] {
        carrier.book(booking(key)).await.unwrap();
    }
    carrier.cancel(cancel_of("b")).await.unwrap();
    let reader: &dyn Carrier = &carrier;
    let first = reader.bookings(now(), None, 2).await.unwrap();
    let second = reader.bookings(now(), first.next.as_deref(), 2).await.unwrap();
    let seen: Vec<_> = first.entries.iter().chain(&second.entries).map(|b| (b.key.as_str(), b.stands)).collect();
    assert_eq!(seen, [("a/book", true), ("b/book", false), ("c/book", true)]);
    assert_eq!((first.entries[0].shipment.clone(), second.next), (shipment("a"), None));
}
