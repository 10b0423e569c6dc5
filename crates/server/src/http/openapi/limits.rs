//! Limits of values in the OpenAPI document: lengths, ranges and patterns, from the constants that the rules use.
//!
//! The rules count bytes, and the document counts characters. A text with characters of several bytes can therefore be
//! too long even if the document allows it.

use super::schemas::{inside, items, with_null};
use crate::idempotency;
use crate::operations::apply::MAX_DOCUMENTS;
use crate::operations::jobs::MAX_WAIT_SECONDS;
use serde_json::{Value, json};
use tenancy_core::declared::{MAX_NAME_BYTES, MAX_SHORT_NAME_BYTES};
use tenancy_core::hold::MAX_REASON_LENGTH_BYTES;
use tenancy_core::ids::{Alias, MAX_ID_LENGTH_BYTES, NAME_PATTERN};
use tenancy_core::manifest::{
    LABEL_KEY_PATTERN, MAX_ALIASES, MAX_DISPLAY_NAME_BYTES, MAX_ENVIRONMENTS, MAX_EVENTS, MAX_LABEL_VALUE_BYTES,
    MAX_LABELS, MAX_MEMBERS, MAX_WEBHOOKS,
};
use tenancy_core::placement;
use tenancy_core::quotas::{MAX_BILLING_BYTES, MAX_QUOTA, MAX_RETENTION_DAYS};
use tenancy_core::rules::keys::{DEFAULT_OVERLAP_SECONDS, MAX_NAME_LENGTH_BYTES, MAX_OVERLAP_SECONDS};
use tenancy_core::webhook::{
    MAX_BASE_SECONDS, MAX_IN_FLIGHT, MAX_PAUSE_SECONDS, MAX_PER_SECOND, MAX_RETRIES, MAX_TIMEOUT_SECONDS,
    MAX_URL_LENGTH_BYTES,
};
use tenancy_store::page::{DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS};

/// Text without control characters (ECMA 262).
const PRINTABLE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

fn text(max: usize) -> Value {
    json!({"minLength": 1, "maxLength": max, "pattern": PRINTABLE})
}

fn id() -> Value {
    json!({"minLength": 2, "maxLength": MAX_ID_LENGTH_BYTES, "pattern": NAME_PATTERN})
}

fn range(min: i64, max: i64) -> Value {
    json!({"minimum": min, "maximum": max})
}

/// Returns the pattern of a scope.
fn scope() -> Value {
    let id = NAME_PATTERN.trim_start_matches('^').trim_end_matches('$');
    json!({"pattern": format!("^(all|(organization|tenant):{id})$")})
}

/// Limits of a property in every schema that has it.
fn everywhere() -> Vec<(&'static str, Value)> {
    vec![
        ("tenant_id", id()),
        ("organization_id", id()),
        ("display_name", text(MAX_DISPLAY_NAME_BYTES)),
        ("region", text(MAX_NAME_BYTES)),
        ("retention_days", range(1, MAX_RETENTION_DAYS)),
        ("retentionDays", range(1, MAX_RETENTION_DAYS)),
        ("purgeAfterDays", range(0, MAX_RETENTION_DAYS)),
        ("hold", text(MAX_NAME_BYTES)),
        ("reason", text(MAX_REASON_LENGTH_BYTES)),
        ("scope", scope()),
        ("overlap_seconds", json!({"minimum": 0, "maximum": MAX_OVERLAP_SECONDS, "default": DEFAULT_OVERLAP_SECONDS})),
        ("version", json!({"minimum": 1})),
        ("current_version", json!({"minimum": 1})),
        ("counter", json!({"minimum": 0})),
        ("progress", range(0, 1)),
        ("attempt", json!({"minimum": 0})),
        ("correlation_id", json!({"minLength": 1, "maxLength": MAX_ID_LENGTH_BYTES})),
        ("environments", json!({"maxItems": MAX_ENVIRONMENTS})),
        ("max_environments", range(0, placement::MAX_ENVIRONMENTS)),
        ("environment_count", json!({"minimum": 0})),
        ("port", range(1, 65_535)),
        ("webhooks", json!({"maxItems": MAX_WEBHOOKS})),
        ("max_retries", range(0, MAX_RETRIES)),
        ("base_seconds", range(1, MAX_BASE_SECONDS)),
        ("max_seconds", range(1, MAX_PAUSE_SECONDS)),
        ("jitter", range(0, 1)),
        ("max_per_second", range(1, MAX_PER_SECOND)),
        ("max_in_flight", range(1, MAX_IN_FLIGHT)),
        ("timeout_seconds", range(1, MAX_TIMEOUT_SECONDS)),
    ]
}

