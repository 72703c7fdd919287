//! A world per test: its own database, sandbox parties, namespace and workers, in this process.

use std::sync::Arc;
use std::time::Duration;

use oms_activities::Clock;
use oms_activities::notifications::Shop;
use oms_contract::command::{Cancel, CancelAnswer, PlaceHold, ReleaseHold, ShipmentAnswer, ShipmentEvent, StatusAnswer};
use oms_contract::names::{Queue, order_workflow};
use oms_contract::start::{Deadlines, OrderLine, OrderStart, OrderTerms, Patience, Policies, SHAPE};
use oms_contract::workflow as mark;
use oms_domain::customer::{Address, Country, Customer, Email, Line, Phone};
use oms_domain::ids::{CustomerId, HoldId, Location, OrderId, ShipmentId, Sku};
use oms_domain::life::{HoldKind, Why};
use oms_domain::money::{Currency, Money};
use oms_domain::order::Status;
use oms_domain::payment::PaymentMethod;
use oms_domain::pricing::PriceRules;
use oms_domain::risk::RiskRules;
use oms_domain::shipment::{Scan, ScanType};
use oms_domain::shortage::OnShortage;
use oms_domain::stock::Strategy;
use oms_gateways::events::JournalSink;
use oms_gateways::mail::MailFolder;
use oms_gateways::sandbox::Sandbox;
use oms_gateways::sms::SmsFolder;
use oms_store::{Intake, Moved, Movement, NewLine, NewOrder, Product, Store, StoredOrder};
use oms_temporal::worker::WorkerTuning;
use oms_workers::{Fleet, Gateways, Parts, Reconciliation, Retention, WebhookPolicy, relay};
use temporalio_client::errors::{WorkflowInteractionError, WorkflowUpdateError};
use temporalio_client::{Client, UntypedSignal, WorkflowHandle, WorkflowStartOptions};
use temporalio_common::data_converters::RawValue;
use temporalio_common::protos::temporal::api::common::v1::Payload;
use tokio_util::sync::CancellationToken;

use super::database::{Sql, database};
use super::{engine, until};

pub const PATIENT: Duration = Duration::from_secs(60);

pub struct World {
    pub dir: tempfile::TempDir,
    /// The database's.
    pub url: String,
    pub store: Store,
    pub sandbox: Sandbox,
    pub client: Client,
    pub parts: Parts,
    pub deadlines: Deadlines,
    pub patience: Patience,
    pub on_shortage: OnShortage,
    pub risk: RiskRules,
    pub policies: Policies,
    /// Off only on an engine that knows none.
    pub search_attributes: bool,
    fleet: Option<Fleet>,
    relay: CancellationToken,
}

pub fn now() -> oms_domain::Instant {
    oms_activities::system_clock()()
}

pub fn sku(name: &str) -> Sku {
    Sku::parse(name).unwrap()
}

pub fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}

impl World {
    /// Everything, with all workers running.
    pub async fn new() -> Self {
        let mut world = Self::idle(WorkerTuning { graceful_shutdown: Duration::from_secs(1), ..Default::default() }).await;
        world.start_workers(&Queue::ALL).await;
        world
    }

    /// Everything but workers.
    pub async fn idle(tuning: WorkerTuning) -> Self {
        let client = engine::namespace(&format!("test-{}", uuid())).await;
        Self::on(client, oms_activities::system_clock(), tuning).await
    }

