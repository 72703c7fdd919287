//! How long a fault lasts: `30s` as in our settings, or `PT30S` as in ISO 8601.

use std::time::Duration;

/// The rule, for whoever broke it.
pub(super) const RULE: &str = "a duration from 1ms to 365d, such as 30s, 5m or PT30S";

/// A fault longer than a year is a mistake.
const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads either form; `None` if it is neither, or out of range.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let duration = if text.starts_with('P') { iso(text)? } else { humantime::parse_duration(text).ok()? };
    (Duration::from_millis(1)..=MAX).contains(&duration).then_some(duration)
}

/// Days, hours, minutes and seconds; years and months have no fixed length.
fn iso(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text.strip_prefix('P')?, ""),
    };
    let mut seconds = 0_u64;
    let mut found = false;
    for (mut part, units) in [(days, &[('W', 604_800), ('D', 86_400)][..]), (time, &[('H', 3_600), ('M', 60), ('S', 1)][..])] {
        for (unit, length) in units {
            let Some((number, rest)) = part.split_once(*unit) else { continue };
            seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*length)?)?;
            (part, found) = (rest, true);
        }
        if !part.is_empty() {
            return None;
        }
    }
    found.then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (text, seconds) in
            [("30s", 30), ("5m", 300), ("PT30S", 30), ("PT1H5M", 3_900), ("P1D", 86_400), ("P1DT1S", 86_401), ("P2W", 1_209_600)]
        {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in
            ["", "30", "P", "PT", "P1", "PT30", "PTS", "P1DT", "PT5M1H", "P1M", "0s", "PT0S", "P400D", "-5s", "PT-5S", "soon"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse("P99999999999999999999D"), None);
    }
}
