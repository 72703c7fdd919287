//! The sandbox's HTTP routes: the gateway's ledger, a customer who authenticates, the same gateway in Stripe's wire format, the carrier in
//! its protocol, parties that fail on command. They exist only while the party is the sandbox.

mod carrier;
mod duration;
mod pay;
mod stripe;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use oms_api::extract::{Json, Path, Query};
use oms_api::idempotency::IdempotencyKey;
use oms_api::problem::{Code, FieldError, Problem, ProblemBody};
use oms_contract::command::PaymentNews;
use oms_contract::names::order_workflow;
use oms_contract::workflow::{Order, PaymentNewsSignal};
use oms_domain::ids::OrderId;
use oms_domain::party::Party;
use oms_domain::payment::PaymentStatus;
use oms_gateways::faults::{Fault, FaultMode, operations};
use oms_gateways::ledger::LedgerError;
use oms_gateways::payment::{AuthenticateError, Authentication, SandboxPayment};
use oms_gateways::sandbox::Sandbox;
use oms_temporal::connect::{ConnectSettings, connect};
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{Client, WorkflowSignalOptions};
use tokio::sync::OnceCell;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::views::{Authenticate, FaultView, Faults, Payment, Payments, PaymentsQuery, SetFault};
use crate::wiring::now;

/// The engine hears of an authentication within this, or the client hears that it did not.
const TELL_MAX: Duration = Duration::from_secs(1);

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How orders hear news about their payment.
pub(crate) struct Herald {
    settings: ConnectSettings,
    client: OnceCell<Client>,
}

impl Herald {
    /// One that connects when there is something to tell.
    pub(crate) fn connecting(settings: ConnectSettings) -> Self {
        Self { settings, client: OnceCell::new() }
    }

    /// One that is connected already.
    pub(crate) fn connected(client: Client, settings: ConnectSettings) -> Self {
        Self { settings, client: OnceCell::new_with(Some(client)) }
    }

    /// Tells an order's run to ask the gateway. An order whose run has ended needs no news.
    async fn tell(&self, order: &OrderId) -> Result<(), Problem> {
        let told = async {
            let client = self.client.get_or_try_init(|| connect(&self.settings)).await.map_err(|e| e.to_string())?;
            let handle = client.get_workflow_handle::<Order>(order_workflow(order));
            let news = PaymentNews { actor: Some("customer".to_owned()) };
            match handle.signal(PaymentNewsSignal, news, WorkflowSignalOptions::default()).await {
                Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        };
        let outcome = tokio::time::timeout(TELL_MAX, told).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        outcome.map_err(|error| {
            tracing::warn!(error, "an order could not be told about its payment");
            Problem::unavailable("the authentication is noted, but the order engine does not answer; send the same request again")
        })
    }
}

/// What the sandbox's handlers share.
#[derive(Clone)]
struct Shared {
    sandbox: Sandbox,
    herald: Arc<Herald>,
    plays: Arc<[Party]>,
}

/// The sandbox's routes, as far as it plays these parties. The payment gateway is also served in Stripe's wire format, and the carrier in
/// the protocol of `docs/carrier.md`, undocumented here because they are documented there: under `/sandbox/stripe` and `/sandbox/carrier`.
pub(crate) fn router(sandbox: Sandbox, herald: Herald, plays: Vec<Party>) -> OpenApiRouter {
    let payments = plays.contains(&Party::Payment).then(|| sandbox.payments.clone());
    let carrier = plays.contains(&Party::Carrier).then(|| sandbox.carrier.clone());
    let mut routes = OpenApiRouter::new();
    if payments.is_some() {
        routes = routes.merge(of_payments());
    }
    if !plays.is_empty() {
        routes = routes.merge(of_faults());
    }
    let mut routes = routes.with_state(Shared { sandbox, herald: Arc::new(herald), plays: plays.into() });
    if let Some(payments) = payments {
        routes = routes.route(stripe::PATH, stripe::routes(payments));
    }
    if let Some(carrier) = carrier {
        routes = routes.route(carrier::PATH, carrier::routes(carrier));
    }
    routes
}

/// The routes as the document shows them, without a sandbox behind them.
pub(crate) fn described() -> OpenApiRouter {
    OpenApiRouter::with_openapi(of_payments().merge(of_faults()).into_openapi())
}

fn of_payments() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list_payments)).routes(routes!(authenticate)).routes(routes!(pay::show, pay::act))
}

