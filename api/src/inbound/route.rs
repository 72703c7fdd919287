//! Routes a report to its order.

use std::time::Duration;

use oms_domain::Instant;
use oms_domain::customer::Line;
use oms_domain::ids::{OrderId, ShipmentId, derive};
use oms_domain::returning::ReturnId;
use oms_domain::review::UNROUTED_REPORT;
use oms_domain::shipment::{CarrierCode, ForeignScan, Scan};
use oms_store::{Inbound, InboundState, ItemSource, NewItem, StoreError};

use super::{About, CARRIER, ParcelNews, Report};
use crate::engine::EngineError;
use crate::problem::{Code, Problem};
use crate::shipments::{Told, hear};
use crate::state::AppState;

/// What a report is about may appear for so long.
pub(super) const PARKED_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Pauses between two attempts: an eighth of the report's age, within these bounds.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// An event of a shipment has an id of at most so many characters.
const EVENT_ID_MAX: usize = 128;

/// What became of a report for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Whom it concerns has heard it.
    Routed,
    /// It decides nothing.
    Ignored,
    /// What it is about is not here.
    Parked,
    /// It could not be routed now.
    Later,
}

/// Who is concerned by a report.
enum Concerned {
    Order(OrderId),
    Nobody,
    Unknown,
}

/// A report as it is kept.
pub(super) struct Kept<'a> {
    /// The id of its row.
    pub(super) id: &'a str,
    /// Who reports.
    pub(super) source: &'a str,
    /// What it says.
    pub(super) report: &'a Report,
    /// When it came.
    pub(super) received_at: Instant,
}

/// Routes a report that is stored and notes what became of it. What fails on the way is tried again: the row is due until it is settled.
pub(super) async fn deliver(state: &AppState, kept: &Kept<'_>, now: Instant) -> Fate {
    let (source, id) = (kept.source, kept.id);
    let (fate, order) = match route(state, kept, now).await {
        Ok(Concerned::Order(order)) => (Fate::Routed, Some(order)),
        Ok(Concerned::Nobody) => (Fate::Ignored, None),
        Ok(Concerned::Unknown) => (Fate::Parked, None),
        // no attempt will make it right
        Err(problem) if problem.code().status().is_client_error() => {
            let code = problem.code().as_str();
            tracing::warn!(source, report = id, code, "a report cannot be heard; it is kept and ignored");
            (Fate::Ignored, None)
        }
        Err(problem) => {
            tracing::debug!(source, report = id, code = problem.code().as_str(), "a report is routed later");
            (Fate::Later, None)
        }
    };
    metrics::counter!("oms_inbound_routed_total", "fate" => fate.as_str()).increment(1);
    if let Err(error) = note(state, kept, fate, order.as_ref(), now).await {
        tracing::warn!(%error, source, report = id, "what became of a report was not noted; it is routed once more");
    }
    fate
}

/// Parks a report that nobody here can read.
pub(super) async fn park(state: &AppState, row: &Inbound, now: Instant) -> Fate {
    let report = &Report { event_id: row.event_id.clone(), kind: row.kind.clone(), about: About::Nothing };
    let kept = Kept { id: &row.id, source: &row.source, report, received_at: row.received_at };
    if let Err(error) = note(state, &kept, Fate::Parked, None, now).await {
        tracing::warn!(%error, report = row.id, "a report was not put off; its claim runs out");
    }
    Fate::Parked
}

impl Fate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
            Self::Later => "later",
        }
    }
}

async fn note(state: &AppState, kept: &Kept<'_>, fate: Fate, order: Option<&OrderId>, now: Instant) -> Result<(), StoreError> {
    let age = now - kept.received_at;
    let again_at = now + pause(age);
    match fate {
        Fate::Routed => state.store.settle_inbound(kept.id, InboundState::Routed, order, now).await,
        Fate::Ignored => state.store.settle_inbound(kept.id, InboundState::Ignored, None, now).await,
        Fate::Parked if age >= delta(PARKED_MAX) => state.store.expire_inbound(kept.id, &unrouted(kept), now).await.map(drop),
        Fate::Parked => state.store.put_off_inbound(kept.id, InboundState::Parked, again_at).await,
        Fate::Later => state.store.put_off_inbound(kept.id, InboundState::Stored, again_at).await,
    }
}

fn delta(duration: Duration) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(duration).unwrap_or(chrono::TimeDelta::MAX)
}

fn pause(age: chrono::TimeDelta) -> chrono::TimeDelta {
    (age / 8).clamp(delta(PAUSE_MIN), delta(PAUSE_MAX))
}

fn unrouted(kept: &Kept<'_>) -> NewItem {
    let (source, report) = (kept.source, kept.report);
    let (what, seen_by) = match source.strip_prefix(CARRIER) {
        Some(_) => ("parcel", ItemSource::Carrier),
        None => ("payment", ItemSource::Reconciliation),
    };
    NewItem {
        id: derive(&["review", "inbound", kept.id]).to_string(),
        kind: UNROUTED_REPORT.to_owned(),
        order_id: None,
        shipment_id: None,
        subject: report.event_id.clone(),
        detail: format!(
            "{source} reported `{}` (event {}) of a {what} that has not appeared here for 24 hours; see whose it is",
            report.kind, report.event_id
        ),
        source: seen_by,
    }
}

