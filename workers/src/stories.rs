//! Looks after the runs of refunds and returns: a run that was ended by hand is set going again, because what it owes is owed all the
//! same; one that cannot go on becomes a review item, which settles by itself once the run is well.

use futures::StreamExt;
use oms_contract::names::{refund_workflow, return_workflow};
use oms_domain::Instant;
use oms_domain::ids::{OrderId, derive};
use oms_domain::refund::RefundId;
use oms_domain::returning::ReturnId;
use oms_store::{ItemSource, NewItem, REFUND_STUCK, RETURN_STUCK, ReviewItem, StoreError, StoredRefund, StoredReturn};
use oms_temporal::describe::{Ending, RunState, describe};
use oms_temporal::reset::reset_to_last_task;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::{Parts, refunder, watchdog};

/// A run is looked at once in so many of the watchdog's rounds: every ten minutes.
const ROUNDS: u32 = 40;
/// One call to the engine may take this long.
const ASK_MAX: Duration = Duration::from_secs(3);
/// Runs asked at once, and per page.
const AT_ONCE: usize = 8;
const PAGE: u32 = 50;

/// A refund or a return.
enum Story {
    Refund(StoredRefund),
    Return(StoredReturn),
}

/// How a story's run stands.
enum Run {
    /// It goes on by itself.
    Well,
    /// Nothing is left to be done.
    Over,
    /// It cannot go on, in words.
    Stuck(String),
    /// It was ended before it was done.
    Ended(RunState),
    /// The engine knows none, and something is left to be done.
    Missing,
    /// The engine gave no answer, which says nothing.
    Unknown,
}

/// Looks until told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(parts.watch_every)).await.is_some() {
        match stop.run_until_cancelled(round(&parts)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "the runs of refunds and returns could not all be looked at; tried again soon")
            }
            None => return,
        }
    }
}

async fn round(parts: &Parts) -> Result<(), StoreError> {
    let (refunds, returns) = (refunds(parts).await, returns(parts).await);
    refunds.and(returns)
}

/// Who was looked at last before this is looked at again.
fn before(parts: &Parts, now: Instant) -> Instant {
    now - ROUNDS * parts.watch_every
}

async fn refunds(parts: &Parts) -> Result<(), StoreError> {
    loop {
        let now = (parts.clock)();
        let page = parts.store.refunds_to_look_after(before(parts, now), PAGE, now).await?;
        let full = page.len() >= PAGE as usize;
        look_after_all(parts, page.into_iter().map(Story::Refund).collect()).await?;
        if !full {
            return Ok(());
        }
    }
}

async fn returns(parts: &Parts) -> Result<(), StoreError> {
    loop {
        let now = (parts.clock)();
        let page = parts.store.returns_to_look_after(before(parts, now), PAGE, now).await?;
        let full = page.len() >= PAGE as usize;
        look_after_all(parts, page.into_iter().map(Story::Return).collect()).await?;
        if !full {
            return Ok(());
        }
    }
}

async fn look_after_all(parts: &Parts, stories: Vec<Story>) -> Result<(), StoreError> {
    let looks = stories.into_iter().map(|story| async move { look_after(parts, &story).await });
    let mut looks = futures::stream::iter(looks).buffer_unordered(AT_ONCE);
    let mut outcome = Ok(());
    while let Some(looked) = looks.next().await {
        outcome = outcome.and(looked);
    }
    outcome
}

async fn look_after(parts: &Parts, story: &Story) -> Result<(), StoreError> {
    match find(parts, story).await? {
        Run::Well | Run::Unknown => Ok(()),
        Run::Over => match story {
            Story::Refund(refund) => parts.store.refund_is_over(&refund.id).await,
            Story::Return(stored) => parts.store.return_is_over(&stored.id).await,
        },
        Run::Stuck(detail) => flag(parts, story, detail).await,
        Run::Missing => start_anew(parts, story, "it has no run".to_owned()).await,
        Run::Ended(run) => {
            // a defect comes back after every reset: somebody must know
            if run.ending == Some(Ending::Failed) {
                flag(parts, story, run.in_words()).await?;
            }
            set_going(parts, story, &run).await
        }
    }
}

async fn find(parts: &Parts, story: &Story) -> Result<Run, StoreError> {
    let run = match describe(&parts.client, &story.workflow(), ASK_MAX).await {
        Ok(run) => run,
        Err(error) => {
            tracing::debug!(%error, subject = story.subject(), "the engine was not asked for a run");
            return Ok(Run::Unknown);
        }
    };
    Ok(match run {
        Some(run) if run.is_failing() => Run::Stuck(run.in_words()),
        Some(RunState { ending: None | Some(Ending::ContinuedAsNew), .. }) => Run::Well,
        // read after the run: one that closes by itself has written its last record before
        Some(RunState { ending: Some(Ending::Completed), .. }) if story.is_settled(parts).await? => Run::Over,
        Some(run) if run.ending == Some(Ending::Completed) => Run::Stuck(format!("{}, and it is not settled", run.in_words())),
        Some(run) => Run::Ended(run),
        None if story.is_settled(parts).await? => Run::Over,
        None => Run::Missing,
    })
}

