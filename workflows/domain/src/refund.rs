//! Refunds: what of an order's money may go back, and how much a unit of it is.
//!
//! Tax is frozen with the order. Every line, and the shipping fee, has an exact share of what the customer paid; a line's share is
//! spread over its units so that all of them together are the share, whatever the order in which they come back.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use crate::ids::{Invalid, Sku, derive, minted, text};
use crate::money::{Money, MoneyError};
use crate::pricing::{PricedLine, Totals};
use crate::stock::Quantity;

text!(
    /// A refund's id. UUIDv5 of its order and the key of whoever asked, or a random UUID without one.
    RefundId, minted
);

impl RefundId {
    /// The refund that was asked for under `key`, for an order, a shipment or a return.
    pub fn from_key(subject: &str, key: &str) -> Self {
        Self(derive(&["refund", subject, key]).to_string())
    }

    /// A refund's id from 16 random bytes that the caller drew.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
    }
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Accepted; on its way.
    Requested,
    /// The gateway returned the money.
    Returned,
    /// The gateway refused; it is asked again, or a person settles it.
    Refused,
    /// The money, or the rest of it, was returned outside.
    Closed,
}

impl RefundState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Requested, Self::Returned, Self::Refused, Self::Closed];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Returned => "returned",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// Whether no money is owed any more.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Returned | Self::Closed)
    }
}

/// What is asked back. Nothing named: everything that is left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ask {
    /// Units of these articles.
    pub lines: Vec<Quantity>,
    /// A sum, whatever it is for; not together with the others.
    pub amount: Option<Money>,
    /// The shipping fee.
    pub shipping: bool,
    /// What exceeds the rest is cut, not refused.
    pub up_to: bool,
}

impl Ask {
    /// Units that came back, as much of them as is still to be paid back.
    pub fn units(lines: Vec<Quantity>, shipping: bool) -> Self {
        Self { lines, shipping, up_to: true, amount: None }
    }

    fn everything(&self) -> bool {
        self.lines.is_empty() && self.amount.is_none() && !self.shipping
    }
}

/// Units of one article and what goes back for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundedLine {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
    /// Their share of what was paid.
    pub amount: Money,
}

/// What a refund is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Units.
    #[serde(default)]
    pub lines: Vec<RefundedLine>,
    /// The shipping fee's share, if it goes back.
    #[serde(default)]
    pub shipping: Option<Money>,
    /// All that goes back; less than its parts when not more was left, more when a sum was asked for.
    pub amount: Money,
}

/// What there is to refund of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill<'a> {
    /// The order's lines.
    pub lines: &'a [PricedLine],
    /// Its sums.
    pub totals: &'a Totals,
    /// Units whose money was taken.
    pub paid: &'a BTreeMap<Sku, u32>,
    /// Earlier refunds, whatever became of them: none is ever given up.
    pub before: &'a [Breakdown],
    /// Money that was taken and is in no refund.
    pub refundable: Money,
}

/// More was asked than is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// What is left.
    pub refundable: Money,
    /// The article of which fewer units are left, with their number.
    pub units: Option<Quantity>,
}

/// The shares of an order's lines, in their order, and of its shipping fee: together exactly the total.
pub fn shares(lines: &[PricedLine], totals: &Totals) -> Result<(Vec<Money>, Money), MoneyError> {
    let bare: Vec<Money> = lines.iter().map(|l| l.total).chain([totals.shipping]).collect();
    let sum = bare.iter().try_fold(Money::zero(totals.total.currency), |sum, part| sum.plus(*part))?;
    let weights: Vec<u64> = bare.iter().map(|part| u64::try_from(part.minor).unwrap_or(0)).collect();
    let tax = totals.total.minus(sum)?.split(&weights);
    let mut gross = bare.iter().zip(tax).map(|(bare, tax)| bare.plus(tax)).collect::<Result<Vec<_>, _>>()?;
    let shipping = gross.pop().unwrap_or(totals.shipping);
    Ok((gross, shipping))
}

/// The share of the first `units` units of an article: lines count in their order.
fn first_units(lines: &[PricedLine], gross: &[Money], sku: &Sku, units: u32) -> i64 {
    let mut left = units;
    let mut sum = 0i64;
    for (line, share) in lines.iter().zip(gross).filter(|(line, _)| line.sku == *sku) {
        let take = left.min(line.quantity);
        if take > 0 {
            let part = i128::from(share.minor) * i128::from(take) / i128::from(line.quantity);
            sum = sum.saturating_add(i64::try_from(part).unwrap_or(i64::MAX));
        }
        left -= take;
    }
    sum
}

