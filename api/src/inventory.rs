//! Stock: how much of what is where, and the movements that change it.

mod batch;
mod count;
mod levels;
mod locations;
mod movements;

use oms_store::{LocationLevel, Moved, StockLevel};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::idempotency::reused;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Who books stock over HTTP, until there is identity.
const ACTOR: &str = "api";

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(levels::list))
        .routes(routes!(levels::read))
        .routes(routes!(movements::receive))
        .routes(routes!(movements::adjust))
        .routes(routes!(count::count))
        .routes(routes!(batch::batch))
        .routes(routes!(locations::put))
        .routes(routes!(locations::list))
}

/// The stock of one article: `available = on_hand - reserved`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StockLevel)]
pub(crate) struct LevelView {
    sku: String,
    /// Units on the shelves.
    on_hand: u64,
    /// Units promised to orders.
    reserved: u64,
    /// Units that can be sold.
    available: u64,
    /// Units that orders wait for.
    waiting: u64,
    locations: Vec<LocationView>,
}

/// The stock of one article at one place.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LocationLevel)]
pub(crate) struct LocationView {
    location: String,
    on_hand: u64,
    reserved: u64,
    available: u64,
}

impl From<&StockLevel> for LevelView {
    fn from(level: &StockLevel) -> Self {
        Self {
            sku: level.sku.to_string(),
            on_hand: level.on_hand,
            reserved: level.reserved,
            available: level.available,
            waiting: level.waiting,
            locations: level.locations.iter().map(Into::into).collect(),
        }
    }
}

impl From<&LocationLevel> for LocationView {
    fn from(level: &LocationLevel) -> Self {
        Self {
            location: level.location.to_string(),
            on_hand: level.on_hand,
            reserved: level.reserved,
            available: level.available,
        }
    }
}

/// The stock after a movement, and whether its key was seen before. `missing` says what an unknown SKU or place means to this call.
fn booked(moved: Moved, missing: impl Fn(Code) -> Problem) -> Result<(StockLevel, bool), Problem> {
    match moved {
        Moved::Done(level) => Ok((level, false)),
        Moved::Replayed(level) => Ok((level, true)),
        Moved::KeyReused => Err(reused()),
        Moved::UnknownSku => Err(missing(Code::UnknownSku)),
        Moved::UnknownLocation => Err(missing(Code::UnknownLocation)),
        Moved::BelowReserved { on_hand, reserved } => Err(Problem::new(
            Code::BelowReserved,
            format!(
                "{reserved} units are promised to orders and {on_hand} are on the shelf: less than promised cannot be booked"
            ),
        )),
    }
}
