//! A shop that speaks HTTP only and gives up on nothing: every order has a fate, and its actors insist until it is reached.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Whatever is broken meanwhile, an order has ended by then.
pub const LIFE_MAX: Duration = Duration::from_secs(150);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What becomes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    TwoParcels,
    Declined,
    SoldOut,
    CancelledAtOnce,
    CancelledLate,
    FlakyGateway,
    LostAnswers,
}

impl Fate {
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::TwoParcels,
        Self::Declined,
        Self::CancelledAtOnce,
        Self::FlakyGateway,
        Self::LostAnswers,
        Self::CancelledLate,
        Self::SoldOut,
    ];

    fn method(self) -> &'static str {
        match self {
            Self::Declined => "pm_card_chargeDeclined",
            Self::FlakyGateway => "pm_sandbox_flaky",
            Self::LostAnswers => "pm_sandbox_commit_then_drop",
            _ => "pm_card_visa",
        }
    }

    fn lines(self) -> Value {
        match self {
            Self::TwoParcels => json!([{"sku": "mug", "quantity": 2}, {"sku": "pot", "quantity": 1}]),
            Self::SoldOut => json!([{"sku": "ghost", "quantity": 1}]),
            _ => json!([{"sku": "mug", "quantity": 1}]),
        }
    }

    /// The status and reason it must end with.
    pub fn ending(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Declined => ("rejected", Some("payment_declined")),
            Self::SoldOut => ("rejected", Some("out_of_stock")),
            Self::CancelledAtOnce | Self::CancelledLate => ("cancelled", None),
            Self::Delivered | Self::TwoParcels | Self::FlakyGateway | Self::LostAnswers => ("completed", None),
        }
    }

    fn parcels(self) -> usize {
        if self == Self::TwoParcels { 2 } else { 1 }
    }
}

/// The shop: a client of one or more APIs of the same shop, asked in turn.
pub struct Shop {
    http: reqwest::Client,
    apis: Vec<String>,
    turn: AtomicUsize,
    look_every: Duration,
    life_max: Duration,
}

