//! Every step of an order's bends, swept as the saga's are: fail it, lose its answer, kill the worker after it. The books balance
//! every time, and the order ends as it should.

use std::time::Duration;

use futures::{StreamExt, stream};
use oms_contract::command::{ChangeAddress, Decide, Edit, Review};
use oms_contract::refund::RequestRefund;
use oms_contract::start::{OrderLine, OrderStart};
use oms_contract::workflow as mark;
use oms_domain::customer::Line;
use oms_domain::ids::{HoldId, OrderId, ShipmentId};
use oms_domain::life::Why;
use oms_domain::order::Status;
use oms_domain::party::Party;
use oms_domain::pricing::{PriceRules, PricedLine};
use oms_domain::review::ReviewDecision;
use oms_domain::risk::RiskRules;
use oms_domain::shipment::{ScanType, ShipmentStatus};
use oms_domain::shortage::{Decision, OnShortage, ShortagePolicy};
use oms_gateways::carrier::BookingStatus;
use oms_gateways::faults::{Fault, FaultMode};
use oms_gateways::payment::{OperationKind, OperationResult};
use temporalio_common::UpdateDefinition;

use crate::support::bench::{Bench, Trouble, eagerly};
use crate::support::world::{PATIENT, eur, now, report, sku};
use crate::support::{books, until};

/// Benches at once: they mostly wait, but each has a worker process of its own.
const AT_ONCE: usize = 3;
const PRICE: i64 = 1_999;
const RULES: PriceRules = PriceRules { shipping_minor: 490, tax_bps: 1_900 };
/// Between two attempts to book a courier whose address changes meanwhile.
const PAUSE: Duration = Duration::from_secs(4);
/// Long enough for an order on a busy machine to be confirmed, short enough to be renewed while a test waits.
const LIFETIME: &str = "8s";

/// A step of an order's bends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bend {
    /// The shop's rules look at the order.
    Assess,
    /// The promise follows an edit.
    EditChange,
    /// The customer pays more after an edit.
    EditAuthorize,
    /// The hold that an edit has replaced is released.
    EditVoid,
    /// The promise is cut to what has come.
    ShortageChange,
    /// The hold that is about to end is released.
    RenewVoid,
    /// The funds are held anew.
    RenewAuthorize,
    /// The courier with the old address on the label is called off.
    Redirect,
    /// What is held beyond what was taken is released.
    ReleaseRest,
    /// A refund becomes a row.
    RequestRefund,
}

impl Bend {
    const ALL: [Self; 10] = [
        Self::Assess,
        Self::EditChange,
        Self::EditAuthorize,
        Self::EditVoid,
        Self::ShortageChange,
        Self::RenewVoid,
        Self::RenewAuthorize,
        Self::Redirect,
        Self::ReleaseRest,
        Self::RequestRefund,
    ];

    fn activity(self) -> &'static str {
        match self {
            Self::Assess => "orders.assess",
            Self::EditChange | Self::ShortageChange => "inventory.change",
            Self::EditAuthorize | Self::RenewAuthorize => "payment.authorize",
            Self::EditVoid | Self::RenewVoid | Self::ReleaseRest => "payment.void",
            Self::Redirect => "shipping.cancel",
            Self::RequestRefund => "refund.request",
        }
    }

    /// Where its trouble comes from; the look of the rules only reads.
    fn trouble(self) -> Option<Trouble> {
        Some(match self {
            Self::Assess => return None,
            Self::EditChange | Self::ShortageChange => Trouble::Database("UPDATE OF last_change ON promises"),
            Self::EditAuthorize | Self::RenewAuthorize => Trouble::Party(Party::Payment, "authorize"),
            Self::EditVoid | Self::RenewVoid | Self::ReleaseRest => Trouble::Party(Party::Payment, "void"),
            Self::Redirect => Trouble::Party(Party::Carrier, "cancel"),
            Self::RequestRefund => Trouble::Database("INSERT ON refunds"),
        })
    }

    fn is_outside(self) -> bool {
        matches!(self.trouble(), Some(Trouble::Party(..)))
    }

    /// Whether the order may still be cancelled while the step is under way.
    fn may_be_cancelled(self) -> bool {
        !matches!(self, Self::ReleaseRest | Self::RequestRefund)
    }

    /// The order's units: asked for at first, and shipped in the end.
    fn units(self) -> (u32, u32) {
        match self {
            Self::EditChange | Self::EditAuthorize | Self::EditVoid => (2, 3),
            Self::ShortageChange => (9, 5),
            Self::ReleaseRest => (3, 1),
            Self::Assess | Self::RenewVoid | Self::RenewAuthorize | Self::Redirect | Self::RequestRefund => (2, 2),
        }
    }
}

