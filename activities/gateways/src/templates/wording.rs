//! Money and dates as a language writes them.

use chrono::Datelike;
use chrono_tz::Tz;
use oms_domain::Instant;
use oms_domain::message::Locale;
use oms_domain::money::Money;

/// A place's clock, by its IANA name: dates in messages are shown in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZone(Tz);

impl TimeZone {
    /// The clock of Greenwich without summer time.
    pub const UTC: Self = Self(Tz::UTC);

    /// Reads an IANA name such as `Europe/Berlin`.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    /// Day and time by this clock, with its short name, as a language writes them.
    pub fn date(self, at: Instant, locale: Locale) -> String {
        date(at, self, locale)
    }
}

const MONTHS: [[&str; 12]; 3] = [
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"],
    ["Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"],
    ["enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"],
];

/// Day and time in a zone, with the zone's short name.
pub(super) fn date(at: Instant, zone: TimeZone, locale: Locale) -> String {
    let local = at.with_timezone(&zone.0);
    let names = match locale {
        Locale::En => MONTHS[0],
        Locale::De => MONTHS[1],
        Locale::Es => MONTHS[2],
    };
    let month = names.get(local.month0() as usize).copied().unwrap_or_default();
    let (day, year, time) = (local.day(), local.year(), local.format("%H:%M %Z"));
    match locale {
        Locale::En => format!("{day} {month} {year}, {time}"),
        Locale::De => format!("{day}. {month} {year}, {time}"),
        Locale::Es => format!("{day} de {month} de {year}, {time}"),
    }
}

/// An amount with the language's own marks, and its currency's code.
pub(super) fn money(amount: Money, locale: Locale) -> String {
    let plain = amount.to_string();
    let (number, currency) = plain.split_once(' ').unwrap_or((&plain, ""));
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let (group, point) = match locale {
        Locale::En => (',', '.'),
        Locale::De | Locale::Es => ('.', ','),
    };
    let mut text = sign.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(group);
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push(point);
        text.push_str(fraction);
    }
    // a line break between number and currency would be odd
    format!("{text}\u{a0}{currency}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use oms_domain::money::Currency;

    #[test]
    fn each_language_has_its_own_marks() {
        let money = |minor, currency, locale| {
            super::money(Money::new(minor, Currency::parse(currency).unwrap()), locale).replace('\u{a0}', " ")
        };
        assert_eq!(money(123_456_789, "EUR", Locale::En), "1,234,567.89 EUR");
        assert_eq!(money(-123_456, "EUR", Locale::De), "-1.234,56 EUR");
        assert_eq!(money(99, "EUR", Locale::Es), "0,99 EUR");
        assert_eq!(money(1_000, "JPY", Locale::De), "1.000 JPY");
    }

    #[test]
    fn dates_are_those_of_the_shops_clock() {
        let at: Instant = "2026-07-31T22:30:00Z".parse().unwrap();
        let berlin = TimeZone::parse("Europe/Berlin").unwrap();
        assert_eq!(date(at, berlin, Locale::En), "1 August 2026, 00:30 CEST");
        assert_eq!(date(at, berlin, Locale::De), "1. August 2026, 00:30 CEST");
        assert_eq!(date(at, TimeZone::UTC, Locale::Es), "31 de julio de 2026, 22:30 UTC");
        assert_eq!(TimeZone::parse("Europe/Atlantis"), None);
    }
}
