//! The demo's actors: a shop that places orders, customers and operators who steer them. All over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::bends;
use super::plan::{Fate, Job};
use crate::http::{Api, ApiError, Call, Order, Page, SandboxPayment};

pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What an actor waits for comes within this, or something is wrong.
pub(super) const PATIENCE: Duration = Duration::from_secs(150);
/// How long the operator thinks about a held order.
const HOLD_FOR: Duration = Duration::from_millis(1_500);
/// Attempts of a call that may pass: the key makes a repeat harmless.
const ATTEMPTS: u32 = 20;

/// What all actors share.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// The API.
    pub(super) api: Api,
    /// The run's name: reference of its orders and prefix of its keys.
    pub(super) run: String,
    /// Orders being placed at once.
    pub(super) placing: Arc<Semaphore>,
}

/// What an actor got done.
#[derive(Debug, Clone, Default)]
pub(super) struct Played {
    /// The order's id, once it was placed.
    pub(super) order: Option<String>,
    /// What went wrong.
    pub(super) complaint: Option<String>,
}

/// Places the order and does what its fate asks for.
pub(super) async fn play(stage: Stage, job: Job) -> Played {
    let mut played = Played::default();
    if let Err(why) = stage.play(&job, &mut played.order).await {
        played.complaint = Some(format!("order {} ({}): {why}", job.number, job.fate.title()));
    }
    played
}

/// An error with the lines that the API added to it.
pub(super) fn told(error: ApiError) -> String {
    [error.to_string()].into_iter().chain(error.lines()).collect::<Vec<_>>().join("; ")
}

impl Stage {
    async fn play(&self, job: &Job, placed: &mut Option<String>) -> Result<(), String> {
        let permit = self.placing.acquire().await.map_err(|e| e.to_string())?;
        let answer = self.post("/v1/orders", job.body(&self.run), &job.number.to_string()).await.map_err(told)?;
        let id = self.api.typed::<Order>(answer).map_err(told)?.id;
        *placed = Some(id.clone());
        let hold = match job.fate {
            Fate::CancelledAtOnce => return self.cancel(&id, "changed my mind").await,
            Fate::Held | Fate::CancelledOnHold | Fate::Edited | Fate::Moved => self.hold(&id).await?,
            _ => String::new(),
        };
        drop(permit);
        match job.fate {
            Fate::CancelledOnHold => {
                tokio::time::sleep(HOLD_FOR).await;
                self.cancel(&id, "the customer did not answer").await
            }
            Fate::Held => {
                tokio::time::sleep(HOLD_FOR).await;
                self.release(&id, &hold).await
            }
            Fate::Authenticated => self.authenticate(&id, "succeed").await,
            Fate::NotAuthenticated => self.authenticate(&id, "fail").await,
            _ => bends::play(self, job, &id, &hold).await,
        }
    }

    /// POSTs under a key of the run, again if that may help.
    pub(super) async fn post(&self, path: &str, body: Value, key: &str) -> Result<Value, ApiError> {
        let mut attempt = 1;
        loop {
            let call = Call::post(path, body.clone()).keyed(format!("{}-{key}", self.run));
            match self.api.send(call).await {
                Err(error) if error.may_pass() && attempt < ATTEMPTS => attempt += 1,
                settled => return settled,
            }
            tokio::time::sleep(LOOK_EVERY * 4).await;
        }
    }

    pub(super) async fn cancel(&self, order: &str, reason: &str) -> Result<(), String> {
        let key = format!("cancel-{order}");
        let answer = self.post(&format!("/v1/orders/{order}/cancel"), json!({"reason": reason}), &key).await;
        answer.map(|_| ()).map_err(told)
    }

    async fn hold(&self, order: &str) -> Result<String, String> {
        let body = json!({"kind": "address", "reason": "the address looks incomplete"});
        let hold = self.post(&format!("/v1/orders/{order}/holds"), body, &format!("hold-{order}")).await.map_err(told)?;
        Ok(hold["id"].as_str().unwrap_or_default().to_owned())
    }

    pub(super) async fn release(&self, order: &str, hold: &str) -> Result<(), String> {
        let mut attempt = 1;
        loop {
            match self.api.send(Call::delete(format!("/v1/orders/{order}/holds/{hold}"))).await {
                Ok(_) => return Ok(()),
                Err(error) if error.may_pass() && attempt < ATTEMPTS => attempt += 1,
                // an earlier attempt whose answer was lost has released it
                Err(error) if attempt > 1 && error.code() == Some("not_found") => return Ok(()),
                Err(error) => return Err(told(error)),
            }
            tokio::time::sleep(LOOK_EVERY * 4).await;
        }
    }

    /// Does what the customer does on the bank's page, once the gateway asks for it.
    async fn authenticate(&self, order: &str, outcome: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let call = Call::get("/v1/sandbox/payments").with("order_id", order);
            let payments = match self.api.ask::<Page<SandboxPayment>>(call).await {
                Ok(page) => page.data,
                Err(error) if error.may_pass() => Vec::new(),
                Err(error) => return Err(told(error)),
            };
            if let Some(payment) = payments.iter().find(|p| p.status == "requires_action") {
                let path = format!("/v1/sandbox/payments/{}/authenticate", payment.payment_id);
                let key = format!("authenticate-{}", payment.payment_id);
                return self.post(&path, json!({"outcome": outcome}), &key).await.map(|_| ()).map_err(told);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(format!("the gateway did not ask the customer to authenticate within {} s", PATIENCE.as_secs()))
    }
}
