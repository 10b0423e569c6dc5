//! Deliveries of a webhook: read them, send one or many again, send a test message.

use super::{Found, Of, get};
use crate::authentication::Caller;
use crate::operations::{Command, Decided};
use crate::tenancy::Tenancy;
use crate::webhooks::attempts::exchange;
use crate::webhooks::deliverer::Deliverer;
use crate::webhooks::places::Party;
use crate::webhooks::sending::{Attempt, Message, Outcome};
use bytes::Bytes;
use jiff::SignedDuration;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::delivery::{AttemptOutcome, Delivery, DeliveryAttempt, DeliveryState, delivery_id};
use tenancy_core::ids::{DeliveryId, WebhookId};
use tenancy_core::json::Pointer;
use tenancy_core::lane::Lane;
use tenancy_core::rules::webhook_requests::{Which, begin_replay, pause_replay, resend, tested};
use tenancy_core::webhook::Webhook;
use tenancy_core::{Error, Timestamp, Violation};
use tenancy_store::page::{DeliveryFilter, Listed, Page};
use tokio::sync::OnceCell;

/// Type of a test message.
pub const PING: &str = "WEBHOOK_TEST";

/// Time within which a test message must get a place among the requests of its owner; otherwise the caller tries again.
const PLACE_WITHIN: Duration = Duration::from_secs(5);

/// Number up to which waiting deliveries are counted.
const MAX_COUNTED: usize = 10_000;
/// The same for each webhook of a list.
const MAX_COUNTED_OF_EACH: usize = 1_000;

/// Returns a page of the deliveries of a webhook, those of the newest events first.
///
/// # Errors
/// [`Error::NotFound`] if the webhook does not exist for the caller.
pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    (of, webhook): (&Of, &str),
    filter: &DeliveryFilter,
    page: &Page,
) -> Result<Listed<Delivery>, Error> {
    let found = get(tenancy, caller, of, webhook).await?;
    tenancy.store.deliveries(&found.webhook.webhook_id, filter, page).await
}

/// Returns a delivery of a webhook with its attempts, the newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(
    tenancy: &Tenancy,
    caller: &Caller,
    (of, webhook): (&Of, &str),
    id: &str,
) -> Result<(Delivery, Vec<DeliveryAttempt>), Error> {
    let found = get(tenancy, caller, of, webhook).await?;
    let id = DeliveryId::known(id);
    let delivery = tenancy.store.delivery(&found.webhook.webhook_id, &id).await?;
    let delivery = delivery.ok_or_else(|| Error::not_found("delivery", id.as_str()))?;
    let attempts = tenancy.store.delivery_attempts(&id).await?;
    Ok((delivery, attempts))
}

/// Returns the lane of a webhook, and the number of deliveries that wait.
///
/// # Errors
/// [`Error::NotFound`] if the webhook does not exist for the caller.
pub async fn status(
    tenancy: &Tenancy,
    caller: &Caller,
    (of, webhook): (&Of, &str),
) -> Result<(Option<Lane>, i64), Error> {
    let found = get(tenancy, caller, of, webhook).await?;
    let id = &found.webhook.webhook_id;
    let waiting = tenancy.store.count_deliveries(id, DeliveryState::Waiting, MAX_COUNTED).await?;
    Ok((tenancy.store.lane(id).await?, waiting))
}

/// Returns the lanes of webhooks that were found, of those that had deliveries, each with the number of deliveries that
/// wait. Two queries, however many webhooks there are.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn statuses(tenancy: &Tenancy, webhooks: &[Found]) -> Result<HashMap<WebhookId, (Lane, i64)>, Error> {
    let ids: Vec<_> = webhooks.iter().map(|found| found.webhook.webhook_id.clone()).collect();
    let waiting = tenancy.store.waiting_deliveries(&ids, MAX_COUNTED_OF_EACH).await?;
    let lanes = tenancy.store.lanes(&ids).await?.into_iter();
    let counted = lanes.map(|lane| {
        let waiting = waiting.get(&lane.webhook_id).copied().unwrap_or_default();
        (lane.webhook_id.clone(), (lane, waiting))
    });
    Ok(counted.collect())
}

/// Sends a delivery again, whatever its state.
#[derive(Debug)]
pub struct Resend {
    /// Owner of the webhook.
    pub of: Of,
    /// Name or id of the webhook.
    pub webhook: String,
    /// Id of the delivery.
    pub delivery: String,
}

