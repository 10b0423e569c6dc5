//! The catalogue of event types, and the check of every event that a test sees against it.

use crate::house::{House, On, on_both};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tenancy_api::Timestamp;
use tenancy_api::catalogue;

on_both!(every_event_type_must_be_described_at_its_own_address);

static SCHEMAS: LazyLock<BTreeMap<String, Value>> =
    LazyLock::new(|| catalogue::all().items.into_iter().map(|of| (of.event_type, of.schema)).collect());

/// Checks every event in an answer: JSON, or the text of a stream of events.
pub fn check(answer: &Value) {
    match answer {
        Value::Object(object)
            if ["audit_id", "payload"].iter().all(|key| object.contains_key(*key))
                && object.get("event_type").is_some_and(Value::is_string) =>
        {
            let event_type = object["event_type"].as_str().expect("a type");
            let schema = SCHEMAS.get(event_type).unwrap_or_else(|| panic!("{event_type} is not in the catalogue"));
            if let Err(wrong) = fits(answer, schema, "") {
                panic!("an event does not fit the catalogue: {wrong}\n{answer:#}");
            }
        }
        Value::Object(object) => object.values().for_each(check),
        Value::Array(items) => items.iter().for_each(check),
        Value::String(text) if text.contains("\ndata:") => {
            let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
            data.filter_map(|data| serde_json::from_str(data).ok()).for_each(|data: Value| check(&data));
        }
        _ => {}
    }
}

/// Checks a value against the parts of JSON Schema that the catalogue uses. Stricter than JSON Schema: where the schema
/// names properties, the value must have no others.
fn fits(value: &Value, schema: &Value, at: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{at}: {what}, in {value}"));
    for (keyword, rule) in schema.as_object().expect("a schema") {
        let holds = match keyword.as_str() {
            "type" => is_type(value, rule.as_str().expect("one type")),
            "const" => value == rule,
            "enum" => rule.as_array().is_some_and(|words| words.contains(value)),
            "minimum" => value.as_i64() >= rule.as_i64(),
            "maximum" => value.as_i64() <= rule.as_i64(),
            "maxProperties" => {
                value.as_object().is_some_and(|object| object.len() as u64 <= rule.as_u64().unwrap_or(0))
            }
            "pattern" => {
                assert_eq!(rule, "^[0-9a-f]{64}$", "the check knows one pattern");
                value
                    .as_str()
                    .is_some_and(|text| text.len() == 64 && text.bytes().all(|b| b"0123456789abcdef".contains(&b)))
            }
            "format" => match rule.as_str() {
                Some("date-time") => value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok()),
                Some("int64") => value.is_i64(),
                other => panic!("the check does not know the format {other:?}"),
            },
            "required" => {
                rule.as_array().expect("names").iter().all(|name| value.get(name.as_str().expect("text")).is_some())
            }
            "properties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    match rule.get(name) {
                        Some(schema) => fits(value, schema, &format!("{at}/{name}"))?,
                        None => return wrong(&format!("{name} is not described")),
                    }
                }
                true
            }
            "items" => {
                let items = value.as_array().into_iter().flatten();
                items.enumerate().try_for_each(|(n, item)| fits(item, rule, &format!("{at}/{n}")))?;
                true
            }
            "anyOf" => {
                let all: Vec<_> = rule.as_array().expect("schemas").iter().map(|one| fits(value, one, at)).collect();
                if all.iter().all(Result::is_err) {
                    return all.into_iter().next().expect("a schema");
                }
                true
            }
            "$schema" | "title" | "description" | "example" | "examples" | "default" => true,
            other => panic!("the check does not know {other:?}, at {at}"),
        };
        if !holds {
            return wrong(&format!("{keyword} {rule} does not hold"));
        }
    }
    Ok(())
}

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "boolean" => value.is_boolean(),
        other => panic!("the check does not know the type {other:?}"),
    }
}

#[test]
fn the_check_must_take_every_example_and_notice_what_is_wrong_with_it() {
    for described in catalogue::all().items {
        check(&described.example);
        let schema = &described.schema;
        let mut more = described.example.clone();
        more["payload"]["no_such"] = json!(1);
        let mut without = described.example.clone();
        without.as_object_mut().expect("an object").remove("occurred_at");
        let mut other = described.example.clone();
        other["event_version"] = json!(99);
        for (bad, what) in [(more, "an unknown field"), (without, "no time"), (other, "another version")] {
            assert!(fits(&bad, schema, "").is_err(), "{} with {what}", described.event_type);
        }
    }
}

async fn every_event_type_must_be_described_at_its_own_address(on: On) {
    let house = House::new(on).await;
    let list = house.get("/v1/event-types").await.ok(200).body;
    let items = list["items"].as_array().expect("items");
    assert_eq!(items.len(), SCHEMAS.len());
    for item in items {
        let path = format!("/v1/event-types/{}", item["event_type"].as_str().expect("text"));
        assert_eq!(&house.get(&path).await.ok(200).body, item);
    }
    house.get("/v1/event-types/TENANCY_VANISHED").await.ok(404);
}
