//! What the demo orders, and how each order must end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// An article that only the demo sells, so that a shop's own data never gets in its way.
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
    /// The one place that has it.
    pub(super) location: &'static str,
    /// Where its units come from.
    pub(super) supply: Supply,
}

/// Where an article's units come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    /// On the shelf before the first order.
    Stocked,
    /// There is none and none comes.
    Never,
    /// Each order's come in a delivery of its own. So that no order gets what another one waits for, each has an article of its own.
    Delivered,
}

const MUG: Article = article("DEMO-MUG", "Enamel mug", 1_290, 240, "berlin");
const TEE: Article = article("DEMO-TEE", "Cotton T-shirt", 2_490, 180, "berlin");
const LAMP: Article = article("DEMO-LAMP", "Desk lamp", 5_900, 1_400, "hamburg");
const BOOK: Article = article("DEMO-BOOK", "Notebook, A5", 850, 210, "leipzig");
const CHAIR: Article = article("DEMO-CHAIR", "Lounge chair", 129_000, 14_000, "hamburg");
const VASE: Article = Article { supply: Supply::Never, ..article("DEMO-VASE", "Vase, sold out", 3_400, 900, "leipzig") };
const CLOCK: Article =
    Article { supply: Supply::Never, ..article("DEMO-CLOCK", "Wall clock, never delivered", 7_900, 800, "hamburg") };
/// What comes in deliveries.
pub(super) const LANTERN: Article =
    Article { supply: Supply::Delivered, ..article("DEMO-LANTERN", "Lantern, in the next delivery", 4_500, 1_100, "leipzig") };

/// Everything the demo sells under one SKU.
pub(super) const ARTICLES: [Article; 7] = [MUG, TEE, LAMP, BOOK, CHAIR, VASE, CLOCK];

/// Orders of at least so many cents are reviewed in the demo's shop: only the one with the chair is.
pub(super) const REVIEWED_FROM: i64 = 100_000;

/// The channel of orders whose parcels the simulated warehouse leaves to the demo's actors.
pub(super) const LOST_CHANNEL: &str = crate::simulate::LEFT_ALONE;

const fn article(sku: &'static str, name: &'static str, price: i64, weight_g: u32, location: &'static str) -> Article {
    Article { sku, name, price, weight_g, location, supply: Supply::Stocked }
}

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
    /// Waits for its goods, which a receipt brings.
    WaitsForStock,
    /// What is there ships at once, the rest after a receipt.
    RestFollows,
    /// The goods do not come: the customer takes what is there.
    CustomerDecides,
    /// Waits for goods, and is cancelled meanwhile.
    CancelledWaiting,
    /// Edited while it is held.
    Edited,
    /// Sent elsewhere while it is held.
    Moved,
    /// A rule stops it, a person lets it go on.
    Approved,
    /// A rule stops it, a person refuses it.
    Refused,
    /// Delivered, then paid back in part.
    PaidBack,
    /// Delivered, then sent back in part.
    SentBack,
    /// The parcel is lost: a person gives the money back and closes it.
    Lost,
    /// The customer has not authenticated yet: left for whoever looks at the demo.
    Waiting,
}

/// How much of what was taken went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refunded {
    /// Nothing.
    Nothing,
    /// More than nothing and less than all.
    Part,
    /// All.
    All,
}

/// How an order must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    /// Its status.
    pub(super) status: &'static str,
    /// Why it was refused.
    pub(super) reason: Option<&'static str>,
    /// Parcels that are delivered.
    pub(super) parcels: usize,
    /// Whether all that it costs is captured, or nothing.
    pub(super) paid: bool,
    /// What went back.
    pub(super) refunded: Refunded,
}

/// The order in which fates come: each once, and one plain delivery.
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
    Fate::WaitsForStock,
    Fate::RestFollows,
    Fate::CustomerDecides,
    Fate::CancelledWaiting,
    Fate::Edited,
    Fate::Moved,
    Fate::Approved,
    Fate::Refused,
    Fate::PaidBack,
    Fate::SentBack,
    Fate::Lost,
    Fate::Delivered,
];

