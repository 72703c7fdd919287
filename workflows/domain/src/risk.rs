//! Rules that send an order to a person before anything is promised. All are off until the shop sets them.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::money::Money;

/// The shop's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RiskRules {
    /// Orders of at least so many minor units of their currency are reviewed.
    pub amount_min: Option<i64>,
    /// A customer's orders beyond so many within [`velocity_window`](Self::velocity_window) are reviewed.
    pub velocity_max: Option<u32>,
    /// The window of the velocity rule; a day when missing.
    pub velocity_window: Option<Duration>,
    /// Orders whose billing country is not the one they ship to are reviewed.
    pub address_mismatch: bool,
}

/// What the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The order's total.
    pub total: Money,
    /// The customer's orders within the window, this one included.
    pub recent_orders: u32,
    /// Whether billing and shipping name different countries.
    pub countries_differ: bool,
}

impl RiskRules {
    /// Whether no rule is set.
    pub fn is_off(&self) -> bool {
        self.amount_min.is_none() && self.velocity_max.is_none() && !self.address_mismatch
    }

    /// How far back the velocity rule looks.
    pub fn window(&self) -> Duration {
        self.velocity_window.unwrap_or(Duration::from_secs(24 * 3_600))
    }

    /// Which rules want a person to look: `amount`, `velocity`, `address_mismatch`.
    pub fn judge(&self, evidence: &Evidence) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.amount_min.is_some_and(|min| evidence.total.minor >= min) {
            reasons.push("amount".to_owned());
        }
        if self.velocity_max.is_some_and(|max| evidence.recent_orders > max) {
            reasons.push("velocity".to_owned());
        }
        if self.address_mismatch && evidence.countries_differ {
            reasons.push("address_mismatch".to_owned());
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    #[test]
    fn rules_are_off_until_set_and_name_themselves() {
        let total = Money::new(50_000, Currency::parse("EUR").unwrap());
        let evidence = Evidence { total, recent_orders: 4, countries_differ: true };
        assert!(RiskRules::default().is_off());
        assert!(RiskRules::default().judge(&evidence).is_empty());
        let rules = RiskRules { amount_min: Some(50_000), velocity_max: Some(3), address_mismatch: true, velocity_window: None };
        assert_eq!(rules.judge(&evidence), ["amount", "velocity", "address_mismatch"]);
        let calm = Evidence { total: Money::new(49_999, total.currency), recent_orders: 3, countries_differ: false };
        assert!(rules.judge(&calm).is_empty());
    }
}
