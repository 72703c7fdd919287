//! What others report to us by webhook: the payment gateway and carriers.
//!
//! One way for all of them: the signature is checked, the report is stored as it came, once per event, and only then routed to its order.
//! What cannot be routed at once, because the engine is away or what it is about is not here yet, is routed later ([`run`]). Routing may
//! happen twice: a run takes each event of a shipment once, and asks the gateway itself what its news are.

mod receive;
mod route;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::shipment::ScanType;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[cfg(test)]
pub(crate) use run::turn;
pub use run::{InboundPace, run};

use crate::state::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(receive::payments)).routes(routes!(receive::carrier))
}

/// Why a report is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is not genuine. For the log: the sender is not told which.
    #[error("not genuine: {0}")]
    NotGenuine(String),
    /// It is genuine, but no report. For the sender.
    #[error("no report: {0}")]
    NotAReport(String),
}

/// A report in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The reporter's id of the event: the same in every delivery.
    pub event_id: String,
    /// The reporter's word for what happened.
    pub kind: String,
    /// What it is about.
    pub about: About,
}

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A payment stands elsewhere now; where, its order's run asks the gateway.
    Payment {
        /// Its order, if the report names it.
        order: Option<OrderId>,
        /// The gateway's id of it, if the report names it.
        payment_id: Option<String>,
    },
    /// A parcel.
    Parcel(ParcelNews),
    /// Nothing that decides anything here.
    Nothing,
}

/// What a carrier reports of a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParcelNews {
    /// Our id of it, if the report names it.
    pub shipment: Option<ShipmentId>,
    /// Its number, if the report names it.
    pub tracking_number: Option<String>,
    /// What the carrier's word means; none if it means nothing to us.
    pub scan: Option<ScanType>,
    /// When it happened, by the carrier's clock.
    pub at: Instant,
}

/// Somebody who reports to us, and how.
pub trait Reporter: Send + Sync {
    /// Checks that a report is genuine and recent, and reads it. `body` is the body byte by byte as it came. Errors: [`NotTaken`].
    fn receive(&self, body: &[u8], headers: &HeaderMap, now: Instant) -> Result<Report, NotTaken>;

    /// Reads a report that was found genuine when it came in. Errors: [`NotTaken::NotAReport`].
    fn read(&self, body: &[u8]) -> Result<Report, NotTaken>;
}

/// Those who report to us.
#[derive(Clone, Default)]
pub struct Reporters {
    /// The payment gateway; none while its secret is not set.
    pub payments: Option<Arc<dyn Reporter>>,
    /// Carriers whose secrets are set, by their codes.
    pub carriers: BTreeMap<String, Arc<dyn Reporter>>,
}

/// The source of what the payment gateway reports.
const PAYMENT: &str = "payment";
/// What the source of a carrier's reports starts with; its code follows.
const CARRIER: &str = "carrier:";

impl Reporters {
    /// Who reports under this source.
    fn of(&self, source: &str) -> Option<&Arc<dyn Reporter>> {
        match source.strip_prefix(CARRIER) {
            Some(code) => self.carriers.get(code),
            None => self.payments.as_ref().filter(|_| source == PAYMENT),
        }
    }
}
