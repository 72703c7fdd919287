//! What others report to us by webhook: stored as it came, once per event, before anything is done about it; then routed to its order,
//! as often as it takes.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId, derive};

use crate::Result;
use crate::payments::words;
use crate::review_items::NewItem;
use crate::store::{Store, run};

words! {
    /// Where a report stands.
    InboundState {
        /// It is to be routed.
        Stored = "stored",
        /// Nothing here is what it is about; looked for again until it expires.
        Parked = "parked",
        /// Whom it concerns has heard it.
        Routed = "routed",
        /// It decides nothing here.
        Ignored = "ignored",
        /// What it is about never appeared.
        Expired = "expired",
    }
}

impl InboundState {
    /// Whether nothing is done about it any more.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Stored | Self::Parked)
    }
}

/// A report that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInbound {
    /// Who reports: `payment`, or `carrier:` and the carrier's code.
    pub source: String,
    /// The reporter's id of the event: the same in every delivery.
    pub event_id: String,
    /// The reporter's word for what happened.
    pub kind: String,
    /// The body as it came. May hold personal data.
    pub body: String,
    /// When it is routed by whoever looks, unless it is settled by then; `None`: it decides nothing, and is only kept.
    pub due_at: Option<Instant>,
}

impl NewInbound {
    /// The id of its row.
    pub fn id(&self) -> String {
        derive(&["inbound", &self.source, &self.event_id]).to_string()
    }
}

/// A report as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Its id, derived from source and event.
    pub id: String,
    /// Who reports.
    pub source: String,
    /// The reporter's id of the event.
    pub event_id: String,
    /// The reporter's word for what happened.
    pub kind: String,
    /// The body as it came. May hold personal data.
    pub body: String,
    /// Where it stands.
    pub state: InboundState,
    /// The order it was about, once it is routed.
    pub order_id: Option<OrderId>,
    /// How often it was claimed.
    pub attempts: u64,
    /// When it came in.
    pub received_at: Instant,
}

impl Store {
    /// Stores a report; `false`: this event was stored before, and nothing is changed.
    pub async fn receive_inbound(&self, report: &NewInbound, now: Instant) -> Result<bool> {
        run!(self, inbound::receive(report, now))
    }

    /// Takes reports that are due, those due longest first; each is due again at `again_at` unless it is settled or put off by then.
    pub async fn claim_inbound(&self, again_at: Instant, limit: u32, now: Instant) -> Result<Vec<Inbound>> {
        run!(self, inbound::claim(again_at, limit, now))
    }

    /// Notes that a report is not settled: it stays in `state`, stored or parked, and is due then. One that is settled stays so.
    pub async fn put_off_inbound(&self, id: &str, state: InboundState, due_at: Instant) -> Result<()> {
        run!(self, inbound::put_off(id, state, due_at))
    }

    /// Settles a report as routed or ignored. One that is settled stays as it is.
    pub async fn settle_inbound(&self, id: &str, state: InboundState, order: Option<&OrderId>, now: Instant) -> Result<()> {
        run!(self, inbound::settle(id, state, order, now))
    }

    /// Gives a report up and tells the shop's people, in one; `false`: it was settled before. The item is about no order.
    pub async fn expire_inbound(&self, id: &str, item: &NewItem, now: Instant) -> Result<bool> {
        run!(self, inbound::expire(id, item, now))
    }

    /// One report.
    pub async fn inbound(&self, id: &str) -> Result<Option<Inbound>> {
        run!(self, inbound::one(id))
    }

    /// The order whose payment the gateway knows by this id, as far as its answer is on record here.
    pub async fn order_of_payment(&self, payment_id: &str) -> Result<Option<OrderId>> {
        run!(self, inbound::order_of_payment(payment_id))
    }

    /// The shipment one of whose packages has this number; `None` also if several have, because then it tells nothing.
    pub async fn shipment_of_package(&self, tracking_number: &str) -> Result<Option<ShipmentId>> {
        run!(self, inbound::shipment_of_package(tracking_number))
    }
}
