//! The background work of imports: places the rows of the import whose lease it has, each exactly as `POST /v1/orders` would. A
//! killed process loses its lease; whoever comes next finds the rows that are not settled, and their keys find the orders that are
//! placed already.

use std::time::Duration;

use oms_domain::Instant;
use oms_store::{Import, ImportLease, ImportState, PendingRow, SettledRow};
use tokio::time::{sleep, timeout};

use super::kept;
use super::pace::ImportPace;
use crate::idempotency::IdempotencyKey;
use crate::orders::place::place_one;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Rows that are placed between two notes of how far it is.
const BATCH_ROWS: u32 = 64;

/// Uploads of which nothing has come for so long are removed.
const SILENCE_MAX: Duration = Duration::from_secs(600);
const REMOVED_AT_ONCE: u32 = 10;

/// Pauses while the engine or the database is gone double from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A row that meets a defect of ours so often in a row is refused, so that it does not hold up the others for ever.
const DEFECTS_MAX: u32 = 5;

/// Works on imports until `shutdown` completes, then gives its lease back. Dropping it is as good as a kill.
pub async fn run(state: AppState, pace: ImportPace, shutdown: impl Future<Output = ()>) {
    let holder = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    let work = async {
        loop {
            let worked = match turn(&state, &holder, pace).await {
                Ok(worked) => worked,
                Err(problem) => {
                    tracing::warn!(code = problem.code().as_str(), "imports rest until the database answers");
                    false
                }
            };
            if !worked {
                let _woken = timeout(pace.idle, state.imports.notified()).await;
            }
        }
    };
    tokio::pin!(shutdown);
    tokio::select! {
        () = shutdown => {}
        () = work => {}
    }
    let lease = |id: String| ImportLease { id, holder: holder.clone(), until: state.now() };
    for import in state.store.leased_imports(&holder).await.unwrap_or_default() {
        if let Err(error) = state.store.release_import(&lease(import)).await {
            tracing::debug!(%error, "an import's lease was not given back; it runs out");
        }
    }
}

/// One look for work; answers whether there was any.
async fn turn(state: &AppState, holder: &str, pace: ImportPace) -> Result<bool, Problem> {
    for upload in state.store.abandoned_uploads(earlier(state.now(), SILENCE_MAX), REMOVED_AT_ONCE).await? {
        state.store.drop_upload(&upload).await?;
    }
    let now = state.now();
    let Some(import) = state.store.lease_import(holder, later(now, pace.lease), now).await? else { return Ok(false) };
    tracing::info!(import = import.id, rows = import.pending(), "placing the rows of an import");
    let mut work = Work { state, import: &import, holder, pace, pause: PAUSE_MIN, defects: 0 };
    while work.batch().await? {}
    Ok(true)
}

struct Work<'a> {
    state: &'a AppState,
    import: &'a Import,
    holder: &'a str,
    pace: ImportPace,
    pause: Duration,
    defects: u32,
}

impl Work<'_> {
    fn lease(&self) -> ImportLease {
        let until = later(self.state.now(), self.pace.lease);
        ImportLease { id: self.import.id.clone(), holder: self.holder.to_owned(), until }
    }

    /// Places the next rows and notes what became of them; `false`: nothing is left for us to do.
    async fn batch(&mut self) -> Result<bool, Problem> {
        let rows = self.state.store.pending_rows(&self.import.upload, BATCH_ROWS).await?;
        let mut settled = Vec::with_capacity(rows.len());
        let mut troubled = false;
        for group in rows.chunks(self.pace.at_once.max(1)) {
            for (number, result) in futures::future::join_all(group.iter().map(|row| self.place(row))).await {
                match result {
                    Ok(result) => settled.push(SettledRow { number, result }),
                    Err(problem) => {
                        troubled = true;
                        self.defects += u32::from(problem.code() == Code::Internal);
                        if self.defects >= DEFECTS_MAX {
                            self.defects = 0;
                            settled.push(SettledRow { number, result: Err(kept(&problem)) });
                        }
                    }
                }
            }
            if troubled {
                break;
            }
        }
        let now = self.state.now();
        let state = self.state.store.settle_rows(&self.lease(), &settled, now).await?;
        metrics::counter!("oms_import_rows_settled_total").increment(settled.len() as u64);
        if troubled {
            // shorter than the lease, so that nobody takes over only because the engine is gone
            sleep(self.pause.min(self.pace.lease / 2)).await;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        } else {
            self.pause = PAUSE_MIN;
        }
        if state == Some(ImportState::Done) {
            tracing::info!(import = self.import.id, "every row of an import is settled");
        }
        Ok(state == Some(ImportState::Running))
    }

    /// Places one row. The inner error is its refusal; the outer one says nothing about the row: it is tried again.
    async fn place(&self, row: &PendingRow) -> (u64, Result<Result<oms_domain::ids::OrderId, String>, Problem>) {
        // only rows that an older version has stored have no key
        let derived = || format!("import/{}/{}", self.import.id, row.number);
        let key = IdempotencyKey(Some(row.key.clone().unwrap_or_else(derived)));
        let placed = match serde_json::from_str(&row.content) {
            Ok(body) => place_one(self.state, &key, body).await,
            Err(_) => Err(Problem::internal()),
        };
        let result = match placed {
            Ok((order, _)) => Ok(Ok(order.id)),
            Err(problem) if problem.code().status().is_client_error() => Ok(Err(kept(&problem))),
            Err(problem) => Err(problem),
        };
        (row.number, result)
    }
}

fn later(now: Instant, by: Duration) -> Instant {
    chrono::TimeDelta::from_std(by).ok().and_then(|by| now.checked_add_signed(by)).unwrap_or(now)
}

fn earlier(now: Instant, by: Duration) -> Instant {
    chrono::TimeDelta::from_std(by).ok().and_then(|by| now.checked_sub_signed(by)).unwrap_or(now)
}
