//! `POST /v1/ops/redrive` and `GET /v1/ops/redrives/{id}`.

mod body;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use oms_domain::ids::OrderId;
use oms_store::{NewRedrive, Redrive, RedriveFrom, RedriveOrder};
use oms_temporal::describe::Remedy;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Json, Path, Query};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::page::{self, CursorKey, Page, one_more};
use crate::problem::{Findings, Problem};
use crate::schema::KeyHeader;
use crate::state::AppState;

use body::AskRedrive;

/// Who acts over HTTP, until there is identity.
const ACTOR: &str = "api";

/// Orders that a dry run tells of one by one.
const DRY_MAX: u32 = 100;

/// Orders that a dry run asks the engine for at once.
const AT_ONCE: usize = 16;

/// A re-drive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redrive)]
pub(crate) struct RedriveView {
    id: String,
    /// `running` or `done`.
    #[schema(value_type = String, example = "running")]
    state: &'static str,
    /// How many orders matched when it began.
    matched: u64,
    /// How many of them have an outcome.
    done: u64,
    outcomes: Outcomes,
    /// The filter as it was asked for.
    #[schema(value_type = Object)]
    filter: Value,
    /// `last_task` or `now`.
    #[schema(value_type = String, example = "last_task")]
    from: &'static str,
    /// Orders per second at most.
    rate: u32,
    actor: String,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    links: RedriveLinks,
}

/// How many orders had which outcome.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RedriveOutcomes)]
pub(crate) struct Outcomes {
    /// Told to try again now.
    nudged: u64,
    /// Reset to the last good workflow task.
    reset: u64,
    /// There was nothing to do.
    skipped: u64,
    /// It could not be done; the order's detail says why.
    failed: u64,
}

/// Where to look further.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedriveLinks {
    #[serde(rename = "self")]
    this: String,
}

/// An order of a re-drive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedrivenOrder {
    order_id: String,
    /// `nudged`, `reset`, `skipped` or `failed`; `null` until it is done.
    #[schema(value_type = Option<String>)]
    outcome: Option<&'static str>,
    /// What was found and done, in words.
    detail: Option<String>,
    at: Option<DateTime<Utc>>,
}

/// A re-drive and a page of its orders.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedriveWithOrders {
    #[serde(flatten)]
    redrive: RedriveView,
    #[serde(flatten)]
    orders: Page<RedrivenOrder>,
}

/// What a re-drive would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRun {
    /// How many orders match.
    matched: u64,
    /// The first hundred of them, by id.
    data: Vec<Planned>,
}

/// What would be done with an order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Planned {
    order_id: String,
    /// `nudge`, `reset` or `skip`.
    #[schema(value_type = String, example = "nudge")]
    would: &'static str,
    /// What was found, in words.
    detail: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageOfOrders {
    /// Rows of the page, 50 without it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl CursorKey for OrderId {
    const KIND: &'static str = "redriven_order";
    fn write(&self) -> String {
        self.as_str().to_owned()
    }
    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl From<Redrive> for RedriveView {
    fn from(redrive: Redrive) -> Self {
        let [nudged, reset, skipped, failed] = redrive.outcomes;
        Self {
            links: RedriveLinks { this: location(&redrive.id) },
            id: redrive.id,
            state: redrive.state.as_str(),
            matched: redrive.matched,
            done: nudged + reset + skipped + failed,
            outcomes: Outcomes { nudged, reset, skipped, failed },
            filter: redrive.asked,
            from: redrive.from.as_str(),
            rate: redrive.rate,
            actor: redrive.actor,
            created_at: redrive.created_at,
            finished_at: redrive.finished_at,
        }
    }
}

impl From<&RedriveOrder> for RedrivenOrder {
    fn from(row: &RedriveOrder) -> Self {
        Self {
            order_id: row.order_id.to_string(),
            outcome: row.outcome.map(|outcome| outcome.as_str()),
            detail: row.detail.clone(),
            at: row.at,
        }
    }
}

fn location(id: &str) -> String {
    format!("/v1/ops/redrives/{id}")
}

/// Set stuck orders going again, in bulk
///
/// Each matching order with an open run is told to try again now, and its activities that pause between two attempts start at once. A
/// run whose workflow task fails again and again, and one that was closed although its order has not ended, is reset to its last
/// completed workflow task (`from: last_task`) or left alone (`from: now`). No outside effect is repeated: keys derive from order, step
/// and revision. Of 100,000 matching orders and more, the oldest 100,000 are done.
#[utoipa::path(
    post,
    path = "/v1/ops/redrive",
    tag = "ops",
    params(KeyHeader),
    request_body = AskRedrive,
    responses(
        (status = 202, description = "Begun; `Location` tells how it goes", body = RedriveView),
        (status = 200, description = "A dry run: what would be done", body = DryRun),
    )
)]
pub(crate) async fn redrive(
    State(state): State<AppState>,
    key: IdempotencyKey,
    Json(body): Json<AskRedrive>,
) -> Result<Response, Problem> {
    let asked = body.parse()?;
    if asked.dry_run {
        return Ok(answer(StatusCode::OK, false, dry_run(&state, &asked).await?));
    }
    let ticket = match begin(&state, claim(&key, "POST /v1/ops/redrive", &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } => {
            let redrive = state.store.redrive(&subject).await?.ok_or_else(|| Problem::not_found("re-drive"))?;
            return Ok(begun(status, true, redrive));
        }
    };
    let new = NewRedrive {
        id: ticket.update_id("redrive", ""),
        filter: asked.filter,
        asked: asked.told,
        from: asked.from,
        rate: asked.rate,
        actor: ACTOR.to_owned(),
    };
    match state.store.begin_redrive(&new, state.now()).await {
        Ok(redrive) => {
            let replayed = ticket.replayed;
            ticket.finish(&state, StatusCode::ACCEPTED, &redrive.id).await;
            Ok(begun(StatusCode::ACCEPTED, replayed, redrive))
        }
        Err(error) => Err(ticket.refused(&state, error.into()).await),
    }
}

