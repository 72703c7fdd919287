//! `GET /v1/orders/{id}`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oms_contract::command::StatusAnswer;
use oms_store::StoredOrder;
use serde::Deserialize;
use utoipa::IntoParams;

use super::view::{OrderView, etag};
use crate::extract::{Path, Query};
use crate::page::boolean;
use crate::problem::{Findings, Problem};
use crate::state::AppState;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadOrder {
    /// `true` asks the running order itself instead of its row; if it does not answer within a second, the row is shown and `as_of`
    /// says how old it is.
    #[param(value_type = Option<bool>)]
    consistent: Option<String>,
}

/// Read an order
#[utoipa::path(
    get,
    path = "/v1/orders/{id}",
    tag = "orders",
    params(
        ("id" = String, Path, description = "The order's id"),
        ReadOrder,
        ("If-None-Match" = Option<String>, Header, description = "An ETag; 304 if the order still has it")
    ),
    responses(
        (status = 200, description = "The order", body = OrderView, headers(("ETag" = String, description = "The version, quoted"))),
        (status = 304, description = "The order still has this ETag"),
    )
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<ReadOrder>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let consistent = findings.parameter_opt("consistent", query.consistent.as_deref().map(boolean)).unwrap_or(false);
    findings.check()?;
    let mut order = state.order(&id).await?;
    let mut as_of = order.updated_at;
    if consistent {
        match state.engine.status(&order.id).await {
            Ok(answer) => {
                refresh(&mut order, answer);
                as_of = state.now();
            }
            Err(error) => tracing::info!(%error, "the row is shown instead of the run"),
        }
    }
    let tag = etag(&order);
    let same = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).any(|given| {
        given.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == "*" || one.as_bytes() == tag.as_bytes())
    });
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(OrderView::of(&order, as_of, &state.settings)).into_response()
    };
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// Takes over what the run knows, unless the row is ahead of it. What the warehouse reported, packages that were reported late and
/// refunds only the row knows.
fn refresh(order: &mut StoredOrder, answer: StatusAnswer) {
    if answer.rev < order.rev {
        return;
    }
    let mut life = answer.life;
    for shipment in &mut life.shipments {
        if let Some(known) = order.life.shipments.iter().find(|s| s.id == shipment.id) {
            shipment.status = shipment.status.with_scans(known.status.rank());
            for number in known.packages() {
                shipment.note_late(known.carrier.as_deref(), Some(number));
            }
        }
    }
    life.payment.note_refunded(order.life.payment.refunded.minor);
    order.life = life;
    order.rev = answer.rev;
}
