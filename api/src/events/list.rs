//! `GET /v1/events`.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use oms_domain::ids::Invalid;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::extract::Query;
use crate::problem::{Findings, Problem};
use crate::state::AppState;

/// Events of a page when the client asks for no number, and at most.
const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListEvents {
    /// `next_after` of the page before, or an event's `position`; from the beginning without it.
    #[param(value_type = Option<u64>, minimum = 0)]
    after: Option<String>,
    /// Events of the page, 100 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// A page of events.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described; the page is put together from the events' own bytes")]
pub(crate) struct Events {
    /// CloudEvents, each with the same bytes on every way.
    #[schema(value_type = Vec<Object>)]
    data: Vec<serde_json::Value>,
    /// Ask with `after=` this for what comes next.
    #[schema(example = "123")]
    next_after: String,
}

impl ListEvents {
    fn parse(self) -> Result<(u64, u32), Problem> {
        let mut findings = Findings::default();
        let number = |text: &String| text.parse::<u64>().ok().filter(|n| !text.starts_with('+') && i64::try_from(*n).is_ok());
        let after = self.after.as_ref().map(|text| number(text).ok_or_else(|| Invalid::new("an event's position")));
        let after = findings.parameter_opt("after", after).unwrap_or(0);
        let size = |text: &String| {
            let size = number(text).and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=LIMIT_MAX).contains(n));
            size.ok_or_else(|| Invalid::new("a limit is a whole number from 1 to 1000"))
        };
        let limit = findings.parameter_opt("limit", self.limit.as_ref().map(size)).unwrap_or(LIMIT_DEFAULT);
        findings.check()?;
        Ok((after, limit))
    }
}

/// Read events in one order
///
/// All events of all orders, in the order of their `position`. Positions are given when events are committed, so whoever has read up to
/// one never misses an event before it. What retention has deleted is not told any more. An empty page means that nothing has happened
/// since; ask again.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    params(ListEvents),
    responses((status = 200, description = "One page", body = Events))
)]
pub(crate) async fn list(State(state): State<AppState>, Query(query): Query<ListEvents>) -> Result<Response, Problem> {
    let (after, limit) = query.parse()?;
    let rows = state.store.events_after(after, limit).await?;
    let next = rows.last().and_then(|row| row.position).unwrap_or(after);
    let events: Vec<String> = rows.iter().map(|row| row.document(&state.settings.event_source)).collect();
    let page = format!(r#"{{"data":[{}],"next_after":"{next}"}}"#, events.join(","));
    Ok(([(header::CONTENT_TYPE, "application/json")], page).into_response())
}
