//! `GET /v1/shipments` and `GET /v1/shipments/{id}`.

use axum::Json;
use axum::extract::State;
use oms_domain::ids::{Invalid, Location, ShipmentId};
use oms_domain::shipment::ShipmentStatus;
use oms_store::{ShipmentFilter, StoredShipment};
use serde::Deserialize;
use utoipa::IntoParams;

use super::ListedShipment;
use crate::extract::{Path, Query};
use crate::page::{self, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::state::AppState;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListShipments {
    /// Where it stands.
    #[param(example = "booked")]
    status: Option<String>,
    /// The place it leaves from.
    #[param(pattern = r"^[A-Za-z0-9_-]{1,32}$")]
    location: Option<String>,
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List shipments
#[utoipa::path(
    get,
    path = "/v1/shipments",
    tag = "shipments",
    params(ListShipments),
    responses((status = 200, description = "One page, by id", body = Page<ListedShipment>))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<ListShipments>,
) -> Result<Json<Page<ListedShipment>>, Problem> {
    let mut findings = Findings::default();
    let status = query.status.map(|name| ShipmentStatus::parse(&name).ok_or_else(|| Invalid::new("an unknown status")));
    let filter = ShipmentFilter {
        status: findings.parameter_opt("status", status),
        location: findings.parameter_opt("location", query.location.map(Location::parse)),
    };
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let after: Option<ShipmentId> = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode));
    findings.check()?;
    let rows = state.store.shipments(filter, after.as_ref(), one_more(limit)).await?;
    Ok(Json(Page::of(rows, limit, |row: &StoredShipment| page::encode(&row.shipment.id), |row| ListedShipment::from(row))))
}

/// Read a shipment
#[utoipa::path(
    get,
    path = "/v1/shipments/{id}",
    tag = "shipments",
    params(("id" = String, Path, description = "The shipment's id")),
    responses((status = 200, description = "The shipment", body = ListedShipment))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<ListedShipment>, Problem> {
    let missing = || Problem::not_found("shipment");
    let id = ShipmentId::parse(id).map_err(|_| missing())?;
    let stored = state.store.shipment(&id).await?.ok_or_else(missing)?;
    Ok(Json(ListedShipment::from(&stored)))
}
