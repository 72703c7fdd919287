//! `POST /v1/shipments/{id}/events`.
//!
//! `picked` and `packed` decide nothing and are rows. The others are told to the order's run; once it has closed, a report that
//! changes something becomes a story of its own (`Aftermath`), and any other is a row. So is what a carrier says in a word of its own.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use oms_contract::command::ShipmentEvent;
use oms_contract::start::AftermathStart;
use oms_contract::workflow::ShipmentEventUpdate;
use oms_domain::Instant;
use oms_domain::customer::{Line, no_control};
use oms_domain::ids::{Invalid, ShipmentId, derive};
use oms_domain::life::{Refusal, RefusalCode};
use oms_domain::shipment::{CarrierCode, ForeignScan, Scan, ScanResult, ScanType};
use oms_store::{Scanned, StoredOrder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::EngineError;
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::page::instant;
use crate::problem::{Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::{AppState, SETTLE_MAX};

/// A reporter's clock may be this far ahead of ours.
const AHEAD_MAX: TimeDelta = TimeDelta::hours(24);

/// What warehouse or carrier report.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// The reporter's id of this report, unique per shipment.
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$", example = "scan-1")]
    event_id: String,
    /// `picked`, `packed`, `shipped`, `in_transit`, `lost`, `delivered` or `returned_to_sender`. Together with `carrier` also a code of
    /// that carrier's own: it is kept and shown on the timeline, changes no status, and one review item `unknown_carrier_code` is
    /// opened per shipment and code.
    #[serde(rename = "type")]
    #[schema(pattern = "^[a-z0-9_.-]{1,64}$", example = "shipped")]
    kind: String,
    /// When it happened, by the reporter's clock; at most 24 hours ahead of ours.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    occurred_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    carrier: Option<String>,
    /// A number that is not known yet adds a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    tracking_number: Option<String>,
}

/// What became of a report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reported {
    /// `applied`: it moved the shipment. `duplicate`: this `event_id` came before. `stale`: the shipment is already further, or the
    /// report is in a carrier's own word.
    #[schema(value_type = String, example = "applied")]
    result: String,
}

/// Report what happened to a shipment
///
/// A reported fact is never refused for business reasons. Steps may be skipped; a late report is `stale`, and adds its package all the
/// same.
#[utoipa::path(
    post,
    path = "/v1/shipments/{id}/events",
    tag = "shipments",
    params(("id" = String, Path, description = "The shipment's id"), KeyHeader),
    request_body = Report,
    responses((status = 200, description = "Heard", body = Reported))
)]
pub(crate) async fn report(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<Report>,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("shipment");
    let told = body.parse(ShipmentId::parse(&id).map_err(|_| missing()), state.now())?;
    if state.store.shipment(told.shipment()).await?.is_none() {
        return Err(missing());
    }
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/shipments/{id}/events"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } => return Ok(answer(status, true, Reported { result: subject })),
    };
    let update_id = ticket.update_id("shipment_event", &id);
    match hear(&state, &told, update_id).await {
        Ok(result) => {
            let replayed = ticket.replayed;
            ticket.finish(&state, StatusCode::OK, result.as_str()).await;
            Ok(answer(StatusCode::OK, replayed, Reported { result: result.as_str().to_owned() }))
        }
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}

/// Hears a report of a shipment that exists. `update_id` names what the order's run is asked. Errors: the report could not be heard
/// now, or, with a client error's code, never will be.
pub(crate) async fn hear(state: &AppState, told: &Told, update_id: String) -> Result<ScanResult, Problem> {
    match told {
        Told::Ours(scan) if scan.kind.decides() => tell(state, scan, update_id).await,
        Told::Ours(scan) => note(state, scan).await,
        Told::Theirs(scan) => noted(state.store.record_foreign_scan(scan, state.now()).await?),
    }
}

/// Writes down a report that decides nothing (any more).
async fn note(state: &AppState, scan: &Scan) -> Result<ScanResult, Problem> {
    noted(state.store.record_scan(scan, state.now()).await?)
}

fn noted(scanned: Scanned) -> Result<ScanResult, Problem> {
    match scanned {
        Scanned::Result(result) => Ok(result),
        Scanned::EventIdReused => Err(event_id_reused()),
        Scanned::UnknownShipment => Err(Problem::not_found("shipment")),
    }
}

