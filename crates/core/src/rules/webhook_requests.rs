//! Requests about what a webhook receives: send a delivery again, send events since a time again, send a test message. Each is
//! an event, and the dispatcher does what the event says when it reads it. So a request that was answered is carried out,
//! whatever happens to the server.

use crate::changes::Changes;
use crate::decision_context::DecisionContext;
use crate::delivery::AttemptOutcome;
use crate::event::{Event, EventType};
use crate::ids::DeliveryId;
use crate::webhook::Webhook;
use crate::words::words;
use jiff::Timestamp;
use serde_json::{Value, json};

words!(
    /// What a request changes about a replay.
    ReplayChange {
        /// It begins.
        Begun = "begun",
        /// It makes no further deliveries.
        Paused = "paused",
        /// It goes on.
        Continued = "continued",
    }
);

words!(
    /// Which events a replay sends.
    Which {
        /// Every event that the webhook subscribes to.
        All = "all",
        /// Those that were not delivered.
        Undelivered = "undelivered",
    }
);

/// Requests that a delivery is sent again.
pub fn resend(webhook: &Webhook, delivery: &DeliveryId, context: &mut DecisionContext) -> Changes {
    changes(webhook, EventType::WebhookResend, json!({"delivery_id": delivery}), context)
}

/// Requests that events since a time are sent again.
pub fn begin_replay(webhook: &Webhook, since: Timestamp, which: Which, context: &mut DecisionContext) -> Changes {
    let payload = json!({"change": ReplayChange::Begun, "since": since, "which": which});
    changes(webhook, EventType::WebhookReplay, payload, context)
}

/// Requests that a replay is paused or continued.
pub fn pause_replay(webhook: &Webhook, is_paused: bool, context: &mut DecisionContext) -> Changes {
    let change = if is_paused { ReplayChange::Paused } else { ReplayChange::Continued };
    changes(webhook, EventType::WebhookReplay, json!({"change": change}), context)
}

/// Records that a test message was sent.
pub fn tested(
    webhook: &Webhook,
    (outcome, status, error): (AttemptOutcome, Option<u16>, Option<&str>),
    context: &mut DecisionContext,
) -> Changes {
    let mut payload = json!({"outcome": outcome});
    if let Some(status) = status {
        payload["status"] = json!(status);
    }
    if let Some(error) = error {
        payload["error"] = json!(error);
    }
    changes(webhook, EventType::WebhookTested, payload, context)
}

fn changes(webhook: &Webhook, event_type: EventType, mut payload: Value, context: &mut DecisionContext) -> Changes {
    payload["webhook_id"] = json!(webhook.webhook_id);
    payload["name"] = json!(webhook.name);
    if let Some(id) = webhook.owner.organization_id() {
        payload["organization_id"] = json!(id);
    }
    Changes::new(Event::new(context, webhook.owner.tenant_id(), event_type, payload))
}
