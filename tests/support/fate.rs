//! Random fates: what one order is, and what happens to it, drawn from one number.

use std::time::Duration;

use oms_contract::start::{OrderStart, Policies};
use oms_domain::pricing::PriceRules;
use oms_domain::returning::Condition;
use oms_domain::review::{Resolution, ReviewDecision};
use oms_domain::risk::RiskRules;
use oms_domain::shipment::ScanType;
use oms_domain::shortage::{Decision, OnShortage, ShortagePolicy};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Articles by SKU: what is ordered of each.
pub type Lines = Vec<(&'static str, u32)>;

/// What the world's orders are priced by.
pub const RULES: PriceRules = PriceRules { shipping_minor: 490, tax_bps: 1900 };
/// What never runs out, and in which places it lies.
pub const PLENTY: [(&str, &[&str], i64); 3] =
    [("mug", &["berlin", "hamburg"], 1999), ("lamp", &["hamburg"], 5000), ("bowl", &["berlin"], 700)];
/// What runs out.
pub const SCARCE: [(&str, i64); 6] =
    [("rare-0", 3100), ("rare-1", 3100), ("rare-2", 1), ("rare-3", 4550), ("rare-4", 999), ("rare-5", 3100)];

/// An article's price in cents.
pub fn price(sku: &str) -> i64 {
    let plenty = PLENTY.iter().map(|(name, _, price)| (*name, *price));
    plenty.chain(SCARCE).find(|(name, _)| *name == sku).map(|(_, price)| price).unwrap()
}

/// How the customer pays, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purse {
    Good,
    Flaky,
    Drops,
    Declined,
    /// The customer is asked: passes, fails, or never answers.
    Asked(Option<bool>),
}

impl Purse {
    pub fn method(self) -> &'static str {
        match self {
            Self::Good => "pm_card_visa",
            Self::Flaky => "pm_sandbox_flaky",
            Self::Drops => "pm_sandbox_commit_then_drop",
            Self::Declined => "pm_card_chargeDeclined",
            Self::Asked(_) => "pm_card_authenticationRequired",
        }
    }
}

/// Through which door a cancel comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Update,
    Signal,
    Native,
}

/// How far an order must have come before the next act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Confirmed,
    Booked,
    Departed,
}

/// Something that happens to the order.
#[derive(Debug, Clone)]
pub enum Act {
    Pause(Duration),
    Await(Stage),
    Cancel(Door),
    Hold {
        ends: Option<Duration>,
    },
    Release,
    ReleaseUnknown,
    Review(ReviewDecision),
    Address,
    Edit {
        lines: Lines,
        stale: bool,
    },
    Decide(Decision),
    Authenticate(bool),
    Receive(&'static str, i64),
    Report {
        parcel: u32,
        kind: ScanType,
        event: u32,
    },
    Garbage {
        signal: &'static str,
        payload: usize,
    },
    Tap(&'static str),
    Resolve {
        action: Resolution,
        referenced: bool,
    },
    /// Cents are wanted back.
    Refund(i64),
}

/// What the customer wants once the order has ended.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    /// A part of the money that has not gone back.
    Money { permille: i64 },
    /// To send units back; what the shop finds, or none if it says no.
    Goods { quantity: u32, verdict: Option<Condition> },
}

/// What becomes of a parcel once nothing else happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journey {
    Arrives,
    ArrivesUnannounced,
    TurnsUp,
    Lost(Resolution),
    ComesBack(Resolution),
}

/// A whole life.
#[derive(Debug, Clone)]
pub struct Fate {
    pub seed: u64,
    pub purse: Purse,
    pub lines: Lines,
    pub shortage: OnShortage,
    /// Goods that are missing come in the end.
    pub patient: bool,
    /// What the customer says, if anything.
    pub says: Option<Decision>,
    /// Looked at by a person; what that person says, if anything.
    pub review: Option<Option<ReviewDecision>>,
    pub policies: Policies,
    pub reservation: Duration,
    pub window: Duration,
    pub acts: Vec<Act>,
    pub journeys: Vec<Journey>,
    pub afterwards: Vec<Wish>,
}

