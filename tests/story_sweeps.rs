//! Every step of the stories beside an order's run (refund, return, aftermath), swept as the saga's are: fail it, run it twice, lose
//! its answer, kill the worker after it. The books balance every time, and the story ends as it should.

use std::time::Duration;

use futures::{StreamExt, stream};
use oms_contract::activity::effect_key;
use oms_contract::command::Resolve;
use oms_contract::names::{Queue, aftermath_workflow, refund_workflow, return_workflow};
use oms_contract::start::AftermathStart;
use oms_contract::workflow as mark;
use oms_domain::ids::{Location, OrderId, ShipmentId};
use oms_domain::life::Why;
use oms_domain::order::Status;
use oms_domain::party::Party;
use oms_domain::refund::{Ask, RefundId, RefundState};
use oms_domain::returning::{Condition, ReturnId, ReturnState};
use oms_domain::review::{DEPARTED_AFTER_CANCEL, Resolution};
use oms_domain::shipment::ScanType;
use oms_domain::stock::Quantity;
use oms_gateways::carrier::{BookRequest, BookingStatus, CancelRequest, Carrier, Route};
use oms_gateways::faults::FaultMode;
use oms_gateways::payment::{PaymentGateway, RefundRequest};
use oms_store::{CommitStock, RestockUnits};
use temporalio_client::{UntypedWorkflow, WorkflowStartOptions};

use crate::refunds::{self, delivered, open_item, refund_is, returned};
use crate::returns::{self, approve, receive, unit};
use crate::support::bench::{Bench, Trouble, eagerly};
use crate::support::world::{PATIENT, now, report, sku};
use crate::support::{books, until};

/// Benches at once: they mostly wait, but each has a worker process of its own.
const AT_ONCE: usize = 3;
const UNITS: u32 = 2;
/// Goods that do not come back are not waited for longer than this.
const RETURN_MAX: Duration = Duration::from_secs(8);

/// A step of a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The gateway returns money.
    PayBack,
    /// A person has returned it elsewhere.
    CloseRefund,
    /// The parcel that comes back is booked.
    BookReturn,
    /// It is called off.
    CancelReturn,
    /// What came back is on the shelf.
    Restock,
    /// The return's row is written.
    RecordReturn,
    /// A parcel left although its order was cancelled: the stock follows it.
    Depart,
}

impl Step {
    const ALL: [Self; 7] =
        [Self::PayBack, Self::CloseRefund, Self::BookReturn, Self::CancelReturn, Self::Restock, Self::RecordReturn, Self::Depart];

    fn activity(self) -> &'static str {
        match self {
            Self::PayBack => "payment.refund",
            Self::CloseRefund => "refund.close",
            Self::BookReturn => "shipping.book_return",
            Self::CancelReturn => "shipping.cancel_return",
            Self::Restock => "inventory.restock",
            Self::RecordReturn => "returns.record",
            Self::Depart => "inventory.depart",
        }
    }

    fn trouble(self) -> Trouble {
        match self {
            Self::PayBack => Trouble::Party(Party::Payment, "refund"),
            Self::CloseRefund => Trouble::Database("UPDATE OF settled_at ON refunds"),
            Self::BookReturn => Trouble::Party(Party::Carrier, "book"),
            Self::CancelReturn => Trouble::Party(Party::Carrier, "cancel"),
            Self::Restock => Trouble::Database("INSERT ON restocks"),
            Self::RecordReturn => Trouble::Database("UPDATE OF rev ON returns"),
            Self::Depart => Trouble::Database("INSERT ON departures"),
        }
    }

    fn is_outside(self) -> bool {
        matches!(self.trouble(), Trouble::Party(..))
    }
}

/// One order, and the story that comes to the step.
struct Story {
    step: Step,
    order: OrderId,
    refund: RefundId,
    back: ReturnId,
}

fn commit(order: &OrderId) -> CommitStock {
    CommitStock {
        order_id: order.clone(),
        shipment_id: ShipmentId::of(order, 1),
        location: Location::parse("berlin").unwrap(),
        lines: vec![Quantity { sku: sku("mug"), quantity: UNITS }],
    }
}

