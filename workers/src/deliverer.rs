//! The deliverer: sends events to webhooks. What a webhook is owed is a row per event, claimed with a lease, so that nothing is lost
//! with a process; of one subject only the first is tried, so that an order's events come in order.

use futures::future::join_all;
use oms_domain::Instant;
use oms_gateways::webhook::{Post, PostError, WebhookSender};
use oms_store::{Attempt, ClaimedDelivery, Pauses, Signing, StoreError};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::relay::{EVERY, Relay};

/// Places that are looked at for a webhook at once.
const OWE_MAX: u32 = 500;
/// Requests to one webhook at once.
const AT_ONCE_MAX: u32 = 8;
/// The longest rest of a webhook whose receiver fails request after request: it is found to be back after that at the latest.
const REST_MAX: Duration = Duration::from_secs(300);
/// What a claim lasts beyond the time that a request may take.
const SLACK: Duration = Duration::from_secs(20);

/// How patiently webhooks are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookPolicy {
    /// Pause after an event's first failure; each further one is four times as long. Also the first rest of a webhook.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// How long an event may fail before its webhook is disabled.
    pub give_up_after: Duration,
    /// How long one request may take.
    pub timeout: Duration,
    /// Whether addresses that are not public are allowed.
    pub allow_private: bool,
}

impl Default for WebhookPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            most: Duration::from_secs(3_600),
            give_up_after: Duration::from_secs(36 * 3_600),
            timeout: Duration::from_secs(10),
            allow_private: false,
        }
    }
}

impl WebhookPolicy {
    /// The pause after so many failures before this one; `chance` is from 0 to 1 and spreads it by a fifth either way.
    fn pause(&self, attempts: u64, chance: f64) -> Duration {
        let factor = 4_u32.saturating_pow(u32::try_from(attempts).unwrap_or(u32::MAX).min(10));
        self.first.saturating_mul(factor).min(self.most).mul_f64(0.8 + 0.4 * chance)
    }

    /// How long a webhook rests of which nothing is taken.
    fn rests(&self) -> Pauses {
        Pauses { first: self.first, most: REST_MAX.min(self.most) }
    }
}

/// Delivers until told to stop; requests that are on their way then get their end.
pub(crate) async fn run(relay: Relay, owner: String, stop: CancellationToken) {
    let sender = match WebhookSender::new(relay.webhooks.timeout, relay.webhooks.allow_private) {
        Ok(sender) => sender,
        Err(error) => {
            tracing::error!(%error, "webhooks cannot be served");
            return;
        }
    };
    let deliverer = Deliverer { relay, owner, sender };
    let (mut busy, mut rounds) = (BTreeSet::new(), JoinSet::new());
    loop {
        while let Some(ended) = rounds.try_join_next() {
            reap(ended, &mut busy);
        }
        if let Err(error) = deliverer.look(&mut busy, &mut rounds).await {
            tracing::warn!(%error, "webhooks could not be looked at; tried again soon");
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            break;
        }
    }
    while rounds.join_next().await.is_some() {}
}

fn reap(ended: Result<String, tokio::task::JoinError>, busy: &mut BTreeSet<String>) {
    match ended {
        Ok(id) => {
            busy.remove(&id);
        }
        Err(error) => {
            // whose it was is not known: all are looked at again, and claims keep them apart
            tracing::error!(%error, "a webhook's round has failed");
            busy.clear();
        }
    }
}

#[derive(Clone)]
struct Deliverer {
    relay: Relay,
    owner: String,
    sender: WebhookSender,
}

impl Deliverer {
    /// Notes what is owed and starts a round for each webhook that has none: a slow one holds nobody else up.
    async fn look(&self, busy: &mut BTreeSet<String>, rounds: &mut JoinSet<String>) -> Result<(), StoreError> {
        let now = (self.relay.clock)();
        while self.relay.store.owe_webhooks(OWE_MAX, now).await? >= u64::from(OWE_MAX) {}
        for webhook in self.relay.store.due_webhooks(now).await? {
            if busy.insert(webhook.id.clone()) {
                let deliverer = self.clone();
                rounds.spawn(async move {
                    if let Err(error) = deliverer.round(&webhook).await {
                        tracing::warn!(%error, webhook = webhook.id, "a webhook could not be served; tried again soon");
                    }
                    webhook.id
                });
            }
        }
        Ok(())
    }

