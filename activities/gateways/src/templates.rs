//! What messages say. English for now; each message is a subject, a text and an HTML template, or one SMS template.

use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior};
use oms_domain::message::{Channel, Topic};
use oms_domain::money::Money;
use oms_domain::order::Reason;
use serde::Serialize;
use std::sync::LazyLock;

use crate::mail::one_line;

/// Longest subject in characters; mail programs show less.
const SUBJECT_MAX: usize = 150;
/// Longest SMS in characters: three parts, even where a name needs the wide alphabet.
const SMS_MAX: usize = 200;

const TEMPLATES: &[(&str, &str)] = &[
    ("base.html", include_str!("../templates/base.html")),
    ("parts.html", include_str!("../templates/parts.html")),
    ("parts.txt", include_str!("../templates/parts.txt")),
    ("confirmed.subject.txt", include_str!("../templates/confirmed.subject.txt")),
    ("confirmed.txt", include_str!("../templates/confirmed.txt")),
    ("confirmed.html", include_str!("../templates/confirmed.html")),
    ("shipped.subject.txt", include_str!("../templates/shipped.subject.txt")),
    ("shipped.txt", include_str!("../templates/shipped.txt")),
    ("shipped.html", include_str!("../templates/shipped.html")),
    ("shipped.sms.txt", include_str!("../templates/shipped.sms.txt")),
    ("delivered.subject.txt", include_str!("../templates/delivered.subject.txt")),
    ("delivered.txt", include_str!("../templates/delivered.txt")),
    ("delivered.html", include_str!("../templates/delivered.html")),
    ("delivered.sms.txt", include_str!("../templates/delivered.sms.txt")),
    ("rejected.subject.txt", include_str!("../templates/rejected.subject.txt")),
    ("rejected.txt", include_str!("../templates/rejected.txt")),
    ("rejected.html", include_str!("../templates/rejected.html")),
    ("cancelled.subject.txt", include_str!("../templates/cancelled.subject.txt")),
    ("cancelled.txt", include_str!("../templates/cancelled.txt")),
    ("cancelled.html", include_str!("../templates/cancelled.html")),
];

/// Parsed once. The first template that does not parse is every rendering's error, and a test renders all of them.
static ENVIRONMENT: LazyLock<Result<Environment<'static>, String>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.set_auto_escape_callback(|name| if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None });
    environment.add_filter("money", show_money);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(environment)
});

/// A line of the order, or of the parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageLine {
    /// The article's name.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// Their price together.
    pub total: Money,
}

/// What the order costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageTotals {
    /// All lines.
    pub subtotal: Money,
    /// Shipping fee.
    pub shipping: Money,
    /// Tax.
    pub tax: Money,
    /// The sum.
    pub total: Money,
}

/// How a parcel travels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MessageShipment {
    /// The carrier's name, if known.
    pub carrier: Option<String>,
    /// The parcel's number, if known.
    pub tracking_number: Option<String>,
}

/// All that a message can speak of. Personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageContext {
    /// The shop.
    pub shop_name: String,
    /// The customer.
    pub customer_name: String,
    /// What the customer knows the order by: the shop's reference, or our id.
    pub order: String,
    /// What the message is about: the order's lines, or those of the parcel.
    pub lines: Vec<MessageLine>,
    /// The order's totals.
    pub totals: MessageTotals,
    /// The parcel, for `shipped` and `delivered`.
    pub shipment: Option<MessageShipment>,
    /// Why, for `rejected`. Why an order was cancelled is between the shop and itself.
    pub reason: Option<Reason>,
}

/// A message, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line; empty for SMS.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML; empty for SMS.
    pub html: String,
}

/// Why a message could not be rendered: a defect of this program, never of the order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The topic is not told on this channel.
    #[error("there is no {} message about {}", .channel.as_str(), .topic.as_str())]
    NoSuchMessage {
        /// The topic.
        topic: Topic,
        /// The channel.
        channel: Channel,
    },
    /// A template is broken.
    #[error("template {0}")]
    Broken(String),
}

/// Renders the message about `topic` for `channel`. Errors: [`TemplateError`].
pub fn render(topic: Topic, channel: Channel, context: &MessageContext) -> Result<Rendered, TemplateError> {
    if !topic.channels(true).contains(&channel) {
        return Err(TemplateError::NoSuchMessage { topic, channel });
    }
    let environment = ENVIRONMENT.as_ref().map_err(|e| TemplateError::Broken(e.clone()))?;
    let topic = topic.as_str();
    let part = |suffix: &str| -> Result<String, TemplateError> {
        let name = format!("{topic}.{suffix}");
        // the error's text may quote values, so only its kind is told
        let broken = |e: Error| TemplateError::Broken(format!("{name}: {:?}", e.kind()));
        environment.get_template(&name).and_then(|t| t.render(context)).map_err(broken)
    };
    Ok(match channel {
        Channel::Mail => {
            Rendered { subject: cut(&one_line(&part("subject.txt")?), SUBJECT_MAX), text: part("txt")?, html: part("html")? }
        }
        Channel::Sms => {
            Rendered { subject: String::new(), text: cut(&one_line(&part("sms.txt")?), SMS_MAX), html: String::new() }
        }
    })
}

/// At most `max` characters; the last one says that more was there.
fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

/// `{"amount": 1234, "currency": "EUR"}` as `12.34 EUR`.
fn show_money(value: minijinja::value::ViaDeserialize<Money>) -> String {
    value.0.to_string()
}

#[cfg(test)]
mod tests;
