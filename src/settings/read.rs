//! Each setting's text as the type it stands for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use oms_activities::breaker::Rules;
use oms_api::limits::Rate;
use oms_contract::start::{Deadlines, Patience, Policies};
use oms_domain::customer::Email;
use oms_domain::message::Locale;
use oms_domain::payment::ReauthorizationPolicy;
use oms_domain::review::ReviewDecision;
use oms_domain::risk::RiskRules;
use oms_domain::shortage::Decision;
use oms_domain::stock::Strategy;
use oms_gateways::events::KafkaAddress;
use oms_gateways::templates::TimeZone;
use oms_store::{Bounds, Pauses};
use oms_temporal::connect::{ApiKey, TlsSettings};
use oms_workers::{Alerts, WebhookPolicy};

use super::layers::Layers;
use super::{
    EventsSection, LimitsSection, RedisSection, RetentionSection, SettingsError, ShopSection, TemporalSection, WebhooksSection,
};

/// Namespaces and shops have names, not novels.
const NAME_MAX: usize = 200;

/// Longest duration that a setting may say: ten years, so that adding it to an instant never overflows.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Most requests per second, or at once, that a limit may say.
const LIMIT_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(99_999);

/// Nothing is removed sooner: keys are promised for so long.
const RETENTION_MIN: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) const YES_OR_NO: &str = "true or false";

pub(super) fn database_bounds(layers: &Layers) -> Result<Bounds, SettingsError> {
    let connections = |key: &str, least: u32, wanted| layers.value(key, wanted, |t| bounded(t, least, 1_000));
    let bounds = Bounds {
        connections: connections("database.connections", 1, "a whole number from 1 to 1000")?,
        connections_min: connections("database.connections_min", 0, "a whole number from 0 to 1000")?,
        acquire: duration(layers, "database.acquire_timeout")?,
        statement: duration(layers, "database.statement_timeout")?,
        lock: duration(layers, "database.lock_timeout")?,
    };
    match bounds.connections_min <= bounds.connections {
        true => Ok(bounds),
        false => Err(layers.bad("database.connections_min", "at most database.connections")),
    }
}

pub(super) fn temporal(layers: &Layers) -> Result<TemporalSection, SettingsError> {
    let path = |key: &str| layers.text(key).map(PathBuf::from);
    let given = TlsSettings {
        ca_path: path("temporal.tls_server_ca_cert_path"),
        cert_path: path("temporal.tls_client_cert_path"),
        key_path: path("temporal.tls_client_key_path"),
        server_name: layers.text("temporal.tls_server_name").map(str::to_owned),
    };
    let api_key = layers.text("temporal.api_key").map(|k| ApiKey(k.to_owned()));
    let tls = match layers.optional("temporal.tls", "true, false or empty", yes_or_no)? {
        Some(true) => Some(given),
        Some(false) if api_key.is_some() => return Err(layers.bad("temporal.tls", "true or empty when an API key is set")),
        Some(false) => None,
        None => (given != TlsSettings::default()).then_some(given),
    };
    let port = |key: &str| layers.value(key, "a port from 0 to 65535", |t| t.parse::<u16>().ok());
    Ok(TemporalSection {
        address: layers.text("temporal.address").map(str::to_owned),
        namespace: layers.value("temporal.namespace", "a text of 1 to 200 characters", name)?,
        api_key,
        tls,
        port: port("temporal.port")?,
        ui_port: port("temporal.ui_port")?,
        ui_url: layers.optional("temporal.ui_url", "a URL such as http://127.0.0.1:8233", url_of(&["http://", "https://"]))?,
        tools_dir: layers.value("temporal.tools_dir", "the path of a folder", |t| (!t.is_empty()).then(|| PathBuf::from(t)))?,
    })
}

