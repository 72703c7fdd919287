use super::*;
use crate::ids::{Location, OrderId};
use crate::money::Money;
use proptest::prelude::*;

fn at(seconds: i64) -> Instant {
    Instant::from_timestamp(seconds, 0).unwrap()
}
fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}
fn order() -> OrderId {
    OrderId::from_key("t", "c", "k")
}
fn shipment(number: u32) -> Shipment {
    Shipment {
        id: ShipmentId::of(&order(), number),
        location: Location::parse("berlin").unwrap(),
        status: ShipmentStatus::Pending,
        lines: Vec::new(),
        amount: Money::new(5, eur()),
        carrier: None,
        tracking_number: None,
        more_packages: Vec::new(),
        stray: false,
    }
}
fn confirmed(shipments: u32) -> Life {
    let mut life = Life::placed(eur());
    life.shipments = (1..=shipments).map(shipment).collect();
    life.become_(Status::Confirmed).unwrap();
    life
}
fn scan(number: u32, event_id: &str, kind: ScanType) -> Scan {
    Scan {
        shipment: ShipmentId::of(&order(), number),
        event_id: event_id.to_owned(),
        kind,
        occurred_at: at(0),
        carrier: None,
        tracking_number: None,
    }
}
fn hold(key: &str, until: Option<i64>) -> Hold {
    Hold {
        id: HoldId::from_key(&order(), key),
        kind: HoldKind::parse("fraud").unwrap(),
        reason: Why::parse("looks odd").unwrap(),
        actor: "ops".into(),
        placed_at: at(0),
        until: until.map(at),
    }
}

#[test]
fn cancel_has_a_verdict_in_every_status() {
    let mut life = confirmed(1);
    assert_eq!(life.cancel(), Ok(CancelVerdict::Cancelling));
    assert_eq!(life.cancel(), Ok(CancelVerdict::Cancelling));
    life.become_(Status::Cancelled).unwrap();
    assert_eq!(life.cancel(), Ok(CancelVerdict::Cancelled));

    let mut shipped = confirmed(1);
    shipped.report(&scan(1, "e", ScanType::Shipped)).unwrap();
    assert_eq!(shipped.cancel().unwrap_err().code, RefusalCode::TooLate);
    shipped.status = Status::Completed;
    assert_eq!(shipped.cancel().unwrap_err().code, RefusalCode::NotAllowedNow);

    let mut refusing = Life::placed(eur());
    refusing.refusing = Some(Reason::OutOfStock);
    assert_eq!(refusing.cancel().unwrap_err().code, RefusalCode::NotAllowedNow);
}

#[test]
fn parcels_that_left_before_the_confirmation_count_once_it_is_there() {
    let mut life = confirmed(2);
    assert_eq!(life.overtaken(), None);
    life.status = Status::Placed;
    life.report(&scan(1, "a", ScanType::Shipped)).unwrap();
    assert_eq!((life.status, life.overtaken()), (Status::Placed, None), "not confirmed yet");
    life.status = Status::Confirmed;
    assert_eq!(life.overtaken(), Some(Status::PartiallyShipped));
    life.status = Status::Placed;
    life.report(&scan(2, "b", ScanType::Delivered)).unwrap();
    life.status = Status::Confirmed;
    assert_eq!(life.overtaken(), Some(Status::Shipped));
    life.status = Status::Shipped;
    assert_eq!(life.overtaken(), None, "it does not lag behind");
    // a parcel that was called off says nothing
    let mut life = confirmed(2);
    life.shipments[0].stray = true;
    life.shipments[0].status = ShipmentStatus::Delivered;
    assert_eq!(life.overtaken(), None);
}

#[test]
fn reports_only_lead_forward() {
    let mut life = confirmed(2);
    assert_eq!(life.report(&scan(1, "a", ScanType::InTransit)), Ok(ScanResult::Applied));
    assert_eq!(life.status, Status::PartiallyShipped);
    assert_eq!(life.report(&scan(1, "a", ScanType::InTransit)), Ok(ScanResult::Duplicate));
    assert_eq!(life.report(&scan(1, "a", ScanType::Delivered)).unwrap_err().code, RefusalCode::EventIdReused);
    assert_eq!(life.report(&scan(1, "b", ScanType::Shipped)), Ok(ScanResult::Stale));
    assert_eq!(life.report(&scan(1, "c", ScanType::Lost)), Ok(ScanResult::Applied));
    assert_eq!(life.report(&scan(1, "d", ScanType::Delivered)), Ok(ScanResult::Applied));
    assert_eq!(life.report(&scan(1, "e", ScanType::ReturnedToSender)), Ok(ScanResult::Stale));
    assert_eq!(life.report(&scan(3, "f", ScanType::Shipped)).unwrap_err().code, RefusalCode::NotFound);
    assert_eq!(life.end_of_shipping(), Status::PartiallyFulfilled);
    assert_eq!(life.report(&scan(2, "g", ScanType::Delivered)), Ok(ScanResult::Applied));
    assert_eq!(life.status, Status::Shipped);
    assert_eq!(life.end_of_shipping(), Status::Completed);
    life.dropped = true;
    assert_eq!(life.end_of_shipping(), Status::PartiallyFulfilled);
}

