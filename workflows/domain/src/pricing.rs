//! What an order costs: prices from the catalogue less discounts, plus a shipping fee and a tax, frozen at intake.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::customer::Line as Text;
use crate::ids::{Invalid, Sku, text};
use crate::money::{Currency, Money, MoneyError};

text!(
    /// The code that a discount was given for: 1 to 64 printable characters, not blank.
    DiscountCode,
    |text| {
        let ok = (1..=64).contains(&text.chars().count()) && !text.trim().is_empty() && !text.chars().any(char::is_control);
        if ok { Ok(()) } else { Err(Invalid::new("a discount's code is 1 to 64 printable characters, not blank")) }
    }
);

/// The shop's price rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PriceRules {
    /// Flat fee per order in minor units of its currency.
    pub shipping_minor: i64,
    /// Tax on goods and shipping, in basis points (1900 = 19 %).
    pub tax_bps: u32,
}

/// Money off, granted by the shop that placed the order and frozen with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discount {
    /// What it was given for.
    pub code: DiscountCode,
    /// How much, above zero, in the order's currency.
    pub amount: Money,
    /// The line that it is off; the whole order's goods without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<LineRef>,
}

/// A line by what it sells, so that an edit of other lines does not move it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRef {
    /// What.
    pub sku: Sku,
    /// Which of the lines with this SKU, from 0.
    #[serde(default)]
    pub nth: u32,
}

impl LineRef {
    /// Names the line at `at` of an order's lines by what it sells. `None` beyond the last line.
    pub fn of<'a>(skus: impl IntoIterator<Item = &'a Sku>, at: usize) -> Option<Self> {
        let skus: Vec<&Sku> = skus.into_iter().collect();
        let sku = *skus.get(at)?;
        let before = skus[..at].iter().filter(|other| **other == sku).count();
        Some(Self { sku: sku.clone(), nth: u32::try_from(before).ok()? })
    }

    /// The place of the line among an order's lines, if it still has it.
    fn find(&self, lines: &[PricedLine]) -> Option<usize> {
        let nth = usize::try_from(self.nth).ok()?;
        lines.iter().enumerate().filter(|(_, line)| line.sku == self.sku).nth(nth).map(|(at, _)| at)
    }
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
    /// This line's share of the discounts, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<Money>,
    /// `unit_price` × `quantity` − `discount`.
    pub total: Money,
}

impl PricedLine {
    /// What the line costs before discounts. Errors: [`MoneyError::Overflow`].
    pub fn list_price(&self) -> Result<Money, MoneyError> {
        self.unit_price.times(self.quantity)
    }
}

/// An order's sums: `total = subtotal + shipping + tax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of the lines, discounts off.
    pub subtotal: Money,
    /// Sum of the lines' discounts, if any; the subtotal is without them already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<Money>,
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
        let zero = Money::zero(currency);
        let subtotal = lines.iter().try_fold(zero, |sum, line| sum.plus(line.total))?;
        let discount = lines.iter().filter_map(|line| line.discount).try_fold(zero, Money::plus)?;
        Ok(Totals { discount: Some(discount).filter(|d| !d.is_zero()), ..self.on(subtotal)? })
    }

    /// The sums on top of a subtotal. Errors: [`MoneyError`] on overflow.
    pub fn on(&self, subtotal: Money) -> Result<Totals, MoneyError> {
        let shipping = Money::new(self.shipping_minor, subtotal.currency);
        let tax = subtotal.plus(shipping)?.basis_points(self.tax_bps)?;
        let total = subtotal.plus(shipping)?.plus(tax)?;
        Ok(Totals { subtotal, discount: None, shipping, tax, total })
    }
}

