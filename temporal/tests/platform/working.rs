//! A worker on its thread, search attributes on a fresh namespace, and replay.

use std::time::Duration;

use oms_temporal::bootstrap::{AttributeType, DEFAULT_RETENTION, bootstrap};
use oms_temporal::connect::connect_within;
use oms_temporal::replay::{ReplayError, download_history, replay};
use oms_temporal::server::DevServer;
use oms_temporal::worker::{WorkerError, WorkerThread, WorkerTuning, runtime, worker_options};
use temporalio_client::WorkflowStartOptions;
use temporalio_common::search_attributes::SearchAttributeKey;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowResult};

use crate::{options, settings};

const STATE: SearchAttributeKey<String> = SearchAttributeKey::keyword("OmsState");

#[workflow]
#[derive(Default)]
struct Greeter;

#[workflow_methods]
impl Greeter {
    #[run(name = "Greeter")]
    async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<String> {
        ctx.upsert_search_attributes([STATE.value_set("greeting".to_owned())]);
        ctx.timer(Duration::from_millis(10)).await;
        Ok("hello".to_owned())
    }
}

/// The same workflow after a change that breaks running ones.
#[workflow]
#[derive(Default)]
struct HastyGreeter;

#[workflow_methods]
impl HastyGreeter {
    #[run(name = "Greeter")]
    async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<String> {
        ctx.upsert_search_attributes([STATE.value_set("greeting".to_owned())]);
        Ok("hello".to_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_namespace_runs_a_workflow_without_a_failed_task_and_its_history_replays() {
    let dir = tempfile::tempdir().unwrap();
    let server = DevServer::start(options(dir.path())).await.unwrap();
    let client = connect_within(&settings(&server, "oms"), Duration::from_secs(10)).await.unwrap();
    bootstrap(&client, DEFAULT_RETENTION, &[("OmsState", AttributeType::Keyword)]).await.unwrap();

    let mut options = worker_options("greetings", &WorkerTuning::default());
    options.register_workflow::<Greeter>().unwrap();
    let worker = WorkerThread::spawn(runtime().unwrap(), client.clone(), options).await.unwrap();
    let start = WorkflowStartOptions::new("greetings", "greeter/1")
        .search_attributes(temporalio_common::search_attributes::SearchAttributes::new([STATE.value_set("new".to_owned())]))
        .build();
    let handle = client.start_workflow(Greeter::run, (), start).await.unwrap();
    assert_eq!(handle.get_result(Default::default()).await.unwrap(), "hello");
    tokio::time::timeout(Duration::from_secs(10), worker.join()).await.unwrap().unwrap();

    let history = download_history(&client, "greeter/1").await.unwrap();
    let text = String::from_utf8(history.clone()).unwrap();
    assert!(text.contains("UpsertWorkflowSearchAttributes") || text.contains("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"), "{text}");
    assert!(!text.contains("WorkflowTaskFailed") && !text.contains("WORKFLOW_TASK_FAILED"), "{text}");
    replay::<Greeter>(&history).await.unwrap();
    assert!(matches!(replay::<HastyGreeter>(&history).await, Err(ReplayError::Replay(_))));
    assert!(matches!(replay::<Greeter>(b"no history").await, Err(ReplayError::History(_))));
    assert!(download_history(&client, "greeter/none").await.is_err());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_ends_on_its_own_tells_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let server = DevServer::start(options(dir.path())).await.unwrap();
    let client = connect_within(&settings(&server, "no-such-namespace"), Duration::from_secs(10)).await.unwrap();
    let mut options = worker_options("greetings", &WorkerTuning::default());
    options.register_workflow::<Greeter>().unwrap();
    let worker = WorkerThread::spawn(runtime().unwrap(), client, options).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(15), worker.finished()).await.unwrap();
    assert!(matches!(&end, Err(WorkerError::Ended { queue, .. }) if queue == "greetings"), "{end:?}");
    server.stop().await;
}
