//! Imports: files of orders, placed one by one as if each had been posted.

mod file;
mod list;
mod pace;
mod read;
mod receive;
mod rows;
mod run;
mod table;

use chrono::{DateTime, Utc};
use oms_domain::Instant;
use oms_store::{Import, ImportCursor, ImportRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::page::{self, CursorKey};
use crate::problem::Problem;
use crate::state::AppState;

pub use pace::ImportPace;
pub use run::run;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(receive::receive, list::list)).routes(routes!(read::read)).routes(routes!(rows::rows))
}

/// A file of orders.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Import)]
pub(crate) struct ImportView {
    #[schema(pattern = r"^[A-Za-z0-9_-]{8,64}$")]
    id: String,
    /// `receiving`, `running` or `done`.
    #[schema(value_type = String, example = "running")]
    state: &'static str,
    /// Orders in the file.
    rows: u64,
    placed: u64,
    refused: u64,
    pending: u64,
    /// Orders placed per second since it began to run; null before.
    rate: Option<f64>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    links: ImportLinks,
}

/// Where to look further.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportLinks {
    #[serde(rename = "self")]
    this: String,
    rows: String,
    refused: String,
}

impl ImportView {
    fn of(import: &Import, now: Instant) -> Self {
        let path = path(import);
        let seconds = |from: Instant| (import.finished_at.unwrap_or(now) - from).num_milliseconds().max(1) as f64 / 1_000.0;
        Self {
            id: import.id.clone(),
            state: import.state.as_str(),
            rows: import.rows,
            placed: import.placed,
            refused: import.refused,
            pending: import.pending(),
            rate: import.started_at.map(|from| (import.placed as f64 / seconds(from) * 10.0).round() / 10.0),
            created_at: import.created_at,
            started_at: import.started_at,
            finished_at: import.finished_at,
            links: ImportLinks { rows: format!("{path}/rows"), refused: format!("{path}/rows?result=refused"), this: path },
        }
    }
}

fn path(import: &Import) -> String {
    format!("/v1/imports/{}", import.id)
}

/// One order of a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportRow)]
pub(crate) struct RowView {
    /// Its number in the file, from 1.
    row: u64,
    /// `pending`, `placed` or `refused`.
    #[schema(value_type = String, example = "placed")]
    status: &'static str,
    order_id: Option<String>,
    /// Which rules a refused one breaks; pointers into the order's body.
    errors: Vec<RowError>,
}

/// One broken rule of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RowError {
    /// JSON Pointer into the order's body.
    #[serde(default)]
    pointer: Option<String>,
    /// Which rule; the codes are those of a refused `POST /v1/orders`.
    code: String,
    /// The rule in words.
    detail: String,
}

impl From<&ImportRow> for RowView {
    fn from(row: &ImportRow) -> Self {
        Self {
            row: row.number,
            status: row.status.as_str(),
            order_id: row.order_id.clone(),
            errors: row.errors.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        }
    }
}

/// A refusal as it is kept with its row.
fn kept(problem: &Problem) -> String {
    let mut errors: Vec<RowError> = problem
        .errors()
        .iter()
        .map(|e| RowError { pointer: e.pointer.clone(), code: e.code.to_owned(), detail: e.detail.clone() })
        .collect();
    if errors.is_empty() {
        let code = problem.code();
        errors.push(RowError { pointer: None, code: code.as_str().to_owned(), detail: code.title().to_owned() });
    }
    serde_json::to_string(&errors).unwrap_or_else(|_| "[]".to_owned())
}

/// The import. Errors: 404.
async fn find(state: &AppState, id: &str) -> Result<Import, Problem> {
    state.store.import(id).await?.ok_or_else(|| Problem::not_found("import"))
}

impl CursorKey for ImportCursor {
    const KIND: &'static str = "import";
    fn write(&self) -> String {
        format!("{}|{}", self.created_at.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true), self.id)
    }
    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('|')?;
        Some(Self { created_at: page::instant(at).ok()?, id: id.to_owned() })
    }
}

/// The last row of a page.
struct RowCursor(u64);

impl CursorKey for RowCursor {
    const KIND: &'static str = "import_row";
    fn write(&self) -> String {
        self.0.to_string()
    }
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|n| i64::try_from(*n).is_ok()).map(Self)
    }
}
