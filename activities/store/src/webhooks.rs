//! Webhooks: whom to tell of events over HTTP, of which, and with which secret.

use oms_domain::Instant;
use std::fmt;

use crate::Result;
use crate::payments::words;
use crate::store::{Store, run};

words! {
    /// Whether a webhook is served.
    WebhookState {
        /// It is.
        Enabled = "enabled",
        /// It failed for too long and waits to be enabled again; what it is owed is kept.
        Disabled = "disabled",
    }
}

/// What a webhook's requests are signed with. Its text is never shown by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(pub String);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(***)")
    }
}

/// A webhook to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// Its id.
    pub id: String,
    /// Where to send to.
    pub url: String,
    /// What it is for, in its owner's words.
    pub description: Option<String>,
    /// Wire names of the facts to tell of; empty: all.
    pub kinds: Vec<String>,
    /// What to sign with.
    pub secret: WebhookSecret,
}

/// A webhook, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Where to send to.
    pub url: String,
    /// What it is for.
    pub description: Option<String>,
    /// Wire names of the facts to tell of; empty: all.
    pub kinds: Vec<String>,
    /// Whether it is served.
    pub state: WebhookState,
    /// Why it is not.
    pub why: Option<String>,
    /// Since when it is not.
    pub disabled_at: Option<Instant>,
    /// Since when every request has failed; `None`: the last one was taken.
    pub failing_since: Option<Instant>,
    /// It rests until then: its receiver fails request after request.
    pub rests_until: Option<Instant>,
    /// Until when the secret before the present one signs too.
    pub old_secret_until: Option<Instant>,
    /// The place of the last event that was looked at for it.
    pub position: u64,
    /// When it was made.
    pub created_at: Instant,
    /// What it is owed.
    pub pending: u64,
}

/// What the sender needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// The webhook's id.
    pub id: String,
    /// Where to send to.
    pub url: String,
    /// What to sign with: the secret, and for a while after a rotation the one before.
    pub secrets: Vec<WebhookSecret>,
    /// Whether it has just rested: one event finds out whether its receiver answers again.
    pub rested: bool,
}

impl Store {
    /// Makes a webhook that is told of what happens from now on; `None`: there are `most` already. A repeat under its id changes only
    /// the secret, because nobody has been told of the first one.
    pub async fn create_webhook(&self, webhook: &NewWebhook, most: u32, now: Instant) -> Result<Option<Webhook>> {
        run!(self, webhooks::create(webhook, most, now))
    }

    /// All webhooks, oldest first.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>> {
        run!(self, webhooks::all())
    }

    /// One webhook.
    pub async fn webhook(&self, id: &str) -> Result<Option<Webhook>> {
        run!(self, webhooks::one(id))
    }

    /// Deletes a webhook with what it is owed; `false`: there is none.
    pub async fn delete_webhook(&self, id: &str, now: Instant) -> Result<bool> {
        run!(self, webhooks::delete(id, now))
    }

    /// Gives a webhook a new secret; the one before signs too until `until`. A repeat of `rotation` replaces only the new one, because
    /// nobody has been told of it. `false`: there is no such webhook.
    pub async fn rotate_webhook(&self, id: &str, rotation: &str, secret: &WebhookSecret, until: Instant) -> Result<bool> {
        run!(self, webhooks::rotate(id, rotation, secret, until))
    }

    /// Serves a webhook again, from where it stopped and at once; its review item closes. `false`: there is none.
    pub async fn enable_webhook(&self, id: &str, now: Instant) -> Result<bool> {
        run!(self, webhooks::enable(id, now))
    }

    /// Stops serving a webhook and opens a review item about it; `false`: it is gone or stopped already.
    pub async fn disable_webhook(&self, id: &str, why: &str, now: Instant) -> Result<bool> {
        run!(self, webhooks::disable(id, why, now))
    }

    /// Owes a webhook every event from a place on, once more. `false`: there is none.
    pub async fn replay_webhook(&self, id: &str, from: u64) -> Result<bool> {
        run!(self, webhooks::replay(id, from))
    }

    /// Enabled webhooks that do not rest and are owed something that is due, with their secrets.
    pub async fn due_webhooks(&self, now: Instant) -> Result<Vec<Signing>> {
        run!(self, webhooks::due(now))
    }
}