fn begun(status: StatusCode, replayed: bool, redrive: Redrive) -> Response {
    let place = HeaderValue::from_str(&location(&redrive.id));
    let mut response = answer(status, replayed, RedriveView::from(redrive));
    if let Ok(place) = place {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

async fn dry_run(state: &AppState, asked: &body::Asked) -> Result<DryRun, Problem> {
    let (matched, ids) = state.store.redrive_matches(&asked.filter, DRY_MAX).await?;
    let plans = futures::stream::iter(ids.into_iter().map(|id| plan(state, asked.from, id)));
    Ok(DryRun { matched, data: plans.buffered(AT_ONCE).try_collect().await? })
}

async fn plan(state: &AppState, from: RedriveFrom, id: OrderId) -> Result<Planned, Problem> {
    let planned = |would, detail| Planned { order_id: id.to_string(), would, detail };
    let run = state.engine.run_state(&id).await?;
    let order = state.order(id.as_str()).await?;
    if order.life.status.is_terminal() {
        return Ok(planned("skip", format!("the order has ended: {}", order.life.status)));
    }
    let Some(run) = run else {
        return Ok(planned("skip", "it has no run that could go on; the reconciliation looks after it".to_owned()));
    };
    let would = match (run.remedy(), from) {
        (Remedy::Nudge, _) => "nudge",
        (Remedy::Reset, RedriveFrom::LastTask) => "reset",
        (Remedy::Reset, RedriveFrom::Now) => "skip",
    };
    Ok(planned(would, run.in_words()))
}

/// Read a re-drive and a page of its orders
#[utoipa::path(
    get,
    path = "/v1/ops/redrives/{id}",
    tag = "ops",
    params(("id" = String, Path, description = "The re-drive's id"), PageOfOrders),
    responses((status = 200, description = "How it goes, and what was done with each order, by id", body = RedriveWithOrders))
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<PageOfOrders>,
) -> Result<axum::Json<RedriveWithOrders>, Problem> {
    let mut findings = Findings::default();
    let limit = page::limit(&mut findings, query.limit.as_deref());
    let after: Option<OrderId> = findings.parameter_opt("cursor", query.cursor.as_deref().map(page::decode));
    findings.check()?;
    let missing = || Problem::not_found("re-drive");
    // Postgres cannot be asked for a zero byte
    let id = OrderId::parse(id).map_err(|_| missing())?;
    let redrive = state.store.redrive(id.as_str()).await?.ok_or_else(missing)?;
    let rows = state.store.redrive_orders(id.as_str(), after.as_ref(), one_more(limit)).await?;
    let orders = Page::of(rows, limit, |row: &RedriveOrder| page::encode(&row.order_id), |row| row.into());
    Ok(axum::Json(RedriveWithOrders { redrive: redrive.into(), orders }))
}
