//! What a webhook is made of, as clients say it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oms_domain::customer::Line;
use oms_domain::event::kind_of_type;
use oms_domain::ids::Invalid;
use oms_domain::webhook::is_public;
use oms_store::WebhookSecret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use url::{Host, Url};
use utoipa::ToSchema;

use crate::problem::{Findings, Problem};
use crate::schema;

/// Longest URL in bytes.
const URL_MAX: usize = 2_000;

/// Types of events that one webhook may name.
const TYPES_MAX: usize = 200;

/// A webhook to make.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateWebhook {
    /// Where events are sent to: `https`, or `http`, and an address of the open internet.
    #[schema(min_length = 1, max_length = 2000, format = "uri", example = "https://shop.example.com/hooks/oms")]
    url: String,
    /// The types of events to send; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 200, example = json!(["oms.order.confirmed.v1", "oms.shipment.shipped.v1"]))]
    events: Option<Vec<String>>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    description: Option<String>,
}

/// The same, checked.
pub(super) struct Wish {
    pub(super) url: String,
    pub(super) kinds: Vec<String>,
    pub(super) description: Option<String>,
}

impl CreateWebhook {
    pub(super) fn parse(&self, allow_private: bool) -> Result<Wish, Problem> {
        let mut findings = Findings::default();
        let url = findings.body("/url", address(&self.url, allow_private));
        let named = self.events.as_deref().unwrap_or_default();
        if named.len() > TYPES_MAX {
            findings.body::<()>("/events", Err(Invalid::new("at most 200 types")));
        }
        // an empty list would mean all, which is not what it says
        if self.events.as_ref().is_some_and(Vec::is_empty) {
            findings.body::<()>("/events", Err(Invalid::new("at least one type; leave it out for all")));
        }
        let mut kinds = BTreeSet::new();
        for (n, name) in named.iter().enumerate().take(TYPES_MAX) {
            let kind = kind_of_type(name).ok_or_else(|| Invalid::new("a type of events, such as oms.order.confirmed.v1"));
            kinds.extend(findings.body(format!("/events/{n}"), kind).map(str::to_owned));
        }
        let description = findings.body_opt("/description", self.description.clone().map(Line::parse));
        match url {
            Some(url) if findings.is_clean() => {
                Ok(Wish { url, kinds: kinds.into_iter().collect(), description: description.map(|line| line.to_string()) })
            }
            _ => Err(findings.into_problem()),
        }
    }
}

/// Reads a URL that may be sent to. What its name leads to is looked at again with every request.
fn address(text: &str, allow_private: bool) -> Result<String, Invalid> {
    let rule = "an http or https URL of at most 2000 characters, without user and password";
    let url = Url::parse(text).map_err(|_| Invalid::new(rule))?;
    let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    if text.len() > URL_MAX || !plain {
        return Err(Invalid::new(rule));
    }
    let public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => name != "localhost" && !name.ends_with(".localhost"),
        None => return Err(Invalid::new(rule)),
    };
    if public || allow_private { Ok(url.into()) } else { Err(Invalid::new("an address of the open internet")) }
}

/// A new secret: 256 random bits, as Standard Webhooks writes them.
pub(super) fn secret() -> WebhookSecret {
    WebhookSecret(format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 32]>())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_open_internet_are_taken() {
        for good in ["https://example.com/hook", "http://example.com:8080/a?b=c", "https://8.8.8.8/"] {
            assert!(address(good, false).is_ok(), "{good}");
        }
        for inside in [
            "http://127.0.0.1/",
            "http://localhost/",
            "http://x.localhost:1/",
            "http://[::1]/",
            "http://10.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://[::ffff:10.0.0.1]/",
            "http://0/",
        ] {
            assert!(address(inside, false).is_err(), "{inside}");
            assert!(address(inside, true).is_ok(), "{inside}");
        }
        for bad in ["", "example.com", "ftp://example.com/", "file:///etc/passwd", "http://user:secret@example.com/", "http://"] {
            assert!(address(bad, true).is_err(), "{bad}");
        }
        assert!(address(&format!("https://example.com/{}", "a".repeat(URL_MAX)), true).is_err());
    }

    #[test]
    fn secrets_are_new_and_long() {
        let (one, other) = (secret(), secret());
        assert_ne!(one, other);
        assert_eq!(STANDARD.decode(one.0.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
        assert!(!format!("{one:?}").contains(&one.0));
    }
}