const HOUR: Duration = Duration::from_secs(3_600);
const SIGNALS: [&str; 9] =
    ["cancel", "place_hold", "release_hold", "shipment_event", "review", "change_address", "edit", "decide", "resolve"];
/// What no signal can read.
pub const GARBAGE: [&[u8]; 6] = [b"{\"x\":1}", b"not json", b"", b"[]", b"\"word\"", b"{\"reason\":\"\"}"];

impl Fate {
    /// An order to which nothing happens.
    pub fn plain() -> Self {
        Self {
            seed: 0,
            purse: Purse::Good,
            lines: vec![("mug", 2)],
            shortage: OnShortage::default(),
            patient: false,
            says: None,
            review: None,
            policies: Policies::default(),
            reservation: HOUR,
            window: Duration::ZERO,
            acts: Vec::new(),
            journeys: vec![Journey::Arrives],
            afterwards: Vec::new(),
        }
    }

    pub fn draw(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let dice = &mut dice;
        let purse = match dice.random_range(0..20) {
            0..10 => Purse::Good,
            10..12 => Purse::Flaky,
            12..15 => Purse::Drops,
            15..17 => Purse::Declined,
            _ => Purse::Asked(*pick(dice, &[Some(true), Some(true), Some(false), None])),
        };
        let policy =
            *pick(dice, &[ShortagePolicy::Reject, ShortagePolicy::Reject, ShortagePolicy::Wait, ShortagePolicy::ShipAvailable]);
        let patient = dice.random_bool(0.5);
        let max = (!patient || dice.random_bool(0.5)).then(|| millis(dice, 50..400));
        let decisions = [Decision::Wait, Decision::ShipAvailable, Decision::Cancel];
        let default = if patient { *pick(dice, &decisions) } else { *pick(dice, &decisions[1..]) };
        let says = dice.random_bool(0.5).then(|| if patient { *pick(dice, &decisions) } else { *pick(dice, &decisions[1..]) });
        let verdicts = [ReviewDecision::Approve, ReviewDecision::Approve, ReviewDecision::Reject];
        let review = dice.random_bool(0.2).then(|| dice.random_bool(0.7).then(|| *pick(dice, &verdicts)));
        let acts = match dice.random_range(0..10) {
            0..3 => 0,
            3..8 => dice.random_range(1..6),
            _ => dice.random_range(6..14),
        };
        Self {
            seed,
            purse,
            lines: lines(dice),
            shortage: OnShortage { policy, max },
            patient,
            says,
            review,
            policies: Policies { review: *pick(dice, &verdicts), shortage: default, ..Policies::default() },
            reservation: if dice.random_bool(0.1) { millis(dice, 3_000..6_000) } else { HOUR },
            window: if dice.random_bool(0.4) { millis(dice, 50..600) } else { Duration::ZERO },
            acts: (0..acts).flat_map(|_| [Act::Pause(millis(dice, 0..120)), act(dice)]).collect(),
            journeys: (0..3).map(|_| journey(dice)).collect(),
            afterwards: (0..dice.random_range(0..4u32).saturating_sub(1)).map(|_| wish(dice)).collect(),
        }
    }

    /// What the order's run is started with.
    pub fn terms(&self, start: &mut OrderStart) {
        let soon = Duration::from_millis(400);
        let deadlines = &mut start.deadlines;
        deadlines.reservation = self.reservation;
        deadlines.change_window = self.window;
        deadlines.payment_action = if self.purse == Purse::Asked(None) { soon } else { HOUR };
        deadlines.review = if self.review == Some(None) { soon } else { HOUR };
        deadlines.decision = if self.says.is_none() { soon } else { HOUR };
        (deadlines.capture_retry, deadlines.defect_retry) = (soon, soon);
        deadlines.no_scan = Duration::from_secs(4);
        start.policies = self.policies;
        start.risk = RiskRules { amount_min: self.review.map(|_| 1), ..RiskRules::default() };
        start.patience.first = Duration::from_millis(50);
        start.patience.most = Duration::from_millis(300);
        start.patience.sql_attempt = Duration::from_secs(5);
        start.patience.gateway_attempt = Duration::from_secs(6);
    }
}

