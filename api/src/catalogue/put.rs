//! `PUT /v1/catalogue/{sku}`.

use std::slice;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use oms_domain::ids::Sku;
use oms_store::Put;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PriceBody, ProductView, product};
use crate::answers::Of;
use crate::extract::{Json, Path};
use crate::problem::{Findings, Problem};
use crate::schema;
use crate::state::AppState;

/// What is sold and for how much.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductBody {
    #[schema(value_type = schema::Line)]
    name: String,
    price: PriceBody,
    /// Weight of one in grams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100_000_000)]
    weight_g: Option<i64>,
    /// An event tells when no more units than these can be sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000)]
    low_stock_at: Option<i64>,
}

/// Put a product into the catalogue, or replace it
///
/// Orders keep the price they were placed at.
#[utoipa::path(
    put,
    path = "/v1/catalogue/{sku}",
    tag = "catalogue",
    params(("sku" = String, Path, description = "The article", pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")),
    request_body = ProductBody,
    responses(
        (status = 201, description = "New", body = ProductView),
        (status = 200, description = "Replaced", body = ProductView),
    )
)]
pub(crate) async fn put(
    State(state): State<AppState>,
    Path(sku): Path<String>,
    Json(body): Json<ProductBody>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let sku = findings.parameter("sku", Sku::parse(sku));
    let product = product(&mut findings, "", sku, (&body.name, &body.price, body.weight_g, body.low_stock_at));
    let Some(product) = product.filter(|_| findings.is_clean()) else { return Err(findings.into_problem()) };
    let status = match state.store.put_product(&product, state.now()).await? {
        Put::Created => StatusCode::CREATED,
        Put::Replaced => StatusCode::OK,
    };
    state.settings.answers.changed(Of::Product, slice::from_ref(&product.sku)).await;
    Ok((status, axum::Json(ProductView::from(&product))).into_response())
}