pub(super) fn deadlines(layers: &Layers) -> Result<Deadlines, SettingsError> {
    Ok(Deadlines {
        reservation: duration(layers, "deadlines.reservation")?,
        payment_action: duration(layers, "deadlines.payment_action")?,
        no_scan: duration(layers, "deadlines.no_scan")?,
        stuck: duration(layers, "deadlines.stuck")?,
        hold: duration(layers, "deadlines.hold")?,
        capture_retry: duration(layers, "deadlines.capture_retry")?,
        defect_retry: duration(layers, "deadlines.defect_retry")?,
        review: duration(layers, "deadlines.review")?,
        backorder_max: duration(layers, "deadlines.backorder_max")?,
        decision: duration(layers, "deadlines.decision")?,
        change_window: layers.value("deadlines.change_window", "a duration from 0s to 3650d such as 0s, 15m or 2h", |text| {
            humantime::parse_duration(text).ok().filter(|d| *d <= DURATION_MAX)
        })?,
        reauthorize_before: duration(layers, "deadlines.reauthorize_before")?,
        return_: duration(layers, "deadlines.return")?,
        unanswered: duration(layers, "deadlines.unanswered")?,
    })
}

pub(super) fn policies(layers: &Layers) -> Result<Policies, SettingsError> {
    Ok(Policies {
        review: layers.value("policies.review", "reject or approve", ReviewDecision::parse)?,
        shortage: layers.value("policies.shortage", "cancel, ship_available or wait", Decision::parse)?,
        reauthorization: layers.value(
            "policies.reauthorization",
            "reauthorize, ask_customer or cancel",
            ReauthorizationPolicy::parse,
        )?,
    })
}

/// Each channel's own deadlines and policies, on top of everybody's.
pub(super) fn channels(layers: &Layers) -> Result<BTreeMap<String, (Deadlines, Policies)>, SettingsError> {
    let of = |channel: String| {
        let layers = layers.for_channel(&channel);
        Ok((channel, (deadlines(&layers)?, policies(&layers)?)))
    };
    layers.channels().into_iter().map(of).collect()
}

pub(super) fn strategy(layers: &Layers) -> Result<Strategy, SettingsError> {
    layers.value("stock.strategy", "fewest_shipments, nearest or priority", Strategy::parse)
}

pub(super) fn risk(layers: &Layers) -> Result<RiskRules, SettingsError> {
    let amount = "minor units from 1 to 9007199254740991, or empty";
    Ok(RiskRules {
        amount_min: layers.optional("risk.amount_min", amount, |t| bounded(t, 1, (1 << 53) - 1))?,
        velocity_max: layers
            .optional("risk.velocity_max", "a whole number from 1 to 100000, or empty", |t| bounded(t, 1, 100_000))?,
        velocity_window: optional_duration(layers, "risk.velocity_window")?,
        address_mismatch: layers.value("risk.address_mismatch", YES_OR_NO, yes_or_no)?,
    })
}

pub(super) fn retention(layers: &Layers) -> Result<RetentionSection, SettingsError> {
    let wanted = "never, or a duration of at least 30d such as 90d: what clients may still ask for under their keys must stay";
    let age = |key: &str| {
        layers.value(key, wanted, |text| match text {
            "never" => Some(None),
            text => humantime::parse_duration(text).ok().filter(|d| (RETENTION_MIN..=DURATION_MAX).contains(d)).map(Some),
        })
    };
    Ok(RetentionSection {
        timeline: age("retention.timeline")?,
        outbox: age("retention.outbox")?,
        orders: age("retention.orders")?,
    })
}

pub(super) fn patience(layers: &Layers) -> Result<Patience, SettingsError> {
    Ok(Patience {
        first: duration(layers, "retry.first")?,
        most: duration(layers, "retry.most")?,
        sql_attempt: duration(layers, "retry.sql_attempt")?,
        gateway_attempt: duration(layers, "retry.gateway_attempt")?,
        local_record: duration(layers, "retry.local_record")?,
    })
}

