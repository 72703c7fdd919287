//! `POST /v1/inventory:batch`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_domain::ids::{Invalid, Location, Sku, derive};
use oms_domain::life::Why;
use oms_store::{Count, KeyClaim, Moved, Movement};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ACTOR;
use super::count::ON_HAND_MAX;
use super::movements::UNITS_MAX;
use crate::answers::Of;
use crate::extract::Json;
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::problem::{Code, FieldError, Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::AppState;

/// Rows of one batch at most.
const ITEMS_MAX: usize = 1_000;

/// Several movements and counts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InventoryBatch)]
pub(crate) struct Batch {
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<BatchRow>,
}

/// A receipt or an adjustment (`kind` and `quantity`), or a count (`on_hand`).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InventoryBatchItem)]
pub(crate) struct BatchRow {
    #[schema(value_type = schema::SkuText)]
    sku: String,
    #[schema(value_type = schema::LocationText)]
    location: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    /// Above zero for a receipt, of either sign for an adjustment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -1_000_000, maximum = 1_000_000)]
    quantity: Option<i64>,
    /// Units that were counted on the shelf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    on_hand: Option<i64>,
    #[schema(value_type = schema::Reason)]
    reason: String,
}

/// What a quantity means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MovementKind)]
pub(crate) enum Kind {
    /// Goods that came in.
    Receipt,
    /// A correction.
    Adjustment,
}

/// What became of each row, in the order of the request.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = InventoryBatchAnswer)]
pub(crate) struct BatchAnswer {
    data: Vec<RowResult>,
}

/// What became of one row.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = InventoryBatchResult)]
pub(crate) struct RowResult {
    sku: String,
    location: String,
    /// `booked` or `refused`.
    #[schema(example = "booked")]
    result: String,
    /// Which rules a refused one breaks; pointers into the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<RowError>,
}

/// One broken rule of one row.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = InventoryBatchError)]
pub(crate) struct RowError {
    pointer: Option<String>,
    code: String,
    detail: String,
}

/// Book several movements and counts
///
/// Each is booked or refused alone, in the order of the request.
#[utoipa::path(
    post,
    path = "/v1/inventory:batch",
    tag = "inventory",
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
        findings.push(FieldError::at("/items", "invalid", "a batch has 1 to 1,000 items"));
        return Err(findings.into_problem());
    }
    let claim = claim(&key, "POST /v1/inventory:batch", &body)?;
    let ticket = match begin(&state, claim.clone()).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } => {
            let first: BatchAnswer = serde_json::from_str(&subject).map_err(|_| Problem::internal())?;
            return Ok(answer(status, true, first));
        }
    };
    let booked = book(&state, &body, claim.as_ref()).await;
    // also if it was cut short
    let skus: Vec<Sku> = body.items.iter().filter_map(|row| Sku::parse(&row.sku).ok()).collect();
    state.settings.answers.changed(Of::Stock, &skus).await;
    let (replayed, done) = (ticket.replayed, BatchAnswer { data: booked? });
    let subject = serde_json::to_string(&done).map_err(|_| Problem::internal())?;
    ticket.finish(&state, StatusCode::OK, &subject).await;
    Ok(answer(StatusCode::OK, replayed, done))
}

/// Books every row that keeps the rules, one after the other.
async fn book(state: &AppState, body: &Batch, claim: Option<&KeyClaim>) -> Result<Vec<RowResult>, Problem> {
    let mut data = Vec::with_capacity(body.items.len());
    for (n, row) in body.items.iter().enumerate() {
        let errors = match parse(n, row, claim) {
            Ok(order) => order.book(state, n).await?,
            Err(problem) => problem.errors().iter().map(RowError::of).collect(),
        };
        let result = if errors.is_empty() { "booked" } else { "refused" }.to_owned();
        data.push(RowResult { sku: row.sku.clone(), location: row.location.clone(), result, errors });
    }
    Ok(data)
}

/// A row that keeps every rule.
enum Booking {
    Receipt(Movement),
    Adjustment(Movement),
    Count(Count),
}

