//! The parts a role is made of, built from settings. The only place that knows which twin of a party is in force.

use std::fmt::Display;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oms_activities::notifications::Shop;
use oms_api::ShopFace;
use oms_contract::search::{self, Kind};
use oms_domain::Instant;
use oms_gateways::carrier::Carrier;
use oms_gateways::carrier::http::HttpCarrier;
#[cfg(feature = "kafka")]
use oms_gateways::events::KafkaSink;
use oms_gateways::events::{EventSink, JournalSink, RabbitSink, RedisSink};
use oms_gateways::mail::{MailFolder, Mailer, SmtpMailer};
use oms_gateways::payment::PaymentGateway;
use oms_gateways::payment::stripe::StripePayments;
use oms_gateways::sandbox::Sandbox;
use oms_gateways::sms::twilio::TwilioTexter;
use oms_gateways::sms::{SmsFolder, Texter};
use oms_gateways::templates::Templates;
use oms_store::{Store, StoreError};
use oms_temporal::bootstrap::{AttributeType, BootstrapError, DEFAULT_RETENTION, bootstrap};
use oms_temporal::connect::{ConnectError, ConnectSettings, connect};
use oms_temporal::worker::WorkerTuning;
use oms_workers::{Gateways, Parts, Reconciliation, Retention, SWEEP_EVERY, WATCH_EVERY};
use temporalio_client::Client;

use crate::exit::Blocked;
use crate::replicas;
use crate::settings::{CarrierParty, PaymentParty, Settings, ShopSection, SmsParty, base_url};

/// Pauses while something is awaited that may come: they double from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Makes sure that the data directory exists.
///
/// # Errors
/// One sentence with the remedy.
pub(crate) fn make_data_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| {
        let dir = dir.display();
        Blocked(format!(
            "the data directory `{dir}` cannot be used ({e}): make it writable, or choose another with OMS__DATA_DIR"
        ))
        .into()
    })
}

/// Opens the database. The embedded one belongs to this program, so its schema is brought up to date on the way; a given one
/// belongs to an operator, who runs `oms migrate`.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn open_store(settings: &Settings) -> Result<Store, StoreError> {
    let store = Store::connect_with(&settings.database_url(), &settings.database_bounds).await?;
    if settings.database_url.is_none() {
        store.migrate().await?;
    } else {
        store.check_schema().await?;
    }
    if let Some(warning) = store.exposure() {
        tracing::warn!("{warning}");
    }
    Ok(store)
}

/// Opens the sandbox of the data directory.
///
/// # Errors
/// One sentence with the remedy.
pub(crate) async fn open_sandbox(settings: &Settings) -> anyhow::Result<Sandbox> {
    Ok(Sandbox::open_with(&settings.data_dir, settings.authorization_lifetime).await?)
}

/// Who holds and takes money.
///
/// # Errors
/// Its settings cannot be used.
pub(crate) fn payments(settings: &Settings, sandbox: &Sandbox, base_url: &str) -> anyhow::Result<Arc<dyn PaymentGateway>> {
    Ok(real_payments(settings)?.unwrap_or_else(|| Arc::new(sandbox.payments.clone().with_pages(base_url))))
}

/// The gateway that moves real money, if the sandbox does not play it.
///
/// # Errors
/// Its settings cannot be used.
pub(crate) fn real_payments(settings: &Settings) -> anyhow::Result<Option<Arc<dyn PaymentGateway>>> {
    Ok(match &settings.payment {
        PaymentParty::Sandbox => None,
        PaymentParty::Stripe(settings) => Some(Arc::new(StripePayments::new(settings.clone())?)),
    })
}

/// The carrier that moves real parcels, if the sandbox does not play it.
///
/// # Errors
/// Its settings cannot be used.
pub(crate) fn real_carrier(settings: &Settings) -> anyhow::Result<Option<Arc<dyn Carrier>>> {
    Ok(match &settings.carrier {
        CarrierParty::Sandbox => None,
        CarrierParty::Http(settings) => Some(Arc::new(HttpCarrier::new(settings.clone())?)),
    })
}

