//! What handlers share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metrics_exporter_prometheus::PrometheusHandle;
use oms_contract::start::{Deadlines, Patience, Policies};
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::message::Locale;
use oms_domain::payment::PaymentMethod;
use oms_domain::pricing::PriceRules;
use oms_domain::risk::RiskRules;
use oms_domain::stock::Strategy;
use oms_store::{Store, StoredOrder};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::answers::Answers;
use crate::doorbell::Doorbell;
use crate::engine::Engine;
use crate::inbound::Reporters;
use crate::limits::Limits;
use crate::ops::gauges::Gauges;
use crate::problem::Problem;

/// Whether the payment gateway knows a method.
pub type KnowsMethod = Arc<dyn Fn(&PaymentMethod) -> bool + Send + Sync>;

/// How an instant is written for people: by the shop's clock, in a language.
pub type SayDate = Arc<dyn Fn(Instant, Locale) -> String + Send + Sync>;

/// The shop as its pages and papers show it.
#[derive(Clone)]
pub struct ShopFace {
    /// Its name.
    pub name: String,
    /// The language for customers who named none.
    pub locale: Locale,
    /// How it writes dates.
    pub date: SayDate,
}

/// What can be set of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookRules {
    /// Whether addresses that are not public may be registered.
    pub allow_private: bool,
    /// For how long a secret signs too after it was replaced.
    pub overlap: Duration,
}

/// What can be set of the API.
#[derive(Clone)]
pub struct ApiSettings {
    /// Shipping fee and tax of new orders.
    pub price_rules: PriceRules,
    /// Business deadlines of new orders.
    pub deadlines: Deadlines,
    /// Which places give first, for new orders.
    pub strategy: Strategy,
    /// Which new orders a person looks at first.
    pub risk: RiskRules,
    /// What is decided about new orders when nobody does.
    pub policies: Policies,
    /// Deadlines and policies of new orders of some channels, by the channel's name.
    pub channels: BTreeMap<String, (Deadlines, Policies)>,
    /// Retry pauses of new orders.
    pub patience: Patience,
    /// The shop.
    pub shop: ShopFace,
    /// Where the Temporal UI is, such as `http://127.0.0.1:8233`; no links without it.
    pub ui_base: Option<String>,
    /// The namespace that the Temporal UI links name.
    pub namespace: String,
    /// New orders are placed against a sandbox.
    pub test_orders: bool,
    /// Which payment methods are accepted.
    pub payment_methods: KnowsMethod,
    /// Who reports to us by webhook.
    pub reporters: Reporters,
    /// New orders carry search attributes. Off only on the time-skipping test server, which knows none.
    pub search_attributes: bool,
    /// Who events are from: the shop, as a URI. The relay's is the same, or their bytes differ.
    pub event_source: String,
    /// Webhooks.
    pub webhooks: WebhookRules,
    /// How many requests a client may send; any number without it.
    pub limits: Option<Arc<Limits>>,
    /// Answers that replicas keep for each other.
    pub answers: Answers,
    /// Rung when there is something new of an order.
    pub doorbell: Doorbell,
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) settings: Arc<ApiSettings>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) gauges: Arc<Gauges>,
    /// Rung when a file of orders has come in.
    pub(crate) imports: Arc<Notify>,
}

impl AppState {
    /// Brings the parts together. `metrics` is what `/metrics` renders, see [`install_metrics`](crate::install_metrics).
    pub fn new(store: Store, engine: Engine, settings: ApiSettings, metrics: PrometheusHandle) -> Self {
        Self { store, engine, settings: Arc::new(settings), metrics, gauges: Arc::default(), imports: Arc::default() }
    }

    /// Now, with the microseconds that both databases keep.
    pub(crate) fn now(&self) -> Instant {
        oms_domain::instant(SystemTime::now())
    }

    /// The order's row. Errors: 404.
    pub(crate) async fn order(&self, id: &str) -> Result<StoredOrder, Problem> {
        let missing = || Problem::not_found("order");
        let id = OrderId::parse(id).map_err(|_| missing())?;
        self.store.order(&id).await?.ok_or_else(missing)
    }

    /// Waits until the row satisfies `enough`, at most `limit`; answers the row as it was last seen. Errors: the first read failed.
    pub(crate) async fn watch(
        &self,
        id: &OrderId,
        limit: Duration,
        enough: impl Fn(&StoredOrder) -> bool,
    ) -> Result<StoredOrder, Problem> {
        let until = tokio::time::Instant::now() + limit;
        let mut pause = Duration::from_millis(20);
        let mut seen = self.store.order(id).await?.ok_or_else(|| Problem::not_found("order"))?;
        while !enough(&seen) && tokio::time::Instant::now() < until {
            sleep(pause.min(until - tokio::time::Instant::now())).await;
            pause = (pause * 2).min(Duration::from_millis(150));
            match self.store.order(id).await {
                Ok(Some(order)) => seen = order,
                Ok(None) => break,
                Err(error) => tracing::debug!(%error, "the row could not be read while waiting"),
            }
        }
        Ok(seen)
    }
}

/// How long a command's answer waits for the projection to show it.
pub(crate) const SETTLE_MAX: Duration = Duration::from_secs(2);
