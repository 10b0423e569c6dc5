//! Rows and events of webhooks, as all rules build them.

use crate::decision_context::DecisionContext;
use crate::event::{Event, EventType};
use crate::manifest::WebhookManifest;
use crate::webhook::{Webhook, WebhookOwner};
use serde_json::json;

/// What a manifest does to one webhook of an owner.
pub(super) enum Step {
    /// It is new.
    Added(Webhook),
    /// Its entry differs: the webhook after the change, still with the version from before.
    Changed(Webhook),
    /// The manifest has no entry of its name.
    Removed(Webhook),
}

/// Matches the webhooks of an owner with the entries of a manifest by name. Returns the webhooks after the change, in the
/// order of the entries, and what is to be written, removals first.
pub(super) fn matched(
    owner: &WebhookOwner,
    before: &[Webhook],
    entries: &[WebhookManifest],
    context: &mut DecisionContext,
) -> (Vec<Webhook>, Vec<Step>) {
    let removed = before.iter().filter(|webhook| !entries.iter().any(|entry| entry.name == webhook.name));
    let mut steps: Vec<_> = removed.cloned().map(Step::Removed).collect();
    let mut after = Vec::with_capacity(entries.len());
    for entry in entries {
        let webhook = match before.iter().find(|webhook| webhook.name == entry.name) {
            Some(known) if &WebhookManifest::of(known) == entry => known.clone(),
            Some(known) => {
                let webhook = changed(known, entry, context);
                steps.push(Step::Changed(webhook.clone()));
                webhook
            }
            None => {
                let webhook = new(owner.clone(), entry, context);
                steps.push(Step::Added(webhook.clone()));
                webhook
            }
        };
        after.push(webhook);
    }
    (after, steps)
}

/// Builds a new webhook.
pub(super) fn new(owner: WebhookOwner, entry: &WebhookManifest, context: &mut DecisionContext) -> Webhook {
    Webhook {
        webhook_id: context.webhook_id(),
        owner,
        name: entry.name.clone(),
        url: entry.url.clone(),
        events: entry.events.clone(),
        retry_policy: entry.retry_policy.clone(),
        max_per_second: entry.max_per_second,
        max_in_flight: entry.max_in_flight,
        timeout_seconds: entry.timeout_seconds,
        format: entry.format,
        enabled: entry.enabled,
        disabled_at: None,
        disabled_cause: None,
        version: 1,
        created_at: context.now,
        updated_at: context.now,
    }
}

/// Builds the webhook after a change of its manifest entry. What is not in the manifest stays.
pub(super) fn changed(before: &Webhook, entry: &WebhookManifest, context: &DecisionContext) -> Webhook {
    Webhook {
        url: entry.url.clone(),
        events: entry.events.clone(),
        retry_policy: entry.retry_policy.clone(),
        max_per_second: entry.max_per_second,
        max_in_flight: entry.max_in_flight,
        timeout_seconds: entry.timeout_seconds,
        format: entry.format,
        enabled: entry.enabled,
        updated_at: context.now,
        ..before.clone()
    }
}

/// Builds the event of a change of a webhook. It belongs to the owner of the webhook.
pub fn event(webhook: &Webhook, change: &str, context: &mut DecisionContext) -> Event {
    let mut payload = json!({"webhook_id": webhook.webhook_id, "name": webhook.name, "change": change});
    if let Some(id) = webhook.owner.organization_id() {
        payload["organization_id"] = json!(id);
    }
    Event::new(context, webhook.owner.tenant_id(), EventType::WebhookUpdated, payload)
}