fn texter(settings: &Settings, sandbox: &Sandbox) -> anyhow::Result<Arc<dyn Texter>> {
    Ok(match &settings.sms {
        SmsParty::Sandbox => Arc::new(SmsFolder::new(settings.data_dir.join("sms"), sandbox.faults.clone())),
        SmsParty::Twilio(settings) => Arc::new(TwilioTexter::new(settings.clone())?),
    })
}

/// The outside parties as the workers call them.
///
/// # Errors
/// The settings of one of them cannot be used.
fn gateways(settings: &Settings, sandbox: &Sandbox) -> anyhow::Result<Gateways> {
    let mailer: Arc<dyn Mailer> = match &settings.smtp_url {
        Some(url) => Arc::new(SmtpMailer::from_url(url)?),
        None => Arc::new(MailFolder::new(settings.data_dir.join("mail"), sandbox.faults.clone())),
    };
    let shop = shop(settings)?;
    Ok(Gateways {
        payments: payments(settings, sandbox, &shop.base_url)?,
        carrier: real_carrier(settings)?.unwrap_or_else(|| Arc::new(sandbox.carrier.clone())),
        mailer,
        texter: texter(settings, sandbox)?,
        shop,
    })
}

/// Where events go.
pub(crate) fn sinks(settings: &Settings) -> Vec<Arc<dyn EventSink>> {
    let section = &settings.events;
    let mut sinks: Vec<Arc<dyn EventSink>> = Vec::new();
    if section.journal {
        sinks.push(Arc::new(JournalSink::in_directory(&settings.data_dir)));
    }
    if let Some((url, exchange)) = &section.rabbitmq {
        sinks.push(Arc::new(RabbitSink::new(url, exchange)));
    }
    if let Some((url, stream, kept)) = &section.redis {
        sinks.push(Arc::new(RedisSink::new(url, stream, *kept)));
    }
    // settings name a broker only where the sink is built in
    #[cfg(feature = "kafka")]
    if let Some((address, topic)) = &section.kafka {
        sinks.push(Arc::new(KafkaSink::new(address.clone(), topic)));
    }
    sinks
}

/// The shop as its messages show it.
///
/// # Errors
/// A template that does not compile: one sentence with file and line.
pub(crate) fn shop(settings: &Settings) -> anyhow::Result<Shop> {
    let section = &settings.shop;
    let templates = match &section.templates {
        Some(folder) => Templates::with_folder(folder),
        None => Templates::built_in(),
    };
    Ok(Shop {
        name: section.name.clone(),
        sender: section.sender.clone(),
        reply_to: section.reply_to.clone(),
        logo: section.logo.clone(),
        time_zone: section.time_zone,
        locale: section.locale,
        base_url: section.base_url.clone().unwrap_or_else(|| base_url(settings.api.listen)),
        templates: Arc::new(templates.map_err(|e| Blocked(format!("{e} (OMS__SHOP__TEMPLATES)")))?),
    })
}

/// The shop as the API's pages and papers show it.
pub(crate) fn shop_face(section: &ShopSection) -> ShopFace {
    let zone = section.time_zone;
    ShopFace { name: section.name.clone(), locale: section.locale, date: Arc::new(move |at, locale| zone.date(at, locale)) }
}

/// What workers are made of.
///
/// # Errors
/// The settings of an outside party cannot be used.
pub(crate) fn parts(settings: &Settings, client: Client, store: Store, sandbox: &Sandbox) -> anyhow::Result<Parts> {
    let tuning = WorkerTuning {
        max_cached_workflows: settings.workers.cached_workflows,
        graceful_shutdown: settings.workers.drain,
        activity_slots: settings.workers.activities,
        ..WorkerTuning::default()
    };
    Ok(Parts {
        client,
        gateways: gateways(settings, sandbox)?.guarded(&store, &clock(), settings.breakers)?,
        store,
        bell: replicas::bell(settings)?,
        clock: clock(),
        tuning,
        patience: settings.patience,
        alerts: settings.alerts.clone(),
        watch_every: WATCH_EVERY,
        handoff_max: settings.handoff_max,
        reconciliation: Reconciliation::default(),
        retention: Retention {
            timeline: settings.retention.timeline,
            outbox: settings.retention.outbox,
            orders: settings.retention.orders,
        },
        janitor_every: SWEEP_EVERY,
    })
}