impl Story {
    /// Everything that comes before the step.
    async fn begin(bench: &mut Bench, step: Step) -> Self {
        if step == Step::CancelReturn {
            bench.world.deadlines.return_ = RETURN_MAX;
        }
        let world = &bench.world;
        let order = if step == Step::Depart {
            let id = world.place("one", "pm_card_visa", &[("mug", UNITS)]).await;
            bench.booked(&id).await;
            bench.cancel(&id).await;
            id
        } else {
            delivered(world, "one", "pm_card_visa", UNITS).await
        };
        let (refund, back) = (RefundId::from_key(order.as_str(), "all"), ReturnId::from_key(&order, "r"));
        match step {
            Step::PayBack | Step::Depart => {}
            Step::CloseRefund => {
                // somebody returns the money by hand, so the gateway refuses to do it again
                let payment = world.sandbox.payments.payments(Some(&order)).await.unwrap().remove(0);
                let amount = world.order(&order).await.totals.total;
                let by_hand = RefundRequest { key: "by-hand".into(), payment_id: payment.payment_id, amount, now: now() };
                world.sandbox.payments.refund(by_hand).await.unwrap();
                refunds::ask(world, &order, "all", Ask::default()).await;
                open_item(world, "refund_refused").await;
            }
            Step::BookReturn | Step::RecordReturn => {
                returns::ask(world, &order, "r", UNITS).await;
            }
            Step::CancelReturn | Step::Restock => {
                returns::ask(world, &order, "r", UNITS).await;
                assert!(approve(world, &back).await);
                returns::is(world, &back, "labelled", |r| r.body.label.is_some()).await;
            }
        }
        Self { step, order, refund, back }
    }

    fn workflow(&self) -> String {
        match self.step {
            Step::PayBack | Step::CloseRefund => refund_workflow(&self.refund),
            Step::BookReturn | Step::CancelReturn | Step::Restock | Step::RecordReturn => return_workflow(&self.back),
            Step::Depart => aftermath_workflow(&ShipmentId::of(&self.order, 1), "shipped-1"),
        }
    }

    /// What leads to the step.
    async fn go(&self, bench: &Bench) {
        let world = &bench.world;
        match self.step {
            Step::PayBack => drop(refunds::ask(world, &self.order, "all", Ask::default()).await),
            Step::CloseRefund => {
                let item = open_item(world, "refund_refused").await;
                let command = Resolve {
                    item: item.id,
                    action: Resolution::UseExternalReference,
                    reference: Some("by-hand".into()),
                    reason: Why::parse("returned by hand").unwrap(),
                    actor: None,
                };
                let run = world.client.get_workflow_handle::<mark::Refund>(self.workflow());
                run.execute_update(mark::ResolveRefundUpdate, command, Default::default()).await.unwrap();
            }
            Step::BookReturn | Step::RecordReturn => assert!(approve(world, &self.back).await),
            // it comes by itself, in time
            Step::CancelReturn => {}
            Step::Restock => receive(world, &self.back, vec![unit(UNITS, Condition::Restock)], true).await,
            Step::Depart => {
                let commit = commit(&self.order);
                let start = AftermathStart {
                    order_id: self.order.clone(),
                    scan: report(&self.order, 1, ScanType::Shipped).scan,
                    location: commit.location,
                    lines: commit.lines,
                    reported_at: now(),
                    patience: world.patience,
                };
                let options = WorkflowStartOptions::new(Queue::Orders.name(), self.workflow()).build();
                world.client.start_workflow(mark::Aftermath, start, options).await.unwrap();
            }
        }
    }

    /// Waits until the step is under way, in this attempt or a later one.
    async fn attempted(&self, bench: &Bench, attempt: i32) {
        let (id, activity) = (self.workflow(), self.step.activity());
        until(&format!("{activity} of {id} is in attempt {attempt}"), PATIENT, || async {
            let run = bench.world.client.get_workflow_handle::<UntypedWorkflow>(id.clone());
            let run = run.describe(Default::default()).await.ok()?;
            let is = |name: &str| name == activity;
            let mut pending = run.raw().pending_activities.iter();
            pending.any(|a| a.attempt >= attempt && a.activity_type.as_ref().is_some_and(|t| is(&t.name))).then_some(())
        })
        .await;
    }

