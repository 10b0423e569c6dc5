//! Brings the schemas into a form that generators of clients can use: no composition, names for everything that has
//! one, and a statement for each object whether it has other keys.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Schemas by name.
pub type Schemas = Map<String, Value>;

/// Schemas of maps with known keys that keep other keys too.
const OPEN: [&str; 3] = ["Policies", "Billing", "Document"];

const PREFIX: &str = "#/components/schemas/";

/// Returns a reference to a component.
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("{PREFIX}{name}")})
}

/// Returns the name of the component that a schema refers to.
pub fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(PREFIX)
}

/// Returns the entries of an object within the value; none if there is no such object. Unlike an index, it inserts
/// nothing.
pub fn inside<'a>(value: &'a mut Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> {
    value.pointer_mut(pointer).and_then(Value::as_object_mut).into_iter().flatten()
}

/// Returns the items of a list within the value; none if there is no such list.
pub fn items<'a>(value: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    value.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Returns the better name of a component: `TenantRowList`, `WrittenTenant`.
fn renamed(name: &str) -> String {
    match name.split_once('_') {
        Some(("List", item)) => format!("{item}List"),
        Some((generic, of)) => format!("{generic}{of}"),
        None => name.to_owned(),
    }
}

/// Names the schemas of generic types, resolves composition, and removes `null` from what is omitted instead.
pub fn simplify(document: &mut Value) {
    rename(document);
    let all = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let mut plain: Schemas = all.iter().map(|(name, schema)| (name.clone(), flat(schema, &all))).collect();
    for (name, schema) in &mut plain {
        if let Some(item) = name.strip_suffix("List").filter(|item| all.contains_key(*item)) {
            schema["properties"]["items"]["items"] = reference(item);
        }
    }
    document["components"]["schemas"] = Value::Object(plain);
}

/// Gives generic types better names, wherever they are used.
fn rename(value: &mut Value) {
    if let Some(schemas) = value.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        *schemas = std::mem::take(schemas).into_iter().map(|(name, schema)| (renamed(&name), schema)).collect();
    }
    walk(value, &mut |object| {
        if let Some(Value::String(target)) = object.get_mut("$ref")
            && let Some(name) = target.strip_prefix(PREFIX)
        {
            *target = format!("{PREFIX}{}", renamed(name));
        }
    });
}

/// Calls `change` for each object in the value, except in examples.
fn walk(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            change(object);
            let inside = object.iter_mut().filter(|(key, _)| !matches!(key.as_str(), "example" | "examples"));
            inside.for_each(|(_, value)| walk(value, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        _ => {}
    }
}

/// Returns a schema without `allOf`: one object with the properties of all parts.
fn flat(schema: &Value, all: &Schemas) -> Value {
    let Some(parts) = schema["allOf"].as_array() else { return schema.clone() };
    let (mut properties, mut required) = (Map::new(), BTreeSet::new());
    for part in parts {
        let part = flat(referred(part).and_then(|name| all.get(name)).unwrap_or(part), all);
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    let mut flat = json!({"type": "object", "properties": properties, "required": required});
    if let (Some(description), Some(flat)) = (schema.get("description"), flat.as_object_mut()) {
        flat.insert("description".to_owned(), description.clone());
    }
    flat
}

/// Removes `null` from the values that a schema takes. Returns whether it took `null`.
pub fn without_null(schema: &mut Value) -> bool {
    if let Some(types) = schema["type"].as_array() {
        let left: Vec<_> = types.iter().filter(|word| *word != "null").cloned().collect();
        let had = left.len() < types.len();
        schema["type"] = match left.as_slice() {
            [one] => one.clone(),
            several => json!(several),
        };
        return had;
    }
    let Some(several) = schema["oneOf"].as_array() else { return false };
    let left: Vec<_> = several.iter().filter(|one| one["type"] != "null").cloned().collect();
    match left.as_slice() {
        [one] if several.len() == 2 => {
            *schema = one.clone();
            true
        }
        _ => false,
    }
}

/// Lets a schema also take `null`.
pub fn with_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    match schema["type"].as_str().map(str::to_owned) {
        Some(word) => schema["type"] = json!([word, "null"]),
        None if schema.get("$ref").is_some() => schema = json!({"oneOf": [schema, {"type": "null"}]}),
        None => {}
    }
    schema
}

/// Removes `null` from the properties of answers that are omitted if they have no value. A property that is always there
/// can be `null`. In a request, `null` counts as absent.
pub fn omit_nulls(document: &mut Value) {
    let sent = sent(document);
    for (_, schema) in inside(document, "/components/schemas").filter(|(name, _)| !sent.contains(*name)) {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let optional =
            inside(schema, "/properties").filter(|(name, _)| !required.iter().any(|one| one.as_str() == Some(name)));
        optional.for_each(|(_, property)| {
            without_null(property);
        });
    }
}

/// Returns the names of all schemas that requests contain.
fn sent(document: &Value) -> BTreeSet<String> {
    let mut open = Vec::new();
    for (_, item) in document["paths"].as_object().into_iter().flatten() {
        item.as_object()
            .into_iter()
            .flatten()
            .for_each(|(_, operation)| references(&operation["requestBody"], &mut open));
    }
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        references(&document["components"]["schemas"][&name], &mut open);
        found.insert(name);
        open.retain(|name| !found.contains(name));
    }
    found
}

/// Adds the names of all components that a value refers to, except in what a request need not contain.
fn references(value: &Value, found: &mut Vec<String>) {
    if value["readOnly"] == true {
        return;
    }
    found.extend(referred(value).map(str::to_owned));
    match value {
        Value::Object(object) => object.values().for_each(|value| references(value, found)),
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// States for each object whether it has keys that are not described.
pub fn close(document: &mut Value) {
    for (name, schema) in inside(document, "/components/schemas") {
        if OPEN.contains(&name.as_str()) {
            schema["additionalProperties"] = json!(true);
        }
    }
    walk(document, &mut |object| {
        let is_object = match object.get("type") {
            Some(Value::Array(words)) => words.iter().any(|word| word == "object"),
            word => word.is_some_and(|word| word == "object"),
        };
        if !is_object {
            return;
        }
        if object.get("propertyNames") == Some(&json!({"type": "string"})) {
            object.remove("propertyNames");
        }
        let is_open = !object.contains_key("properties");
        let others = object.entry("additionalProperties").or_insert(json!(is_open));
        if *others == json!({}) {
            *others = json!(true);
        }
    });
}
