//! Webhooks.

use crate::delivery::WebhookStatus;
use crate::{Viewpoint, Word};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::json::Object;
use tenancy_core::webhook::{self, Format};
use utoipa::ToSchema;

/// Webhook, without its secrets.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Webhook<'a> {
    /// Id of the webhook.
    #[serde(default)]
    #[schema(value_type = String)]
    pub webhook_id: Cow<'a, str>,
    /// Name of the webhook, unique within its owner.
    #[schema(value_type = String)]
    pub name: Cow<'a, str>,
    /// URL that receives the events. A key that can only read sees scheme and host; `/***` stands for the rest.
    #[schema(value_type = String)]
    pub url: Cow<'a, str>,
    /// Event types that the webhook receives. An entry may end in `*`.
    #[schema(value_type = Vec<String>)]
    pub events: Cow<'a, [String]>,
    /// Retry policy, as far as the manifest gives it.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = crate::schema::RetryPolicy)]
    pub retry_policy: Cow<'a, Object>,
    /// Maximum number of attempts per second. Omitted if there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_second: Option<i64>,
    /// Maximum number of attempts at the same time, if the manifest gives it. Defaults to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<i64>,
    /// Time limit of one attempt in seconds, if the manifest gives it. Defaults to 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// Format of the requests.
    #[schema(value_type = crate::schema::WebhookFormat)]
    pub format: Word<Format>,
    /// Whether the owner wants the webhook to receive events.
    pub enabled: bool,
    /// Time at which the server disabled the webhook. It receives no events until a caller enables it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled_at: Option<Timestamp>,
    /// Why the server disabled the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub disabled_cause: Option<Cow<'a, str>>,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Webhook with its owner: a tenant, an organization, or neither for a webhook of the platform.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OwnedWebhook<'a> {
    /// Tenant that owns the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<Cow<'a, str>>,
    /// Organization that owns the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub organization_id: Option<Cow<'a, str>>,
    /// The webhook.
    #[serde(flatten)]
    #[schema(inline)]
    pub webhook: Webhook<'a>,
    /// Version that a change names. A webhook of a tenant has the version of its tenant.
    pub version: i64,
}

/// Webhook in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ListedWebhook<'a> {
    /// The webhook.
    #[serde(flatten)]
    #[schema(inline)]
    pub webhook: OwnedWebhook<'a>,
    /// How deliveries to the webhook go. Omitted unless the request asks for it with `status=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<WebhookStatus<'a>>,
}

/// Webhook after a write that may have made a secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewWebhook<'a> {
    /// The webhook.
    #[serde(flatten)]
    #[schema(inline)]
    pub webhook: OwnedWebhook<'a>,
    /// Secret with which requests are signed: `whsec_` and base64. Only the answer to the request that made or gave the
    /// secret contains it; the answer to a repeated request with the same Idempotency-Key does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub secret: Option<Cow<'a, str>>,
}

impl<'a> Webhook<'a> {
    /// Builds the response from a row.
    pub fn of(viewpoint: Viewpoint<'_>, webhook: &'a webhook::Webhook) -> Self {
        Self {
            webhook_id: webhook.webhook_id.as_str().into(),
            name: webhook.name.as_str().into(),
            url: viewpoint.url(&webhook.url),
            events: Cow::Borrowed(&webhook.events),
            retry_policy: Cow::Borrowed(&webhook.retry_policy),
            max_per_second: webhook.max_per_second,
            max_in_flight: webhook.max_in_flight,
            timeout_seconds: webhook.timeout_seconds,
            format: webhook.format.into(),
            enabled: webhook.enabled,
            disabled_at: webhook.disabled_at,
            disabled_cause: webhook.disabled_cause.as_deref().map(Cow::Borrowed),
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

impl<'a> OwnedWebhook<'a> {
    /// Builds the response from a row and its version.
    pub fn of(viewpoint: Viewpoint<'_>, webhook: &'a webhook::Webhook, version: i64) -> Self {
        Self {
            tenant_id: webhook.owner.tenant_id().map(|id| id.as_str().into()),
            organization_id: webhook.owner.organization_id().map(|id| id.as_str().into()),
            webhook: Webhook::of(viewpoint, webhook),
            version,
        }
    }
}
