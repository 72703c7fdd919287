//! Where an order's goods come from: the allocation planner.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Location, Sku};

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

/// Plans the fewest shipments that cover `wanted` from `supply`; equal input gives the equal plan, ties go to the location
/// that sorts first. Errors: the SKUs that all locations together cannot cover.
pub fn plan(wanted: &BTreeMap<Sku, u32>, supply: &Supply) -> Result<Vec<Allocation>, Vec<Sku>> {
    let short: Vec<Sku> = wanted
        .iter()
        .filter(|(sku, quantity)| {
            let all: u64 = supply.iter().filter(|((_, s), _)| s == *sku).map(|(_, have)| u64::from(*have)).sum();
            all < u64::from(**quantity)
        })
        .map(|(sku, _)| sku.clone())
        .collect();
    if !short.is_empty() {
        return Err(short);
    }
    let places: Vec<&Location> = supply
        .iter()
        .filter(|((_, sku), have)| **have > 0 && wanted.get(sku).is_some_and(|w| *w > 0))
        .map(|((location, _), _)| location)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let chosen =
        if places.len() <= EXACT_LOCATIONS_MAX { fewest(wanted, supply, &places) } else { greedy(wanted, supply, &places) };
    Ok(allocate(wanted, supply, &chosen))
}

/// The smallest covering set of places; among equals the one whose places sort first.
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

/// Takes the place that covers most of what is still missing, again and again.
fn greedy<'a>(wanted: &BTreeMap<Sku, u32>, supply: &Supply, places: &[&'a Location]) -> Vec<&'a Location> {
    let mut missing = wanted.clone();
    let mut chosen: Vec<&Location> = Vec::new();
    while missing.values().any(|quantity| *quantity > 0) {
        let gain = |place: &Location| missing.iter().map(|(sku, q)| u64::from(have(supply, place, sku).min(*q))).sum::<u64>();
        let best = places
            .iter()
            .filter(|place| !chosen.contains(place))
            .max_by(|a, b| gain(a).cmp(&gain(b)).then(b.cmp(a)))
            .filter(|place| gain(place) > 0);
        let Some(best) = best else { break };
        for (sku, quantity) in &mut missing {
            *quantity -= have(supply, best, sku).min(*quantity);
        }
        chosen.push(best);
    }
    chosen.sort();
    chosen
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
    use super::*;
    use proptest::prelude::*;

    fn sku(n: usize) -> Sku {
        Sku::parse(format!("sku-{n}")).unwrap()
    }
    fn place(n: usize) -> Location {
        Location::parse(format!("loc-{n:02}")).unwrap()
    }

    #[test]
    fn one_place_beats_two() {
        let wanted = demand([(&sku(1), 2), (&sku(2), 1)]);
        let supply =
            Supply::from([((place(1), sku(1)), 5), ((place(2), sku(2)), 5), ((place(3), sku(1)), 2), ((place(3), sku(2)), 1)]);
        let plan = plan(&wanted, &supply).unwrap();
        assert_eq!(plan.len(), 1);
        assert_eq!(plan[0].location, place(3));
    }

    #[test]
    fn ties_go_to_the_first_place() {
        let supply = Supply::from([((place(1), sku(1)), 5), ((place(2), sku(1)), 5)]);
        assert_eq!(plan(&demand([(&sku(1), 5)]), &supply).unwrap()[0].location, place(1));
    }

    #[test]
    fn the_same_sku_twice_counts_together() {
        let supply = Supply::from([((place(1), sku(1)), 3)]);
        assert_eq!(plan(&demand([(&sku(1), 2), (&sku(1), 2)]), &supply), Err(vec![sku(1)]));
    }

    proptest! {
        #[test]
        fn plans_cover_exactly_and_never_more_than_there_is(
            wanted in prop::collection::btree_map(0usize..4, 1u32..20, 1..4),
            supply in prop::collection::btree_map((0usize..16, 0usize..4), 0u32..15, 0..40),
        ) {
            let wanted: BTreeMap<Sku, u32> = wanted.into_iter().map(|(s, q)| (sku(s), q)).collect();
            let supply: Supply = supply.into_iter().map(|((l, s), q)| ((place(l), sku(s)), q)).collect();
            let total = |s: &Sku| supply.iter().filter(|((_, x), _)| x == s).map(|(_, q)| *q).sum::<u32>();
            match plan(&wanted, &supply) {
                Err(short) => for s in short { prop_assert!(total(&s) < wanted[&s]); },
                Ok(made) => {
                    for (s, q) in &wanted {
                        let given: u32 = made.iter().flat_map(|a| &a.lines).filter(|l| l.sku == *s).map(|l| l.quantity).sum();
                        prop_assert_eq!(given, *q);
                    }
                    for a in &made { for l in &a.lines {
                        prop_assert!(l.quantity <= supply[&(a.location.clone(), l.sku.clone())]);
                    } }
                    prop_assert_eq!(plan(&wanted, &supply), Ok(made));
                }
            }
        }
    }
}
