//! The payment gateway: hold, take, release and return a customer's money.

use async_trait::async_trait;
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::money::Money;
use oms_domain::payment::PaymentMethod;
use oms_domain::reconciliation::{GatewayPayment, Listed};
use serde::{Deserialize, Serialize};

use crate::GatewayError;

mod sandbox;
pub mod stripe;
pub use sandbox::{
    AuthenticateError, Authentication, OperationKind, OperationResult, PAY_PATH, SandboxOperation, SandboxPayment,
    SandboxPayments, StripeAnswer, StripeCall,
};

/// Holds funds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// Idempotency key.
    pub key: String,
    /// The order that is paid for.
    pub order_id: OrderId,
    /// How much to hold.
    pub amount: Money,
    /// From what.
    pub method: PaymentMethod,
    /// Now.
    pub now: Instant,
}

/// Takes held funds, all or part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureRequest {
    /// Idempotency key.
    pub key: String,
    /// The authorization.
    pub payment_id: String,
    /// How much to take.
    pub amount: Money,
    /// Now.
    pub now: Instant,
}

/// Releases what is still held. Names the authorization by its key, because whoever undoes a step may never have heard
/// its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidRequest {
    /// Idempotency key.
    pub key: String,
    /// The key under which funds were, or may have been, or may yet be authorized.
    pub authorize_key: String,
    /// The order.
    pub order_id: OrderId,
    /// Now.
    pub now: Instant,
}

/// Returns taken funds, all or part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRequest {
    /// Idempotency key.
    pub key: String,
    /// The authorization whose captured funds go back.
    pub payment_id: String,
    /// How much to return.
    pub amount: Money,
    /// Now.
    pub now: Instant,
}

/// Answer to an authorization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authorization {
    /// Funds are held.
    Held {
        /// The gateway's id of the payment.
        payment_id: String,
        /// How much is held.
        amount: Money,
        /// When the hold ends by itself.
        expires_at: Instant,
    },
    /// The customer must authenticate first; nothing is held yet.
    ActionRequired {
        /// The gateway's id of the payment.
        payment_id: String,
        /// Where the customer does so, if the gateway has a page for it. Whoever knows the address may be able to act there.
        #[serde(default)]
        action_url: Option<String>,
    },
    /// Nothing is held, and nothing will be under this key.
    Declined {
        /// The gateway's id of the payment, if it made one.
        payment_id: Option<String>,
        /// The gateway's word for why, such as `card_declined` or `voided`.
        code: String,
    },
}

/// Answer to a capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// The funds were taken.
    Taken {
        /// How much.
        amount: Money,
    },
    /// Nothing was taken, and nothing will be under this key.
    Refused {
        /// The gateway's word for why, such as `amount_exceeds_authorized`.
        code: String,
    },
}

/// Answer to a void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Void {
    /// What was still held is free again.
    Released {
        /// The gateway's id of the payment.
        payment_id: String,
    },
    /// Nothing was held. Nothing will be: a later authorization under that key is declined as `voided`.
    Nothing,
}

/// Answer to a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refund {
    /// The funds went back.
    Returned {
        /// How much.
        amount: Money,
    },
    /// Nothing went back, and nothing will under this key.
    Refused {
        /// The gateway's word for why, such as `amount_exceeds_captured`.
        code: String,
    },
}

/// What became of one idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// It was an authorization. Tells how the payment stands now: once the customer has authenticated it is held, once it
    /// was voided whole it is declined.
    Authorize(Authorization),
    /// It was a capture.
    Capture(Capture),
    /// It was a void.
    Void(Void),
    /// It was a refund.
    Refund(Refund),
}

/// A payment gateway. Every operation is idempotent by its key: a repeat has no effect and is answered with the truth.
#[async_trait]
pub trait PaymentGateway: Send + Sync {
    /// Holds funds. Errors: [`GatewayError`].
    async fn authorize(&self, request: AuthorizeRequest) -> Result<Authorization, GatewayError>;

    /// Takes held funds, never more than are held. Errors: [`GatewayError`].
    async fn capture(&self, request: CaptureRequest) -> Result<Capture, GatewayError>;

    /// Releases what is held and not yet taken. Errors: [`GatewayError`].
    async fn void(&self, request: VoidRequest) -> Result<Void, GatewayError>;

    /// Returns taken funds, never more than were taken. Errors: [`GatewayError`].
    async fn refund(&self, request: RefundRequest) -> Result<Refund, GatewayError>;

    /// The truth about one idempotency key; `None` if nothing ever took effect under it. Errors: [`GatewayError`].
    async fn lookup(&self, key: &str) -> Result<Option<Operation>, GatewayError>;

    /// A page of the gateway's own books: payments that began at or after `since`, in the gateway's order, behind the cursor that the page
    /// before gave. Errors: [`GatewayError`].
    async fn payments(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Listed<GatewayPayment>, GatewayError>;

    /// Whether no real money moves.
    fn is_sandbox(&self) -> bool;

    /// Whether the gateway can be asked to use this method at all.
    fn knows_method(&self, method: &PaymentMethod) -> bool;
}
