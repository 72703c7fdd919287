//! Stripe, or a server that speaks its wire format, as the payment gateway.
//!
//! **Nothing happens twice.** An authorization is a PaymentIntent of `capture_method=manual`. Our effect key travels as `Idempotency-Key`
//! and stands in the intent's metadata, and before anything is done it is looked whether it was done already: a server may ignore
//! idempotency keys, forgets them after a day, and answers a repeat with how things stood then. A key is good for one request: an
//! operation that takes several puts a word behind it. Looking means Stripe's search by metadata; where there is none, the list of intents
//! is read through. The search lags behind by up to a minute; within that time the idempotency key protects, and a contradiction (the key
//! was used for something else) counts as an unknown outcome and is looked at again later.
//!
//! **Notes.** The first intent of an authorization keeps in its metadata what every later operation came to (`notes`), so a key's fate
//! is read from the server and `sum(captures) <= authorized` holds by its own record. There is room for about 45 operations.
//!
//! **Split shipments.** Stripe lets an intent be captured once; the rest of the hold is then released. Several captures of one intent
//! (`final_capture=false`) exist only on accounts with that feature and for some cards. So:
//! - where the setting `multicapture` is on and the server says that the card allows it, each share is a capture of the one intent;
//! - otherwise the first share is the capture of the intent, and each later share is an intent of its own, taken at once off session from
//!   the same payment method, noted on the first intent before it is made, never beyond what was authorized there.
//!
//! The price: between two parcels nothing is held for the rest, so a later share can be declined; the order then raises attention as after
//! any refused capture. The alternatives are worse: taking everything with the first parcel takes money for goods that have not left, and
//! holding the rest anew beside the first hold blocks the customer's money twice. A payment method can only be charged again if it is
//! attached to a Stripe customer (set up by the checkout for off-session use); its customer is found by asking for the payment method.
//!
//! **A void that comes first** makes an intent under the authorization's own idempotency key, without a payment method, and cancels it:
//! a late authorization finds it, or is refused by the key.

use async_trait::async_trait;
use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::payment::PaymentMethod;
use oms_domain::reconciliation::{GatewayPayment, Listed};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

use super::{
    Authorization, AuthorizeRequest, Capture, CaptureRequest, Operation, PaymentGateway, Refund, RefundRequest, Void, VoidRequest,
};
use crate::GatewayError;
use crate::secret::Secret;
use crate::web::WebError;
use client::Http;

mod authorize;
mod books;
mod capture;
mod client;
mod look;
mod notes;
mod objects;
mod refund;
#[cfg(test)]
mod tests;
mod void;
pub mod webhook;

/// Whose answers these are, in errors.
const PARTY: &str = "Stripe";

/// Operations that may be under way at once in this process, more or less.
const TURNS: usize = 64;

/// How to reach Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeSettings {
    /// The account's secret key, or a restricted one that may read and write PaymentIntents and refunds.
    pub secret_key: Secret,
    /// Where the server is, without `/v1`.
    pub base_url: String,
    /// What one operation may take, all its calls together.
    pub timeout: Duration,
    /// Where a customer comes back to after authenticating, if that happens on a page of the bank.
    pub return_url: Option<String>,
    /// Whether to ask for several captures of one intent: only on accounts that have the feature.
    pub multicapture: bool,
}

/// What the server turned out not to know; learnt once per process.
#[derive(Debug, Default)]
struct Limits {
    /// It cannot search.
    no_search: AtomicBool,
    /// Its lists cannot be limited by time.
    no_since: AtomicBool,
    /// A capture cannot carry metadata.
    no_capture_metadata: AtomicBool,
}

/// Whether something is known to be missing.
fn lacks(limit: &AtomicBool) -> bool {
    limit.load(Ordering::Relaxed)
}

/// Remembers that something is missing.
fn learn(limit: &AtomicBool) {
    limit.store(true, Ordering::Relaxed);
}

/// Stripe as the payment gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StripePayments {
    http: Http,
    settings: Arc<StripeSettings>,
    limits: Arc<Limits>,
    turns: Arc<[Mutex<()>; TURNS]>,
}

