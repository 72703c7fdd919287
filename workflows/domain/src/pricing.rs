//! What an order costs: prices from the catalogue plus a shipping fee and a tax, frozen at intake.

use serde::{Deserialize, Serialize};

use crate::customer::Line as Text;
use crate::ids::Sku;
use crate::money::{Currency, Money, MoneyError};

/// The shop's price rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PriceRules {
    /// Flat fee per order in minor units of its currency.
    pub shipping_minor: i64,
    /// Tax on goods and shipping, in basis points (1900 = 19 %).
    pub tax_bps: u32,
}

/// One priced line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedLine {
    /// What.
    pub sku: Sku,
    /// Its name when it was ordered.
    pub name: Text,
    /// How many.
    pub quantity: u32,
    /// Price of one when it was ordered.
    pub unit_price: Money,
    /// `unit_price` × `quantity`.
    pub total: Money,
}

/// An order's sums: `total = subtotal + shipping + tax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of the lines.
    pub subtotal: Money,
    /// The fee.
    pub shipping: Money,
    /// Tax on goods and shipping.
    pub tax: Money,
    /// What the customer pays.
    pub total: Money,
}

impl PriceRules {
    /// The sums of `lines`. Errors: [`MoneyError`] on a foreign currency or overflow.
    pub fn totals(&self, lines: &[PricedLine], currency: Currency) -> Result<Totals, MoneyError> {
        let subtotal = lines.iter().try_fold(Money::zero(currency), |sum, line| sum.plus(line.total))?;
        let shipping = Money::new(self.shipping_minor, currency);
        let tax = subtotal.plus(shipping)?.basis_points(self.tax_bps)?;
        Ok(Totals { subtotal, shipping, tax, total: subtotal.plus(shipping)?.plus(tax)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_are_summed_once() {
        let eur = Currency::parse("EUR").unwrap();
        let line = |sku: &str, unit: i64, quantity: u32| PricedLine {
            sku: Sku::parse(sku).unwrap(),
            name: Text::parse(sku).unwrap(),
            quantity,
            unit_price: Money::new(unit, eur),
            total: Money::new(unit, eur).times(quantity).unwrap(),
        };
        let totals =
            PriceRules { shipping_minor: 490, tax_bps: 1900 }.totals(&[line("a", 10_000, 1), line("b", 5_000, 2)], eur).unwrap();
        assert_eq!((totals.subtotal.minor, totals.shipping.minor), (20_000, 490));
        assert_eq!(totals.tax.minor, 3_893);
        assert_eq!(totals.total.minor, 24_383);
    }
}
