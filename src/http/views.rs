//! What the API answers, as far as the commands show or act on it; `--json` prints the rest too.

use oms_domain::Instant;
use oms_domain::money::Money;
use oms_domain::order::Status;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An order as the API shows it; what only `--json` shows is left out.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) reference: Option<String>,
    #[serde(default)]
    pub(crate) channel: Option<String>,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) totals: OrderTotals,
    #[serde(default)]
    pub(crate) payment: OrderPayment,
    #[serde(default)]
    pub(crate) shipments: Vec<Shipment>,
    /// Units that wait for stock.
    #[serde(default)]
    pub(crate) waiting: Vec<ShipmentLine>,
    #[serde(default)]
    pub(crate) review: Option<OrderReview>,
    #[serde(default)]
    pub(crate) question: Option<OrderQuestion>,
    #[serde(default)]
    pub(crate) holds: Vec<OrderHold>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) needs_attention: bool,
    #[serde(default)]
    pub(crate) attention: Vec<OrderAttention>,
    #[serde(default)]
    pub(crate) allowed_actions: Vec<String>,
    pub(crate) placed_at: Instant,
    pub(crate) updated_at: Instant,
    #[serde(default)]
    pub(crate) links: Links,
}

impl Order {
    /// Whether nothing more will happen to it by itself.
    pub(crate) fn has_ended(&self) -> bool {
        Status::parse(&self.status).is_some_and(Status::is_terminal)
    }

    /// Status, with the reason of a refusal.
    pub(crate) fn standing(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}: {reason}", self.status),
            None => self.status.clone(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderLine {
    pub(crate) sku: String,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) quantity: u64,
    pub(crate) unit_price: Money,
    pub(crate) total: Money,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderTotals {
    pub(crate) subtotal: Money,
    pub(crate) shipping: Money,
    pub(crate) tax: Money,
    pub(crate) total: Money,
    pub(crate) authorized: Money,
    pub(crate) captured: Money,
    pub(crate) refunded: Money,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct OrderPayment {
    #[serde(default)]
    pub(crate) status: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderHold {
    #[serde(alias = "hold_id")]
    pub(crate) id: String,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) until: Option<Instant>,
}

/// A manual review while it is open.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderReview {
    #[serde(default)]
    pub(crate) reasons: Vec<String>,
    pub(crate) until: Instant,
}

/// What the customer was asked about a long wait.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderQuestion {
    pub(crate) until: Instant,
    pub(crate) default: String,
}

/// What of an order needs a person.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderAttention {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) detail: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Links {
    #[serde(default)]
    pub(crate) temporal_ui: Option<String>,
}

/// A shipment, on its order or in the list of shipments.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Shipment {
    pub(crate) id: String,
    pub(crate) location: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) lines: Vec<ShipmentLine>,
    #[serde(default)]
    pub(crate) carrier: Option<String>,
    #[serde(default)]
    pub(crate) tracking_number: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ShipmentLine {
    pub(crate) sku: String,
    pub(crate) quantity: u64,
}

/// An article's stock.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stock {
    pub(crate) sku: String,
    pub(crate) on_hand: u64,
    pub(crate) reserved: u64,
    pub(crate) available: u64,
    /// Units that orders wait for.
    #[serde(default)]
    pub(crate) waiting: u64,
    #[serde(default)]
    pub(crate) locations: Vec<StockAt>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StockAt {
    pub(crate) location: String,
    pub(crate) on_hand: u64,
    pub(crate) reserved: u64,
    pub(crate) available: u64,
}

/// One line of an order's timeline.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TimelineEntry {
    #[serde(alias = "type")]
    pub(crate) kind: String,
    #[serde(alias = "occurred_at")]
    pub(crate) at: Instant,
    #[serde(default)]
    pub(crate) actor: Option<String>,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default, alias = "shipment_id")]
    pub(crate) shipment: Option<String>,
    #[serde(default)]
    pub(crate) amount: Option<Money>,
}

/// One attempted authorization in the sandbox gateway's ledger.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SandboxPayment {
    pub(crate) payment_id: String,
    pub(crate) status: String,
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// `needs_attention` is a flag; a list of what needs attention counts as one, so that an older tool reads a newer API.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Bool(flag) => flag,
        Value::Array(list) => !list.is_empty(),
        _ => false,
    })
}
