//! Money: integer minor units and an ISO 4217 currency, checked arithmetic, exact splits.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

use crate::ids::Invalid;

/// Active ISO 4217 currencies and the number of digits of their minor unit, sorted by code.
const CURRENCIES: &[(&str, u8)] = &[
    ("AED", 2),
    ("AFN", 2),
    ("ALL", 2),
    ("AMD", 2),
    ("AOA", 2),
    ("ARS", 2),
    ("AUD", 2),
    ("AWG", 2),
    ("AZN", 2),
    ("BAM", 2),
    ("BBD", 2),
    ("BDT", 2),
    ("BGN", 2),
    ("BHD", 3),
    ("BIF", 0),
    ("BMD", 2),
    ("BND", 2),
    ("BOB", 2),
    ("BRL", 2),
    ("BSD", 2),
    ("BTN", 2),
    ("BWP", 2),
    ("BYN", 2),
    ("BZD", 2),
    ("CAD", 2),
    ("CDF", 2),
    ("CHF", 2),
    ("CLP", 0),
    ("CNY", 2),
    ("COP", 2),
    ("CRC", 2),
    ("CUP", 2),
    ("CVE", 2),
    ("CZK", 2),
    ("DJF", 0),
    ("DKK", 2),
    ("DOP", 2),
    ("DZD", 2),
    ("EGP", 2),
    ("ERN", 2),
    ("ETB", 2),
    ("EUR", 2),
    ("FJD", 2),
    ("FKP", 2),
    ("GBP", 2),
    ("GEL", 2),
    ("GHS", 2),
    ("GIP", 2),
    ("GMD", 2),
    ("GNF", 0),
    ("GTQ", 2),
    ("GYD", 2),
    ("HKD", 2),
    ("HNL", 2),
    ("HTG", 2),
    ("HUF", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("INR", 2),
    ("IQD", 3),
    ("IRR", 2),
    ("ISK", 0),
    ("JMD", 2),
    ("JOD", 3),
    ("JPY", 0),
    ("KES", 2),
    ("KGS", 2),
    ("KHR", 2),
    ("KMF", 0),
    ("KPW", 2),
    ("KRW", 0),
    ("KWD", 3),
    ("KYD", 2),
    ("KZT", 2),
    ("LAK", 2),
    ("LBP", 2),
    ("LKR", 2),
    ("LRD", 2),
    ("LSL", 2),
    ("LYD", 3),
    ("MAD", 2),
    ("MDL", 2),
    ("MGA", 2),
    ("MKD", 2),
    ("MMK", 2),
    ("MNT", 2),
    ("MOP", 2),
    ("MRU", 2),
    ("MUR", 2),
    ("MVR", 2),
    ("MWK", 2),
    ("MXN", 2),
    ("MYR", 2),
    ("MZN", 2),
    ("NAD", 2),
    ("NGN", 2),
    ("NIO", 2),
    ("NOK", 2),
    ("NPR", 2),
    ("NZD", 2),
    ("OMR", 3),
    ("PAB", 2),
    ("PEN", 2),
    ("PGK", 2),
    ("PHP", 2),
    ("PKR", 2),
    ("PLN", 2),
    ("PYG", 0),
    ("QAR", 2),
    ("RON", 2),
    ("RSD", 2),
    ("RUB", 2),
    ("RWF", 0),
    ("SAR", 2),
    ("SBD", 2),
    ("SCR", 2),
    ("SDG", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("SHP", 2),
    ("SLE", 2),
    ("SOS", 2),
    ("SRD", 2),
    ("SSP", 2),
    ("STN", 2),
    ("SVC", 2),
    ("SYP", 2),
    ("SZL", 2),
    ("THB", 2),
    ("TJS", 2),
    ("TMT", 2),
    ("TND", 3),
    ("TOP", 2),
    ("TRY", 2),
    ("TTD", 2),
    ("TWD", 2),
    ("TZS", 2),
    ("UAH", 2),
    ("UGX", 0),
    ("USD", 2),
    ("UYU", 2),
    ("UZS", 2),
    ("VED", 2),
    ("VES", 2),
    ("VND", 0),
    ("VUV", 0),
    ("WST", 2),
    ("XAF", 0),
    ("XCD", 2),
    ("XCG", 2),
    ("XOF", 0),
    ("XPF", 0),
    ("YER", 2),
    ("ZAR", 2),
    ("ZMW", 2),
    ("ZWG", 2),
];

/// An ISO 4217 currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency(&'static str, u8);

impl Currency {
    /// Parses an upper-case alphabetic code. Errors: [`Invalid`] for a code that ISO 4217 does not list.
    pub fn parse(code: &str) -> Result<Self, Invalid> {
        CURRENCIES
            .binary_search_by_key(&code, |c| c.0)
            .map(|at| Self(CURRENCIES[at].0, CURRENCIES[at].1))
            .map_err(|_| Invalid::new("a currency is an ISO 4217 code of three capital letters, such as EUR"))
    }

    /// The alphabetic code.
    pub fn code(self) -> &'static str {
        self.0
    }

    /// Digits of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD.
    pub fn exponent(self) -> u8 {
        self.1
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}
impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::parse(&code).map_err(serde::de::Error::custom)
    }
}
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a sum could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Two currencies in one operation.
    #[error("cannot combine {0} with {1}")]
    CurrencyMismatch(Currency, Currency),
    /// The result does not fit 64 bits of minor units.
    #[error("the amount is too large")]
    Overflow,
}

