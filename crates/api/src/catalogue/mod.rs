//! The catalogue of event types: a JSON Schema and an example of each.
//!
//! It is generated from the event types and from the fields of their payloads. A later release can add fields and event
//! types. A field that is removed, or whose meaning changes, makes a new event type.

mod fields;

use crate::event::AuditEvent;
use crate::list::List;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tenancy_core::event::{EventType, Field};
use utoipa::{PartialSchema, ToSchema};

/// An event type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventTypeDescription {
    /// Name of the event type. Webhooks subscribe to it.
    #[schema(example = "TENANCY_SUSPENDED")]
    pub event_type: String,
    /// Version of the schema of the payload.
    pub event_version: i64,
    /// What happened.
    pub description: String,
    /// JSON Schema (draft 2020-12) of the event, as `/v1/audit`, `/v1/events` and webhooks show it.
    #[schema(value_type = Object)]
    pub schema: Value,
    /// An event of this type.
    #[schema(value_type = Object)]
    pub example: Value,
}

/// Returns the description of every event type, in the order in which the program lists them.
pub fn all() -> List<EventTypeDescription> {
    let items = EventType::WORDS.iter().map(|(_, event_type)| describe(*event_type)).collect();
    List { items, next: None, unreadable: Vec::new() }
}

/// Returns the description of an event type.
pub fn describe(event_type: EventType) -> EventTypeDescription {
    EventTypeDescription {
        event_type: event_type.to_string(),
        event_version: event_type.version(),
        description: event_type.description().to_owned(),
        schema: schema(event_type),
        example: example(event_type),
    }
}

/// Name of a field, without the mark of optional fields.
fn name(field: &Field) -> &'static str {
    field.0.trim_end_matches('?')
}

fn is_optional(field: &Field) -> bool {
    field.0.ends_with('?')
}

/// Returns the schema of a whole event: the fields that all types have, with the payload of this type.
fn schema(event_type: EventType) -> Value {
    let mut schema = serde_json::to_value(AuditEvent::schema()).unwrap_or_default();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(without_null);
        let describe = |properties: &mut Map<String, Value>, name: &str, mut of: Value| {
            of["description"] = properties.get(name).map(|field| field["description"].clone()).unwrap_or_default();
            properties.insert(name.to_owned(), of);
        };
        describe(properties, "event_type", json!({"const": event_type}));
        describe(properties, "event_version", json!({"const": event_type.version()}));
        describe(properties, "payload", payload(event_type));
    }
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(event_type);
    schema["description"] = json!(event_type.description());
    schema
}

/// A field that has no value is omitted, and never `null`.
fn without_null(field: &mut Value) {
    if let Some(types) = field.get("type").and_then(Value::as_array)
        && let Some(only) = types.iter().find(|of| **of != "null").cloned()
    {
        field["type"] = only;
    }
}

/// Returns the schema of the payload.
fn payload(event_type: EventType) -> Value {
    let fields = event_type.fields();
    let properties: Map<_, _> = fields.iter().map(|field| (name(field).to_owned(), fields::schema(field))).collect();
    let required: Vec<_> = fields.iter().filter(|field| !is_optional(field)).map(name).collect();
    let whole = json!({"type": "object", "properties": properties, "required": required});
    if !event_type.is_about_keys() {
        return whole;
    }
    let hidden = json!({"type": "object", "maxProperties": 0, "title": "for callers that may not read keys"});
    json!({"anyOf": [whole, hidden]})
}

/// Returns an event of this type.
fn example(event_type: EventType) -> Value {
    let fields = event_type.fields();
    let of_organization =
        fields.iter().any(|field| name(field) == "organization_id") && event_type != EventType::TenancyRegistered;
    let of_platform = of_organization
        || event_type.is_about_keys()
        || matches!(event_type, EventType::LogExpired | EventType::LogRestored);
    let payload: Map<_, _> = fields
        .iter()
        .filter(|field| !is_optional(field))
        .map(|field| (name(field).to_owned(), fields::example(event_type, field)))
        .collect();
    let mut example = json!({
        "position": 4711,
        "audit_id": "aud_0198f2a4-6c1e-7d3a-9b52-3f1c2a4d5e6f",
        "event_type": event_type,
        "event_version": event_type.version(),
        "actor": "user:key_0198f2a46c1e7d3a",
        "actor_name": "ci",
        "payload": payload,
        "correlation_id": "0198f2a4-6c1e-7d3a-9b52-3f1c2a4d5e60",
        "occurred_at": "2026-03-01T12:00:00.000Z",
    });
    if !of_platform {
        example["tenant_id"] = json!("acme-eu");
    }
    example
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/event-types.json");

    /// Fields that two releases have in common must be equal in both.
    fn only_adds(before: &Value, after: &Value, at: &str) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                for (name, value) in
                    before.iter().filter(|(name, _)| !matches!(name.as_str(), "description" | "example"))
                {
                    let found =
                        after.get(name).unwrap_or_else(|| panic!("{at}/{name} is missing: add a new event type"));
                    only_adds(value, found, &format!("{at}/{name}"));
                }
            }
            (Value::Array(before), Value::Array(after)) if at.ends_with("/enum") || at.ends_with("/items") => {
                let missing = |value: &&Value| !after.iter().any(|other| key(other) == key(value));
                assert_eq!(before.iter().find(missing), None, "{at} must keep its entries");
                for value in before.iter().filter(|value| value.is_object()) {
                    let other = after.iter().find(|other| key(other) == key(value)).expect("found above");
                    only_adds(value, other, &format!("{at}/{}", key(value)));
                }
            }
            _ => assert_eq!(before, after, "{at} has changed: add a new event type"),
        }
    }

    fn key(value: &Value) -> &Value {
        value.get("event_type").unwrap_or(value)
    }

    /// `TENANCY_WRITE_EVENT_TYPES=1 cargo test -p tenancy-api catalogue` writes the file, unless the change is more than
    /// an addition.
    #[test]
    fn must_be_the_catalogue_that_is_committed() {
        let text = serde_json::to_string_pretty(&all()).expect("json") + "\n";
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        if let Ok(before) = serde_json::from_str(&committed) {
            only_adds(&before, &serde_json::to_value(all()).expect("json"), "");
        }
        if std::env::var_os("TENANCY_WRITE_EVENT_TYPES").is_some() {
            std::fs::write(COMMITTED, &text).expect("written");
        } else {
            let same = committed == text;
            assert!(
                same,
                "event types were added: run TENANCY_WRITE_EVENT_TYPES=1 cargo test -p tenancy-api catalogue"
            );
        }
    }

    #[test]
    fn must_show_an_example_that_the_type_accepts() {
        for described in all().items {
            let event_type = EventType::parse(&described.event_type).expect("a type");
            let payload = described.example["payload"].as_object().expect("an object");
            assert!(event_type.accepts(payload), "{event_type}: {payload:?}");
            let read: AuditEvent<'static> = serde_json::from_value(described.example.clone()).expect("an event");
            assert!(read.event_type == event_type);
            assert!(!described.description.is_empty());
        }
    }

    #[test]
    fn must_describe_every_field_of_a_payload() {
        for field in EventType::WORDS.iter().flat_map(|(_, event_type)| event_type.fields()) {
            assert!(fields::schema(field)["description"].is_string(), "{} has no row in catalogue/fields.rs", field.0);
        }
    }
}
