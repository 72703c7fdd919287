//! `oms config show|default`: what is in force and where it comes from.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::settings::{DEFAULTS, Settings, redacted, variable_of};

/// The settings in force with their origins, secrets redacted.
pub(crate) fn show(settings: &Settings, as_json: bool) -> String {
    if as_json {
        let entries: Map<String, Value> = settings
            .layers()
            .entries()
            .map(|(key, e)| {
                let shown = json!({"value": redacted(key, &e.value), "from": e.origin.to_string(), "variable": variable_of(key)});
                (key.to_owned(), shown)
            })
            .collect();
        return format!("{:#}\n", Value::Object(entries));
    }
    let rows: Vec<(String, String)> = settings
        .layers()
        .entries()
        .map(|(key, e)| (format!("{key} = {}", Value::String(redacted(key, &e.value))), e.origin.to_string()))
        .collect();
    let width = rows.iter().map(|(row, _)| row.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (row, origin) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{row:width$}  # {origin}");
    }
    text
}

/// The commented default file.
pub(crate) fn default_file() -> &'static str {
    DEFAULTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_origins_are_shown_and_secrets_are_not() {
        let variables =
            [("DATABASE_URL", "postgres://u:hunter2@h/d"), ("TEMPORAL_API_KEY", "hunter3"), ("OMS__PRICING__TAX_BPS", "7")];
        let variables = variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::load_from(dir.path(), &variables).unwrap();
        let text = show(&settings, false);
        assert!(!text.contains("hunter"), "{text}");
        let line = text.lines().find(|l| l.starts_with("database.url")).unwrap();
        assert!(line.contains("postgres://u:***@h/d") && line.ends_with("# DATABASE_URL"), "{line}");
        let value: Value = serde_json::from_str(&show(&settings, true)).unwrap();
        assert_eq!(
            value["pricing.tax_bps"],
            json!({"value": "7", "from": "OMS__PRICING__TAX_BPS", "variable": "OMS__PRICING__TAX_BPS"})
        );
        assert_eq!(value["temporal.api_key"]["value"], "***");
    }
}
