//! Places that hold stock, and which of them are near.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

use super::{Ranking, Strategy};
use crate::customer::{Address, Country, Line};
use crate::ids::Location;

/// The rank of a place that was never given one.
pub const PRIORITY_DEFAULT: u32 = 100;

/// Where a place is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteAddress {
    /// Street and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line1: Option<Line>,
    /// Anything more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<Line>,
    /// City.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<Line>,
    /// State, province or county.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Line>,
    /// Postal code.
    pub postal_code: Line,
    /// Country.
    pub country: Country,
}

/// A place that holds stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its id.
    pub location: Location,
    /// Its name.
    pub name: Option<Line>,
    /// Where it is, if anybody said.
    pub address: Option<SiteAddress>,
    /// The shop's own order: the lowest gives first.
    pub priority: u32,
}

impl Site {
    /// Ranks places for a parcel to `to`: by nearness if the strategy says so and both addresses are known, then by priority, then by
    /// name.
    pub fn rank(sites: &[Self], strategy: Strategy, to: Option<&Address>) -> Ranking {
        let to = to.filter(|_| strategy == Strategy::Nearest);
        let mut ranked: Vec<&Self> = sites.iter().collect();
        ranked.sort_by_key(|site| (Reverse(site.nearness(to)), site.priority, &site.location));
        Ranking::new(strategy, ranked.into_iter().map(|site| site.location.clone()).collect())
    }

    /// More is nearer: the country, then the region, then how many leading characters of the postal codes agree. Postal codes of two
    /// countries have nothing in common.
    fn nearness(&self, to: Option<&Address>) -> (bool, bool, usize) {
        let (Some(here), Some(to)) = (&self.address, to) else { return (false, false, 0) };
        if here.country != to.country {
            return (false, false, 0);
        }
        let region = match (&here.region, &to.region) {
            (Some(here), Some(to)) => plain(here).eq(plain(to)),
            _ => false,
        };
        let prefix = plain(&here.postal_code).zip(plain(&to.postal_code)).take_while(|(a, b)| a == b).count();
        (true, region, prefix)
    }
}

/// Letters and digits only, in lower case: people write postal codes in many ways.
fn plain(text: &Line) -> impl Iterator<Item = char> {
    text.as_str().chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::parse(text).unwrap()
    }
    fn site(name: &str, country: &str, region: Option<&str>, postal_code: &str, priority: u32) -> Site {
        let address = SiteAddress {
            line1: None,
            line2: None,
            city: None,
            region: region.map(line),
            postal_code: line(postal_code),
            country: Country::parse(country).unwrap(),
        };
        Site { location: Location::parse(name).unwrap(), name: None, address: Some(address), priority }
    }
    fn ranked(sites: &[Site], strategy: Strategy, to: Option<&Address>) -> Vec<String> {
        let ranking = Site::rank(sites, strategy, to);
        ranking.sorted(sites.iter().map(|s| &s.location)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn country_region_postal_code_priority_name() {
        let sites = [
            site("a-abroad", "FR", Some("Bavaria"), "80331", 1),
            site("b-far", "DE", None, "10115", 1),
            site("c-region", "DE", Some("bavaria"), "90402", 9),
            site("d-near", "DE", Some("Bavaria"), "80 339", 9),
            site("e-near", "DE", Some("Bavaria"), "80335", 1),
            Site { address: None, ..site("f-nowhere", "DE", None, "80331", 0) },
        ];
        let to = Address {
            name: line("Ada"),
            line1: line("Weg 1"),
            line2: None,
            city: line("Munich"),
            region: Some(line("Bavaria")),
            postal_code: line("80331"),
            country: Country::parse("DE").unwrap(),
        };
        let near = ranked(&sites, Strategy::Nearest, Some(&to));
        assert_eq!(near, ["e-near", "d-near", "c-region", "b-far", "f-nowhere", "a-abroad"]);
        let by_priority = ["f-nowhere", "a-abroad", "b-far", "e-near", "c-region", "d-near"];
        assert_eq!(ranked(&sites, Strategy::Nearest, None), by_priority, "an order without a row");
        assert_eq!(ranked(&sites, Strategy::Priority, Some(&to)), by_priority);
        assert_eq!(ranked(&sites, Strategy::FewestShipments, Some(&to)), by_priority);
    }
}
