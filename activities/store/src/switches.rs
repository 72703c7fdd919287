//! Switches: a person pauses a class of activities for everybody, and lets it go on.

use oms_domain::Instant;
use oms_domain::party::Party;

use crate::Result;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// What a class of activities depends on.
    Dependency {
        /// The payment gateway.
        Payment = "payment",
        /// The carriers.
        Carrier = "carrier",
        /// Mail server and text gateway.
        Messages = "messages",
        /// The stock's own books.
        Stock = "stock",
    }
}

impl Dependency {
    /// Every dependency, in the order they are listed.
    pub const ALL: [Self; 4] = [Self::Payment, Self::Carrier, Self::Messages, Self::Stock];

    /// The class of activities that calls a party: a person's word about that one goes before what is observed of the party.
    pub fn on(party: Party) -> Self {
        match party {
            Party::Payment => Self::Payment,
            Party::Carrier => Self::Carrier,
            Party::Mail | Party::Sms => Self::Messages,
        }
    }
}

words! {
    /// Whether a class of activities runs. The words are those of a circuit: an open one lets nothing through.
    SwitchState {
        /// Paused by a person: tasks wait in their queue, in their order.
        Open = "open",
        /// Running, by a person's word.
        Closed = "closed",
        /// Running unless something else stops it.
        Auto = "auto",
    }
}

/// Where a switch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Of which dependency.
    pub dependency: Dependency,
    /// Where it stands.
    pub state: SwitchState,
    /// Who set it, when and why; none while nobody ever has.
    pub set: Option<SwitchSet>,
}

/// Who set a switch, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchSet {
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// When it came into this state; setting it to where it stands changes nothing here.
    pub at: Instant,
}

impl Switch {
    /// A switch that nobody ever set.
    pub(crate) fn untouched(dependency: Dependency) -> Self {
        Self { dependency, state: SwitchState::Auto, set: None }
    }
}

impl Store {
    /// Where every switch stands.
    pub async fn switches(&self) -> Result<Vec<Switch>> {
        run!(self, switches::switches())
    }

    /// Where a switch stands.
    pub async fn switch(&self, dependency: Dependency) -> Result<Switch> {
        run!(self, switches::switch(dependency))
    }

    /// Sets a switch; answers where it stands then. One that already stands there keeps the first reason.
    pub async fn set_switch(
        &self,
        dependency: Dependency,
        state: SwitchState,
        reason: &str,
        actor: &str,
        now: Instant,
    ) -> Result<Switch> {
        run!(self, switches::set(dependency, state, reason, actor, now))
    }
}
