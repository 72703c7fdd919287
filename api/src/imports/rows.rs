//! `GET /v1/imports/{id}/rows`.

use axum::Json;
use axum::extract::State;
use oms_domain::ids::Invalid;
use oms_store::{ImportRow, RowStatus};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{RowCursor, RowView, find};
use crate::extract::{Path, Query};
use crate::page::{self, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::state::AppState;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListRows {
    /// Only these: `pending`, `placed` or `refused`.
    #[param(example = "refused")]
    result: Option<String>,
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What became of each row, in the order of the file
#[utoipa::path(
    get,
    path = "/v1/imports/{id}/rows",
    tag = "imports",
    params(("id" = String, Path, description = "The import's id"), ListRows),
    responses((status = 200, description = "One page", body = Page<RowView>))
)]
pub(crate) async fn rows(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<ListRows>,
) -> Result<Json<Page<RowView>>, Problem> {
    let mut findings = Findings::default();
    let result = query.result.map(|name| RowStatus::parse(&name).ok_or_else(|| Invalid::new("pending, placed or refused")));
    let result = findings.parameter_opt("result", result);
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let after = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode::<RowCursor>));
    findings.check()?;
    let import = find(&state, &id).await?;
    let after = after.map_or(0, |cursor| cursor.0);
    let rows = state.store.import_rows(&import.upload, result, after, one_more(limit)).await?;
    Ok(Json(Page::of(rows, limit, |row: &ImportRow| page::encode(&RowCursor(row.number)), |row| row.into())))
}