fn parse(n: usize, row: &BatchRow, batch: Option<&KeyClaim>) -> Result<Booking, Problem> {
    let mut findings = Findings::default();
    let at = format!("/items/{n}");
    let sku = findings.body(format!("{at}/sku"), Sku::parse(&row.sku));
    let location = findings.body(format!("{at}/location"), Location::parse(&row.location));
    let reason = findings.body(format!("{at}/reason"), Why::parse(&row.reason));
    let units = units(&at, row).map_err(|error| findings.push(error)).ok();
    let (Some(sku), Some(location), Some(reason), Some(units)) = (sku, location, reason, units) else {
        return Err(findings.into_problem());
    };
    let (reason, actor, key) = (reason.into(), ACTOR.to_owned(), batch.map(|batch| row_key(batch, n)));
    let movement = |quantity| Movement { sku: sku.clone(), location: location.clone(), quantity, reason, actor, key };
    Ok(match units {
        Units::Receipt(quantity) => Booking::Receipt(movement(quantity)),
        Units::Adjustment(quantity) => Booking::Adjustment(movement(quantity)),
        Units::Counted(on_hand) => {
            let Movement { sku, location, reason, actor, key, .. } = movement(0);
            Booking::Count(Count { sku, location, on_hand, reason, actor, key })
        }
    })
}

enum Units {
    Receipt(i64),
    Adjustment(i64),
    Counted(u64),
}

/// Exactly one of the two forms.
fn units(at: &str, row: &BatchRow) -> Result<Units, FieldError> {
    let wrong = |field: &str, rule: Invalid| FieldError::at(format!("{at}/{field}"), "invalid", rule.rule);
    match (row.kind, row.quantity, row.on_hand) {
        (Some(Kind::Receipt), Some(quantity), None) if (1..=UNITS_MAX).contains(&quantity) => Ok(Units::Receipt(quantity)),
        (Some(Kind::Receipt), Some(_), None) => Err(wrong("quantity", Invalid::new("a receipt is 1 to 1,000,000 units"))),
        (Some(Kind::Adjustment), Some(quantity), None) if quantity != 0 && (-UNITS_MAX..=UNITS_MAX).contains(&quantity) => {
            Ok(Units::Adjustment(quantity))
        }
        (Some(Kind::Adjustment), Some(_), None) => {
            Err(wrong("quantity", Invalid::new("an adjustment is up to 1,000,000 units of either sign, and not zero")))
        }
        (None, None, Some(on_hand)) => {
            let counted = Some(on_hand).filter(|n| (0..=ON_HAND_MAX).contains(n)).and_then(|n| u64::try_from(n).ok());
            counted.map(Units::Counted).ok_or_else(|| wrong("on_hand", Invalid::new("on_hand is 0 to 1,000,000,000")))
        }
        _ => Err(FieldError::at(at, "invalid", "either kind and quantity, or on_hand")),
    }
}

/// A row's own key: a batch that was cut short goes on where it stopped. No client can send a key of this client.
fn row_key(batch: &KeyClaim, n: usize) -> KeyClaim {
    let key = derive(&["inventory:batch", &batch.client, &batch.key, &n.to_string()]).to_string();
    KeyClaim { client: format!("{}/batch", batch.client), key, fingerprint: batch.fingerprint.clone() }
}

impl Booking {
    /// Books it; answers why not.
    async fn book(&self, state: &AppState, n: usize) -> Result<Vec<RowError>, Problem> {
        let moved = match self {
            Self::Receipt(movement) => state.store.receive(movement, state.now()).await?,
            Self::Adjustment(movement) => state.store.adjust(movement, state.now()).await?,
            Self::Count(count) => state.store.count(count, state.now()).await?,
        };
        let refused = |field: &str, code: Code, detail: String| {
            vec![RowError { pointer: Some(format!("/items/{n}/{field}")), code: code.as_str().to_owned(), detail }]
        };
        Ok(match moved {
            Moved::Done(_) | Moved::Replayed(_) => Vec::new(),
            Moved::KeyReused => return Err(Problem::internal()),
            Moved::UnknownSku => refused("sku", Code::UnknownSku, "this SKU is not in the catalogue".to_owned()),
            Moved::UnknownLocation => {
                refused("location", Code::UnknownLocation, "this place never had a receipt and was never described".to_owned())
            }
            Moved::BelowReserved { on_hand, reserved } => {
                let detail = format!("{reserved} units are promised to orders and {on_hand} are on the shelf");
                refused(if matches!(self, Self::Count(_)) { "on_hand" } else { "quantity" }, Code::BelowReserved, detail)
            }
        })
    }
}

impl RowError {
    fn of(error: &FieldError) -> Self {
        Self { pointer: error.pointer.clone(), code: error.code.to_owned(), detail: error.detail.clone() }
    }
}