/// One order that comes to a bend, with an article of its own, five in stock.
struct Story {
    bend: Bend,
    name: &'static str,
    id: OrderId,
    hold: Option<HoldId>,
}

const SHELF: i64 = 5;

fn why() -> Why {
    Why::parse("for a test").unwrap()
}

impl Story {
    /// Up to just before the step.
    async fn begin(bench: &Bench, bend: Bend, name: &'static str) -> Self {
        bench.world.shelf(name, "berlin", SHELF, PRICE).await;
        let on_shortage = match bend {
            Bend::ShortageChange => OnShortage { policy: ShortagePolicy::Wait, max: Some(Duration::from_millis(300)) },
            _ => OnShortage::default(),
        };
        let terms = |start: &mut OrderStart| match bend {
            Bend::Assess => start.risk = RiskRules { amount_min: Some(1), ..RiskRules::default() },
            // time to change the address before the courier is asked for again
            Bend::Redirect => (start.patience.first, start.patience.most) = (PAUSE, PAUSE),
            _ => {}
        };
        if bend == Bend::Redirect {
            // booked, and nobody knows
            let fault = Fault { mode: FaultMode::CommitThenDrop, operation: Some("book".into()), until: None };
            bench.world.sandbox.faults.set(Party::Carrier, &fault).await.unwrap();
        }
        let id = bench.world.place_under(name, "pm_card_visa", &[(name, bend.units().0)], on_shortage, terms).await;
        let mut story = Self { bend, name, id, hold: None };
        match bend {
            Bend::Assess => {}
            Bend::Redirect => story.courier(bench, BookingStatus::Booked).await,
            Bend::ShortageChange => {
                story.shows(bench, "a question", |order| order.life.question.is_some()).await;
            }
            Bend::RequestRefund => {
                story.is_booked(bench).await;
                story.reported(bench, ScanType::Shipped).await;
                story.shows(bench, "that it is paid", |order| order.life.payment.captured == order.totals.total).await;
            }
            _ => {
                // a label would close the order for changes, and a capture would end the renewals
                story.hold = Some(bench.world.hold(&story.id, None).await);
                story.shows(bench, "that it is confirmed", |order| order.life.status == Status::Confirmed).await;
                if bend == Bend::ReleaseRest {
                    story.edit(bench, bend.units().1).await;
                    story.shows(bench, "the edit", |order| order.lines[0].quantity == bend.units().1).await;
                    story.let_go(bench).await;
                    story.is_booked(bench).await;
                }
            }
        }
        story
    }

    /// What leads to the step.
    async fn go(&self, bench: &Bench) {
        match self.bend {
            Bend::Assess | Bend::RenewVoid | Bend::RenewAuthorize => {}
            Bend::EditChange | Bend::EditAuthorize | Bend::EditVoid => self.edit(bench, self.bend.units().1).await,
            Bend::ShortageChange => {
                let decide = Decide { decision: Decision::ShipAvailable, round: None, actor: None };
                self.ask(bench, mark::DecideUpdate, decide).await;
            }
            Bend::Redirect => {
                let mut address = bench.world.order(&self.id).await.ship_to;
                address.city = Line::parse("Bremen").unwrap();
                let change_id = format!("change-{}", self.id);
                bench.world.store.propose_address(&change_id, &self.id, &address, now()).await.unwrap();
                self.ask(bench, mark::ChangeAddressUpdate, ChangeAddress { change_id, reason: None, actor: None }).await;
            }
            Bend::ReleaseRest => {
                self.reported(bench, ScanType::Shipped).await;
                self.reported(bench, ScanType::Delivered).await;
            }
            Bend::RequestRefund => {
                let refund = RequestRefund {
                    lines: Vec::new(),
                    amount: None,
                    shipping: false,
                    reason: why(),
                    refund_id: None,
                    actor: None,
                };
                self.ask(bench, mark::RefundUpdate, refund).await;
            }
        }
    }

