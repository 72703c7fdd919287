//! Settings: compiled-in commented defaults, a file, the environment. Read once at the start, checked as a whole.

mod layers;
mod parties;
mod read;
mod redact;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oms_activities::breaker::Rules;
use oms_api::limits::Rate;
use oms_contract::start::{Deadlines, Patience, Policies};
use oms_domain::customer::Email;
use oms_domain::message::Locale;
use oms_domain::pricing::PriceRules;
use oms_domain::risk::RiskRules;
use oms_domain::stock::Strategy;
use oms_gateways::events::KafkaAddress;
use oms_gateways::templates::TimeZone;
use oms_store::Bounds;
use oms_temporal::connect::{ApiKey, ConnectSettings, TlsSettings};
use oms_temporal::server::ServerRecord;
use oms_workers::{Alerts, WebhookPolicy};

use crate::http::ApiTarget;
use read::{
    YES_OR_NO, alerts, bounded, breakers, channels, database_bounds, deadlines, duration, events, filter, limits, listen,
    optional_duration, patience, policies, redis, retention, risk, shop, strategy, temporal, url_of, webhooks, yes_or_no,
};

pub(crate) use layers::{DEFAULTS, Layers, variable_of};
pub(crate) use parties::{CarrierParty, PaymentParty, ReportSecrets, SmsParty};
pub(crate) use redact::redacted;

/// Why the settings cannot be used. Every message is one sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A key that nobody reads.
    #[error("{}: did you mean `{nearest}`? `oms config default` lists every key", unknown(key, origin))]
    Unknown {
        /// The key, or the variable that names it.
        key: String,
        /// Where it stands.
        origin: layers::Origin,
        /// The known key that looks most like it.
        nearest: String,
    },
    /// A value that does not serve.
    #[error("setting `{key}` is `{value}` (from {origin}): it must be {wanted}")]
    Bad {
        /// Its key.
        key: String,
        /// The value, without secrets.
        value: String,
        /// Where it stands.
        origin: layers::Origin,
        /// What would serve.
        wanted: &'static str,
    },
    /// A file that cannot be read.
    #[error("settings file `{path}` cannot be read ({reason}): correct it or remove it")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A conventional variable that is not honoured.
    #[error("{variable} is not supported: {remedy}, and unset it")]
    Refused {
        /// The variable.
        variable: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// The API would be open to everyone.
    #[error(
        "the API would listen on {listen} without any authentication: listen on 127.0.0.1 (OMS__API__LISTEN), or accept that anyone \
         who reaches it can place and cancel orders with OMS__API__ALLOW_UNAUTHENTICATED_PUBLIC_LISTENER=true"
    )]
    PublicListener {
        /// The address.
        listen: SocketAddr,
    },
}

fn unknown(key: &str, origin: &layers::Origin) -> String {
    match origin {
        layers::Origin::File(path) => format!("unknown setting `{key}` in {}", path.display()),
        _ => format!("unknown setting {key}"),
    }
}

/// All settings in force.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Folder of all embedded state.
    pub(crate) data_dir: PathBuf,
    /// The HTTP API.
    pub(crate) api: ApiSection,
    /// The database's URL; `None` means SQLite in the data directory.
    pub(crate) database_url: Option<String>,
    /// How much is asked of Postgres at once, and how long is waited.
    pub(crate) database_bounds: Bounds,
    /// The Temporal server.
    pub(crate) temporal: TemporalSection,
    /// The mail server's URL; `None` means mail is written to the data directory.
    pub(crate) smtp_url: Option<String>,
    /// Who holds and takes money.
    pub(crate) payment: PaymentParty,
    /// Who carries parcels.
    pub(crate) carrier: CarrierParty,
    /// Who sends text messages.
    pub(crate) sms: SmsParty,
    /// Who may have signed what others report to us.
    pub(crate) reports: ReportSecrets,
    /// Business deadlines of orders.
    pub(crate) deadlines: Deadlines,
    /// How long the sandbox gateway holds funds.
    pub(crate) authorization_lifetime: Duration,
    /// Retry pauses and attempt limits.
    pub(crate) patience: Patience,
    /// When a party that fails is left alone.
    pub(crate) breakers: Rules,
    /// What is decided when nobody does.
    pub(crate) policies: Policies,
    /// Deadlines and policies of orders of some channels, by the channel's name.
    pub(crate) channels: BTreeMap<String, (Deadlines, Policies)>,
    /// Which places give first.
    pub(crate) strategy: Strategy,
    /// Which orders a person looks at first.
    pub(crate) risk: RiskRules,
    /// How long a warehouse may take to acknowledge a shipment that was handed to it; `None`: nobody waits for that.
    pub(crate) handoff_max: Option<Duration>,
    /// What is removed by age.
    pub(crate) retention: RetentionSection,
    /// Shipping fee and tax.
    pub(crate) pricing: PriceRules,
    /// The shop as customers read it.
    pub(crate) shop: ShopSection,
    /// Whom to tell that a person is needed.
    pub(crate) alerts: Alerts,
    /// What replicas of the API share; `None`: nothing.
    pub(crate) redis: Option<RedisSection>,
    /// How many requests a client may send; `None`: any number.
    pub(crate) limits: Option<LimitsSection>,
    /// Where events go.
    pub(crate) events: EventsSection,
    /// Webhooks.
    pub(crate) webhooks: WebhooksSection,
    /// The workers.
    pub(crate) workers: WorkersSection,
    /// What is logged, and how.
    pub(crate) log: LogSection,
    layers: Layers,
}