async fn route(state: &AppState, kept: &Kept<'_>, now: Instant) -> Result<Concerned, Problem> {
    match &kept.report.about {
        About::Nothing => Ok(Concerned::Nobody),
        About::Payment { order, payment_id } => payment(state, order.as_ref(), payment_id.as_deref()).await,
        About::Parcel(news) => parcel(state, kept, news, now).await,
    }
}

/// Tells the payment's order to ask the gateway.
async fn payment(state: &AppState, order: Option<&OrderId>, payment_id: Option<&str>) -> Result<Concerned, Problem> {
    let order = match (order, payment_id.map(Line::parse).and_then(Result::ok)) {
        (Some(order), _) => Some(order.clone()),
        (None, Some(payment)) => state.store.order_of_payment(&String::from(payment)).await?,
        (None, None) => return Ok(Concerned::Nobody),
    };
    let Some(order) = order else { return Ok(Concerned::Unknown) };
    let Some(row) = state.store.order(&order).await? else { return Ok(Concerned::Unknown) };
    if !row.life.status.is_terminal() {
        match state.engine.payment_news(&order).await {
            // a run that starts later asks the gateway by itself
            Ok(()) | Err(EngineError::NoRun) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Concerned::Order(order))
}

/// Has the parcel's report heard as if it had been posted to its shipment.
async fn parcel(state: &AppState, kept: &Kept<'_>, news: &ParcelNews, now: Instant) -> Result<Concerned, Problem> {
    let (source, report) = (kept.source, kept.report);
    let number = news.tracking_number.as_deref().map(Line::parse).and_then(Result::ok).map(String::from);
    let mut shipment = None;
    if let Some(named) = &news.shipment {
        shipment = state.store.shipment(named).await?;
        if shipment.is_none() && is_return(state, named).await? {
            // goods on their way back are received by a person
            return Ok(Concerned::Nobody);
        }
    } else if let Some(number) = &number
        && let Some(found) = state.store.shipment_of_package(number).await?
    {
        shipment = state.store.shipment(&found).await?;
    }
    let Some(shipment) = shipment else { return Ok(Concerned::Unknown) };
    let carrier = source.strip_prefix(CARRIER).unwrap_or(source);
    let event_id = event_id(carrier, &report.event_id);
    // a carrier's clock that is ahead must not cost us its report
    let occurred_at = news.at.min(now);
    let (of, tracking_number) = (shipment.shipment.id.clone(), number);
    let told = match news.scan {
        Some(kind) => Told::Ours(Scan { shipment: of, event_id, kind, occurred_at, carrier: None, tracking_number }),
        None => Told::Theirs(ForeignScan {
            shipment: of,
            event_id,
            code: code(&report.kind)?,
            occurred_at,
            carrier: shipment.shipment.carrier.clone().unwrap_or_else(|| carrier.to_owned()),
            tracking_number,
        }),
    };
    // a run that was reset judges anew what it had refused
    let update_id = derive(&["update", "inbound", kept.id, &now.to_rfc3339()]).to_string();
    match hear(state, &told, update_id).await {
        Ok(_) => Ok(Concerned::Order(shipment.order_id)),
        Err(problem) if problem.code() == Code::NotFound => Ok(Concerned::Unknown),
        Err(problem) => Err(problem),
    }
}

async fn is_return(state: &AppState, named: &ShipmentId) -> Result<bool, Problem> {
    match ReturnId::parse(named.as_str()) {
        Ok(id) => Ok(state.store.return_(&id).await?.is_some()),
        Err(_) => Ok(false),
    }
}

/// A shipment's event id: the carrier's, which must not meet one of the warehouse's.
fn event_id(carrier: &str, event: &str) -> String {
    let plain = format!("{carrier}/{event}");
    if plain.chars().count() <= EVENT_ID_MAX { plain } else { derive(&["carrier event", carrier, event]).to_string() }
}

/// A carrier's word in our letters.
fn code(word: &str) -> Result<CarrierCode, Problem> {
    let letter = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c.to_ascii_lowercase() } else { '_' };
    let text: String = word.chars().take(64).map(letter).collect();
    CarrierCode::parse(text).map_err(|invalid| Problem::new(Code::Malformed, invalid.rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriers_words_and_ids_fit_ours() {
        assert_eq!(code("HELD by-customs/ü").unwrap().as_str(), "held_by-customs__");
        assert_eq!(code(&"X".repeat(99)).unwrap().as_str().len(), 64);
        assert!(code("").is_err());
        assert_eq!(event_id("http", "e-1"), "http/e-1");
        let long = "e".repeat(128);
        assert_eq!(event_id("http", &long), event_id("http", &long));
        assert!(event_id("http", &long).len() <= EVENT_ID_MAX);
    }

    #[test]
    fn pauses_grow_with_age() {
        let seconds = |age: i64| pause(chrono::TimeDelta::seconds(age)).num_seconds();
        assert_eq!([0, 8, 80, 480, 86_400].map(seconds), [1, 1, 10, 60, 60]);
    }
}
