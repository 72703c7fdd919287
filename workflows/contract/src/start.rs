//! What workflows are started with: everything they need to decide, frozen at the start, so that a changed setting never breaks a
//! replay and a test can shrink every deadline.

use oms_domain::Instant;
use oms_domain::ids::{Location, MessageId, OrderId, ShipmentId, Sku};
use oms_domain::life::Life;
use oms_domain::money::{Currency, Money};
use oms_domain::payment::{PaymentMethod, ReauthorizationPolicy};
use oms_domain::pricing::PriceRules;
use oms_domain::review::ReviewDecision;
use oms_domain::risk::RiskRules;
use oms_domain::shipment::Scan;
use oms_domain::shortage::{Decision, OnShortage};
use oms_domain::stock::{Quantity, Strategy};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// Business deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deadlines {
    /// How long stock is promised to an order that is not confirmed yet.
    pub reservation: Duration,
    /// How long a customer may take to authenticate.
    pub payment_action: Duration,
    /// How long a shipped parcel may go without arriving before a person looks.
    pub no_scan: Duration,
    /// How long an order may stand still before it has left before a person looks.
    pub stuck: Duration,
    /// How long an order may stand still under a hold that names no end before a person looks; [`Self::stuck`] if that is more.
    pub hold: Duration,
    /// Pause between captures after the gateway refused one.
    pub capture_retry: Duration,
    /// Pause before a step is asked again that ended in a defect.
    pub defect_retry: Duration,
    /// How long a manual review may stay open before policy decides.
    pub review: Duration,
    /// How long an order waits for stock before its customer is asked, unless the order says otherwise.
    pub backorder_max: Duration,
    /// How long a customer may take to decide about a long wait.
    pub decision: Duration,
    /// Pause between the confirmation and the first booking, in which a change costs nothing.
    pub change_window: Duration,
    /// How long before the end of a hold on funds they are held anew; a quarter of the hold's own length if that is less.
    pub reauthorize_before: Duration,
    /// How long goods may take to come back once a return is approved.
    #[serde(rename = "return")]
    pub return_: Duration,
    /// How long a step of a refund or return may go without an answer before a person looks; [`Self::stuck`] if that is less.
    pub unanswered: Duration,
}

impl Deadlines {
    /// How long a step of a refund or return may go without an answer before a person looks.
    pub fn answer(&self) -> Duration {
        self.unanswered.min(self.stuck)
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        Self {
            reservation: Duration::from_secs(HOUR),
            payment_action: Duration::from_secs(24 * HOUR),
            no_scan: Duration::from_secs(7 * 24 * HOUR),
            stuck: Duration::from_secs(48 * HOUR),
            hold: Duration::from_secs(7 * 24 * HOUR),
            capture_retry: Duration::from_secs(6 * HOUR),
            defect_retry: Duration::from_secs(300),
            review: Duration::from_secs(48 * HOUR),
            backorder_max: Duration::from_secs(30 * 24 * HOUR),
            decision: Duration::from_secs(72 * HOUR),
            change_window: Duration::ZERO,
            reauthorize_before: Duration::from_secs(24 * HOUR),
            return_: Duration::from_secs(30 * 24 * HOUR),
            unanswered: Duration::from_secs(600),
        }
    }
}

/// How patiently the engine repeats a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Patience {
    /// Pause after the first failure.
    pub first: Duration,
    /// Longest pause.
    pub most: Duration,
    /// How long one attempt on SQL may take.
    pub sql_attempt: Duration,
    /// How long one attempt at an outside party may take.
    pub gateway_attempt: Duration,
    /// How long a record may try on the workflow's own worker before it moves to the queue. Zero: the queue at once, which a worker
    /// without a workflow cache needs, because the SDK drops local activities there.
    pub local_record: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            most: Duration::from_secs(15),
            sql_attempt: Duration::from_secs(10),
            gateway_attempt: Duration::from_secs(15),
            local_record: Duration::from_secs(4),
        }
    }
}

/// What is decided when nobody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policies {
    /// A review that nobody decided.
    pub review: ReviewDecision,
    /// A question that the customer did not answer.
    pub shortage: Decision,
    /// Funds that cannot be held again.
    pub reauthorization: ReauthorizationPolicy,
}

