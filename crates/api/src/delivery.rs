//! Deliveries of events to webhooks, as responses show them.

use crate::word::Word;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::delivery::{self as core, AttemptOutcome, DeliveryState};
use tenancy_core::event::EventType;
use tenancy_core::lane::Lane;
use utoipa::ToSchema;

/// Delivery of one event to one webhook.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Delivery<'a> {
    /// Id of the delivery: the header `webhook-id`, the same in all attempts.
    #[schema(value_type = String)]
    pub delivery_id: Cow<'a, str>,
    /// Tenant of the event. Omitted for events outside tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<Cow<'a, str>>,
    /// Id of the event.
    #[schema(value_type = String)]
    pub audit_id: Cow<'a, str>,
    /// Log position of the event.
    pub position: i64,
    /// Type of the event.
    #[schema(value_type = crate::schema::EventType)]
    pub event_type: Word<EventType>,
    /// State of the delivery: `waiting`, `delivered` or `failed`.
    #[schema(value_type = crate::schema::DeliveryState)]
    pub state: Word<DeliveryState>,
    /// Number of attempts so far.
    pub attempts: i64,
    /// Time of the next attempt. Omitted unless the delivery waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// Time of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_attempt_at: Option<Timestamp>,
    /// HTTP status of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<i64>,
    /// Code of the failure of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub last_error: Option<Cow<'a, str>>,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl<'a> Delivery<'a> {
    /// Builds the response from a row.
    pub fn of(row: &'a core::Delivery) -> Self {
        Self {
            delivery_id: row.delivery_id.as_str().into(),
            tenant_id: row.tenant_id.as_ref().map(|id| id.as_str().into()),
            audit_id: row.audit_id.as_str().into(),
            position: row.position,
            event_type: row.event_type.into(),
            state: row.state.into(),
            attempts: row.attempts,
            next_attempt_at: (row.state == DeliveryState::Waiting).then_some(row.due_at),
            last_attempt_at: row.last_attempt_at,
            last_status: row.last_status,
            last_error: row.last_error.as_deref().map(Into::into),
            created_at: row.created_at,
        }
    }
}

/// One attempt to send a delivery.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Attempt<'a> {
    /// Number of the attempt, from 1.
    pub attempt: i64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Result: `delivered`, `failed`, or `gone` if the receiver answered 410.
    #[schema(value_type = crate::schema::AttemptOutcome)]
    pub outcome: Word<AttemptOutcome>,
    /// HTTP status, if the receiver answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// Time until the connection was open, in milliseconds. Omitted if an open connection was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<i64>,
    /// Time of the whole attempt, in milliseconds.
    pub total_ms: i64,
    /// Start of the body of the answer.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    #[schema(value_type = String, required = false)]
    pub answer_start: Cow<'a, str>,
    /// Code of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub error: Option<Cow<'a, str>>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub detail: Option<Cow<'a, str>>,
    /// When the next attempt was due after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
}

impl<'a> Attempt<'a> {
    /// Builds the response from a row.
    pub fn of(row: &'a core::DeliveryAttempt) -> Self {
        Self {
            attempt: row.attempt,
            started_at: row.started_at,
            outcome: row.outcome.into(),
            status: row.status,
            connect_ms: row.connect_ms,
            total_ms: row.total_ms,
            answer_start: row.answer_start.as_str().into(),
            error: row.error.as_deref().map(Into::into),
            detail: row.detail.as_deref().map(Into::into),
            next_attempt_at: row.next_at,
        }
    }
}

/// A delivery with its attempts, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeliveryWithAttempts<'a> {
    /// The delivery.
    #[serde(flatten)]
    #[schema(inline)]
    pub delivery: Delivery<'a>,
    /// Its attempts that are kept, at most 200.
    pub log: Vec<Attempt<'a>>,
}

/// How deliveries to a webhook go.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WebhookStatus<'a> {
    /// Number of deliveries that wait, counted up to 10000, in a list of webhooks up to 1000.
    pub waiting: i64,
    /// Time of the last success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_at: Option<Timestamp>,
    /// Time of the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_failure_at: Option<Timestamp>,
    /// The last failure: an HTTP status or a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub last_failure: Option<Cow<'a, str>>,
    /// Since when every attempt fails. The server disables a webhook that fails for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
    /// Until when nothing is sent because too many attempts failed in a row, or because the receiver asked for a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<Timestamp>,
    /// The replay that is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// A replay in progress: events are sent again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Log position up to which deliveries were made.
    pub position: i64,
    /// Last log position.
    pub to: i64,
    /// Whether only events are sent that were not delivered.
    pub only_undelivered: bool,
    /// Whether the replay is paused.
    pub paused: bool,
}

impl<'a> WebhookStatus<'a> {
    /// Builds the response.
    pub fn of(lane: Option<&'a Lane>, waiting: i64, now: Timestamp) -> Self {
        let replay = lane.and_then(|lane| {
            let (position, to) = (lane.replay_position?, lane.replay_to?);
            Some(Replay { position, to, only_undelivered: lane.replay_undelivered, paused: lane.replay_paused })
        });
        Self {
            waiting,
            last_success_at: lane.and_then(|lane| lane.last_success_at),
            last_failure_at: lane.and_then(|lane| lane.last_failure_at),
            last_failure: lane.and_then(|lane| lane.last_failure.as_deref()).map(Into::into),
            failing_since: lane.and_then(|lane| lane.failing_since),
            paused_until: lane.and_then(|lane| lane.open_until).filter(|until| *until > now),
            replay,
        }
    }
}

/// A test message that was sent, and what the receiver answered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WebhookTest<'a> {
    /// Result: `delivered`, `failed`, or `gone` if the receiver answered 410.
    #[schema(value_type = crate::schema::AttemptOutcome)]
    pub outcome: Word<AttemptOutcome>,
    /// Headers of the request.
    pub request_headers: Vec<Header>,
    /// Size of the body of the request, in bytes.
    pub request_body_bytes: usize,
    /// HTTP status, if the receiver answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Time until the connection was open, in milliseconds. Omitted if an open connection was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u32>,
    /// Time of the whole attempt, in milliseconds.
    pub total_ms: u32,
    /// Start of the body of the answer.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    #[schema(value_type = String, required = false)]
    pub answer_start: Cow<'a, str>,
    /// Code of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub error: Option<Cow<'a, str>>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub detail: Option<Cow<'a, str>>,
}

/// A header of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// What to send again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReplayRequest {
    /// Sends the events since this time again. At most as far back as deliveries are kept. Give this or `paused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Whether only events are sent that were not delivered. Defaults to `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_undelivered: Option<bool>,
    /// Pauses the replay that is in progress, or continues it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}