impl Bill<'_> {
    fn refunded_units(&self, sku: &Sku) -> u32 {
        self.before.iter().flat_map(|b| &b.lines).filter(|l| l.sku == *sku).map(|l| l.quantity).sum()
    }

    /// Units of an article that may still be refunded.
    pub fn open_units(&self, sku: &Sku) -> u32 {
        self.paid.get(sku).copied().unwrap_or(0).saturating_sub(self.refunded_units(sku))
    }

    /// What goes back for an ask. Errors: [`Excess`] if that is more than is left, or nothing at all; [`MoneyError`] as `Excess` too,
    /// because sums that do not fit are never owed.
    pub fn refund(&self, ask: &Ask) -> Result<Breakdown, Excess> {
        let excess = |units| Excess { refundable: self.refundable, units };
        if self.refundable.minor <= 0 {
            return Err(excess(None));
        }
        if let Some(amount) = ask.amount {
            let fits = amount.currency == self.refundable.currency && amount.minor > 0;
            let amount = if ask.up_to && amount.minor > self.refundable.minor { self.refundable } else { amount };
            if !fits || amount.minor > self.refundable.minor {
                return Err(excess(None));
            }
            return Ok(Breakdown { lines: Vec::new(), shipping: None, amount });
        }
        let (gross, fee) = shares(self.lines, self.totals).map_err(|_| excess(None))?;
        let mut breakdown = Breakdown {
            lines: self.units(ask, &gross)?,
            shipping: self.fee(ask, fee).ok_or_else(|| excess(None))?,
            amount: self.refundable,
        };
        if ask.everything() {
            return Ok(breakdown);
        }
        let parts = breakdown.lines.iter().map(|l| l.amount).chain(breakdown.shipping);
        let sum = parts.fold(0i64, |sum, part| sum.saturating_add(part.minor));
        // parcels are paid by shares of their own, so the last cents of a partly shipped order may be missing
        let cents = i64::try_from(self.lines.len()).unwrap_or(i64::MAX);
        if sum <= 0 || (!ask.up_to && sum.saturating_sub(self.refundable.minor) > cents) {
            return Err(excess(None));
        }
        breakdown.amount = Money::new(sum.min(self.refundable.minor), self.refundable.currency);
        Ok(breakdown)
    }

    /// The units that an ask takes, with their shares.
    fn units(&self, ask: &Ask, gross: &[Money]) -> Result<Vec<RefundedLine>, Excess> {
        let mut asked: BTreeMap<&Sku, u32> = BTreeMap::new();
        if ask.everything() {
            asked.extend(self.paid.keys().map(|sku| (sku, self.open_units(sku))));
        }
        for line in &ask.lines {
            let sum = asked.entry(&line.sku).or_default();
            *sum = sum.saturating_add(line.quantity);
        }
        let mut taken = Vec::new();
        for (sku, quantity) in asked {
            let open = self.open_units(sku);
            if quantity > open && !ask.up_to {
                let units = Some(Quantity { sku: sku.clone(), quantity: open });
                return Err(Excess { refundable: self.refundable, units });
            }
            let (from, quantity) = (self.refunded_units(sku), quantity.min(open));
            if quantity > 0 {
                let until = first_units(self.lines, gross, sku, from.saturating_add(quantity));
                let amount = Money::new(until - first_units(self.lines, gross, sku, from), self.refundable.currency);
                taken.push(RefundedLine { sku: sku.clone(), quantity, amount });
            }
        }
        Ok(taken)
    }

    /// The shipping fee's share, once. `None`: it went back before and may not again.
    fn fee(&self, ask: &Ask, fee: Money) -> Option<Option<Money>> {
        let before = self.before.iter().any(|b| b.shipping.is_some());
        match (ask.shipping || ask.everything(), before || fee.is_zero()) {
            (false, _) => Some(None),
            (true, false) => Some(Some(fee)),
            (true, true) if ask.everything() || ask.up_to || !ask.lines.is_empty() => Some(None),
            (true, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customer::Line;
    use crate::money::Currency;
    use crate::pricing::PriceRules;
    use proptest::prelude::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::parse("EUR").unwrap())
    }
    fn sku(n: usize) -> Sku {
        Sku::parse(format!("sku-{n}")).unwrap()
    }
    fn line(n: usize, unit: i64, quantity: u32) -> PricedLine {
        PricedLine {
            sku: sku(n),
            name: Line::parse("x").unwrap(),
            quantity,
            unit_price: eur(unit),
            discount: None,
            total: eur(unit).times(quantity).unwrap(),
        }
    }
    fn units(lines: &[PricedLine]) -> BTreeMap<Sku, u32> {
        crate::stock::demand(lines.iter().map(|l| (&l.sku, l.quantity)))
    }
    fn of(n: usize, quantity: u32) -> Vec<Quantity> {
        vec![Quantity { sku: sku(n), quantity }]
    }

    #[test]
    fn the_frozen_tax_goes_back_with_its_line() {
        let lines = [line(1, 1_000, 2), line(2, 500, 1)];
        let totals = PriceRules { shipping_minor: 490, tax_bps: 1900 }.totals(&lines, Currency::parse("EUR").unwrap()).unwrap();
        let paid = units(&lines);
        let bill = Bill { lines: &lines, totals: &totals, paid: &paid, before: &[], refundable: totals.total };
        let one = bill.refund(&Ask { lines: of(1, 1), ..Ask::default() }).unwrap();
        assert_eq!((one.amount, one.shipping), (eur(1_190), None));
        let fee = bill.refund(&Ask { shipping: true, ..Ask::default() }).unwrap();
        assert_eq!(fee.amount, eur(583));
        let rest =
            Bill { before: &[one.clone(), fee.clone()], refundable: eur(totals.total.minor - 1_190 - 583), ..bill.clone() };
        assert_eq!(rest.refund(&Ask { shipping: true, ..Ask::default() }).unwrap_err().units, None, "the fee goes back once");
        let over = rest.refund(&Ask { lines: of(1, 2), ..Ask::default() }).unwrap_err();
        assert_eq!(over.units, Some(Quantity { sku: sku(1), quantity: 1 }));
        let all = rest.refund(&Ask::default()).unwrap();
        assert_eq!(all.amount, rest.refundable);
        assert_eq!(all.lines.iter().map(|l| l.quantity).sum::<u32>(), 2);
    }

    #[test]
    fn sums_are_refused_above_the_rest_or_cut_if_asked() {
        let lines = [line(1, 1_000, 1)];
        let totals = PriceRules::default().totals(&lines, Currency::parse("EUR").unwrap()).unwrap();
        let paid = units(&lines);
        let bill = Bill { lines: &lines, totals: &totals, paid: &paid, before: &[], refundable: eur(600) };
        let sum = |minor, up_to| bill.refund(&Ask { amount: Some(eur(minor)), up_to, ..Ask::default() });
        assert_eq!(sum(600, false).unwrap().amount, eur(600));
        assert!(sum(601, false).is_err() && sum(0, true).is_err() && sum(-1, true).is_err());
        assert_eq!(sum(601, true).unwrap().amount, eur(600));
        assert!(bill.refund(&Ask { lines: of(1, 1), ..Ask::default() }).is_err(), "a goodwill refund came before");
        assert_eq!(bill.refund(&Ask::units(of(1, 1), false)).unwrap().amount, eur(600));
        let yen = Money::new(5, Currency::parse("JPY").unwrap());
        assert!(bill.refund(&Ask { amount: Some(yen), ..Ask::default() }).is_err());
    }

    proptest! {
        #[test]
        fn all_units_in_any_portions_are_exactly_what_was_paid(
            priced in prop::collection::vec((0usize..4, 0i64..5_000, 1u32..9), 1..6),
            shipping in 0i64..900, tax in 0u32..3_000, portions in prop::collection::vec((0usize..4, 1u32..4), 0..40),
        ) {
            let lines: Vec<PricedLine> = priced.into_iter().map(|(n, unit, quantity)| line(n, unit, quantity)).collect();
            let totals = PriceRules { shipping_minor: shipping, tax_bps: tax }.totals(&lines, Currency::parse("EUR").unwrap()).unwrap();
            let (gross, fee) = shares(&lines, &totals).unwrap();
            prop_assert_eq!(gross.iter().map(|g| g.minor).sum::<i64>() + fee.minor, totals.total.minor);
            let paid = units(&lines);
            let mut before: Vec<Breakdown> = Vec::new();
            let mut left = totals.total.minor;
            let every = (0..4).map(|n| Ask { lines: of(n, 99), up_to: true, ..Ask::default() });
            let asks = portions.into_iter().map(|(n, q)| Ask { lines: of(n, q), ..Ask::default() }).chain(every);
            for ask in asks.chain([Ask { shipping: true, ..Ask::default() }]) {
                let bill = Bill { lines: &lines, totals: &totals, paid: &paid, before: &before, refundable: eur(left) };
                if let Ok(made) = bill.refund(&ask) {
                    prop_assert!(made.amount.minor > 0 && made.amount.minor <= left);
                    left -= made.amount.minor;
                    before.push(made);
                }
            }
            prop_assert_eq!(left, 0);
        }
    }
}