/// The clock of this machine.
pub(crate) fn clock() -> Arc<dyn Fn() -> Instant + Send + Sync> {
    Arc::new(now)
}

/// Now, by this machine's clock.
pub(crate) fn now() -> Instant {
    oms_domain::instant(SystemTime::now())
}

/// The search attributes that the namespace must have.
pub(crate) fn attributes() -> Vec<(&'static str, AttributeType)> {
    let kind = |kind: Kind| match kind {
        Kind::Keyword => AttributeType::Keyword,
        Kind::KeywordList => AttributeType::KeywordList,
        Kind::Bool => AttributeType::Bool,
        Kind::Int => AttributeType::Int,
    };
    search::ALL.iter().map(|(name, of)| (*name, kind(*of))).collect()
}

/// Registers namespace and search attributes if they are missing and allowed.
///
/// # Errors
/// [`BootstrapError`].
pub(crate) async fn prepare(client: &Client) -> Result<(), BootstrapError> {
    let done = bootstrap(client, DEFAULT_RETENTION, &attributes()).await?;
    if done.retention < DEFAULT_RETENTION {
        let days = done.retention.as_secs() / (24 * 3600);
        tracing::warn!(days, "the Temporal namespace keeps ended orders for less than 30 days; SQL keeps them anyway");
    }
    Ok(())
}

/// Connects, waiting for a server that is not there yet for as long as it takes, and prepares its namespace.
///
/// # Errors
/// What no waiting can mend: a refusal, a bad address, something that an operator must create.
pub(crate) async fn connect_patiently(settings: &ConnectSettings) -> anyhow::Result<Client> {
    let address = &settings.address;
    let client = patiently(
        &format!("Temporal at {address}"),
        || connect(settings),
        |error| matches!(error, ConnectError::Unreachable { .. }),
    )
    .await?;
    patiently(
        &format!("namespace {} of Temporal at {address}", settings.namespace),
        || prepare(&client),
        |error| matches!(error, BootstrapError::NotReady { .. }),
    )
    .await?;
    Ok(client)
}

/// Opens the database, waiting for one that does not answer yet for as long as it takes.
///
/// # Errors
/// What no waiting can mend: a bad URL, a schema that does not fit.
pub(crate) async fn open_store_patiently(settings: &Settings) -> Result<Store, StoreError> {
    patiently("the database", || open_store(settings), |error| matches!(error, StoreError::Unavailable { .. })).await
}

async fn patiently<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
    may_pass: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut pause = PAUSE_MIN;
    loop {
        match attempt().await {
            Err(error) if may_pass(&error) => tracing::warn!(%error, "waiting for {what}"),
            settled => return settled,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn what_may_pass_is_awaited_and_what_may_not_is_told_at_once() {
        let tries = Cell::new(0);
        let count = || {
            tries.set(tries.get() + 1);
            tries.get()
        };
        let third = patiently("it", || async { if count() < 3 { Err("down") } else { Ok(7) } }, |e| *e == "down").await;
        assert_eq!((third, tries.get()), (Ok(7), 3));
        let refused: Result<(), _> = patiently("it", || async { Err("refused") }, |e| *e == "down").await;
        assert_eq!(refused, Err("refused"));
    }

    #[test]
    fn every_search_attribute_of_the_contract_is_asked_for() {
        let names: Vec<&str> = attributes().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, search::ALL.map(|(name, _)| name));
    }
}
