//! Ways back into a running order: updates, which answer, and signals of the same names, which do not.

use oms_domain::Instant;
use oms_domain::ids::HoldId;
use oms_domain::life::{CancelVerdict, HoldKind, Why};
use oms_domain::order::Status;
use oms_domain::pricing::Totals;
use oms_domain::review::{Resolution, ReviewDecision};
use oms_domain::shipment::{Scan, ScanResult};
use oms_domain::shortage::Decision;
use serde::{Deserialize, Serialize};

use crate::start::OrderLine;

/// Stop the order for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Why.
    pub reason: Why,
    /// Who asks.
    #[serde(default)]
    pub actor: Option<String>,
}

/// Stop the order for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceHold {
    /// The hold's id, so that asking twice places one; derived by the workflow when missing.
    #[serde(default)]
    pub id: Option<HoldId>,
    /// What kind.
    pub kind: HoldKind,
    /// Why.
    pub reason: Why,
    /// When it ends by itself, if ever.
    #[serde(default)]
    pub until: Option<Instant>,
    /// Who asks.
    #[serde(default)]
    pub actor: Option<String>,
}

/// Let the order go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseHold {
    /// Which hold.
    pub id: HoldId,
    /// Why.
    #[serde(default)]
    pub reason: Option<Why>,
    /// Who asks.
    #[serde(default)]
    pub actor: Option<String>,
}

/// Warehouse or carrier report a shipment's progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentEvent {
    /// The report.
    #[serde(flatten)]
    pub scan: Scan,
    /// Who reports.
    #[serde(default)]
    pub actor: Option<String>,
}

/// The gateway has news about the order's payment; the workflow asks it which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentNews {
    /// Who reports.
    #[serde(default)]
    pub actor: Option<String>,
}

/// Decide an order's manual review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The verdict.
    pub decision: ReviewDecision,
    /// Why.
    pub reason: Why,
    /// Who decides.
    #[serde(default)]
    pub actor: Option<String>,
}

/// Send the parcel elsewhere. The address itself stays in SQL, under the id of the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeAddress {
    /// Which proposed address.
    pub change_id: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<Why>,
    /// Who asks.
    #[serde(default)]
    pub actor: Option<String>,
}

/// Change lines and quantities. Names and prices stay in SQL, under the id of the edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Which proposed edit.
    pub edit_id: String,
    /// The order's lines from now on.
    pub lines: Vec<OrderLine>,
    /// Its sums from now on.
    pub totals: Totals,
    /// Units are cancelled, not changed: they may be taken out of parcels that have a label and have not left, and an order that
    /// delivers the rest ends `partially_fulfilled`.
    #[serde(default)]
    pub cancels: bool,
    /// The version that the edit was made for: refused if the order has changed since.
    #[serde(default)]
    pub if_rev: Option<u64>,
    /// Why.
    #[serde(default)]
    pub reason: Option<Why>,
    /// Who asks.
    #[serde(default)]
    pub actor: Option<String>,
}

/// Decide about a long wait for stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decide {
    /// What to do.
    pub decision: Decision,
    /// Which question; the open one when missing.
    #[serde(default)]
    pub round: Option<u32>,
    /// Who decides.
    #[serde(default)]
    pub actor: Option<String>,
}

/// Settle what policy could not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolve {
    /// Which item of the review queue.
    pub item: String,
    /// How.
    pub action: Resolution,
    /// Where it was settled outside: a payment's, a parcel's or a ticket's number.
    #[serde(default)]
    pub reference: Option<String>,
    /// Why.
    pub reason: Why,
    /// Who decides.
    #[serde(default)]
    pub actor: Option<String>,
}

/// The answer to commands that promise no more than a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The record that will show it.
    pub rev: u64,
}

/// The answer to [`Cancel`]. A refusal is an update failure whose message is a `oms_domain::life::Refusal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAnswer {
    /// The verdict.
    pub result: CancelVerdict,
    /// The record that will show it.
    pub rev: u64,
}

/// The answer to [`PlaceHold`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldAnswer {
    /// The hold's id.
    pub id: HoldId,
    /// The record that will show it.
    pub rev: u64,
}

/// The answer to [`ReleaseHold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseAnswer {
    /// The record that will show it.
    pub rev: u64,
}

/// The answer to [`ShipmentEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentAnswer {
    /// What became of it.
    pub result: ScanResult,
    /// The record that will show it.
    pub rev: u64,
}

/// The answer of query `status`, and the result of workflow `Order`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Where the order stands.
    pub status: Status,
    /// Its whole mutable state.
    pub life: oms_domain::life::Life,
    /// The newest record.
    pub rev: u64,
    /// What the order waits on, in words.
    pub waiting_on: String,
    /// Each wait on its own.
    #[serde(default)]
    pub waits: Vec<Wait>,
}

/// One thing that an order waits on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Which part of the order waits: a step, or a shipment.
    pub part: String,
    /// On what, in words.
    pub on: String,
    /// Since when.
    pub since: Instant,
    /// Until when at most, if the wait has an end of its own.
    #[serde(default)]
    pub until: Option<Instant>,
}