/// The HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ApiSection {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Whether `listen` may be reachable from elsewhere.
    pub(crate) allow_public: bool,
}

impl ApiSection {
    /// Refuses an address that others can reach, unless the setting with the unmistakable name allows it.
    ///
    /// # Errors
    /// [`SettingsError::PublicListener`].
    pub(crate) fn check_listener(&self) -> Result<(), SettingsError> {
        if self.allow_public || self.listen.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(SettingsError::PublicListener { listen: self.listen })
    }
}

/// The Temporal server.
#[derive(Debug, Clone)]
pub(crate) struct TemporalSection {
    /// Given server; `None` means the dev server on `port`.
    pub(crate) address: Option<String>,
    /// Namespace.
    pub(crate) namespace: String,
    /// API key.
    pub(crate) api_key: Option<ApiKey>,
    /// TLS, if asked for.
    pub(crate) tls: Option<TlsSettings>,
    /// The dev server's port.
    pub(crate) port: u16,
    /// The dev server's Web UI port.
    pub(crate) ui_port: u16,
    /// Where the Web UI of a given server is.
    pub(crate) ui_url: Option<String>,
    /// Where a fetched CLI is kept.
    pub(crate) tools_dir: PathBuf,
}

impl TemporalSection {
    /// How to connect: to the given server, else to the dev server of `data_dir`. One that picked its own port has recorded it.
    pub(crate) fn connect_settings(&self, data_dir: &Path) -> ConnectSettings {
        let recorded = || ServerRecord::read(data_dir).filter(|_| self.port == 0).map(|r| r.port);
        let address = self.address.clone();
        self.connect_settings_at(address.unwrap_or_else(|| format!("127.0.0.1:{}", recorded().unwrap_or(self.port))))
    }

    /// Where the Web UI is: as named, else of the dev server of `data_dir`; unknown for a given server without a name.
    pub(crate) fn ui(&self, data_dir: &Path) -> Option<String> {
        let recorded = || ServerRecord::read(data_dir).filter(|_| self.ui_port == 0).map_or(self.ui_port, |r| r.ui_port);
        let own = || self.address.is_none().then(|| format!("http://127.0.0.1:{}", recorded()));
        self.ui_url.clone().or_else(own)
    }

    /// How to connect to `address`.
    pub(crate) fn connect_settings_at(&self, address: String) -> ConnectSettings {
        ConnectSettings {
            address,
            namespace: self.namespace.clone(),
            identity: format!("oms@{}", std::process::id()),
            api_key: self.api_key.clone(),
            tls: self.tls.clone(),
        }
    }
}

/// The shop as customers read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShopSection {
    /// Its name.
    pub(crate) name: String,
    /// The address its mail comes from.
    pub(crate) sender: Email,
    /// Where answers go, if not to the sender.
    pub(crate) reply_to: Option<Email>,
    /// Its logo: a URL, `data:` included.
    pub(crate) logo: Option<String>,
    /// The clock that dates in messages are shown in.
    pub(crate) time_zone: TimeZone,
    /// The language for customers who named none.
    pub(crate) locale: Locale,
    /// Templates that replace the built-in ones.
    pub(crate) templates: Option<PathBuf>,
    /// Where customers reach the API; `None` means its own address.
    pub(crate) base_url: Option<String>,
}

/// What replicas of the API share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedisSection {
    /// The server.
    pub(crate) url: String,
    /// What the names of its keys begin with.
    pub(crate) prefix: String,
}

/// How many requests a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitsSection {
    /// How fast.
    pub(crate) rate: Rate,
    /// How many reverse proxies stand in front.
    pub(crate) proxies: usize,
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventsSection {
    /// Who they are from.
    pub(crate) source: String,
    /// Whether they are written to the data directory.
    pub(crate) journal: bool,
    /// RabbitMQ's URL and exchange.
    pub(crate) rabbitmq: Option<(String, String)>,
    /// Redis' URL, stream, and how many events it keeps.
    pub(crate) redis: Option<(String, String, Option<u64>)>,
    /// Kafka's brokers and topic.
    pub(crate) kafka: Option<(KafkaAddress, String)>,
}

/// Webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WebhooksSection {
    /// How patiently they are served.
    pub(crate) policy: WebhookPolicy,
    /// For how long a secret signs too after it was replaced.
    pub(crate) overlap: Duration,
}

