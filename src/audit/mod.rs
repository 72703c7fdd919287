//! `oms audit`: proves the books from four independent sources.
//!
//! The rules are plain functions from one reading of all sources to findings, so a test can break each of them by hand. Sources
//! are not read at one instant, so a finding counts only if a second reading a little later shows it again.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use oms_domain::ids::OrderId;
use oms_store::ReviewItem;
use serde::Serialize;

use crate::admin::say;
use crate::settings::Settings;

mod finding;
mod message_rules;
mod money_rules;
mod order_rules;
mod place;
mod sources;
mod stock_rules;
#[cfg(test)]
mod tests;

pub(crate) use finding::Finding;
pub(crate) use sources::{Desk, Outside, Sources};

/// What two sources say differently counts only if they still do after this.
const SECOND_READING_AFTER: Duration = Duration::from_secs(3);

/// Prove the books.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Print the verdict as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the audit says.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    /// Whether there are no findings.
    pub(crate) balanced: bool,
    /// What does not hold.
    pub(crate) findings: Vec<Finding>,
    /// Orders that need a person: no violation.
    pub(crate) needs_attention: Vec<Attention>,
    /// What is open in the review queue: no violation.
    pub(crate) review_items: Vec<OpenItem>,
    /// How much was looked at.
    pub(crate) counts: Counts,
}

/// An order that needs a person, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Attention {
    /// The order.
    pub(crate) order_id: OrderId,
    /// What for: stable words.
    pub(crate) codes: Vec<String>,
}

/// What is open in the review queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct OpenItem {
    /// Its id.
    pub(crate) id: String,
    /// A stable word.
    pub(crate) kind: String,
    /// The order it is about, if it is about one.
    pub(crate) order_id: Option<OrderId>,
    /// What it is about.
    pub(crate) subject: String,
}

impl From<&ReviewItem> for OpenItem {
    fn from(item: &ReviewItem) -> Self {
        let (id, kind) = (item.id.clone(), item.kind.clone());
        Self { id, kind, order_id: item.order_id.clone(), subject: item.subject.clone() }
    }
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Orders in SQL.
    pub(crate) orders: usize,
    /// Those of them that have not ended.
    pub(crate) open_orders: usize,
    /// Shelves.
    pub(crate) shelves: usize,
    /// Payments at the gateway.
    pub(crate) payments: usize,
    /// Open runs in Temporal.
    pub(crate) open_runs: usize,
    /// Messages written.
    pub(crate) messages: usize,
    /// Open items of the review queue.
    pub(crate) review_items: usize,
}

impl Counts {
    fn of(sources: &Sources) -> Self {
        let files = [&sources.written.mail, &sources.written.sms];
        Self {
            orders: sources.orders.len(),
            open_orders: sources.orders.iter().filter(|o| !o.row.status.is_terminal()).count(),
            shelves: sources.stock.len(),
            payments: sources.payments.len(),
            open_runs: sources.runs.open.len(),
            messages: files.into_iter().flatten().map(std::collections::BTreeSet::len).sum(),
            review_items: sources.items.len(),
        }
    }
}

/// Everything that does not hold in one reading, in a stable order.
pub(crate) fn check(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in &sources.stock {
        stock_rules::shelf(row, &mut findings);
    }
    for order in &sources.orders {
        order_rules::order(order, sources, &mut findings);
    }
    order_rules::runs(sources, &mut findings);
    money_rules::money(sources, &mut findings);
    message_rules::messages(sources, &mut findings);
    findings.sort_by(|a, b| (&a.subject, a.invariant).cmp(&(&b.subject, b.invariant)));
    findings
}

/// Reads and checks; what was found is looked for again a little later and counts only then. Errors: a source is gone.
pub(crate) async fn prove(desk: &Desk) -> anyhow::Result<Verdict> {
    let mut sources = desk.read().await?;
    let mut findings = check(&sources);
    if !findings.is_empty() {
        tokio::time::sleep(SECOND_READING_AFTER).await;
        sources = desk.read().await?;
        findings = standing(&findings, check(&sources));
    }
    let needs_attention = sources
        .orders
        .iter()
        .filter(|o| o.row.needs_attention)
        .map(|o| Attention { order_id: o.row.id.clone(), codes: o.row.life.attention.iter().map(|a| a.code.clone()).collect() });
    Ok(Verdict {
        balanced: findings.is_empty(),
        needs_attention: needs_attention.collect(),
        review_items: sources.items.iter().map(OpenItem::from).collect(),
        counts: Counts::of(&sources),
        findings,
    })
}

/// Of the second reading's findings those that the first one had too.
fn standing(first: &[Finding], second: Vec<Finding>) -> Vec<Finding> {
    second.into_iter().filter(|again| first.iter().any(|f| f.is(again))).collect()
}

impl Verdict {
    /// The verdict for people.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for attention in &self.needs_attention {
            text.push_str(&format!(
                "needs attention (no violation): order {}: {}\n",
                attention.order_id,
                attention.codes.join(", ")
            ));
        }
        for item in &self.review_items {
            let about = item.order_id.as_ref().map_or_else(|| item.subject.clone(), |order| format!("order {order}"));
            text.push_str(&format!("open review item (no violation): {}: {about}, item {}\n", item.kind, item.id));
        }
        for finding in &self.findings {
            text.push_str(&format!("{finding}\n"));
        }
        let c = &self.counts;
        let looked_at = format!(
            "{} orders ({} open), {} shelves, {} payments at the gateway, {} open runs, {} messages written",
            c.orders, c.open_orders, c.shelves, c.payments, c.open_runs, c.messages
        );
        match self.findings.len() {
            0 => text.push_str(&format!("books balanced: {looked_at}\n")),
            1 => text.push_str(&format!("books NOT balanced: 1 finding in {looked_at}\n")),
            n => text.push_str(&format!("books NOT balanced: {n} findings in {looked_at}\n")),
        }
        text
    }
}

/// `oms audit`. Beside a live stack it only reads; on a stopped data directory it holds the lock and runs the dev server until it
/// is done. Errors: a source is gone, or nothing was ever started there.
pub(crate) async fn run(args: AuditArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let place = place::Place::open(&settings).await?;
    let verdict = prove(place.desk()).await;
    place.close().await;
    let verdict = verdict?;
    if args.json {
        say(&serde_json::to_string_pretty(&verdict)?);
    } else {
        say(&verdict.render());
    }
    Ok(if verdict.balanced { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