impl Default for Policies {
    fn default() -> Self {
        Self { review: ReviewDecision::Reject, shortage: Decision::Cancel, reauthorization: ReauthorizationPolicy::default() }
    }
}

/// The shape of `Order` that this version starts; `GET /v1/ops/versions` counts open orders by it.
pub const SHAPE: u32 = 4;

fn first_shape() -> u32 {
    1
}

/// Reads a shape, if this version knows it. An older worker would decide otherwise than the newer one that the run began with: it fails
/// the task instead, and the engine gives that to others until one of the newer workers has it.
pub(crate) fn known_shape<'de, const NEWEST: u32, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let shape = u32::deserialize(deserializer)?;
    if shape > NEWEST {
        let found =
            format!("shape {shape} of a newer version, {NEWEST} is the newest known here; upgrade workers before the API");
        return Err(D::Error::custom(found));
    }
    Ok(shape)
}

/// One line as the workflow needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
    /// Frozen price of all of them.
    pub total: Money,
}

/// The input of workflow `Order`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderStart {
    /// Which order.
    pub order_id: OrderId,
    /// Its intake.
    pub placed_at: Instant,
    /// Its currency.
    pub currency: Currency,
    /// What was ordered.
    pub lines: Vec<OrderLine>,
    /// What the customer pays.
    pub total: Money,
    /// The gateway's token.
    pub method: PaymentMethod,
    /// The shop's price rules at the intake: what the order costs when lines are taken off. None on orders of the first shape.
    #[serde(default)]
    pub rules: Option<PriceRules>,
    /// What to do when stock is short.
    #[serde(default)]
    pub on_shortage: OnShortage,
    /// Which places give first.
    #[serde(default)]
    pub strategy: Strategy,
    /// Which orders a person looks at first.
    #[serde(default)]
    pub risk: RiskRules,
    /// What is decided when nobody does.
    #[serde(default)]
    pub policies: Policies,
    /// The version of the workflow's shape that the order was started for.
    #[serde(default = "first_shape", deserialize_with = "known_shape::<SHAPE, _>")]
    pub shape: u32,
    /// The order's earlier run was ended by hand: this one takes everything back that it had begun.
    #[serde(default)]
    pub unwind: Option<Unwind>,
    /// Business deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// Retry pauses and attempt limits.
    #[serde(default)]
    pub patience: Patience,
    /// Write search attributes. Off only on the time-skipping test server, which knows none.
    #[serde(default = "yes")]
    pub search_attributes: bool,
}

/// What an order's run decides by besides the order itself, frozen at the intake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderTerms {
    /// Which places give first.
    pub strategy: Strategy,
    /// Which orders a person looks at first.
    pub risk: RiskRules,
    /// What is decided when nobody does.
    pub policies: Policies,
    /// Business deadlines.
    pub deadlines: Deadlines,
    /// Retry pauses and attempt limits.
    pub patience: Patience,
}

impl OrderTerms {
    /// As a row keeps them.
    pub fn keep(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// As a row kept them; what cannot be read is as it was before it could be set.
    pub fn read(kept: &serde_json::Value) -> Self {
        serde_json::from_value(kept.clone()).unwrap_or_default()
    }
}

/// What an order's earlier run had begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwind {
    /// Where the order stood, as its row shows it.
    pub life: Life,
    /// The row's newest record.
    pub rev: u64,
    /// Revisions of authorizations that were asked for.
    #[serde(default)]
    pub authorizations: Vec<u32>,
    /// Bookings that were asked for.
    #[serde(default)]
    pub bookings: Vec<(ShipmentId, u32)>,
    /// Why, for the timeline.
    pub reason: String,
}

fn yes() -> bool {
    true
}

/// The input of workflow `Mailout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailoutStart {
    /// Messages claimed for this batch.
    pub messages: Vec<MessageId>,
    /// Retry pauses and attempt limits.
    #[serde(default)]
    pub patience: Patience,
}

/// The input of workflow `Aftermath`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AftermathStart {
    /// The order, closed.
    pub order_id: OrderId,
    /// What was reported.
    pub scan: Scan,
    /// From where the parcel left.
    pub location: Location,
    /// What is inside.
    pub lines: Vec<Quantity>,
    /// When it was reported to us.
    pub reported_at: Instant,
    /// Retry pauses and attempt limits.
    #[serde(default)]
    pub patience: Patience,
}