/// Tells the order's run of a report, or what follows it.
///
/// Also of one that is written down as applied: a run's worker writes before the engine has heard of its task, and may be gone in between.
/// Then the run has never heard the report. It is asked once more; the engine keeps its answer, so further repeats cost it nothing.
async fn tell(state: &AppState, scan: &Scan, update_id: String) -> Result<ScanResult, Problem> {
    let written = match state.store.heard(&scan.shipment, &scan.event_id).await? {
        Some(heard) if heard.kind != scan.kind.as_str() => return Err(event_id_reused()),
        // it decides nothing, whoever has heard it
        Some(heard) if heard.result == ScanResult::Stale => return Ok(ScanResult::Duplicate),
        heard => heard.is_some(),
    };
    let again = || derive(&["update", "shipment_event", "again", scan.shipment.as_str(), &scan.event_id]).to_string();
    let update_id = if written { again() } else { update_id };
    let order_id = scan.shipment.order().map_err(|_| Problem::not_found("shipment"))?;
    let order = state.order(order_id.as_str()).await?;
    if order.life.status.is_terminal() && !written {
        return afterwards(state, order, scan).await;
    }
    let command = ShipmentEvent { scan: scan.clone(), actor: Some("api".to_owned()) };
    match state.engine.update(&order_id, ShipmentEventUpdate, command, update_id).await {
        Ok(run) => {
            // the report is heard; a row that cannot be read now does not change that
            let _shown = state.watch(&order_id, SETTLE_MAX, |order| order.rev >= run.rev).await;
            Ok(if written && run.result == ScanResult::Applied { ScanResult::Duplicate } else { run.result })
        }
        Err(EngineError::NoRun) if written => Ok(ScanResult::Duplicate),
        Err(EngineError::NoRun) => {
            let order = state.order(order_id.as_str()).await?;
            if order.life.status.is_terminal() { afterwards(state, order, scan).await } else { Err(EngineError::NoRun.into()) }
        }
        // the row lists the shipment, so the run was reset and has not come as far again
        Err(EngineError::Refused(refusal)) if refusal.code == RefusalCode::NotFound => {
            Err(Problem::unavailable("the order is being replayed; report again in a moment"))
        }
        Err(error) => Err(error.into()),
    }
}

