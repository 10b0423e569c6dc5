//! Webhooks as a manifest declares them. Secrets and deliveries are not implemented yet.

use crate::ids::{TenantId, WebhookId, WebhookName};
use crate::json::Object;
use jiff::Timestamp;

/// Maximum length of a URL, in bytes.
pub const MAX_URL_LENGTH_BYTES: usize = 2048;

/// A row of `tenant_webhooks`.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Id, unique across all tenants.
    pub webhook_id: WebhookId,
    /// Tenant that owns this webhook.
    pub tenant_id: TenantId,
    /// Name, unique within the tenant.
    pub name: WebhookName,
    /// URL that receives the events.
    pub url: String,
    /// Event types. An entry may end in `*`.
    pub events: Vec<String>,
    /// `backoff` and `max_retries`.
    pub retry_policy: Object,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}
