//! The sandbox carrier: a durable list of bookings, and faults. It sends no events by itself.

use async_trait::async_trait;
use oms_domain::Instant;
use oms_domain::ids::{Location, ShipmentId, derive};
use oms_domain::reconciliation::{CarrierBooking, Listed};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{BookRequest, Booking, Cancel, CancelRequest, Carrier, CarrierOperation, label};
use crate::GatewayError;
use crate::faults::{FaultMode, Faults, dropped};
use crate::ledger::{Ledger, LedgerError};
use oms_domain::party::Party;

mod http;
#[cfg(test)]
mod tests;

pub use http::CarrierCall;

const CARRIER: &str = "sandbox";

/// Whether a booking stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BookingStatus {
    /// The parcel will be fetched.
    Booked,
    /// It will not.
    Cancelled,
}

/// One booking in the carrier's own list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxBooking {
    /// The carrier's id of it.
    pub reference: String,
    /// The key under which it was booked.
    pub book_key: String,
    /// The shipment.
    pub shipment_id: ShipmentId,
    /// The place it leaves from, or comes back to.
    pub location: Location,
    /// Whether it stands.
    pub status: BookingStatus,
    /// The carrier's name.
    pub carrier: String,
    /// The parcel's number.
    pub tracking_number: String,
    /// When it was booked.
    pub booked_at: Instant,
    /// When it was cancelled.
    pub cancelled_at: Option<Instant>,
}

impl From<SandboxBooking> for CarrierBooking {
    fn from(booking: SandboxBooking) -> Self {
        Self {
            reference: booking.reference,
            key: booking.book_key,
            shipment: booking.shipment_id,
            stands: booking.status == BookingStatus::Booked,
            at: booking.booked_at,
        }
    }
}

/// The sandbox carrier. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SandboxCarrier {
    ledger: Ledger,
    faults: Faults,
}

/// One call, whichever it is.
#[derive(Debug, Clone, Copy)]
enum Request<'a> {
    Book(&'a BookRequest),
    Cancel(&'a CancelRequest),
}

impl Request<'_> {
    fn key(&self) -> &str {
        match self {
            Self::Book(r) => &r.key,
            Self::Cancel(r) => &r.key,
        }
    }

    fn book_key(&self) -> &str {
        match self {
            Self::Book(r) => &r.key,
            Self::Cancel(r) => &r.book_key,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Book(_) => "book",
            Self::Cancel(_) => "cancel",
        }
    }

    fn now(&self) -> Instant {
        match self {
            Self::Book(r) => r.now,
            Self::Cancel(r) => r.now,
        }
    }
}

impl SandboxCarrier {
    /// A carrier on `ledger`.
    pub fn new(ledger: Ledger, faults: Faults) -> Self {
        Self { ledger, faults }
    }

    /// All bookings, oldest first. Errors: [`LedgerError`].
    pub async fn bookings(&self) -> Result<Vec<SandboxBooking>, LedgerError> {
        let rows = sqlx::query("SELECT * FROM bookings ORDER BY seq").fetch_all(self.ledger.reader()).await?;
        rows.iter().map(read_booking).collect()
    }