pub(super) fn breakers(layers: &Layers) -> Result<Rules, SettingsError> {
    Ok(Rules {
        within: duration(layers, "breakers.within")?,
        calls: layers.value("breakers.calls", "a whole number from 2 to 10000", |t| bounded(t, 2, 10_000))?,
        failed_percent: layers.value("breakers.failed_percent", "percent from 1 to 100", |t| bounded(t, 1, 100))?,
        pauses: Pauses { first: duration(layers, "breakers.first_pause")?, most: duration(layers, "breakers.longest_pause")? },
        resume_per_second: layers
            .value("breakers.resume_per_second", "a whole number from 1 to 100000", |t| bounded(t, 1, 100_000))?,
    })
}

pub(super) fn shop(layers: &Layers) -> Result<ShopSection, SettingsError> {
    let logo = |text: &str| (web(text) || text.starts_with("data:image/")).then(|| text.to_owned());
    let base = |text: &str| web(text).then(|| text.trim_end_matches('/').to_owned());
    Ok(ShopSection {
        name: layers.value("shop.name", "a text of 1 to 200 characters", name)?,
        sender: layers.value("shop.sender", "a mail address", sender)?,
        reply_to: layers.optional("shop.reply_to", "a mail address", sender)?,
        logo: layers.optional("shop.logo", "a URL such as https://shop.example.com/logo.png, or data:image/…", logo)?,
        time_zone: layers.value("shop.time_zone", "an IANA name such as Europe/Berlin", TimeZone::parse)?,
        locale: layers.value("shop.locale", "en, de or es", Locale::parse)?,
        templates: layers.text("shop.templates").map(PathBuf::from),
        base_url: layers.optional("shop.base_url", "a URL such as https://orders.example.com", base)?,
    })
}

pub(super) fn alerts(layers: &Layers) -> Result<Alerts, SettingsError> {
    Ok(Alerts {
        mail: layers.optional("alerts.mail", "a mail address", sender)?,
        webhook: layers
            .optional("alerts.webhook", "a URL such as https://ops.example.com/hook", |t| web(t).then(|| t.to_owned()))?,
        window: duration(layers, "alerts.window")?,
    })
}

