//! What the actors do where an order's life bends: shortages, review, changes, and what comes after the delivery.

use std::time::Instant;

use serde_json::{Value, json};

use super::actor::{LOOK_EVERY, PATIENCE, Stage, told};
use super::plan::{Fate, Job, LANTERN};
use crate::http::{ApiError, Call, Order, Page, TimelineEntry};

/// Does what the fate of a placed order asks for, and waits until its timeline shows it.
pub(super) async fn play(stage: &Stage, job: &Job, id: &str, hold: &str) -> Result<(), String> {
    match job.fate {
        Fate::WaitsForStock => stage.deliver_goods(id).await?,
        Fate::RestFollows => {
            stage.sees(id, "what is there has left", |order| order.status == "partially_shipped").await?;
            stage.deliver_goods(id).await?;
        }
        Fate::CustomerDecides => {
            stage.sees(id, "its customer is asked", |order| order.question.is_some()).await?;
            stage.asks(&format!("/v1/orders/{id}/decision"), json!({"decision": "ship_available"})).await?;
        }
        Fate::CancelledWaiting => {
            stage.sees(id, "it waits", |order| order.status == "backordered").await?;
            stage.cancel(id, "found it elsewhere").await?;
        }
        Fate::Edited => {
            stage.sees(id, "it is confirmed", |order| order.status == "confirmed").await?;
            stage.asks(&format!("/v1/orders/{id}/edits"), job.edit(&stage.run)).await?;
            stage.shows(id, "order.edited").await?;
            stage.release(id, hold).await?;
        }
        Fate::Moved => {
            stage.sees(id, "it is confirmed", |order| order.status == "confirmed").await?;
            stage.asks(&format!("/v1/orders/{id}/address"), elsewhere(job)).await?;
            stage.release(id, hold).await?;
        }
        Fate::Approved => stage.reviews(id, "approve", "the customer is known").await?,
        Fate::Refused => stage.reviews(id, "reject", "the customer did not answer the phone").await?,
        Fate::PaidBack => {
            stage.sees(id, "it is delivered", |order| order.status == "completed").await?;
            let body = json!({"lines": job.one(), "reason": "one came broken"});
            stage.asks(&format!("/v1/orders/{id}/refunds"), body).await?;
        }
        Fate::SentBack => stage.sends_back(job, id).await?,
        Fate::Lost => stage.loses(id).await?,
        _ => return Ok(()),
    }
    match job.fate.bend() {
        Some(fact) => stage.shows(id, fact).await,
        None => Ok(()),
    }
}

fn elsewhere(job: &Job) -> Value {
    json!({
        "name": format!("Sample Customer {}", job.number), "line1": "Other Street 9", "city": "Wien", "postal_code": "1010",
        "country": "AT", "reason": "moved house",
    })
}

impl Stage {
    /// Asks for something once, whatever happens to the answer. The key follows from the path.
    async fn asks(&self, path: &str, body: Value) -> Result<Value, String> {
        self.post(path, body, &path.replace('/', "-")).await.map_err(told)
    }

