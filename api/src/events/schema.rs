//! JSON Schemas of events. Files in `api/schemas/` hold the same, so that a change shows; a test compares them.

use oms_domain::event::{STOCK_KINDS, event_type, meaning, schema_id};
use serde_json::{Value, json};

/// The name of the schema of what is around an event's data.
pub const ENVELOPE: &str = "oms.envelope.v1";

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// Kinds that always name the money they moved.
const MOVES_MONEY: [&str; 5] =
    ["payment.authorized", "payment.captured", "payment.reauthorized", "refund.requested", "refund.completed"];

/// The schema of a kind's data. Readers must expect members that are not in it.
pub fn data_schema(kind: &str) -> Value {
    let (properties, required) = if STOCK_KINDS.contains(&kind) { stock() } else { fact(kind) };
    json!({
        "$schema": DRAFT,
        "$id": schema_id(kind),
        "title": event_type(kind),
        "description": meaning(kind),
        "type": "object",
        "properties": properties,
        "required": required,
    })
}

fn fact(kind: &str) -> (Value, Vec<&'static str>) {
    let text_or_null = |description: &str| json!({"description": description, "type": ["string", "null"]});
    let money = json!({
        "type": "object",
        "properties": {
            "amount": {"description": "Minor units.", "type": "integer"},
            "currency": {"description": "ISO 4217 code.", "type": "string", "pattern": "^[A-Z]{3}$"},
        },
        "required": ["amount", "currency"],
    });
    let amount = if MOVES_MONEY.contains(&kind) { money } else { json!({"oneOf": [{"type": "null"}, money]}) };
    let shipment = if kind.starts_with("shipment.") {
        json!({"description": "The shipment it is about.", "type": "string"})
    } else {
        text_or_null("The shipment it is about.")
    };
    let properties = json!({
        "order_id": {"description": "The order.", "type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"},
        "seq": sequence("The fact's number within its order: 1, 2, 3, … without gaps."),
        "at": {"description": "When it happened.", "type": "string", "format": "date-time"},
        "actor": {"description": "Who caused it.", "type": "string"},
        "reason": text_or_null("Why, in the actor's words or a code."),
        "shipment_id": shipment,
        "amount": amount,
    });
    (properties, vec!["order_id", "seq", "at", "actor", "reason", "shipment_id", "amount"])
}

fn stock() -> (Value, Vec<&'static str>) {
    let properties = json!({
        "sku": {"description": "The article.", "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
        "seq": sequence("The event's number within its article: 1, 2, 3, … without gaps."),
        "at": {"description": "When it happened.", "type": "string", "format": "date-time"},
        "available": {"description": "Units that can be sold.", "type": "integer"},
        "threshold": {"description": "The article runs low at so many units.", "type": ["integer", "null"]},
    });
    (properties, vec!["sku", "seq", "at", "available", "threshold"])
}

fn sequence(description: &str) -> Value {
    json!({"description": description, "type": "integer", "minimum": 1})
}

/// The schema of what is around the data: CloudEvents 1.0 with the extension `sequence` and one of ours, `position`.
pub fn envelope_schema() -> Value {
    let text = |description: &str, rest: Value| {
        let mut schema = json!({"description": description, "type": "string", "minLength": 1});
        if let (Some(schema), Value::Object(rest)) = (schema.as_object_mut(), rest) {
            schema.extend(rest);
        }
        schema
    };
    json!({
        "$schema": DRAFT,
        "$id": format!("urn:oms:schema:{ENVELOPE}"),
        "title": ENVELOPE,
        "description": "A CloudEvent in structured JSON.",
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text("The same whenever and however the event is sent: drop what you have seen.", json!({})),
            "source": text("The shop.", json!({"format": "uri-reference"})),
            "type": text("What happened, with the version of its data.", json!({"pattern": r"^oms\.[a-z_]+\.[a-z_]+\.v[1-9][0-9]*$"})),
            "subject": text("The order's id, or `sku/` and an article's.", json!({})),
            "time": text("When it happened.", json!({"format": "date-time"})),
            "datacontenttype": {"const": "application/json"},
            "dataschema": text("The `$id` of the schema of `data`.", json!({"format": "uri"})),
            "sequence": text("The number within the subject, without gaps; sorts as text.", json!({"pattern": "^[0-9]{10,}$"})),
            "position": text("The place among all events, for `GET /v1/events?after=` and replays.", json!({"pattern": "^[0-9]+$"})),
            "data": {"type": "object"},
        },
        "required": [
            "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "sequence", "position", "data",
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oms_domain::event::published_kinds;
    use std::collections::BTreeMap;
    use std::path::Path;

    /// Every schema under the name of its file.
    fn all() -> BTreeMap<String, String> {
        let named = published_kinds().map(|kind| (event_type(kind), data_schema(kind)));
        let named = named.chain([(ENVELOPE.to_owned(), envelope_schema())]);
        named.map(|(name, schema)| (format!("{name}.json"), format!("{schema:#}\n"))).collect()
    }

    #[test]
    fn the_files_hold_the_same() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        if std::env::var_os("OMS_WRITE_SCHEMAS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            for (name, text) in all() {
                std::fs::write(folder.join(name), text).unwrap();
            }
        }
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap());
        let files: BTreeMap<String, String> =
            files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read_to_string(file.path()).unwrap())).collect();
        assert_eq!(files, all(), "OMS_WRITE_SCHEMAS=1 cargo test -p oms-api the_files_hold_the_same writes them anew");
    }

    #[test]
    fn every_kind_says_what_it_means() {
        for kind in published_kinds() {
            assert!(meaning(kind).ends_with('.'), "{kind}: {}", meaning(kind));
        }
    }
}
