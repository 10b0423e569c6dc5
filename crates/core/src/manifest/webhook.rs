//! Reads the entry of a webhook.

use super::document::WebhookManifest;
use crate::document::{Fields, Findings, shown};
use crate::event::{EventType, is_pattern};
use crate::ids::WebhookName;
use crate::json::{Object, Pointer};
use crate::nearest::nearest;
use crate::webhook::{MAX_URL_LENGTH_BYTES, bad_url};
use serde_json::Value;

/// Maximum number of event patterns of a webhook.
pub const MAX_EVENTS: usize = 64;

/// Values of `retry_policy.backoff`.
pub const BACKOFFS: [&str; 2] = ["exponential", "fixed"];

/// Maximum value of `retry_policy.max_retries`.
pub const MAX_RETRIES: i64 = 100;

pub(super) fn webhook(document: &Value, at: Pointer, findings: &mut Findings) -> Option<WebhookManifest> {
    let mut fields = Fields::of(document, at, findings)?;
    fields.required("name", "name is required", findings);
    let name = fields.name("name", findings, WebhookName::parse);
    let url = fields.required_text("url", MAX_URL_LENGTH_BYTES, findings);
    if let Some(bad) = url.as_deref().and_then(bad_url) {
        findings.bad(&fields.at("url"), "bad_url", bad);
    }
    let events = events(&mut fields, findings);
    let retry_policy = retry_policy(&mut fields, findings);
    fields.no_others(findings);
    Some(WebhookManifest { name: name?, url: url?, events, retry_policy })
}

fn events(fields: &mut Fields<'_>, findings: &mut Findings) -> Vec<String> {
    let at = fields.at("events");
    let list = fields.list("events", MAX_EVENTS, findings);
    let mut events = Vec::new();
    for (index, value) in list.iter().enumerate() {
        match value.as_str().filter(|pattern| is_pattern(pattern)) {
            Some(pattern) => events.push(pattern.to_owned()),
            None => {
                let near =
                    value.as_str().and_then(|text| nearest(text, EventType::WORDS.iter().map(|(word, _)| *word)));
                let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
                findings.bad(&at.index(index), "unknown_event", format!("{} is not an event type{hint}", shown(value)));
            }
        }
    }
    if fields.is_empty("events") {
        findings.bad(&at, "required", "events is required: at least one event type, such as \"TENANCY_*\"");
    }
    events
}

fn retry_policy(fields: &mut Fields<'_>, findings: &mut Findings) -> Object {
    let at = fields.at("retry_policy");
    let Some(value) = fields.value("retry_policy") else { return Object::new() };
    let Some(mut policy) = Fields::of(value, at, findings) else { return Object::new() };
    let mut kept = Object::new();
    let mut keep = |name: &str, value: Option<Value>| value.map(|value| kept.insert(name.to_owned(), value));
    let words = BACKOFFS.map(|word| (word, word));
    keep("backoff", policy.word("backoff", &words, findings).map(Value::from));
    keep("max_retries", policy.integer("max_retries", 0..=MAX_RETRIES, findings).map(Value::from));
    policy.no_others(findings);
    kept
}
