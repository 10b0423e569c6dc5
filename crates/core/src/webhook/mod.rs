//! Webhooks: endpoints of a tenant, of an organization, or of the platform, that receive events.

mod retry_policy;
mod secret;
mod url;

pub use retry_policy::{
    Backoff, DEFAULT_JITTER, DEFAULT_MAX_RETRIES, MAX_BASE_SECONDS, MAX_PAUSE_SECONDS, MAX_RETRIES, RetryPolicy,
};
pub use secret::{
    DEFAULT_OVERLAP_SECONDS, MAX_LIVE_SECRETS, MAX_OVERLAP_SECONDS, MAX_SECRET_BYTES, MAX_SECRET_LENGTH_BYTES,
    MIN_SECRET_BYTES, SECRET_PREFIX, Secret, Secrets,
};
pub use url::{MAX_URL_LENGTH_BYTES, bad_url, masked};

use crate::event::matches;
use crate::ids::{OrganizationId, TenantId, WebhookId, WebhookName};
use crate::json::Object;
use crate::words::words;
use jiff::Timestamp;

/// Default time limit of one attempt, in seconds.
pub const DEFAULT_TIMEOUT_SECONDS: i64 = 15;
/// Maximum time limit of one attempt, in seconds.
pub const MAX_TIMEOUT_SECONDS: i64 = 30;
/// Default number of attempts that run at the same time for one webhook.
pub const DEFAULT_MAX_IN_FLIGHT: i64 = 8;
/// Maximum number of attempts that run at the same time for one webhook.
pub const MAX_IN_FLIGHT: i64 = 64;
/// Maximum value of `max_per_second`. Without `max_per_second`, only `max_in_flight` limits the rate.
pub const MAX_PER_SECOND: i64 = 1000;

words!(
    /// Format of the requests that a webhook receives.
    Format {
        /// Standard Webhooks 1.0: the body has `type`, `timestamp` and `data`.
        Standard = "standard",
        /// CloudEvents 1.0 in structured mode. The headers are those of Standard Webhooks.
        CloudEvents = "cloudevents",
    }
);

/// Owner of a webhook: decides which events it receives and which of their fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WebhookOwner {
    /// The platform: all events, with all fields.
    Platform,
    /// An organization: its own events and those of its tenants, with the fields that a customer reads.
    Organization(OrganizationId),
    /// A tenant: its own events, with the fields that a customer reads.
    Tenant(TenantId),
}

impl WebhookOwner {
    /// Returns the tenant, if a tenant is the owner.
    pub fn tenant_id(&self) -> Option<&TenantId> {
        match self {
            Self::Tenant(id) => Some(id),
            Self::Platform | Self::Organization(_) => None,
        }
    }

    /// Returns the organization, if an organization is the owner.
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        match self {
            Self::Organization(id) => Some(id),
            Self::Platform | Self::Tenant(_) => None,
        }
    }

    /// Returns the name of a webhook with its organization, if an organization is the owner.
    pub fn full_name(&self, name: &WebhookName) -> String {
        self.organization_id().map_or_else(|| name.to_string(), |id| format!("{id}/{name}"))
    }

    /// Returns the tenant under whose data key the secrets are encrypted; empty for the key of the platform.
    pub fn key_owner(&self) -> &str {
        self.tenant_id().map_or("", TenantId::as_str)
    }
}

/// A row of `tenant_webhooks` or of `platform_webhooks`, without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Id, unique across all owners.
    pub webhook_id: WebhookId,
    /// Owner. It never changes.
    pub owner: WebhookOwner,
    /// Name, unique within the owner.
    pub name: WebhookName,
    /// URL that receives the events.
    pub url: String,
    /// Event types. An entry may end in `*`.
    pub events: Vec<String>,
    /// Retry policy as it was given. [`RetryPolicy::of`] adds the defaults.
    pub retry_policy: Object,
    /// Maximum number of attempts per second; `None` for no limit.
    pub max_per_second: Option<i64>,
    /// Maximum number of attempts at the same time; `None` for [`DEFAULT_MAX_IN_FLIGHT`].
    pub max_in_flight: Option<i64>,
    /// Time limit of one attempt, in seconds; `None` for [`DEFAULT_TIMEOUT_SECONDS`].
    pub timeout_seconds: Option<i64>,
    /// Format of the requests.
    pub format: Format,
    /// Whether the owner wants the webhook to receive events.
    pub enabled: bool,
    /// Time at which the server disabled the webhook. It stays disabled until a caller enables it.
    pub disabled_at: Option<Timestamp>,
    /// Why the server disabled the webhook.
    pub disabled_cause: Option<String>,
    /// Version of a row of `platform_webhooks`. It is 1 for a webhook of a tenant, which changes with the version of the
    /// tenant.
    pub version: i64,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl Webhook {
    /// Returns the name that is unique among the webhooks of organizations and of the platform: `acme/main` for an
    /// organization, `main` for the platform.
    pub fn full_name(&self) -> String {
        self.owner.full_name(&self.name)
    }

    /// Whether the webhook receives events: its owner wants it, and the server has not disabled it.
    pub fn is_on(&self) -> bool {
        self.enabled && self.disabled_at.is_none()
    }

    /// Whether the webhook subscribes to an event type.
    pub fn subscribes(&self, event_type: &str) -> bool {
        self.events.iter().any(|pattern| matches(pattern, event_type))
    }

    /// Returns the maximum number of attempts at the same time.
    pub fn in_flight(&self) -> i64 {
        self.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT)
    }

    /// Returns the time limit of one attempt, in seconds.
    pub fn timeout(&self) -> i64 {
        self.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS)
    }
}

/// Returns the identity under which the secrets of a webhook are encrypted.
pub fn secret_row(webhook_id: &WebhookId) -> String {
    format!("webhook/{webhook_id}/secret")
}
