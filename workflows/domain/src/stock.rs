//! Where an order's goods come from: the allocation planner.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Location, Sku};

pub mod site;

/// Some quantity of one article.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quantity {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
}

/// The part of an order that one location ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The place that gives the goods.
    pub location: Location,
    /// What it gives, sorted by SKU.
    pub lines: Vec<Quantity>,
}

/// Which places give first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// As few shipments as possible; ties go to the place that ranks first.
    #[default]
    FewestShipments,
    /// The places nearest to the customer.
    Nearest,
    /// The places in the shop's own order.
    Priority,
}

impl Strategy {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FewestShipments => "fewest_shipments",
            Self::Nearest => "nearest",
            Self::Priority => "priority",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::FewestShipments, Self::Nearest, Self::Priority].into_iter().find(|s| s.as_str() == name)
    }
}

/// What a location has to give: (location, sku) → units that nobody holds.
pub type Supply = BTreeMap<(Location, Sku), u32>;

/// What is wanted, the same SKU on several lines counted together.
pub fn demand<'a>(lines: impl IntoIterator<Item = (&'a Sku, u32)>) -> BTreeMap<Sku, u32> {
    let mut wanted: BTreeMap<Sku, u32> = BTreeMap::new();
    for (sku, quantity) in lines {
        let sum = wanted.entry(sku.clone()).or_default();
        *sum = sum.saturating_add(quantity);
    }
    wanted
}

/// Above this many useful locations the search for the fewest shipments is greedy instead of exact (2^12 subsets).
const EXACT_LOCATIONS_MAX: usize = 12;

/// In which order places give, and whether fewer shipments matter more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    strategy: Strategy,
    places: Vec<Location>,
}

impl Ranking {
    /// These places in this order; others follow by name.
    pub fn new(strategy: Strategy, places: Vec<Location>) -> Self {
        Self { strategy, places }
    }

    /// All places by name.
    pub fn by_name(strategy: Strategy) -> Self {
        Self::new(strategy, Vec::new())
    }

    /// The same, with these places before all others: where an order has something already, more of it costs no further shipment.
    pub fn first(self, favourites: impl IntoIterator<Item = Location>) -> Self {
        Self { strategy: self.strategy, places: favourites.into_iter().chain(self.places).collect() }
    }

    /// Places in the order in which they give.
    pub fn sorted<'a>(&self, places: impl IntoIterator<Item = &'a Location>) -> Vec<&'a Location> {
        let mut ranks: BTreeMap<&Location, usize> = BTreeMap::new();
        for (rank, place) in self.places.iter().enumerate() {
            ranks.entry(place).or_insert(rank);
        }
        let mut sorted: Vec<&Location> = places.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        // stable: places without a rank stay in the order of their names
        sorted.sort_by_key(|place| ranks.get(place).copied().unwrap_or(usize::MAX));
        sorted
    }
}

/// Units of one article that all places have together.
fn total(supply: &Supply, sku: &Sku) -> u64 {
    supply.iter().filter(|((_, s), _)| s == sku).map(|(_, have)| u64::from(*have)).sum()
}

/// Plans which places give what, so that `wanted` is covered from `supply` as the ranking says; sorted by place. Equal input gives
/// the equal plan. Errors: the SKUs that all places together cannot cover.
pub fn plan(wanted: &BTreeMap<Sku, u32>, supply: &Supply, ranking: &Ranking) -> Result<Vec<Allocation>, Vec<Sku>> {
    let short: Vec<Sku> =
        wanted.iter().filter(|(sku, quantity)| total(supply, sku) < u64::from(**quantity)).map(|(sku, _)| sku.clone()).collect();
    if !short.is_empty() {
        return Err(short);
    }
    let useful = supply
        .iter()
        .filter(|((_, sku), have)| **have > 0 && wanted.get(sku).is_some_and(|w| *w > 0))
        .map(|((location, _), _)| location);
    let places = ranking.sorted(useful);
    let chosen = match ranking.strategy {
        Strategy::Nearest | Strategy::Priority => places,
        Strategy::FewestShipments if places.len() <= EXACT_LOCATIONS_MAX => fewest(wanted, supply, &places),
        Strategy::FewestShipments => greedy(wanted, supply, &places),
    };
    let mut plan = allocate(wanted, supply, &chosen);
    plan.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(plan)
}