/// Limits of a property of one schema.
fn in_one() -> Vec<(&'static str, &'static str, Value)> {
    let billing = || json!({"maxLength": MAX_BILLING_BYTES, "pattern": PRINTABLE});
    let quotas = || json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_QUOTA});
    vec![
        ("EnvironmentManifest", "name", text(MAX_SHORT_NAME_BYTES)),
        ("WebhookManifest", "name", id()),
        ("WebhookManifest", "url", json!({"format": "uri", "minLength": 1, "maxLength": MAX_URL_LENGTH_BYTES})),
        ("WebhookManifest", "events", json!({"minItems": 1, "maxItems": MAX_EVENTS})),
        ("KeyRequest", "name", text(MAX_NAME_LENGTH_BYTES)),
        ("Billing", "plan", billing()),
        ("Billing", "costCenter", billing()),
        ("Caps", "tenants", range(0, MAX_QUOTA)),
        ("Caps", "quotas", json!({"additionalProperties": quotas()})),
        ("Usage", "tenants", json!({"minimum": 0})),
        ("Problem", "status", range(400, 599)),
        ("TenantManifest", "quotas", json!({"maxProperties": MAX_MEMBERS})),
        ("EnvironmentManifest", "quotas", json!({"maxProperties": MAX_MEMBERS})),
    ]
}

/// Adds the limits to the schemas.
pub fn limit(document: &mut Value) {
    let (everywhere, in_one) = (everywhere(), in_one());
    for (name, schema) in inside(document, "/components/schemas") {
        let is_sent = name.ends_with("Manifest");
        for (property, value) in inside(schema, "/properties") {
            let here = everywhere.iter().filter(|(of, _)| of == property).map(|(_, limits)| limits);
            let only_here = in_one.iter().filter(|(in_schema, of, _)| in_schema == name && of == property);
            here.chain(only_here.map(|(.., limits)| limits)).for_each(|limits| add(value, limits));
            match property.as_str() {
                "labels" => add(value, &labels(is_sent)),
                "aliases" => add(value, &aliases(is_sent)),
                _ => {}
            }
        }
    }
    for (_, item) in inside(document, "/paths") {
        for (_, operation) in inside(item, "") {
            items(operation, "/parameters").for_each(parameter);
            for (_, content) in inside(operation, "/requestBody/content") {
                if content["schema"]["type"] == "array" {
                    add(&mut content["schema"], &json!({"minItems": 1, "maxItems": MAX_DOCUMENTS}));
                }
            }
        }
    }
}

/// Adds keywords to a schema of the type that they are about.
fn add(schema: &mut Value, limits: &Value) {
    if schema.get("type").is_none() {
        return;
    }
    if let (Some(schema), Some(limits)) = (schema.as_object_mut(), limits.as_object()) {
        schema.extend(limits.clone());
    }
}

fn nullable(schema: Value, is_sent: bool) -> Value {
    if is_sent { with_null(&schema) } else { schema }
}

/// Labels of a manifest can be `null`, which counts as absent.
fn labels(is_sent: bool) -> Value {
    let value = json!({"type": "string", "maxLength": MAX_LABEL_VALUE_BYTES, "pattern": PRINTABLE});
    json!({
        "maxProperties": MAX_LABELS,
        "propertyNames": {"type": "string", "pattern": LABEL_KEY_PATTERN},
        "additionalProperties": nullable(value, is_sent),
    })
}

fn aliases(is_sent: bool) -> Value {
    let one = json!({"type": "string", "minLength": 1, "maxLength": Alias::MAX_LENGTH_BYTES});
    let mut choices = vec![one.clone(), json!({"type": "array", "items": one, "maxItems": MAX_ALIASES})];
    choices.extend(is_sent.then(|| json!({"type": "null"})));
    json!({
        "propertyNames": {"type": "string", "pattern": "^[a-z0-9-]+$"},
        "additionalProperties": {"oneOf": choices},
    })
}

/// Adds the limits to a parameter.
fn parameter(parameter: &mut Value) {
    let limits = match (parameter["in"].as_str(), parameter["name"].as_str()) {
        (Some("query"), Some("limit")) => {
            json!({"minimum": 1, "maximum": MAX_PAGE_ITEMS, "default": DEFAULT_PAGE_ITEMS})
        }
        (Some("query"), Some("wait_seconds" | "wait")) => {
            json!({"minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0})
        }
        (Some("query"), Some("since" | "until" | "created_from" | "created_before")) => json!({"format": "date-time"}),
        (Some("query"), Some("label")) => json!({"maxItems": MAX_LABELS}),
        (Some("query"), Some("purged" | "follow" | "dry_run" | "partial")) => json!({"default": false}),
        (Some("query"), Some("after" | "q" | "region" | "organization_id" | "correlation_id")) => {
            json!({"minLength": 1})
        }
        (Some("path"), Some("version")) => json!({"minimum": 1}),
        (Some("path"), Some("organization_id")) => id(),
        (Some("path"), _) => json!({"minLength": 1}),
        // One `*`, or tags of which none is empty.
        (Some("header"), Some("If-Match")) => {
            json!({"pattern": r"^(\*|[^,*]*[^,*\s][^,*]*(,[^,*]*[^,*\s][^,*]*)*)$"})
        }
        (Some("header"), Some("Idempotency-Key")) => {
            json!({"minLength": 1, "maxLength": idempotency::MAX_KEY_LENGTH_BYTES})
        }
        _ => return,
    };
    add(&mut parameter["schema"], &limits);
}
