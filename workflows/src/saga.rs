//! The saga as a table the eye can check. Tests sweep every row: fail it, repeat it, undo it twice, kill the worker after it.

use oms_contract::names::Queue;
use oms_domain::review::{BOOKING_REFUSED, CAPTURE_REFUSED};

/// What can be done about a step once it has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An undo exists.
    Compensable,
    /// No way back: after it the only way is forward.
    Pivot,
    /// Behind the pivot: must finish.
    Retriable,
}

/// A step of an order's way forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Promise stock.
    Reserve,
    /// Hold funds.
    Authorize,
    /// Book a courier, per shipment.
    Book,
    /// The parcel is handed to the carrier; reported, not done by us.
    Ship,
    /// Book the goods out, per shipment.
    Commit,
    /// Take the funds, per shipment.
    Capture,
}

/// The undo of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Undo {
    /// Take the promise of stock back.
    Release,
    /// Release the held funds.
    Void,
    /// Take the courier's booking back.
    CancelBooking,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 6] = [Self::Reserve, Self::Authorize, Self::Book, Self::Ship, Self::Commit, Self::Capture];

    /// What can be done about it.
    pub fn class(self) -> Class {
        match self {
            Self::Reserve | Self::Authorize | Self::Book => Class::Compensable,
            Self::Ship => Class::Pivot,
            Self::Commit | Self::Capture => Class::Retriable,
        }
    }

    /// Its undo, if it has one.
    pub fn undo(self) -> Option<Undo> {
        match self {
            Self::Reserve => Some(Undo::Release),
            Self::Authorize => Some(Undo::Void),
            Self::Book => Some(Undo::CancelBooking),
            Self::Ship | Self::Commit | Self::Capture => None,
        }
    }

    /// The activity that does it; the pivot has none.
    pub fn activity(self) -> Option<&'static str> {
        match self {
            Self::Reserve => Some("inventory.reserve"),
            Self::Authorize => Some("payment.authorize"),
            Self::Book => Some("shipping.book"),
            Self::Ship => None,
            Self::Commit => Some("inventory.commit"),
            Self::Capture => Some("payment.capture"),
        }
    }

    /// Where it runs.
    pub fn queue(self) -> Queue {
        match self {
            Self::Reserve | Self::Commit => Queue::Inventory,
            Self::Authorize | Self::Capture => Queue::Payments,
            Self::Book => Queue::Shipping,
            Self::Ship => Queue::Orders,
        }
    }

    /// The flag that its refusal raises, if a person may settle it outside.
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Book => Some(BOOKING_REFUSED),
            Self::Capture => Some(CAPTURE_REFUSED),
            Self::Reserve | Self::Authorize | Self::Ship | Self::Commit => None,
        }
    }

    /// Whether an open hold keeps it from starting.
    pub fn waits_for_holds(self) -> bool {
        matches!(self, Self::Book | Self::Capture)
    }

    /// What it does, for an operator.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Reserve => "promise stock to the order",
            Self::Authorize => "hold the customer's funds",
            Self::Book => "book a courier",
            Self::Ship => "parcel handed to the carrier",
            Self::Commit => "book the goods out of the stock",
            Self::Capture => "take the held funds for the shipment",
        }
    }
}

impl Undo {
    /// Every undo.
    pub const ALL: [Self; 3] = [Self::Release, Self::Void, Self::CancelBooking];

    /// The activity that does it.
    pub fn activity(self) -> &'static str {
        match self {
            Self::Release => "inventory.release",
            Self::Void => "payment.void",
            Self::CancelBooking => "shipping.cancel",
        }
    }

    /// Where it runs.
    pub fn queue(self) -> Queue {
        match self {
            Self::Release => Queue::Inventory,
            Self::Void => Queue::Payments,
            Self::CancelBooking => Queue::Shipping,
        }
    }

    /// What it does, for an operator.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Release => "undo: release the promised stock",
            Self::Void => "undo: release the customer's funds",
            Self::CancelBooking => "undo: cancel the courier",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_undone_has_an_undo_and_nothing_after_the_pivot_has() {
        let pivot = Step::ALL.iter().position(|s| s.class() == Class::Pivot).unwrap();
        for (at, step) in Step::ALL.iter().enumerate() {
            assert_eq!(step.undo().is_some(), step.class() == Class::Compensable, "{step:?}");
            assert_eq!(step.class() == Class::Retriable, at > pivot, "{step:?}");
        }
    }

    #[test]
    fn every_undo_belongs_to_one_step() {
        for undo in Undo::ALL {
            assert_eq!(Step::ALL.iter().filter(|s| s.undo() == Some(undo)).count(), 1, "{undo:?}");
        }
    }
}
