//! What the carrier answers. Missing fields have defaults, new ones are ignored.

use oms_domain::Instant;
use serde::{Deserialize, Serialize};

/// What it would cost.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rates {
    pub(super) rates: Vec<Rate>,
}

/// One offer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rate {
    pub(super) id: String,
    pub(super) service: String,
    pub(super) amount: i64,
}

/// A page of labels.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Labels {
    pub(super) labels: Vec<WireLabel>,
    pub(super) next: Option<String>,
}

/// A label that was bought, voided, or whose reference was closed before it could be bought.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireLabel {
    pub(super) id: String,
    pub(super) reference: String,
    /// `purchased`, `voided`.
    pub(super) status: String,
    pub(super) carrier: String,
    pub(super) tracking_number: String,
    pub(super) purchased_at: Option<Instant>,
    pub(super) label: Option<Document>,
}

/// What is printed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    pub(super) media_type: String,
    pub(super) text: String,
}

/// What became of a void: `voided` or `nothing`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Voided {
    pub(super) result: String,
}

/// What an error comes in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorEnvelope {
    pub(super) error: ErrorBody,
}

/// An error. Its message, if it has one, is not read: it may repeat an address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    pub(super) code: Option<String>,
}