/// An amount in minor units of one currency. Arithmetic is checked; it never rounds and never mixes currencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Minor units: cents for EUR, yen for JPY, fils for KWD.
    #[serde(rename = "amount")]
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// `minor` units of `currency`.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in `currency`.
    pub fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// True for an amount of zero.
    pub fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Sum. Errors: [`MoneyError`] on two currencies or overflow.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        self.minor.checked_add(other.minor).map(|m| Self::new(m, self.currency)).ok_or(MoneyError::Overflow)
    }

    /// Difference. Errors: [`MoneyError`] on two currencies or overflow.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        self.minor.checked_sub(other.minor).map(|m| Self::new(m, self.currency)).ok_or(MoneyError::Overflow)
    }

    /// The amount `quantity` times. Errors: [`MoneyError::Overflow`].
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        self.minor.checked_mul(i64::from(quantity)).map(|m| Self::new(m, self.currency)).ok_or(MoneyError::Overflow)
    }

    /// `basis_points` ten-thousandths of the amount, half away from zero. Errors: [`MoneyError::Overflow`].
    pub fn basis_points(self, basis_points: u32) -> Result<Self, MoneyError> {
        let scaled = i128::from(self.minor) * i128::from(basis_points);
        let half = if scaled < 0 { -5_000 } else { 5_000 };
        i64::try_from((scaled + half) / 10_000).map(|m| Self::new(m, self.currency)).map_err(|_| MoneyError::Overflow)
    }

    /// Splits the amount in proportion to `weights` by largest remainder: the parts always sum to the whole, and equal
    /// weights differ by at most one minor unit. All-zero weights count as equal. Ties go to the earlier part.
    pub fn split(self, weights: &[u64]) -> Vec<Self> {
        let ones = vec![1u64; weights.len()];
        let weights = if weights.iter().all(|w| *w == 0) { &ones } else { weights };
        let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
        let whole = u128::from(self.minor.unsigned_abs());
        let sign = self.minor.signum();
        let mut parts: Vec<(usize, u128, u128)> = weights
            .iter()
            .enumerate()
            .map(|(at, w)| {
                // whole < 2^63 and w < 2^64, so the product fits
                let share = whole * u128::from(*w);
                (at, share / total, share % total)
            })
            .collect();
        let given: u128 = parts.iter().map(|p| p.1).sum();
        let mut left = whole - given;
        parts.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)));
        for part in &mut parts {
            if left == 0 {
                break;
            }
            part.1 += 1;
            left -= 1;
        }
        parts.sort_by_key(|p| p.0);
        parts.into_iter().map(|p| Self::new(sign * i64::try_from(p.1).unwrap_or(i64::MAX), self.currency)).collect()
    }

    fn same(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency { Ok(()) } else { Err(MoneyError::CurrencyMismatch(self.currency, other.currency)) }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.currency.exponent());
        let unit = 10u64.pow(u32::from(self.currency.exponent()));
        let abs = self.minor.unsigned_abs();
        let sign = if self.minor < 0 { "-" } else { "" };
        if digits == 0 {
            write!(f, "{sign}{abs} {}", self.currency)
        } else {
            write!(f, "{sign}{}.{:0digits$} {}", abs / unit, abs % unit, self.currency)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn currency() -> impl Strategy<Value = Currency> {
        prop::sample::select(vec!["JPY", "EUR", "KWD"]).prop_map(|c| Currency::parse(c).unwrap())
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole(minor in any::<i64>().prop_filter("abs", |m| *m != i64::MIN), c in currency(),
                                  weights in prop::collection::vec(any::<u64>(), 1..20)) {
            let parts = Money::new(minor, c).split(&weights);
            prop_assert_eq!(parts.len(), weights.len());
            prop_assert_eq!(parts.iter().map(|p| i128::from(p.minor)).sum::<i128>(), i128::from(minor));
        }

        #[test]
        fn equal_weights_differ_by_one_unit(minor in 0i64..1_000_000, n in 1usize..50, c in currency()) {
            let parts = Money::new(minor, c).split(&vec![7; n]);
            let (low, high) = (parts.iter().map(|p| p.minor).min().unwrap(), parts.iter().map(|p| p.minor).max().unwrap());
            prop_assert!(high - low <= 1);
        }

        #[test]
        fn arithmetic_is_exact_or_refused(a in any::<i64>(), b in any::<i64>(), c in currency()) {
            let sum = Money::new(a, c).plus(Money::new(b, c));
            prop_assert_eq!(sum.ok().map(|m| m.minor), a.checked_add(b));
        }
    }

    #[test]
    fn currencies_never_mix() {
        let (eur, jpy) = (Currency::parse("EUR").unwrap(), Currency::parse("JPY").unwrap());
        assert_eq!(Money::new(1, eur).plus(Money::new(1, jpy)), Err(MoneyError::CurrencyMismatch(eur, jpy)));
        assert!(Currency::parse("eur").is_err());
        assert!(Currency::parse("XXX").is_err());
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(CURRENCIES.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn shown_with_the_minor_unit_of_the_currency() {
        for (code, text) in [("EUR", "12.34 EUR"), ("JPY", "1234 JPY"), ("KWD", "1.234 KWD")] {
            assert_eq!(Money::new(1234, Currency::parse(code).unwrap()).to_string(), text);
        }
        assert_eq!(Money::new(-5, Currency::parse("EUR").unwrap()).to_string(), "-0.05 EUR");
    }

    #[test]
    fn basis_points_round_half_up() {
        let eur = Currency::parse("EUR").unwrap();
        assert_eq!(Money::new(1999, eur).basis_points(1900).unwrap().minor, 380);
        assert_eq!(Money::new(50, eur).basis_points(100).unwrap().minor, 1);
    }
}