/// Plans as much of `wanted` as there is, and says what lacks.
pub fn plan_available(wanted: &BTreeMap<Sku, u32>, supply: &Supply, ranking: &Ranking) -> (Vec<Allocation>, BTreeMap<Sku, u32>) {
    let (mut covered, mut missing) = (BTreeMap::new(), BTreeMap::new());
    for (sku, quantity) in wanted {
        let there = u32::try_from(total(supply, sku)).unwrap_or(u32::MAX).min(*quantity);
        covered.insert(sku.clone(), there);
        if there < *quantity {
            missing.insert(sku.clone(), *quantity - there);
        }
    }
    (plan(&covered, supply, ranking).unwrap_or_default(), missing)
}

/// The smallest covering set of places; among equals the one whose places rank first.
fn fewest<'a>(wanted: &BTreeMap<Sku, u32>, supply: &Supply, places: &[&'a Location]) -> Vec<&'a Location> {
    let pick = |mask: u32| places.iter().enumerate().filter(move |(at, _)| mask & (1 << at) != 0).map(|(_, p)| *p);
    let mut masks: Vec<u32> = (0..1u32 << places.len()).collect();
    // the reversed bits order subsets of one size by their first places
    masks.sort_by_key(|mask| (mask.count_ones(), std::cmp::Reverse(mask.reverse_bits())));
    let covering = masks.into_iter().find(|mask| {
        wanted
            .iter()
            .all(|(sku, quantity)| pick(*mask).map(|p| u64::from(have(supply, p, sku))).sum::<u64>() >= u64::from(*quantity))
    });
    covering.map(|mask| pick(mask).collect()).unwrap_or_default()
}

/// Takes the place that covers most of what is still missing, again and again; the first-ranked of equals.
fn greedy<'a>(wanted: &BTreeMap<Sku, u32>, supply: &Supply, places: &[&'a Location]) -> Vec<&'a Location> {
    let mut missing = wanted.clone();
    let mut open: Vec<&Location> = places.to_vec();
    let mut chosen: Vec<&Location> = Vec::new();
    while missing.values().any(|quantity| *quantity > 0) {
        let gain = |place: &Location| missing.iter().map(|(sku, q)| u64::from(have(supply, place, sku).min(*q))).sum::<u64>();
        let best = open.iter().enumerate().max_by_key(|(rank, place)| (gain(place), std::cmp::Reverse(*rank)));
        let Some((rank, best)) = best.map(|(rank, place)| (rank, *place)).filter(|(_, place)| gain(place) > 0) else { break };
        for (sku, quantity) in &mut missing {
            *quantity -= have(supply, best, sku).min(*quantity);
        }
        open.remove(rank);
        chosen.push(best);
    }
    places.iter().filter(|place| chosen.contains(place)).copied().collect()
}

fn allocate(wanted: &BTreeMap<Sku, u32>, supply: &Supply, chosen: &[&Location]) -> Vec<Allocation> {
    let mut missing = wanted.clone();
    let mut plan = Vec::new();
    for place in chosen {
        let mut lines = Vec::new();
        for (sku, quantity) in &mut missing {
            let take = have(supply, place, sku).min(*quantity);
            if take > 0 {
                *quantity -= take;
                lines.push(Quantity { sku: sku.clone(), quantity: take });
            }
        }
        if !lines.is_empty() {
            plan.push(Allocation { location: (*place).clone(), lines });
        }
    }
    plan
}