impl Fate {
    /// Bends of an order's life, in the order in which the tour shows them, and the fact without which it did not take the bend.
    pub(super) const BENDS: [(Self, &'static str); 11] = [
        (Self::WaitsForStock, "stock.arrived"),
        (Self::RestFollows, "stock.arrived"),
        (Self::CustomerDecides, "order.question_decided"),
        (Self::CancelledWaiting, "order.backordered"),
        (Self::Edited, "order.edited"),
        (Self::Moved, "order.address_changed"),
        (Self::Approved, "order.reviewed"),
        (Self::Refused, "order.reviewed"),
        (Self::PaidBack, "refund.completed"),
        (Self::SentBack, "return.completed"),
        (Self::Lost, "review.resolved"),
    ];

    /// The fact that shows that the order took its bend, if it was to take one.
    pub(super) fn bend(self) -> Option<&'static str> {
        Self::BENDS.iter().find(|(fate, _)| *fate == self).map(|(_, fact)| *fact)
    }

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
            Self::WaitsForStock => "waits for a receipt",
            Self::RestFollows => "the rest follows",
            Self::CustomerDecides => "customer takes what is there",
            Self::CancelledWaiting => "cancelled while it waits",
            Self::Edited => "edited while held",
            Self::Moved => "sent elsewhere while held",
            Self::Approved => "reviewed and approved",
            Self::Refused => "reviewed and rejected",
            Self::PaidBack => "paid back in part",
            Self::SentBack => "sent back in part",
            Self::Lost => "lost, refunded, closed",
            Self::Waiting => "waits for its customer",
        }
    }

    /// How it must end; `None`: it is left open.
    pub(super) fn ending(self) -> Option<Ending> {
        let none = Ending { status: "cancelled", reason: None, parcels: 0, paid: false, refunded: Refunded::Nothing };
        let delivered = |parcels| Ending { status: "completed", parcels, paid: true, ..none };
        let rejected = |reason| Ending { status: "rejected", reason: Some(reason), ..none };
        Some(match self {
            Self::Delivered | Self::Held | Self::FlakyGateway | Self::LostAnswers | Self::SlowGateway => delivered(1),
            Self::Authenticated | Self::WaitsForStock | Self::Edited | Self::Moved | Self::Approved => delivered(1),
            Self::TwoParcels | Self::RestFollows => delivered(2),
            Self::Declined | Self::NotAuthenticated => rejected("payment_declined"),
            Self::SoldOut => rejected("out_of_stock"),
            Self::Refused => rejected("review_rejected"),
            Self::CancelledAtOnce | Self::CancelledOnHold | Self::CancelledWaiting => none,
            Self::CustomerDecides => Ending { status: "partially_fulfilled", ..delivered(1) },
            Self::PaidBack | Self::SentBack => Ending { refunded: Refunded::Part, ..delivered(1) },
            Self::Lost => Ending { status: "partially_fulfilled", refunded: Refunded::All, ..delivered(0) },
            Self::Waiting => return None,
        })
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

    /// What is ordered.
    fn goods(self, number: usize) -> Vec<(Article, u32)> {
        match self {
            Self::TwoParcels => vec![(TEE, 1), (LAMP, 1)],
            Self::SoldOut => vec![(VASE, 2)],
            Self::WaitsForStock => vec![(LANTERN, 2)],
            Self::RestFollows => vec![(MUG, 2), (LANTERN, 1)],
            Self::CustomerDecides => vec![(TEE, 1), (CLOCK, 1)],
            Self::CancelledWaiting => vec![(CLOCK, 1)],
            Self::Edited => vec![(BOOK, 2)],
            Self::Approved | Self::Refused => vec![(CHAIR, 1)],
            Self::PaidBack | Self::SentBack => vec![(MUG, 3)],
            _ => match number % 3 {
                0 => vec![(MUG, 2), (TEE, 1)],
                1 => vec![(BOOK, 3)],
                _ => vec![(LAMP, 1)],
            },
        }
    }

    /// What the order consists of once it was edited.
    fn edited(self) -> Vec<(Article, u32)> {
        if self == Self::Edited { vec![(BOOK, 4)] } else { Vec::new() }
    }

    /// What happens when stock is short.
    fn on_shortage(self) -> Option<Value> {
        match self {
            Self::WaitsForStock | Self::CancelledWaiting => Some(json!({"policy": "wait"})),
            Self::RestFollows => Some(json!({"policy": "ship_available"})),
            Self::CustomerDecides => Some(json!({"policy": "wait", "max": "PT1S"})),
            _ => None,
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

/// `count` orders of every fate; with `stay` the last of at least two is left waiting for its customer. Without the demo's own rule
/// for `review` nobody can tell which orders a person looks at.
pub(super) fn jobs(count: usize, stay: bool, review: bool) -> Vec<Job> {
    (0..count)
        .map(|at| {
            let fate = match ROUND[at % ROUND.len()] {
                _ if stay && count > 1 && at + 1 == count => Fate::Waiting,
                Fate::Approved | Fate::Refused if !review => Fate::Delivered,
                fate => fate,
            };
            Job { number: at + 1, fate, goods: fate.goods(at) }
        })
        .collect()
}

/// Units that must be on the shelves for the orders, by article.
pub(super) fn needed(jobs: &[Job]) -> BTreeMap<&'static str, u64> {
    let mut needed = BTreeMap::new();
    let edited = jobs.iter().flat_map(|j| j.fate.edited());
    for (article, quantity) in
        jobs.iter().flat_map(|j| j.goods.clone()).chain(edited).filter(|(a, _)| a.supply == Supply::Stocked)
    {
        *needed.entry(article.sku).or_default() += u64::from(quantity);
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
        let mut body = json!({
            "customer": customer,
            "currency": "EUR",
            "lines": self.lines(&self.goods, run),
            "ship_to": {
                "name": name, "line1": format!("Sample Street {number}"), "city": "Berlin", "postal_code": "10115", "country": "DE",
            },
            "payment": {"method": self.fate.payment_method()},
            "reference": run,
            "channel": if self.fate == Fate::Lost { LOST_CHANNEL } else { "demo" },
        });
        if let Some(policy) = self.fate.on_shortage() {
            body["on_shortage"] = policy;
        }
        body
    }

    /// The body of the edit that its fate asks for.
    pub(super) fn edit(&self, run: &str) -> Value {
        json!({"lines": self.lines(&self.fate.edited(), run), "reason": "two more, please"})
    }

    fn lines(&self, goods: &[(Article, u32)], run: &str) -> Vec<Value> {
        goods.iter().map(|(a, q)| json!({"sku": self.sku(a, run), "quantity": q})).collect()
    }

    fn sku(&self, article: &Article, run: &str) -> String {
        match article.supply {
            Supply::Stocked | Supply::Never => article.sku.to_owned(),
            Supply::Delivered => format!("{}-{run}-{}", article.sku, self.number),
        }
    }

    /// The SKUs that nobody orders but this order.
    pub(super) fn own(&self, run: &str) -> impl Iterator<Item = (String, &Article)> {
        let own = self.goods.iter().filter(|(a, _)| a.supply == Supply::Delivered);
        own.map(move |(a, _)| (self.sku(a, run), a))
    }

    /// One unit of what was ordered first.
    pub(super) fn one(&self) -> Value {
        json!([{"sku": self.goods[0].0.sku, "quantity": 1}])
    }

    /// Where what was ordered first belongs.
    pub(super) fn home(&self) -> &'static str {
        self.goods[0].0.location
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_demo_of_the_usual_size_has_every_fate() {
        let fates: BTreeSet<Fate> = jobs(24, false, true).iter().map(|j| j.fate).collect();
        assert_eq!(fates.len(), 23, "{fates:?}");
        assert!(Fate::BENDS.iter().all(|(bend, _)| fates.contains(bend)));
        assert!(jobs(50, false, true).iter().all(|j| j.fate.ending().is_some()), "with --exit every order ends");
        let left: Vec<Fate> = jobs(24, true, true).iter().map(|j| j.fate).collect();
        assert_eq!(left.iter().filter(|f| **f == Fate::Waiting).count(), 1);
        assert!(Fate::BENDS.iter().all(|(bend, _)| left.contains(bend)), "the one that is left takes no bend's place");
        assert_eq!(jobs(1, true, true)[0].fate, Fate::Delivered);
        assert!(jobs(24, false, false).iter().all(|j| !matches!(j.fate, Fate::Approved | Fate::Refused)));
    }

    #[test]
    fn parcels_follow_from_where_the_goods_are() {
        for job in jobs(24, false, true) {
            let Some(ending) = job.fate.ending().filter(|e| e.status == "completed") else { continue };
            let places: BTreeSet<_> = job.goods.iter().map(|(a, _)| a.location).collect();
            assert_eq!(places.len(), ending.parcels, "{:?}", job.fate);
        }
    }

    #[test]
    fn no_order_is_delivered_what_another_one_waits_for() {
        let jobs = jobs(48, false, true);
        let own: Vec<String> = jobs.iter().flat_map(|j| j.own("run").map(|(sku, _)| sku)).collect();
        assert_eq!(own.len(), 4, "{own:?}");
        assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), own.len(), "{own:?}");
        for job in &jobs {
            let ordered = job.body("run")["lines"].to_string();
            assert!(job.own("run").all(|(sku, _)| ordered.contains(&format!("\"{sku}\""))), "{ordered}");
            assert_eq!(ordered.contains(LANTERN.sku), job.own("run").next().is_some(), "{ordered}");
        }
    }

    #[test]
    fn what_is_scarce_is_never_stocked_and_what_is_reviewed_is_dear() {
        let jobs = jobs(24, false, true);
        let needed = needed(&jobs);
        for article in ARTICLES {
            assert!(!(article.supply != Supply::Stocked && needed.contains_key(article.sku)), "{needed:?}");
        }
        assert!(needed["DEMO-BOOK"] >= 6, "the edit is stocked for: {needed:?}");
        for job in jobs {
            let worth: i64 = job.goods.iter().map(|(a, q)| a.price * i64::from(*q)).sum();
            let reviewed = matches!(job.fate, Fate::Approved | Fate::Refused);
            assert!(if reviewed { worth >= REVIEWED_FROM } else { worth * 3 / 2 + 500 < REVIEWED_FROM }, "{:?}", job.fate);
        }
    }
}
