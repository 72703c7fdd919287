use super::*;
use crate::ids::Location;
use crate::money::Currency;
use crate::review::Attention;
use crate::shipment::Shipment;

fn at(seconds: i64) -> Instant {
    Instant::from_timestamp(seconds, 0).unwrap()
}
const BEFORE: i64 = 1_000;
fn before() -> Instant {
    at(BEFORE)
}
fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}
fn id() -> OrderId {
    OrderId::from_key("t", "c", "k")
}
fn books(status: Status, shipments: &[ShipmentStatus]) -> OrderBooks {
    let shipment = |(n, status): (usize, &ShipmentStatus)| Shipment {
        id: ShipmentId::of(&id(), u32::try_from(n).unwrap() + 1),
        location: Location::parse("berlin").unwrap(),
        status: *status,
        lines: Vec::new(),
        amount: eur(5),
        carrier: None,
        tracking_number: None,
        more_packages: Vec::new(),
        stray: false,
    };
    let mut life = Life { status, ..Life::placed(Currency::parse("EUR").unwrap()) };
    life.shipments = shipments.iter().enumerate().map(shipment).collect();
    OrderBooks { id: id(), rev: 3, total: eur(100), life, updated_at: at(0) }
}
fn paid(status: PaymentStatus, captured: i64, refunded: i64, held: i64) -> GatewayPayment {
    GatewayPayment {
        payment_id: "pay_1".into(),
        key: format!("{}/authorize/2", id()),
        order: Some(id()),
        status,
        authorized: eur(100),
        captured: eur(captured),
        refunded: eur(refunded),
        held: eur(held),
        at: at(0),
    }
}
fn booked(key: &str) -> CarrierBooking {
    let shipment = ShipmentId::of(&id(), 1);
    CarrierBooking { reference: "bk".into(), key: format!("{shipment}/{key}"), shipment, stands: true, at: at(0) }
}

#[test]
fn keys_tell_their_revision_to_their_owner_only() {
    assert_eq!(revision("abc/book/12", "abc", "book"), Some(12));
    for (key, subject, step) in [("abc/book/12", "ab", "book"), ("abc/book/x", "abc", "book"), ("abc/book/1", "abc", "cancel")] {
        assert_eq!(revision(key, subject, step), None, "{key} {subject} {step}");
    }
}

#[test]
fn stock_of_an_ended_or_missing_order_is_given_back() {
    let ours = |status, units, updated| PromiseBooks { order: id(), units, status, updated_at: at(updated) };
    for (books, found) in [
        (ours(None, 2, 0), true),
        (ours(Some(Status::Cancelled), 2, 0), true),
        (ours(Some(Status::Confirmed), 2, 0), false),
        (ours(Some(Status::Completed), 0, 0), false),
        (ours(None, 2, BEFORE + 1), false),
    ] {
        let finding = promise(&books, before());
        assert_eq!(finding.is_some(), found, "{books:?}");
        assert!(finding.is_none_or(|f| f.remedy == Remedy::Release { order: id() }));
    }
}

#[test]
fn held_money_of_an_undone_order_is_let_go_and_taken_money_is_a_persons() {
    use PaymentStatus::{Authorized, Captured, Declined, RequiresAction, Voided};
    let judge = |theirs: &GatewayPayment, order: Option<Status>| {
        let order = order.map(|s| books(s, &[]));
        payment(theirs, order.as_ref(), Sums::default(), before()).map(|f| (f.kind, f.remedy))
    };
    let void = Some((FindingKind::OrphanPayment, Remedy::Void { order: id(), revision: 2 }));
    assert_eq!(judge(&paid(Authorized, 0, 0, 100), None), void);
    assert_eq!(judge(&paid(RequiresAction, 0, 0, 0), Some(Status::Rejected)), void);
    assert_eq!(judge(&paid(Authorized, 0, 0, 100), Some(Status::Cancelled)), void);
    assert_eq!(judge(&paid(Authorized, 0, 0, 100), Some(Status::Confirmed)), None);
    assert_eq!(judge(&paid(Voided, 0, 0, 0), None), None);
    assert_eq!(judge(&paid(Declined, 0, 0, 0), Some(Status::Rejected)), None);
    assert_eq!(judge(&paid(Captured, 100, 0, 0), None), Some((FindingKind::OrphanPayment, Remedy::Review)));
    assert_eq!(judge(&paid(Captured, 100, 100, 0), None), None, "it was given back");
    let foreign = GatewayPayment { key: "pi_elsewhere".into(), ..paid(Authorized, 0, 0, 100) };
    assert_eq!(judge(&foreign, None), Some((FindingKind::OrphanPayment, Remedy::Review)));
    let young = GatewayPayment { at: at(BEFORE + 1), ..paid(Authorized, 0, 0, 100) };
    assert_eq!(judge(&young, None), None);
}