impl Command for Resend {
    type Outcome = Delivery;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Delivery>, Error> {
        let found = get(tenancy, caller, &self.of, &self.webhook).await?;
        let id = DeliveryId::known(&self.delivery);
        let known = tenancy.store.delivery(&found.webhook.webhook_id, &id).await?;
        let known = known.ok_or_else(|| Error::not_found("delivery", id.as_str()))?;
        must_be_on(&found.webhook)?;
        let outcome = Delivery { state: DeliveryState::Waiting, due_at: context.now, ..known };
        Ok(Decided { outcome, changes: Some(resend(&found.webhook, &id, context)) })
    }
}

/// Nothing is sent to a webhook that is disabled.
fn must_be_on(webhook: &Webhook) -> Result<(), Error> {
    if webhook.is_on() {
        return Ok(());
    }
    Err(Error::NotNow(format!("webhook {} is disabled: enable it first", webhook.full_name())))
}

/// Sends events again, or pauses or continues that.
#[derive(Debug)]
pub struct Replay {
    /// Owner of the webhook.
    pub of: Of,
    /// Name or id of the webhook.
    pub webhook: String,
    /// What to do.
    pub what: ReplayChange,
    /// How far back deliveries are kept.
    pub retention_days: u32,
}

/// What to do about a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayChange {
    /// Sends events since a time again.
    Begin(Timestamp, Which),
    /// Pauses the replay in progress, or continues it.
    Pause(bool),
}

impl Command for Replay {
    type Outcome = ();

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<()>, Error> {
        let webhook = get(tenancy, caller, &self.of, &self.webhook).await?.webhook;
        let changes = match self.what {
            ReplayChange::Begin(since, which) => {
                let oldest = SignedDuration::from_hours(24 * i64::from(self.retention_days));
                let wrong = if since > context.now {
                    Some("lies in the future".to_owned())
                } else if context.now.duration_since(since) > oldest {
                    let days = self.retention_days;
                    Some(format!("lies too far back: deliveries are kept for {days} days (webhooks.retention_days)"))
                } else {
                    None
                };
                if let Some(wrong) = wrong {
                    let at = Pointer::root().key("since");
                    return Err(Error::Invalid(vec![Violation::at(&at, "out_of_range", wrong)]));
                }
                must_be_on(&webhook)?;
                begin_replay(&webhook, since, which, context)
            }
            ReplayChange::Pause(is_paused) => {
                let lane = tenancy.store.lane(&webhook.webhook_id).await?;
                if lane.is_none_or(|lane| lane.replay_position.is_none()) {
                    let what = format!("webhook {} has no replay in progress", webhook.full_name());
                    return Err(Error::NotNow(what));
                }
                pause_replay(&webhook, is_paused, context)
            }
        };
        Ok(Decided { outcome: (), changes: Some(changes) })
    }
}

/// Sends a test message now.
pub struct Ping {
    /// Owner of the webhook.
    pub of: Of,
    /// Name or id of the webhook.
    pub webhook: String,
    /// Sends it.
    pub deliverer: Arc<Deliverer>,
    /// What was sent: once, also if the record of it is decided again.
    pub sent: OnceCell<Attempt>,
}

impl Command for Ping {
    type Outcome = Attempt;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Attempt>, Error> {
        let webhook = get(tenancy, caller, &self.of, &self.webhook).await?.webhook;
        let Some(endpoint) = tenancy.store.endpoint(&webhook.webhook_id).await? else {
            return Err(Error::not_found("webhook", &self.webhook));
        };
        let data = json!({"webhook_id": webhook.webhook_id, "name": webhook.name, "occurred_at": context.now});
        let message = Message {
            id: delivery_id(&context.audit_id(), &webhook.webhook_id).to_string(),
            event_type: PING.to_owned(),
            occurred_at: context.now,
            data: Bytes::from(data.to_string()),
            source: "/v1".to_owned(),
        };
        let send = async || {
            // A test message counts as a request of its owner.
            let place = self.deliverer.places.ask(&Party::of(&endpoint.webhook));
            let place = tokio::time::timeout(PLACE_WITHIN, place).await.ok().and_then(Result::ok).ok_or(Error::Busy)?;
            let attempt = exchange(&self.deliverer, &endpoint, &message, context.now).await;
            drop(place);
            Ok::<_, Error>(attempt)
        };
        let attempt = self.sent.get_or_try_init(send).await?.clone();
        let outcome = outcome(&attempt);
        let changes = tested(&webhook, (outcome, attempt.status, attempt.error), context);
        Ok(Decided { outcome: attempt, changes: Some(changes) })
    }
}

/// Returns the word of what an attempt achieved.
pub fn outcome(attempt: &Attempt) -> AttemptOutcome {
    match attempt.outcome {
        Outcome::Delivered => AttemptOutcome::Delivered,
        Outcome::Failed => AttemptOutcome::Failed,
        Outcome::Gone => AttemptOutcome::Gone,
    }
}