fn have(supply: &Supply, place: &Location, sku: &Sku) -> u32 {
    supply.get(&(place.clone(), sku.clone())).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Strategy;
    use super::*;
    use proptest::prelude::*;

    fn sku(n: usize) -> Sku {
        Sku::parse(format!("sku-{n}")).unwrap()
    }
    fn place(n: usize) -> Location {
        Location::parse(format!("loc-{n:02}")).unwrap()
    }

    fn fewest() -> Ranking {
        Ranking::by_name(Strategy::FewestShipments)
    }

    #[test]
    fn one_place_beats_two() {
        let wanted = demand([(&sku(1), 2), (&sku(2), 1)]);
        let supply =
            Supply::from([((place(1), sku(1)), 5), ((place(2), sku(2)), 5), ((place(3), sku(1)), 2), ((place(3), sku(2)), 1)]);
        let plan = plan(&wanted, &supply, &fewest()).unwrap();
        assert_eq!(plan.len(), 1);
        assert_eq!(plan[0].location, place(3));
    }

    #[test]
    fn ties_go_to_the_first_place() {
        let supply = Supply::from([((place(1), sku(1)), 5), ((place(2), sku(1)), 5)]);
        let wanted = demand([(&sku(1), 5)]);
        assert_eq!(plan(&wanted, &supply, &fewest()).unwrap()[0].location, place(1));
        assert_eq!(plan(&wanted, &supply, &fewest().first([place(2)])).unwrap()[0].location, place(2));
        let many: Supply = (1..=20).map(|n| ((place(n), sku(1)), 5)).collect();
        assert_eq!(plan(&wanted, &many, &fewest().first([place(7)])).unwrap()[0].location, place(7), "the greedy search too");
    }

    #[test]
    fn ranked_places_give_in_their_order() {
        let supply = Supply::from([((place(1), sku(1)), 5), ((place(2), sku(1)), 2), ((place(3), sku(1)), 2)]);
        let ranking = Ranking::new(Strategy::Priority, vec![place(3), place(2)]);
        let made = plan(&demand([(&sku(1), 5)]), &supply, &ranking).unwrap();
        let given: Vec<_> = made.iter().map(|a| (a.location.clone(), a.lines[0].quantity)).collect();
        assert_eq!(given, [(place(1), 1), (place(2), 2), (place(3), 2)]);
    }

    #[test]
    fn the_same_sku_twice_counts_together() {
        let supply = Supply::from([((place(1), sku(1)), 3)]);
        assert_eq!(plan(&demand([(&sku(1), 2), (&sku(1), 2)]), &supply, &fewest()), Err(vec![sku(1)]));
    }

    proptest! {
        #[test]
        fn plans_cover_exactly_and_never_more_than_there_is(
            wanted in prop::collection::btree_map(0usize..4, 1u32..20, 1..4),
            supply in prop::collection::btree_map((0usize..16, 0usize..4), 0u32..15, 0..40),
            ranks in prop::collection::vec(0usize..16, 0..16),
            strategy in prop::sample::select(vec![Strategy::FewestShipments, Strategy::Nearest, Strategy::Priority]),
        ) {
            let wanted: BTreeMap<Sku, u32> = wanted.into_iter().map(|(s, q)| (sku(s), q)).collect();
            let supply: Supply = supply.into_iter().map(|((l, s), q)| ((place(l), sku(s)), q)).collect();
            let ranking = Ranking::new(strategy, ranks.into_iter().map(place).collect());
            let given = |made: &[Allocation], s: &Sku| {
                made.iter().flat_map(|a| &a.lines).filter(|l| l.sku == *s).map(|l| l.quantity).sum::<u32>()
            };
            let (available, missing) = plan_available(&wanted, &supply, &ranking);
            for (s, q) in &wanted {
                let there = (total(&supply, s) as u32).min(*q);
                prop_assert_eq!(given(&available, s), there);
                prop_assert_eq!(missing.get(s).copied().unwrap_or(0), q - there);
            }
            for a in &available { for l in &a.lines {
                prop_assert!(l.quantity > 0 && l.quantity <= supply[&(a.location.clone(), l.sku.clone())]);
            } }
            match plan(&wanted, &supply, &ranking) {
                Err(short) => for s in short { prop_assert!(total(&supply, &s) < u64::from(wanted[&s])); },
                Ok(made) => {
                    for (s, q) in &wanted {
                        prop_assert_eq!(given(&made, s), *q);
                    }
                    prop_assert_eq!(&available, &made);
                    prop_assert_eq!(plan(&wanted, &supply, &ranking), Ok(made));
                }
            }
        }
    }
}
