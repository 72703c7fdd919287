//! Circuits: a party that is down is left alone, by all workers together; orders wait, and go on oldest first when it is back.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant as Tick};

use async_trait::async_trait;
use oms_activities::breaker::{Breaker, Guarded, Rules};
use oms_contract::names::Queue;
use oms_domain::customer::Phone;
use oms_domain::ids::MessageId;
use oms_domain::order::Status;
use oms_domain::party::Party;
use oms_gateways::faults::{Fault, FaultMode};
use oms_gateways::sms::{Sms, Texter};
use oms_gateways::{Delivery, GatewayError};
use oms_store::{CircuitState, Dependency, Pauses, Store, SwitchState};

use crate::support::world::{PATIENT, World, now};
use crate::support::{books, until};

/// A text gateway that is up or down, refuses or not, and notes who called.
#[derive(Default)]
struct Line {
    up: AtomicBool,
    refuses: AtomicBool,
    calls: AtomicUsize,
    taken: Mutex<Vec<(Tick, String)>>,
}

#[async_trait]
impl Texter for Line {
    async fn send(&self, sms: &Sms) -> Result<Delivery, GatewayError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        if !self.up.load(Ordering::SeqCst) {
            return Err(GatewayError::unavailable("connection refused"));
        }
        if self.refuses.load(Ordering::SeqCst) {
            return Ok(Delivery::Refused { code: "21211".to_owned() });
        }
        self.taken.lock().unwrap().push((Tick::now(), sms.text.clone()));
        Ok(Delivery::Taken)
    }
}

const RULES: Rules = Rules {
    within: Duration::from_secs(3),
    calls: 4,
    failed_percent: 50,
    pauses: Pauses { first: Duration::from_millis(1_500), most: Duration::from_secs(3) },
    resume_per_second: 10,
};

/// A text gateway and a database, and as many processes as one likes.
struct Bench {
    line: Arc<Line>,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("oms.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        Self { line: Arc::default(), store, _dir: dir }
    }

    fn process(&self) -> Arc<Guarded<dyn Texter>> {
        let clock = oms_activities::system_clock();
        let breaker = Breaker::new(Party::Sms, self.store.clone(), clock, RULES).unwrap();
        Arc::new(Guarded::<dyn Texter>::new(self.line.clone(), breaker))
    }

    fn calls(&self) -> usize {
        self.line.calls.load(Ordering::SeqCst)
    }

    async fn state(&self) -> CircuitState {
        self.store.circuit(Party::Sms, now()).await.unwrap().state
    }

    /// Opens the circuit, by the failures of one process.
    async fn down(&self, process: &Guarded<dyn Texter>) {
        for n in 0..RULES.calls {
            assert!(matches!(process.send(&sms(&format!("first {n}"))).await, Err(GatewayError::Unavailable { .. })));
        }
        assert_eq!(self.state().await, CircuitState::Open);
    }
}

fn sms(text: &str) -> Sms {
    let message_id = MessageId::parse(format!("message-{}", text.replace(' ', "-"))).unwrap();
    Sms { message_id, to: Phone::parse("+4930555000111").unwrap(), text: text.to_owned() }
}

