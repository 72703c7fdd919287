//! The AsyncAPI document: every event type with its channel, message and schema.

use oms_domain::event::{event_type, meaning, published_kinds};
use serde_json::{Map, Value, json};

use super::schema::{ENVELOPE, data_schema, envelope_schema};

/// The exchange of RabbitMQ and the topic of Kafka that the document names; others are settings.
const EXCHANGE: &str = "oms.events";
const TOPIC: &str = "oms.events";

const MEDIA_TYPE: &str = "application/cloudevents+json";

/// The document, AsyncAPI 3.0.
pub fn asyncapi() -> Value {
    let (mut channels, mut operations, mut messages, mut schemas) = (Map::new(), Map::new(), Map::new(), Map::new());
    schemas.insert(ENVELOPE.to_owned(), embedded(envelope_schema()));
    for kind in published_kinds() {
        let name = event_type(kind);
        schemas.insert(name.clone(), embedded(data_schema(kind)));
        messages.insert(name.clone(), message(&name, kind));
        channels.insert(name.clone(), channel(&name, kind));
        operations.insert(format!("send.{name}"), operation(&name));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "oms events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What happens to orders and stock: at least once, in order per subject, without gaps. The same bytes reach RabbitMQ \
                            (routing key: the type), Kafka (key: the subject), Redis Streams, webhooks and readers of `GET /v1/events`.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": MEDIA_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    })
}

/// A schema as a part of the document, which has names of its own.
fn embedded(mut schema: Value) -> Value {
    if let Some(members) = schema.as_object_mut() {
        members.remove("$schema");
        members.remove("$id");
    }
    schema
}

fn reference(path: &str) -> Value {
    json!({"$ref": format!("#/{path}")})
}

fn message(name: &str, kind: &str) -> Value {
    json!({
        "name": name,
        "title": kind,
        "summary": meaning(kind),
        "contentType": MEDIA_TYPE,
        "bindings": {"kafka": {"key": {"type": "string", "description": "The event's subject."}, "bindingVersion": "0.5.0"}},
        "payload": {
            "allOf": [
                reference(&format!("components/schemas/{ENVELOPE}")),
                {"type": "object", "properties": {"type": {"const": name}, "data": reference(&format!("components/schemas/{name}"))}},
            ],
        },
    })
}

fn channel(name: &str, kind: &str) -> Value {
    let mut messages = Map::new();
    messages.insert(name.to_owned(), reference(&format!("components/messages/{name}")));
    json!({
        "address": name,
        "title": kind,
        "description": meaning(kind),
        "messages": messages,
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": EXCHANGE, "type": "topic", "durable": true, "autoDelete": false},
                "bindingVersion": "0.3.0",
            },
            "kafka": {"topic": TOPIC, "bindingVersion": "0.5.0"},
        },
    })
}

fn operation(name: &str) -> Value {
    json!({
        "action": "send",
        "channel": reference(&format!("channels/{name}")),
        "messages": [reference(&format!("channels/{name}/messages/{name}"))],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    found.push(target.clone());
                }
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_type_has_its_channel_message_and_schema_and_every_reference_leads_somewhere() {
        let document = asyncapi();
        assert_eq!(document["asyncapi"], "3.0.0");
        for kind in published_kinds() {
            let name = event_type(kind);
            assert_eq!(document["channels"][&name]["address"], name.as_str());
            assert_eq!(document["channels"][&name]["bindings"]["kafka"]["topic"], "oms.events");
            assert_eq!(document["components"]["messages"][&name]["bindings"]["kafka"]["key"]["type"], "string");
            assert_eq!(document["operations"][format!("send.{name}")]["action"], "send");
            assert!(document["components"]["schemas"][&name]["properties"].is_object(), "{name}");
        }
        for part in ["channels", "operations"] {
            assert_eq!(document[part].as_object().unwrap().len(), published_kinds().count(), "{part}");
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 4 * published_kinds().count());
        for target in found {
            assert!(document.pointer(target.strip_prefix('#').unwrap()).is_some(), "{target}");
        }
        let plain = |key: &String| key.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
        assert!(document["components"]["schemas"].as_object().unwrap().keys().all(plain));
    }
}
