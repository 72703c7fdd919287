//! A carrier, or a service in front of many, over the small HTTP protocol of `docs/carrier.md`: ask for rates, buy a label, void it, list.
//!
//! Our effect key is the label's `reference`, under which it is looked for before it is bought; it also travels as `Idempotency-Key`.

use async_trait::async_trait;
use oms_domain::Instant;
use oms_domain::ids::ShipmentId;
use oms_domain::reconciliation::{CarrierBooking, Listed};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

use super::{BookRequest, Booking, Cancel, CancelRequest, Carrier, CarrierOperation, Label, Route};
use crate::GatewayError;
use crate::secret::Secret;
use crate::web::{self, WebError};
use objects::{ErrorEnvelope, Labels, Rate, Rates, WireLabel};

mod objects;
#[cfg(test)]
mod tests;
pub mod tracking;

/// Whose answers these are, in errors.
const PARTY: &str = "the carrier";

/// How to reach a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCarrierSettings {
    /// Where it is, without `/v1`.
    pub base_url: String,
    /// Bearer token.
    pub token: Secret,
    /// The service to buy; without it, or where it is not offered, the cheapest.
    pub service: Option<String>,
    /// What one operation may take, all its calls together.
    pub timeout: Duration,
}

/// A carrier over HTTP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpCarrier {
    client: Client,
    base: String,
    settings: HttpCarrierSettings,
}

/// A call that came back.
enum Called<T> {
    /// With success.
    Answered(T),
    /// With a refusal that stands, and its code.
    Refused(String),
}

impl HttpCarrier {
    /// A carrier that is not called yet. Needs an installed TLS provider. Errors: [`WebError`].
    pub fn new(settings: HttpCarrierSettings) -> Result<Self, WebError> {
        Ok(Self { client: web::client(settings.timeout)?, base: web::base("the carrier", &settings.base_url)?, settings })
    }

    /// Asks the carrier whether it knows us. Errors: [`GatewayError`], whose detail names the remedy.
    pub async fn check(&self) -> Result<(), GatewayError> {
        self.read::<Labels>("labels", &[("limit", "1")]).await.map(|_| ())
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder, acts: bool) -> Result<Called<T>, GatewayError> {
        let request = request.bearer_auth(self.settings.token.reveal());
        let response = request.send().await.map_err(|e| web::lost(PARTY, acts, e))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|e| web::lost(PARTY, acts, e))?;
        let unsure = |detail: String| {
            if acts { GatewayError::unknown_outcome(detail) } else { GatewayError::unavailable(detail) }
        };
        if status.is_success() {
            let read = serde_json::from_slice(&bytes).map(Called::Answered);
            return read.map_err(|_| unsure(format!("{PARTY}'s answer cannot be read")));
        }
        let code = serde_json::from_slice::<ErrorEnvelope>(&bytes).unwrap_or_default().error.code;
        let detail = format!("{PARTY} answers {}, code {}", status.as_u16(), code.as_deref().unwrap_or("-"));
        match (status, code) {
            (StatusCode::UNPROCESSABLE_ENTITY, Some(code)) => Ok(Called::Refused(code)),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Err(GatewayError::unavailable(format!("{detail}: correct OMS__CARRIER__HTTP__TOKEN")))
            }
            (StatusCode::CONFLICT, _) => Err(unsure(detail)),
            _ if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE => Err(unsure(detail)),
            _ => Err(GatewayError::unavailable(detail)),
        }
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, GatewayError> {
        let request = self.client.get(format!("{}/v1/{path}", self.base)).query(query);
        match self.call(request, false).await? {
            Called::Answered(answer) => Ok(answer),
            Called::Refused(code) => Err(GatewayError::unavailable(format!("{PARTY} refuses to list its labels, code {code}"))),
        }
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value, key: Option<&str>) -> Result<Called<T>, GatewayError> {
        let mut request = self.client.post(format!("{}/v1/{path}", self.base)).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.call(request, key.is_some()).await
    }

    /// The label of a reference, if one was ever bought or its reference was closed.
    async fn label(&self, reference: &str) -> Result<Option<WireLabel>, GatewayError> {
        let found: Labels = self.read("labels", &[("reference", reference)]).await?;
        Ok(found.labels.into_iter().find(|label| label.reference == reference))
    }

    async fn buy(&self, request: &BookRequest) -> Result<Booking, GatewayError> {
        match self.label(&request.key).await? {
            // one that stands is bought again under its reference where the list keeps no documents: only that answer has it
            Some(label) if label.status == "purchased" && label.label.is_none() => {}
            Some(label) => return Ok(label.booking()),
            None => {}
        }
        let shipment = request.shipment_id.as_str();
        let parcel = match &request.route {
            Route::Out { from, to } => json!({"shipment": shipment, "direction": "out", "from": from.as_str(), "to": to}),
            Route::Back { from, to, address } => {
                json!({"shipment": shipment, "direction": "back", "from": from, "to": to.as_str(), "place": address})
            }
        };
        let rate = match self.post::<Rates>("rates", &parcel, None).await? {
            Called::Answered(rates) => self.choose(rates.rates),
            Called::Refused(code) => return Ok(Booking::Refused { code }),
        };
        let Some(rate) = rate else { return Ok(Booking::Refused { code: "no_rate".into() }) };
        let order = json!({"reference": request.key, "rate": rate.id, "parcel": parcel});
        match self.post::<WireLabel>("labels", &order, Some(&request.key)).await? {
            Called::Answered(label) => Ok(label.booking()),
            Called::Refused(code) => Ok(Booking::Refused { code }),
        }
    }

    /// The wanted service, else the cheapest; of equal ones the first.
    fn choose(&self, rates: Vec<Rate>) -> Option<Rate> {
        let wanted = self.settings.service.as_deref();
        let (fits, others): (Vec<Rate>, Vec<Rate>) =
            rates.into_iter().partition(|rate| wanted.is_some_and(|w| rate.service == w));
        fits.into_iter().min_by_key(|r| r.amount).or_else(|| others.into_iter().min_by_key(|r| r.amount))
    }

    async fn void(&self, request: &CancelRequest) -> Result<Cancel, GatewayError> {
        let body = json!({"reference": request.book_key});
        match self.post::<objects::Voided>("voids", &body, Some(&request.key)).await? {
            Called::Answered(voided) if voided.result == "voided" => Ok(Cancel::Cancelled),
            Called::Answered(_) => Ok(Cancel::Nothing),
            // the parcel is on its way: nothing is left to be called off, and what it reports decides
            Called::Refused(code) if code == "too_late" => Ok(Cancel::Nothing),
            Called::Refused(code) => Err(GatewayError::unavailable(format!("{PARTY} refuses to void a label, code {code}"))),
        }
    }

    /// Ends an operation that takes too long: what it was doing may have happened.
    async fn within<T>(&self, operation: impl Future<Output = Result<T, GatewayError>>) -> Result<T, GatewayError> {
        let late = || GatewayError::unknown_outcome(format!("{PARTY}: no end after {:?}", self.settings.timeout));
        tokio::time::timeout(self.settings.timeout, operation).await.unwrap_or_else(|_| Err(late()))
    }
}

