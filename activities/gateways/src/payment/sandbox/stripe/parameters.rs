//! Parameters of a call, as forms and queries carry them: `metadata[order]=1&expand[]=latest_charge`.

use std::collections::BTreeMap;

use super::Refusal;

/// What was sent.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn read(encoded: &str) -> Self {
        let url = reqwest::Url::parse(&format!("http://form.invalid/?{encoded}"));
        Self(url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, value)| given == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let parse = |text: &str| text.parse().map_err(|_| Refusal::invalid("parameter_invalid_integer", Some(name)));
        self.text(name).map(parse).transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|text| text == "true")
    }

    /// The metadata that was sent; an empty value takes a field away.
    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let field = |name: &str| Some(name.strip_prefix("metadata[")?.strip_suffix(']')?.to_owned());
        self.0.iter().filter_map(|(name, value)| Some((field(name)?, value.clone()))).collect()
    }

    /// Whether the charge is wanted whole.
    pub(super) fn expands(&self, what: &str) -> bool {
        self.0.iter().any(|(name, value)| name.starts_with("expand") && value.ends_with(what))
    }
}