impl StripePayments {
    /// A gateway that calls nobody yet. Needs an installed TLS provider. Errors: [`WebError`].
    pub fn new(settings: StripeSettings) -> Result<Self, WebError> {
        Ok(Self {
            http: Http::new(&settings)?,
            settings: Arc::new(settings),
            limits: Arc::default(),
            turns: Arc::new(std::array::from_fn(|_| Mutex::new(()))),
        })
    }

    /// Asks the server whether it knows us: reads one intent. Errors: [`GatewayError`], whose detail names the remedy.
    pub async fn check(&self) -> Result<(), GatewayError> {
        let read = self.http.get::<objects::Page<objects::Intent>>("payment_intents", &[("limit", "1")]);
        read.await.map(|_| ()).map_err(client::Failure::unexpected)
    }

    /// One operation at a time about one subject: a server that ignores idempotency keys would otherwise let two repeats that look at
    /// the same moment act both.
    async fn turn(&self, subject: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        subject.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
        self.turns[at].lock().await
    }

    /// Ends an operation that takes too long: what it was doing may have happened.
    async fn within<T>(&self, operation: impl Future<Output = Result<T, GatewayError>>) -> Result<T, GatewayError> {
        let late = || GatewayError::unknown_outcome(format!("{PARTY}: no end after {:?}", self.settings.timeout));
        tokio::time::timeout(self.settings.timeout, operation).await.unwrap_or_else(|_| Err(late()))
    }
}

/// The order and the step that one of our keys, `subject/step/…`, is about. The subject of a refund is no order.
fn read_key(key: &str) -> Option<(&str, &str)> {
    let (subject, rest) = key.split_once('/')?;
    Some((subject, rest.split('/').next()?))
}

/// The order behind the subject of a capture.
fn order_of_shipment(subject: &str) -> Option<OrderId> {
    ShipmentId::parse(subject).ok()?.order().ok()
}

#[async_trait]
impl PaymentGateway for StripePayments {
    async fn authorize(&self, request: AuthorizeRequest) -> Result<Authorization, GatewayError> {
        self.within(async {
            let _turn = self.turn(request.order_id.as_str()).await;
            self.hold(&request).await
        })
        .await
    }

    async fn capture(&self, request: CaptureRequest) -> Result<Capture, GatewayError> {
        self.within(async {
            let _turn = self.turn(&request.payment_id).await;
            self.take(&request).await
        })
        .await
    }

    async fn void(&self, request: VoidRequest) -> Result<Void, GatewayError> {
        self.within(async {
            let _turn = self.turn(request.order_id.as_str()).await;
            self.let_go(&request).await
        })
        .await
    }

    async fn refund(&self, request: RefundRequest) -> Result<Refund, GatewayError> {
        self.within(async {
            let _turn = self.turn(&request.payment_id).await;
            self.give_back(&request).await
        })
        .await
    }

    async fn lookup(&self, key: &str) -> Result<Option<Operation>, GatewayError> {
        self.within(async {
            match read_key(key) {
                Some((_, "authorize")) => Ok(self.known_hold(key).await?.map(Operation::Authorize)),
                Some((subject, "capture")) => Ok(self.known_take(subject, key).await?.map(Operation::Capture)),
                Some((order, "void")) => Ok(self.known_void(order, key).await?.map(Operation::Void)),
                Some((_, "refund")) => Ok(self.known_refund(key).await?.map(Operation::Refund)),
                _ => Ok(None),
            }
        })
        .await
    }

    async fn payments(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Listed<GatewayPayment>, GatewayError> {
        self.page(since, after, limit).await
    }

    fn is_sandbox(&self) -> bool {
        false
    }

    fn knows_method(&self, method: &PaymentMethod) -> bool {
        let plain = |id: &str| !id.is_empty() && id.len() <= 200 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        ["pm_", "card_", "src_"].iter().filter_map(|prefix| method.0.strip_prefix(prefix)).any(plain)
    }
}
