//! What the demo orders, and how each order must end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A place in the demo's world and an article that only the demo sells, so that a shop's own data never gets in its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Article {
    /// Its SKU.
    pub(super) sku: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// Price in cents.
    pub(super) price: i64,
    /// Weight in grams.
    pub(super) weight_g: u32,
    /// The one place that has it; `None`: nobody does.
    pub(super) location: Option<&'static str>,
}

const MUG: Article = Article { sku: "DEMO-MUG", name: "Enamel mug", price: 1_290, weight_g: 240, location: Some("berlin") };
const TEE: Article = Article { sku: "DEMO-TEE", name: "Cotton T-shirt", price: 2_490, weight_g: 180, location: Some("berlin") };
const LAMP: Article = Article { sku: "DEMO-LAMP", name: "Desk lamp", price: 5_900, weight_g: 1_400, location: Some("hamburg") };
const BOOK: Article = Article { sku: "DEMO-BOOK", name: "Notebook, A5", price: 850, weight_g: 210, location: Some("leipzig") };
const VASE: Article = Article { sku: "DEMO-VASE", name: "Vase, sold out", price: 3_400, weight_g: 900, location: None };

/// Everything the demo sells.
pub(super) const ARTICLES: [Article; 5] = [MUG, TEE, LAMP, BOOK, VASE];

/// What becomes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Delivered in one parcel.
    Delivered,
    /// Delivered in two parcels from two places.
    TwoParcels,
    /// The gateway declines.
    Declined,
    /// Nobody has the goods.
    SoldOut,
    /// Cancelled as soon as it was placed.
    CancelledAtOnce,
    /// Held, then cancelled.
    CancelledOnHold,
    /// Held, released, delivered.
    Held,
    /// The gateway fails twice before each effect.
    FlakyGateway,
    /// The gateway acts and loses every first answer.
    LostAnswers,
    /// The gateway takes its time.
    SlowGateway,
    /// The customer authenticates.
    Authenticated,
    /// The customer fails to authenticate.
    NotAuthenticated,
    /// The customer has not authenticated yet: left for whoever looks at the demo.
    Waiting,
}

/// How an order must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    /// Its status.
    pub(super) status: &'static str,
    /// Why it was refused.
    pub(super) reason: Option<&'static str>,
    /// Parcels that are delivered; all money is captured if there are any, none otherwise.
    pub(super) parcels: usize,
}

/// The order in which fates come: each of the first twelve once, and a plain delivery every other time after that.
const ROUND: [Fate; 24] = [
    Fate::Delivered,
    Fate::TwoParcels,
    Fate::Declined,
    Fate::SoldOut,
    Fate::CancelledAtOnce,
    Fate::CancelledOnHold,
    Fate::Held,
    Fate::FlakyGateway,
    Fate::LostAnswers,
    Fate::SlowGateway,
    Fate::Authenticated,
    Fate::NotAuthenticated,
    Fate::Delivered,
    Fate::TwoParcels,
    Fate::Delivered,
    Fate::Declined,
    Fate::Delivered,
    Fate::SoldOut,
    Fate::Delivered,
    Fate::CancelledAtOnce,
    Fate::Delivered,
    Fate::Held,
    Fate::Delivered,
    Fate::Delivered,
];

