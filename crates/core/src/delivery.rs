//! Deliveries: one event for one webhook, and the attempts to send it.

use crate::decision_context::cut;
use crate::event::EventType;
use crate::ids::{AuditId, DeliveryId, TenantId, WebhookId};
use crate::json::sha256_hex;
use crate::webhook::RetryPolicy;
use crate::words::words;
use jiff::Timestamp;
use std::time::Duration;

words!(
    /// State of a delivery.
    DeliveryState {
        /// The receiver has not accepted it yet. It is sent when it is due.
        Waiting = "waiting",
        /// The receiver accepted it.
        Delivered = "delivered",
        /// The retry policy allows no further attempt. It can be sent again.
        Failed = "failed",
    }
);

words!(
    /// Result of one attempt.
    AttemptOutcome {
        /// The receiver answered with a 2xx status.
        Delivered = "delivered",
        /// The receiver did not accept it.
        Failed = "failed",
        /// The receiver answered 410: it wants no further deliveries.
        Gone = "gone",
    }
);

/// A row of `webhook_deliveries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Id, the same in all attempts: the header `webhook-id`. It follows from the event and the webhook.
    pub delivery_id: DeliveryId,
    /// Webhook that receives the event.
    pub webhook_id: WebhookId,
    /// Tenant of the event; `None` for events outside tenants.
    pub tenant_id: Option<TenantId>,
    /// The event.
    pub audit_id: AuditId,
    /// Log position of the event.
    pub position: i64,
    /// Type of the event.
    pub event_type: EventType,
    /// State.
    pub state: DeliveryState,
    /// Number of attempts so far.
    pub attempts: i64,
    /// Number of attempts since the delivery was created or sent again. The retry policy counts these.
    pub tries: i64,
    /// Time of the next attempt while it waits; time of the last change of its state otherwise.
    pub due_at: Timestamp,
    /// HTTP status of the last attempt.
    pub last_status: Option<i64>,
    /// Code of the last attempt's failure.
    pub last_error: Option<String>,
    /// Time of the last attempt.
    pub last_attempt_at: Option<Timestamp>,
    /// When the delivery was created.
    pub created_at: Timestamp,
}

/// A row of `webhook_attempts`: one HTTP request. It is written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Number of the attempt, from 1.
    pub attempt: i64,
    /// Part of the table: see [`slot`].
    pub slot: i64,
    /// Webhook of the delivery.
    pub webhook_id: WebhookId,
    /// Tenant of the event. A purge removes its attempts.
    pub tenant_id: Option<TenantId>,
    /// When it began.
    pub started_at: Timestamp,
    /// Its result.
    pub outcome: AttemptOutcome,
    /// HTTP status, if there was an answer.
    pub status: Option<i64>,
    /// Time until the connection was open, in milliseconds, if a new one was opened.
    pub connect_ms: Option<i64>,
    /// Time of the whole attempt, in milliseconds.
    pub total_ms: i64,
    /// Start of the answer's body.
    pub answer_start: String,
    /// Code of the failure.
    pub error: Option<String>,
    /// The failure in words.
    pub detail: Option<String>,
    /// When the next attempt is due, if there is one.
    pub next_at: Option<Timestamp>,
}

/// Longest time for which a receiver can ask for a pause with `Retry-After`.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(6 * 3600);

/// What a receiver answered to one attempt, as far as the next attempt depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Result.
    pub outcome: AttemptOutcome,
    /// HTTP status.
    pub status: Option<i64>,
    /// Code of the failure.
    pub error: Option<String>,
    /// Pause that the receiver asked for.
    pub retry_after: Option<Duration>,
}

impl Delivery {
    /// Returns the delivery after an attempt that ended at `now`. `random` is a number from 0 to 1.
    #[must_use]
    pub fn after(&self, answered: &Answered, policy: &RetryPolicy, now: Timestamp, random: f64) -> Self {
        let (attempts, tries) = (self.attempts + 1, self.tries + 1);
        let pause = match answered.outcome {
            AttemptOutcome::Delivered | AttemptOutcome::Gone => None,
            AttemptOutcome::Failed => policy.pause(u32::try_from(tries).unwrap_or(u32::MAX), random),
        };
        // A receiver can ask for a longer pause than the policy has, within a limit; never for a shorter one.
        let pause =
            pause.map(|pause| answered.retry_after.map_or(pause, |asked| pause.max(asked.min(MAX_RETRY_AFTER))));
        let state = match (answered.outcome, pause) {
            (AttemptOutcome::Delivered, _) => DeliveryState::Delivered,
            (_, Some(_)) => DeliveryState::Waiting,
            (_, None) => DeliveryState::Failed,
        };
        Self {
            state,
            attempts,
            tries,
            due_at: pause.and_then(|pause| now.checked_add(pause).ok()).map_or(now, cut),
            last_status: answered.status,
            last_error: answered.error.clone(),
            last_attempt_at: Some(now),
            ..self.clone()
        }
    }
}

/// Prefix of the id of a delivery.
pub const DELIVERY_PREFIX: &str = "dlv_";

/// Number of digits of an id that identify the webhook.
const WEBHOOK_DIGITS: usize = 24;

/// Returns the id of the delivery of an event to a webhook: the id of the event, so that ids sort by time, then a digest
/// of the webhook's id. The same event for the same webhook has the same id whoever computes it, and so exists once.
pub fn delivery_id(audit_id: &AuditId, webhook_id: &WebhookId) -> DeliveryId {
    let event = audit_id.as_str().trim_start_matches(crate::decision_context::AUDIT_PREFIX);
    let digest = sha256_hex(&[webhook_id.as_str().as_bytes()]);
    DeliveryId::known(format!("{DELIVERY_PREFIX}{event}_{}", &digest[..WEBHOOK_DIGITS]))
}

/// Returns the least id that a delivery of an event at `time` or later can have.
pub fn least_delivery_id(time: Timestamp) -> DeliveryId {
    let millis = time.as_millisecond().max(0);
    DeliveryId::known(format!("{DELIVERY_PREFIX}{millis:012x}"))
}

/// Number of parts of the table of attempts. One part holds the attempts of one week; the parts are used in turn.
pub const SLOTS: i64 = 16;

/// Maximum time for which attempts can be kept: two parts are always empty or being emptied.
pub const MAX_RETENTION_DAYS: u32 = 98;

const SECONDS_PER_SLOT: i64 = 7 * 24 * 3600;

/// Returns the part of the table for attempts at this time.
pub fn slot(time: Timestamp) -> i64 {
    time.as_second().div_euclid(SECONDS_PER_SLOT).rem_euclid(SLOTS)
}

/// Returns the parts that must be empty: those that hold no attempt of the last `retention_days` days, except for the
/// next one, which is in use soon.
pub fn expired_slots(now: Timestamp, retention_days: u32) -> Vec<i64> {
    let week = now.as_second().div_euclid(SECONDS_PER_SLOT);
    let oldest = (now.as_second() - i64::from(retention_days) * 24 * 3600).div_euclid(SECONDS_PER_SLOT);
    let kept: Vec<_> = (oldest..=week).map(|week| week.rem_euclid(SLOTS)).collect();
    let next = (week + 1).rem_euclid(SLOTS);
    (0..SLOTS).filter(|slot| !kept.contains(slot) && *slot != next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn must_give_each_event_one_id_per_webhook_that_sorts_by_time() {
        let time = at("2026-11-30T00:00:00Z");
        let event = AuditId::known(format!("aud_{:012x}7abc8def0123456789ab", time.as_millisecond()));
        let (one, other) = (WebhookId::known("whk_1"), WebhookId::known("whk_2"));
        let id = delivery_id(&event, &one);
        assert_eq!(id, delivery_id(&event, &one));
        assert_ne!(id, delivery_id(&event, &other));
        assert!(id.as_str().len() <= 64, "{id}");
        assert!(least_delivery_id(time) <= id && id < least_delivery_id(at("2026-11-30T00:00:00.001Z")));
    }

    #[test]
    fn must_keep_the_attempts_of_the_last_days_and_empty_each_part_before_it_is_used_again() {
        let now = at("2026-11-30T12:00:00Z");
        for days in [1, 30, MAX_RETENTION_DAYS] {
            let expired = expired_slots(now, days);
            for day in 0..=i64::from(days) {
                let then = now - jiff::SignedDuration::from_hours(24 * day);
                assert!(!expired.contains(&slot(then)), "{days} {day}");
            }
            assert!(!expired.contains(&slot(now + jiff::SignedDuration::from_hours(24 * 7))), "{days}");
            let beyond = slot(now + jiff::SignedDuration::from_hours(24 * 14));
            assert!(expired.contains(&beyond) || days == MAX_RETENTION_DAYS, "{days}");
        }
    }
}
