//! Checks the URLs of new and changed webhooks against the policy of this server, on every path of a change. The sender
//! checks the addresses again at each attempt.

use crate::tenancy::Tenancy;
use crate::webhooks::sending::check_url;
use serde_json::Value;
use tenancy_core::changes::{Changes, Write};
use tenancy_core::json::Pointer;
use tenancy_core::webhook::WebhookOwner;
use tenancy_core::{Error, Violation};

/// Refuses changes of one webhook with a URL that no request would be sent to.
///
/// # Errors
/// [`Error::Invalid`] with each of them.
pub fn check(tenancy: &Tenancy, changes: &Changes) -> Result<(), Error> {
    check_at(tenancy, changes, |_| Pointer::root().key("url"))
}

/// Same as [`check`] for the changes to what `document` declares, in which webhooks are the entries of a list.
///
/// # Errors
/// [`Error::Invalid`] with each of them.
pub fn check_manifest(tenancy: &Tenancy, changes: &Changes, document: &Value) -> Result<(), Error> {
    let entries = document.get("webhooks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let list = Pointer::root().key("webhooks");
    check_at(tenancy, changes, |name| {
        let place = entries.iter().position(|entry| entry.get("name").and_then(Value::as_str) == Some(name));
        place.map_or_else(|| list.clone(), |index| list.index(index).key("url"))
    })
}

fn check_at(tenancy: &Tenancy, changes: &Changes, at: impl Fn(&str) -> Pointer) -> Result<(), Error> {
    let Some(policy) = tenancy.url_policy.get() else { return Ok(()) };
    let wrong = changes.writes.iter().filter_map(|write| match write {
        Write::InsertWebhook(webhook)
        | Write::UpdateWebhook(webhook)
        | Write::InsertPlatformWebhook(webhook)
        | Write::UpdatePlatformWebhook(webhook) => {
            let wrong = check_url(&webhook.url, webhook.owner == WebhookOwner::Platform, policy).err()?;
            let message = format!("the URL of webhook {} {wrong}", webhook.name);
            Some(Violation::at(&at(webhook.name.as_str()), "bad_url", message))
        }
        _ => None,
    });
    let wrong: Vec<_> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
}
