//! Which versions open orders are of, so that an operator sees when an old one may go.

use oms_domain::Instant;

use crate::Result;
use crate::store::{Store, run};

/// Open orders of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenVersion {
    /// The shape of their workflow.
    pub shape: u32,
    /// The build that wrote their last record; `None`: nothing was recorded yet, or by a version that did not say.
    pub build: Option<String>,
    /// How many.
    pub open_orders: u64,
    /// When the oldest of them was placed.
    pub oldest_placed_at: Instant,
}

impl Store {
    /// Open orders by version, the oldest shape first.
    pub async fn open_versions(&self) -> Result<Vec<OpenVersion>> {
        run!(self, versions::open())
    }
}
