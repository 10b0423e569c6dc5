//! What a document declares for a webhook.

use crate::operations::documents::desired::{How, with};
use crate::operations::documents::facts::{WEBHOOK, take_version};
use crate::operations::tenants::other_id;
use serde_json::Value;
use tenancy_api::Viewpoint;
use tenancy_api::webhook::OwnedWebhook;
use tenancy_core::json::{Object, Pointer, merge_patch};
use tenancy_core::manifest::{WebhookManifest, parse_webhook};
use tenancy_core::permission::Audience;
use tenancy_core::webhook::{MAX_SECRET_LENGTH_BYTES, Secret};
use tenancy_core::{Error, Timestamp, Violation};

/// Returns the entry that a document declares for the webhook `name`. `known` is the webhook before, with its version.
///
/// # Errors
/// [`Error::Invalid`] with all violations.
pub(super) fn entry(
    document: &Value,
    name: &str,
    known: Option<&super::Found>,
    how: How,
) -> Result<WebhookManifest, Error> {
    let mut sent = object(document)?;
    let mut wrong = other_id("name", name, document);
    wrong.extend(take_version(&mut sent).err());
    if let Some(known) = known {
        wrong.extend(take_facts(&mut sent, known));
    }
    sent.insert("name".to_owned(), Value::String(name.to_owned()));
    let whole = match (known, how) {
        (Some(known), How::Merge) => {
            let mut whole = WebhookManifest::of(&known.webhook).document();
            merge_patch(&mut whole, &Value::Object(sent));
            whole
        }
        _ => Value::Object(sent),
    };
    with(wrong, parse_webhook(&whole))
}

/// Returns the entry of a new webhook and the secret in its document, if it has one.
///
/// # Errors
/// [`Error::Invalid`] with all violations.
pub(super) fn new_entry(document: &Value, now: Timestamp) -> Result<(WebhookManifest, Option<Secret>), Error> {
    let mut sent = object(document)?;
    let secret = take_secret(&mut sent, now);
    let (secret, wrong) = match secret {
        Ok(secret) => (secret, None),
        Err(wrong) => (None, Some(wrong)),
    };
    let entry = with(wrong.into_iter().collect(), parse_webhook(&Value::Object(sent)))?;
    Ok((entry, secret))
}

/// Removes the secret from a document, and reads it.
///
/// # Errors
/// A violation, which does not contain the secret.
pub(super) fn take_secret(document: &mut Object, now: Timestamp) -> Result<Option<Secret>, Violation> {
    let wrong = |message: String| Violation::at(&Pointer::root().key("secret"), "bad_secret", message);
    match document.remove("secret") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_SECRET_LENGTH_BYTES => {
            Secret::parse(&text, now).map(Some).map_err(wrong)
        }
        Some(_) => Secret::parse("", now).map(Some).map_err(wrong),
    }
}

fn object(document: &Value) -> Result<Object, Error> {
    document
        .as_object()
        .cloned()
        .ok_or_else(|| Error::Invalid(vec![Violation::at(&Pointer::root(), "wrong_type", "must be an object")]))
}

fn take_facts(sent: &mut Object, known: &super::Found) -> Vec<Violation> {
    if !WEBHOOK.any_in(sent) {
        return Vec::new();
    }
    let view = OwnedWebhook::of(Viewpoint::unnamed(Audience::Staff), &known.webhook, known.version);
    let current = serde_json::to_value(view).unwrap_or_default();
    let same_moment = sent.get("updated_at").is_none_or(|at| *at == current["updated_at"]);
    WEBHOOK.drop(sent, &current, same_moment, &Pointer::root())
}
