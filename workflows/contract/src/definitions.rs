//! Definitions of activities: their wire names and types, without their code.
#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use crate::activity::*;
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

/// The order's own row.
pub struct Orders;
#[activity_definitions]
impl Orders {
    /// Write the order's row, timeline, outbox and messages.
    #[activity(name = "orders.record")]
    pub fn record(input: Record) -> Result<Recorded, ActivityError> {
        unimplemented!()
    }
    /// Add to a closed order's story.
    #[activity(name = "orders.append")]
    pub fn append(input: Append) -> Result<Recorded, ActivityError> {
        unimplemented!()
    }
}

/// Stock.
pub struct Inventory;
#[activity_definitions]
impl Inventory {
    /// Promise stock.
    #[activity(name = "inventory.reserve")]
    pub fn reserve(input: Reserve) -> Result<Reserved, ActivityError> {
        unimplemented!()
    }
    /// Take the promise back.
    #[activity(name = "inventory.release")]
    pub fn release(input: Release) -> Result<bool, ActivityError> {
        unimplemented!()
    }
    /// Book the goods out.
    #[activity(name = "inventory.commit")]
    pub fn commit(input: Commit) -> Result<(), ActivityError> {
        unimplemented!()
    }
    /// Book out goods that left although their order was cancelled.
    #[activity(name = "inventory.depart")]
    pub fn depart(input: Commit) -> Result<Departed, ActivityError> {
        unimplemented!()
    }
}

/// Money.
pub struct Payments;
#[activity_definitions]
impl Payments {
    /// Hold funds.
    #[activity(name = "payment.authorize")]
    pub fn authorize(input: Authorize) -> Result<Authorized, ActivityError> {
        unimplemented!()
    }
    /// Take held funds.
    #[activity(name = "payment.capture")]
    pub fn capture(input: Capture) -> Result<Captured, ActivityError> {
        unimplemented!()
    }
    /// Release held funds.
    #[activity(name = "payment.void")]
    pub fn void(input: Void) -> Result<Voided, ActivityError> {
        unimplemented!()
    }
}

/// Carriers.
pub struct Shipping;
#[activity_definitions]
impl Shipping {
    /// Book a courier.
    #[activity(name = "shipping.book")]
    pub fn book(input: Book) -> Result<Booked, ActivityError> {
        unimplemented!()
    }
    /// Take a booking back.
    #[activity(name = "shipping.cancel")]
    pub fn cancel(input: CancelBooking) -> Result<BookingCancelled, ActivityError> {
        unimplemented!()
    }
}

/// Messages.
pub struct Notifications;
#[activity_definitions]
impl Notifications {
    /// Send one message.
    #[activity(name = "notification.send")]
    pub fn send(input: Send) -> Result<Sent, ActivityError> {
        unimplemented!()
    }
}

/// Markers that implementations bind to.
pub mod markers {
    pub use super::inventory::*;
    pub use super::notifications::*;
    pub use super::orders::*;
    pub use super::payments::*;
    pub use super::shipping::*;
}
