//! Goods that come back: their row, their label, their shelf.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::activity::{Booked, BookingCancelled, effect_key};
use oms_contract::definitions::markers;
use oms_contract::returning::{BookReturn, CancelReturnBooking, RecordReturn, Restock, ReturnRecorded};
use oms_domain::ids::ShipmentId;
use oms_domain::returning::ReturnId;
use oms_gateways::carrier::{BookRequest, Booking, Cancel, CancelRequest, Carrier, CarrierOperation, Route};
use oms_store::{BookingRow, Label, RestockUnits, Store};
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// Writes returns. Queue `orders`.
pub struct ReturnActivities {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
}

#[activities]
impl ReturnActivities {
    /// Write a return's row.
    #[activity(definition = markers::RecordReturn)]
    pub async fn record_return(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: RecordReturn,
    ) -> Result<ReturnRecorded, ActivityError> {
        let newest = self.store.record_return(&input.return_id, input.rev, &input.state, (self.clock)()).await;
        Ok(ReturnRecorded { rev: newest.map_err(failure::store)? })
    }
}

/// Puts goods back. Queue `inventory`.
pub struct RestockActivities {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
}

#[activities]
impl RestockActivities {
    /// Put units back on the shelf.
    #[activity(definition = markers::Restock)]
    pub async fn restock(self: Arc<Self>, _ctx: ActivityContext, input: Restock) -> Result<(), ActivityError> {
        let units = RestockUnits {
            return_id: input.return_id,
            order_id: input.order_id,
            receipt: input.receipt,
            units: input.units,
            actor: input.actor,
        };
        self.store.restock(&units, (self.clock)()).await.map(|_| ()).map_err(failure::store)
    }
}

/// Books parcels that come back. Queue `shipping`.
pub struct ReturnLabelActivities {
    /// The database.
    pub store: Store,
    /// The carrier.
    pub carrier: Arc<dyn Carrier>,
    /// The time.
    pub clock: Clock,
}

impl ReturnLabelActivities {
    /// What became of a key, if this is not the first attempt.
    async fn known(&self, ctx: &ActivityContext, key: &str, again: bool) -> Result<Option<CarrierOperation>, ActivityError> {
        if !again && ctx.info().attempt <= 1 {
            return Ok(None);
        }
        self.carrier.lookup(key).await.map_err(failure::gateway)
    }
}

/// The carrier knows a return by its own id, as it knows a shipment by the shipment's.
fn parcel(id: &ReturnId) -> Result<ShipmentId, ActivityError> {
    ShipmentId::parse(id.as_str()).map_err(|_| failure::missing("the return's id names no parcel"))
}

#[activities]
impl ReturnLabelActivities {
    /// Book the parcel that comes back. The customer's address is read by the order's id.
    #[activity(definition = markers::BookReturn)]
    pub async fn book_return(self: Arc<Self>, ctx: ActivityContext, input: BookReturn) -> Result<Booked, ActivityError> {
        let key = effect_key(input.return_id.as_str(), "book", input.revision);
        let (now, shipment_id) = ((self.clock)(), parcel(&input.return_id)?);
        let answer = match self.known(&ctx, &key, input.again).await? {
            Some(CarrierOperation::Book(refused @ Booking::Refused { .. })) => refused,
            // one that stands is asked for again under its key: only that answer has the label
            _ => {
                let order = self.store.order(&input.order_id).await.map_err(failure::store)?;
                let from = order.ok_or_else(|| failure::missing("the order has no row"))?.ship_to;
                let place = self.store.location(&input.location).await.map_err(failure::store)?;
                let route = Route::Back { from, to: input.location, address: place.and_then(|place| place.address) };
                let request = BookRequest { key: key.clone(), shipment_id: shipment_id.clone(), route, now };
                self.carrier.book(request).await.map_err(failure::gateway)?
            }
        };
        match answer {
            Booking::Refused { code } => Ok(Booked::Refused { code }),
            Booking::Booked { carrier, tracking_number, reference, label } => {
                let row = BookingRow {
                    key,
                    order_id: input.order_id,
                    shipment_id,
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

    /// Take that booking back.
    #[activity(definition = markers::CancelReturnBooking)]
    pub async fn cancel_return_booking(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: CancelReturnBooking,
    ) -> Result<BookingCancelled, ActivityError> {
        let key = effect_key(input.return_id.as_str(), "cancel", input.revision);
        let book_key = effect_key(input.return_id.as_str(), "book", input.revision);
        let (now, shipment_id) = ((self.clock)(), parcel(&input.return_id)?);
        let answer = match self.known(&ctx, &key, input.again).await? {
            Some(CarrierOperation::Cancel(answer)) => answer,
            _ => {
                let request = CancelRequest { key, book_key: book_key.clone(), shipment_id, now };
                self.carrier.cancel(request).await.map_err(failure::gateway)?
            }
        };
        self.store.record_booking_cancelled(&book_key, now).await.map_err(failure::store)?;
        Ok(BookingCancelled { cancelled: answer == Cancel::Cancelled })
    }
}