#[test]
fn a_parcel_that_leaves_a_cancelled_order_is_news() {
    let mut life = confirmed(1);
    life.cancel().unwrap();
    assert_eq!(life.report(&scan(1, "a", ScanType::Shipped)), Ok(ScanResult::Applied));
    assert_eq!(life.status, Status::Cancelling);
    assert!(life.departed());
    assert_eq!(life.cancel(), Ok(CancelVerdict::Cancelling));
}

#[test]
fn holds_stack_and_expire() {
    let mut life = confirmed(1);
    assert_eq!(life.place_hold(hold("a", None)), Ok(true));
    assert_eq!(life.place_hold(hold("a", None)), Ok(false));
    assert_eq!(life.place_hold(hold("b", Some(10))), Ok(true));
    assert!(life.expire_holds(at(9)).is_empty());
    assert_eq!(life.expire_holds(at(10)).len(), 1);
    assert_eq!(life.release_hold(&HoldId::from_key(&order(), "b")).unwrap_err().code, RefusalCode::NotFound);
    life.release_hold(&HoldId::from_key(&order(), "a")).unwrap();
    assert!(life.holds.is_empty());
}

#[test]
fn refusals_read_back() {
    let refusal = Refusal::new(RefusalCode::TooLate, "gone: long ago");
    assert_eq!(Refusal::parse(&refusal.to_string()), Some(refusal));
    assert_eq!(Refusal::parse("whatever: no"), None);
}

#[derive(Debug, Clone)]
enum Move {
    Become(usize),
    Cancel,
    Hold(u8),
    Release(u8),
    Report(u32, u8, usize),
    Refuse,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        (0usize..12).prop_map(Move::Become),
        Just(Move::Cancel),
        (0u8..3).prop_map(Move::Hold),
        (0u8..3).prop_map(Move::Release),
        (1u32..4, any::<u8>(), 0usize..7).prop_map(|(s, e, k)| Move::Report(s, e, k)),
        Just(Move::Refuse),
    ];
    prop::collection::vec(one, 0..40)
}

proptest! {
    /// Whatever is asked in whatever order: only defined edges are taken, and never after a terminal status.
    #[test]
    fn random_commands_never_take_an_undefined_edge(moves in moves()) {
        let mut life = Life::placed(eur());
        life.shipments = (1..=2).map(shipment).collect();
        for step in moves {
            let (before, departed) = (life.status, life.departed());
            match step {
                Move::Become(to) => { let _ = life.become_(Status::ALL[to]); }
                Move::Cancel => {
                    let verdict = life.cancel();
                    prop_assert!(!(departed && before != Status::Cancelling && before != Status::Cancelled && verdict.is_ok()));
                }
                Move::Hold(key) => { let _ = life.place_hold(hold(&key.to_string(), None)); }
                Move::Release(key) => { let _ = life.release_hold(&HoldId::from_key(&order(), &key.to_string())); }
                Move::Report(number, event, kind) => { let _ = life.report(&scan(number, &event.to_string(), ScanType::ALL[kind])); }
                Move::Refuse => if life.status == Status::Placed { life.refusing = Some(Reason::OutOfStock) },
            }
            prop_assert!(life.status == before || before.can_become(life.status), "{:?} -> {:?}", before, life.status);
            prop_assert!(!(before.is_terminal() && life.status != before));
            if life.status.is_terminal() { prop_assert!(!life.allowed_actions().contains(&Action::Cancel)); }
        }
    }
}

#[test]
fn a_late_report_adds_its_package_too() {
    let mut life = confirmed(1);
    let parcel = |event_id: &str, kind, carrier: &str, number: &str| Scan {
        carrier: Some(carrier.to_owned()),
        tracking_number: Some(number.to_owned()),
        ..scan(1, event_id, kind)
    };
    assert_eq!(life.report(&parcel("a", ScanType::InTransit, "dhl", "P-1")), Ok(ScanResult::Applied));
    assert_eq!(life.report(&parcel("b", ScanType::Shipped, "dpd", "P-2")), Ok(ScanResult::Stale));
    assert_eq!(life.report(&parcel("c", ScanType::Shipped, "dhl", "P-2")), Ok(ScanResult::Stale));
    assert_eq!(life.report(&parcel("b", ScanType::Shipped, "dpd", "P-3")), Ok(ScanResult::Duplicate));
    let shipment = &life.shipments[0];
    assert_eq!(shipment.status, ShipmentStatus::InTransit);
    assert_eq!((shipment.carrier.as_deref(), shipment.tracking_number.as_deref()), (Some("dhl"), Some("P-1")));
    assert_eq!(shipment.more_packages, ["P-2"]);
}