    async fn ask<U>(&self, bench: &Bench, update: U, input: U::Input)
    where
        U: UpdateDefinition<Workflow = mark::Order>,
        U::Input: Send,
        U::Output: 'static,
    {
        bench.world.run(&self.id).execute_update(update, input, Default::default()).await.unwrap();
    }

    async fn edit(&self, bench: &Bench, quantity: u32) {
        let total = eur(PRICE).times(quantity).unwrap();
        let name = Line::parse(self.name).unwrap();
        let line = PricedLine { sku: sku(self.name), name, quantity, unit_price: eur(PRICE), discount: None, total };
        let (edit_id, totals) = (format!("edit-{}", self.id), RULES.on(total).unwrap());
        bench.world.store.propose_edit(&edit_id, &self.id, &[line], &totals, now()).await.unwrap();
        let lines = vec![OrderLine { sku: sku(self.name), quantity, total }];
        self.ask(
            bench,
            mark::EditUpdate,
            Edit { edit_id, lines, totals, cancels: false, if_rev: None, reason: None, actor: None },
        )
        .await;
    }

    async fn let_go(&mut self, bench: &Bench) {
        if let Some(hold) = self.hold.take() {
            bench.world.release(&self.id, &hold).await;
        }
    }

    async fn shows(&self, bench: &Bench, what: &str, seen: impl Fn(&oms_store::StoredOrder) -> bool) {
        let order = || async { Some(bench.world.order(&self.id).await).filter(&seen).map(drop) };
        until(&format!("{:?} {} shows {what}", self.bend, self.id), PATIENT, order).await;
    }

    async fn is_booked(&self, bench: &Bench) {
        self.shows(bench, "a courier for everything", |order| {
            let live: Vec<_> = order.life.live_shipments().map(|s| s.status).collect();
            !order.life.editing && !live.is_empty() && !live.contains(&ShipmentStatus::Pending)
        })
        .await;
    }

    /// Reports it of every parcel, until somebody hears it.
    async fn reported(&self, bench: &Bench, kind: ScanType) {
        for shipment in bench.world.order(&self.id).await.life.live_shipments() {
            let number = shipment.id.as_str().rsplit_once('-').unwrap().1.parse().unwrap();
            let ask = || async {
                let run = bench.world.run(&self.id);
                let update = run.execute_update(mark::ShipmentEventUpdate, report(&self.id, number, kind), Default::default());
                tokio::time::timeout(Duration::from_secs(15), update).await.ok()?.ok()
            };
            until(&format!("{} hears {kind:?}", shipment.id), PATIENT, ask).await;
        }
    }

    async fn courier(&self, bench: &Bench, status: BookingStatus) {
        eagerly(&format!("the courier of {} is {status:?}", self.id), || self.has_courier(bench, status)).await;
    }

    async fn has_courier(&self, bench: &Bench, status: BookingStatus) -> bool {
        let bookings = bench.world.sandbox.carrier.bookings().await.unwrap();
        bookings.iter().any(|b| b.shipment_id == ShipmentId::of(&self.id, 1) && b.status == status)
    }

    /// Waits until the step has its effect, seen where it happens.
    async fn has_happened(&self, bench: &Bench) {
        eagerly(&format!("{:?} of {} took effect", self.bend, self.id), || self.happened(bench)).await;
    }

