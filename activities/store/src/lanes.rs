//! Lanes: the outbox cut into sixteen by subject, so that several relays share the work and each subject's events stay in order.
//!
//! A relay leases a lane of a sink, hands its next events over and moves the lane's cursor. One that dies loses the lease by time. One
//! that was only slow can repeat events that another has handed over since, and can skip none.

use oms_domain::Instant;

use crate::Result;
use crate::outbox::OutboxRow;
use crate::store::{Store, run};

/// Lanes of the outbox. The schema computes an event's lane by this number.
pub const LANES: u32 = 16;

/// A lane of a sink, leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// Which.
    pub lane: u32,
    /// The place of the last event that the sink has.
    pub position: u64,
}

impl Store {
    /// Makes the lanes of sinks that are new: such a sink begins with what is not published yet. Notes as published what all the named
    /// sinks have; with none named, everything that has a place.
    pub async fn open_lanes(&self, sinks: &[&str], now: Instant) -> Result<()> {
        run!(self, lanes::open(sinks, now))
    }

    /// Leases lanes of a sink that have events to hand over and that nobody works on, until `until`.
    pub async fn lease_lanes(&self, sink: &str, owner: &str, most: u32, until: Instant, now: Instant) -> Result<Vec<Lane>> {
        run!(self, lanes::lease(sink, owner, most, until, now))
    }

    /// A lane's events behind a place, in order.
    pub async fn events_in_lane(&self, lane: &Lane, limit: u32) -> Result<Vec<OutboxRow>> {
        run!(self, lanes::events(lane, limit))
    }

    /// The sink has everything up to `position`: moves the cursor, gives the lane back and notes as published what all of `sinks`
    /// have. `false`: the lease was lost, and nothing is changed.
    pub async fn advance_lane(
        &self,
        sink: &str,
        lane: u32,
        owner: &str,
        position: u64,
        sinks: &[&str],
        now: Instant,
    ) -> Result<bool> {
        run!(self, lanes::advance(sink, lane, owner, position, sinks, now))
    }

    /// Gives a lane back as it was; nobody leases it before `until`.
    pub async fn release_lane(&self, sink: &str, lane: u32, owner: &str, until: Option<Instant>) -> Result<()> {
        run!(self, lanes::release(sink, lane, owner, until))
    }
}