/// A report after the order's end: news starts a story of its own, anything else is only written down.
async fn afterwards(state: &AppState, order: StoredOrder, scan: &Scan) -> Result<ScanResult, Problem> {
    let shipment = order.life.shipments.iter().find(|s| s.id == scan.shipment).ok_or_else(|| Problem::not_found("shipment"))?;
    if scan.kind.rank() <= shipment.status.rank() {
        return note(state, scan).await;
    }
    let start = AftermathStart {
        order_id: order.id.clone(),
        scan: scan.clone(),
        location: shipment.location.clone(),
        lines: shipment.lines.clone(),
        reported_at: state.now(),
        patience: state.settings.patience,
    };
    state.engine.start_aftermath(start).await?;
    let until = tokio::time::Instant::now() + SETTLE_MAX;
    while tokio::time::Instant::now() < until {
        if matches!(state.store.heard(&scan.shipment, &scan.event_id).await, Ok(Some(_))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(ScanResult::Applied)
}

fn event_id_reused() -> Problem {
    let detail = "this event_id was reported with another type; use a new one";
    Problem::refused(Refusal::new(RefusalCode::EventIdReused, detail), Vec::new())
}

/// A report that nothing is wrong with.
pub(crate) enum Told {
    /// In a word that means something.
    Ours(Scan),
    /// In a word of the carrier's own.
    Theirs(ForeignScan),
}

impl Told {
    fn shipment(&self) -> &ShipmentId {
        match self {
            Self::Ours(scan) => &scan.shipment,
            Self::Theirs(scan) => &scan.shipment,
        }
    }
}

/// What a report calls itself.
enum Kind {
    Ours(ScanType),
    /// The carrier and its code.
    Theirs(Line, CarrierCode),
}

impl Report {
    /// The type, or a code if the report says whose.
    fn kind(&self, carrier: Option<&Line>) -> Result<Kind, Invalid> {
        match (ScanType::parse(&self.kind), carrier) {
            (Some(kind), _) => Ok(Kind::Ours(kind)),
            (None, Some(carrier)) => Ok(Kind::Theirs(carrier.clone(), CarrierCode::parse(&self.kind)?)),
            (None, None) => {
                let rule = "one of picked, packed, shipped, in_transit, lost, delivered, returned_to_sender; or, with its `carrier`, a code \
                            of that carrier's own";
                Err(Invalid::new(rule))
            }
        }
    }

    /// Checks every field before the shipment is looked for. Errors: 422 with all broken rules, 404 for an id that cannot exist.
    fn parse(&self, shipment: Result<ShipmentId, Problem>, now: Instant) -> Result<Told, Problem> {
        let mut findings = Findings::default();
        let event_id = findings.body("/event_id", event_id(&self.event_id));
        let named = self.carrier.clone().map(Line::parse);
        let kind = findings.body("/type", self.kind(named.as_ref().and_then(|carrier| carrier.as_ref().ok())));
        let near = |at: Instant| {
            if at <= now + AHEAD_MAX { Ok(at) } else { Err(Invalid::new("occurred_at lies at most 24 hours ahead")) }
        };
        let occurred_at = findings.body("/occurred_at", instant(&self.occurred_at).and_then(near));
        let carrier = findings.body_opt("/carrier", named).map(String::from);
        let tracking_number =
            findings.body_opt("/tracking_number", self.tracking_number.clone().map(Line::parse)).map(String::from);
        let (Some(event_id), Some(kind), Some(occurred_at)) = (event_id, kind, occurred_at) else {
            return Err(findings.into_problem());
        };
        findings.check()?;
        let shipment = shipment?;
        Ok(match kind {
            Kind::Ours(kind) => Told::Ours(Scan { shipment, event_id, kind, occurred_at, carrier, tracking_number }),
            Kind::Theirs(carrier, code) => {
                let carrier = String::from(carrier);
                Told::Theirs(ForeignScan { shipment, event_id, code, occurred_at, carrier, tracking_number })
            }
        })
    }
}

fn event_id(text: &str) -> Result<String, Invalid> {
    no_control(text)?;
    if (1..=128).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(Invalid::new("an event_id is 1 to 128 characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::shape;
    use serde_json::json;

    #[test]
    fn reports_are_checked() {
        let now = instant("2026-01-01T00:00:00Z").unwrap();
        let parse = |pointer: &str, value: serde_json::Value| {
            let mut body = json!({
                "event_id": "e-1", "type": "shipped", "occurred_at": "2025-12-31T00:00:00Z", "carrier": "dhl", "tracking_number": "1"
            });
            *body.pointer_mut(pointer).unwrap() = value;
            shape::<Report>(body).and_then(|report| report.parse(Ok(ShipmentId::parse("abcdefgh-1").unwrap()), now))
        };
        assert!(parse("/occurred_at", json!("2026-01-02T00:00:00Z")).is_ok());
        assert!(parse("/occurred_at", json!("1999-01-02T00:00:00+02:00")).is_ok());
        for (pointer, value) in [
            ("/event_id", json!("")),
            ("/event_id", json!("x".repeat(129))),
            ("/event_id", json!("a\u{0}")),
            ("/event_id", json!(1)),
            ("/type", json!("Teleported")),
            ("/type", json!("")),
            ("/type", json!("x".repeat(65))),
            ("/occurred_at", json!("2026-01-02T00:00:01Z")),
            ("/occurred_at", json!("yesterday")),
            ("/carrier", json!("")),
            ("/tracking_number", json!("x".repeat(201))),
        ] {
            let problem = parse(pointer, value.clone()).err().unwrap();
            assert_eq!(problem.errors()[0].pointer.as_deref(), Some(pointer), "{value}");
        }
        assert!(matches!(parse("/type", json!("dhl.evt-42_z")), Ok(Told::Theirs(scan)) if scan.code.as_str() == "dhl.evt-42_z"));
        assert!(matches!(parse("/type", json!("lost")), Ok(Told::Ours(scan)) if scan.carrier.as_deref() == Some("dhl")));
        let anonymous = json!({"event_id": "e-1", "type": "teleported", "occurred_at": "2025-12-31T00:00:00Z"});
        let report = shape::<Report>(anonymous).unwrap();
        let problem = report.parse(Ok(ShipmentId::parse("abcdefgh-1").unwrap()), now).err().unwrap();
        assert_eq!(problem.errors()[0].pointer.as_deref(), Some("/type"), "nobody's code");
    }
}
