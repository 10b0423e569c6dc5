//! Webhooks as a manifest declares them. Secrets and deliveries are not kept yet.

use crate::ids::{TenantId, WebhookId, WebhookName};
use crate::json::Object;
use jiff::Timestamp;

/// Longest URL, in bytes.
pub const MAX_URL_LENGTH_BYTES: usize = 2048;

/// A row of `tenant_webhooks`.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Unique everywhere.
    pub webhook_id: WebhookId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Unique within the tenant.
    pub name: WebhookName,
    /// Where events go.
    pub url: String,
    /// Event types; one may end in `*`.
    pub events: Vec<String>,
    /// `backoff` and `max_retries`.
    pub retry_policy: Object,
    /// When it was first accepted.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}