fn of_faults() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list_faults)).routes(routes!(set_fault))
}

fn broken(error: LedgerError) -> Problem {
    tracing::warn!(%error, "the sandbox ledger did not answer");
    Problem::unavailable("the sandbox ledger does not answer; try again")
}

/// The gateway's ledger
///
/// One row per attempted authorization, oldest first. It is the sandbox gateway's own, not the `payments` of our database.
#[utoipa::path(get, path = "/v1/sandbox/payments", tag = "sandbox", operation_id = "listSandboxPayments", params(PaymentsQuery),
    responses((status = 200, description = "The ledger", body = Payments)))]
async fn list_payments(State(shared): State<Shared>, Query(query): Query<PaymentsQuery>) -> Result<Response, Problem> {
    let order = query.order_id.map(OrderId::parse).transpose();
    let order =
        order.map_err(|e| Problem::invalid(Code::ValidationFailed, vec![FieldError::of("order_id", "invalid", e.rule)]))?;
    let rows = shared.sandbox.payments.payments(order.as_ref()).await.map_err(broken)?;
    Ok(axum::Json(Payments { data: rows.into_iter().map(Payment::from).collect() }).into_response())
}

/// The customer authenticates
///
/// Ends the wait of a payment that needs its customer, and tells the order. Repeating the same outcome changes nothing and tells
/// the order again.
#[utoipa::path(post, path = "/v1/sandbox/payments/{payment_id}/authenticate", tag = "sandbox",
    operation_id = "authenticateSandboxPayment",
    params(("payment_id" = String, Path, description = "The gateway's id of the payment"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    request_body = Authenticate,
    responses((status = 200, description = "The payment as it stands now", body = Payment),
        (status = 409, description = "It does not wait for its customer", body = ProblemBody, content_type = "application/problem+json")))]
async fn authenticate(
    State(shared): State<Shared>,
    Path(payment_id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<Authenticate>,
) -> Result<Response, Problem> {
    let (payment, repeated) = shared.authenticated(&payment_id, outcome(&body.outcome)?).await?;
    let mut response = axum::Json(Payment::from(payment)).into_response();
    if repeated && key.0.is_some() {
        response.headers_mut().insert(REPLAYED, axum::http::HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// What the customer did. Errors: 422.
fn outcome(name: &str) -> Result<Authentication, Problem> {
    match name {
        "succeed" => Ok(Authentication::Succeed),
        "fail" => Ok(Authentication::Fail),
        _ => Err(Problem::at("/outcome", Code::ValidationFailed, "an outcome is succeed or fail")),
    }
}

/// Whether a payment stands as the outcome would leave it, or further on.
fn is_outcome(outcome: Authentication, status: PaymentStatus) -> bool {
    match outcome {
        Authentication::Succeed => {
            matches!(status, PaymentStatus::Authorized | PaymentStatus::PartiallyCaptured | PaymentStatus::Captured)
        }
        Authentication::Fail => status == PaymentStatus::Declined,
    }
}

async fn find(sandbox: &Sandbox, payment_id: &str) -> Result<SandboxPayment, Problem> {
    let rows = sandbox.payments.payments(None).await.map_err(broken)?;
    rows.into_iter().find(|p| p.payment_id == payment_id).ok_or_else(|| Problem::not_found("payment"))
}

/// What fails now
#[utoipa::path(get, path = "/v1/sandbox/faults", tag = "sandbox", operation_id = "listSandboxFaults",
    responses((status = 200, description = "Every sandbox party", body = Faults)))]
async fn list_faults(State(shared): State<Shared>) -> Result<Response, Problem> {
    let mut data = Vec::new();
    for party in Party::ALL.into_iter().filter(|p| shared.plays(*p)) {
        let fault = shared.sandbox.faults.get(party).await.map_err(broken)?;
        data.push(FaultView::new(party, fault));
    }
    Ok(axum::Json(Faults { data }).into_response())
}

/// Makes a party fail, or work again
///
/// Takes effect at once, in every process of the data directory.
#[utoipa::path(put, path = "/v1/sandbox/faults/{party}", tag = "sandbox", operation_id = "setSandboxFault",
    params(("party" = String, Path, description = "payment, carrier, mail or sms, while the sandbox plays it")),
    request_body = SetFault,
    responses((status = 200, description = "What is set now", body = FaultView)))]
