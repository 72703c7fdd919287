//! What the sandbox's routes take and answer.

use oms_domain::Instant;
use oms_domain::money::Money;
use oms_domain::party::Party;
use oms_gateways::faults::Fault;
use oms_gateways::payment::{SandboxOperation, SandboxPayment};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which part of the ledger.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PaymentsQuery {
    /// Only the payments of this order.
    pub(super) order_id: Option<String>,
}

/// What the customer did.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SandboxAuthenticate)]
#[serde(deny_unknown_fields)]
pub(super) struct Authenticate {
    /// `succeed` or `fail`.
    #[schema(pattern = "^(succeed|fail)$", example = "succeed")]
    pub(super) outcome: String,
}

/// How a party fails.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SandboxSetFault)]
#[serde(deny_unknown_fields)]
pub(super) struct SetFault {
    /// `none`, `down`, `slow`, `error` or `commit_then_drop`.
    #[schema(pattern = "^(none|down|slow|error|commit_then_drop)$", example = "down")]
    pub(super) mode: String,
    /// Only in this operation, such as `capture`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<String>,
    /// For so long, such as `30s` or `PT30S`; without it until it is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "30s")]
    pub(super) r#for: Option<String>,
}

/// The sandbox gateway's ledger.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SandboxPayments)]
pub(super) struct Payments {
    /// Oldest first.
    pub(super) data: Vec<Payment>,
}

/// One attempted authorization and all that followed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SandboxPayment)]
pub(super) struct Payment {
    payment_id: String,
    order_id: String,
    /// `requires_action`, `authorized`, `declined`, `partially_captured`, `captured`, `voided` or `refunded`.
    status: &'static str,
    /// Held at most; stays when it is taken or released.
    authorized: Amount,
    captured: Amount,
    refunded: Amount,
    /// Oldest first; an idempotent repeat is none.
    operations: Vec<Operation>,
}

/// One operation of a payment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SandboxOperation)]
pub(super) struct Operation {
    /// Its idempotency key.
    key: String,
    /// `authorize`, `capture`, `void` or `refund`.
    kind: &'static str,
    amount: Amount,
    /// `ok`, `declined` or `failed`.
    result: &'static str,
    #[schema(value_type = String, format = DateTime)]
    at: Instant,
}

/// An amount in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SandboxAmount)]
pub(super) struct Amount {
    amount: i64,
    /// ISO 4217.
    currency: &'static str,
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self { amount: money.minor, currency: money.currency.code() }
    }
}

impl From<SandboxOperation> for Operation {
    fn from(operation: SandboxOperation) -> Self {
        Self {
            key: operation.key,
            kind: operation.kind.as_str(),
            amount: operation.amount.into(),
            result: operation.result.as_str(),
            at: operation.at,
        }
    }
}

impl From<SandboxPayment> for Payment {
    fn from(payment: SandboxPayment) -> Self {
        Self {
            payment_id: payment.payment_id,
            order_id: payment.order_id.to_string(),
            status: payment.status.as_str(),
            authorized: payment.authorized.into(),
            captured: payment.captured.into(),
            refunded: payment.refunded.into(),
            operations: payment.operations.into_iter().map(Operation::from).collect(),
        }
    }
}

/// Every sandbox party.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SandboxFaults)]
pub(super) struct Faults {
    /// One entry per party.
    pub(super) data: Vec<FaultView>,
}

/// What is wrong with one party.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SandboxFault)]
pub(super) struct FaultView {
    /// `payment`, `carrier`, `mail` or `sms`.
    party: &'static str,
    /// `none`, `down`, `slow`, `error` or `commit_then_drop`.
    mode: &'static str,
    /// Only in this operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    /// Until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Instant>,
}

impl FaultView {
    pub(super) fn new(party: Party, fault: Fault) -> Self {
        Self { party: party.as_str(), mode: fault.mode.as_str(), operation: fault.operation, until: fault.until }
    }
}
