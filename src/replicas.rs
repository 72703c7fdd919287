//! What replicas of the API share through Redis, in the API's words. Without Redis each goes by itself.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use oms_api::answers::{Answers, Kept, SharedAnswers};
use oms_api::doorbell::Doorbell;
use oms_api::limits::{Limits, Rate, SharedBuckets, Verdict};
use oms_gateways::replicas::{self as redis, Bell, Bucket, Buckets, Heard, Hearing, Line};
use tokio_util::sync::CancellationToken;

use crate::exit::Blocked;
use crate::settings::Settings;

fn blocked(error: redis::Unusable) -> Blocked {
    Blocked(format!("{error} (REDIS_URL, or redis.url)"))
}

/// The way to the other replicas, if there is one.
pub(crate) struct Replicas {
    way: Option<(Line, String)>,
    hearing: Option<Hearing>,
}

impl Replicas {
    /// Over the Redis of the settings. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Its URL cannot be used: one sentence with the remedy.
    pub(crate) fn of(settings: &Settings) -> anyhow::Result<Self> {
        let Some(redis) = &settings.redis else { return Ok(Self { way: None, hearing: None }) };
        let line = Line::new(&redis.url, Arc::new(told)).map_err(blocked)?;
        let hearing = Hearing::new(&redis.url, &redis.prefix).map_err(blocked)?;
        Ok(Self { way: Some((line, redis.prefix.clone())), hearing: Some(hearing) })
    }

    /// How many requests a client may send.
    pub(crate) fn limits(&self, settings: &Settings) -> Option<Arc<Limits>> {
        let section = settings.limits?;
        let shared = self.way.as_ref().map(|(line, prefix)| {
            let shared: Arc<dyn SharedBuckets> = Arc::new(Together(Buckets::new(line.clone(), prefix)));
            shared
        });
        Some(Arc::new(Limits::new(section.rate, section.proxies, shared)))
    }

    /// The place where they keep answers for each other.
    pub(crate) fn answers(&self) -> Answers {
        let Some((line, prefix)) = &self.way else { return Answers::default() };
        Answers::kept_in(Arc::new(Shelf(redis::Answers::new(line.clone(), prefix))))
    }

    /// Rings the doorbell whenever the replicas' bell is heard, until told to stop.
    pub(crate) async fn hear(self, doorbell: Doorbell, stop: CancellationToken) {
        let Some(hearing) = self.hearing else { return };
        let hear = |heard: Heard<'_>| match heard {
            Heard::On => doorbell.heard(true),
            Heard::Off => doorbell.heard(false),
            Heard::Ring(order) => doorbell.ring(order),
        };
        stop.run_until_cancelled(hearing.tell(hear)).await;
    }
}

/// The bell that workers ring when there is something new of an order. Must be called inside a tokio runtime.
///
/// # Errors
/// The URL of Redis cannot be used: one sentence with the remedy.
pub(crate) fn bell(settings: &Settings) -> anyhow::Result<Bell> {
    let Some(redis) = &settings.redis else { return Ok(Bell::default()) };
    let told = |how: Result<(), &str>| {
        if let Err(reason) = how {
            tracing::debug!(reason, "Redis does not answer; who follows an order hears a little later");
        }
    };
    let line = Line::new(&redis.url, Arc::new(told)).map_err(blocked)?;
    Ok(Bell::new(line, &redis.prefix))
}

fn told(how: Result<(), &str>) {
    match how {
        Ok(()) => tracing::info!("Redis answers; the replicas of the API share what they can"),
        Err(reason) => {
            tracing::warn!(reason, "Redis does not answer; each API process goes by itself until it does, and nothing stops")
        }
    }
}

struct Together(Buckets);

impl SharedBuckets for Together {
    fn take<'a>(&'a self, client: &'a str, rate: Rate) -> BoxFuture<'a, Option<Verdict>> {
        async move {
            Some(match self.0.take(client, rate.per_second, rate.burst).await? {
                Bucket::Left(left) => Verdict::Pass(left),
                Bucket::Empty(wait) => Verdict::Wait(wait.max(Duration::from_millis(1))),
            })
        }
        .boxed()
    }
}

struct Shelf(redis::Answers);

impl SharedAnswers for Shelf {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Kept>> {
        let kept = |kept| match kept {
            redis::Kept::Answer(answer) => Kept::Answer(answer),
            redis::Kept::Nothing(now) => Kept::Nothing(now),
        };
        self.0.get(name).map(move |found| found.map(kept)).boxed()
    }

    fn put<'a>(&'a self, name: &'a str, answer: &'a str, read: u64) -> BoxFuture<'a, ()> {
        self.0.put(name, answer, read).map(drop).boxed()
    }

    fn void<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, ()> {
        self.0.void(names).map(drop).boxed()
    }
}
