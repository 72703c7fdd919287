//! Names for the document: limited texts and shared parameters. These types only describe; the domain's own types check.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// One line of text: 1 to 200 characters, not blank, no control characters.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 200,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
    example = "Example"
)]
pub(crate) struct Line(#[allow(dead_code, reason = "described, never made")] String);

/// Why somebody acts: 1 to 500 characters, not blank, no control characters but line breaks and tabs.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 500,
    pattern = r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$",
    example = "customer asked"
)]
pub(crate) struct Reason(#[allow(dead_code, reason = "described, never made")] String);

/// A stock-keeping unit.
#[derive(ToSchema)]
#[schema(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example = "MUG-BLUE")]
pub(crate) struct SkuText(#[allow(dead_code, reason = "described, never made")] String);

/// A place that holds stock.
#[derive(ToSchema)]
#[schema(pattern = r"^[A-Za-z0-9_-]{1,32}$", example = "berlin")]
pub(crate) struct LocationText(#[allow(dead_code, reason = "described, never made")] String);

/// An ISO 4217 code.
#[derive(ToSchema)]
#[schema(pattern = r"^[A-Z]{3}$", example = "EUR")]
pub(crate) struct CurrencyCode(#[allow(dead_code, reason = "described, never made")] String);

/// An amount in minor units: 1999 EUR are 19.99 EUR, 1999 JPY are 1999 yen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Money {
    /// Minor units.
    #[schema(example = 1999)]
    pub(crate) amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = CurrencyCode)]
    pub(crate) currency: &'static str,
}

impl From<oms_domain::money::Money> for Money {
    fn from(money: oms_domain::money::Money) -> Self {
        Self { amount: money.minor, currency: money.currency.code() }
    }
}

/// The header that makes repeating a request safe.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "described, never made")]
pub(crate) struct KeyHeader {
    /// 1 to 255 visible ASCII characters that name the intended effect. The same key with the same body has its effect once and
    /// is answered with the first status and `Idempotency-Replayed: true`; with another body it is 422 `idempotency_key_reused`, and
    /// so is one whose order was removed by age.
    #[param(rename = "Idempotency-Key", required = false, min_length = 1, max_length = 255, pattern = r"^[!-~]+$")]
    idempotency_key: Option<String>,
}
