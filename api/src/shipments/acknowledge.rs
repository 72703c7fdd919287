//! `POST /v1/shipments/{id}/acknowledge`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use oms_domain::ids::ShipmentId;
use oms_store::Acknowledged;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Path;
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::problem::Problem;
use crate::schema::KeyHeader;
use crate::state::AppState;

/// Who acts over HTTP, until there is identity.
const ACTOR: &str = "api";

/// The warehouse has taken a shipment over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Acknowledgement {
    shipment_id: String,
    /// When it first said so.
    acknowledged_at: DateTime<Utc>,
}

/// Acknowledge a shipment: the warehouse has taken it over
///
/// Changes nothing about the shipment. Where a deadline for this is set, a person is called for a booked shipment that was neither
/// acknowledged nor scanned in time. Said again, the first time stands.
#[utoipa::path(
    post,
    path = "/v1/shipments/{id}/acknowledge",
    tag = "shipments",
    params(("id" = String, Path, description = "The shipment's id"), KeyHeader),
    responses((status = 200, description = "Noted", body = Acknowledgement))
)]
pub(crate) async fn acknowledge(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("shipment");
    let shipment = ShipmentId::parse(&id).map_err(|_| missing())?;
    let route = format!("POST /v1/shipments/{id}/acknowledge");
    let (ticket, replayed) = match begin(&state, claim(&key, &route, &())?).await? {
        Begun::Go(ticket) => {
            let replayed = ticket.replayed;
            (Some(ticket), replayed)
        }
        Begun::Done { .. } => (None, true),
    };
    let noted = match state.store.acknowledge(&shipment, ACTOR, state.now()).await {
        Ok(Acknowledged::At(at)) => Ok(at),
        Ok(Acknowledged::UnknownShipment) => Err(missing()),
        Err(error) => Err(error.into()),
    };
    match (noted, ticket) {
        (Ok(acknowledged_at), ticket) => {
            if let Some(ticket) = ticket {
                ticket.finish(&state, StatusCode::OK, &id).await;
            }
            Ok(answer(StatusCode::OK, replayed, Acknowledgement { shipment_id: id, acknowledged_at }))
        }
        (Err(problem), Some(ticket)) => Err(ticket.refused(&state, problem).await),
        (Err(problem), None) => Err(problem),
    }
}