    /// Waits until the step has its effect, seen where it happens.
    async fn has_happened(&self, bench: &Bench) {
        eagerly(&format!("{:?} took effect", self.step), || self.happened(bench)).await;
    }

    async fn happened(&self, bench: &Bench) -> bool {
        let world = &bench.world;
        let rows = async |of: &'static str, id: &str| world.sql().await.number(of, id).await > 0;
        match self.step {
            Step::PayBack => returned(world, &self.order).await.0 > 0,
            Step::CloseRefund => world.store.refund(&self.refund).await.unwrap().unwrap().state == RefundState::Closed,
            Step::BookReturn => self.bookings(bench).await == [BookingStatus::Booked],
            Step::CancelReturn => self.bookings(bench).await == [BookingStatus::Cancelled],
            Step::Restock => rows("SELECT COUNT(*) FROM restocks WHERE return_id = $1", self.back.as_str()).await,
            Step::RecordReturn => {
                let row = world.store.return_(&self.back).await.unwrap().unwrap();
                row.body.state == ReturnState::Approved
            }
            Step::Depart => rows("SELECT COUNT(*) FROM departures WHERE order_id = $1", self.order.as_str()).await,
        }
    }

    async fn bookings(&self, bench: &Bench) -> Vec<BookingStatus> {
        let bookings = bench.world.sandbox.carrier.bookings().await.unwrap();
        bookings.iter().filter(|b| b.shipment_id.as_str() == self.back.as_str()).map(|b| b.status).collect()
    }

    /// Does the step once more, from outside and under the same key.
    async fn repeat(&self, bench: &Bench) {
        let (world, carrier) = (&bench.world, &bench.world.sandbox.carrier);
        let key = |step: &str| effect_key(self.back.as_str(), step, 1);
        let shipment_id = ShipmentId::parse(self.back.as_str()).unwrap();
        match self.step {
            Step::PayBack => {
                let payments = &world.sandbox.payments;
                let payment = payments.payments(Some(&self.order)).await.unwrap().remove(0);
                let amount = world.order(&self.order).await.totals.total;
                let key = format!("{}/refund/1/1", self.refund);
                payments.refund(RefundRequest { key, payment_id: payment.payment_id, amount, now: now() }).await.unwrap();
            }
            Step::CloseRefund => world.store.close_refund(&self.refund, "by-hand", now()).await.unwrap(),
            Step::BookReturn => {
                let (to, from) = (Location::parse("berlin").unwrap(), world.order(&self.order).await.ship_to);
                let route = Route::Back { from, to, address: None };
                carrier.book(BookRequest { key: key("book"), shipment_id, route, now: now() }).await.unwrap();
            }
            Step::CancelReturn => {
                let request = CancelRequest { key: key("cancel"), book_key: key("book"), shipment_id, now: now() };
                carrier.cancel(request).await.unwrap();
            }
            Step::Restock => {
                let units = RestockUnits {
                    return_id: self.back.clone(),
                    order_id: self.order.clone(),
                    receipt: 1,
                    units: vec![unit(UNITS, Condition::Restock)],
                    actor: "clerk".into(),
                };
                assert!(!world.store.restock(&units, now()).await.unwrap(), "it was done before");
            }
            Step::RecordReturn => {
                let row = world.store.return_(&self.back).await.unwrap().unwrap();
                world.store.record_return(&self.back, row.rev, &row.body, now()).await.unwrap();
            }
            Step::Depart => drop(world.store.depart(&commit(&self.order), now()).await.unwrap()),
        }
    }