    /// Bookings made at or after `since` behind a cursor, which is `seq`.
    async fn page(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Listed<CarrierBooking>, LedgerError> {
        let after: i64 = after.map_or(Ok(0), str::parse).map_err(|_| LedgerError::Unreadable("cursor"))?;
        let rows = sqlx::query("SELECT * FROM bookings WHERE seq > $1 AND booked_at >= $2 ORDER BY seq LIMIT $3")
            .bind(after)
            .bind(since)
            .bind(i64::from(limit))
            .fetch_all(self.ledger.reader())
            .await?;
        let full = rows.len() >= limit as usize;
        let last = rows.last().filter(|_| full).map(|row| row.try_get::<i64, _>("seq")).transpose()?;
        let entries = rows.iter().map(|row| read_booking(row).map(Into::into)).collect::<Result<Vec<_>, _>>()?;
        Ok(Listed { entries, next: last.map(|seq| seq.to_string()) })
    }

    async fn perform(&self, request: Request<'_>) -> Result<CarrierOperation, GatewayError> {
        let fault = self.faults.mode(Party::Carrier, request.kind()).await?;
        fault.delay().await;
        if let Some(refusal) = fault.refusal() {
            return Err(refusal);
        }
        let mut transaction = self.ledger.begin().await?;
        if let Some(settled) = settled(&mut transaction, request.key()).await? {
            return Ok(settled);
        }
        let operation = match request {
            Request::Book(r) => CarrierOperation::Book(book(&mut transaction, r).await?),
            Request::Cancel(r) => CarrierOperation::Cancel(cancel(&mut transaction, r).await?),
        };
        record(&mut transaction, request, &operation).await?;
        Ledger::commit(transaction).await?;
        if fault == FaultMode::CommitThenDrop {
            return Err(dropped());
        }
        Ok(operation)
    }
}

fn read_booking(row: &SqliteRow) -> Result<SandboxBooking, LedgerError> {
    let shipment: String = row.try_get("shipment_id")?;
    let location: String = row.try_get("location")?;
    Ok(SandboxBooking {
        reference: row.try_get("reference")?,
        book_key: row.try_get("book_key")?,
        shipment_id: ShipmentId::parse(shipment).map_err(|_| LedgerError::Unreadable("shipment id"))?,
        location: Location::parse(location).map_err(|_| LedgerError::Unreadable("location"))?,
        status: match row.try_get("status")? {
            "booked" => BookingStatus::Booked,
            "cancelled" => BookingStatus::Cancelled,
            _ => return Err(LedgerError::Unreadable("booking status")),
        },
        carrier: row.try_get("carrier")?,
        tracking_number: row.try_get("tracking_number")?,
        booked_at: row.try_get("booked_at")?,
        cancelled_at: row.try_get("cancelled_at")?,
    })
}

async fn book(connection: &mut SqliteConnection, request: &BookRequest) -> Result<Booking, LedgerError> {
    let tombstone: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM carrier_operations WHERE book_key = $1)")
        .bind(&request.key)
        .fetch_one(&mut *connection)
        .await?;
    if tombstone {
        return Ok(cancelled());
    }
    let id = derive(&["sandbox booking", &request.key]).simple().to_string().to_uppercase();
    let (reference, tracking_number) = (format!("bk_{}", id.to_lowercase()), format!("SBX{}", &id[..16]));
    // Only the country is kept: this list outlives a customer who asks to be forgotten.
    sqlx::query(
        "INSERT INTO bookings (book_key, shipment_id, location, country, carrier, tracking_number, reference, status, booked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'booked', $8)",
    )
    .bind(&request.key)
    .bind(request.shipment_id.as_str())
    .bind(request.route.place().as_str())
    .bind(request.route.customer().country.as_str())
    .bind(CARRIER)
    .bind(&tracking_number)
    .bind(&reference)
    .bind(request.now)
    .execute(connection)
    .await?;
    Ok(Booking::Booked { carrier: CARRIER.into(), tracking_number, reference, label: None })
}

async fn cancel(connection: &mut SqliteConnection, request: &CancelRequest) -> Result<Cancel, LedgerError> {
    let cancelled =
        sqlx::query("UPDATE bookings SET status = 'cancelled', cancelled_at = $2 WHERE book_key = $1 AND status = 'booked'")
            .bind(&request.book_key)
            .bind(request.now)
            .execute(connection)
            .await?
            .rows_affected();
    Ok(if cancelled == 0 { Cancel::Nothing } else { Cancel::Cancelled })
}

fn cancelled() -> Booking {
    Booking::Refused { code: "cancelled".into() }
}

