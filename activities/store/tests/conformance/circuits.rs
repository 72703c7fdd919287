//! Circuits: opened once, probed by one, longer each time; whoever was sent away first goes first.

use std::time::Duration;

use chrono::TimeDelta;
use oms_domain::party::Party;
use oms_store::*;

use crate::world::*;

on_both!(
    a_circuit_opens_once_is_probed_by_one_and_closes,
    those_who_wait_longest_go_first,
    whoever_does_not_come_back_keeps_nobody_waiting,
    a_persons_word_is_told_with_the_circuit,
);

const PAUSES: Pauses = Pauses { first: Duration::from_secs(5), most: Duration::from_secs(15) };

async fn opened(world: &World, party: Party, second: i64) -> Circuit {
    world.store.open_circuit(party, false, "unavailable: refused", PAUSES, at(second)).await.unwrap().0
}

async fn a_circuit_opens_once_is_probed_by_one_and_closes(world: World) {
    let store = world.store.clone();
    for circuit in store.circuits(at(0)).await.unwrap() {
        assert_eq!((circuit.state, circuit.since, circuit.openings, circuit.parked), (CircuitState::Closed, None, 0, 0));
    }
    let answers = race(4, |_| {
        let store = store.clone();
        async move { store.open_circuit(Party::Mail, false, "down", PAUSES, at(10)).await.unwrap() }
    })
    .await;
    assert_eq!(answers.iter().filter(|(_, changed)| *changed).count(), 1);
    let circuit = store.circuit(Party::Mail, at(10)).await.unwrap();
    assert_eq!((circuit.state, circuit.openings, circuit.since), (CircuitState::Open, 1, Some(kept(10))));
    assert_eq!((circuit.retry_at, circuit.reason.as_deref()), (Some(kept(15)), Some("down")));
    assert_eq!(store.circuit(Party::Sms, at(10)).await.unwrap().state, CircuitState::Closed, "another party's stays closed");

    assert!(!store.probe_circuit(Party::Mail, at(40), at(14)).await.unwrap(), "not yet");
    let probes = race(4, |_| {
        let store = store.clone();
        async move { store.probe_circuit(Party::Mail, at(35), at(15)).await.unwrap() }
    })
    .await;
    assert_eq!(probes.iter().filter(|mine| **mine).count(), 1);
    // whoever had the probe may be gone
    assert!(store.probe_circuit(Party::Mail, at(60), at(35)).await.unwrap());
    for (second, retry) in [(36, 46), (47, 62), (63, 78)] {
        let (circuit, changed) = store.open_circuit(Party::Mail, true, "still down", PAUSES, at(second)).await.unwrap();
        assert!(changed && circuit.probe_until.is_none());
        assert_eq!((circuit.retry_at, circuit.since), (Some(kept(retry)), Some(kept(10))), "longer each time, up to the longest");
    }
    let closed = store.close_circuit(Party::Mail, at(80)).await.unwrap();
    assert_eq!((closed.state, closed.openings, closed.retry_at, closed.since), (CircuitState::Closed, 0, None, Some(kept(80))));
    assert_eq!(store.close_circuit(Party::Mail, at(90)).await.unwrap().since, Some(kept(80)), "closed once");
    assert!(!store.probe_circuit(Party::Mail, at(99), at(91)).await.unwrap());
}

async fn those_who_wait_longest_go_first(world: World) {
    let store = &world.store;
    opened(&world, Party::Payment, 0).await;
    let wait = |after: i64| Turn::Wait(kept(0) + TimeDelta::milliseconds(after));
    for n in 0..6 {
        // two a second, from the moment on at which one call may try
        let turn = store.take_turn(Party::Payment, &format!("k{n}"), 2, at(1 + n)).await.unwrap();
        let first = at(1 + n).max(at(5)) - at(0);
        assert_eq!(turn, wait(first.num_milliseconds() + n * 500), "call {n}");
    }
    assert_eq!(store.take_turn(Party::Payment, "k3", 2, at(7)).await.unwrap(), wait(8_500), "its place is kept");
    assert_eq!(store.circuit(Party::Payment, at(7)).await.unwrap().parked, 6);

    store.close_circuit(Party::Payment, at(10)).await.unwrap();
    // who comes new stands behind all, who stands far back is told when to come again
    assert_eq!(store.take_turn(Party::Payment, "new", 2, at(10)).await.unwrap(), wait(13_000));
    assert_eq!(store.take_turn(Party::Payment, "k5", 2, at(10)).await.unwrap(), wait(12_500));
    assert_eq!(store.take_turn(Party::Payment, "k0", 2, at(10)).await.unwrap(), Turn::Go(kept(10)));
    assert_eq!(
        store.take_turn(Party::Payment, "k1", 2, at(10)).await.unwrap(),
        Turn::Go(kept(10) + TimeDelta::milliseconds(500))
    );
    assert_eq!(store.take_turn(Party::Payment, "k2", 2, at(10)).await.unwrap(), Turn::Go(kept(11)));
    // the place is free, the second is not
    assert_eq!(store.take_turn(Party::Payment, "k3", 2, at(10)).await.unwrap(), wait(11_500));
    assert_eq!(store.take_turn(Party::Payment, "k0", 2, at(10)).await.unwrap(), Turn::Go(kept(10)), "it may go on with its work");
    assert_eq!(store.circuit(Party::Payment, at(10)).await.unwrap().parked, 4);

    // it fails again: those who went have their places again
    opened(&world, Party::Payment, 12).await;
    assert_eq!(store.take_turn(Party::Payment, "k0", 2, at(12)).await.unwrap(), wait(17_000));
    assert_eq!(store.take_turn(Party::Payment, "k3", 2, at(12)).await.unwrap(), wait(17_500));
}

async fn whoever_does_not_come_back_keeps_nobody_waiting(world: World) {
    let store = &world.store;
    opened(&world, Party::Carrier, 0).await;
    for n in 0..4 {
        store.take_turn(Party::Carrier, &format!("k{n}"), 1, at(1)).await.unwrap();
    }
    store.close_circuit(Party::Carrier, at(6)).await.unwrap();
    assert!(matches!(store.take_turn(Party::Carrier, "k3", 1, at(6)).await.unwrap(), Turn::Wait(_)));
    // k0 to k2 were due at 5 to 7, and their orders have ended
    let long_after = at(8) + chrono::TimeDelta::from_std(OVERDUE_MAX).unwrap();
    assert_eq!(store.circuit(Party::Carrier, long_after).await.unwrap().parked, 1);
    assert!(matches!(store.take_turn(Party::Carrier, "k3", 1, long_after).await.unwrap(), Turn::Go(_)));
    assert_eq!(store.purge_parked_calls(at(8), 9).await.unwrap(), 3);
    assert_eq!(store.purge_parked_calls(at(99), 9).await.unwrap(), 1);
}

async fn a_persons_word_is_told_with_the_circuit(world: World) {
    let store = &world.store;
    assert_eq!(store.circuit(Party::Sms, at(0)).await.unwrap().word, SwitchState::Auto);
    store.set_switch(Dependency::Messages, SwitchState::Closed, "we know better", "ada", at(1)).await.unwrap();
    for party in Party::ALL {
        let said = if Dependency::on(party) == Dependency::Messages { SwitchState::Closed } else { SwitchState::Auto };
        assert_eq!(store.circuit(party, at(2)).await.unwrap().word, said);
    }
}
