//! The hand-off to the warehouse: it says that it has taken a shipment over, by a word of its own or by any report.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};

use crate::Result;
use crate::store::{Store, run};

/// A shipment with a courier of which the warehouse has said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unacknowledged {
    /// Which.
    pub shipment_id: ShipmentId,
    /// Whose.
    pub order_id: OrderId,
    /// Since when a courier is booked.
    pub since: Instant,
}

/// The answer to [`Store::acknowledge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// At this instant, now or before; the first one stays.
    At(Instant),
    /// There is no such shipment.
    UnknownShipment,
}

impl Store {
    /// Notes that the warehouse has taken a shipment over, here and on the order's timeline. Idempotent.
    pub async fn acknowledge(&self, shipment: &ShipmentId, actor: &str, now: Instant) -> Result<Acknowledged> {
        run!(self, acknowledgements::acknowledge(shipment, actor, now))
    }

    /// Shipments booked before an instant and still waiting for the warehouse, by id after the given one; without those of which an
    /// item says so or a person has decided.
    pub async fn unacknowledged(
        &self,
        booked_before: Instant,
        after: Option<&ShipmentId>,
        limit: u32,
    ) -> Result<Vec<Unacknowledged>> {
        run!(self, acknowledgements::unacknowledged(booked_before, after, limit))
    }

    /// Shipments booked before an instant and still waiting for the warehouse, which has been told of them only once.
    pub async fn to_hand_off_again(&self, booked_before: Instant, limit: u32) -> Result<Vec<Unacknowledged>> {
        run!(self, acknowledgements::to_hand_off_again(booked_before, limit))
    }

    /// Tells the warehouse of a shipment once more, by an event of the order. Once per shipment.
    pub async fn hand_off_again(&self, waiting: &Unacknowledged, now: Instant) -> Result<()> {
        run!(self, acknowledgements::hand_off_again(waiting, now))
    }

    /// Whether the shipment still waits for the warehouse.
    pub async fn awaits_acknowledgement(&self, shipment: &ShipmentId) -> Result<bool> {
        run!(self, acknowledgements::awaits(shipment))
    }
}
