//! A world whose workers are a process, and what can be done to a step of the saga there: make it fail, repeat its effect, see it.

use std::time::Duration;

use oms_contract::activity::effect_key;
use oms_domain::ids::{Location, OrderId, ShipmentId};
use oms_domain::order::Status;
use oms_domain::party::Party;
use oms_domain::payment::PaymentMethod;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_domain::shortage::ShortagePolicy;
use oms_domain::stock::{Quantity, Strategy};
use oms_gateways::carrier::{BookRequest, BookingStatus, CancelRequest, Carrier, Route};
use oms_gateways::faults::{Fault, FaultMode};
use oms_gateways::payment::{AuthorizeRequest, CaptureRequest, OperationKind, OperationResult, PaymentGateway, VoidRequest};
use oms_store::{CommitStock, OrderAudit, Reserve};
use oms_temporal::worker::WorkerTuning;
use oms_workflows::saga::{Step, Undo};

use super::database::Sql;
use super::roles::{Place, Process};
use super::until;
use super::world::{PATIENT, World, now, sku};

/// Where a step's trouble comes from.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// An outside party fails in one operation.
    Party(Party, &'static str),
    /// A statement of the database fails: the event of a trigger.
    Database(&'static str),
    /// Nobody works when it is reported.
    Report,
}

pub fn trouble(step: Step) -> Trouble {
    match step {
        Step::Reserve => Trouble::Database("INSERT ON reservations"),
        Step::Authorize => Trouble::Party(Party::Payment, "authorize"),
        Step::Book => Trouble::Party(Party::Carrier, "book"),
        Step::Ship => Trouble::Report,
        Step::Commit => Trouble::Database("INSERT ON departures"),
        Step::Capture => Trouble::Party(Party::Payment, "capture"),
    }
}

pub fn trouble_undoing(undo: Undo) -> Trouble {
    match undo {
        Undo::Release => Trouble::Database("UPDATE ON promises WHEN NEW.released_at IS NOT NULL"),
        Undo::Void => Trouble::Party(Party::Payment, "void"),
        Undo::CancelBooking => Trouble::Party(Party::Carrier, "cancel"),
    }
}

/// Whether the step happens after the parcel's departure is reported.
fn follows_the_report(step: Step) -> bool {
    match step {
        Step::Reserve | Step::Authorize | Step::Book => false,
        Step::Ship | Step::Commit | Step::Capture => true,
    }
}

/// The world, and its workers' process.
pub struct Bench {
    pub world: World,
    place: Place,
    worker: Option<Process>,
}

impl Bench {
    /// With the article `mug`, ten in stock, and workers.
    pub async fn new() -> Self {
        Self::under(&[]).await
    }

    /// The same, with settings of its workers' own.
    pub async fn under(settings: &[(&str, &str)]) -> Self {
        let mut world = World::idle(WorkerTuning::default()).await;
        world.patience.sql_attempt = Duration::from_secs(3);
        world.patience.gateway_attempt = Duration::from_secs(5);
        world.deadlines.capture_retry = Duration::from_millis(500);
        world.shelf("mug", "berlin", 10, 1999).await;
        let place = settings.iter().fold(Place::of(&world), |place, (name, value)| place.with(name, value));
        let worker = Some(place.worker().await);
        Self { world, place, worker }
    }

    /// SIGKILL to the workers' process.
    pub fn kill(&mut self) {
        self.worker.take().unwrap().kill();
    }

    /// New workers, in a process of their own.
    pub async fn restart(&mut self) {
        self.worker = Some(self.place.worker().await);
    }

    pub async fn mug(&self, key: &str) -> OrderId {
        self.world.place(key, "pm_card_visa", &[("mug", 1)]).await
    }

    /// From now on it fails.
    pub async fn make(&self, trouble: Trouble, mode: FaultMode) {
        match trouble {
            Trouble::Party(party, operation) => {
                let fault = Fault { mode, operation: Some(operation.into()), until: None };
                self.world.sandbox.faults.set(party, &fault).await.unwrap();
            }
            Trouble::Database(event) => self.world.sql().await.break_on(event).await,
            Trouble::Report => panic!("a report fails by nobody being there"),
        }
    }

    /// From now on it works again.
    pub async fn mend(&self, trouble: Trouble) {
        match trouble {
            Trouble::Party(party, _) => self.world.sandbox.faults.set(party, &Fault::lasting(FaultMode::None)).await.unwrap(),
            Trouble::Database(_) => self.world.sql().await.mend().await,
            Trouble::Report => {}
        }
    }

    /// Nobody else writes to the database as long as this lives.
    pub async fn lock(&self) -> Sql {
        let mut thief = self.world.sql().await;
        thief.lock().await;
        thief
    }

    /// Waits until an activity of the order is under way, in this attempt or a later one.
    pub async fn attempted(&self, id: &OrderId, activity: &str, attempt: i32) {
        until(&format!("{activity} of {id} is in attempt {attempt}"), PATIENT, || async {
            let run = self.world.run(id).describe(Default::default()).await.unwrap();
            let pending = &run.raw().pending_activities;
            let is = |name: &str| name == activity;
            pending.iter().any(|a| a.attempt >= attempt && a.activity_type.as_ref().is_some_and(|t| is(&t.name))).then_some(())
        })
        .await;
    }

    pub async fn booked(&self, id: &OrderId) {
        until(&format!("{id} has a courier"), PATIENT, || async {
            let shipments = self.world.order(id).await.life.shipments;
            (!shipments.is_empty() && shipments.iter().all(|s| s.status != ShipmentStatus::Pending)).then_some(())
        })
        .await;
    }

    /// Does what the world must do before the engine comes to the step.
    pub async fn bring(&self, id: &OrderId, step: Step) {
        if follows_the_report(step) {
            self.booked(id).await;
            let (run, report) = (self.world.run(id), super::world::report(id, 1, ScanType::Shipped));
            // nobody waits for the answer: the workers may be dead by then
            tokio::spawn(async move {
                let _ = run.execute_update(oms_contract::workflow::ShipmentEventUpdate, report, Default::default()).await;
            });
        }
    }

    /// Sees the order through, wherever it stands.
    pub async fn complete(&self, id: &OrderId) {
        self.booked(id).await;
        for kind in [ScanType::Shipped, ScanType::Delivered] {
            self.insist(id, kind).await;
        }
        assert_eq!(self.world.ends(id).await.status, Status::Completed);
        let order = self.world.reaches(id, Status::Completed).await;
        assert_eq!(order.life.payment.captured, order.totals.total);
        assert!(order.life.attention.is_empty(), "{:?}", order.life.attention);
    }

    /// Cancels the order and waits until everything is undone.
    pub async fn cancel(&self, id: &OrderId) {
        self.world.cancel(id).await.unwrap();
        self.cancelled(id).await;
    }

    pub async fn cancelled(&self, id: &OrderId) {
        assert_eq!(self.world.ends(id).await.status, Status::Cancelled);
        self.world.reaches(id, Status::Cancelled).await;
    }

    /// Reports until somebody hears it.
    async fn insist(&self, id: &OrderId, kind: ScanType) {
        let ask = || async {
            let (run, report) = (self.world.run(id), super::world::report(id, 1, kind));
            let update = run.execute_update(oms_contract::workflow::ShipmentEventUpdate, report, Default::default());
            tokio::time::timeout(Duration::from_secs(15), update).await.ok()?.ok()
        };
        until(&format!("{id} hears {kind:?}"), PATIENT, ask).await;
    }

    async fn gateway_did(&self, id: &OrderId, kind: OperationKind) -> bool {
        let payments = self.world.sandbox.payments.payments(Some(id)).await.unwrap();
        payments.iter().flat_map(|p| &p.operations).any(|o| o.kind == kind && o.result == OperationResult::Ok)
    }

    async fn courier(&self, id: &OrderId, status: BookingStatus) -> bool {
        let bookings = self.world.sandbox.carrier.bookings().await.unwrap();
        bookings.iter().any(|b| b.shipment_id == ShipmentId::of(id, 1) && b.status == status)
    }

    async fn units(&self, id: &OrderId) -> (u64, u64) {
        let order = self.audited(id).await;
        (order.held_units, order.committed_units)
    }

    /// Waits until the step has its effect, seen where it happens.
    pub async fn done(&self, id: &OrderId, step: Step) {
        eagerly(&format!("{step:?} of {id} took effect"), || async {
            match step {
                Step::Reserve => self.units(id).await != (0, 0),
                Step::Authorize => self.gateway_did(id, OperationKind::Authorize).await,
                Step::Book => self.courier(id, BookingStatus::Booked).await,
                Step::Ship => self.world.order(id).await.life.shipments[0].status.departed(),
                Step::Commit => self.units(id).await.1 > 0,
                Step::Capture => self.gateway_did(id, OperationKind::Capture).await,
            }
        })
        .await;
    }

    /// Whether our own books know of the step's effect.
    pub async fn is_noted(&self, id: &OrderId, step: Step) -> bool {
        let noted = |kind| async move { self.world.store.payment_operations(id).await.unwrap().iter().any(|o| o.kind == kind) };
        match step {
            Step::Authorize => noted(oms_store::OperationKind::Authorize).await,
            Step::Capture => noted(oms_store::OperationKind::Capture).await,
            Step::Book => self.audited(id).await.open_bookings > 0,
            // they happen nowhere else
            Step::Reserve | Step::Ship | Step::Commit => true,
        }
    }

    async fn audited(&self, id: &OrderId) -> OrderAudit {
        let orders = self.world.store.audit_orders(None, 10_000).await.unwrap();
        orders.into_iter().find(|o| o.id == *id).unwrap()
    }

    /// Waits until the undo has its effect, seen where it happens.
    pub async fn undone(&self, id: &OrderId, undo: Undo) {
        eagerly(&format!("{undo:?} of {id} took effect"), || async {
            match undo {
                Undo::Release => self.units(id).await == (0, 0),
                Undo::Void => self.gateway_did(id, OperationKind::Void).await,
                Undo::CancelBooking => self.courier(id, BookingStatus::Cancelled).await,
            }
        })
        .await;
    }

    /// Does the step's effect once more, from outside and under the same key.
    pub async fn repeat(&self, id: &OrderId, step: Step) {
        let (order, shipment_id) = (self.world.order(id).await, ShipmentId::of(id, 1));
        let (location, lines) = (Location::parse("berlin").unwrap(), vec![Quantity { sku: sku("mug"), quantity: 1 }]);
        let (amount, payments) = (order.totals.total, &self.world.sandbox.payments);
        match step {
            Step::Reserve => {
                let reserve = Reserve {
                    order_id: id.clone(),
                    revision: 1,
                    lines,
                    expires_at: now() + Duration::from_secs(60),
                    policy: ShortagePolicy::Reject,
                    placed_at: order.placed_at,
                    strategy: Strategy::FewestShipments,
                };
                self.world.store.reserve(&reserve, now()).await.unwrap();
            }
            Step::Authorize => {
                let (key, method) = (effect_key(id.as_str(), "authorize", 1), PaymentMethod("pm_card_visa".into()));
                let request = AuthorizeRequest { key, order_id: id.clone(), amount, method, now: now() };
                payments.authorize(request).await.unwrap();
            }
            Step::Book => {
                let key = effect_key(shipment_id.as_str(), "book", 1);
                let request =
                    BookRequest { key, shipment_id, route: Route::Out { from: location, to: order.ship_to }, now: now() };
                self.world.sandbox.carrier.book(request).await.unwrap();
            }
            Step::Ship => self.insist(id, ScanType::Shipped).await,
            Step::Commit => {
                let commit = CommitStock { order_id: id.clone(), shipment_id, location, lines };
                self.world.store.commit_stock(&commit, now()).await.unwrap();
            }
            Step::Capture => {
                let payment_id = payments.payments(Some(id)).await.unwrap().remove(0).payment_id;
                let request =
                    CaptureRequest { key: effect_key(shipment_id.as_str(), "capture", 1), payment_id, amount, now: now() };
                payments.capture(request).await.unwrap();
            }
        }
    }

    /// Does the undo from outside, under the same key: before its step, or once more.
    pub async fn take_back(&self, id: &OrderId, undo: Undo) {
        let shipment_id = ShipmentId::of(id, 1);
        match undo {
            Undo::Release => drop(self.world.store.release(id, now()).await.unwrap()),
            Undo::Void => {
                let of = |step: &str| effect_key(id.as_str(), step, 1);
                let request = VoidRequest { key: of("void"), authorize_key: of("authorize"), order_id: id.clone(), now: now() };
                self.world.sandbox.payments.void(request).await.unwrap();
            }
            Undo::CancelBooking => {
                let of = |step: &str| effect_key(shipment_id.as_str(), step, 1);
                let request =
                    CancelRequest { key: of("cancel"), book_key: of("book"), shipment_id: shipment_id.clone(), now: now() };
                self.world.sandbox.carrier.cancel(request).await.unwrap();
            }
        }
    }

    /// On hand, reserved, available.
    pub async fn stock(&self) -> (u64, u64, u64) {
        let level = self.world.store.stock(&sku("mug"), now()).await.unwrap().unwrap();
        (level.on_hand, level.reserved, level.available)
    }
}

/// Looks as often as it can: what is awaited is to be met in the act.
pub async fn eagerly<F: Future<Output = bool>>(what: &str, mut seen: impl FnMut() -> F) {
    let began = std::time::Instant::now();
    while !seen().await {
        assert!(began.elapsed() < PATIENT, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
