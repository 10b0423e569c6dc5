//! Webhooks of tenants.

use crate::keyed::ByKey;
use crate::rows::{Check, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::ids::{TenantId, WebhookId, WebhookName};
use tenancy_core::json::Object;
use tenancy_core::webhook::Webhook;

described!(
    /// Webhooks, but for their secrets, which are never read back.
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

/// New webhooks.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Webhooks that change.
pub const UPDATE: WriteShape =
    WriteShape::Update { table: TABLE, set: &["url", "events", "retry_policy", "updated_at"], check: Check::None };
/// Webhooks that go.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// The webhooks of a tenant.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };
