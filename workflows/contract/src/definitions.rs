//! Definitions of activities: their wire names and types, without their code.
#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use crate::activity::*;
use crate::reconciliation::{Begin, Begun, Compare, Compared, Finish, SettleFindings, SettledFindings};
use crate::refund::{AskRefund, CloseRefund, PaidBack, PayBack, RefundAsked};
use crate::returning::{BookReturn, CancelReturnBooking, RecordReturn, Restock, ReturnRecorded};
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
    /// Let the shop's rules look at the order.
    #[activity(name = "orders.assess")]
    pub fn assess(input: Assess) -> Result<Assessed, ActivityError> {
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
    /// Make the promise cover other lines.
    #[activity(name = "inventory.change")]
    pub fn change(input: ChangeReservation) -> Result<Reserved, ActivityError> {
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

/// Money that goes back.
pub struct Refunds;
#[activity_definitions]
impl Refunds {
    /// Accept a refund. Queue `orders`.
    #[activity(name = "refund.request")]
    pub fn request_refund(input: AskRefund) -> Result<RefundAsked, ActivityError> {
        unimplemented!()
    }
    /// Return money through one payment. Queue `payments`.
    #[activity(name = "payment.refund")]
    pub fn pay_back(input: PayBack) -> Result<PaidBack, ActivityError> {
        unimplemented!()
    }
    /// Note that the rest was returned outside. Queue `orders`.
    #[activity(name = "refund.close")]
    pub fn close_refund(input: CloseRefund) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// Goods that come back.
pub struct Returns;
#[activity_definitions]
impl Returns {
    /// Write a return's row. Queue `orders`.
    #[activity(name = "returns.record")]
    pub fn record_return(input: RecordReturn) -> Result<ReturnRecorded, ActivityError> {
        unimplemented!()
    }
    /// Book the parcel that comes back. Queue `shipping`.
    #[activity(name = "shipping.book_return")]
    pub fn book_return(input: BookReturn) -> Result<Booked, ActivityError> {
        unimplemented!()
    }
    /// Take that booking back. Queue `shipping`.
    #[activity(name = "shipping.cancel_return")]
    pub fn cancel_return_booking(input: CancelReturnBooking) -> Result<BookingCancelled, ActivityError> {
        unimplemented!()
    }
    /// Put units back on the shelf. Queue `inventory`.
    #[activity(name = "inventory.restock")]
    pub fn restock(input: Restock) -> Result<(), ActivityError> {
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

/// The comparison of our books with those of others.
pub struct Reconciliation;
#[activity_definitions]
impl Reconciliation {
    /// Open the report.
    #[activity(name = "reconciliation.begin")]
    pub fn begin(input: Begin) -> Result<Begun, ActivityError> {
        unimplemented!()
    }
    /// Compare one page of somebody's books.
    #[activity(name = "reconciliation.compare")]
    pub fn compare(input: Compare) -> Result<Compared, ActivityError> {
        unimplemented!()
    }
    /// Do something about findings.
    #[activity(name = "reconciliation.settle")]
    pub fn settle(input: SettleFindings) -> Result<SettledFindings, ActivityError> {
        unimplemented!()
    }
    /// Close the report.
    #[activity(name = "reconciliation.finish")]
    pub fn finish(input: Finish) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// Markers that implementations bind to.
pub mod markers {
    pub use super::inventory::*;
    pub use super::notifications::*;
    pub use super::orders::*;
    pub use super::payments::*;
    pub use super::reconciliation::*;
    pub use super::refunds::*;
    pub use super::returns::*;
    pub use super::shipping::*;
}