    /// Asks again and again until an answer is of use. Errors: a refusal, or nothing of use within [`PATIENCE`].
    async fn until<T>(&self, what: &str, call: impl Fn() -> Call, useful: impl Fn(Value) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.api.send(call()).await {
                Ok(value) => {
                    if let Some(found) = useful(value) {
                        return Ok(found);
                    }
                }
                Err(error) if error.may_pass() => {}
                Err(error) => return Err(told(error)),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(format!("not within {} s: {what}", PATIENCE.as_secs()))
    }

    /// Waits until the order is as wanted.
    async fn sees(&self, id: &str, what: &str, wanted: impl Fn(&Order) -> bool) -> Result<Order, String> {
        let read = |value| self.api.typed::<Order>(value).ok().filter(&wanted);
        self.until(what, || Call::get(format!("/v1/orders/{id}")), read).await
    }

    /// The order's timeline so far.
    pub(super) async fn timeline(&self, id: &str) -> Result<Vec<TimelineEntry>, ApiError> {
        Ok(self.api.ask::<Page<TimelineEntry>>(Call::get(format!("/v1/orders/{id}/timeline"))).await?.data)
    }

    /// Waits until the order's timeline has a fact.
    async fn shows(&self, id: &str, fact: &str) -> Result<(), String> {
        let read = |value| {
            let page = self.api.typed::<Page<TimelineEntry>>(value).ok()?;
            page.data.iter().any(|entry| entry.kind == fact).then_some(())
        };
        self.until(fact, || Call::get(format!("/v1/orders/{id}/timeline")), read).await
    }

    /// Brings what the order waits for.
    async fn deliver_goods(&self, id: &str) -> Result<(), String> {
        for line in self.sees(id, "it waits for goods", |order| !order.waiting.is_empty()).await?.waiting {
            let body = json!({
                "sku": line.sku, "location": LANTERN.location, "quantity": line.quantity, "reason": "the demo's delivery",
            });
            self.post("/v1/inventory/receipts", body, &format!("receipt-{}", line.sku)).await.map_err(told)?;
        }
        Ok(())
    }

    async fn reviews(&self, id: &str, decision: &str, reason: &str) -> Result<(), String> {
        self.sees(id, "a rule stops it", |order| order.status == "in_review").await?;
        self.asks(&format!("/v1/orders/{id}/review"), json!({"decision": decision, "reason": reason})).await.map(|_| ())
    }

    /// A unit comes back: asked for, approved, received, paid back.
    async fn sends_back(&self, job: &Job, id: &str) -> Result<(), String> {
        self.sees(id, "it is delivered", |order| order.status == "completed").await?;
        let body = json!({"lines": job.one(), "reason": "not the colour in the picture"});
        let back = self.asks(&format!("/v1/orders/{id}/returns"), body).await?;
        let path = format!("/v1/returns/{}", back["id"].as_str().unwrap_or_default());
        self.asks(&format!("{path}/approve"), json!({})).await?;
        let labelled = |value: Value| value["label"].is_object().then_some(());
        self.until("the return has a label", || Call::get(path.clone()), labelled).await?;
        let mut unit = job.one()[0].clone();
        (unit["condition"], unit["location"]) = (json!("restock"), json!(job.home()));
        self.asks(&format!("{path}/receive"), json!({"units": [unit]})).await?;
        let completed = |value: Value| (value["state"] == "completed").then_some(());
        self.until("the return is completed", || Call::get(path.clone()), completed).await?;
        self.sees(id, "the unit is paid back", |order| order.totals.refunded.minor > 0).await.map(|_| ())
    }

    /// The carrier loses the parcel, and a person settles what is left.
    async fn loses(&self, id: &str) -> Result<(), String> {
        let booked = |order: &Order| order.shipments.first().is_some_and(|s| s.status == "booked");
        let order = self.sees(id, "a courier is booked", booked).await?;
        for kind in ["shipped", "lost"] {
            for shipment in &order.shipments {
                let body = json!({"event_id": format!("{}-{kind}", self.run), "type": kind, "occurred_at": crate::http::now()});
                self.post(&format!("/v1/shipments/{}/events", shipment.id), body, &format!("{kind}-{}", shipment.id))
                    .await
                    .map_err(told)?;
            }
            self.sees(id, "it is paid", |order| order.totals.captured == order.totals.total).await?;
        }
        let first = |value: Value| Some(value["data"][0]["id"].as_str()?.to_owned());
        let list = || Call::get("/v1/review-items").with("order", id).with("kind", "lost");
        let item = self.until("a person is called", list, first).await?;
        let body = json!({"action": "refund_and_close", "reason": "the carrier has given up the search"});
        self.asks(&format!("/v1/review-items/{item}/resolve"), body).await?;
        self.sees(id, "the money is back", |order| order.totals.refunded == order.totals.captured).await.map(|_| ())
    }
}
