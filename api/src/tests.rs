//! The router over a real database, without an engine: everything that needs no running order.

mod answers;
mod bad_input;
mod books;
mod commands;
mod cursors;
mod doorbell;
mod events;
mod frame;
mod inbound;
mod limits;
mod outage;
mod steering;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use oms_domain::message::Locale;
use oms_domain::payment::PaymentMethod;
use oms_domain::pricing::PriceRules;
use oms_store::Store;
use oms_temporal::connect::ConnectSettings;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::{ApiSettings, AppState, Engine, ShopFace, router, telemetry};

/// An API on a database of its own. Its engine is wherever `address` says.
pub(crate) struct Desk {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) state: AppState,
    _dir: TempDir,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Asserts a problem document of this status, code and first place.
    pub(crate) fn refuses(&self, status: u16, code: &str, place: Option<&str>) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        if let Some(place) = place {
            let error = &self.body["errors"][0];
            let found = error["pointer"].as_str().or(error["parameter"].as_str());
            assert_eq!(found, Some(place), "{}", self.text);
        }
    }
}

impl Desk {
    /// Nothing listens on port 9 of the loopback.
    pub(crate) async fn new() -> Self {
        Self::with_engine_at("127.0.0.1:9").await
    }

    pub(crate) async fn with_engine_at(address: &str) -> Self {
        Self::with(address, |_| {}).await
    }

    /// The same, but for what `change` changes.
    pub(crate) async fn with(address: &str, change: impl FnOnce(&mut ApiSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("oms.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let engine = Engine::connect_lazily(ConnectSettings {
            address: address.to_owned(),
            namespace: "oms".to_owned(),
            ..ConnectSettings::default()
        });
        let mut settings = ApiSettings {
            price_rules: PriceRules { shipping_minor: 490, tax_bps: 1_900 },
            deadlines: Default::default(),
            patience: Default::default(),
            strategy: Default::default(),
            risk: Default::default(),
            policies: Default::default(),
            channels: Default::default(),
            shop: ShopFace {
                name: "Test Shop".to_owned(),
                locale: Locale::En,
                date: Arc::new(|at, locale| format!("{} by the clock of {}", at.format("%-d.%-m.%Y"), locale.as_str())),
            },
            ui_base: Some("http://127.0.0.1:8233".to_owned()),
            namespace: "oms".to_owned(),
            test_orders: true,
            payment_methods: Arc::new(|method: &PaymentMethod| method.0.starts_with("pm_card_")),
            reporters: inbound::reporters(),
            search_attributes: true,
            event_source: "urn:test".to_owned(),
            webhooks: crate::WebhookRules { allow_private: true, overlap: std::time::Duration::from_secs(3_600) },
            limits: None,
            answers: Default::default(),
            doorbell: Default::default(),
        };
        change(&mut settings);
        let state = AppState::new(store.clone(), engine, settings, telemetry::test_metrics());
        Self { router: router(state.clone(), OpenApiRouter::new()), store, state, _dir: dir }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null), text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.keyed(method, path, None, body).await
    }

    pub(crate) async fn keyed(&self, method: Method, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn put_product(&self, sku: &str, amount: i64) {
        let body = json!({"name": "Mug", "price": {"amount": amount, "currency": "EUR"}});
        assert!(self.json(Method::PUT, &format!("/v1/catalogue/{sku}"), &body).await.status.is_success());
    }
}

/// An order that nothing is wrong with.
pub(crate) fn order_body() -> Value {
    json!({
        "customer": {"id": "c-1", "name": "Ada", "email": "ada@example.com", "phone": "+4930123456"},
        "currency": "EUR",
        "lines": [{"sku": "MUG", "quantity": 2}],
        "ship_to": {"name": "Ada", "line1": "Street 1", "city": "Berlin", "postal_code": "10115", "country": "DE"},
        "payment": {"method": "pm_card_visa"},
    })
}