pub(super) fn redis(layers: &Layers) -> Result<Option<RedisSection>, SettingsError> {
    let url = layers.optional("redis.url", "redis://HOST:PORT", url_of(&["redis://", "rediss://"]))?;
    let prefix = layers.value("redis.prefix", "0 to 200 visible ASCII characters", |text| {
        (text.len() <= NAME_MAX && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
    })?;
    Ok(url.map(|url| RedisSection { url, prefix }))
}

pub(super) fn limits(layers: &Layers) -> Result<Option<LimitsSection>, SettingsError> {
    let number = |key: &str| {
        layers.optional(key, "a whole number from 1 to 100000, or empty", |text| bounded(text, NonZeroU32::MIN, LIMIT_MAX))
    };
    let (per_second, burst) = (number("limits.per_second")?, number("limits.burst")?);
    let proxies = layers.value("limits.proxies", "a whole number from 0 to 10", |text| bounded(text, 0, 10))?;
    match (per_second, burst) {
        (None, Some(_)) => Err(layers.bad("limits.burst", "empty unless limits.per_second is set")),
        (None, None) => Ok(None),
        (Some(per_second), burst) => {
            Ok(Some(LimitsSection { rate: Rate { per_second, burst: burst.unwrap_or(per_second) }, proxies }))
        }
    }
}

pub(super) fn events(layers: &Layers) -> Result<EventsSection, SettingsError> {
    let plain = |text: &str| {
        let fits = (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| text.to_owned())
    };
    let word = "1 to 200 visible ASCII characters";
    let amqp = layers.optional("amqp.url", "amqp://USER:PASSWORD@HOST/VHOST", url_of(&["amqp://", "amqps://"]))?;
    let exchange = layers.value("amqp.exchange", word, plain)?;
    let redis = redis(layers)?;
    let stream = layers.optional("redis.stream", word, plain)?;
    if stream.is_some() && redis.is_none() {
        return Err(layers.bad("redis.stream", "empty unless redis.url is set"));
    }
    let kafka = layers.optional("kafka.url", KafkaAddress::WANTED, KafkaAddress::parse)?;
    if kafka.is_some() && !cfg!(feature = "kafka") {
        return Err(layers.bad("kafka.url", "empty: this `oms` was built without its feature `kafka`, so build it with that"));
    }
    let topic = layers.value("kafka.topic", "1 to 249 of a-z A-Z 0-9 . _ -", topic)?;
    let kept = layers.optional("redis.stream_max", "a whole number from 1000 on, or empty", |t| bounded(t, 1_000, u64::MAX))?;
    Ok(EventsSection {
        source: layers.value("events.source", word, plain)?,
        journal: layers.value("events.journal", YES_OR_NO, yes_or_no)?,
        rabbitmq: amqp.map(|url| (url, exchange)),
        redis: redis.zip(stream).map(|(redis, stream)| (redis.url, stream, kept)),
        kafka: kafka.map(|address| (address, topic)),
    })
}

/// A topic's name as Kafka takes it.
fn topic(text: &str) -> Option<String> {
    let fits = (1..=249).contains(&text.len())
        && ![".", ".."].contains(&text)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    fits.then(|| text.to_owned())
}

/// No receiver is given up for a night's outage.
const GIVE_UP_MIN: Duration = Duration::from_secs(24 * 3_600);

pub(super) fn webhooks(layers: &Layers) -> Result<WebhooksSection, SettingsError> {
    Ok(WebhooksSection {
        policy: WebhookPolicy {
            first: duration(layers, "webhooks.first_pause")?,
            most: duration(layers, "webhooks.longest_pause")?,
            give_up_after: layers.value("webhooks.give_up_after", "a duration of at least a day, such as 24h or 3d", |text| {
                humantime::parse_duration(text).ok().filter(|d| (GIVE_UP_MIN..=DURATION_MAX).contains(d))
            })?,
            timeout: duration(layers, "webhooks.timeout")?,
            allow_private: layers.value("webhooks.allow_private_addresses", YES_OR_NO, yes_or_no)?,
        },
        overlap: duration(layers, "webhooks.rotation_overlap")?,
    })
}

/// Whether a text is a web address.
fn web(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}

pub(super) fn duration(layers: &Layers, key: &str) -> Result<Duration, SettingsError> {
    layers.value(key, "a duration from 1ms to 3650d such as 20s, 12h or 30d", |text| {
        humantime::parse_duration(text).ok().filter(|d| (Duration::from_millis(1)..=DURATION_MAX).contains(d))
    })
}

pub(super) fn optional_duration(layers: &Layers, key: &str) -> Result<Option<Duration>, SettingsError> {
    match layers.text(key) {
        Some(_) => duration(layers, key).map(Some),
        None => Ok(None),
    }
}

pub(super) fn name(text: &str) -> Option<String> {
    let fits = (1..=NAME_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

pub(super) fn sender(text: &str) -> Option<Email> {
    Email::parse(text).ok()
}

pub(super) fn filter(text: &str) -> Option<String> {
    (!text.is_empty() && tracing_subscriber::EnvFilter::try_new(text).is_ok()).then(|| text.to_owned())
}

pub(super) fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn bounded<T: std::str::FromStr + PartialOrd>(text: &str, least: T, most: T) -> Option<T> {
    text.parse::<T>().ok().filter(|n| *n >= least && *n <= most)
}

pub(super) fn listen(text: &str) -> Option<SocketAddr> {
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(text).parse().ok()
}

pub(super) fn url_of(schemes: &'static [&'static str]) -> impl Fn(&str) -> Option<String> {
    move |text| schemes.iter().any(|s| text.len() > s.len() && text.starts_with(s)).then(|| text.to_owned())
}
