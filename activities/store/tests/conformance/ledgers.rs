//! The payments ledger, bookings and idempotency keys, and what the audit counts of them.

use crate::world::*;
use oms_store::*;

on_both!(payments, where_a_customer_authenticates, bookings_and_the_audit, keys);

fn held(outcome: AuthorizationOutcome) -> AuthorizationRow {
    let (payment_id, amount, expires_at) = (Some("pi_1".to_owned()), eur(2_963), Some(at(900)));
    AuthorizationRow { payment_id, outcome, amount, expires_at, code: None, action_url: None }
}

async fn payments(world: World) {
    use AuthorizationOutcome::*;
    let (store, order) = (&world.store, order_id("o"));
    let outcome = async || store.payment_operations(&order).await.unwrap()[0].outcome.clone();
    for (given, kept) in [(ActionRequired, "action_required"), (Held, "held"), (ActionRequired, "held"), (Declined, "held")] {
        store.record_authorization(&order, "k/auth", held(given), at(1)).await.unwrap();
        assert_eq!(outcome().await, kept);
    }
    let shipment = shipment_id("o", 1);
    for (given, n) in [(CaptureOutcome::Refused, 2), (CaptureOutcome::Captured, 3), (CaptureOutcome::Refused, 4)] {
        store.record_capture(&order, "k/cap", "pi_1", &shipment, eur(500), given, at(n)).await.unwrap();
    }
    for _ in 0..2 {
        store.record_void(&order, "k/void", None, at(5)).await.unwrap();
    }
    let operations = store.payment_operations(&order).await.unwrap();
    let seen: Vec<_> = operations.iter().map(|o| (o.kind, o.amount, o.outcome.as_str(), o.at)).collect();
    assert_eq!(
        seen,
        [
            (OperationKind::Authorize, Some(eur(2_963)), "held", kept(1)),
            (OperationKind::Capture, Some(eur(500)), "captured", kept(3)),
            (OperationKind::Void, None, "voided", kept(5)),
        ]
    );
    assert_eq!(operations[1].shipment_id, Some(shipment));
}

async fn where_a_customer_authenticates(world: World) {
    let store = &world.store;
    let order = world.placed("o", 0).await;
    let shown = async || store.order(&order.id).await.unwrap().unwrap().action_url;
    let url = Some("https://pay.example.com/p/1".to_owned());
    let asked = AuthorizationRow { action_url: url.clone(), ..held(AuthorizationOutcome::ActionRequired) };
    for n in 1..3 {
        store.record_authorization(&order.id, "k/auth/1", asked.clone(), at(n)).await.unwrap();
    }
    assert_eq!(shown().await, None, "the order does not wait for its customer yet");
    let mut life = order.life.clone();
    life.payment.status = oms_domain::payment::PaymentStatus::RequiresAction;
    store.record(&record("o", 1, life, vec![]), at(3)).await.unwrap();
    assert_eq!(shown().await, url);
    store.record_authorization(&order.id, "k/auth/1", held(AuthorizationOutcome::Held), at(4)).await.unwrap();
    assert_eq!(shown().await, None, "the gateway has its answer");
}

async fn bookings_and_the_audit(world: World) {
    let store = &world.store;
    world.stocked("a", "berlin", 5).await;
    let order = world.placed("o", 0).await;
    world.reserve("o", &[("a", 2)], 0).await;
    let booking = |key: &str| BookingRow {
        key: key.to_owned(),
        order_id: order.id.clone(),
        shipment_id: shipment_id("o", 1),
        carrier: "DHL".to_owned(),
        tracking_number: "T-1".to_owned(),
        reference: "r".to_owned(),
        label: None,
        at: at(1),
    };
    store.record_authorization(&order.id, "k/auth", held(AuthorizationOutcome::Held), at(1)).await.unwrap();
    store
        .record_capture(&order.id, "k/cap", "pi_1", &shipment_id("o", 1), eur(9), CaptureOutcome::Captured, at(1))
        .await
        .unwrap();
    for _ in 0..2 {
        store.record_booking(&booking("b-1")).await.unwrap();
    }
    store.record_booking(&booking("b-2")).await.unwrap();
    store.record_booking_cancelled("b-2", at(2)).await.unwrap();
    store.record_booking_cancelled("b-3", at(2)).await.unwrap();
    store.record_booking(&booking("b-3")).await.unwrap();
    store.commit_stock(&parcel("o", "berlin", &[("a", 1)]), at(3)).await.unwrap();
    let audit = store.audit_orders(None, 9).await.unwrap().remove(0);
    assert_eq!((audit.open_bookings, audit.ordered_units, audit.held_units), (1, 2, 1));
    assert_eq!((audit.committed_units, audit.departed_units, audit.ledger_voids), (1, 1, 0));
    assert_eq!((audit.ledger_authorized, audit.ledger_captured), (eur(2_963), eur(9)));
    assert_eq!((audit.totals, audit.rev, audit.outbox_unpublished_since), (order.totals, 0, None));
}

async fn keys(world: World) {
    let store = &world.store;
    let mine = claim("k", "body");
    let firsts = race(16, |_| {
        let (store, mine) = (world.store.clone(), mine.clone());
        async move { store.claim_key(&mine, at(0)).await.unwrap() == Claimed::Fresh }
    })
    .await;
    assert_eq!(firsts.into_iter().filter(|fresh| *fresh).count(), 1);
    assert_eq!(store.claim_key(&mine, at(1)).await.unwrap(), Claimed::Again);
    assert_eq!(store.claim_key(&claim("k", "other"), at(1)).await.unwrap(), Claimed::Reused);
    let elsewhere = KeyClaim { client: "another".to_owned(), ..claim("k", "other") };
    assert_eq!(store.claim_key(&elsewhere, at(1)).await.unwrap(), Claimed::Fresh);
    store.abandon_key(&mine).await.unwrap();
    assert_eq!(store.claim_key(&claim("k", "other"), at(2)).await.unwrap(), Claimed::Fresh, "a refusal does not use it up");
    store.finish_key(&claim("k", "other"), 200, "order-1", at(3)).await.unwrap();
    store.finish_key(&claim("k", "other"), 500, "order-2", at(4)).await.unwrap();
    store.abandon_key(&claim("k", "other")).await.unwrap();
    let done = Claimed::Done { status: 200, subject: "order-1".to_owned() };
    assert_eq!(store.claim_key(&claim("k", "other"), at(5)).await.unwrap(), done);
}