fn pick<'a, T>(dice: &mut StdRng, of: &'a [T]) -> &'a T {
    of.choose(dice).unwrap()
}

fn millis(dice: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(dice.random_range(range))
}

fn lines(dice: &mut StdRng) -> Lines {
    let mut lines = Lines::new();
    for _ in 0..dice.random_range(1..4) {
        let name = if dice.random_bool(0.2) { pick(dice, &SCARCE).0 } else { pick(dice, &PLENTY).0 };
        if lines.iter().all(|(known, _)| *known != name) {
            lines.push((name, dice.random_range(1..5)));
        }
    }
    lines
}

fn journey(dice: &mut StdRng) -> Journey {
    let ends = [Resolution::RefundAndClose, Resolution::UseExternalReference];
    match dice.random_range(0..20) {
        0..11 => Journey::Arrives,
        11..14 => Journey::ArrivesUnannounced,
        14 => Journey::TurnsUp,
        15..17 => Journey::Lost(*pick(dice, &ends)),
        _ => Journey::ComesBack(*pick(dice, &ends)),
    }
}

fn wish(dice: &mut StdRng) -> Wish {
    if dice.random_bool(0.5) {
        return Wish::Money { permille: dice.random_range(1..1_300) };
    }
    let conditions = [Condition::Restock, Condition::Restock, Condition::Scrap, Condition::Rejected];
    Wish::Goods { quantity: dice.random_range(1..4), verdict: dice.random_bool(0.8).then(|| *pick(dice, &conditions)) }
}

fn act(dice: &mut StdRng) -> Act {
    let decisions = [ReviewDecision::Approve, ReviewDecision::Approve, ReviewDecision::Reject];
    match dice.random_range(0..42) {
        0..3 => Act::Cancel(*pick(dice, &[Door::Update, Door::Update, Door::Signal, Door::Native])),
        3..6 => Act::Hold { ends: dice.random_bool(0.4).then(|| millis(dice, 300..900)) },
        6..9 => Act::Release,
        9 => Act::ReleaseUnknown,
        10 => Act::Review(*pick(dice, &decisions)),
        11..13 => Act::Address,
        13..17 => Act::Edit { lines: lines(dice), stale: dice.random_bool(0.1) },
        17 => Act::Decide(*pick(dice, &Decision::ALL)),
        18 => Act::Authenticate(dice.random_bool(0.7)),
        19 => Act::Receive(pick(dice, &SCARCE).0, dice.random_range(1..6)),
        20..27 => {
            let kinds =
                [ScanType::Picked, ScanType::Packed, ScanType::Shipped, ScanType::InTransit, ScanType::Lost, ScanType::Delivered];
            let kind = if dice.random_bool(0.05) { ScanType::ReturnedToSender } else { *pick(dice, &kinds) };
            Act::Report { parcel: dice.random_range(1..4), kind, event: dice.random_range(0..5) }
        }
        27..29 => Act::Garbage { signal: pick::<&str>(dice, &SIGNALS), payload: dice.random_range(0..GARBAGE.len()) },
        29 => Act::Tap(pick::<&str>(dice, &["nudge", "stock_arrived", "payment_news"])),
        30..32 => Act::Resolve { action: *pick(dice, &Resolution::ALL), referenced: dice.random_bool(0.7) },
        32..36 => Act::Await(Stage::Confirmed),
        36..39 => Act::Await(Stage::Booked),
        39 => Act::Await(Stage::Departed),
        _ => Act::Refund(dice.random_range(1..9_000)),
    }
}
