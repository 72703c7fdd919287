//! The sandbox carrier over the protocol of `docs/carrier.md`. The list is the same.

use oms_domain::Instant;
use oms_domain::customer::Address;
use oms_domain::ids::{Location, ShipmentId};
use oms_domain::stock::site::SiteAddress;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{BookingStatus, SandboxBooking, SandboxCarrier};
use crate::GatewayError;
use crate::carrier::{BookRequest, Booking, Cancel, CancelRequest, Carrier, Route};

/// Labels of a page unless told otherwise, and at most.
const PAGE_MAX: usize = 100;

/// The one thing it offers.
const RATE: &str = "rate_standard";

/// A call of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct CarrierCall<'a> {
    /// Whether it is a POST; else a GET.
    pub post: bool,
    /// The path behind `/v1/`.
    pub path: &'a str,
    /// The query.
    pub query: &'a str,
    /// The body of a POST.
    pub body: &'a str,
    /// `Idempotency-Key`.
    pub key: Option<&'a str>,
    /// Now.
    pub now: Instant,
}

#[derive(Deserialize)]
struct Parcel {
    shipment: ShipmentId,
    #[serde(flatten)]
    way: Way,
}

#[derive(Deserialize)]
#[serde(tag = "direction", rename_all = "snake_case")]
enum Way {
    Out {
        from: Location,
        to: Address,
    },
    Back {
        from: Address,
        to: Location,
        #[serde(default)]
        place: Option<SiteAddress>,
    },
}

#[derive(Deserialize)]
struct Order {
    reference: String,
    rate: String,
    parcel: Parcel,
}

#[derive(Deserialize)]
struct Void {
    reference: String,
}

type Refusal = (u16, &'static str);

impl SandboxCarrier {
    /// Answers a call of the protocol: HTTP status and JSON body.
    pub async fn http(&self, call: CarrierCall<'_>) -> (u16, Value) {
        let answer = match (call.post, call.path) {
            (true, "rates") => rates(call.body),
            (true, "labels") => self.buy(call).await,
            (true, "voids") => self.void(call).await,
            (false, "labels") => self.labels(call).await,
            _ => Err((404, "unknown_path")),
        };
        match answer {
            Ok(body) => (200, body),
            Err((status, code)) => (status, json!({"error": {"code": code}})),
        }
    }

    async fn buy(&self, call: CarrierCall<'_>) -> Result<Value, Refusal> {
        let order: Order = read(call.body)?;
        if order.rate != RATE {
            return Err((422, "unknown_rate"));
        }
        let route = match order.parcel.way {
            Way::Out { from, to } => Route::Out { from, to },
            Way::Back { from, to, place } => Route::Back { from, to, address: place },
        };
        let shipment_id = order.parcel.shipment;
        let request = BookRequest { key: order.reference.clone(), shipment_id, route, now: call.now };
        match self.book(request).await.map_err(unanswered)? {
            Booking::Refused { .. } => Err((422, "cancelled")),
            Booking::Booked { carrier, tracking_number, reference, label } => {
                let document = label.map(|l| json!({"media_type": l.media_type, "text": l.text}));
                Ok(json!({"id": reference, "reference": order.reference, "status": "purchased", "carrier": carrier,
                    "tracking_number": tracking_number, "purchased_at": call.now, "label": document}))
            }
        }
    }

    async fn void(&self, call: CarrierCall<'_>) -> Result<Value, Refusal> {
        let void: Void = read(call.body)?;
        let parcel = void.reference.split('/').next().unwrap_or_default();
        let shipment_id = ShipmentId::parse(parcel).map_err(|_| (422, "unknown_reference"))?;
        let key = call.key.map_or_else(|| format!("{}/void", void.reference), str::to_owned);
        let request = CancelRequest { key, book_key: void.reference, shipment_id, now: call.now };
        let result = match self.cancel(request).await.map_err(unanswered)? {
            Cancel::Cancelled => "voided",
            Cancel::Nothing => "nothing",
        };
        Ok(json!({"result": result}))
    }

    async fn labels(&self, call: CarrierCall<'_>) -> Result<Value, Refusal> {
        let url = reqwest::Url::parse(&format!("http://query.invalid/?{}", call.query)).map_err(|_| (400, "unreadable"))?;
        let given = |name: &str| url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned());
        let all = SandboxCarrier::bookings(self).await.map_err(|_| (503, "unavailable"))?;
        if let Some(reference) = given("reference") {
            let found: Vec<Value> = all.into_iter().filter(|b| b.book_key == reference).map(shown).collect();
            return Ok(json!({"labels": found, "next": null}));
        }
        let since: Option<Instant> = given("since").map(|at| at.parse()).transpose().map_err(|_| (400, "unreadable"))?;
        let limit = given("limit").map_or(Ok(PAGE_MAX), |n| n.parse()).map_err(|_| (400, "unreadable"))?.clamp(1, PAGE_MAX);
        let after = given("after");
        let behind = after.map_or(0, |id| all.iter().position(|b| b.reference == id).map_or(all.len(), |at| at + 1));
        let wanted = all.into_iter().skip(behind).filter(|b| since.is_none_or(|s| b.booked_at >= s));
        let mut page: Vec<SandboxBooking> = wanted.take(limit + 1).collect();
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|b| b.reference.clone());
        Ok(json!({"labels": page.into_iter().map(shown).collect::<Vec<_>>(), "next": next}))
    }
}

fn rates(body: &str) -> Result<Value, Refusal> {
    let _: Parcel = read(body)?;
    Ok(json!({"rates": [{"id": RATE, "carrier": "sandbox", "service": "standard", "amount": 490, "currency": "EUR"}]}))
}

/// As it is listed: without the document, which holds an address.
fn shown(booking: SandboxBooking) -> Value {
    let status = match booking.status {
        BookingStatus::Booked => "purchased",
        BookingStatus::Cancelled => "voided",
    };
    json!({"id": booking.reference, "reference": booking.book_key, "status": status, "carrier": booking.carrier,
        "tracking_number": booking.tracking_number, "purchased_at": booking.booked_at, "label": null})
}

fn read<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, Refusal> {
    serde_json::from_str(body).map_err(|_| (400, "unreadable"))
}

fn unanswered(error: GatewayError) -> Refusal {
    match error {
        GatewayError::Unavailable { .. } | GatewayError::LeftAlone { .. } => (503, "unavailable"),
        GatewayError::UnknownOutcome { .. } => (500, "internal"),
    }
}
