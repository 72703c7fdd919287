//! `GET /v1/catalogue` and `GET /v1/catalogue/{sku}`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use oms_domain::ids::Sku;
use oms_store::Product;
use serde::Deserialize;
use utoipa::IntoParams;

use super::ProductView;
use crate::answers::Of;
use crate::extract::{Path, Query};
use crate::page::{self, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::state::AppState;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListProducts {
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List the catalogue
#[utoipa::path(
    get,
    path = "/v1/catalogue",
    tag = "catalogue",
    params(ListProducts),
    responses((status = 200, description = "One page, by SKU", body = Page<ProductView>))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<ListProducts>,
) -> Result<Json<Page<ProductView>>, Problem> {
    let mut findings = Findings::default();
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let after: Option<Sku> = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode));
    findings.check()?;
    let rows = state.store.products(after.as_ref(), one_more(limit)).await?;
    Ok(Json(Page::of(rows, limit, |row: &Product| page::encode(&row.sku), |row| ProductView::from(row))))
}

/// Read a product
///
/// Where replicas of the API share a Redis, what is read may be true of up to a second ago.
#[utoipa::path(
    get,
    path = "/v1/catalogue/{sku}",
    tag = "catalogue",
    params(("sku" = String, Path, description = "The article")),
    responses((status = 200, description = "The product", body = ProductView))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(sku): Path<String>) -> Result<Response, Problem> {
    let missing = || Problem::not_found("SKU in the catalogue");
    let sku = Sku::parse(sku).map_err(|_| missing())?;
    let product = async { Ok(ProductView::from(&state.store.product(&sku).await?.ok_or_else(missing)?)) };
    state.settings.answers.or_read(Of::Product, &sku, product).await
}
