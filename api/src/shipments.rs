//! Shipments: what the warehouse works off, and what it and the carrier report.

mod acknowledge;
mod events;
mod label;
mod list;
mod packing_slip;

use chrono::{DateTime, Utc};
use oms_store::StoredShipment;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use events::{Told, hear};
pub(crate) use label::NOTHING_RUNS;

use crate::orders::view::ShipmentView;
use crate::state::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(list::read))
        .routes(routes!(label::label))
        .routes(routes!(packing_slip::packing_slip))
        .routes(routes!(events::report))
        .routes(routes!(acknowledge::acknowledge))
}

/// A shipment with the order it belongs to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListedShipment {
    #[serde(flatten)]
    shipment: ShipmentView,
    order_id: String,
    updated_at: DateTime<Utc>,
    /// Its order was placed against a sandbox.
    test: bool,
}

impl From<&StoredShipment> for ListedShipment {
    fn from(stored: &StoredShipment) -> Self {
        Self {
            shipment: (&stored.shipment).into(),
            order_id: stored.order_id.to_string(),
            updated_at: stored.updated_at,
            test: stored.test,
        }
    }
}
