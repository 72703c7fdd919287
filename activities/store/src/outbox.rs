//! The outbox: facts stored with the change, published later.
//!
//! An event is inserted with its change and has no place among all events yet. A placer gives places afterwards, one at a time, to what
//! is committed: whoever has read up to a place never misses an event before it.

use oms_domain::Instant;
use oms_domain::event::{event_type, schema_id};
use oms_domain::ids::{OrderId, Sku};
use serde::Serialize;
use std::fmt;

use crate::Result;
use crate::store::{Store, run};

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An order.
    Order(OrderId),
    /// An article's stock.
    Sku(Sku),
}

/// Tells an article's events from an order's, whose id holds no slash.
const SKU: &str = "sku/";

/// Members of a stored event that its envelope has, under these or other names.
const IN_THE_ENVELOPE: [&str; 2] = ["id", "type"];

impl Subject {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(match text.strip_prefix(SKU) {
            Some(sku) => Self::Sku(Sku::parse(sku)?),
            None => Self::Order(OrderId::parse(text)?),
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(order) => write!(f, "{order}"),
            Self::Sku(sku) => write!(f, "{SKU}{sku}"),
        }
    }
}

/// A fact to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its number in the table; ascending per subject.
    pub id: i64,
    /// Its place among all events; `None` until it is given one.
    pub position: Option<u64>,
    /// What it is about.
    pub subject: Subject,
    /// Its number within the subject.
    pub seq: u64,
    /// The event's id: the same whenever it is published again.
    pub event_id: String,
    /// The fact's wire name.
    pub kind: String,
    /// The event. Holds no personal data.
    pub body: serde_json::Value,
    /// When it was written.
    pub created_at: Instant,
}

/// A CloudEvent of version 1.0 in structured JSON. The order of its members is part of the bytes.
#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    r#type: String,
    subject: String,
    time: serde_json::Value,
    datacontenttype: &'a str,
    dataschema: String,
    /// Texts that sort like the numbers, as the extension asks for.
    sequence: String,
    /// The place among all events; a number of CloudEvents ends at 31 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    data: serde_json::Value,
}

impl OutboxRow {
    /// The event as everybody gets it, byte for byte, whatever the way: a CloudEvent in structured JSON. `source` names the shop.
    pub fn document(&self, source: &str) -> String {
        let mut data = self.body.clone();
        if let Some(members) = data.as_object_mut() {
            members.retain(|name, _| !IN_THE_ENVELOPE.contains(&name.as_str()));
        }
        let envelope = Envelope {
            specversion: "1.0",
            id: &self.event_id,
            source,
            r#type: event_type(&self.kind),
            subject: self.subject.to_string(),
            time: self.body.get("at").cloned().unwrap_or_else(|| serde_json::json!(self.created_at)),
            datacontenttype: "application/json",
            dataschema: schema_id(&self.kind),
            sequence: format!("{:010}", self.seq),
            position: self.position.map(|position| position.to_string()),
            data,
        };
        // texts, numbers and a value that came out of JSON: nothing that could fail
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}

impl Store {
    /// Gives the next places to the oldest events that have none; answers how many got one. Of several callers each waits for the one
    /// before.
    pub async fn place_events(&self, limit: u32) -> Result<u64> {
        run!(self, outbox::place(limit))
    }

    /// Events behind a place, in the order of their places, published or not.
    pub async fn events_after(&self, position: u64, limit: u32) -> Result<Vec<OutboxRow>> {
        run!(self, outbox::events_after(position, limit))
    }

    /// The oldest events that are not published, by number: within an order always in its order.
    pub async fn unpublished(&self, limit: u32) -> Result<Vec<OutboxRow>> {
        run!(self, outbox::unpublished(limit))
    }

    /// An order's events behind the given number, in their order, published or not.
    pub async fn events_of(&self, order: &OrderId, after_seq: u64, limit: u32) -> Result<Vec<OutboxRow>> {
        run!(self, outbox::events_of(order, after_seq, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_envelope_is_the_same_bytes_every_time() {
        let body = json!({"id": "e", "type": "order.placed", "order_id": "order-0001", "seq": 7, "at": "2026-01-31T12:00:00Z"});
        let row = OutboxRow {
            id: 3,
            position: Some(12),
            subject: Subject::Order(OrderId::parse("order-0001").unwrap()),
            seq: 7,
            event_id: "e".to_owned(),
            kind: "order.placed".to_owned(),
            body,
            created_at: Instant::UNIX_EPOCH,
        };
        assert_eq!(
            row.document("urn:shop"),
            r#"{"specversion":"1.0","id":"e","source":"urn:shop","type":"oms.order.placed.v1","subject":"order-0001","time":"2026-01-31T12:00:00Z","datacontenttype":"application/json","dataschema":"urn:oms:schema:oms.order.placed.v1","sequence":"0000000007","position":"12","data":{"at":"2026-01-31T12:00:00Z","order_id":"order-0001","seq":7}}"#
        );
    }
}
