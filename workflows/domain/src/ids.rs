//! Typed ids and the small validated texts that name things. A value of these types cannot be malformed.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Why a text is not a valid name, id or value. The sentence names the rule, never the value (it may be personal).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct Invalid {
    /// The broken rule, in words that tell the remedy.
    pub rule: String,
}

impl Invalid {
    /// A broken rule.
    pub fn new(rule: impl Into<String>) -> Self {
        Self { rule: rule.into() }
    }
}

/// Defines a validated text newtype: `$check` answers the rule that is broken.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the text. Errors: [`Invalid`] with the broken rule.
            pub fn parse(text: impl Into<String>) -> Result<Self, Invalid> {
                let text = text.into();
                let check: fn(&str) -> Result<(), Invalid> = $check;
                check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::parse(text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use text;

/// The rule of ids that we mint.
pub(crate) fn minted(text: &str) -> Result<(), Invalid> {
    let ok = (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if ok { Ok(()) } else { Err(Invalid::new("an id is 8 to 64 characters of A-Z a-z 0-9 _ -")) }
}

text!(
    /// An order's id. UUIDv5 of (tenant, client, idempotency key), or a random UUID without a key.
    OrderId, minted
);
text!(
    /// A shipment's id: the order's id, a dash and the shipment's number within the order.
    ShipmentId, minted
);
text!(
    /// A hold's id, unique within its order.
    HoldId, minted
);
text!(
    /// A message's id: UUIDv5 of (order, event, channel).
    MessageId, minted
);
text!(
    /// A stock-keeping unit.
    Sku,
    |text| {
        let mut bytes = text.bytes();
        let head = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let ok = head && text.len() <= 64 && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if ok { Ok(()) } else { Err(Invalid::new("a sku is 1 to 64 characters of A-Z a-z 0-9 . _ - and starts with a letter or digit")) }
    }
);
text!(
    /// A place that holds stock.
    Location,
    |text| {
        let ok = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if ok { Ok(()) } else { Err(Invalid::new("a location is 1 to 32 characters of A-Z a-z 0-9 _ -")) }
    }
);
text!(
    /// The shop's own id of a customer: an opaque key, no personal data.
    CustomerId,
    |text| {
        let ok = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-'));
        if ok { Ok(()) } else { Err(Invalid::new("a customer id is 1 to 64 characters of A-Z a-z 0-9 _ . : -")) }
    }
);

/// The namespace of every id that is derived: fixed for ever, or replays would make new orders.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f6d_7300_8f1d_5c0e_9a57_3d1c_2b64_e0a1);

/// A UUIDv5 over the given parts, joined by a byte that none of them can hold.
pub fn derive(parts: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, parts.join("\u{1f}").as_bytes())
}

impl OrderId {
    /// The id of the order that `client` of `tenant` placed under `key`.
    pub fn from_key(tenant: &str, client: &str, key: &str) -> Self {
        Self(derive(&["order", tenant, client, key]).to_string())
    }

    /// An order id from 16 random bytes that the caller drew (this crate has no randomness).
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
    }
}

impl ShipmentId {
    /// The id of shipment `number` (from 1) of an order.
    pub fn of(order: &OrderId, number: u32) -> Self {
        Self(format!("{order}-{number}"))
    }

    /// The order that the shipment belongs to. Errors: [`Invalid`] if the id is not one of ours.
    pub fn order(&self) -> Result<OrderId, Invalid> {
        let (order, number) = self.0.rsplit_once('-').ok_or_else(|| Invalid::new("not a shipment id"))?;
        if number.parse::<u32>().is_err() {
            return Err(Invalid::new("not a shipment id"));
        }
        OrderId::parse(order)
    }
}

impl HoldId {
    /// The hold that a command with this key placed on an order.
    pub fn from_key(order: &OrderId, key: &str) -> Self {
        Self(derive(&["hold", order.as_str(), key]).to_string())
    }
}

impl MessageId {
    /// The one message about `event` on `channel` for an order.
    pub fn of(order: &OrderId, event: &str, channel: &str) -> Self {
        Self(derive(&["message", order.as_str(), event, channel]).to_string())
    }

    /// The message that a person had sent once more, for the `n`th time (from 1).
    pub fn again(&self, n: u32) -> Self {
        Self(derive(&["message again", self.as_str(), &n.to_string()]).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shipment_names_its_order() {
        let order = OrderId::from_key("default", "public", "k-1");
        assert_eq!(ShipmentId::of(&order, 3).order().unwrap(), order);
        assert!(ShipmentId::parse("abcdefgh").unwrap().order().is_err());
    }

    #[test]
    fn keys_of_different_scopes_never_meet() {
        assert_ne!(OrderId::from_key("a", "bc", "d"), OrderId::from_key("ab", "c", "d"));
        assert_eq!(OrderId::from_key("a", "b", "c"), OrderId::from_key("a", "b", "c"));
    }

    #[test]
    fn names_are_bounded() {
        for bad in ["", "-a", "a b", "ä", &"x".repeat(65)] {
            assert!(Sku::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Sku::parse("A.b_c-9").is_ok());
        assert!(Location::parse("x".repeat(33)).is_err());
        assert!(serde_json::from_str::<Sku>("\"no space\"").is_err());
    }
}