#[test]
fn sums_that_differ_are_a_persons() {
    let order = books(Status::Shipped, &[]);
    let judge = |ours| payment(&paid(PaymentStatus::Captured, 100, 20, 0), Some(&order), ours, before()).map(|f| f.kind);
    assert_eq!(judge(Sums { captured: 100, refunded: 20 }), None);
    assert_eq!(judge(Sums { captured: 90, refunded: 20 }), Some(FindingKind::LedgerMismatch));
    assert_eq!(judge(Sums { captured: 100, refunded: 0 }), Some(FindingKind::LedgerMismatch));
}

#[test]
fn a_courier_of_an_ended_order_is_called_off_unless_the_parcel_left() {
    use ShipmentStatus::{Booked, Cancelled, Shipped};
    let judge = |key: &str, order: Option<(Status, &[ShipmentStatus])>| {
        let order = order.map(|(status, shipments)| books(status, shipments));
        booking(&booked(key), order.as_ref(), before()).map(|f| f.remedy)
    };
    let called_off = Some(Remedy::CancelBooking { shipment: ShipmentId::of(&id(), 1), revision: 1 });
    assert_eq!(judge("book/1", Some((Status::Cancelled, &[Cancelled]))), called_off);
    assert_eq!(judge("elsewhere", Some((Status::Cancelled, &[Cancelled]))), Some(Remedy::Review));
    assert_eq!(judge("book/1", Some((Status::Cancelled, &[Shipped]))), None);
    assert_eq!(judge("book/1", Some((Status::Confirmed, &[Booked]))), None);
    assert_eq!(judge("book/1", Some((Status::Confirmed, &[Cancelled, Booked]))), Some(Remedy::Review));
    assert_eq!(judge("book/1", Some((Status::Confirmed, &[]))), Some(Remedy::Review));
    assert_eq!(judge("book/1", None), Some(Remedy::Review));
    let called = CarrierBooking { stands: false, ..booked("book/1") };
    assert_eq!(booking(&called, None, before()), None);
}

#[test]
fn an_order_without_a_run_is_unwound_unless_a_parcel_left() {
    use ShipmentStatus::{Booked, Shipped};
    let judge = |books: &OrderBooks, running, funded| order(books, running, funded, before()).map(|f| (f.kind, f.remedy));
    let restart = Some((FindingKind::Terminated, Remedy::Restart { order: id() }));
    assert_eq!(judge(&books(Status::Confirmed, &[Booked]), false, true), restart);
    assert_eq!(judge(&books(Status::Placed, &[]), false, false), restart);
    let left = books(Status::PartiallyShipped, &[Shipped, Booked]);
    assert_eq!(judge(&left, false, true), Some((FindingKind::Terminated, Remedy::Review)));
    assert_eq!(judge(&books(Status::Completed, &[Shipped]), false, true), None);
    assert_eq!(judge(&OrderBooks { rev: 0, ..books(Status::Placed, &[]) }, false, false), None);
    assert_eq!(judge(&OrderBooks { updated_at: at(BEFORE + 1), ..books(Status::Confirmed, &[]) }, false, true), None);
}

#[test]
fn an_order_that_goes_on_has_money_behind_it() {
    let judge = |books: &OrderBooks, funded| order(books, true, funded, before()).map(|f| f.kind);
    let confirmed = books(Status::Confirmed, &[]);
    assert_eq!(judge(&confirmed, true), None);
    assert_eq!(judge(&confirmed, false), Some(FindingKind::MissingPayment));
    assert_eq!(judge(&books(Status::Placed, &[]), false), None);
    assert_eq!(judge(&OrderBooks { total: eur(0), ..confirmed.clone() }, false), None);
    let mut told = confirmed;
    told.life.raise(Attention::new(UNFUNDED, None, "declined", at(1)));
    assert_eq!(judge(&told, false), None);
}

#[test]
fn only_what_stands_twice_with_the_same_figures_counts() {
    let order = books(Status::Shipped, &[]);
    let seen =
        |captured| payment(&paid(PaymentStatus::Captured, captured, 0, 0), Some(&order), Sums::default(), before()).unwrap();
    assert_eq!(standing(&[seen(10)], vec![seen(10)]), [seen(10)]);
    assert!(standing(&[seen(10)], vec![seen(20)]).is_empty(), "it is moving");
    assert!(standing(&[], vec![seen(10)]).is_empty());
    assert_eq!(seen(10).item(1), seen(20).item(1), "one item however often it is found");
    assert_ne!(seen(10).item(1), seen(10).item(2), "and another one when it comes back");
}

#[test]
fn days_are_days() {
    assert_eq!(Day::of(at(86_399)).as_str(), "1970-01-01");
    for bad in ["", "2026-1-31", "2026-02-30", "today", "2026-01-31T00:00:00Z"] {
        assert!(Day::parse(bad).is_err(), "{bad}");
    }
}
