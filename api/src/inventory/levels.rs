//! `GET /v1/inventory` and `GET /v1/inventory/{sku}`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use oms_domain::ids::Sku;
use oms_store::StockLevel;
use serde::Deserialize;
use utoipa::IntoParams;

use super::LevelView;
use crate::answers::Of;
use crate::extract::{Path, Query};
use crate::page::{self, CursorKey, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::state::AppState;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListLevels {
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The last article of a page.
struct LevelCursor(Sku);

impl CursorKey for LevelCursor {
    const KIND: &'static str = "stock";
    fn write(&self) -> String {
        self.0.to_string()
    }
    fn read(text: &str) -> Option<Self> {
        Sku::parse(text).ok().map(Self)
    }
}

/// List the stock of every article of the catalogue
#[utoipa::path(
    get,
    path = "/v1/inventory",
    tag = "inventory",
    params(ListLevels),
    responses((status = 200, description = "One page, by SKU", body = Page<LevelView>))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<ListLevels>,
) -> Result<Json<Page<LevelView>>, Problem> {
    let mut findings = Findings::default();
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let after: Option<LevelCursor> = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode));
    findings.check()?;
    let after = after.map(|cursor| cursor.0);
    let rows = state.store.stocks(after.as_ref(), one_more(limit), state.now()).await?;
    Ok(Json(Page::of(rows, limit, |row: &StockLevel| page::encode(&LevelCursor(row.sku.clone())), |row| LevelView::from(row))))
}

/// Read the stock of an article
///
/// Where replicas of the API share a Redis, what is read may be true of up to a second ago.
#[utoipa::path(
    get,
    path = "/v1/inventory/{sku}",
    tag = "inventory",
    params(("sku" = String, Path, description = "The article")),
    responses((status = 200, description = "Its stock; zeros if it has none", body = LevelView))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(sku): Path<String>) -> Result<Response, Problem> {
    let missing = || Problem::not_found("SKU in the catalogue");
    let sku = Sku::parse(sku).map_err(|_| missing())?;
    let level = async { Ok(LevelView::from(&state.store.stock(&sku, state.now()).await?.ok_or_else(missing)?)) };
    state.settings.answers.or_read(Of::Stock, &sku, level).await
}
