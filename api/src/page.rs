//! Pages of lists: how many, from where, and the cursor to the next one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oms_domain::Instant;
use oms_domain::ids::{Invalid, Location, OrderId, ShipmentId, Sku};
use oms_store::Cursor;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Findings;

/// Rows of a page when the client asks for no number.
const LIMIT_DEFAULT: u32 = 50;

/// Rows of a page at most.
const LIMIT_MAX: u32 = 100;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Ask with `cursor=` this for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of `limit` rows out of rows that were asked for with [`one_more`]: one beyond the limit tells of a next page.
    pub fn of<R>(mut rows: Vec<R>, limit: u32, cursor: impl Fn(&R) -> String, view: impl Fn(&R) -> T) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(cursor);
        Self { data: rows.iter().map(view).collect(), next_cursor }
    }
}

/// How many rows to read for a page of `limit`.
pub fn one_more(limit: u32) -> u32 {
    limit + 1
}

/// Reads `limit`.
pub fn limit(findings: &mut Findings, text: Option<&str>) -> u32 {
    let Some(text) = text else { return LIMIT_DEFAULT };
    let number = text.parse::<u32>().ok().filter(|n| (1..=LIMIT_MAX).contains(n) && !text.starts_with('+'));
    findings
        .parameter("limit", number.ok_or_else(|| Invalid::new("a limit is a whole number from 1 to 100")))
        .unwrap_or(LIMIT_DEFAULT)
}

/// What a cursor points behind. A cursor of one list is unknown to the others.
pub trait CursorKey: Sized {
    /// Names the list, and no other one.
    const KIND: &'static str;
    /// The text inside.
    fn write(&self) -> String;
    /// Reads it back.
    fn read(text: &str) -> Option<Self>;
}

impl CursorKey for Cursor {
    const KIND: &'static str = "order";
    fn write(&self) -> String {
        format!("{}|{}", self.placed_at.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true), self.id)
    }
    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('|')?;
        Some(Self { placed_at: instant(at).ok()?, id: OrderId::parse(id).ok()? })
    }
}

impl CursorKey for Sku {
    const KIND: &'static str = "product";
    fn write(&self) -> String {
        self.as_str().to_owned()
    }
    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl CursorKey for Location {
    const KIND: &'static str = "location";
    fn write(&self) -> String {
        self.as_str().to_owned()
    }
    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl CursorKey for ShipmentId {
    const KIND: &'static str = "shipment";
    fn write(&self) -> String {
        self.as_str().to_owned()
    }
    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

/// The opaque form of a cursor.
pub fn encode<K: CursorKey>(key: &K) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}|{}", K::KIND, key.write()))
}

/// Reads a cursor of this list.
pub fn decode<K: CursorKey>(text: &str) -> Result<K, Invalid> {
    let unknown = || Invalid::new("an unknown cursor; take next_cursor of the page before");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown())?;
    let inner = String::from_utf8(bytes).map_err(|_| unknown())?;
    inner.split_once('|').filter(|(kind, _)| *kind == K::KIND).and_then(|(_, rest)| K::read(rest)).ok_or_else(unknown)
}

/// Reads an instant in RFC 3339, any offset, as UTC with the microseconds that both databases keep.
pub fn instant(text: &str) -> Result<Instant, Invalid> {
    let at = chrono::DateTime::parse_from_rfc3339(text)
        .map_err(|_| Invalid::new("an instant is RFC 3339, such as 2026-01-31T12:00:00Z"))?
        .to_utc();
    // both databases keep these years, and so does every client's parser
    if (1970..=9999).contains(&chrono::Datelike::year(&at)) {
        Ok(chrono::SubsecRound::trunc_subsecs(at, 6))
    } else {
        Err(Invalid::new("an instant lies between the years 1970 and 9999"))
    }
}

/// Reads `true` or `false`.
pub fn boolean(text: &str) -> Result<bool, Invalid> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Invalid::new("true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_do_not_mix() {
        let cursor = Cursor { placed_at: instant("2026-01-31T12:00:00.123456Z").unwrap(), id: OrderId::from_random([7; 16]) };
        let text = encode(&cursor);
        assert_eq!(decode::<Cursor>(&text).unwrap(), cursor);
        assert!(decode::<Sku>(&text).is_err());
        for bad in ["", "?", "abc", "b3w", &encode(&Sku::parse("a").unwrap())] {
            assert!(decode::<Cursor>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_knows_whether_there_is_another() {
        let page = Page::of(vec![1, 2, 3], 2, ToString::to_string, |n| *n);
        assert_eq!((page.data, page.next_cursor.as_deref()), (vec![1, 2], Some("2")));
        assert_eq!(Page::of(vec![1, 2], 2, ToString::to_string, |n| *n).next_cursor, None);
    }

    #[test]
    fn limits() {
        for (text, ok) in
            [("1", true), ("100", true), ("0", false), ("101", false), ("-1", false), ("+5", false), ("x", false), ("", false)]
        {
            let mut findings = Findings::default();
            limit(&mut findings, Some(text));
            assert_eq!(findings.is_clean(), ok, "{text}");
        }
    }

    #[test]
    fn instants_are_utc() {
        assert_eq!(instant("2026-01-31T13:00:00+01:00").unwrap(), instant("2026-01-31T12:00:00Z").unwrap());
        for bad in ["", "2026-01-31", "yesterday", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
            assert!(instant(bad).is_err(), "{bad}");
        }
    }
}
