//! What the model knows of money and goods that come back.

use oms_domain::pricing::Totals;

use super::*;

/// What became of a wish for money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundAnswer {
    Accepted,
    /// Cents that there are.
    TooMuch {
        left: i64,
    },
}

impl Model {
    /// Hears what became of a wish for so many cents. `rest`: what there was, if nothing could change it meanwhile.
    pub fn hear_refund(&mut self, minor: i64, answer: RefundAnswer, rest: Option<i64>) -> Heard {
        self.log.push(format!("refund of {minor}, there being {rest:?} -> {answer:?}"));
        match answer {
            RefundAnswer::Accepted => {
                let departed = self.parcels.values().any(|p| p.left_first || p.left_after);
                ensure(departed, "money went back although nothing had left, so nothing was taken")?;
                ensure(rest.is_none_or(|rest| minor <= rest), format!("{minor} go back of {rest:?}"))?;
                self.given += minor;
                Ok(())
            }
            RefundAnswer::TooMuch { left } => {
                ensure(left < minor, format!("{minor} are too much of {left}"))?;
                ensure(rest.is_none_or(|rest| rest == left), format!("{left} are left, not {rest:?}"))
            }
        }
    }

    /// Hears how much went back for goods: `units` of a price, if they are paid for; `rest`: what there was, in cents.
    pub fn hear_goods(&mut self, given: i64, rest: i64, units: Option<(i64, u32)>, totals: &Totals) -> Heard {
        self.log.push(format!("{given} of {rest} went back for {units:?}"));
        let Some((price, quantity)) = units else {
            return ensure(given == 0, format!("{given} went back for goods that were not taken back"));
        };
        // their price with its share of the tax
        let bare = (totals.subtotal.minor + totals.shipping.minor).max(1);
        let worth = price * i64::from(quantity) * totals.total.minor / bare;
        let near = |cents: i64| (given - cents.min(rest)).abs() <= 2;
        self.given += given;
        ensure(near(worth), format!("{given} went back for goods that are worth {worth}, of {rest}"))
    }
}
