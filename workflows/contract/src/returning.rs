//! Returns as they cross Temporal: the run's input, updates, activities.

use oms_domain::Instant;
use oms_domain::ids::{Location, OrderId};
use oms_domain::life::Why;
use oms_domain::returning::{Inspected, Return, ReturnId, ReturnState};
use serde::{Deserialize, Serialize};

use crate::refund::{STORY_SHAPE, Terms};
use crate::start::known_shape;

/// The input of workflow `Return`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnStart {
    /// Which return.
    pub return_id: ReturnId,
    /// Of which order.
    pub order_id: OrderId,
    /// What is asked for, as its row has it.
    pub asked: Return,
    /// The shipping fee goes back with the goods.
    #[serde(default)]
    pub refund_shipping: bool,
    /// Nobody needs to say yes.
    #[serde(default)]
    pub auto_approve: bool,
    /// The place that the parcel comes back to.
    pub location: Location,
    /// When it was asked for.
    pub requested_at: Instant,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub actor: String,
    /// What the run is patient with.
    #[serde(default)]
    pub terms: Terms,
    /// The version of the workflow's shape that the return was started for. 0: nobody is called about a step without an answer.
    #[serde(default, deserialize_with = "known_shape::<STORY_SHAPE, _>")]
    pub shape: u32,
}

/// The result of workflow `Return`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnEnd {
    /// Where it ended.
    pub state: ReturnState,
}

/// The shop takes the goods back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApproveReturn {
    /// Why.
    #[serde(default)]
    pub reason: Option<Why>,
    /// Who decides.
    #[serde(default)]
    pub actor: Option<String>,
}

/// The shop does not take the goods back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectReturn {
    /// Why.
    pub reason: Why,
    /// Who decides.
    #[serde(default)]
    pub actor: Option<String>,
}

/// Goods came back and were inspected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveReturn {
    /// What came, in which condition.
    #[serde(default)]
    pub units: Vec<Inspected>,
    /// Nothing more will come.
    #[serde(default)]
    pub complete: bool,
    /// Why, in the actor's words.
    #[serde(default)]
    pub reason: Option<Why>,
    /// Who inspected.
    #[serde(default)]
    pub actor: Option<String>,
}

/// The answer to a return's updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnAnswer {
    /// Where the return stands.
    pub state: ReturnState,
    /// The record that will show it.
    pub rev: u64,
}

/// Write a return's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordReturn {
    /// Which return.
    pub return_id: ReturnId,
    /// Number of this record, from 1.
    pub rev: u64,
    /// Its whole state.
    pub state: Return,
}

/// The row after a [`RecordReturn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnRecorded {
    /// The row's newest record: ahead of the workflow after a reset, which then goes on from here.
    pub rev: u64,
}

/// Book the parcel that comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookReturn {
    /// Which return.
    pub return_id: ReturnId,
    /// Of which order.
    pub order_id: OrderId,
    /// 1; one more after each refusal.
    pub revision: u32,
    /// Where the parcel comes back to.
    pub location: Location,
    /// It was asked for before under this revision: the carrier is asked first what became of it.
    #[serde(default)]
    pub again: bool,
}

/// Take the booking of a return back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelReturnBooking {
    /// Which return.
    pub return_id: ReturnId,
    /// The revision of the booking to undo.
    pub revision: u32,
    /// It was asked for before under this revision: the carrier is asked first what became of it.
    #[serde(default)]
    pub again: bool,
}

/// Put units back on the shelf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restock {
    /// Which return.
    pub return_id: ReturnId,
    /// Of which order.
    pub order_id: OrderId,
    /// The receipt's number within the return, from 1.
    pub receipt: u32,
    /// What came; only units to sell again are put back.
    pub units: Vec<Inspected>,
    /// Who inspected.
    pub actor: String,
}
