//! Reads the entry of a webhook.

use super::document::WebhookManifest;
use crate::document::{Fields, Findings, shown};
use crate::error::Error;
use crate::event::{EventType, is_pattern};
use crate::ids::WebhookName;
use crate::json::{Object, Pointer};
use crate::nearest::nearest;
use crate::webhook::{
    Backoff, Format, MAX_BASE_SECONDS, MAX_IN_FLIGHT, MAX_PAUSE_SECONDS, MAX_PER_SECOND, MAX_RETRIES,
    MAX_TIMEOUT_SECONDS, MAX_URL_LENGTH_BYTES, bad_url,
};
use serde_json::Value;

/// Maximum number of event patterns of a webhook.
pub const MAX_EVENTS: usize = 64;

/// Reads a whole document that declares one webhook.
///
/// # Errors
/// [`Error::Invalid`] with all violations.
pub fn parse(document: &Value) -> Result<WebhookManifest, Error> {
    let mut findings = Findings::default();
    let entry = webhook(document, Pointer::root(), &mut findings);
    findings.finish(entry).map(|(entry, _)| entry)
}

pub(crate) fn webhook(document: &Value, at: Pointer, findings: &mut Findings) -> Option<WebhookManifest> {
    let mut fields = Fields::of(document, at, findings)?;
    fields.required("name", "name is required", findings);
    let name = fields.name("name", findings, WebhookName::parse);
    let url = fields.required_text("url", MAX_URL_LENGTH_BYTES, findings);
    if let Some(bad) = url.as_deref().and_then(bad_url) {
        findings.bad(&fields.at("url"), "bad_url", bad);
    }
    let events = events(&mut fields, findings);
    let retry_policy = retry_policy(&mut fields, findings);
    let max_per_second = fields.integer("max_per_second", 1..=MAX_PER_SECOND, findings);
    let max_in_flight = fields.integer("max_in_flight", 1..=MAX_IN_FLIGHT, findings);
    let timeout_seconds = fields.integer("timeout_seconds", 1..=MAX_TIMEOUT_SECONDS, findings);
    let format = fields.word("format", Format::WORDS, findings).unwrap_or(Format::Standard);
    let enabled = fields.flag("enabled", findings).unwrap_or(true);
    // Not a known field, so that no list of fields names it.
    if document.get("secret").is_some() && fields.value("secret").is_some() {
        let message = "is not part of a manifest: the server makes the secret; rotate the webhook to get or give one";
        findings.bad(&fields.at("secret"), "unknown_field", message);
    }
    fields.no_others(findings);
    Some(WebhookManifest {
        name: name?,
        url: url?,
        events,
        retry_policy,
        max_per_second,
        max_in_flight,
        timeout_seconds,
        format,
        enabled,
    })
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

/// Reads `jitter`, a number from 0 to 1, and keeps it as it was written.
fn jitter(policy: &mut Fields<'_>, findings: &mut Findings) -> Option<Value> {
    let value = policy.value("jitter")?;
    if value.as_f64().is_some_and(|number| (0.0..=1.0).contains(&number)) {
        return Some(value.clone());
    }
    let code = if value.is_number() { "out_of_range" } else { "wrong_type" };
    findings.bad(&policy.at("jitter"), code, format!("must be a number from 0 to 1, not {}", shown(value)));
    None
}

fn retry_policy(fields: &mut Fields<'_>, findings: &mut Findings) -> Object {
    let at = fields.at("retry_policy");
    let Some(value) = fields.value("retry_policy") else { return Object::new() };
    let Some(mut policy) = Fields::of(value, at, findings) else { return Object::new() };
    let mut kept = Object::new();
    let mut keep = |name: &str, value: Option<Value>| value.map(|value| kept.insert(name.to_owned(), value));
    let backoff = policy.word("backoff", Backoff::WORDS, findings);
    keep("backoff", backoff.map(|backoff| Value::from(backoff.as_str())));
    let base = policy.integer("base_seconds", 1..=MAX_BASE_SECONDS, findings);
    let most = policy.integer("max_seconds", 1..=MAX_PAUSE_SECONDS, findings);
    if let (Some(base), Some(most)) = (base, most)
        && base > most
    {
        let message = format!("must be at least base_seconds, which is {base}, not {most}");
        findings.bad(&policy.at("max_seconds"), "out_of_range", message);
    }
    keep("base_seconds", base.map(Value::from));
    keep("max_seconds", most.map(Value::from));
    keep("max_retries", policy.integer("max_retries", 0..=MAX_RETRIES, findings).map(Value::from));
    keep("jitter", jitter(&mut policy, findings));
    policy.no_others(findings);
    kept
}
