//! Wakes who follows an order when somebody has heard that there is something new of it.
//!
//! What is rung for is never carried along: it is read from SQL, by number. A ring that is lost costs time, at most [`LOOK_SELDOM`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oms_domain::ids::OrderId;
use tokio::sync::watch;
use tokio::time::sleep;

pub(crate) const RINGS: &str = "oms_rings_heard";

/// Pause between two looks while nobody rings.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Pause between two looks while whoever rings is heard: it may have been killed between its commit and the ring.
const LOOK_SELDOM: Duration = Duration::from_secs(5);

/// The bell of a process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Doorbell {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Whether rings are heard.
    heard: watch::Sender<bool>,
    /// Who is followed, by the order's id; nobody who is not.
    followed: Mutex<HashMap<String, watch::Sender<()>>>,
}

impl State {
    fn followed(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doorbell {
    /// There is something new of an order.
    pub fn ring(&self, order: &str) {
        if let Some(followers) = self.state.followed().get(order) {
            followers.send_replace(());
        }
    }

    /// Says whether rings are heard from now on. Whoever follows looks at once when that changes: rings may have been missed.
    pub fn heard(&self, heard: bool) {
        metrics::gauge!(RINGS).set(f64::from(u8::from(heard)));
        self.state.heard.send_if_modified(|before| std::mem::replace(before, heard) != heard);
    }

    /// Follows an order from now on.
    pub(crate) fn follow(&self, order: &OrderId) -> Follow {
        let rung = self.state.followed().entry(order.as_str().to_owned()).or_default().subscribe();
        Follow { order: order.as_str().to_owned(), rung, heard: self.state.heard.subscribe(), state: self.state.clone() }
    }
}

/// Somebody follows an order, until this is dropped.
pub(crate) struct Follow {
    order: String,
    rung: watch::Receiver<()>,
    heard: watch::Receiver<bool>,
    state: Arc<State>,
}

impl Follow {
    /// Is called before each look: what is rung from here on ends the next wait at once.
    pub(crate) fn looks(&mut self) {
        self.rung.borrow_and_update();
        self.heard.borrow_and_update();
    }

    /// Waits until it is worth a look.
    pub(crate) async fn wait(&mut self) {
        let pause = if *self.heard.borrow() { LOOK_SELDOM } else { LOOK_EVERY };
        // the senders live as long as this does: neither can end without a change
        tokio::select! {
            _ = self.rung.changed() => {}
            _ = self.heard.changed() => {}
            () = sleep(pause) => {}
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut followed = self.state.followed();
        // ours must be gone before the others are counted
        self.rung = watch::Sender::default().subscribe();
        if followed.get(&self.order).is_some_and(|followers| followers.receiver_count() == 0) {
            followed.remove(&self.order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tokio::time::timeout;

    fn order(id: &str) -> OrderId {
        OrderId::parse(id).unwrap()
    }

    async fn waits(follow: &mut Follow) -> bool {
        timeout(Duration::from_millis(1_000), follow.wait()).await.is_err()
    }

    #[tokio::test]
    async fn while_nobody_is_heard_it_looks_often_and_else_seldom() {
        let bell = Doorbell::default();
        let mut follow = bell.follow(&order("order-0001"));
        let began = Instant::now();
        follow.wait().await;
        assert!((LOOK_EVERY..LOOK_SELDOM).contains(&began.elapsed()), "{:?}", began.elapsed());
        bell.heard(true);
        assert!(!waits(&mut follow).await, "rings were missed: it looks at once");
        follow.looks();
        assert!(waits(&mut follow).await, "nothing is new");
        bell.heard(true);
        assert!(waits(&mut follow).await, "and nothing has changed");
        bell.heard(false);
        assert!(!waits(&mut follow).await, "it does not sleep on when the bell is gone");
    }

    #[tokio::test]
    async fn a_ring_wakes_who_follows_the_order_and_none_is_missed_between_look_and_wait() {
        let bell = Doorbell::default();
        bell.heard(true);
        let (mut one, mut two, mut other) =
            (bell.follow(&order("order-0001")), bell.follow(&order("order-0001")), bell.follow(&order("order-0002")));
        for follow in [&mut one, &mut two, &mut other] {
            follow.looks();
        }
        bell.ring("order-0001");
        bell.ring("order-0003");
        assert!(!waits(&mut one).await && !waits(&mut two).await && waits(&mut other).await);
        one.looks();
        assert!(waits(&mut one).await, "one ring, one look");
        drop(two);
        bell.ring("order-0001");
        assert!(!waits(&mut one).await, "who goes does not take the others along");
        drop((one, other));
        assert!(bell.state.followed().is_empty(), "nothing is left of who went");
    }
}
