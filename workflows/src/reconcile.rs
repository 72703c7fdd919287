//! Workflow `Reconcile`: compares our books with those of others, page by page, and has done what each finding needs.
#![allow(missing_docs, reason = "the macros generate constants that take no comment")]

use oms_contract::definitions::Reconciliation;
use oms_contract::names::Queue;
use oms_contract::reconciliation::{Begin, Compare, Finish, Progress, ReconcileStart, SettleFindings, Source};
use oms_contract::start::Patience;
use std::time::Duration;
use temporalio_workflow::{
    ActivityExecutionError, ActivityOptions, ContinueAsNewOptions, WorkflowCancellationToken, WorkflowContext,
    WorkflowContextView, WorkflowResult, workflow, workflow_methods,
};

use crate::policy;

/// A page is read twice with a pause between, and every finding of it may ask an outside party.
const ATTEMPT: Duration = Duration::from_secs(180);
/// After so many pages a new run goes on, so that no history grows with the number of orders.
const PAGES_MAX: u32 = 200;

/// One comparison.
#[workflow]
pub struct Reconcile {
    start: ReconcileStart,
}

#[workflow_methods]
impl Reconcile {
    #[init]
    fn new(_ctx: &WorkflowContextView, start: ReconcileStart) -> Self {
        Self { start }
    }

    /// Ends when all books were compared and every finding is repaired or a person's.
    #[run(name = "Reconcile")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let start = ctx.state(|s| s.start.clone());
        let mut progress = match start.progress.clone() {
            Some(progress) => progress,
            None => Self::begin(ctx, &start).await?,
        };
        let compared = Self::compare(ctx, &start, &mut progress).await;
        if compared.is_ok() && progress.source.is_some() {
            ctx.continue_as_new(ReconcileStart { progress: Some(progress), ..start }, ContinueAsNewOptions::default())?;
            return Ok(());
        }
        let finish = Finish { begun: progress.begun, counts: progress.counts, failed: compared.is_err() };
        ctx.execute_activity(Reconciliation::finish, finish, options(&start, Queue::Orders, "close the report")).await?;
        Ok(compared?)
    }

    async fn begin(ctx: &WorkflowContext<Self>, start: &ReconcileStart) -> Result<Progress, ActivityExecutionError> {
        let begin = Begin { date: start.date.clone(), window: start.window, grace: start.grace };
        let begun = ctx.execute_activity(Reconciliation::begin, begin, options(start, Queue::Orders, "open the report")).await?;
        Ok(Progress { begun, source: Some(Source::Reservations), after: None, counts: Default::default() })
    }

    /// Compares until all is compared or the history is long enough; `progress` says which.
    async fn compare(
        ctx: &WorkflowContext<Self>,
        start: &ReconcileStart,
        progress: &mut Progress,
    ) -> Result<(), ActivityExecutionError> {
        let mut pages = 0;
        while let Some(source) = progress.source.filter(|_| pages < PAGES_MAX) {
            pages += 1;
            let compare = Compare {
                begun: progress.begun.clone(),
                source,
                after: progress.after.take(),
                limit: start.page,
                second_reading: start.second_reading,
            };
            let page = ctx
                .execute_activity(Reconciliation::compare, compare, options(start, source.queue(), "compare a page of books"))
                .await?;
            progress.counts.add(source, page.entries);
            progress.after = page.next;
            if progress.after.is_none() {
                progress.source = source.next();
            }
            let mut open = page.found > 0;
            while open {
                pages += 1;
                let settle = SettleFindings { date: progress.begun.date.clone(), patience: start.patience };
                let settled = ctx
                    .execute_activity(Reconciliation::settle, settle, options(start, source.queue(), "act on findings"))
                    .await?;
                open = settled.more;
            }
        }
        Ok(())
    }
}

fn options(start: &ReconcileStart, queue: Queue, summary: &str) -> ActivityOptions {
    let patience = Patience { sql_attempt: ATTEMPT, gateway_attempt: ATTEMPT, ..start.patience };
    policy::activity(queue, &patience, summary.to_owned(), WorkflowCancellationToken::new())
}
