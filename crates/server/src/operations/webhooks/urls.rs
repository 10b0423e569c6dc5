//! Checks the URLs of new and changed webhooks against the policy of this server, on every path of a change. The sender
//! checks the addresses again at each attempt.

use crate::tenancy::Tenancy;
use crate::webhooks::sending::check_url;
use tenancy_core::changes::{Changes, Write};
use tenancy_core::json::Pointer;
use tenancy_core::webhook::WebhookOwner;
use tenancy_core::{Error, Violation};

/// Refuses changes with a URL that no request would be sent to.
///
/// # Errors
/// [`Error::Invalid`] with each of them.
pub fn check(tenancy: &Tenancy, changes: &Changes) -> Result<(), Error> {
    let Some(policy) = tenancy.url_policy.get() else { return Ok(()) };
    let at = Pointer::root().key("url");
    let wrong = changes.writes.iter().filter_map(|write| match write {
        Write::InsertWebhook(webhook)
        | Write::UpdateWebhook(webhook)
        | Write::InsertPlatformWebhook(webhook)
        | Write::UpdatePlatformWebhook(webhook) => {
            let wrong = check_url(&webhook.url, webhook.owner == WebhookOwner::Platform, policy).err()?;
            let message = format!("the URL of webhook {} {wrong}", webhook.name);
            Some(Violation::at(&at, "bad_url", message))
        }
        _ => None,
    });
    let wrong: Vec<_> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
}
