//! Refunds as they cross Temporal: the command, the run's input, activities.

use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::life::Why;
use oms_domain::money::Money;
use oms_domain::refund::{Ask, RefundId, RefundState};
use oms_domain::stock::Quantity;
use serde::{Deserialize, Serialize};

use crate::start::{Deadlines, Patience, known_shape};

/// Give money back: units, a sum or the shipping fee; everything that is left if none is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRefund {
    /// Units of these articles.
    #[serde(default)]
    pub lines: Vec<Quantity>,
    /// A sum; not together with the others.
    #[serde(default)]
    pub amount: Option<Money>,
    /// The shipping fee.
    #[serde(default)]
    pub shipping: bool,
    /// Why.
    pub reason: Why,
    /// The refund's id, so that asking twice gives once; derived by the workflow when missing.
    #[serde(default)]
    pub refund_id: Option<RefundId>,
    /// Who asks.
    #[serde(default)]
    pub actor: Option<String>,
}

impl RequestRefund {
    /// What is asked back.
    pub fn ask(&self) -> Ask {
        Ask { lines: self.lines.clone(), amount: self.amount, shipping: self.shipping, up_to: false }
    }
}

/// What a refund's run is patient with, frozen when it is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Business deadlines.
    pub deadlines: Deadlines,
    /// Retry pauses and attempt limits.
    pub patience: Patience,
}

impl Terms {
    /// As a row keeps them.
    pub fn keep(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// As a row kept them; what cannot be read is as it was before it could be set.
    pub fn read(kept: &serde_json::Value) -> Self {
        serde_json::from_value(kept.clone()).unwrap_or_default()
    }
}

/// Accept a refund: its row is written, a run follows by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskRefund {
    /// Which order.
    pub order_id: OrderId,
    /// The refund's id: derived, so that a repeat is recognised.
    pub refund_id: RefundId,
    /// What is asked back.
    pub ask: Ask,
    /// Why, in the actor's words or a code.
    pub reason: String,
    /// Who asks.
    pub actor: String,
    /// What its run is patient with.
    #[serde(default)]
    pub terms: Terms,
}

/// The answer to [`AskRefund`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RefundAsked {
    /// On its way, or known under this id.
    Accepted {
        /// How much goes back.
        amount: Money,
    },
    /// More than is left.
    TooMuch {
        /// What is left.
        refundable: Money,
        /// Money of parcels that have left is still to be taken: later there may be more.
        #[serde(default)]
        pending: bool,
    },
}

/// The part of a refund that goes back through one payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number within the refund, from 1.
    pub part: u32,
    /// The gateway's id of the payment.
    pub payment_id: String,
    /// How much.
    pub amount: Money,
}

/// The shape of `Refund` and `Return` that this version starts.
pub const STORY_SHAPE: u32 = 1;

/// The input of workflow `Refund`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundStart {
    /// Which refund.
    pub refund_id: RefundId,
    /// Of which order.
    pub order_id: OrderId,
    /// How much goes back.
    pub amount: Money,
    /// Through which payments.
    pub parts: Vec<Part>,
    /// When it was asked for.
    pub requested_at: Instant,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub actor: String,
    /// What the run is patient with.
    #[serde(default)]
    pub terms: Terms,
    /// The version of the workflow's shape that the refund was started for. 0: nobody is called about a step without an answer.
    #[serde(default, deserialize_with = "known_shape::<STORY_SHAPE, _>")]
    pub shape: u32,
}

/// The result of workflow `Refund`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundEnd {
    /// How it was settled.
    pub state: RefundState,
}

/// Return money through one payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayBack {
    /// Which refund.
    pub refund_id: RefundId,
    /// Of which order.
    pub order_id: OrderId,
    /// Which part.
    #[serde(flatten)]
    pub part: Part,
    /// 1; one more after each refusal.
    pub revision: u32,
    /// It was asked for before under this revision: the gateway is asked first what became of it.
    #[serde(default)]
    pub again: bool,
}

impl PayBack {
    /// The operation's idempotency key.
    pub fn key(&self) -> String {
        format!("{}/refund/{}/{}", self.refund_id, self.part.part, self.revision)
    }
}

/// The answer to [`PayBack`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PaidBack {
    /// Returned.
    Returned,
    /// Refused.
    Refused {
        /// The gateway's code.
        code: String,
    },
}

/// The rest of a refund was returned outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseRefund {
    /// Which refund.
    pub refund_id: RefundId,
    /// Where.
    pub reference: String,
}
