//! Search attributes: what operators filter by in the Temporal UI. No personal data; never encrypted.

use oms_domain::ids::Sku;
use temporalio_common::search_attributes::SearchAttributeKey;

/// The order's status.
pub const ORDER_STATUS: SearchAttributeKey<String> = SearchAttributeKey::keyword("OrderStatus");
/// Why it was refused.
pub const ORDER_REASON: SearchAttributeKey<String> = SearchAttributeKey::keyword("OrderReason");
/// The shop's own customer id.
pub const CUSTOMER_ID: SearchAttributeKey<String> = SearchAttributeKey::keyword("CustomerId");
/// The sales channel.
pub const CHANNEL: SearchAttributeKey<String> = SearchAttributeKey::keyword("Channel");
/// What was ordered, as far as it fits (see [`skus_that_fit`]).
pub const SKUS: SearchAttributeKey<Vec<String>> = SearchAttributeKey::keyword_list("Skus");
/// Kinds of the open holds.
pub const HOLD_KINDS: SearchAttributeKey<Vec<String>> = SearchAttributeKey::keyword_list("HoldKinds");
/// Whether a person must look.
pub const NEEDS_ATTENTION: SearchAttributeKey<bool> = SearchAttributeKey::bool("NeedsAttention");
/// The order's total in minor units.
pub const TOTAL_MINOR: SearchAttributeKey<i64> = SearchAttributeKey::int("TotalMinor");

/// The type of a search attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One exact text.
    Keyword,
    /// Several exact texts.
    KeywordList,
    /// Yes or no.
    Bool,
    /// A whole number.
    Int,
}

/// What must be registered in the namespace.
pub const ALL: [(&str, Kind); 8] = [
    ("OrderStatus", Kind::Keyword),
    ("OrderReason", Kind::Keyword),
    ("CustomerId", Kind::Keyword),
    ("Channel", Kind::Keyword),
    ("Skus", Kind::KeywordList),
    ("HoldKinds", Kind::KeywordList),
    ("NeedsAttention", Kind::Bool),
    ("TotalMinor", Kind::Int),
];

/// The engine refuses a value above 2,048 bytes; this leaves room for its framing.
const SKUS_BYTES_MAX: usize = 2_000;

/// The first distinct SKUs that fit one value. The search in SQL is complete.
pub fn skus_that_fit<'a>(skus: impl IntoIterator<Item = &'a Sku>) -> Vec<String> {
    let mut fitting: Vec<String> = Vec::new();
    let mut bytes = 0;
    for sku in skus {
        if fitting.iter().any(|s| s == sku.as_str()) {
            continue;
        }
        // quotes and comma of its JSON form
        bytes += sku.as_str().len() + 3;
        if bytes > SKUS_BYTES_MAX {
            break;
        }
        fitting.push(sku.as_str().to_owned());
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_long_skus_are_cut_to_what_fits() {
        let skus: Vec<Sku> = (0..100).map(|n| Sku::parse(format!("{n:0>64}")).unwrap()).collect();
        let fitting = skus_that_fit(&skus);
        assert!(!fitting.is_empty() && fitting.len() < 100);
        assert!(serde_json::to_string(&fitting).unwrap().len() <= 2_048);
        assert_eq!(skus_that_fit([&skus[0], &skus[0]]).len(), 1);
    }
}
