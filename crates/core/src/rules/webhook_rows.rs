//! Rows and events of webhooks, as all rules build them.

use crate::decision_context::DecisionContext;
use crate::event::{Event, EventType};
use crate::manifest::WebhookManifest;
use crate::webhook::{Webhook, WebhookOwner};
use serde_json::json;

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
