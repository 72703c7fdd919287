//! Reports of how our books compare with those of others: `GET /v1/reconciliations`, `GET /v1/reconciliations/{date}`, and
//! `POST /v1/reconciliations`, which compares now.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use oms_contract::reconciliation::ReconcileStart;
use oms_domain::ids::Invalid;
use oms_domain::reconciliation::Day;
use oms_store::{Report, StoredFinding};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::extract::{Json, Path, Query};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::page::{self, CursorKey, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::schema::KeyHeader;
use crate::state::AppState;

/// Findings that one report shows.
const FINDINGS_MAX: u32 = 1_000;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, trigger)).routes(routes!(read))
}

impl CursorKey for Day {
    const KIND: &'static str = "report";
    fn write(&self) -> String {
        self.as_str().to_owned()
    }
    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

/// Which report to write.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reconcile {
    /// The report's day, today in UTC without one. Books are compared as they stand now, whatever the day.
    #[schema(value_type = Option<String>, format = Date, example = "2026-01-31")]
    date: Option<String>,
}

/// A comparison that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reconciling {
    #[schema(value_type = String, format = Date)]
    date: String,
    /// `running`.
    #[schema(value_type = String)]
    state: &'static str,
    /// Where its report is.
    report: String,
}

/// How much was compared.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Compared {
    /// Orders that have not ended.
    orders: u64,
    /// Payments at the gateway.
    payments: u64,
    /// Bookings at the carrier.
    bookings: u64,
    /// Orders with stock promised.
    reservations: u64,
}

/// A day's report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReconciliationView {
    #[schema(format = Date)]
    date: String,
    /// `running`, `finished`, or `failed`: then some books were not compared.
    #[schema(value_type = String, example = "finished")]
    state: &'static str,
    /// When the day's last comparison began.
    started_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    /// Zeros until it has ended.
    compared: Compared,
    /// How much the day's comparisons found.
    findings_count: u64,
}

impl From<&Report> for ReconciliationView {
    fn from(report: &Report) -> Self {
        let c = report.compared;
        Self {
            date: report.day.to_string(),
            state: report.state.as_str(),
            started_at: report.started_at,
            finished_at: report.finished_at,
            compared: Compared { orders: c.orders, payments: c.payments, bookings: c.bookings, reservations: c.reservations },
            findings_count: report.findings,
        }
    }
}

/// A day's report with what was found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReconciliationReport {
    #[serde(flatten)]
    report: ReconciliationView,
    /// The first 1,000, by kind and subject.
    findings: Vec<FindingView>,
}

/// Something that does not fit together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReconciliationFinding)]
pub(crate) struct FindingView {
    /// `orphan_reservation`, `orphan_payment`, `missing_payment`, `ledger_mismatch`, `orphan_booking`, `terminated` or
    /// `unreadable`.
    #[schema(value_type = String, example = "orphan_payment")]
    kind: &'static str,
    /// Of what: an order's or shipment's id, or the gateway's id of a payment.
    subject: String,
    order_id: Option<String>,
    detail: String,
    /// `repaired`, `queued` for a person, or `none`: it had passed when its turn came, its turn is yet to come, or a person has resolved
    /// its item and the figures are the same.
    #[schema(value_type = String, example = "queued")]
    action: &'static str,
    /// Its item in the review queue.
    review_item: Option<String>,
}

impl From<StoredFinding> for FindingView {
    fn from(stored: StoredFinding) -> Self {
        let finding = stored.finding;
        Self {
            kind: finding.kind.as_str(),
            subject: finding.subject,
            order_id: finding.order.map(|id| id.to_string()),
            detail: finding.detail,
            action: stored.action.as_str(),
            review_item: stored.review_item,
        }
    }
}

/// Compare our books with those of gateway, carrier and engine now
#[utoipa::path(
    post,
    path = "/v1/reconciliations",
    tag = "ops",
    params(KeyHeader),
    request_body = Reconcile,
    responses((status = 202, description = "Under way, or under way before; the report tells when it has ended", body = Reconciling))
)]
pub(crate) async fn trigger(
    State(state): State<AppState>,
    key: IdempotencyKey,
    Json(body): Json<Reconcile>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let today = Day::of(state.now());
    let date = body.date.as_ref().map(|text| {
        let day = Day::parse(text.as_str())?;
        if day <= today { Ok(day) } else { Err(Invalid::new("a day that has begun")) }
    });
    let day = match date {
        None => Some(today),
        Some(parsed) => findings.body("/date", parsed),
    };
    let Some(day) = day else { return Err(findings.into_problem()) };
    let ticket = match begin(&state, claim(&key, "POST /v1/reconciliations", &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } => return Ok(answer(status, true, Reconciling::of(&subject))),
    };
    let start = ReconcileStart { date: Some(day.clone()), patience: state.settings.patience, ..ReconcileStart::default() };
    if let Err(error) = state.engine.start_reconciliation(day.clone(), start).await {
        return Err(ticket.refused(&state, error.into()).await);
    }
    let replayed = ticket.replayed;
    ticket.finish(&state, StatusCode::ACCEPTED, day.as_str()).await;
    Ok(answer(StatusCode::ACCEPTED, replayed, Reconciling::of(day.as_str())))
}

impl Reconciling {
    fn of(date: &str) -> Self {
        Self { date: date.to_owned(), state: "running", report: format!("/v1/reconciliations/{date}") }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListReconciliations {
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List reports, newest day first
#[utoipa::path(
    get,
    path = "/v1/reconciliations",
    tag = "ops",
    params(ListReconciliations),
    responses((status = 200, description = "One page", body = Page<ReconciliationView>))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<ListReconciliations>,
) -> Result<Body<Page<ReconciliationView>>, Problem> {
    let mut findings = Findings::default();
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let after: Option<Day> = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode));
    findings.check()?;
    let rows = state.store.reports(after.as_ref(), one_more(limit)).await?;
    Ok(Body(Page::of(rows, limit, |row: &Report| page::encode(&row.day), |row| ReconciliationView::from(row))))
}

/// Read a day's report
#[utoipa::path(
    get,
    path = "/v1/reconciliations/{date}",
    tag = "ops",
    params(("date" = String, Path, description = "The day, in UTC", example = "2026-01-31")),
    responses((status = 200, description = "The report", body = ReconciliationReport))
)]
pub(crate) async fn read(State(state): State<AppState>, Path(date): Path<String>) -> Result<Body<ReconciliationReport>, Problem> {
    let missing = || Problem::not_found("report");
    let day = Day::parse(date).map_err(|_| missing())?;
    let report = state.store.report(&day).await?.ok_or_else(missing)?;
    let findings = state.store.findings(&day, FINDINGS_MAX).await?;
    let findings = findings.into_iter().map(FindingView::from).collect();
    Ok(Body(ReconciliationReport { report: (&report).into(), findings }))
}
