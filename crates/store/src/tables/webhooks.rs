//! Webhooks of tenants.

use crate::keyed::ByKey;
use crate::rows::{Check, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::ids::{TenantId, WebhookId, WebhookName};
use tenancy_core::json::Object;
use tenancy_core::webhook::Webhook;

described!(
    /// Webhooks, without their secrets, which are never read back.
    Webhook as TABLE "tenant_webhooks" [webhook_id] {
        webhook_id: WebhookId,
        tenant_id: TenantId,
        name: WebhookName,
        url: String,
        events: Vec<String>,
        retry_policy: Object,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
);

/// Inserts webhooks.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates webhooks.
pub const UPDATE: WriteShape =
    WriteShape::Update { table: TABLE, set: &["url", "events", "retry_policy", "updated_at"], check: Check::None };
/// Deletes webhooks.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// Finds the webhooks of a tenant.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };
