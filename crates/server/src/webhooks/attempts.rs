//! One attempt: sends a message once, and says what that makes of its delivery.

use super::deliverer::Deliverer;
use super::sending::{self, Attempt, Exchange, Message, Target};
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::delivery::{
    Answered, AttemptOutcome, Delivery, DeliveryAttempt, DeliveryState, MAX_RETRY_AFTER, slot,
};
use tenancy_core::lane::Lane;
use tenancy_core::webhook::{RetryPolicy, Secret, WebhookOwner};
use tenancy_store::endpoints::Endpoint;
use tenancy_store::upkeep::Outcome;

/// Why there is no message to send. The delivery fails without further attempts; a resend tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMessage {
    /// The event is no longer in the log.
    Expired,
    /// The event cannot be read.
    Unreadable,
}

impl NoMessage {
    const ALL: [Self; 2] = [Self::Expired, Self::Unreadable];

    /// Code of the attempt.
    fn code(self) -> &'static str {
        match self {
            Self::Expired => "event_expired",
            Self::Unreadable => "event_unreadable",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::Expired => "the event has expired from the audit log, so that nothing was sent",
            Self::Unreadable => {
                "the event in the audit log cannot be read, so that nothing was sent; see GET /v1/audit"
            }
        }
    }
}

/// Sends a message to a webhook once.
pub(crate) async fn exchange(deliverer: &Deliverer, endpoint: &Endpoint, message: &Message, now: Timestamp) -> Attempt {
    let webhook = &endpoint.webhook;
    let secrets: Vec<Secret> = endpoint.secrets.live(now).cloned().collect();
    let target = Target {
        url: &webhook.url,
        is_platform: webhook.owner == WebhookOwner::Platform,
        timeout: Duration::from_secs(u64::try_from(webhook.timeout()).unwrap_or(1)),
        secrets: &secrets,
        format: webhook.format,
    };
    deliverer.transport.send(target, message, now).await
}

/// The result without a message.
pub fn not_made(why: NoMessage) -> Attempt {
    Attempt {
        outcome: sending::Outcome::Failed,
        status: None,
        connect_ms: None,
        total_ms: 0,
        answer_start: String::new(),
        retry_after: None,
        error: Some(why.code()),
        detail: Some(why.detail().to_owned()),
        request: Exchange::default(),
    }
}

/// Counts an attempt in its lane, and returns its result.
pub fn judge(
    lane: &mut Lane,
    policy: &RetryPolicy,
    (before, started_at, attempt): (&Delivery, Timestamp, &Attempt),
    now: Timestamp,
) -> Outcome {
    let outcome = match attempt.outcome {
        sending::Outcome::Delivered => AttemptOutcome::Delivered,
        sending::Outcome::Failed => AttemptOutcome::Failed,
        sending::Outcome::Gone => AttemptOutcome::Gone,
    };
    let answered = Answered {
        outcome,
        status: attempt.status.map(i64::from),
        error: attempt.error.map(str::to_owned),
        retry_after: attempt.retry_after,
    };
    let is_not_made = NoMessage::ALL.iter().any(|why| attempt.error == Some(why.code()));
    let policy = if is_not_made { RetryPolicy { max_retries: 0, ..policy.clone() } } else { policy.clone() };
    let delivery = before.after(&answered, &policy, now, random());
    match outcome {
        AttemptOutcome::Delivered => lane.succeeded(now),
        _ if is_not_made => {}
        _ => {
            let status = attempt.status.map(|status| status.to_string());
            let what = status.or_else(|| answered.error.clone()).unwrap_or_default();
            lane.failed(now, what, attempt.retry_after.map(|asked| asked.min(MAX_RETRY_AFTER)));
        }
    }
    let next_at = (delivery.state == DeliveryState::Waiting).then_some(delivery.due_at);
    let attempt = DeliveryAttempt {
        delivery_id: delivery.delivery_id.clone(),
        attempt: delivery.attempts,
        slot: slot(started_at),
        webhook_id: delivery.webhook_id.clone(),
        tenant_id: delivery.tenant_id.clone(),
        started_at,
        outcome,
        status: answered.status,
        connect_ms: attempt.connect_ms.map(i64::from),
        total_ms: attempt.total_ms.into(),
        answer_start: attempt.answer_start.clone(),
        error: answered.error,
        detail: attempt.detail.clone(),
        next_at,
    };
    Outcome { lease_epoch: lane.lease_epoch, was_due_at: before.due_at, delivery, attempt }
}

/// Returns a random number from 0 to 1.
fn random() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}