/// What is removed by age; `None` keeps it for ever. Counted from an order's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetentionSection {
    /// Timelines of closed orders.
    pub(crate) timeline: Option<Duration>,
    /// Published events.
    pub(crate) outbox: Option<Duration>,
    /// Closed orders as a whole.
    pub(crate) orders: Option<Duration>,
}

/// The workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkersSection {
    /// What running work gets on a stop.
    pub(crate) drain: Duration,
    /// Orders kept in memory.
    pub(crate) cached_workflows: usize,
    /// Pieces of work at once, of each queue.
    pub(crate) activities: usize,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSection {
    /// JSON lines instead of text.
    pub(crate) json: bool,
    /// Filter directives.
    pub(crate) filter: String,
    /// Whether nobody has chosen a filter.
    pub(crate) filter_is_default: bool,
}

impl Settings {
    /// Reads the settings of this process: `oms.toml` in the working directory, or the file in OMS_CONFIG, and its environment.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub(crate) fn load() -> Result<Self, SettingsError> {
        // A variable that is not Unicode cannot be one of ours, nor hold a value for one.
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::load_from(Path::new(""), &variables.collect())
    }

    /// Reads the settings with `folder` as the working directory and `variables` as the environment.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub(crate) fn load_from(folder: &Path, variables: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        Self::from_layers(Layers::read(folder, variables)?)
    }

    fn from_layers(layers: Layers) -> Result<Self, SettingsError> {
        let number = |key: &str| layers.value(key, "a whole number from 1 to 100000", |t| bounded(t, 1, 100_000));
        Ok(Self {
            data_dir: layers.value("data_dir", "the path of a folder", |t| (!t.is_empty()).then(|| PathBuf::from(t)))?,
            api: ApiSection {
                listen: layers.value("api.listen", "an address and a port such as 127.0.0.1:8080", listen)?,
                allow_public: layers.value("api.allow_unauthenticated_public_listener", YES_OR_NO, yes_or_no)?,
            },
            database_url: layers.optional(
                "database.url",
                "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE",
                url_of(&["sqlite:", "postgres://", "postgresql://"]),
            )?,
            database_bounds: database_bounds(&layers)?,
            temporal: temporal(&layers)?,
            smtp_url: layers.optional(
                "mail.smtp_url",
                "smtp://HOST:PORT or smtps://USER:PASSWORD@HOST",
                url_of(&["smtp://", "smtps://"]),
            )?,
            payment: parties::payment(&layers)?,
            carrier: parties::carrier(&layers)?,
            sms: parties::sms(&layers)?,
            reports: parties::report_secrets(&layers)?,
            deadlines: deadlines(&layers)?,
            authorization_lifetime: duration(&layers, "deadlines.authorization")?,
            patience: patience(&layers)?,
            breakers: breakers(&layers)?,
            policies: policies(&layers)?,
            channels: channels(&layers)?,
            strategy: strategy(&layers)?,
            risk: risk(&layers)?,
            handoff_max: optional_duration(&layers, "warehouse.handoff_max")?,
            retention: retention(&layers)?,
            pricing: PriceRules {
                shipping_minor: layers
                    .value("pricing.shipping_minor", "minor units from 0 to 1000000000", |t| bounded(t, 0, 1_000_000_000))?,
                tax_bps: layers.value("pricing.tax_bps", "basis points from 0 to 100000", |t| bounded(t, 0, 100_000))?,
            },
            shop: shop(&layers)?,
            alerts: alerts(&layers)?,
            redis: redis(&layers)?,
            limits: limits(&layers)?,
            events: events(&layers)?,
            webhooks: webhooks(&layers)?,
            workers: WorkersSection {
                drain: duration(&layers, "workers.drain")?,
                cached_workflows: layers
                    .value("workers.cached_workflows", "a whole number from 0 to 100000", |t| bounded(t, 0, 100_000))?,
                activities: number("workers.activities")?,
            },
            log: LogSection {
                json: layers.value("log.format", "text or json", |t| match t {
                    "text" => Some(false),
                    "json" => Some(true),
                    _ => None,
                })?,
                filter: layers.value("log.filter", "filter directives such as warn,oms=debug", filter)?,
                filter_is_default: layers.is_default("log.filter"),
            },
            layers,
        })
    }

    /// Where every value comes from.
    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The database in force.
    pub(crate) fn database_url(&self) -> String {
        self.database_url.clone().unwrap_or_else(|| format!("sqlite:{}", self.data_dir.join("oms.db").display()))
    }

    /// The API as a client on this machine reaches it, unless `given` names another.
    pub(crate) fn api_target(&self, given: Option<&str>) -> ApiTarget {
        let base_url = given.map_or_else(|| base_url(self.api.listen), |url| url.trim_end_matches('/').to_owned());
        ApiTarget { base_url }
    }
}

/// The URL under which a client on this machine reaches a listener: an unspecified address means any, so also the loopback.
pub(crate) fn base_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}
