//! How much a process may ask of a database server, and how long it waits.

use std::time::Duration;

/// The bounds of a process's connections to Postgres. SQLite has one writer and a few readers, whatever these say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most connections at once.
    pub connections: u32,
    /// Connections that stay open while nothing is asked.
    pub connections_min: u32,
    /// How long a verb waits for a connection, and a start for an answer.
    pub acquire: Duration,
    /// How long a statement may run.
    pub statement: Duration,
    /// How long a statement may wait for a lock.
    pub lock: Duration,
}

impl Default for Bounds {
    /// More than 16 connections only lengthen the tail.
    fn default() -> Self {
        Self {
            connections: 16,
            connections_min: 0,
            acquire: Duration::from_secs(5),
            statement: Duration::from_secs(8),
            lock: Duration::from_secs(5),
        }
    }
}
