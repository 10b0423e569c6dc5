//! What follows when a webhook fails for long: warnings, and the server disables it.

use super::Decision;
use super::change_builder::ChangeBuilder;
use crate::changes::{Changes, Guard, Write};
use crate::decision_context::DecisionContext;
use crate::declared::Declared;
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::snapshot::TenantSnapshot;
use crate::webhook::Webhook;
use serde_json::{Value, json};

/// What the server does about a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// Warns: this percentage of the time is over after which the webhook is disabled.
    Warn(i64),
    /// Disables it for this reason.
    Disable(&'static str),
}

/// Cause of a webhook that failed for too long.
pub const FAILED_FOR_LONG: &str = "failed_for_long";
/// Cause of a webhook whose receiver answered 410.
pub const GONE: &str = "gone";

/// Decides on a webhook of an organization or of the platform.
pub fn of_platform(webhook: &Webhook, measure: &Measure, context: &mut DecisionContext) -> Option<Changes> {
    if !webhook.is_on() {
        return None;
    }
    let (event_type, payload) = event(webhook, measure);
    let mut changes = Changes::new(Event::new(context, None, event_type, payload));
    changes.guard(Guard::WebhookAt(webhook.webhook_id.clone(), webhook.version));
    if let Measure::Disable(cause) = measure {
        let version = webhook.version + 1;
        changes.write(Write::UpdatePlatformWebhook(Webhook { version, ..disabled(webhook, cause, context) }));
    }
    Some(changes)
}

/// Decides on a webhook of a tenant. A webhook that is disabled already stays as it is.
///
/// # Errors
/// None today.
pub fn of_tenant(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    webhook: &Webhook,
    measure: &Measure,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    let current = snapshot.webhooks.iter().position(|other| other.webhook_id == webhook.webhook_id);
    if let Some(index) = current.filter(|index| snapshot.webhooks[*index].is_on()) {
        let (event_type, payload) = event(webhook, measure);
        builder.event(event_type, payload, Value::Null);
        if let Measure::Disable(cause) = measure {
            let after = disabled(&snapshot.webhooks[index], cause, builder.context);
            builder.writes.push(Write::UpdateWebhookState(after.clone()));
            builder.snapshot.webhooks[index] = after;
            builder.facts_changed = true;
        }
    }
    builder.finish(Vec::new())
}

fn disabled(webhook: &Webhook, cause: &str, context: &DecisionContext) -> Webhook {
    Webhook {
        disabled_at: Some(context.now),
        disabled_cause: Some(cause.to_owned()),
        updated_at: context.now,
        ..webhook.clone()
    }
}

fn event(webhook: &Webhook, measure: &Measure) -> (EventType, Value) {
    let mut payload = json!({"webhook_id": webhook.webhook_id, "name": webhook.name});
    if let Some(id) = webhook.owner.organization_id() {
        payload["organization_id"] = json!(id);
    }
    match measure {
        Measure::Warn(percent) => {
            payload["percent"] = json!(percent);
            (EventType::WebhookFailing, payload)
        }
        Measure::Disable(cause) => {
            payload["cause"] = json!(cause);
            (EventType::WebhookDisabled, payload)
        }
    }
}
