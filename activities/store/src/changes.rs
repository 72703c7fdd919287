//! What somebody wants to change about an order: proposals wait here until the order's run takes them up, because the run must not
//! see personal data; and the tokens of the links in which a customer decides.

use oms_domain::Instant;
use oms_domain::customer::Address;
use oms_domain::ids::OrderId;
use oms_domain::pricing::{PricedLine, Totals};

use crate::Result;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// What became of a proposal.
    ProposalState {
        /// Nothing yet.
        Proposed = "proposed",
        /// The order shows it.
        Applied = "applied",
        /// It could not be carried out.
        Refused = "refused",
    }
}

/// A proposed change of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEdit {
    /// Its id.
    pub id: String,
    /// Whose lines.
    pub order_id: OrderId,
    /// The lines it wants, priced.
    pub lines: Vec<PricedLine>,
    /// Their sums.
    pub totals: Totals,
    /// What became of it.
    pub state: ProposalState,
    /// Why it was refused.
    pub reason: Option<String>,
    /// When it was first proposed.
    pub created_at: Instant,
}

impl Store {
    /// Keeps an address that somebody wants the parcel sent to. Again under the same id changes nothing.
    /// Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown order.
    pub async fn propose_address(&self, id: &str, order_id: &OrderId, address: &Address, now: Instant) -> Result<()> {
        run!(self, changes::propose_address(id, order_id, address, now))
    }

    /// Keeps lines that somebody wants instead of the order's. Again under the same id changes nothing.
    /// Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown order.
    pub async fn propose_edit(
        &self,
        id: &str,
        order_id: &OrderId,
        lines: &[PricedLine],
        totals: &Totals,
        now: Instant,
    ) -> Result<()> {
        run!(self, changes::propose_edit(id, order_id, lines, totals, now))
    }

    /// One proposed change of lines.
    pub async fn edit(&self, id: &str) -> Result<Option<StoredEdit>> {
        run!(self, changes::edit(id))
    }

    /// The token of the order's question of this round: `fresh`, or the one that it has already.
    /// Errors: [`StoreError::Conflict`](crate::StoreError) for an unknown order or a token of another question.
    pub async fn decision_token(&self, order_id: &OrderId, round: u32, fresh: &str, now: Instant) -> Result<String> {
        run!(self, changes::decision_token(order_id, round, fresh, now))
    }

    /// The order and the round of the question that a token decides.
    pub async fn decision_by_token(&self, token: &str) -> Result<Option<(OrderId, u32)>> {
        run!(self, changes::decision_by_token(token))
    }
}
