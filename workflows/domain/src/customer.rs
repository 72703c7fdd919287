//! The customer and where the parcel goes: personal data, kept in SQL only (see ARCHITECTURE.md, "Personal data").

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::ids::{CustomerId, Invalid, text};
use crate::message::{Channel, Locale};

fn line(text: &str) -> Result<(), Invalid> {
    let length = text.chars().count();
    if !(1..=200).contains(&length) {
        return Err(Invalid::new("1 to 200 characters"));
    }
    if text.trim().is_empty() {
        return Err(Invalid::new("must not be blank"));
    }
    no_control(text)
}

/// Refuses control characters. Errors: [`Invalid`].
pub fn no_control(text: &str) -> Result<(), Invalid> {
    if text.chars().any(char::is_control) { Err(Invalid::new("must not hold control characters")) } else { Ok(()) }
}

text!(
    /// One line of text: a name, an address line, a reference. 1 to 200 characters, not blank, no control characters.
    Line, line
);
text!(
    /// One e-mail address, at most 254 characters. Syntax only; whether it exists, a bounce tells.
    Email,
    |text| {
        let rule = || Invalid::new("one e-mail address of at most 254 characters, such as ada@example.com");
        let (local, host) = text.rsplit_once('@').ok_or_else(rule)?;
        let local_ok = (1..=64).contains(&local.len())
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
        let labels: Vec<&str> = host.split('.').collect();
        let host_ok = labels.len() >= 2
            && labels.iter().all(|l| {
                (1..=63).contains(&l.len())
                    && !l.starts_with('-')
                    && !l.ends_with('-')
                    && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            });
        if text.len() <= 254 && local_ok && host_ok { Ok(()) } else { Err(rule()) }
    }
);
text!(
    /// A phone number in E.164: a plus and up to 15 digits.
    Phone,
    |text| {
        let ok = text.strip_prefix('+').is_some_and(|digits| {
            (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
        });
        if ok { Ok(()) } else { Err(Invalid::new("a phone number in E.164, such as +4930123456")) }
    }
);

/// ISO 3166-1 alpha-2 codes, sorted.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG \
GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ \
LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR \
NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ \
TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

text!(
    /// An ISO 3166-1 alpha-2 country code.
    Country,
    |text| {
        let known = text.len() == 2 && COUNTRIES.split(' ').any(|c| c == text);
        if known { Ok(()) } else { Err(Invalid::new("a country is an ISO 3166-1 code of two capital letters, such as DE")) }
    }
);

/// Who ordered. Personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The shop's own id.
    pub id: CustomerId,
    /// Name as it is written on messages.
    pub name: Line,
    /// Where mail goes.
    pub email: Email,
    /// Where SMS go, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Phone>,
    /// The language that messages are written in; the shop's own when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    /// The only channels that the customer wants to hear on; every channel when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Channel>,
}

/// Where the parcel goes. Personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Recipient.
    pub name: Line,
    /// Street and number.
    pub line1: Line,
    /// Anything more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<Line>,
    /// City.
    pub city: Line,
    /// State, province or county.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Line>,
    /// Postal code.
    pub postal_code: Line,
    /// Country.
    pub country: Country,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_exist_and_those_that_cannot() {
        for good in ["ada@example.com", "a.b+c@x-y.co.uk"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "ada", "ada@", "@x.com", "a@b", "a b@x.com", "a@x..com", ".a@x.com", "a@x.com,b@x.com", "a@-x.com", "ä@x.com"]
        {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
        assert!(Phone::parse("+4930123456").is_ok());
        for bad in ["030123456", "+0123456789", "+49 30 123", "+1234567890123456"] {
            assert!(Phone::parse(bad).is_err(), "{bad}");
        }
        assert!(Country::parse("DE").is_ok());
        assert!(Country::parse("de").is_err());
        assert!(Country::parse("A ").is_err());
        assert_eq!(COUNTRIES.split(' ').count(), 249);
        assert!(Line::parse("a\u{7}b").is_err());
        assert!(Line::parse("  ").is_err());
    }
}