fn again_in(answer: Result<Delivery, GatewayError>) -> Duration {
    match answer {
        Err(GatewayError::LeftAlone { again_in }) => again_in,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_has_found_out_all_others_know() {
    let bench = Bench::new().await;
    let (one, other) = (bench.process(), bench.process());
    bench.down(&one).await;
    let told = again_in(other.send(&sms("a")).await);
    assert!(told <= RULES.pauses.first && told > Duration::ZERO, "{told:?}");
    again_in(one.send(&sms("b")).await);
    assert_eq!(bench.calls(), RULES.calls, "nobody calls a party that is down");

    // the pause is over, and still it fails: one call has found that out
    tokio::time::sleep(RULES.pauses.first + Duration::from_millis(100)).await;
    let (c, d, e) = (sms("c"), sms("d"), sms("e"));
    let answers = tokio::join!(one.send(&c), other.send(&d), other.send(&e));
    let failed = [&answers.0, &answers.1, &answers.2].into_iter().filter(|a| matches!(a, Err(GatewayError::Unavailable { .. })));
    assert_eq!(failed.count(), 1, "{answers:?}");
    assert_eq!(bench.calls(), RULES.calls + 1);
    assert_eq!(bench.store.circuit(Party::Sms, now()).await.unwrap().openings, 2);

    bench.line.up.store(true, Ordering::SeqCst);
    again_in(one.send(&sms("f")).await);
    until("a probe has closed it", PATIENT, || async { other.send(&sms("g")).await.ok() }).await;
    assert_eq!(bench.state().await, CircuitState::Closed);
    until("the other one knows", PATIENT, || async { one.send(&sms("h")).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_no_failures_and_a_few_failures_open_nothing() {
    let bench = Bench::new().await;
    let one = bench.process();
    for n in 0..20 {
        bench.line.up.store(n % 4 != 0, Ordering::SeqCst);
        let _ = one.send(&sms(&format!("{n}"))).await;
    }
    assert_eq!((bench.state().await, bench.calls()), (CircuitState::Closed, 20), "one in four");
    bench.line.up.store(true, Ordering::SeqCst);
    bench.line.refuses.store(true, Ordering::SeqCst);
    for n in 20..40 {
        assert!(matches!(one.send(&sms(&format!("{n}"))).await, Ok(Delivery::Refused { .. })));
    }
    assert_eq!(bench.state().await, CircuitState::Closed, "a refusal is an answer");
    // what went well long ago says nothing about now
    tokio::time::sleep(RULES.within).await;
    bench.line.up.store(false, Ordering::SeqCst);
    bench.down(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_word_goes_before_what_is_observed() {
    let bench = Bench::new().await;
    let one = bench.process();
    bench.down(&one).await;
    let store = &bench.store;
    store.set_switch(Dependency::Messages, SwitchState::Closed, "it is a drill", "ada", now()).await.unwrap();
    bench.line.up.store(true, Ordering::SeqCst);
    let began = Tick::now();
    until("the word is heard", PATIENT, || async { one.send(&sms("a")).await.ok() }).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    bench.line.up.store(false, Ordering::SeqCst);
    for n in 0..9 {
        assert!(
            matches!(one.send(&sms(&format!("x{n}"))).await, Err(GatewayError::Unavailable { .. })),
            "no circuit is in the way"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_longest_goes_first_and_not_all_at_once() {
    let bench = Bench::new().await;
    let processes = [bench.process(), bench.process()];
    bench.down(&processes[0]).await;
    let callers: Vec<_> = (0..30_usize)
        .map(|n| {
            let process = processes[n % 2].clone();
            // as the engine does it
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20 * n as u64)).await;
                loop {
                    match process.send(&sms(&format!("{n:02}"))).await {
                        Ok(_) => return,
                        Err(GatewayError::LeftAlone { again_in }) => tokio::time::sleep(again_in).await,
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    bench.line.up.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let taken = bench.line.taken.lock().unwrap().clone();
    let names: Vec<usize> = taken.iter().map(|(_, name)| name.parse().unwrap()).collect();
    assert_eq!(names.len(), 30);
    for (place, name) in names.iter().enumerate() {
        // within the second that is let go ahead, anyone may be first
        assert!(place.abs_diff(*name) <= RULES.resume_per_second as usize, "{names:?}");
    }
    let most =
        taken.iter().map(|(from, _)| taken.iter().filter(|(at, _)| at >= from && *at - *from < Duration::from_secs(1)).count());
    let most = most.max().unwrap();
    assert!(most <= RULES.resume_per_second as usize + 3, "{most} calls within one second");
    assert!(bench.calls() <= RULES.calls + 30 + 3, "{} calls", bench.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_wait_behind_an_open_circuit_and_none_fails() {
    let mut world = World::idle(Default::default()).await;
    let guarded = world.parts.gateways.clone().guarded(&world.store, &world.parts.clock, RULES).unwrap();
    world.parts.gateways = guarded;
    world.start_workers(&Queue::ALL).await;
    world.shelf("mug", "berlin", 50, 1_999).await;
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::Down)).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(world.place(&format!("o{n}"), "pm_card_visa", &[("mug", 1)]).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let circuit = world.store.circuit(Party::Payment, now()).await.unwrap();
    assert_eq!(circuit.state, CircuitState::Open, "{circuit:?}");
    until("all wait", PATIENT, || async {
        (world.store.circuit(Party::Payment, now()).await.unwrap().parked == 12).then_some(())
    })
    .await;
    until("the engine shows why", PATIENT, || async {
        let run = world.run(&ids[11]).describe(Default::default()).await.unwrap();
        format!("{:?}", run.raw()).contains("left alone until its circuit closes").then_some(())
    })
    .await;
    world.sandbox.faults.set(Party::Payment, &Fault::lasting(FaultMode::None)).await.unwrap();
    for id in &ids {
        world.reaches(id, Status::Confirmed).await;
    }
    assert_eq!(world.store.circuit(Party::Payment, now()).await.unwrap().state, CircuitState::Closed);
    books::balanced(&world).await;
    world.end().await;
}