    /// The same on an engine and by a clock of the caller's.
    pub async fn on(client: Client, clock: Clock, tuning: WorkerTuning) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = database(dir.path()).await;
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        let sandbox = Sandbox::open(dir.path()).await.unwrap();
        let gateways = Gateways {
            payments: Arc::new(sandbox.payments.clone()),
            carrier: Arc::new(sandbox.carrier.clone()),
            mailer: Arc::new(MailFolder::new(dir.path().join("mail"), sandbox.faults.clone())),
            texter: Arc::new(SmsFolder::new(dir.path().join("sms"), sandbox.faults.clone())),
            shop: Shop::plain("Test Shop", Email::parse("shop@example.com").unwrap()).unwrap(),
        };
        let parts = Parts {
            client: client.clone(),
            store: store.clone(),
            gateways,
            bell: Default::default(),
            clock: clock.clone(),
            tuning,
            patience: Patience { first: Duration::from_millis(100), most: Duration::from_secs(1), ..Default::default() },
            alerts: Default::default(),
            watch_every: Duration::from_millis(300),
            handoff_max: None,
            reconciliation: Reconciliation { every: None, ..Default::default() },
            retention: Retention::default(),
            janitor_every: Duration::from_millis(300),
        };
        // the relay sends webhooks
        super::tls();
        let relay = CancellationToken::new();
        let sender = relay::Relay {
            store: store.clone(),
            sinks: vec![Arc::new(JournalSink::in_directory(dir.path()))],
            webhooks: WebhookPolicy::default(),
            source: "urn:test".to_owned(),
            clock,
        };
        tokio::spawn(relay::run(sender, relay.clone()));
        Self {
            dir,
            url,
            store,
            sandbox,
            client,
            parts,
            deadlines: Deadlines::default(),
            patience: Patience { first: Duration::from_millis(100), most: Duration::from_secs(1), ..Default::default() },
            on_shortage: OnShortage::default(),
            risk: RiskRules::default(),
            policies: Policies::default(),
            search_attributes: true,
            fleet: None,
            relay,
        }
    }

    /// A connection behind everybody's back.
    pub async fn sql(&self) -> Sql {
        Sql::open(&self.url).await
    }

    /// What the world's clock says.
    pub fn now(&self) -> oms_domain::Instant {
        (self.parts.clock)()
    }

    pub async fn start_workers(&mut self, roles: &[Queue]) {
        self.fleet = Some(Fleet::start(roles, self.parts.clone()).await.unwrap());
    }

    pub async fn stop_workers(&mut self) {
        if let Some(fleet) = self.fleet.take() {
            fleet.stop().await;
        }
    }

    pub async fn end(mut self) {
        self.stop_workers().await;
        self.relay.cancel();
    }

    /// An article with stock in a place.
    pub async fn shelf(&self, name: &str, place: &str, quantity: i64, price: i64) {
        let product = Product {
            sku: sku(name),
            name: Line::parse(format!("The {name}")).unwrap(),
            price: eur(price),
            weight_g: None,
            low_stock_at: None,
        };
        self.store.put_product(&product, self.now()).await.unwrap();
        if quantity > 0 {
            self.receive(name, place, quantity).await;
        }
    }

    /// An order as the API makes one: intake, then the workflow's start.
    pub async fn place(&self, key: &str, method: &str, lines: &[(&str, u32)]) -> OrderId {
        self.place_under(key, method, lines, self.on_shortage, |_| {}).await
    }

    /// The same, under terms of its own.
    pub async fn place_under(
        &self,
        key: &str,
        method: &str,
        lines: &[(&str, u32)],
        on_shortage: OnShortage,
        terms: impl FnOnce(&mut OrderStart),
    ) -> OrderId {
        let order = NewOrder {
            id: OrderId::from_key("default", "public", key),
            client: "public".into(),
            fingerprint: "f".into(),
            customer: Customer {
                id: CustomerId::parse("c-1").unwrap(),
                name: Line::parse("Canary Wharfinger").unwrap(),
                email: Email::parse("canary@example.com").unwrap(),
                phone: Some(Phone::parse("+4930555000111").unwrap()),
                locale: None,
                notify: Vec::new(),
            },
            ship_to: Address {
                name: Line::parse("Canary Wharfinger").unwrap(),
                line1: Line::parse("Canarystreet 77").unwrap(),
                line2: None,
                city: Line::parse("Berlin").unwrap(),
                region: None,
                postal_code: Line::parse("10115").unwrap(),
                country: Country::parse("DE").unwrap(),
            },
            bill_to: None,
            currency: Currency::parse("EUR").unwrap(),
            lines: lines.iter().map(|(name, quantity)| NewLine { sku: sku(name), quantity: *quantity }).collect(),
            discounts: Vec::new(),
            on_shortage,
            shape: oms_contract::start::SHAPE,
            payment_method: PaymentMethod(method.into()),
            reference: None,
            channel: None,
            terms: OrderTerms {
                strategy: Strategy::default(),
                risk: self.risk,
                policies: self.policies,
                deadlines: self.deadlines,
                patience: self.patience,
            }
            .keep(),
            test: true,
        };
        let row = match self.store.intake(&order, &PriceRules { shipping_minor: 490, tax_bps: 1900 }, self.now()).await.unwrap() {
            Intake::Placed(row) | Intake::Known(row) => row,
            other => panic!("{other:?}"),
        };
        let mut start = OrderStart {
            order_id: row.id.clone(),
            placed_at: row.placed_at,
            currency: row.currency,
            lines: row.lines.iter().map(|l| OrderLine { sku: l.sku.clone(), quantity: l.quantity, total: l.total }).collect(),
            total: row.totals.total,
            method: row.payment_method.clone(),
            rules: row.price_rules,
            on_shortage: row.on_shortage,
            strategy: Strategy::default(),
            risk: self.risk,
            policies: self.policies,
            shape: SHAPE,
            unwind: None,
            deadlines: self.deadlines,
            patience: self.patience,
            search_attributes: self.search_attributes,
        };
        terms(&mut start);
        let options = WorkflowStartOptions::new(Queue::Orders.name(), order_workflow(&row.id)).build();
        self.client.start_workflow(mark::Order, start, options).await.unwrap();
        row.id
    }

    pub fn run(&self, id: &OrderId) -> WorkflowHandle<Client, mark::Order> {
        self.client.get_workflow_handle::<mark::Order>(order_workflow(id))
    }

    pub async fn order(&self, id: &OrderId) -> StoredOrder {
        self.store.order(id).await.unwrap().unwrap()
    }

    /// Waits for a status in the row.
    pub async fn reaches(&self, id: &OrderId, status: Status) -> StoredOrder {
        until(&format!("{id} is {status}"), PATIENT, || async {
            Some(self.order(id).await).filter(|order| order.life.status == status)
        })
        .await
    }

    pub async fn scan(&self, id: &OrderId, number: u32, kind: ScanType) -> ShipmentAnswer {
        self.run(id).execute_update(mark::ShipmentEventUpdate, report(id, number, kind), Default::default()).await.unwrap()
    }

    pub async fn cancel(&self, id: &OrderId) -> Result<CancelAnswer, WorkflowUpdateError> {
        let command = Cancel { reason: Why::parse("changed my mind").unwrap(), actor: Some("tester".into()) };
        self.run(id).execute_update(mark::CancelUpdate, command, Default::default()).await
    }

    pub async fn ends(&self, id: &OrderId) -> StatusAnswer {
        tokio::time::timeout(PATIENT, self.run(id).get_result(Default::default())).await.unwrap().unwrap()
    }

    pub async fn hold(&self, id: &OrderId, until: Option<oms_domain::Instant>) -> HoldId {
        let command = PlaceHold {
            id: None,
            kind: HoldKind::parse("fraud").unwrap(),
            reason: Why::parse("looks odd").unwrap(),
            until,
            actor: Some("tester".into()),
        };
        self.run(id).execute_update(mark::PlaceHoldUpdate, command, Default::default()).await.unwrap().id
    }

    /// Units that come in.
    pub async fn receive(&self, name: &str, place: &str, quantity: i64) {
        let receipt = Movement {
            sku: sku(name),
            location: Location::parse(place).unwrap(),
            quantity,
            reason: "delivery".into(),
            actor: "test".into(),
            key: None,
        };
        assert!(matches!(self.store.receive(&receipt, self.now()).await.unwrap(), Moved::Done(_)));
    }

    pub async fn release(&self, id: &OrderId, hold: &HoldId) {
        let command = ReleaseHold { id: hold.clone(), reason: None, actor: Some("tester".into()) };
        self.run(id).execute_update(mark::ReleaseHoldUpdate, command, Default::default()).await.unwrap();
    }

    /// Sends a signal as anybody may who has Temporal; `false`: there is no open run.
    pub async fn signal(&self, id: &OrderId, name: &str, json: &[u8]) -> bool {
        let metadata = [("encoding".to_owned(), b"json/plain".to_vec())].into();
        let payload = Payload { metadata, data: json.to_vec(), ..Default::default() };
        match self.run(id).signal(UntypedSignal::new(name), RawValue::new(vec![payload]), Default::default()).await {
            Ok(()) => true,
            Err(WorkflowInteractionError::NotFound(_)) => false,
            Err(error) => panic!("{name}: {error:?}"),
        }
    }

    /// The types of the run's events, in order.
    pub async fn events(&self, id: &OrderId) -> Vec<String> {
        let events = self.run(id).fetch_history(Default::default()).into_events().await.unwrap();
        events.iter().map(|e| e.event_type().as_str_name().trim_start_matches("EVENT_TYPE_").to_owned()).collect()
    }
}

pub fn report(id: &OrderId, number: u32, kind: ScanType) -> ShipmentEvent {
    ShipmentEvent {
        scan: Scan {
            shipment: ShipmentId::of(id, number),
            event_id: format!("{}-{number}", kind.as_str()),
            kind,
            occurred_at: now(),
            carrier: None,
            tracking_number: None,
        },
        actor: None,
    }
}

pub fn uuid() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}
