//! Carriers. A repeated attempt first asks the carrier what became of the key.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::activity::{Book, Booked, BookingCancelled, CancelBooking, effect_key};
use oms_contract::definitions::markers;
use oms_gateways::carrier::{BookRequest, Booking, Cancel as CancelOutcome, CancelRequest, Carrier, CarrierOperation, Route};
use oms_store::{BookingRow, Label, Store};
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// Books couriers.
pub struct ShippingActivities {
    /// The database.
    pub store: Store,
    /// The carrier.
    pub carrier: Arc<dyn Carrier>,
    /// The time.
    pub clock: Clock,
}

impl ShippingActivities {
    /// What became of a key, if this is not the first attempt.
    async fn known(&self, ctx: &ActivityContext, key: &str) -> Result<Option<CarrierOperation>, ActivityError> {
        if ctx.info().attempt <= 1 {
            return Ok(None);
        }
        self.carrier.lookup(key).await.map_err(failure::gateway)
    }
}

#[activities]
impl ShippingActivities {
    /// Book a courier. Where the parcel goes is read by the order's id: addresses never pass through the engine.
    #[activity(definition = markers::Book)]
    pub async fn book(self: Arc<Self>, ctx: ActivityContext, input: Book) -> Result<Booked, ActivityError> {
        let key = effect_key(input.shipment_id.as_str(), "book", input.revision);
        let now = (self.clock)();
        let answer = match self.known(&ctx, &key).await? {
            Some(CarrierOperation::Book(refused @ Booking::Refused { .. })) => refused,
            // one that stands is asked for again under its key: only that answer has the label
            _ => {
                let order = self.store.order(&input.order_id).await.map_err(failure::store)?;
                let order = order.ok_or_else(|| failure::missing("the order has no row"))?;
                let request = BookRequest {
                    key: key.clone(),
                    shipment_id: input.shipment_id.clone(),
                    route: Route::Out { from: input.location, to: order.ship_to },
                    now,
                };
                self.carrier.book(request).await.map_err(failure::gateway)?
            }
        };
        match answer {
            Booking::Refused { code } => Ok(Booked::Refused { code }),
            Booking::Booked { carrier, tracking_number, reference, label } => {
                let row = BookingRow {
                    key,
                    order_id: input.order_id,
                    shipment_id: input.shipment_id,
                    carrier: carrier.clone(),
                    tracking_number: tracking_number.clone(),
                    reference,
                    label: label.map(|l| Label { media_type: l.media_type, text: l.text }),
                    at: now,
                };
                self.store.record_booking(&row).await.map_err(failure::store)?;
                Ok(Booked::Booked { carrier, tracking_number })
            }
        }
    }

    /// Take a booking back.
    #[activity(definition = markers::Cancel)]
    pub async fn cancel(self: Arc<Self>, ctx: ActivityContext, input: CancelBooking) -> Result<BookingCancelled, ActivityError> {
        let key = effect_key(input.shipment_id.as_str(), "cancel", input.revision);
        let book_key = effect_key(input.shipment_id.as_str(), "book", input.revision);
        let now = (self.clock)();
        let answer = match self.known(&ctx, &key).await? {
            Some(CarrierOperation::Cancel(answer)) => answer,
            _ => {
                let request = CancelRequest { key, book_key: book_key.clone(), shipment_id: input.shipment_id.clone(), now };
                self.carrier.cancel(request).await.map_err(failure::gateway)?
            }
        };
        self.store.record_booking_cancelled(&book_key, now).await.map_err(failure::store)?;
        Ok(BookingCancelled { cancelled: answer == CancelOutcome::Cancelled })
    }
}