    /// Sees the story through, and its books.
    async fn end(&self, bench: Bench) {
        let (world, step) = (&bench.world, self.step);
        let total = world.order(&self.order).await.totals.total.minor;
        let on_hand = match step {
            Step::PayBack | Step::CloseRefund => {
                let state = if step == Step::PayBack { RefundState::Returned } else { RefundState::Closed };
                refund_is(world, &self.refund, state).await;
                assert_eq!(returned(world, &self.order).await, (1, total), "{step:?}");
                assert_eq!(world.order(&self.order).await.life.payment.refunded.minor, total, "{step:?}");
                8
            }
            Step::CancelReturn => {
                assert_eq!(returns::ended(world, &self.back).await, ReturnState::Expired);
                assert_eq!(self.bookings(&bench).await, [BookingStatus::Cancelled]);
                8
            }
            Step::BookReturn | Step::RecordReturn | Step::Restock => {
                returns::is(world, &self.back, "labelled", |r| r.body.label.is_some()).await;
                if step != Step::Restock {
                    receive(world, &self.back, vec![unit(UNITS, Condition::Restock)], true).await;
                }
                assert_eq!(returns::ended(world, &self.back).await, ReturnState::Completed);
                assert_eq!(self.bookings(&bench).await, [BookingStatus::Booked], "{step:?}");
                refund_is(world, &RefundId::from_key(self.back.as_str(), "1"), RefundState::Returned).await;
                assert_eq!(returned(world, &self.order).await.0, 1, "{step:?}");
                10
            }
            Step::Depart => {
                let run = world.client.get_workflow_handle::<mark::Aftermath>(self.workflow());
                tokio::time::timeout(PATIENT, run.get_result(Default::default())).await.unwrap().unwrap();
                let life = world.order(&self.order).await.life;
                assert_eq!(life.status, Status::Cancelled);
                let flags: Vec<_> = life.attention.iter().map(|flag| flag.code.as_str()).collect();
                assert_eq!(flags, [DEPARTED_AFTER_CANCEL]);
                8
            }
        };
        assert_eq!(bench.stock().await, (on_hand, 0, on_hand), "{step:?}");
        books::balanced(world).await;
        bench.world.end().await;
    }
}

async fn sweep<F: Future<Output = ()>>(steps: impl IntoIterator<Item = Step>, of: impl Fn(Step) -> F) {
    stream::iter(steps).for_each_concurrent(AT_ONCE, of).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_of_a_story_is_repeated_until_it_works() {
    sweep(Step::ALL, |step| async move {
        let mut bench = Bench::new().await;
        let story = Story::begin(&mut bench, step).await;
        bench.make(step.trouble(), FaultMode::Down).await;
        story.go(&bench).await;
        story.attempted(&bench, 2).await;
        bench.mend(step.trouble()).await;
        story.has_happened(&bench).await;
        story.end(bench).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_a_story_that_runs_twice_has_its_effect_once() {
    sweep(Step::ALL, |step| async move {
        let mut bench = Bench::new().await;
        let story = Story::begin(&mut bench, step).await;
        story.go(&bench).await;
        story.has_happened(&bench).await;
        story.repeat(&bench).await;
        story.end(bench).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_a_story_is_found_again() {
    sweep(Step::ALL.into_iter().filter(|step| step.is_outside()), |step| async move {
        let mut bench = Bench::new().await;
        let story = Story::begin(&mut bench, step).await;
        bench.make(step.trouble(), FaultMode::CommitThenDrop).await;
        story.go(&bench).await;
        story.has_happened(&bench).await;
        bench.mend(step.trouble()).await;
        story.end(bench).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_right_after_a_step_of_a_story_loses_and_repeats_nothing() {
    sweep(Step::ALL, |step| async move {
        let mut bench = Bench::new().await;
        let story = Story::begin(&mut bench, step).await;
        let mut lock = None;
        if step.is_outside() {
            bench.make(step.trouble(), FaultMode::Slow).await;
            story.go(&bench).await;
            story.attempted(&bench, 1).await;
            // an effect outside that cannot be noted here: the worker dies between the two for certain
            lock = Some(bench.lock().await);
        } else {
            story.go(&bench).await;
        }
        story.has_happened(&bench).await;
        bench.kill();
        drop(lock);
        if step.is_outside() {
            bench.mend(step.trouble()).await;
        }
        bench.restart().await;
        story.end(bench).await;
    })
    .await;
}