impl Fate {
    /// In words.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::TwoParcels => "delivered in two parcels",
            Self::Declined => "card declined",
            Self::SoldOut => "out of stock",
            Self::CancelledAtOnce => "cancelled at once",
            Self::CancelledOnHold => "held, then cancelled",
            Self::Held => "held, released, delivered",
            Self::FlakyGateway => "gateway fails twice",
            Self::LostAnswers => "gateway loses answers",
            Self::SlowGateway => "gateway is slow",
            Self::Authenticated => "customer authenticates",
            Self::NotAuthenticated => "authentication fails",
            Self::Waiting => "waits for its customer",
        }
    }

    /// How it must end; `None`: it is left open.
    pub(super) fn ending(self) -> Option<Ending> {
        let delivered = |parcels| Some(Ending { status: "completed", reason: None, parcels });
        let rejected = |reason| Some(Ending { status: "rejected", reason: Some(reason), parcels: 0 });
        match self {
            Self::Delivered | Self::Held | Self::FlakyGateway | Self::LostAnswers | Self::SlowGateway | Self::Authenticated => {
                delivered(1)
            }
            Self::TwoParcels => delivered(2),
            Self::Declined | Self::NotAuthenticated => rejected("payment_declined"),
            Self::SoldOut => rejected("out_of_stock"),
            Self::CancelledAtOnce | Self::CancelledOnHold => Some(Ending { status: "cancelled", reason: None, parcels: 0 }),
            Self::Waiting => None,
        }
    }

    fn payment_method(self) -> &'static str {
        match self {
            Self::Declined => "pm_card_chargeDeclined",
            Self::FlakyGateway => "pm_sandbox_flaky",
            Self::LostAnswers => "pm_sandbox_commit_then_drop",
            Self::SlowGateway => "pm_sandbox_slow",
            Self::Authenticated | Self::NotAuthenticated | Self::Waiting => "pm_card_authenticationRequired",
            _ => "pm_card_visa",
        }
    }

    /// What is ordered. More of what is sold out than anybody could have received meanwhile.
    fn goods(self, number: usize) -> Vec<(Article, u32)> {
        match self {
            Self::TwoParcels => vec![(TEE, 1), (LAMP, 1)],
            Self::SoldOut => vec![(VASE, 10_000)],
            _ => match number % 3 {
                0 => vec![(MUG, 2), (TEE, 1)],
                1 => vec![(BOOK, 3)],
                _ => vec![(LAMP, 1)],
            },
        }
    }
}

/// One order of the demo.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// From 1.
    pub(super) number: usize,
    /// What must become of it.
    pub(super) fate: Fate,
    goods: Vec<(Article, u32)>,
}

/// `count` orders of every fate; with `stay` the last of at least two is left waiting for its customer.
pub(super) fn jobs(count: usize, stay: bool) -> Vec<Job> {
    (0..count)
        .map(|at| {
            let fate = if stay && count > 1 && at + 1 == count { Fate::Waiting } else { ROUND[at % ROUND.len()] };
            Job { number: at + 1, fate, goods: fate.goods(at) }
        })
        .collect()
}

/// Units that the orders need, by article.
pub(super) fn needed(jobs: &[Job]) -> BTreeMap<&'static str, u64> {
    let mut needed = BTreeMap::new();
    for (article, quantity) in jobs.iter().flat_map(|j| &j.goods).filter(|(a, _)| a.location.is_some()) {
        *needed.entry(article.sku).or_default() += u64::from(*quantity);
    }
    needed
}

impl Job {
    /// The body of its order. Customers are sample data: reserved domain, numbers set aside for film and television.
    pub(super) fn body(&self, run: &str) -> Value {
        let number = self.number;
        let name = format!("Sample Customer {number}");
        let mut customer = json!({
            "id": format!("demo-{number}"), "name": name, "email": format!("customer{number}@example.com"),
        });
        if number.is_multiple_of(2) {
            customer["phone"] = json!(format!("+493023125{:03}", number % 1_000));
        }
        let lines: Vec<Value> = self.goods.iter().map(|(a, q)| json!({"sku": a.sku, "quantity": q})).collect();
        json!({
            "customer": customer,
            "currency": "EUR",
            "lines": lines,
            "ship_to": {
                "name": name, "line1": format!("Sample Street {number}"), "city": "Berlin", "postal_code": "10115", "country": "DE",
            },
            "payment": {"method": self.fate.payment_method()},
            "reference": run,
            "channel": "demo",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_demo_of_the_usual_size_has_every_fate() {
        let fates: BTreeSet<Fate> = jobs(24, false).iter().map(|j| j.fate).collect();
        assert_eq!(fates.len(), 12, "{fates:?}");
        assert!(jobs(50, false).iter().all(|j| j.fate.ending().is_some()), "with --exit every order ends");
        assert_eq!(jobs(24, true).iter().filter(|j| j.fate == Fate::Waiting).count(), 1);
        assert_eq!(jobs(1, true)[0].fate, Fate::Delivered);
    }

    #[test]
    fn parcels_follow_from_where_the_goods_are() {
        for job in jobs(24, false) {
            let Some(ending) = job.fate.ending().filter(|e| e.parcels > 0) else { continue };
            let places: BTreeSet<_> = job.goods.iter().map(|(a, _)| a.location.unwrap()).collect();
            assert_eq!(places.len(), ending.parcels, "{:?}", job.fate);
        }
    }

    #[test]
    fn the_sold_out_article_is_never_stocked() {
        let needed = needed(&jobs(24, false));
        assert!(!needed.contains_key("DEMO-VASE") && needed["DEMO-LAMP"] > 0, "{needed:?}");
    }
}
