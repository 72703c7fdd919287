//! The sandbox payment gateway: a durable ledger of its own, several processes at once, test methods named as in Stripe's
//! test mode, and faults.

use async_trait::async_trait;
use oms_domain::Instant;
use oms_domain::payment::{PaymentMethod, PaymentStatus};
use oms_domain::reconciliation::{GatewayPayment, Listed};
use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Authorization, AuthorizeRequest, Capture, CaptureRequest, Operation, PaymentGateway, Refund, RefundRequest, Void, VoidRequest,
};
use crate::GatewayError;
use crate::faults::{FaultMode, Faults, dropped};
use crate::ledger::{Ledger, LedgerError};
use oms_domain::party::Party;

mod books;
mod rows;
mod rules;
mod stripe;
#[cfg(test)]
mod tests;

pub use books::{OperationKind, OperationResult, SandboxOperation, SandboxPayment};
pub use stripe::{StripeAnswer, StripeCall};

/// How often `pm_sandbox_flaky` fails before it works, per operation key.
const FLAKY_FAILURES: i64 = 2;

/// The path of the page where a customer authenticates; the payment's id follows.
pub const PAY_PATH: &str = "/v1/sandbox/pay";

/// The test methods: what each makes of an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Visa,
    ChargeDeclined,
    AuthenticationRequired,
    Flaky,
    CommitThenDrop,
    Slow,
}

impl Method {
    const ALL: [Self; 6] =
        [Self::Visa, Self::ChargeDeclined, Self::AuthenticationRequired, Self::Flaky, Self::CommitThenDrop, Self::Slow];

    fn as_str(self) -> &'static str {
        match self {
            Self::Visa => "pm_card_visa",
            Self::ChargeDeclined => "pm_card_chargeDeclined",
            Self::AuthenticationRequired => "pm_card_authenticationRequired",
            Self::Flaky => "pm_sandbox_flaky",
            Self::CommitThenDrop => "pm_sandbox_commit_then_drop",
            Self::Slow => "pm_sandbox_slow",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.as_str() == name)
    }
}

/// What the customer did when asked to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Passed: funds are held.
    Succeed,
    /// Failed: declined.
    Fail,
}

/// Why an authentication was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// There is no such payment.
    #[error("there is no payment of that id")]
    NotFound,
    /// The payment does not wait for the customer (any more).
    #[error("the payment does not wait for authentication: it is {}", .status.as_str())]
    NotAwaiting {
        /// How it stands.
        status: PaymentStatus,
    },
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The sandbox payment gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SandboxPayments {
    ledger: Ledger,
    faults: Faults,
    lifetime: Duration,
    pages: Option<String>,
}

