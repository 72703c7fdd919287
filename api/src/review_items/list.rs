//! `GET /v1/review-items` and `GET /v1/review-items/{id}`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use oms_domain::Instant;
use oms_domain::ids::{Invalid, OrderId};
use oms_store::{ItemCursor, ItemFilter, ItemSource, ItemState, ReviewItem};
use serde::Deserialize;
use utoipa::IntoParams;

use super::ItemView;
use crate::extract::{Path, Query};
use crate::orders::body::duration;
use crate::page::{self, CursorKey, Page, instant, one_more};
use crate::problem::{Findings, Problem};
use crate::state::AppState;

/// Longest kind.
const KIND_MAX: usize = 64;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListItems {
    /// What it is: `capture_refused`, `lost`, `stuck`, …
    #[param(pattern = r"^[a-z0-9_]{1,64}$")]
    kind: Option<String>,
    /// `open` (without it), `resolved` or `settled`.
    #[param(pattern = "^(open|resolved|settled)$")]
    state: Option<String>,
    /// The order it is about.
    order: Option<String>,
    /// Who saw it: `order`, `watchdog`, `refund`, `return`, `reconciliation`, `message`,
    /// `carrier` or `webhook`.
    source: Option<String>,
    /// Opened at least so long ago: a duration such as `PT4H` or `P2D`, or in short `4h` or `2d`.
    #[param(example = "P2D", max_length = 32)]
    age: Option<String>,
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl CursorKey for ItemCursor {
    const KIND: &'static str = "review_item";
    fn write(&self) -> String {
        format!("{}|{}", self.opened_at.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true), self.id)
    }
    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('|')?;
        let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic());
        Some(Self { opened_at: instant(at).ok()?, id: id.to_owned() }).filter(|_| plain)
    }
}

impl ListItems {
    fn parse(self, now: Instant) -> Result<(ItemFilter, u32, Option<ItemCursor>), Problem> {
        let mut findings = Findings::default();
        let kind = self.kind.map(|kind| {
            let plain = kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            let fits = (1..=KIND_MAX).contains(&kind.len()) && plain;
            if fits { Ok(kind) } else { Err(Invalid::new("1 to 64 characters of a-z 0-9 _")) }
        });
        let state = self.state.map(|word| ItemState::parse(&word).ok_or_else(|| Invalid::new("open, resolved or settled")));
        let source = self.source.map(|word| ItemSource::parse(&word).ok_or_else(|| Invalid::new("an unknown source")));
        let age = self.age.map(|text| {
            let age = duration(&text).or_else(|| short(&text)).and_then(|age| chrono::TimeDelta::from_std(age).ok());
            age.ok_or_else(|| Invalid::new("a duration of at most 3650 days, such as PT4H, P2D, 4h or 2d"))
        });
        let filter = ItemFilter {
            kind: findings.parameter_opt("kind", kind),
            state: findings.parameter_opt("state", state).or(Some(ItemState::Open)),
            order_id: findings.parameter_opt("order", self.order.map(OrderId::parse)),
            opened_before: findings.parameter_opt("age", age).map(|age| now - age + chrono::TimeDelta::microseconds(1)),
            source: findings.parameter_opt("source", source),
        };
        let limit = page::limit(&mut findings, self.limit.as_deref());
        let after = findings.parameter_opt("cursor", self.cursor.as_deref().map(page::decode));
        findings.check()?;
        Ok((filter, limit, after))
    }
}

/// A duration of one unit, as settings have them: `90s`, `15m`, `4h`, `2d`.
fn short(text: &str) -> Option<Duration> {
    let unit = text.chars().last().filter(|unit| "smhd".contains(*unit))?;
    let number = &text[..text.len() - 1];
    let time = if unit == 'd' { "" } else { "T" };
    duration(&format!("P{time}{number}{}", unit.to_ascii_uppercase()))
}

/// List what needs a person, oldest first
#[utoipa::path(
    get,
    path = "/v1/review-items",
    tag = "review",
    params(ListItems),
    responses((status = 200, description = "One page", body = Page<ItemView>))
)]
pub(crate) async fn list(State(state): State<AppState>, Query(query): Query<ListItems>) -> Result<Json<Page<ItemView>>, Problem> {
    let now = state.now();
    let (filter, limit, after) = query.parse(now)?;
    let rows = state.store.review_items(&filter, after.as_ref(), one_more(limit)).await?;
    Ok(Json(Page::of(rows, limit, |item: &ReviewItem| page::encode(&item.cursor()), |item| ItemView::of(item, now))))
}

/// Read an item of the review queue
#[utoipa::path(
    get,
    path = "/v1/review-items/{id}",
    tag = "review",
    params(("id" = String, Path, description = "The item's id")),
    responses((status = 200, description = "The item", body = ItemView))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<ItemView>, Problem> {
    let item = find(&state, &id).await?;
    Ok(Json(ItemView::of(&item, state.now())))
}

/// The item. Errors: 404.
pub(super) async fn find(state: &AppState, id: &str) -> Result<ReviewItem, Problem> {
    let missing = || Problem::not_found("review item");
    // what no item is called is not asked for: Postgres takes no zero byte
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(missing());
    }
    state.store.review_item(id).await?.ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_checked_under_its_name() {
        let bad = || Some("\u{0}".to_owned());
        let query = ListItems { kind: bad(), state: bad(), order: bad(), source: bad(), age: bad(), limit: bad(), cursor: bad() };
        let now = instant("2026-01-31T12:00:00Z").unwrap();
        let problem = query.parse(now).unwrap_err();
        let names: Vec<_> = problem.errors().iter().filter_map(|e| e.parameter.as_deref()).collect();
        assert_eq!(names, ["kind", "state", "order", "age", "source", "limit", "cursor"]);
        let (filter, ..) = ListItems::default().parse(now).unwrap();
        assert_eq!((filter.state, filter.opened_before), (Some(ItemState::Open), None), "what is open is what is asked for");
        for age in ["PT12H", "12h", "720m"] {
            let (filter, ..) = ListItems { age: Some(age.to_owned()), ..ListItems::default() }.parse(now).unwrap();
            assert_eq!(filter.opened_before, Some(instant("2026-01-31T00:00:00.000001Z").unwrap()), "{age} is old enough");
        }
        for bad in ["", "h", "12", "-1h", "1.5h", "12H", "P", "9999999d"] {
            assert!(ListItems { age: Some(bad.to_owned()), ..ListItems::default() }.parse(now).is_err(), "{bad}");
        }
    }

    #[test]
    fn cursors_read_back() {
        let cursor = ItemCursor { opened_at: instant("2026-01-31T12:00:00.123456Z").unwrap(), id: "abc".to_owned() };
        assert_eq!(page::decode::<ItemCursor>(&page::encode(&cursor)).unwrap(), cursor);
    }
}
