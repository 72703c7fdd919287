//! `POST /v1/catalogue:batch`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_domain::ids::Sku;
use oms_store::Put;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PriceBody, product};
use crate::answers::Of;
use crate::extract::Json;
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::problem::{FieldError, Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::AppState;

/// Products of one batch at most.
const ITEMS_MAX: usize = 500;

/// Several products.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    #[schema(min_items = 1, max_items = 500)]
    items: Vec<BatchItem>,
}

/// One product of a batch.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchItem {
    #[schema(value_type = schema::SkuText)]
    sku: String,
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

/// What became of each product, in the order of the request.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct BatchAnswer {
    data: Vec<BatchResult>,
}

/// What became of one product.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct BatchResult {
    sku: String,
    /// `created`, `replaced` or `refused`.
    #[schema(example = "created")]
    result: String,
    /// Which rules a refused one breaks; pointers into the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<BatchError>,
}

/// One broken rule of one product.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct BatchError {
    pointer: Option<String>,
    code: String,
    detail: String,
}

/// Put several products into the catalogue
///
/// Each is put or refused alone.
#[utoipa::path(
    post,
    path = "/v1/catalogue:batch",
    tag = "catalogue",
    params(KeyHeader),
    request_body = Batch,
    responses((status = 200, description = "What became of each", body = BatchAnswer))
)]
pub(crate) async fn batch(
    State(state): State<AppState>,
    key: IdempotencyKey,
    Json(body): Json<Batch>,
) -> Result<Response, Problem> {
    if !(1..=ITEMS_MAX).contains(&body.items.len()) {
        let mut findings = Findings::default();
        findings.push(FieldError::at("/items", "invalid", "a batch has 1 to 500 items"));
        return Err(findings.into_problem());
    }
    let ticket = match begin(&state, claim(&key, "POST /v1/catalogue:batch", &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } => {
            let first: BatchAnswer = serde_json::from_str(&subject).map_err(|_| Problem::internal())?;
            return Ok(answer(status, true, first));
        }
    };
    let results = put_all(&state, &body).await;
    // also if it was cut short
    let skus: Vec<Sku> = body.items.iter().filter_map(|item| Sku::parse(&item.sku).ok()).collect();
    state.settings.answers.changed(Of::Product, &skus).await;
    let (replayed, done) = (ticket.replayed, BatchAnswer { data: results? });
    let subject = serde_json::to_string(&done).map_err(|_| Problem::internal())?;
    ticket.finish(&state, StatusCode::OK, &subject).await;
    Ok(answer(StatusCode::OK, replayed, done))
}

async fn put_all(state: &AppState, body: &Batch) -> Result<Vec<BatchResult>, Problem> {
    let mut data = Vec::with_capacity(body.items.len());
    for (n, item) in body.items.iter().enumerate() {
        data.push(put(state, n, item).await?);
    }
    Ok(data)
}

async fn put(state: &AppState, n: usize, item: &BatchItem) -> Result<BatchResult, Problem> {
    let mut findings = Findings::default();
    let at = format!("/items/{n}");
    let sku = findings.body(format!("{at}/sku"), Sku::parse(&item.sku));
    let product = product(&mut findings, &at, sku, (&item.name, &item.price, item.weight_g, item.low_stock_at));
    let Some(product) = product.filter(|_| findings.is_clean()) else {
        let problem = findings.into_problem();
        let errors = problem.errors().iter().map(|e| BatchError {
            pointer: e.pointer.clone(),
            code: e.code.to_owned(),
            detail: e.detail.clone(),
        });
        return Ok(BatchResult { sku: item.sku.clone(), result: "refused".to_owned(), errors: errors.collect() });
    };
    let result = match state.store.put_product(&product, state.now()).await? {
        Put::Created => "created",
        Put::Replaced => "replaced",
    };
    Ok(BatchResult { sku: item.sku.clone(), result: result.to_owned(), errors: Vec::new() })
}
