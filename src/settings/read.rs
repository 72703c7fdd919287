//! Each setting's text as the type it stands for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use oms_contract::start::{Deadlines, Patience};
use oms_domain::customer::Email;
use oms_temporal::connect::{ApiKey, TlsSettings};

use super::layers::Layers;
use super::{SettingsError, TemporalSection};

/// Namespaces and shops have names, not novels.
const NAME_MAX: usize = 200;

/// Longest duration that a setting may say: ten years, so that adding it to an instant never overflows.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

pub(super) const YES_OR_NO: &str = "true or false";

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
    // Not used yet, but a bad value is reported now and not when the feature arrives.
    for key in ["deadlines.review", "deadlines.backorder_max", "deadlines.return"] {
        duration(layers, key)?;
    }
    Ok(Deadlines {
        reservation: duration(layers, "deadlines.reservation")?,
        payment_action: duration(layers, "deadlines.payment_action")?,
        no_scan: duration(layers, "deadlines.no_scan")?,
        stuck: duration(layers, "deadlines.stuck")?,
        capture_retry: duration(layers, "deadlines.capture_retry")?,
        defect_retry: duration(layers, "deadlines.defect_retry")?,
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

pub(super) fn duration(layers: &Layers, key: &str) -> Result<Duration, SettingsError> {
    layers.value(key, "a duration from 1ms to 3650d such as 20s, 12h or 30d", |text| {
        humantime::parse_duration(text).ok().filter(|d| (Duration::from_millis(1)..=DURATION_MAX).contains(d))
    })
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
