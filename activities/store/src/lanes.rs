//! Lanes: the outbox cut into sixteen by subject, so that several relays share the work and each subject's events stay in order.
//!
//! A relay leases the lanes of a sink that have something new, hands their next events over and moves the cursors of all in one go. One that dies loses the lease by time. One
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

/// How a relay leaves a lane that it has leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneEnd {
    /// Which.
    pub lane: u32,
    /// The place of the last event that the sink has now.
    pub position: u64,
    /// Nobody leases it before; `None`: it is free at once.
    pub rests_until: Option<Instant>,
}

impl Store {
    /// Makes the lanes of sinks that are new: such a sink begins with what is not published yet. Notes that the sinks are served, and
    /// as published what all of them have; with none named, everything that has a place.
    pub async fn open_lanes(&self, sinks: &[&str], now: Instant) -> Result<()> {
        run!(self, lanes::open(sinks, now))
    }

    /// Leases lanes of a sink that have events to hand over and that nobody works on, until `until`. Only a read while there are none.
    pub async fn lease_lanes(&self, sink: &str, owner: &str, most: u32, until: Instant, now: Instant) -> Result<Vec<Lane>> {
        run!(self, lanes::lease(sink, owner, most, until, now))
    }

    /// A lane's events behind a place, in order.
    pub async fn events_in_lane(&self, lane: &Lane, limit: u32) -> Result<Vec<OutboxRow>> {
        run!(self, lanes::events(lane, limit))
    }

    /// Moves the cursors of leased lanes, gives the lanes back and notes as published what all of `sinks` have: one transaction,
    /// however many lanes. Answers the lanes whose lease was lost, of which nothing is changed.
    pub async fn leave_lanes(&self, sink: &str, owner: &str, ends: &[LaneEnd], sinks: &[&str], now: Instant) -> Result<Vec<u32>> {
        run!(self, lanes::leave(sink, owner, ends, sinks, now))
    }
}