    async fn happened(&self, bench: &Bench) -> bool {
        let world = &bench.world;
        match self.bend {
            Bend::Assess => world.order(&self.id).await.life.status == Status::InReview,
            Bend::EditChange | Bend::ShortageChange => {
                let change = "SELECT last_change FROM promises WHERE order_id = $1";
                world.sql().await.number(change, self.id.as_str()).await > 0
            }
            Bend::EditAuthorize | Bend::RenewAuthorize => self.gateway_did(bench, OperationKind::Authorize).await > 1,
            Bend::EditVoid | Bend::RenewVoid | Bend::ReleaseRest => self.gateway_did(bench, OperationKind::Void).await > 0,
            Bend::Redirect => self.has_courier(bench, BookingStatus::Cancelled).await,
            Bend::RequestRefund => !world.store.refunds(&self.id).await.unwrap().is_empty(),
        }
    }

    async fn gateway_did(&self, bench: &Bench, kind: OperationKind) -> usize {
        let payments = bench.world.sandbox.payments.payments(Some(&self.id)).await.unwrap();
        payments.iter().flat_map(|p| &p.operations).filter(|o| o.kind == kind && o.result == OperationResult::Ok).count()
    }

    /// Sees the order through, and its books.
    async fn end(mut self, bench: &Bench) {
        let (world, bend) = (&bench.world, self.bend);
        match bend {
            Bend::Assess => {
                // a run that lost its last task with its worker comes to the review anew
                let approve = Review { decision: ReviewDecision::Approve, reason: why(), actor: None };
                let approved = || async {
                    let run = bench.world.run(&self.id);
                    run.execute_update(mark::ReviewUpdate, approve.clone(), Default::default()).await.ok()
                };
                until("the review is decided", PATIENT, approved).await;
            }
            Bend::EditChange | Bend::EditAuthorize | Bend::EditVoid => {
                self.shows(bench, "the edit", |order| order.lines[0].quantity == bend.units().1).await;
            }
            Bend::RenewVoid | Bend::RenewAuthorize => {
                eagerly("the funds are held anew", || async { self.gateway_did(bench, OperationKind::Authorize).await > 1 })
                    .await;
            }
            Bend::Redirect => {
                self.shows(bench, "the new address", |order| order.ship_to.city.as_str() == "Bremen").await;
            }
            Bend::ShortageChange | Bend::ReleaseRest | Bend::RequestRefund => {}
        }
        self.let_go(bench).await;
        if bend != Bend::ReleaseRest {
            self.is_booked(bench).await;
            self.reported(bench, ScanType::Shipped).await;
            self.reported(bench, ScanType::Delivered).await;
        }
        let status = if bend == Bend::ShortageChange { Status::PartiallyFulfilled } else { Status::Completed };
        assert_eq!(world.ends(&self.id).await.status, status, "{bend:?}");
        let refunds = bend == Bend::RequestRefund;
        self.shows(bench, "its end", |order| {
            order.life.status == status && refunds == (order.life.payment.refunded == order.life.payment.captured)
        })
        .await;
        let order = world.order(&self.id).await;
        let (totals, payment) = (RULES.on(eur(PRICE).times(bend.units().1).unwrap()).unwrap(), &order.life.payment);
        assert_eq!(order.totals, totals, "{bend:?}");
        assert_eq!((payment.captured, payment.authorized), (totals.total, totals.total), "{bend:?}");
        assert!(order.life.attention.is_empty(), "{bend:?}: {:?}", order.life.attention);
        self.shelf_has(bench, SHELF - i64::from(bend.units().1)).await;
    }

    async fn shelf_has(&self, bench: &Bench, units: i64) {
        let level = bench.world.store.stock(&sku(self.name), now()).await.unwrap().unwrap();
        assert_eq!((i64::try_from(level.on_hand).unwrap(), level.reserved), (units, 0), "{:?} {}", self.bend, self.name);
    }

