//! Answers that replicas keep for each other, in a place that never forgets by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures::future::{BoxFuture, ready};
use oms_domain::ids::Sku;
use serde_json::{Value, json};

use super::Desk;
use crate::answers::{Answers, Kept, SharedAnswers};

/// Keeps everything for ever, by a clock that only moves when it is looked at.
#[derive(Default)]
struct Shelf {
    away: AtomicBool,
    clock: AtomicU64,
    kept: Mutex<BTreeMap<String, String>>,
    voided: Mutex<BTreeMap<String, u64>>,
}

impl Shelf {
    fn names(&self) -> Vec<String> {
        self.kept.lock().unwrap().keys().cloned().collect()
    }

    async fn keeps(&self, name: &str) {
        let kept = async {
            while !self.names().iter().any(|kept| kept == name) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), kept).await.unwrap_or_else(|_| panic!("{name} is not kept"));
    }
}

impl SharedAnswers for Shelf {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Kept>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let kept = self.kept.lock().unwrap().get(name).cloned();
        let kept = kept.map_or(Kept::Nothing(now), Kept::Answer);
        Box::pin(ready((!self.away.load(Ordering::Relaxed)).then_some(kept)))
    }

    fn put<'a>(&'a self, name: &'a str, answer: &'a str, read: u64) -> BoxFuture<'a, ()> {
        if self.voided.lock().unwrap().get(name).is_none_or(|voided| *voided <= read) {
            self.kept.lock().unwrap().insert(name.to_owned(), answer.to_owned());
        }
        Box::pin(ready(()))
    }

    fn void<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, ()> {
        for name in names {
            self.voided.lock().unwrap().insert(name.to_owned(), self.clock.load(Ordering::Relaxed));
            self.kept.lock().unwrap().remove(name);
        }
        Box::pin(ready(()))
    }
}

async fn desk() -> (Desk, Arc<Shelf>) {
    let shelf = Arc::new(Shelf::default());
    let answers = Answers::kept_in(shelf.clone());
    (Desk::with("127.0.0.1:9", |settings| settings.answers = answers).await, shelf)
}

/// A change that no replica of the API makes.
async fn change_behind(desk: &Desk, amount: i64) {
    let sku = Sku::parse("MUG").unwrap();
    let mut product = desk.store.product(&sku).await.unwrap().unwrap();
    product.price.minor = amount;
    desk.store.put_product(&product, desk.state.now()).await.unwrap();
}

async fn price(desk: &Desk) -> Value {
    let answer = desk.get("/v1/catalogue/MUG").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"), "{}", answer.text);
    answer.body["price"]["amount"].clone()
}

async fn on_hand(desk: &Desk) -> Value {
    desk.get("/v1/inventory/MUG").await.body["on_hand"].clone()
}

#[tokio::test]
async fn an_answer_is_kept_and_given_again_with_the_same_bytes() {
    let (desk, shelf) = desk().await;
    desk.put_product("MUG", 1_000).await;
    for (path, name) in [("/v1/catalogue/MUG", "product:MUG"), ("/v1/inventory/MUG", "stock:MUG")] {
        let read = desk.get(path).await;
        shelf.keeps(name).await;
        change_behind(&desk, 2_000).await;
        let kept = desk.get(path).await;
        assert_eq!((kept.status, &kept.text, kept.header("content-type")), (read.status, &read.text, "application/json"));
    }
    for path in ["/v1/catalogue/CUP", "/v1/inventory/CUP", "/v1/catalogue/%00"] {
        desk.get(path).await.refuses(404, "not_found", None);
    }
    assert_eq!(shelf.names(), ["product:MUG", "stock:MUG"], "a refusal is not kept");
}

#[tokio::test]
async fn whatever_the_api_changes_is_forgotten_before_its_answer() {
    let (desk, shelf) = desk().await;
    desk.put_product("MUG", 1_000).await;
    assert_eq!(price(&desk).await, 1_000);
    shelf.keeps("product:MUG").await;
    desk.put_product("MUG", 1_100).await;
    assert_eq!(price(&desk).await, 1_100);
    shelf.keeps("product:MUG").await;
    let item = json!({"sku": "MUG", "name": "Mug", "price": {"amount": 1_200, "currency": "EUR"}});
    assert_eq!(desk.json(Method::POST, "/v1/catalogue:batch", &json!({"items": [item]})).await.status, StatusCode::OK);
    assert_eq!(price(&desk).await, 1_200);

    let movement = |quantity: i64| json!({"sku": "MUG", "location": "berlin", "quantity": quantity, "reason": "r"});
    let counted = json!({"on_hand": 11, "reason": "r"});
    let batch = json!({"items": [{"sku": "MUG", "location": "berlin", "on_hand": 3, "reason": "r"}]});
    for (method, path, body, units) in [
        (Method::POST, "/v1/inventory/receipts", movement(5), 5),
        (Method::POST, "/v1/inventory/adjustments", movement(-1), 4),
        (Method::PUT, "/v1/inventory/MUG/berlin", counted, 11),
        (Method::POST, "/v1/inventory:batch", batch, 3),
    ] {
        on_hand(&desk).await;
        shelf.keeps("stock:MUG").await;
        let booked = desk.json(method, path, &body).await;
        assert!(booked.status.is_success(), "{}", booked.text);
        assert_eq!(on_hand(&desk).await, units, "{path}");
    }
}

#[tokio::test]
async fn without_the_place_every_answer_is_read() {
    let (desk, shelf) = desk().await;
    desk.put_product("MUG", 1_000).await;
    price(&desk).await;
    shelf.keeps("product:MUG").await;
    shelf.away.store(true, Ordering::Relaxed);
    for amount in [1_100, 1_200] {
        change_behind(&desk, amount).await;
        assert_eq!(price(&desk).await, amount);
    }
}

#[tokio::test]
async fn an_order_is_priced_by_what_is_true_and_not_by_what_is_kept() {
    let (desk, shelf) = desk().await;
    desk.put_product("MUG", 1_000).await;
    price(&desk).await;
    shelf.keeps("product:MUG").await;
    change_behind(&desk, 2_000).await;
    assert_eq!(price(&desk).await, 1_000, "a shop may see what was true less than a second ago");
    // the engine is away; the intake has its prices
    desk.keyed(Method::POST, "/v1/orders", Some("k"), &super::order_body()).await.refuses(503, "unavailable", None);
    let order = &desk.get("/v1/orders").await.body["data"][0];
    assert_eq!(order["lines"][0]["unit_price"]["amount"], 2_000, "{order}");
}
