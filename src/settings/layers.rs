//! Where settings come from: defaults, a file, the environment; laid over each other key by key, each value with its origin.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use config::{File, FileFormat, Source, Value, ValueKind};

use super::SettingsError;
use super::redact::redacted;

/// The commented defaults, which are also the list of all keys.
pub(crate) const DEFAULTS: &str = include_str!("../oms.default.toml");

/// The file that is read if it exists and OMS_CONFIG names no other.
const FILE: &str = "oms.toml";

/// What settings of one channel begin with.
const CHANNELS: &str = "channels.";

/// Names that other programs use too, and the keys they mean. Our own `OMS__SECTION__KEY` beats them.
const CONVENTIONAL: [(&str, &str); 19] = [
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("AMQP_URL", "amqp.url"),
    ("KAFKA_URL", "kafka.url"),
    ("SMTP_URL", "mail.smtp_url"),
    ("STRIPE_SECRET_KEY", "payment.stripe.secret_key"),
    ("STRIPE_WEBHOOK_SECRET", "payment.stripe.webhook_secret"),
    ("TWILIO_ACCOUNT_SID", "sms.twilio.account_sid"),
    ("TWILIO_AUTH_TOKEN", "sms.twilio.auth_token"),
    ("TEMPORAL_ADDRESS", "temporal.address"),
    ("TEMPORAL_NAMESPACE", "temporal.namespace"),
    ("TEMPORAL_API_KEY", "temporal.api_key"),
    ("TEMPORAL_TLS", "temporal.tls"),
    ("TEMPORAL_TLS_SERVER_CA_CERT_PATH", "temporal.tls_server_ca_cert_path"),
    ("TEMPORAL_TLS_CLIENT_CERT_PATH", "temporal.tls_client_cert_path"),
    ("TEMPORAL_TLS_CLIENT_KEY_PATH", "temporal.tls_client_key_path"),
    ("TEMPORAL_TLS_SERVER_NAME", "temporal.tls_server_name"),
    ("OMS_TOOLS_DIR", "temporal.tools_dir"),
    ("RUST_LOG", "log.filter"),
];

/// Names of Temporal's environment configuration that we do not honour: ignoring a security setting silently would be worse
/// than refusing it.
const REFUSED: [(&str, &str); 4] = [
    ("TEMPORAL_TLS_SERVER_CA_CERT_DATA", "put the certificate into a file and name it in TEMPORAL_TLS_SERVER_CA_CERT_PATH"),
    ("TEMPORAL_TLS_CLIENT_CERT_DATA", "put the certificate into a file and name it in TEMPORAL_TLS_CLIENT_CERT_PATH"),
    ("TEMPORAL_TLS_CLIENT_KEY_DATA", "put the key into a file and name it in TEMPORAL_TLS_CLIENT_KEY_PATH"),
    ("TEMPORAL_TLS_DISABLE_HOST_VERIFICATION", "name the expected host in TEMPORAL_TLS_SERVER_NAME"),
];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Compiled in.
    Default,
    /// A settings file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The value as text.
    pub(crate) value: String,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// All values in force, by dotted key.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    entries: BTreeMap<String, Entry>,
}

impl Layers {
    /// Lays the file (OMS_CONFIG, else `oms.toml` in `folder` if it exists) and `variables` over the defaults.
    ///
    /// # Errors
    /// [`SettingsError`]: an unreadable file, an unknown key.
    pub(crate) fn read(folder: &Path, variables: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let entries = toml(DEFAULTS, Path::new("the compiled-in defaults"))?
            .into_iter()
            .map(|(key, value)| (key, Entry { value, origin: Origin::Default }))
            .collect();
        let mut layers = Self { entries };
        let named = variables.get("OMS_CONFIG").filter(|n| !n.is_empty());
        let path = named.map_or_else(|| folder.join(FILE), |name| folder.join(name));
        if named.is_some() || path.exists() {
            let shown = named.map_or_else(|| PathBuf::from(FILE), PathBuf::from);
            let text =
                std::fs::read_to_string(&path).map_err(|e| SettingsError::File { path: shown.clone(), reason: e.to_string() })?;
            for (key, value) in toml(&text, &shown)? {
                layers.put(&key, value, Origin::File(shown.clone()))?;
            }
        }
        layers.read_variables(variables)?;
        Ok(layers)
    }

    fn read_variables(&mut self, variables: &BTreeMap<String, String>) -> Result<(), SettingsError> {
        let set = |name: &str| variables.get(name).filter(|v| !v.is_empty());
        for (name, remedy) in REFUSED {
            if set(name).is_some() {
                return Err(SettingsError::Refused { variable: name, remedy });
            }
        }
        for (name, key) in CONVENTIONAL {
            if let Some(value) = set(name) {
                self.put(key, value.clone(), Origin::Variable(name.to_owned()))?;
            }
        }
        for (name, value) in variables {
            if let Some(rest) = name.strip_prefix("OMS__") {
                let key = rest.to_lowercase().replace("__", ".");
                self.put(&key, value.clone(), Origin::Variable(name.clone()))?;
            }
        }
        Ok(())
    }