/// One call, whichever it is.
#[derive(Debug, Clone, Copy)]
enum Request<'a> {
    Authorize(&'a AuthorizeRequest),
    Capture(&'a CaptureRequest),
    Void(&'a VoidRequest),
    Refund(&'a RefundRequest),
}

impl Request<'_> {
    fn key(&self) -> &str {
        match self {
            Self::Authorize(r) => &r.key,
            Self::Capture(r) => &r.key,
            Self::Void(r) => &r.key,
            Self::Refund(r) => &r.key,
        }
    }

    fn kind(&self) -> OperationKind {
        match self {
            Self::Authorize(_) => OperationKind::Authorize,
            Self::Capture(_) => OperationKind::Capture,
            Self::Void(_) => OperationKind::Void,
            Self::Refund(_) => OperationKind::Refund,
        }
    }

    fn now(&self) -> Instant {
        match self {
            Self::Authorize(r) => r.now,
            Self::Capture(r) => r.now,
            Self::Void(r) => r.now,
            Self::Refund(r) => r.now,
        }
    }
}

impl SandboxPayments {
    /// A gateway on `ledger` that holds funds for `lifetime`.
    pub fn new(ledger: Ledger, faults: Faults, lifetime: Duration) -> Self {
        Self { ledger, faults, lifetime, pages: None }
    }

    /// The same gateway for a shop whose customers reach the sandbox's pages under `base`, a URL without a slash at the end.
    #[must_use]
    pub fn with_pages(self, base: &str) -> Self {
        Self { pages: Some(format!("{base}{PAY_PATH}")), ..self }
    }

    /// Adds the page where the customer authenticates.
    fn with_page(&self, answer: Authorization) -> Authorization {
        match (answer, &self.pages) {
            (Authorization::ActionRequired { payment_id, .. }, Some(pages)) => {
                let action_url = Some(format!("{pages}/{payment_id}"));
                Authorization::ActionRequired { payment_id, action_url }
            }
            (answer, _) => answer,
        }
    }

    /// One operation from end to end: trouble first, then the repeat's old answer or the effect, once.
    async fn perform(&self, request: Request<'_>) -> Result<Operation, GatewayError> {
        self.perform_noting(request, &BTreeMap::new()).await
    }

    /// The same, with what a capture leaves on its intent.
    async fn perform_noting(&self, request: Request<'_>, metadata: &BTreeMap<String, String>) -> Result<Operation, GatewayError> {
        let fault = self.faults.mode(Party::Payment, request.kind().as_str()).await?;
        let method = self.method(request).await?;
        fault.delay().await;
        if method == Some(Method::Slow) && fault != FaultMode::Slow {
            FaultMode::Slow.delay().await;
        }
        let mut transaction = self.ledger.begin().await?;
        if let Some((kind, settled)) = rows::settled(&mut transaction, request.key()).await? {
            if let Some(refusal) = fault.refusal() {
                return Err(refusal);
            }
            return if kind == request.kind() { Ok(settled) } else { Err(key_reused()) };
        }
        let flaky = method == Some(Method::Flaky) && rows::failures(&mut transaction, request.key()).await? < FLAKY_FAILURES;
        let failure = fault.refusal().or_else(|| flaky.then(|| GatewayError::unavailable("connection reset (pm_sandbox_flaky)")));
        if let Some(failure) = failure {
            rows::record_failure(&mut transaction, request).await?;
            Ledger::commit(transaction).await?;
            return Err(failure);
        }
        let operation = rules::settle(&mut transaction, request, self.lifetime).await?;
        if let (Request::Capture(capture), Operation::Capture(Capture::Taken { .. })) = (request, &operation) {
            stripe::annotate(&mut transaction, &capture.payment_id, metadata).await?;
        }
        Ledger::commit(transaction).await?;
        if fault == FaultMode::CommitThenDrop || method == Some(Method::CommitThenDrop) {
            return Err(dropped());
        }
        Ok(operation)
    }

    /// Takes money, and leaves `metadata` on the intent that it comes from; neither is there without the other.
    async fn take(&self, request: &CaptureRequest, metadata: &BTreeMap<String, String>) -> Result<Capture, GatewayError> {
        match self.perform_noting(Request::Capture(request), metadata).await? {
            Operation::Capture(answer) => Ok(answer),
            _ => Err(mismatch()),
        }
    }

    /// The method of the payment that the call is about; none while there is no such payment.
    async fn method(&self, request: Request<'_>) -> Result<Option<Method>, LedgerError> {
        let (column, id) = match request {
            Request::Authorize(r) => return Ok(Method::parse(&r.method.0)),
            Request::Void(r) => ("SELECT method FROM payments WHERE authorize_key = $1", &r.authorize_key),
            Request::Capture(r) => ("SELECT method FROM payments WHERE payment_id = $1", &r.payment_id),
            Request::Refund(r) => ("SELECT method FROM payments WHERE payment_id = $1", &r.payment_id),
        };
        let name: Option<String> = sqlx::query_scalar(column).bind(id).fetch_optional(self.ledger.reader()).await?;
        Ok(name.as_deref().and_then(Method::parse))
    }

    /// The customer authenticates: funds are then held, or declined. Errors: [`AuthenticateError`].
    pub async fn authenticate(&self, payment_id: &str, outcome: Authentication, now: Instant) -> Result<(), AuthenticateError> {
        let mut transaction = self.ledger.begin().await?;
        let Some(mut payment) = rows::payment(&mut transaction, rows::By::PaymentId(payment_id)).await? else {
            return Err(AuthenticateError::NotFound);
        };
        if payment.status != PaymentStatus::RequiresAction {
            return Err(AuthenticateError::NotAwaiting { status: payment.status });
        }
        match outcome {
            Authentication::Succeed => rules::hold(&mut payment, now, self.lifetime),
            Authentication::Fail => {
                rules::decline(&mut payment, "authentication_failed");
                rows::mark_declined(&mut transaction, &payment.authorize_key).await?;
            }
        }
        rows::update(&mut transaction, &payment).await?;
        transaction.commit().await.map_err(LedgerError::Sql)?;
        Ok(())
    }
}

fn key_reused() -> GatewayError {
    GatewayError::unavailable("the idempotency key was used for another kind of operation")
}

/// The answer is of the call's own kind, by construction; said here once instead of trusting it silently.
fn mismatch() -> GatewayError {
    GatewayError::unknown_outcome("the ledger holds an answer of another kind under this key")
}

#[async_trait]
impl PaymentGateway for SandboxPayments {
    async fn authorize(&self, request: AuthorizeRequest) -> Result<Authorization, GatewayError> {
        match self.perform(Request::Authorize(&request)).await? {
            Operation::Authorize(answer) => Ok(self.with_page(answer)),
            _ => Err(mismatch()),
        }
    }

    async fn capture(&self, request: CaptureRequest) -> Result<Capture, GatewayError> {
        self.take(&request, &BTreeMap::new()).await
    }

    async fn void(&self, request: VoidRequest) -> Result<Void, GatewayError> {
        match self.perform(Request::Void(&request)).await? {
            Operation::Void(answer) => Ok(answer),
            _ => Err(mismatch()),
        }
    }

    async fn refund(&self, request: RefundRequest) -> Result<Refund, GatewayError> {
        match self.perform(Request::Refund(&request)).await? {
            Operation::Refund(answer) => Ok(answer),
            _ => Err(mismatch()),
        }
    }

    async fn lookup(&self, key: &str) -> Result<Option<Operation>, GatewayError> {
        let fault = self.faults.mode(Party::Payment, "lookup").await?;
        fault.delay().await;
        if let Some(refusal) = fault.refusal() {
            return Err(refusal);
        }
        let mut view = self.ledger.view().await?;
        Ok(rows::settled(&mut view, key).await?.map(|(_, operation)| match operation {
            Operation::Authorize(answer) => Operation::Authorize(self.with_page(answer)),
            other => other,
        }))
    }

    async fn payments(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Listed<GatewayPayment>, GatewayError> {
        let fault = self.faults.mode(Party::Payment, "list").await?;
        fault.delay().await;
        if let Some(refusal) = fault.refusal() {
            return Err(refusal);
        }
        Ok(self.page(since, after, limit).await?)
    }

    fn is_sandbox(&self) -> bool {
        true
    }

    fn knows_method(&self, method: &PaymentMethod) -> bool {
        Method::parse(&method.0).is_some()
    }
}
