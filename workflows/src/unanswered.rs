//! Steps of a story beside an order's run to which nobody gives an answer: they are tried without end, and a person is called.
//!
//! The first tries are limited in time by the engine, which costs nothing as long as an answer comes, and tells what the last one
//! failed with. Then an item is opened, and the step goes on without a limit until an answer comes or the person decides.

use oms_contract::activity::OpenedItem;
use oms_contract::command::Resolve;
use oms_contract::names::Queue;
use oms_domain::ids::derive;
use oms_domain::review::Resolution;
use temporalio_common::ActivityDefinition;
use temporalio_workflow::workflows::select;
use temporalio_workflow::{ActivityExecutionError, WorkflowCancellationToken};

use crate::beside::{Asked, ItemChange, Story, after, resolved};
use crate::policy;

/// A workflow that hears what persons decide.
pub(crate) trait Asks {
    /// The items that it waits on.
    fn asked(&self) -> &Asked;
    /// The same, to change them.
    fn asked_mut(&mut self) -> &mut Asked;
}

/// What a person is told about a step without an answer.
pub(crate) struct Call {
    /// The kind of the item.
    pub(crate) kind: &'static str,
    /// What it is about.
    pub(crate) subject: String,
    /// The step's name within its subject, revision included.
    pub(crate) step: String,
    /// What is missing, as the beginning of a sentence.
    pub(crate) missing: String,
}

/// How a step ended.
pub(crate) enum Answer<T> {
    /// With an answer.
    Given(T),
    /// A person settled it outside; that goes on record with whatever follows from it.
    Outside(Resolve),
    /// It was called back before it had an effect.
    CalledBack,
}

/// How a series of tries ended.
enum Tries<T> {
    Answered(T),
    CalledBack,
    /// Without an answer; why, in words of ours.
    Failed(String),
}

impl<W: Asks + 'static> Story<W> {
    /// Runs an activity until it answers, a person decides, or it is no longer needed (`over`). `input` is told whether an earlier try
    /// under the same key may have had its effect.
    pub(crate) async fn answered<D: ActivityDefinition>(
        &self,
        (queue, summary): (Queue, &str),
        definition: impl Fn() -> D,
        input: impl Fn(bool) -> D::Input,
        call: Call,
        over: impl Fn(&W) -> bool,
    ) -> Answer<D::Output> {
        self.ctx.set_current_details(format!("waits on: {summary}"));
        let limited = policy::within(self.terms.deadlines.answer(), self.step(queue, summary));
        let mut called = 0;
        loop {
            let options = if self.calls { limited.clone() } else { self.step(queue, summary) };
            let failed = match self.tries(definition(), input(called > 0), options, &over).await {
                Tries::Answered(output) => return Answer::Given(output),
                Tries::CalledBack => return Answer::CalledBack,
                Tries::Failed(why) => why,
            };
            if !self.calls {
                self.pause().await;
                if self.ctx.state(&over) {
                    return Answer::CalledBack;
                }
                continue;
            }
            called += 1;
            let item = self.call(&call, called, &failed).await;
            let decided = |s: &W| s.asked().is_decided(&item) || over(s);
            let answer = loop {
                match self.tries(definition(), input(true), self.step(queue, summary), &decided).await {
                    Tries::Answered(output) => break Some(output),
                    Tries::CalledBack => break None,
                    Tries::Failed(_) => {
                        let again = after(self.now(), self.terms.deadlines.defect_retry);
                        if self.until_or_at(again, "pause after a defect", &decided).await {
                            break None;
                        }
                    }
                }
            };
            let command = self.ctx.state_mut(|s| s.asked_mut().take(&item));
            let change = match &command {
                Some(command) => ItemChange { resolved: vec![resolved(command)], ..ItemChange::default() },
                None => ItemChange { settled: vec![item.clone()], ..ItemChange::default() },
            };
            match (answer, command) {
                (None, Some(command)) if command.action != Resolution::Retry => return Answer::Outside(command),
                (Some(output), _) => {
                    self.append(Vec::new(), change).await;
                    return Answer::Given(output);
                }
                (None, Some(_)) => self.append(Vec::new(), change).await,
                (None, None) => {
                    self.append(Vec::new(), change).await;
                    return Answer::CalledBack;
                }
            }
        }
    }

    fn step(&self, queue: Queue, summary: &str) -> temporalio_workflow::ActivityOptions {
        policy::activity(queue, &self.terms.patience, summary.to_owned(), WorkflowCancellationToken::new())
    }

    /// One series of tries, called back once `over` holds; one that is running then ends first, so that nothing fires late.
    async fn tries<D: ActivityDefinition>(
        &self,
        definition: D,
        input: D::Input,
        mut options: temporalio_workflow::ActivityOptions,
        over: impl Fn(&W) -> bool,
    ) -> Tries<D::Output> {
        let token = WorkflowCancellationToken::new();
        options.cancellation_token = Some(token.clone());
        let mut running = self.ctx.execute_activity(definition, input, options);
        let mut called_back = Box::pin(futures::FutureExt::fuse(self.until(over)));
        let ended = select! {
            ended = running => ended,
            () = called_back => {
                token.cancel_with_reason("nobody waits for it any more");
                running.await
            }
        };
        match ended {
            Ok(output) => Tries::Answered(output),
            Err(_) if token.is_cancelled() => Tries::CalledBack,
            Err(error) => Tries::Failed(last_words(&error)),
        }
    }

    /// Opens an item; answers its id.
    async fn call(&self, call: &Call, number: u32, why: &str) -> String {
        let item = derive(&["review", call.kind, &call.subject, &call.step, &number.to_string()]).to_string();
        let opened = OpenedItem {
            id: item.clone(),
            kind: call.kind.to_owned(),
            subject: call.subject.clone(),
            detail: format!("{} ({why}); it is tried without end", call.missing),
        };
        self.ctx.state_mut(|s| s.asked_mut().open(&item, call.kind));
        self.append(Vec::new(), ItemChange { opened: vec![opened], ..ItemChange::default() }).await;
        item
    }
}

/// What the last try failed with: the innermost cause that is a sentence of ours.
fn last_words(error: &ActivityExecutionError) -> String {
    let mut innermost = error.cause();
    while let Some(cause) = innermost.and_then(|error| error.cause()) {
        innermost = Some(cause);
    }
    match innermost {
        Some(cause) if cause.as_timeout().is_none() => cause.failure().message.clone(),
        _ => "nobody answered in time".to_owned(),
    }
}
