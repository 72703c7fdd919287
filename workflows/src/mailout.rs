//! Workflow `Mailout`: a batch of messages on its way out, each with retries of its own.
#![allow(missing_docs, reason = "the macros generate constants that take no comment")]

use futures::FutureExt;
use oms_contract::activity::Send;
use oms_contract::definitions::Notifications;
use oms_contract::names::Queue;
use oms_contract::start::MailoutStart;
use temporalio_workflow::workflows::join_all;
use temporalio_workflow::{
    WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult, workflow, workflow_methods,
};

use crate::policy;

/// A batch of messages.
#[workflow]
pub struct Mailout {
    start: MailoutStart,
}

#[workflow_methods]
impl Mailout {
    #[init]
    fn new(_ctx: &WorkflowContextView, start: MailoutStart) -> Self {
        Self { start }
    }

    /// Ends when every message is sent, or dropped as stale by the activity.
    #[run(name = "Mailout")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let start = ctx.state(|s| s.start.clone());
        let sends = start.messages.into_iter().map(|message_id| {
            let ctx = ctx.clone();
            async move {
                // on a token of its own: a native cancel of the batch must not lose a message
                let token = WorkflowCancellationToken::new();
                let summary = "send a message to the customer".to_owned();
                let options = policy::activity(Queue::Notifications, &start.patience, summary, token);
                // a message that ends in a defect stays claimed and is then a person's (`workers/src/claimer.rs`); the others still go out
                let _ = ctx.execute_activity(Notifications::send, Send { message_id }, options).await;
            }
            .boxed_local()
        });
        join_all(sends).await;
        Ok(())
    }
}