async fn set_fault(
    State(shared): State<Shared>,
    Path(party): Path<String>,
    Json(body): Json<SetFault>,
) -> Result<Response, Problem> {
    let party = Party::parse(&party).filter(|p| shared.plays(*p)).ok_or_else(|| Problem::not_found("sandbox party"))?;
    let fault = read_fault(party, body)?;
    shared.sandbox.faults.set(party, &fault).await.map_err(broken)?;
    Ok((StatusCode::OK, axum::Json(FaultView::new(party, fault))).into_response())
}

impl Shared {
    /// The customer authenticates, and the order hears of it; answers the payment, and whether that was known already. Errors: 404;
    /// 409 if it ended otherwise; 503.
    async fn authenticated(&self, payment_id: &str, outcome: Authentication) -> Result<(SandboxPayment, bool), Problem> {
        let repeated = match self.sandbox.payments.authenticate(payment_id, outcome, now()).await {
            Ok(()) => false,
            Err(AuthenticateError::NotAwaiting { status }) if is_outcome(outcome, status) => true,
            Err(AuthenticateError::NotAwaiting { status }) => {
                let detail = format!("the payment does not wait for its customer: it is {}", status.as_str());
                return Err(Problem::new(Code::NotAllowedNow, detail));
            }
            Err(AuthenticateError::NotFound) => return Err(Problem::not_found("payment")),
            Err(AuthenticateError::Ledger(error)) => return Err(broken(error)),
        };
        let payment = find(&self.sandbox, payment_id).await?;
        self.herald.tell(&payment.order_id).await?;
        Ok((payment, repeated))
    }

    fn plays(&self, party: Party) -> bool {
        self.plays.contains(&party)
    }
}

fn read_fault(party: Party, body: SetFault) -> Result<Fault, Problem> {
    let bad = |pointer: &str, rule: String| FieldError::at(pointer, "invalid", rule);
    let mut errors = Vec::new();
    let mode = FaultMode::parse(&body.mode);
    if mode.is_none() {
        errors.push(bad("/mode", format!("a mode is one of {}", FaultMode::ALL.map(FaultMode::as_str).join(", "))));
    }
    if body.operation.as_deref().is_some_and(|o| !operations(party).contains(&o)) {
        errors.push(bad("/operation", format!("an operation of {} is one of {}", party.as_str(), operations(party).join(", "))));
    }
    let lasts = body.r#for.as_deref().map(duration::parse);
    if lasts == Some(None) {
        errors.push(bad("/for", duration::RULE.to_owned()));
    }
    match mode {
        Some(mode) if errors.is_empty() => {
            let until = lasts.flatten().map(|lasts| now() + lasts);
            Ok(Fault { mode, operation: body.operation, until })
        }
        _ => Err(Problem::invalid(Code::ValidationFailed, errors)),
    }
}

#[cfg(test)]
mod tests;
