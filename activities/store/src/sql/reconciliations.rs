//! Statements of the reports of comparisons.

use oms_domain::Instant;
use oms_domain::reconciliation::{Action, Day, Finding};
use sqlx::types::Json;

use super::{Db, Pools, cut, signed, unsigned, word};
use crate::Result;
use crate::reconciliations::{Report, ReportCounts, ReportState, StoredFinding};

pub(crate) async fn begin(pools: &Pools, day: &Day, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "INSERT INTO reconciliations (day, state, started_at) VALUES ($1, 'running', $2)
         ON CONFLICT (day) DO UPDATE SET state = 'running', started_at = excluded.started_at, finished_at = NULL",
    )
    .bind(day.as_str())
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn finish(pools: &Pools, day: &Day, state: ReportState, compared: ReportCounts, now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "UPDATE reconciliations SET state = $2, finished_at = $3, orders = $4, payments = $5, bookings = $6, reservations = $7
         WHERE day = $1",
    )
    .bind(day.as_str())
    .bind(state.as_str())
    .bind(cut(now))
    .bind(signed(compared.orders))
    .bind(signed(compared.payments))
    .bind(signed(compared.bookings))
    .bind(signed(compared.reservations))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn write(pools: &Pools, day: &Day, findings: &[Finding], now: Instant) -> Result<()> {
    let mut tx = pools.begin().await?;
    for finding in findings {
        // what was repaired and is broken again is repaired again; what a person has stays with the person until that has an end
        sqlx::query::<Db>(
            "INSERT INTO reconciliation_findings (day, kind, subject, order_id, finding, action, since, seen_at)
             VALUES ($1, $2, $3, $4, $5, 'none', $6, $7)
             ON CONFLICT (day, kind, subject) DO UPDATE SET seen_at = excluded.seen_at, finding = excluded.finding,
                 settled_at = CASE WHEN EXISTS (SELECT 1 FROM review_items i
                     WHERE i.id = reconciliation_findings.review_item AND i.state = 'open') THEN reconciliation_findings.settled_at END",
        )
        .bind(day.as_str())
        .bind(finding.kind.as_str())
        .bind(&finding.subject)
        .bind(finding.order.as_ref().map(|o| o.as_str()))
        .bind(Json(finding))
        .bind(cut(finding.since))
        .bind(cut(now))
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn unsettled(pools: &Pools, day: &Day, limit: u32) -> Result<Vec<Finding>> {
    let rows = sqlx::query_scalar::<Db, Json<Finding>>(
        "SELECT finding FROM reconciliation_findings WHERE day = $1 AND settled_at IS NULL ORDER BY kind, subject LIMIT $2",
    )
    .bind(day.as_str())
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub(crate) async fn settle(
    pools: &Pools,
    day: &Day,
    finding: &Finding,
    (action, item): (Action, Option<&str>),
    now: Instant,
) -> Result<()> {
    let mut tx = pools.begin().await?;
    sqlx::query::<Db>(
        "UPDATE reconciliation_findings SET action = $4, review_item = $5, settled_at = $6
         WHERE day = $1 AND kind = $2 AND subject = $3 AND settled_at IS NULL",
    )
    .bind(day.as_str())
    .bind(finding.kind.as_str())
    .bind(&finding.subject)
    .bind(action.as_str())
    .bind(item)
    .bind(cut(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn in_order(
    pools: &Pools,
    since: Instant,
    found_before: Instant,
    judged_before: Instant,
    limit: u32,
) -> Result<Vec<String>> {
    let items = sqlx::query_scalar::<Db, String>(
        "SELECT i.id FROM review_items i WHERE i.source = 'reconciliation' AND i.state = 'open'
             AND EXISTS (SELECT 1 FROM reconciliation_findings f WHERE f.review_item = i.id AND f.since >= $1)
             AND NOT EXISTS (SELECT 1 FROM reconciliation_findings f WHERE f.review_item = i.id AND f.seen_at >= $2)
             AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = i.order_id AND o.updated_at > $3)
         ORDER BY i.opened_at, i.id LIMIT $4",
    )
    .bind(cut(since))
    .bind(cut(found_before))
    .bind(cut(judged_before))
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    Ok(items)
}

#[derive(sqlx::FromRow)]
struct ReportRow {
    day: String,
    state: String,
    started_at: Instant,
    finished_at: Option<Instant>,
    orders: i64,
    payments: i64,
    bookings: i64,
    reservations: i64,
    findings: i64,
}

impl ReportRow {
    fn read(self) -> Result<Report> {
        let count = |n| unsigned("reconciliations", n);
        Ok(Report {
            day: Day::parse(self.day)?,
            state: word("reconciliations.state", &self.state, ReportState::parse)?,
            started_at: self.started_at,
            finished_at: self.finished_at,
            compared: ReportCounts {
                orders: count(self.orders)?,
                payments: count(self.payments)?,
                bookings: count(self.bookings)?,
                reservations: count(self.reservations)?,
            },
            findings: count(self.findings)?,
        })
    }
}

/// A report's columns.
macro_rules! report {
    () => {
        "SELECT r.day, r.state, r.started_at, r.finished_at, r.orders, r.payments, r.bookings, r.reservations,
             (SELECT COUNT(*) FROM reconciliation_findings f WHERE f.day = r.day) AS findings FROM reconciliations r"
    };
}

pub(crate) async fn report(pools: &Pools, day: &Day) -> Result<Option<Report>> {
    let row = sqlx::query_as::<Db, ReportRow>(concat!(report!(), " WHERE r.day = $1"))
        .bind(day.as_str())
        .fetch_optional(&pools.read)
        .await?;
    row.map(ReportRow::read).transpose()
}

pub(crate) async fn reports(pools: &Pools, after: Option<&Day>, limit: u32) -> Result<Vec<Report>> {
    // no day is behind this one
    const LAST: &str = "~";
    let rows = sqlx::query_as::<Db, ReportRow>(concat!(report!(), " WHERE r.day < $1 ORDER BY r.day DESC LIMIT $2"))
        .bind(after.map_or(LAST, Day::as_str))
        .bind(i64::from(limit))
        .fetch_all(&pools.read)
        .await?;
    rows.into_iter().map(ReportRow::read).collect()
}

pub(crate) async fn findings(pools: &Pools, day: &Day, limit: u32) -> Result<Vec<StoredFinding>> {
    let rows = sqlx::query_as::<Db, (Json<Finding>, String, Option<String>)>(
        "SELECT finding, action, review_item FROM reconciliation_findings WHERE day = $1 ORDER BY kind, subject LIMIT $2",
    )
    .bind(day.as_str())
    .bind(i64::from(limit))
    .fetch_all(&pools.read)
    .await?;
    rows.into_iter()
        .map(|(finding, action, review_item)| {
            let action = word("reconciliation_findings.action", &action, Action::parse)?;
            Ok(StoredFinding { finding: finding.0, action, review_item })
        })
        .collect()
}
