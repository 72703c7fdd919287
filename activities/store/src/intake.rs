//! The intake: a new order's row, priced and frozen, before any workflow runs.

use oms_domain::Instant;
use oms_domain::customer::{Address, Customer, Line};
use oms_domain::ids::{OrderId, Sku};
use oms_domain::money::Currency;
use oms_domain::payment::PaymentMethod;
use oms_domain::pricing::{Discount, PriceRules};
use oms_domain::shortage::OnShortage;
use serde_json::Value;

use crate::Result;
use crate::orders::StoredOrder;
use crate::store::{Store, run};

/// A new order, parsed and valid, not priced yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// Its id: derived from the client's key, or random without one.
    pub id: OrderId,
    /// Who asks (`public` until there is identity).
    pub client: String,
    /// Hex SHA-256 of the canonical request: the same id with another one is a reused key.
    pub fingerprint: String,
    /// Who ordered.
    pub customer: Customer,
    /// Where to.
    pub ship_to: Address,
    /// Whom the bill is for, if it is somebody else.
    pub bill_to: Option<Address>,
    /// The currency that every line must be priced in.
    pub currency: Currency,
    /// What.
    pub lines: Vec<NewLine>,
    /// Money off.
    pub discounts: Vec<Discount>,
    /// What to do when stock is short.
    pub on_shortage: OnShortage,
    /// The shape of the workflow that it will be started for.
    pub shape: u32,
    /// How it is paid.
    pub payment_method: PaymentMethod,
    /// The shop's own reference.
    pub reference: Option<Line>,
    /// Where the order came from.
    pub channel: Option<Line>,
    /// What its run decides by, frozen here: JSON that only the caller reads.
    pub terms: Value,
    /// Placed against a sandbox.
    pub test: bool,
}

/// One line of a new order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
}

/// What became of a new order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intake {
    /// A new row.
    Placed(StoredOrder),
    /// The row was there, of the same request. While no run has recorded anything, this restarts the sweeper's patience.
    Known(StoredOrder),
    /// The id belongs to another request.
    KeyReused,
    /// The id was an order's that has been removed by age.
    Gone,
    /// Lines (from 0) whose SKU is not in the catalogue.
    UnknownSku {
        /// Their places in the request.
        lines: Vec<usize>,
    },
    /// Lines (from 0) that are priced in another currency.
    CurrencyMismatch {
        /// Their places in the request.
        lines: Vec<usize>,
        /// The currency that the first of them is priced in.
        expected: Currency,
    },
    /// A discount (from 0) that is more than its line costs, or that brings all of them above the goods' price.
    DiscountTooLarge {
        /// Its place in the request.
        discount: usize,
    },
    /// The sum does not fit into the largest amount.
    TooLarge,
}

/// A row of which no run has recorded anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstarted {
    /// The order.
    pub id: OrderId,
    /// When it was last asked for.
    pub intake_at: Instant,
}

impl Store {
    /// Takes a new order in: prices it from the catalogue and inserts its row, or finds the row of the same request.
    pub async fn intake(&self, order: &NewOrder, rules: &PriceRules, now: Instant) -> Result<Intake> {
        run!(self, intake::intake(order, rules, now))
    }

    /// What an order's run decides by, as its intake was told. None: it was placed before that was kept, or is unknown.
    pub async fn order_terms(&self, id: &OrderId) -> Result<Option<Value>> {
        run!(self, intake::terms(id))
    }

    /// Rows that no run has recorded anything of since before `intake_before`, oldest first.
    pub async fn unstarted(&self, intake_before: Instant, limit: u32) -> Result<Vec<Unstarted>> {
        run!(self, intake::unstarted(intake_before, limit))
    }

    /// Removes a row that no run has recorded anything of and that nobody asked for since `intake_at`; answers whether it did.
    pub async fn forget(&self, id: &OrderId, intake_at: Instant) -> Result<bool> {
        run!(self, intake::forget(id, intake_at))
    }
}