    /// Sends what is due until nothing is, or something fails.
    async fn round(&self, webhook: &Signing) -> Result<(), StoreError> {
        let mut most = if webhook.rested { 1 } else { AT_ONCE_MAX };
        loop {
            let now = (self.relay.clock)();
            let until = now + self.relay.webhooks.timeout + SLACK;
            let claimed = self.relay.store.claim_deliveries(&webhook.id, &self.owner, until, most, now).await?;
            if claimed.is_empty() {
                return Ok(());
            }
            let sent = join_all(claimed.iter().map(|delivery| self.deliver(webhook, delivery))).await;
            if !sent.into_iter().collect::<Result<Vec<bool>, _>>()?.into_iter().all(|well| well) {
                return Ok(());
            }
            most = AT_ONCE_MAX;
        }
    }

    async fn deliver(&self, webhook: &Signing, delivery: &ClaimedDelivery) -> Result<bool, StoreError> {
        let event = &delivery.event;
        let (store, position) = (&self.relay.store, event.position.unwrap_or_default());
        let post = Post {
            url: &webhook.url,
            id: &event.event_id,
            body: &event.document(&self.relay.source),
            secrets: webhook.secrets.iter().map(|secret| secret.0.as_str()).collect(),
        };
        let sent = self.sender.send(&post, (self.relay.clock)()).await;
        let now = (self.relay.clock)();
        match sent {
            Ok(status) => {
                store.delivered(&webhook.id, position, &self.owner, status, now).await?;
                Ok(true)
            }
            Err(error) => {
                let due_at = now + self.relay.webhooks.pause(delivery.attempts, rand::random());
                let attempt = Attempt { status: error.status, error: error.reason.clone(), due_at };
                let rests = self.relay.webhooks.rests();
                let failing = store.not_delivered(&webhook.id, position, &self.owner, &attempt, rests, now).await?;
                if let Some(until) = failing.and_then(|failing| failing.rests_until) {
                    tracing::warn!(webhook = webhook.id, %until, %error, "nothing is taken: the webhook is left alone for a while");
                }
                let since = failing.map(|failing| failing.since);
                if let Some(why) = self.verdict(delivery, since, &error, now)
                    && store.disable_webhook(&webhook.id, &why, now).await?
                {
                    tracing::warn!(webhook = webhook.id, why, "a webhook is disabled");
                }
                Ok(false)
            }
        }
    }

    /// Why the webhook is not served any more, if that is so.
    fn verdict(&self, delivery: &ClaimedDelivery, failing: Option<Instant>, error: &PostError, now: Instant) -> Option<String> {
        if error.gone {
            return Some("its receiver answered 410: it wants no more".to_owned());
        }
        let too_long = |since: &Instant| (now - *since).to_std().unwrap_or_default() >= self.relay.webhooks.give_up_after;
        let event = &delivery.event.event_id;
        match (failing.filter(too_long), delivery.failing_since.filter(too_long)) {
            (Some(since), _) => Some(format!("nothing could be delivered since {}: {error}", since.to_rfc3339())),
            (None, Some(since)) => Some(format!("event {event} could not be delivered since {}: {error}", since.to_rfc3339())),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_reach_beyond_a_day() {
        let policy = WebhookPolicy::default();
        let pauses: Vec<u64> = (0..7).map(|n| policy.pause(n, 0.5).as_secs()).collect();
        assert_eq!(pauses, [5, 20, 80, 320, 1_280, 3_600, 3_600]);
        assert_eq!(policy.pause(u64::MAX, 0.0), policy.most.mul_f64(0.8));
        assert!(policy.give_up_after >= Duration::from_secs(24 * 3_600));
    }
}
