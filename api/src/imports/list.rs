//! `GET /v1/imports`.

use axum::Json;
use axum::extract::State;
use oms_store::Import;
use serde::Deserialize;
use utoipa::IntoParams;

use super::ImportView;
use crate::extract::Query;
use crate::page::{self, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::state::AppState;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListImports {
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List imports, newest first
#[utoipa::path(
    get,
    path = "/v1/imports",
    tag = "imports",
    params(ListImports),
    responses((status = 200, description = "One page", body = Page<ImportView>))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<ListImports>,
) -> Result<Json<Page<ImportView>>, Problem> {
    let mut findings = Findings::default();
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let after = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode));
    findings.check()?;
    let imports = state.store.imports(after.as_ref(), one_more(limit)).await?;
    let now = state.now();
    let cursor = |import: &Import| page::encode(&import.cursor());
    Ok(Json(Page::of(imports, limit, cursor, |import| ImportView::of(import, now))))
}