    /// It was cancelled, and everything is taken back.
    async fn is_cancelled(&self, bench: &Bench) {
        bench.cancelled(&self.id).await;
        self.shelf_has(bench, SHELF).await;
    }
}

async fn bench(bend: Bend) -> Bench {
    match bend {
        Bend::RenewVoid | Bend::RenewAuthorize => Bench::under(&[("OMS__DEADLINES__AUTHORIZATION", LIFETIME)]).await,
        _ => Bench::new().await,
    }
}

async fn sweep<F: Future<Output = ()>>(bends: impl IntoIterator<Item = Bend>, of: impl Fn(Bend) -> F) {
    stream::iter(bends).for_each_concurrent(AT_ONCE, of).await;
}

async fn balanced(bench: Bench) {
    until("every refund is settled", PATIENT, || async {
        let orders = bench.world.store.audit_orders(None, 99).await.unwrap();
        orders.iter().all(|order| order.open_refunds == 0).then_some(())
    })
    .await;
    books::balanced(&bench.world).await;
    bench.world.end().await;
}

async fn make(bench: &Bench, bend: Bend, mode: FaultMode) {
    match bend.trouble() {
        Some(trouble) => bench.make(trouble, mode).await,
        None => bench.world.sql().await.execute("ALTER TABLE orders RENAME COLUMN bill_to TO trouble").await,
    }
}

async fn mend(bench: &Bench, bend: Bend) {
    match bend.trouble() {
        Some(trouble) => bench.mend(trouble).await,
        None => bench.world.sql().await.execute("ALTER TABLE orders RENAME COLUMN trouble TO bill_to").await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_of_a_bend_is_repeated_until_it_works() {
    sweep(Bend::ALL, |bend| async move {
        let mut bench = bench(bend).await;
        if bend == Bend::Assess {
            // nobody looks at the order before the trouble is there
            bench.kill();
        }
        let story = Story::begin(&bench, bend, "recovers").await;
        // one that is called back while the step only backs off
        let other = if bend.may_be_cancelled() { Some(Story::begin(&bench, bend, "gives-up").await) } else { None };
        make(&bench, bend, FaultMode::Down).await;
        if bend == Bend::Assess {
            bench.restart().await;
        }
        story.go(&bench).await;
        if let Some(other) = &other {
            other.go(&bench).await;
            bench.attempted(&other.id, bend.activity(), 2).await;
            bench.world.cancel(&other.id).await.unwrap();
        }
        bench.attempted(&story.id, bend.activity(), 2).await;
        mend(&bench, bend).await;
        if let Some(other) = &other {
            other.is_cancelled(&bench).await;
        }
        story.end(&bench).await;
        balanced(bench).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_a_bend_is_found_again() {
    sweep(Bend::ALL.into_iter().filter(|bend| bend.is_outside()), |bend| async move {
        let bench = bench(bend).await;
        let story = Story::begin(&bench, bend, "lost-answer").await;
        make(&bench, bend, FaultMode::CommitThenDrop).await;
        story.go(&bench).await;
        story.has_happened(&bench).await;
        mend(&bench, bend).await;
        story.end(&bench).await;
        balanced(bench).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_right_after_a_step_of_a_bend_loses_and_repeats_nothing() {
    sweep(Bend::ALL, |bend| async move {
        let mut bench = bench(bend).await;
        let story = Story::begin(&bench, bend, "killed").await;
        let mut lock = None;
        if bend.is_outside() {
            make(&bench, bend, FaultMode::Slow).await;
            story.go(&bench).await;
            bench.attempted(&story.id, bend.activity(), 1).await;
            // an effect outside that cannot be noted here: the worker dies between the two for certain
            lock = Some(bench.lock().await);
        } else {
            story.go(&bench).await;
        }
        story.has_happened(&bench).await;
        bench.kill();
        drop(lock);
        if bend.is_outside() {
            mend(&bench, bend).await;
        }
        bench.restart().await;
        story.end(&bench).await;
        balanced(bench).await;
    })
    .await;
}
