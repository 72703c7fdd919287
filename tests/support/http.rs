//! A shop's and a warehouse's view of the product: plain HTTP.

use std::time::Duration;

use oms_domain::Instant;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::until;
use super::world::{now, uuid};

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A text inside the body.
    pub fn text_at(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Asserts a status; the body is the message if it is another one.
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Asserts a problem document of this status and code, and of this place if one is named.
    pub fn refuses(&self, status: u16, code: &str, place: Option<&str>) {
        assert_eq!((self.status, self.text_at("/code")), (status, code), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        if let Some(place) = place {
            let error = &self.body["errors"][0];
            assert_eq!(error["pointer"].as_str().or(error["parameter"].as_str()), Some(place), "{}", self.text);
        }
    }
}

/// A client of one API. Belongs to the test that made it: connections live on its runtime.
#[derive(Clone)]
pub struct Http {
    base: String,
    client: Client,
}

/// A word that no other test uses.
pub fn fresh(stem: &str) -> String {
    format!("{stem}-{}", &uuid()[..8])
}

impl Http {
    pub fn new(port: u16) -> Self {
        Self::at(&format!("http://127.0.0.1:{port}"))
    }

    /// A client of the API at a URL.
    pub fn at(base: &str) -> Self {
        // reqwest comes without a TLS provider of its own; a second install is refused and changes nothing
        super::tls();
        let client = Client::builder().timeout(Duration::from_secs(40)).build().unwrap();
        Self { base: base.to_owned(), client }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends; `None` if nobody answers to the end.
    pub async fn try_send(&self, request: RequestBuilder) -> Option<Answer> {
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.ok()?;
        Some(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text })
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("an answer")
    }

    pub async fn try_get(&self, path: &str) -> Option<Answer> {
        self.try_send(self.request(Method::GET, path)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// An article with stock in one place.
    pub async fn sell(&self, sku: &str, location: &str, quantity: u32, price: i64) {
        let product = json!({"name": format!("The {sku}"), "price": {"amount": price, "currency": "EUR"}});
        assert!(self.put(&format!("/v1/catalogue/{sku}"), &product).await.status < 300);
        let receipt = json!({"sku": sku, "location": location, "quantity": quantity, "reason": "delivery"});
        if quantity > 0 {
            self.post("/v1/inventory/receipts", &receipt).await.is(201);
        }
    }

    pub async fn try_place(&self, key: &str, wait: u32, body: &Value) -> Option<Answer> {
        let request = self.request(Method::POST, "/v1/orders").header("Idempotency-Key", key);
        let request = if wait > 0 { request.header("Prefer", format!("wait={wait}")) } else { request };
        self.try_send(request.json(body)).await
    }

    /// Places an order and answers it as it stands after at most `wait` seconds.
    pub async fn place(&self, key: &str, wait: u32, body: &Value) -> Answer {
        self.try_place(key, wait, body).await.expect("an answer")
    }

    /// Places an order that must be confirmed at once; its id.
    pub async fn confirmed(&self, body: &Value) -> String {
        let answer = self.place(&fresh("key"), 20, body).await.is(201);
        assert_eq!(answer.text_at("/status"), "confirmed", "{}", answer.text);
        answer.text_at("/id").to_owned()
    }

    pub async fn order(&self, id: &str) -> Value {
        self.get(&format!("/v1/orders/{id}")).await.is(200).body
    }

    /// Waits until an order is as it should be.
    pub async fn order_where(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(&format!("order {id} is {what}"), Duration::from_secs(60), || async {
            let answer = self.try_get(&format!("/v1/orders/{id}")).await?;
            (answer.status == 200 && holds(&answer.body)).then_some(answer.body)
        })
        .await
    }

    pub async fn reaches(&self, id: &str, status: &str) -> Value {
        self.order_where(id, status, |order| order["status"] == status).await
    }

    /// Waits until the first shipment is booked: the carrier is known.
    pub async fn booked(&self, id: &str) -> Value {
        self.order_where(id, "booked", |order| order["shipments"][0]["status"] == "booked").await
    }

    /// Reports an event of a shipment.
    pub async fn report(&self, shipment: &str, event_id: &str, kind: &str) -> Answer {
        let event = json!({"event_id": event_id, "type": kind, "occurred_at": instant(now())});
        self.post(&format!("/v1/shipments/{shipment}/events"), &event).await
    }

    /// Reports events of an order's first shipment, each of which must move it.
    pub async fn move_on(&self, id: &str, kinds: &[&str]) {
        for kind in kinds {
            let answer = self.report(&format!("{id}-1"), kind, kind).await.is(200);
            assert_eq!(answer.body, json!({"result": "applied"}), "{kind}");
        }
    }

    pub async fn cancel(&self, id: &str) -> Answer {
        self.post(&format!("/v1/orders/{id}/cancel"), &json!({"reason": "changed my mind"})).await
    }

    /// (on_hand, reserved, available)
    pub async fn stock(&self, sku: &str) -> (i64, i64, i64) {
        let level = self.get(&format!("/v1/inventory/{sku}")).await.is(200).body;
        (level["on_hand"].as_i64().unwrap(), level["reserved"].as_i64().unwrap(), level["available"].as_i64().unwrap())
    }

    /// The gateway's own ledger of an order.
    pub async fn ledger(&self, id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/sandbox/payments?order_id={id}")).await.is(200);
        answer.body["data"].as_array().unwrap().clone()
    }

    /// Types of the timeline's entries.
    pub async fn timeline(&self, id: &str) -> Vec<String> {
        let answer = self.get(&format!("/v1/orders/{id}/timeline")).await.is(200);
        answer.body["data"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect()
    }

    /// All rows of a list, page by page.
    pub async fn pages(&self, path: &str) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut next = path.to_owned();
        loop {
            let page = self.get(&next).await.is(200);
            pages.push(page.body["data"].as_array().unwrap().clone());
            let Some(cursor) = page.body["next_cursor"].as_str() else { return pages };
            next = format!("{path}&cursor={cursor}");
        }
    }
}

/// As the API takes it.
pub fn instant(at: Instant) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// An order that nothing is wrong with.
pub fn order_of(method: &str, lines: &[(&str, u32)]) -> Value {
    let lines: Vec<Value> = lines.iter().map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity})).collect();
    json!({
        "customer": {"id": "c-1", "name": "Ada Example", "email": "ada@example.com", "phone": "+4930123456"},
        "currency": "EUR",
        "lines": lines,
        "ship_to": {"name": "Ada Example", "line1": "Example Street 1", "city": "Berlin", "postal_code": "10115", "country": "DE"},
        "payment": {"method": method},
    })
}

/// An order of some units of one article with a good card.
pub fn order(sku: &str, quantity: u32) -> Value {
    order_of("pm_card_visa", &[(sku, quantity)])
}