/// The run goes on from its last good task: what it was told and what it waited for is kept.
async fn set_going(parts: &Parts, story: &Story, run: &RunState) -> Result<(), StoreError> {
    let (workflow, subject) = (story.workflow(), story.subject());
    let request_id = derive(&["set going", &workflow, &run.run_id]).to_string();
    let reason = "ended before it was done";
    match reset_to_last_task(&parts.client, &workflow, &run.run_id, reason, &request_id, ASK_MAX).await {
        Ok(Some(_)) => {
            tracing::warn!(subject, was = run.in_words(), "a run of a refund or return was set going again");
            Ok(())
        }
        Ok(None) => start_anew(parts, story, run.in_words()).await,
        Err(error) => {
            tracing::warn!(%error, subject, "a run of a refund or return could not be set going again");
            match error {
                oms_temporal::describe::CallError::Refused(_) => start_anew(parts, story, run.in_words()).await,
                oms_temporal::describe::CallError::Unanswered(_) => Ok(()),
            }
        }
    }
}

/// Without a history to go on from. A refund asks under the same keys again; a return whose run has recorded something may have goods
/// to book in of which only that run knew.
async fn start_anew(parts: &Parts, story: &Story, was: String) -> Result<(), StoreError> {
    let started = match story {
        Story::Refund(refund) => refunder::restart_refund(parts, refund.clone()).await,
        Story::Return(stored) if stored.rev == 0 => refunder::restart_return(parts, stored.clone()).await,
        Story::Return(_) => false,
    };
    if started { Ok(()) } else { flag(parts, story, was).await }
}

async fn flag(parts: &Parts, story: &Story, detail: String) -> Result<(), StoreError> {
    let item = NewItem {
        id: String::new(),
        kind: story.kind().to_owned(),
        order_id: Some(story.order().clone()),
        shipment_id: None,
        subject: story.subject().to_owned(),
        detail,
        source: ItemSource::Watchdog,
    };
    if watchdog::open(parts, item, 0, (parts.clock)()).await? {
        tracing::warn!(subject = story.subject(), kind = story.kind(), "a refund or return needs a person");
    }
    Ok(())
}

/// Whether what an item of this module is about is over; `None`: it is not one of them.
pub(crate) async fn is_over(parts: &Parts, item: &ReviewItem) -> Option<Result<bool, StoreError>> {
    let story = match item.kind.as_str() {
        REFUND_STUCK => match RefundId::parse(item.subject.clone()) {
            Ok(id) => parts.store.refund(&id).await.map(|row| row.map(Story::Refund)),
            Err(_) => Ok(None),
        },
        RETURN_STUCK => match ReturnId::parse(item.subject.clone()) {
            Ok(id) => parts.store.return_(&id).await.map(|row| row.map(Story::Return)),
            Err(_) => Ok(None),
        },
        _ => return None,
    };
    Some(match story {
        Ok(Some(story)) => find(parts, &story).await.map(|run| matches!(run, Run::Well | Run::Over)),
        Ok(None) => Ok(true),
        Err(error) => Err(error),
    })
}

impl Story {
    fn workflow(&self) -> String {
        match self {
            Self::Refund(refund) => refund_workflow(&refund.id),
            Self::Return(stored) => return_workflow(&stored.id),
        }
    }

    fn subject(&self) -> &str {
        match self {
            Self::Refund(refund) => refund.id.as_str(),
            Self::Return(stored) => stored.id.as_str(),
        }
    }

    fn order(&self) -> &OrderId {
        match self {
            Self::Refund(refund) => &refund.order_id,
            Self::Return(stored) => &stored.order_id,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Refund(_) => REFUND_STUCK,
            Self::Return(_) => RETURN_STUCK,
        }
    }

    /// Whether its row says now that nothing is left to be done. A row that is gone took everything with it.
    async fn is_settled(&self, parts: &Parts) -> Result<bool, StoreError> {
        Ok(match self {
            Self::Refund(refund) => parts.store.refund(&refund.id).await?.is_none_or(|row| row.state.is_settled()),
            Self::Return(stored) => parts.store.return_(&stored.id).await?.is_none_or(|row| row.body.state.is_terminal()),
        })
    }
}