impl WireLabel {
    fn booking(self) -> Booking {
        if self.status != "purchased" {
            return Booking::Refused { code: "cancelled".into() };
        }
        let label = self.label.map(|label| Label { media_type: label.media_type, text: label.text });
        Booking::Booked { carrier: self.carrier, tracking_number: self.tracking_number, reference: self.id, label }
    }
}

#[async_trait]
impl Carrier for HttpCarrier {
    async fn book(&self, request: BookRequest) -> Result<Booking, GatewayError> {
        self.within(self.buy(&request)).await
    }

    async fn cancel(&self, request: CancelRequest) -> Result<Cancel, GatewayError> {
        self.within(self.void(&request)).await
    }

    /// A void is idempotent by its reference, so only bookings are looked up; whoever asks for a void again hears the same.
    async fn lookup(&self, key: &str) -> Result<Option<CarrierOperation>, GatewayError> {
        let known = self.within(self.label(key)).await?;
        let bare = |label: WireLabel| WireLabel { label: None, ..label };
        Ok(known.map(|label| CarrierOperation::Book(bare(label).booking())))
    }

    async fn bookings(&self, since: Instant, after: Option<&str>, limit: u32) -> Result<Listed<CarrierBooking>, GatewayError> {
        let (since, limit) = (since.to_rfc3339(), limit.to_string());
        let mut query = vec![("since", since.as_str()), ("limit", limit.as_str())];
        query.extend(after.map(|cursor| ("after", cursor)));
        let page: Labels = self.read("labels", &query).await?;
        let listed = |label: WireLabel| {
            Some(CarrierBooking {
                shipment: ShipmentId::parse(label.reference.split('/').next()?).ok()?,
                stands: label.status == "purchased",
                at: label.purchased_at?,
                reference: label.id,
                key: label.reference,
            })
        };
        // what names no parcel of ours is none of ours
        Ok(Listed { next: page.next, entries: page.labels.into_iter().filter_map(listed).collect() })
    }

    fn is_sandbox(&self) -> bool {
        false
    }
}
