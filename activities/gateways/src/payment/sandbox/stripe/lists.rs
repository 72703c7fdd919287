//! Lists, the search, events, payment methods: what is only read.

use oms_domain::ids::derive;
use serde_json::{Value, json};

use super::Refusal;
use super::parameters::Parameters;
use super::rows::{self, IntentRow};
use crate::payment::sandbox::{Method, SandboxPayments};

/// Entries of a page unless told otherwise, and at most.
const PAGE: usize = 10;
const PAGE_MAX: i64 = 100;

impl SandboxPayments {
    async fn intents(&self) -> Result<Vec<IntentRow>, Refusal> {
        let mut view = self.ledger.view().await?;
        Ok(rows::all(&mut view).await?)
    }

    pub(super) async fn list_intents(&self, given: &Parameters) -> Result<Value, Refusal> {
        let bound = |name: &str| given.number(&format!("created[{name}]"));
        let (gte, gt, lte, lt) = (bound("gte")?, bound("gt")?, bound("lte")?, bound("lt")?);
        let within = |i: &IntentRow| {
            let at = i.created_at.timestamp();
            gte.is_none_or(|b| at >= b) && gt.is_none_or(|b| at > b) && lte.is_none_or(|b| at <= b) && lt.is_none_or(|b| at < b)
        };
        let whole = given.expands("latest_charge");
        let all = self.intents().await?.into_iter().filter(within).map(|i| i.shown(whole)).collect();
        page("/v1/payment_intents", all, given)
    }

    pub(super) async fn search_intents(&self, given: &Parameters) -> Result<Value, Refusal> {
        let query = given.text("query").unwrap_or_default();
        let (field, value) = read_query(query).ok_or_else(|| Refusal::invalid("parameter_invalid", Some("query")))?;
        let found = rows::with_metadata(&mut *self.ledger.view().await?, field, value).await?;
        let found: Vec<Value> = found.iter().map(|intent| intent.shown(false)).collect();
        Ok(
            json!({"object": "search_result", "url": "/v1/payment_intents/search", "has_more": false, "next_page": null, "data": found}),
        )
    }

    /// One event per intent, of how it stands.
    pub(super) async fn list_events(&self, given: &Parameters) -> Result<Value, Refusal> {
        let kind = |intent: &IntentRow| match intent.status() {
            "requires_capture" => "payment_intent.amount_capturable_updated",
            "succeeded" => "payment_intent.succeeded",
            "canceled" => "payment_intent.canceled",
            "requires_action" => "payment_intent.requires_action",
            "requires_payment_method" if intent.payment.is_some() => "payment_intent.payment_failed",
            _ => "payment_intent.created",
        };
        let event = |intent: IntentRow| {
            let kind = kind(&intent);
            let id = format!("evt_{}", derive(&["sandbox event", &intent.payment_id, kind]).simple());
            json!({"id": id, "object": "event", "type": kind, "created": intent.created_at.timestamp(), "livemode": false,
                "data": {"object": intent.shown(false)}})
        };
        let events = self.intents().await?.into_iter().map(event);
        let wanted = given.text("type");
        let events = events.filter(|e| wanted.is_none_or(|kind| e["type"] == kind)).collect();
        page("/v1/events", events, given)
    }
}

/// `metadata['field']:'value'`, or `-metadata['field']:null`, which asks for the field's presence.
fn read_query(query: &str) -> Option<(&str, Option<&str>)> {
    let presence = query.strip_prefix('-');
    let rest = presence.unwrap_or(query).strip_prefix("metadata[")?;
    let (field, value) = rest.split_once("]:")?;
    let field = unquoted(field)?;
    match presence {
        Some(_) => (value == "null").then_some((field, None)),
        None => unquoted(value).map(|value| (field, Some(value))),
    }
}

fn unquoted(text: &str) -> Option<&str> {
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    quoted('\'').or_else(|| quoted('"'))
}

/// A page of a list that runs from the newest to the oldest.
pub(super) fn page(url: &str, all: Vec<Value>, given: &Parameters) -> Result<Value, Refusal> {
    let limit = given.number("limit")?.map_or(Ok(PAGE), |n| {
        let fits = (1..=PAGE_MAX).contains(&n).then(|| usize::try_from(n).ok()).flatten();
        fits.ok_or_else(|| Refusal::invalid("parameter_invalid_integer", Some("limit")))
    })?;
    let at = |id: &str| all.iter().position(|entry| entry["id"] == id).ok_or_else(|| Refusal::invalid("resource_missing", None));
    let (from, to) = match (given.text("starting_after"), given.text("ending_before")) {
        (Some(after), _) => (at(after)? + 1, all.len()),
        (None, Some(before)) => (at(before)?.saturating_sub(limit), at(before)?),
        (None, None) => (0, all.len()),
    };
    let window = &all[from..to];
    let more = if given.text("ending_before").is_some() { from > 0 } else { window.len() > limit };
    let data: Vec<&Value> = window.iter().take(limit).collect();
    Ok(json!({"object": "list", "url": url, "has_more": more, "data": data}))
}

/// A test method.
pub(super) fn method(id: &str) -> Result<Value, Refusal> {
    match Method::parse(id) {
        Some(_) => Ok(json!({"id": id, "object": "payment_method", "type": "card", "customer": null, "livemode": false,
            "card": {"brand": "visa", "last4": "4242"}})),
        None => Err(Refusal::missing("payment_method")),
    }
}