impl Shop {
    pub fn at(apis: &[String]) -> Self {
        super::tls();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(40)).build().unwrap();
        Self { http, apis: apis.to_vec(), turn: AtomicUsize::new(0), look_every: LOOK_EVERY, life_max: LIFE_MAX }
    }

    /// Looks at its orders more rarely, and is more patient with them: where there are many, looking is most of the work.
    pub fn with_many_orders(self) -> Self {
        Self { look_every: LOOK_EVERY * 5, life_max: LIFE_MAX * 3, ..self }
    }

    /// One attempt. Errors: nobody answered.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> reqwest::Result<(StatusCode, Value)> {
        let api = &self.apis[self.turn.fetch_add(1, Ordering::Relaxed) % self.apis.len()];
        let mut request = self.http.request(method, format!("{api}{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Asks until there is an answer that is no "try again later".
    pub async fn insist(&self, method: Method, path: &str, body: Option<&Value>, key: Option<&str>) -> (StatusCode, Value) {
        let began = Instant::now();
        loop {
            let answer = self.ask(method.clone(), path, body, key).await;
            match answer {
                Ok((status, value)) if status.as_u16() < 500 && status != StatusCode::TOO_MANY_REQUESTS => {
                    return (status, value);
                }
                other => assert!(began.elapsed() < self.life_max, "{method} {path}: still {other:?}"),
            }
            tokio::time::sleep(self.look_every).await;
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, value) = self.insist(Method::GET, path, None, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    async fn did(&self, method: Method, path: &str, body: Value, key: Option<&str>) -> Value {
        let (status, value) = self.insist(method, path, Some(&body), key).await;
        assert!(status.is_success(), "{path}: {status} {value}");
        value
    }

    /// Articles and stock for any number of orders of every fate.
    pub async fn open(&self) {
        for (sku, place, units) in [("mug", "berlin", 10_000), ("pot", "madrid", 10_000), ("ghost", "berlin", 0)] {
            self.article(sku, place, units).await;
        }
    }

    pub async fn article(&self, sku: &str, place: &str, units: u32) {
        let body = json!({"name": format!("The {sku}"), "price": {"amount": 1999, "currency": "EUR"}});
        self.did(Method::PUT, &format!("/v1/catalogue/{sku}"), body, None).await;
        if units > 0 {
            let receipt = json!({"sku": sku, "location": place, "quantity": units, "reason": "delivery"});
            self.did(Method::POST, "/v1/inventory/receipts", receipt, Some(&format!("receipt-{sku}"))).await;
        }
    }

    /// Makes a sandbox party fail in one operation.
    pub async fn fault(&self, party: &str, mode: &str, operation: &str) {
        let fault = json!({"mode": mode, "operation": operation});
        self.did(Method::PUT, &format!("/v1/sandbox/faults/{party}"), fault, None).await;
    }

    pub fn body(method: &str, lines: Value) -> Value {
        json!({
            "customer": {"id": "c-1", "name": "Ann Example", "email": "ann@example.com", "phone": "+4930555000111"},
            "currency": "EUR",
            "lines": lines,
            "ship_to": {"name": "Ann Example", "line1": "Somestreet 1", "city": "Berlin", "postal_code": "10115", "country": "DE"},
            "payment": {"method": method},
        })
    }

    /// Places an order of a fate under a key; answers its id.
    pub async fn place(&self, key: &str, fate: Fate) -> String {
        let order = self.did(Method::POST, "/v1/orders", Self::body(fate.method(), fate.lines()), Some(key)).await;
        order["id"].as_str().unwrap().to_owned()
    }

    /// Looks at the order until `found` is satisfied.
    async fn see(&self, id: &str, what: &str, found: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let order = self.get(&format!("/v1/orders/{id}")).await;
            if found(&order) {
                return order;
            }
            assert!(began.elapsed() < self.life_max, "{id} is not {what}: {order}");
            tokio::time::sleep(self.look_every).await;
        }
    }

    async fn confirmed(&self, id: &str, parcels: usize) -> Value {
        let listed = |order: &Value| order["shipments"].as_array().is_some_and(|s| s.len() == parcels);
        self.see(id, "confirmed", |order| order["status"] != "placed" && listed(order)).await
    }

    /// Lives a placed order's life to its end and checks that end.
    pub async fn live(&self, id: &str, fate: Fate) {
        let path = format!("/v1/orders/{id}/cancel");
        let cancel = || self.did(Method::POST, &path, json!({"reason": "changed my mind"}), None);
        match fate {
            Fate::Declined | Fate::SoldOut => {}
            Fate::CancelledAtOnce => {
                cancel().await;
            }
            Fate::CancelledLate => {
                self.confirmed(id, 1).await;
                cancel().await;
            }
            Fate::Delivered | Fate::TwoParcels | Fate::FlakyGateway | Fate::LostAnswers => {
                let order = self.confirmed(id, fate.parcels()).await;
                for event in ["shipped", "delivered"] {
                    for shipment in order["shipments"].as_array().unwrap() {
                        let now = oms_domain::Instant::from(std::time::SystemTime::now());
                        let body = json!({"event_id": event, "type": event, "occurred_at": now});
                        let path = format!("/v1/shipments/{}/events", shipment["id"].as_str().unwrap());
                        let answer = self.did(Method::POST, &path, body, None).await;
                        assert!(["applied", "duplicate"].contains(&answer["result"].as_str().unwrap()), "{answer}");
                    }
                }
            }
        }
        let ended = |order: &Value| ["completed", "cancelled", "rejected"].iter().any(|s| order["status"] == *s);
        let order = self.see(id, "ended", ended).await;
        let (status, reason) = fate.ending();
        assert_eq!((order["status"].as_str(), order["reason"].as_str()), (Some(status), reason), "{fate:?} {order}");
        let totals = &order["totals"];
        let taken = if status == "completed" { totals["total"]["amount"].as_i64() } else { Some(0) };
        assert_eq!(totals["captured"]["amount"].as_i64(), taken, "{fate:?} {order}");
    }
}
