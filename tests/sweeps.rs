//! Every step of the saga, swept with real worker processes, store and sandbox: fail it, repeat it, undo it twice, kill the worker
//! after it. The steps come from the saga's table, and every `match` over them is exhaustive.

use futures::future::join_all;
use futures::{StreamExt, stream};
use oms_contract::names::order_workflow;
use oms_domain::ids::OrderId;
use oms_domain::order::{Reason, Status};
use oms_domain::shipment::ScanType;
use oms_gateways::faults::FaultMode;
use oms_workflows::saga::{Class, Step, Undo};
use temporalio_client::NamespacedClient;
use temporalio_client::grpc::WorkflowService;
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflowservice::v1::ResetWorkflowExecutionRequest;

use crate::support::bench::{Bench, Trouble, trouble, trouble_undoing};
use crate::support::books;
use crate::support::until;
use crate::support::world::{PATIENT, report, uuid};

/// Benches at once: they mostly wait, but each has a worker process of its own.
const AT_ONCE: usize = 3;

async fn sweep<T, F: Future<Output = ()>>(all: impl IntoIterator<Item = T>, of: impl Fn(T) -> F) {
    stream::iter(all).for_each_concurrent(AT_ONCE, of).await;
}

async fn balanced(bench: Bench, on_hand: u64) {
    assert_eq!(bench.stock().await, (on_hand, 0, on_hand));
    books::balanced(&bench.world).await;
    bench.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_repeated_until_it_works_or_taken_back() {
    sweep(Step::ALL, |step| async move {
        let bench = Bench::new().await;
        let Some(activity) = step.activity() else { return an_unheard_report(bench).await };
        let trouble = trouble(step);
        bench.make(trouble, FaultMode::Down).await;
        let id = bench.mug("recovers").await;
        bench.bring(&id, step).await;
        bench.attempted(&id, activity, 2).await;
        let stopped = step.class() == Class::Compensable;
        if stopped {
            // one that is called back while it only backs off
            let other = bench.mug("gives-up").await;
            bench.attempted(&other, activity, 2).await;
            bench.cancel(&other).await;
        }
        bench.mend(trouble).await;
        bench.complete(&id).await;
        let mut gone = 1;
        if let Trouble::Party(..) = trouble {
            // the party acts and loses its answer
            bench.make(trouble, FaultMode::CommitThenDrop).await;
            let lost = bench.mug("lost-answer").await;
            bench.bring(&lost, step).await;
            bench.done(&lost, step).await;
            bench.complete(&lost).await;
            gone += 1;
        }
        balanced(bench, 10 - gone).await;
    })
    .await;
}

/// The pivot is no activity: it fails when nobody hears the report.
async fn an_unheard_report(mut bench: Bench) {
    let id = bench.mug("unheard").await;
    bench.booked(&id).await;
    let (run, nothing) = (bench.world.run(&id), report(&id, 9, ScanType::Shipped));
    let answer = run.execute_update(oms_contract::workflow::ShipmentEventUpdate, nothing, Default::default()).await;
    assert!(answer.is_err(), "a parcel that does not exist cannot leave");
    bench.kill();
    bench.bring(&id, Step::Ship).await;
    assert!(!bench.world.order(&id).await.life.shipments[0].status.departed());
    bench.restart().await;
    bench.complete(&id).await;
    balanced(bench, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_undo_is_repeated_until_it_works() {
    sweep(Undo::ALL, |undo| async move {
        let bench = Bench::new().await;
        let trouble = trouble_undoing(undo);
        let id = bench.mug("stuck").await;
        bench.booked(&id).await;
        bench.make(trouble, FaultMode::Down).await;
        bench.world.cancel(&id).await.unwrap();
        bench.attempted(&id, undo.activity(), 2).await;
        assert_eq!(bench.world.reaches(&id, Status::Cancelling).await.life.status, Status::Cancelling);
        bench.mend(trouble).await;
        bench.cancelled(&id).await;
        if let Trouble::Party(..) = trouble {
            let lost = bench.mug("lost-answer").await;
            bench.booked(&lost).await;
            bench.make(trouble, FaultMode::CommitThenDrop).await;
            bench.cancel(&lost).await;
        }
        balanced(bench, 10).await;
    })
    .await;
}

/// The end of the workflow task that decided on an activity, or accepted the first update, once it is in the order's history.
async fn decided(bench: &Bench, id: &OrderId, activity: Option<&str>) -> Option<i64> {
    let events = bench.world.run(id).fetch_history(Default::default()).into_events().await.unwrap();
    events.iter().find_map(|event| match (&event.attributes, activity) {
        (Some(Attributes::ActivityTaskScheduledEventAttributes(a)), Some(activity)) => {
            a.activity_type.as_ref().is_some_and(|t| t.name == activity).then_some(a.workflow_task_completed_event_id)
        }
        // what follows the end of a workflow task is what that task decided
        (Some(Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(_)), None) => {
            let ends =
                events.iter().filter(|e| matches!(e.attributes, Some(Attributes::WorkflowTaskCompletedEventAttributes(_))));
            ends.map(|e| e.event_id).filter(|end| *end < event.event_id).max()
        }
        _ => None,
    })
}

/// Sets the order's run back to just before an activity was scheduled or an update accepted, so that it happens again.
async fn reset_before(bench: &Bench, id: &OrderId, activity: Option<&str>) {
    let task = until(&format!("{id} has come to {activity:?}"), PATIENT, || decided(bench, id, activity)).await;
    let request = ResetWorkflowExecutionRequest {
        namespace: bench.world.client.namespace(),
        workflow_execution: Some(WorkflowExecution { workflow_id: order_workflow(id), run_id: String::new() }),
        reason: "sweep".into(),
        workflow_task_finish_event_id: task,
        request_id: uuid(),
        ..Default::default()
    };
    bench.world.client.clone().reset_workflow_execution(tonic::Request::new(request)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_runs_twice_has_its_effect_once() {
    sweep(Step::ALL, |step| async move {
        let bench = Bench::new().await;
        // beside the engine's own, several times at once
        let id = bench.mug("twice").await;
        if step == Step::Capture {
            bench.done(&id, Step::Authorize).await;
        }
        bench.bring(&id, step).await;
        join_all((0..4).map(|_| bench.repeat(&id, step))).await;
        bench.done(&id, step).await;
        join_all((0..4).map(|_| bench.repeat(&id, step))).await;
        // and by the engine itself, whose run is set back to before the step
        reset_before(&bench, &id, step.activity()).await;
        bench.complete(&id).await;
        let theirs = bench.world.sandbox.payments.payments(Some(&id)).await.unwrap();
        assert_eq!((theirs.len(), bench.world.sandbox.carrier.bookings().await.unwrap().len()), (1, 1), "{step:?}");
        balanced(bench, 9).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_runs_twice_takes_nothing_back_twice() {
    sweep(Undo::ALL, |undo| async move {
        let bench = Bench::new().await;
        // of two orders only one is cancelled, so that taking back too much would show
        let (id, other) = (bench.mug("undone").await, bench.mug("untouched").await);
        bench.booked(&id).await;
        bench.booked(&other).await;
        bench.cancel(&id).await;
        for _ in 0..2 {
            join_all((0..4).map(|_| bench.take_back(&id, undo))).await;
            assert_eq!(bench.stock().await, (10, 1, 9));
            reset_before(&bench, &id, Some(undo.activity())).await;
            bench.cancelled(&id).await;
        }
        assert!(bench.world.cancel(&id).await.is_err(), "its run has ended");
        bench.complete(&other).await;
        balanced(bench, 9).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_comes_before_its_step_keeps_it_from_happening() {
    let mut bench = Bench::new().await;
    bench.kill();
    let mut orders = Vec::new();
    for undo in Undo::ALL {
        let id = bench.mug(undo.activity()).await;
        bench.take_back(&id, undo).await;
        orders.push((id, undo));
    }
    bench.restart().await;
    for (id, undo) in &orders {
        match undo {
            Undo::Release => {
                let order = bench.world.reaches(id, Status::Rejected).await;
                assert_eq!(order.life.reason, Some(Reason::OutOfStock));
                assert!(bench.world.sandbox.payments.payments(Some(id)).await.unwrap().is_empty());
            }
            Undo::Void => {
                let order = bench.world.reaches(id, Status::Rejected).await;
                assert_eq!(order.life.reason, Some(Reason::PaymentDeclined));
            }
            // a refused booking is asked again under a new key
            Undo::CancelBooking => bench.complete(id).await,
        }
    }
    balanced(bench, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_right_after_a_step_loses_and_repeats_nothing() {
    sweep(Step::ALL, |step| async move {
        let mut bench = Bench::new().await;
        let outside = matches!(trouble(step), Trouble::Party(..));
        if outside {
            bench.make(trouble(step), FaultMode::Slow).await;
        }
        let id = bench.mug("killed").await;
        // beside it one that is cancelled afterwards, where that is possible
        let other = if step.class() == Class::Compensable { Some(bench.mug("killed-then-cancelled").await) } else { None };
        bench.bring(&id, step).await;
        for id in [Some(&id), other.as_ref()].into_iter().flatten() {
            if let (true, Some(activity)) = (outside, step.activity()) {
                bench.attempted(id, activity, 1).await;
            }
        }
        // an effect outside that cannot be noted here: the worker dies between the two for certain
        let lock = if outside { Some(bench.lock().await) } else { None };
        bench.done(&id, step).await;
        bench.kill();
        assert_eq!(bench.is_noted(&id, step).await, !outside, "{step:?}");
        drop(lock);
        if outside {
            bench.mend(trouble(step)).await;
        }
        bench.restart().await;
        if let Some(other) = &other {
            bench.cancel(other).await;
        }
        bench.complete(&id).await;
        balanced(bench, 9).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_right_after_an_undo_loses_and_repeats_nothing() {
    sweep(Undo::ALL, |undo| async move {
        let mut bench = Bench::new().await;
        let trouble = trouble_undoing(undo);
        let outside = matches!(trouble, Trouble::Party(..));
        let id = bench.mug("killed").await;
        bench.booked(&id).await;
        if outside {
            bench.make(trouble, FaultMode::Slow).await;
        }
        bench.world.cancel(&id).await.unwrap();
        let mut lock = None;
        if outside {
            bench.attempted(&id, undo.activity(), 1).await;
            lock = Some(bench.lock().await);
        }
        bench.undone(&id, undo).await;
        bench.kill();
        drop(lock);
        if outside {
            bench.mend(trouble).await;
        }
        bench.restart().await;
        bench.cancelled(&id).await;
        balanced(bench, 10).await;
    })
    .await;
}
