//! What a Stripe-compatible server answers. Fields that are missing, null or of another type count as not said; new ones are ignored:
//! compatible servers and later versions differ in both.

use oms_domain::Instant;
use oms_domain::money::{Currency, Money};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Reads what is there, else the default.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Either an id or the object itself, as `expand` decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Expandable<T> {
    Id(String),
    Object(Box<T>),
}

impl<T> Expandable<T> {
    fn object(&self) -> Option<&T> {
        match self {
            Self::Id(_) => None,
            Self::Object(object) => Some(object),
        }
    }
}

/// A thing of which only the id matters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    #[serde(deserialize_with = "lenient")]
    id: String,
}

/// The id of something that may be expanded.
pub(super) fn id_of(thing: &Option<Expandable<Named>>) -> Option<&str> {
    let id = match thing.as_ref()? {
        Expandable::Id(id) => id.as_str(),
        Expandable::Object(named) => named.id.as_str(),
    };
    Some(id).filter(|id| !id.is_empty())
}

/// A payment: held, taken, or neither yet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Intent {
    #[serde(deserialize_with = "lenient")]
    pub(super) id: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) amount: i64,
    #[serde(deserialize_with = "lenient")]
    pub(super) amount_received: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) currency: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) status: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) created: i64,
    #[serde(deserialize_with = "lenient")]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) customer: Option<Expandable<Named>>,
    #[serde(deserialize_with = "lenient")]
    pub(super) payment_method: Option<Expandable<Named>>,
    #[serde(deserialize_with = "lenient")]
    pub(super) latest_charge: Option<Expandable<Charge>>,
    #[serde(deserialize_with = "lenient")]
    pub(super) last_payment_error: Option<ErrorBody>,
    #[serde(deserialize_with = "lenient")]
    pub(super) cancellation_reason: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) next_action: Option<NextAction>,
}

impl Intent {
    /// The charge, if it is expanded.
    pub(super) fn charge(&self) -> Option<&Charge> {
        self.latest_charge.as_ref().and_then(Expandable::object)
    }

    /// The page on which the customer authenticates, if there is one.
    pub(super) fn action_url(&self) -> Option<&str> {
        self.next_action.as_ref()?.redirect_to_url.as_ref()?.url.as_deref()
    }

    /// When it began.
    pub(super) fn created_at(&self) -> Instant {
        seconds(self.created)
    }
}

/// What is paid with, as far as it matters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Method {
    #[serde(deserialize_with = "lenient")]
    pub(super) customer: Option<Expandable<Named>>,
}

/// What the customer must do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NextAction {
    #[serde(deserialize_with = "lenient")]
    pub(super) redirect_to_url: Option<Redirect>,
}

/// Where the customer must go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Redirect {
    #[serde(deserialize_with = "lenient")]
    pub(super) url: Option<String>,
}

/// The movement on the card behind an intent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Charge {
    #[serde(deserialize_with = "lenient")]
    pub(super) amount_captured: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) amount_refunded: i64,
    #[serde(deserialize_with = "lenient")]
    pub(super) payment_method_details: Details,
}

/// How it was paid.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    #[serde(deserialize_with = "lenient")]
    pub(super) card: CardDetails,
}

/// What the card's network allows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct CardDetails {
    #[serde(deserialize_with = "lenient")]
    pub(super) capture_before: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) multicapture: Feature,
}

/// Whether something is allowed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Feature {
    #[serde(deserialize_with = "lenient")]
    pub(super) status: String,
}

/// Money that goes back.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refund {
    #[serde(deserialize_with = "lenient")]
    pub(super) id: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) amount: i64,
    #[serde(deserialize_with = "lenient")]
    pub(super) status: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) failure_reason: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) metadata: BTreeMap<String, String>,
}

impl Refund {
    /// Whether it moves money: one that failed or was called off does not.
    pub(super) fn counts(&self) -> bool {
        !matches!(self.status.as_str(), "failed" | "canceled")
    }
}

/// A page of a list or of a search.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
pub(super) struct Page<T> {
    #[serde(default = "Vec::new")]
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) next_page: Option<String>,
}

/// An error as the server describes it. Its message is not read: it may repeat what the request said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    #[serde(rename = "type", deserialize_with = "lenient")]
    pub(super) kind: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) code: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) decline_code: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) param: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) payment_intent: Option<Expandable<Named>>,
}

impl ErrorBody {
    /// Why a card was refused: the issuer's word where it says more than "no".
    pub(super) fn decline(&self) -> String {
        let telling = self.decline_code.as_deref().filter(|c| *c != "generic_decline");
        telling.or(self.code.as_deref()).unwrap_or("card_declined").to_owned()
    }
}

/// What an error comes in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorEnvelope {
    #[serde(deserialize_with = "lenient")]
    pub(super) error: ErrorBody,
}

/// Unix seconds as an instant; the epoch if they are none.
pub(super) fn seconds(at: i64) -> Instant {
    Instant::from_timestamp(at, 0).unwrap_or_default()
}

/// Currencies without minor units that Stripe counts in hundredths all the same.
const HUNDREDFOLD: [&str; 2] = ["ISK", "UGX"];

/// An amount as the server counts it; none in a currency that it counts in other units than ISO 4217.
pub(super) fn wire(amount: Money) -> Option<i64> {
    match amount.currency.code() {
        "MGA" => None,
        code if HUNDREDFOLD.contains(&code) => amount.minor.checked_mul(100),
        _ => Some(amount.minor),
    }
}

/// An amount as we count it.
pub(super) fn money(wire: i64, currency: &str) -> Option<Money> {
    let currency = Currency::parse(&currency.to_ascii_uppercase()).ok()?;
    let minor = if HUNDREDFOLD.contains(&currency.code()) { wire / 100 } else { wire };
    Some(Money::new(minor, currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_null_wrong_and_new_fields_are_borne() {
        let bare: Intent = serde_json::from_str("{}").unwrap();
        assert_eq!((bare.amount, bare.charge().is_none()), (0, true));
        let odd = r#"{"id": "pi_1", "amount": "many", "metadata": null, "latest_charge": {"amount_refunded": null, "new": [1]},
            "next_action": {"type": "use_stripe_sdk", "use_stripe_sdk": {}}, "status": null, "brand_new": {"a": 1}}"#;
        let odd: Intent = serde_json::from_str(odd).unwrap();
        assert_eq!((odd.id.as_str(), odd.status.as_str(), odd.charge().map(|c| c.amount_refunded)), ("pi_1", "", Some(0)));
        let unexpanded: Intent = serde_json::from_str(r#"{"latest_charge": "ch_1", "payment_method": {"id": "pm_1"}}"#).unwrap();
        assert_eq!((unexpanded.charge().is_none(), id_of(&unexpanded.payment_method)), (true, Some("pm_1")));
        let page: Page<Intent> = serde_json::from_str(r#"{"data": [{}]}"#).unwrap();
        assert_eq!((page.data.len(), page.has_more, page.next_page), (1, false, None));
    }

    #[test]
    fn amounts_are_counted_as_the_server_counts() {
        let of = |code: &str| Money::new(500, Currency::parse(code).unwrap());
        assert_eq!(["EUR", "JPY", "ISK", "MGA"].map(|code| wire(of(code))), [Some(500), Some(500), Some(50_000), None]);
        assert_eq!(money(50_000, "isk"), Some(of("ISK")));
        assert_eq!(money(500, "zzz"), None);
    }
}
