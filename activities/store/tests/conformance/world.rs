//! A database of one test, and short ways to say things about it.

use std::collections::BTreeMap;
use std::future::Future;

use oms_domain::Instant;
use oms_domain::customer::{Address, Country, Customer, Email, Line, Phone};
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::{CustomerId, Location, OrderId, ShipmentId, Sku};
use oms_domain::life::Life;
use oms_domain::money::{Currency, Money};
use oms_domain::order::Status;
use oms_domain::payment::PaymentMethod;
use oms_domain::pricing::PriceRules;
use oms_domain::shipment::{Scan, ScanType, Shipment, ShipmentStatus};
use oms_domain::shortage::ShortagePolicy;
use oms_domain::stock::{Quantity, Strategy};
use oms_store::*;
use sqlx::{ConnectOptions, Connection, Executor};

pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) store: Store,
    dir: Option<tempfile::TempDir>,
}

impl World {
    /// A new SQLite file with the schema.
    pub(crate) async fn sqlite() -> Self {
        let world = Self::empty_sqlite().await;
        world.store.migrate().await.unwrap();
        world
    }

    /// A new SQLite file.
    pub(crate) async fn empty_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("oms.db").display());
        Self { store: Store::connect(&url).await.unwrap(), url, dir: Some(dir) }
    }

    /// A new Postgres database with the schema.
    pub(crate) async fn postgres() -> Self {
        let world = Self::empty_postgres().await;
        world.store.migrate().await.unwrap();
        world
    }

    /// A new Postgres database.
    pub(crate) async fn empty_postgres() -> Self {
        let url = crate::postgres::database().await;
        Self { store: Store::connect(&url).await.unwrap(), url, dir: None }
    }

    /// The URL of another empty database of the same kind, that lives as long as this one.
    pub(crate) async fn sibling(&self) -> String {
        match &self.dir {
            Some(dir) => format!("sqlite:{}", dir.path().join("sibling.db").display()),
            None => crate::postgres::database().await,
        }
    }

    /// Breaks something by hand.
    pub(crate) async fn sql(&self, statement: &'static str) {
        match self.store.backend() {
            Backend::Sqlite => {
                let options: sqlx::sqlite::SqliteConnectOptions = self.url.parse().unwrap();
                let mut connection = options.connect().await.unwrap();
                connection.execute(statement).await.unwrap();
                connection.close().await.unwrap();
            }
            Backend::Postgres => {
                let options: sqlx::postgres::PgConnectOptions = self.url.parse().unwrap();
                let mut connection = options.connect().await.unwrap();
                connection.execute(statement).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// A sink called `test` has every event now.
    pub(crate) async fn publish(&self, now: i64) {
        while self.store.place_events(100).await.unwrap() > 0 {}
        self.store.open_lanes(&["test"], at(now)).await.unwrap();
        let mut ends = Vec::new();
        for lane in self.store.lease_lanes("test", "world", LANES, at(now + 9), at(now)).await.unwrap() {
            let last = self.store.events_in_lane(&lane, 999).await.unwrap().pop().and_then(|row| row.position).unwrap();
            ends.push(LaneEnd { lane: lane.lane, position: last, rests_until: None });
        }
        assert!(self.store.leave_lanes("test", "world", &ends, &["test"], at(now)).await.unwrap().is_empty());
    }

    /// Puts the article into the catalogue and `units` of it on the shelf.
    pub(crate) async fn stocked(&self, name: &str, place: &str, units: i64) {
        self.store.put_product(&product(name, 1_000), at(0)).await.unwrap();
        if units > 0 {
            let moved = self.store.receive(&movement(name, place, units), at(0)).await.unwrap();
            assert!(matches!(moved, Moved::Done(_)), "{moved:?}");
        }
    }

    /// Units that can be sold.
    pub(crate) async fn available(&self, name: &str, now: i64) -> u64 {
        self.store.stock(&sku(name), at(now)).await.unwrap().unwrap().available
    }

    /// Reserves until second 600.
    pub(crate) async fn reserve(&self, order: &str, lines: &[(&str, u32)], now: i64) -> Reserved {
        self.store.reserve(&wish(order, 1, lines), at(now)).await.unwrap()
    }

    /// Takes an order of one `a` in, in whose catalogue it is.
    pub(crate) async fn placed(&self, key: &str, now: i64) -> StoredOrder {
        self.store.put_product(&product("a", 1_000), at(0)).await.unwrap();
        match self.store.intake(&new_order(key), &RULES, at(now)).await.unwrap() {
            Intake::Placed(order) => order,
            other => panic!("{other:?}"),
        }
    }

    async fn shelves_reserved(&self, sku: &Sku, now: i64) -> u64 {
        let shelves = self.store.audit_stock(at(now)).await.unwrap();
        shelves.iter().filter(|s| s.sku == *sku).map(|s| s.reserved as u64).sum()
    }

    /// The books of the stock balance, and nothing lies idle that somebody waits for.
    pub(crate) async fn balanced(&self, now: i64) {
        for shelf in self.store.audit_stock(at(now)).await.unwrap() {
            assert_eq!(shelf.on_hand, shelf.movements_sum, "{shelf:?}");
            assert_eq!(shelf.reserved, shelf.open_reserved_sum, "{shelf:?}");
            assert!(shelf.live_reserved_sum <= shelf.on_hand, "{shelf:?}");
            assert!(shelf.reserved <= shelf.on_hand, "{shelf:?}");
        }
        for level in self.store.stocks(None, 100, at(now)).await.unwrap() {
            // what nobody has taken back yet is available, and goes to nobody until somebody does
            let idle = level.on_hand - self.shelves_reserved(&level.sku, now).await;
            assert!(level.waiting == 0 || idle == 0, "units are free while orders wait for them: {level:?}");
        }
    }
}

/// Runs all at once and gathers what they answer.
pub(crate) async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    runners: usize,
    run: impl Fn(usize) -> F,
) -> Vec<T> {
    let mut set = tokio::task::JoinSet::new();
    for runner in 0..runners {
        set.spawn(run(runner));
    }
    set.join_all().await
}

/// No tax, a fee.
pub(crate) const RULES: PriceRules = PriceRules { shipping_minor: 490, tax_bps: 1900 };

pub(crate) fn at(seconds: i64) -> Instant {
    // nanoseconds that no database keeps
    Instant::from_timestamp(1_800_000_000 + seconds, 123_456_789).unwrap()
}
/// The same as both databases give it back.
pub(crate) fn kept(seconds: i64) -> Instant {
    Instant::from_timestamp(1_800_000_000 + seconds, 123_456_000).unwrap()
}
pub(crate) fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}
pub(crate) fn sku(name: &str) -> Sku {
    Sku::parse(name).unwrap()
}
pub(crate) fn place(name: &str) -> Location {
    Location::parse(name).unwrap()
}
pub(crate) fn line(text: &str) -> Line {
    Line::parse(text).unwrap()
}
pub(crate) fn order_id(key: &str) -> OrderId {
    OrderId::from_key("default", "public", key)
}
pub(crate) fn shipment_id(key: &str, number: u32) -> ShipmentId {
    ShipmentId::of(&order_id(key), number)
}
pub(crate) fn product(name: &str, minor: i64) -> Product {
    Product { sku: sku(name), name: line(name), price: eur(minor), weight_g: Some(250), low_stock_at: None }
}
pub(crate) fn movement(name: &str, location: &str, quantity: i64) -> Movement {
    let (reason, actor) = ("delivery 7".to_owned(), "clerk".to_owned());
    Movement { sku: sku(name), location: place(location), quantity, reason, actor, key: None }
}
pub(crate) fn claim(key: &str, body: &str) -> KeyClaim {
    KeyClaim { client: "public".to_owned(), key: key.to_owned(), fingerprint: body.to_owned() }
}
pub(crate) fn quantities(lines: &[(&str, u32)]) -> Vec<Quantity> {
    lines.iter().map(|(name, quantity)| Quantity { sku: sku(name), quantity: *quantity }).collect()
}
pub(crate) fn wish(order: &str, revision: u32, lines: &[(&str, u32)]) -> Reserve {
    Reserve {
        order_id: order_id(order),
        revision,
        lines: quantities(lines),
        expires_at: at(600),
        policy: ShortagePolicy::Reject,
        placed_at: at(0),
        strategy: Strategy::FewestShipments,
    }
}
/// A wish of an order that waits for what lacks, placed in that second.
pub(crate) fn patient(order: &str, placed: i64, lines: &[(&str, u32)]) -> Reserve {
    Reserve { policy: ShortagePolicy::Wait, placed_at: at(placed), ..wish(order, 1, lines) }
}
/// Another wish of such an order.
pub(crate) fn another(order: &str, change: u32, policy: ShortagePolicy, lines: &[(&str, u32)]) -> ChangeStock {
    let (placed_at, strategy) = (at(0), Strategy::FewestShipments);
    ChangeStock { order_id: order_id(order), change, lines: quantities(lines), policy, keep: Vec::new(), placed_at, strategy }
}
pub(crate) fn parcel(order: &str, location: &str, lines: &[(&str, u32)]) -> CommitStock {
    let (order_id, shipment_id) = (order_id(order), shipment_id(order, 1));
    CommitStock { order_id, shipment_id, location: place(location), lines: quantities(lines) }
}
pub(crate) fn new_order(key: &str) -> NewOrder {
    NewOrder {
        id: order_id(key),
        client: "public".to_owned(),
        fingerprint: "f".repeat(64),
        customer: Customer {
            id: CustomerId::parse("c-1").unwrap(),
            name: line("Ada Lovelace"),
            email: Email::parse("Ada@example.com").unwrap(),
            phone: Some(Phone::parse("+4930123456").unwrap()),
            locale: None,
            notify: Vec::new(),
        },
        ship_to: Address {
            name: line("Ada Lovelace"),
            line1: line("Weg 1"),
            line2: None,
            city: line("Berlin"),
            region: None,
            postal_code: line("10115"),
            country: Country::parse("DE").unwrap(),
        },
        bill_to: None,
        currency: Currency::parse("EUR").unwrap(),
        lines: vec![NewLine { sku: sku("a"), quantity: 2 }],
        discounts: Vec::new(),
        on_shortage: Default::default(),
        shape: 2,
        payment_method: PaymentMethod("pm_card_visa".to_owned()),
        reference: Some(line("ref-1")),
        channel: Some(line("web")),
        terms: serde_json::json!({"deadlines": 7}),
        test: true,
    }
}
pub(crate) fn fact(key: &str, kind: FactKind) -> Fact {
    Fact::new(key, kind, at(5))
}
pub(crate) fn life(status: Status) -> Life {
    Life { status, ..Life::placed(Currency::parse("EUR").unwrap()) }
}
pub(crate) fn record(key: &str, rev: u64, life: Life, facts: Vec<Fact>) -> Record {
    Record {
        order_id: order_id(key),
        rev,
        life,
        facts,
        scans: Vec::new(),
        confirm: false,
        amend: None,
        address: None,
        resolved: Vec::new(),
        build: None,
    }
}
pub(crate) fn shipment(key: &str, number: u32, status: ShipmentStatus) -> Shipment {
    Shipment {
        id: shipment_id(key, number),
        location: place("berlin"),
        status,
        lines: quantities(&[("a", 2)]),
        amount: eur(2_500),
        carrier: None,
        tracking_number: None,
        more_packages: Vec::new(),
        stray: false,
    }
}
pub(crate) fn scan(key: &str, event_id: &str, kind: ScanType) -> Scan {
    Scan {
        shipment: shipment_id(key, 1),
        event_id: event_id.to_owned(),
        kind,
        occurred_at: at(1),
        carrier: None,
        tracking_number: None,
    }
}
/// A reproducible sequence of random numbers.
pub(crate) struct Dice(pub(crate) u64);
impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
/// How often each answer was given.
pub(crate) fn tally<T: Ord>(answers: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer).or_default() += 1;
    }
    counts
}