async fn record(
    connection: &mut SqliteConnection,
    request: Request<'_>,
    operation: &CarrierOperation,
) -> Result<(), LedgerError> {
    let result = match operation {
        CarrierOperation::Book(Booking::Booked { .. }) => "booked",
        CarrierOperation::Book(Booking::Refused { .. }) => "refused",
        CarrierOperation::Cancel(Cancel::Cancelled) => "cancelled",
        CarrierOperation::Cancel(Cancel::Nothing) => "nothing",
    };
    sqlx::query("INSERT INTO carrier_operations (key, kind, book_key, result, at) VALUES ($1, $2, $3, $4, $5)")
        .bind(request.key())
        .bind(request.kind())
        .bind(request.book_key())
        .bind(result)
        .bind(request.now())
        .execute(connection)
        .await?;
    Ok(())
}

/// What became of a key. A booking is answered as it stands now.
async fn settled(connection: &mut SqliteConnection, key: &str) -> Result<Option<CarrierOperation>, LedgerError> {
    let row = sqlx::query(
        "SELECT o.kind, o.result, b.status, b.carrier, b.tracking_number, b.reference
         FROM carrier_operations o LEFT JOIN bookings b ON b.book_key = o.book_key WHERE o.key = $1",
    )
    .bind(key)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (kind, result): (&str, &str) = (row.try_get("kind")?, row.try_get("result")?);
    Ok(Some(match (kind, result) {
        ("cancel", "cancelled") => CarrierOperation::Cancel(Cancel::Cancelled),
        ("cancel", "nothing") => CarrierOperation::Cancel(Cancel::Nothing),
        ("book", "booked") if row.try_get::<Option<&str>, _>("status")? == Some("booked") => {
            CarrierOperation::Book(Booking::Booked {
                carrier: row.try_get("carrier")?,
                tracking_number: row.try_get("tracking_number")?,
                reference: row.try_get("reference")?,
                label: None,
            })
        }
        ("book", "booked" | "refused") => CarrierOperation::Book(cancelled()),
        _ => return Err(LedgerError::Unreadable("carrier operation")),
    }))
}

fn mismatch() -> GatewayError {
    GatewayError::unavailable("the idempotency key was used for another kind of operation")
}

#[async_trait]
impl Carrier for SandboxCarrier {
    async fn book(&self, request: BookRequest) -> Result<Booking, GatewayError> {
        match self.perform(Request::Book(&request)).await? {
            // drawn for each answer: the list above keeps no addresses
            CarrierOperation::Book(Booking::Booked { carrier, tracking_number, reference, .. }) => {
                let label = Some(label::draw(&carrier, &tracking_number, &request));
                Ok(Booking::Booked { carrier, tracking_number, reference, label })
            }
            CarrierOperation::Book(answer) => Ok(answer),
            CarrierOperation::Cancel(_) => Err(mismatch()),
        }
    }

    async fn cancel(&self, request: CancelRequest) -> Result<Cancel, GatewayError> {
        match self.perform(Request::Cancel(&request)).await? {
            CarrierOperation::Cancel(answer) => Ok(answer),
            CarrierOperation::Book(_) => Err(mismatch()),
        }
    }

    async fn lookup(&self, key: &str) -> Result<Option<CarrierOperation>, GatewayError> {
        let fault = self.faults.mode(Party::Carrier, "lookup").await?;
        fault.delay().await;
        if let Some(refusal) = fault.refusal() {
            return Err(refusal);
        }
        let mut view = self.ledger.view().await?;
        Ok(settled(&mut view, key).await?)
    }

    async fn bookings(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Listed<CarrierBooking>, GatewayError> {
        let fault = self.faults.mode(Party::Carrier, "list").await?;
        fault.delay().await;
        if let Some(refusal) = fault.refusal() {
            return Err(refusal);
        }
        Ok(self.page(since, after, limit).await?)
    }

    fn is_sandbox(&self) -> bool {
        true
    }
}