/// The first discount (from 0) that is more than its line, or that brings all of them above the goods' price. `None`: all fit.
/// Errors: [`MoneyError`] on a foreign currency or overflow.
pub fn excessive(lines: &[PricedLine], discounts: &[Discount], currency: Currency) -> Result<Option<usize>, MoneyError> {
    let zero = Money::zero(currency);
    let list: Vec<Money> = lines.iter().map(PricedLine::list_price).collect::<Result<_, _>>()?;
    let subtotal = list.iter().try_fold(zero, |sum, price| sum.plus(*price))?;
    let (mut given, mut on_lines) = (zero, vec![zero; lines.len()]);
    for (at, discount) in discounts.iter().enumerate() {
        given = given.plus(discount.amount)?;
        let mut fits = given.minor <= subtotal.minor;
        if let Some(line) = &discount.line {
            match line.find(lines) {
                Some(n) => {
                    on_lines[n] = on_lines[n].plus(discount.amount)?;
                    fits &= on_lines[n].minor <= list[n].minor;
                }
                None => fits = false,
            }
        }
        if !fits {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Prices `lines` anew from their unit prices and quantities: a discount of one line comes off that line, the others are split over
/// all lines by what is left of their value, to the last minor unit. What is more than the goods are worth is cut, and a discount
/// whose line is gone falls away: the intake refuses both, so only an edit meets them.
/// Errors: [`MoneyError`] on a foreign currency or overflow.
pub fn reprice(
    lines: &[PricedLine],
    discounts: &[Discount],
    rules: &PriceRules,
    currency: Currency,
) -> Result<(Vec<PricedLine>, Totals), MoneyError> {
    let zero = Money::zero(currency);
    let mut left: Vec<Money> = lines.iter().map(PricedLine::list_price).collect::<Result<_, _>>()?;
    let mut order_wide = zero;
    for discount in discounts {
        match &discount.line {
            None => order_wide = order_wide.plus(discount.amount)?,
            Some(line) => {
                if let Some(at) = line.find(lines) {
                    left[at] = left[at].minus(Money::new(discount.amount.minor.min(left[at].minor), discount.amount.currency))?;
                }
            }
        }
    }
    let worth = left.iter().try_fold(zero, |sum, value| sum.plus(*value))?;
    let weights: Vec<u64> = left.iter().map(|value| value.minor.unsigned_abs()).collect();
    // no share is above its weight, because the whole is not above their sum
    let shares = Money::new(order_wide.minor.min(worth.minor), currency).split(&weights);
    let mut priced = Vec::with_capacity(lines.len());
    for ((line, left), share) in lines.iter().zip(left).zip(shares) {
        let total = left.minus(share)?;
        let discount = line.list_price()?.minus(total)?;
        priced.push(PricedLine { discount: Some(discount).filter(|d| !d.is_zero()), total, ..line.clone() });
    }
    let totals = rules.totals(&priced, currency)?;
    Ok((priced, totals))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::parse("EUR").unwrap())
    }

    fn line(sku: &str, unit: i64, quantity: u32) -> PricedLine {
        PricedLine {
            sku: Sku::parse(sku).unwrap(),
            name: Text::parse(sku).unwrap(),
            quantity,
            unit_price: eur(unit),
            discount: None,
            total: eur(unit).times(quantity).unwrap(),
        }
    }

    fn off(minor: i64, on: Option<(&str, u32)>) -> Discount {
        let line = on.map(|(sku, nth)| LineRef { sku: Sku::parse(sku).unwrap(), nth });
        Discount { code: DiscountCode::parse("SPRING").unwrap(), amount: eur(minor), line }
    }

    const RULES: PriceRules = PriceRules { shipping_minor: 490, tax_bps: 1900 };

    #[test]
    fn two_lines_are_summed_once() {
        let totals = RULES.totals(&[line("a", 10_000, 1), line("b", 5_000, 2)], eur(0).currency).unwrap();
        assert_eq!((totals.subtotal.minor, totals.shipping.minor, totals.discount), (20_000, 490, None));
        assert_eq!(totals.tax.minor, 3_893);
        assert_eq!(totals.total.minor, 24_383);
    }

    #[test]
    fn a_line_discount_stays_on_its_line_and_the_rest_is_split_by_value() {
        let lines = [line("a", 1_000, 1), line("a", 1_000, 1), line("b", 2_000, 1)];
        let discounts = [off(500, Some(("a", 1))), off(100, None)];
        let (priced, totals) = reprice(&lines, &discounts, &RULES, eur(0).currency).unwrap();
        // 1000, 500 and 2000 share 100: 28.57, 14.28 and 57.14
        let shares: Vec<i64> = priced.iter().map(|l| l.discount.unwrap().minor).collect();
        assert_eq!(shares, [29, 514, 57]);
        assert_eq!((totals.subtotal, totals.discount), (eur(3_400), Some(eur(600))));
        assert_eq!(totals.tax, eur(3_890).basis_points(1900).unwrap());
    }

    #[test]
    fn an_edit_cuts_discounts_to_what_is_left() {
        let discounts = [off(1_500, Some(("a", 0))), off(400, Some(("gone", 0))), off(9_000, None)];
        let (priced, totals) = reprice(&[line("a", 1_000, 1), line("b", 500, 1)], &discounts, &RULES, eur(0).currency).unwrap();
        assert_eq!(priced.iter().map(|l| l.total.minor).collect::<Vec<_>>(), [0, 0]);
        assert_eq!((totals.subtotal, totals.discount), (eur(0), Some(eur(1_500))));
        let (_, calm) = reprice(&priced, &[], &RULES, eur(0).currency).unwrap();
        assert_eq!((calm.subtotal, calm.discount), (eur(1_500), None));
    }

    #[test]
    fn too_much_is_found_at_its_place() {
        let lines = [line("a", 1_000, 1), line("b", 500, 1)];
        let found = |discounts: &[Discount]| excessive(&lines, discounts, eur(0).currency).unwrap();
        assert_eq!(found(&[off(500, Some(("b", 0))), off(1_000, None)]), None);
        assert_eq!(found(&[off(500, Some(("b", 0))), off(1, Some(("b", 0)))]), Some(1));
        assert_eq!(found(&[off(1_000, None), off(501, None)]), Some(1));
        assert_eq!(found(&[off(1, Some(("b", 1)))]), Some(0));
        assert!(excessive(&lines, &[off(i64::MAX, None), off(i64::MAX, None)], eur(0).currency).is_ok_and(|n| n == Some(0)));
    }

    #[test]
    fn lines_are_named_by_what_they_sell() {
        let skus: Vec<Sku> = ["a", "b", "a"].iter().map(|s| Sku::parse(*s).unwrap()).collect();
        assert_eq!(LineRef::of(&skus, 2), Some(LineRef { sku: skus[0].clone(), nth: 1 }));
        assert_eq!(LineRef::of(&skus, 3), None);
        for bad in ["", "  ", "a\n", &"x".repeat(65)] {
            assert!(DiscountCode::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn sums_are_exact(
            goods in prop::collection::vec((0i64..100_000, 1u32..50), 1..12),
            given in prop::collection::vec((1i64..500_000, prop::option::of(0usize..12)), 0..8),
            shipping_minor in 0i64..2_000,
            tax_bps in 0u32..3_000,
        ) {
            let names = ["a", "b", "c"];
            let lines: Vec<PricedLine> =
                goods.iter().enumerate().map(|(n, (unit, quantity))| line(names[n % 3], *unit, *quantity)).collect();
            let discounts: Vec<Discount> = given
                .iter()
                .map(|(minor, at)| Discount {
                    line: at.and_then(|at| LineRef::of(lines.iter().map(|l| &l.sku), at)),
                    ..off(*minor, None)
                })
                .collect();
            let rules = PriceRules { shipping_minor, tax_bps };
            let (priced, totals) = reprice(&lines, &discounts, &rules, eur(0).currency).unwrap();
            let list: i64 = lines.iter().map(|l| l.total.minor).sum();
            let asked: i64 = discounts.iter().map(|d| d.amount.minor).sum();
            let taken = totals.discount.map_or(0, |d| d.minor);
            for line in &priced {
                let discount = line.discount.map_or(0, |d| d.minor);
                prop_assert!(line.total.minor >= 0 && discount >= 0);
                prop_assert_eq!(line.total.minor, line.unit_price.minor * i64::from(line.quantity) - discount);
            }
            prop_assert_eq!(totals.subtotal.minor, priced.iter().map(|l| l.total.minor).sum::<i64>());
            prop_assert_eq!(totals.subtotal.minor, list - taken);
            prop_assert_eq!(totals.total.minor, totals.subtotal.minor + shipping_minor + totals.tax.minor);
            prop_assert!(taken <= asked);
            if excessive(&lines, &discounts, eur(0).currency).unwrap().is_none() {
                prop_assert_eq!(taken, asked);
            }
            // pricing again changes nothing
            prop_assert_eq!(reprice(&priced, &discounts, &rules, eur(0).currency).unwrap(), (priced, totals));
        }
    }
}