    /// What is set for orders of one channel alone: deadlines and policies, by the channel's name.
    fn of_channel(key: &str) -> Option<(&str, &str)> {
        let (channel, key) = key.strip_prefix(CHANNELS)?.split_once('.')?;
        (!channel.is_empty() && (key.starts_with("deadlines.") || key.starts_with("policies."))).then_some((channel, key))
    }

    /// The channels for which something is set.
    pub(crate) fn channels(&self) -> BTreeSet<String> {
        self.entries.keys().filter_map(|key| Self::of_channel(key)).map(|(channel, _)| channel.to_owned()).collect()
    }

    /// These settings as they are in force for orders of a channel.
    pub(crate) fn for_channel(&self, channel: &str) -> Self {
        let mut layers = self.clone();
        for (key, entry) in &self.entries {
            if let Some((_, key)) = Self::of_channel(key).filter(|(of, _)| *of == channel) {
                layers.entries.insert(key.to_owned(), entry.clone());
            }
        }
        layers
    }

    fn put(&mut self, key: &str, value: String, origin: Origin) -> Result<(), SettingsError> {
        if Self::of_channel(key).is_some_and(|(_, key)| self.entries.contains_key(key)) {
            self.entries.insert(key.to_owned(), Entry { value, origin });
            return Ok(());
        }
        match self.entries.get_mut(key) {
            Some(entry) => {
                *entry = Entry { value, origin };
                Ok(())
            }
            None => Err(self.unknown(key, origin)),
        }
    }

    fn unknown(&self, key: &str, origin: Origin) -> SettingsError {
        let nearest = self.entries.keys().min_by_key(|known| distance(known, key));
        let as_variable = matches!(origin, Origin::Variable(_));
        let nearest = nearest.map_or_else(String::new, |known| if as_variable { variable_of(known) } else { known.clone() });
        let key = if let Origin::Variable(name) = &origin { name.clone() } else { key.to_owned() };
        SettingsError::Unknown { key, origin, nearest }
    }

    /// Every key with its value and origin, sorted.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The value of a key, `None` when it is empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|e| e.value.trim()).filter(|v| !v.is_empty())
    }

    /// Whether nobody has changed the key.
    pub(crate) fn is_default(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|e| e.origin == Origin::Default)
    }

    /// Reads a value that must be given. `wanted` ends the sentence "it must be …".
    ///
    /// # Errors
    /// [`SettingsError::Bad`].
    pub(crate) fn value<T>(&self, key: &str, wanted: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, SettingsError> {
        read(self.text(key).unwrap_or_default()).ok_or_else(|| self.bad(key, wanted))
    }

    /// Reads a value that may be missing.
    ///
    /// # Errors
    /// [`SettingsError::Bad`].
    pub(crate) fn optional<T>(
        &self,
        key: &str,
        wanted: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        read(text).map(Some).ok_or_else(|| self.bad(key, wanted))
    }

    /// The error for a value that does not serve.
    pub(crate) fn bad(&self, key: &str, wanted: &'static str) -> SettingsError {
        let entry = self.entries.get(key);
        let origin = entry.map_or(Origin::Default, |e| e.origin.clone());
        SettingsError::Bad {
            key: key.to_owned(),
            value: entry.map(|e| redacted(key, &e.value)).unwrap_or_default(),
            origin,
            wanted,
        }
    }
}

/// The environment variable of a key.
pub(crate) fn variable_of(key: &str) -> String {
    format!("OMS__{}", key.replace('.', "__").to_uppercase())
}

fn toml(text: &str, path: &Path) -> Result<Vec<(String, String)>, SettingsError> {
    let failed = |reason: String| SettingsError::File { path: path.to_owned(), reason };
    let tables = File::from_str(text, FileFormat::Toml).collect().map_err(|e| failed(one_line(&e.to_string())))?;
    let mut found = Vec::new();
    for (key, value) in tables {
        flatten(key, value, &mut found).map_err(failed)?;
    }
    Ok(found)
}

fn flatten(key: String, value: Value, found: &mut Vec<(String, String)>) -> Result<(), String> {
    if let ValueKind::Table(table) = value.kind {
        for (inner, value) in table {
            flatten(format!("{key}.{inner}"), value, found)?;
        }
        return Ok(());
    }
    let text = value.into_string().map_err(|_| format!("`{key}` must be a single value"))?;
    found.push((key, text));
    Ok(())
}

/// A parser's many-line message as one sentence: the drawing of the source line goes, the words stay.
fn one_line(message: &str) -> String {
    let words = message.lines().map(str::trim).filter(|l| !l.is_empty() && !l.contains('|'));
    words.collect::<Vec<_>>().join(", ")
}

/// Edits that turn one text into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
