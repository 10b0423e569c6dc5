//! Webhooks of tenants.

use crate::keyed::ByKey;
use crate::rows::{Check, Column, Corrupt, Record, Table, Type, Value, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::ids::{TenantId, WebhookId, WebhookName};
use tenancy_core::json::Object;
use tenancy_core::webhook::{Format, Webhook, WebhookOwner};

/// Row of a tenant's webhook.
struct WebhookRow {
    webhook_id: WebhookId,
    tenant_id: TenantId,
    name: WebhookName,
    url: String,
    events: Vec<String>,
    retry_policy: Object,
    max_per_second: Option<i64>,
    max_in_flight: Option<i64>,
    timeout_seconds: Option<i64>,
    format: Format,
    enabled: bool,
    disabled_at: Option<Timestamp>,
    disabled_cause: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

described!(
    /// Webhooks, without their secrets and without the position from which they receive events, which have reads of their
    /// own.
    WebhookRow as TABLE "tenant_webhooks" [webhook_id] {
        webhook_id: WebhookId,
        tenant_id: TenantId,
        name: WebhookName,
        url: String,
        events: Vec<String>,
        retry_policy: Object,
        max_per_second: Option<i64>,
        max_in_flight: Option<i64>,
        timeout_seconds: Option<i64>,
        format: Format,
        enabled: bool,
        disabled_at: Option<Timestamp>,
        disabled_cause: Option<String>,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
);

/// The secrets of the same table.
const SECRETS: &Table = &Table {
    name: TABLE.name,
    key: TABLE.key,
    columns: &[
        Column { name: "webhook_id", ty: Type::Text },
        Column { name: "tenant_id", ty: Type::Text },
        Column { name: "secret", ty: Type::Text },
    ],
};

/// Inserts webhooks.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates what the manifest declares.
pub const UPDATE: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &[
        "url",
        "events",
        "retry_policy",
        "max_per_second",
        "max_in_flight",
        "timeout_seconds",
        "format",
        "enabled",
        "updated_at",
    ],
    check: Check::None,
};
/// Updates what the server has found.
pub const UPDATE_STATE: WriteShape =
    WriteShape::Update { table: TABLE, set: &["disabled_at", "disabled_cause", "updated_at"], check: Check::None };
/// Updates the secrets.
pub const SET_SECRETS: WriteShape = WriteShape::Update { table: SECRETS, set: &["secret"], check: Check::None };
/// Deletes webhooks.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// Finds the webhooks of a tenant.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };

impl Record for Webhook {
    const TABLE: &'static Table = TABLE;

    fn values(&self) -> Vec<Value> {
        let row = WebhookRow {
            webhook_id: self.webhook_id.clone(),
            // Rules write webhooks of other owners to the other table.
            tenant_id: self.owner.tenant_id().cloned().unwrap_or_else(|| TenantId::known("")),
            name: self.name.clone(),
            url: self.url.clone(),
            events: self.events.clone(),
            retry_policy: self.retry_policy.clone(),
            max_per_second: self.max_per_second,
            max_in_flight: self.max_in_flight,
            timeout_seconds: self.timeout_seconds,
            format: self.format,
            enabled: self.enabled,
            disabled_at: self.disabled_at,
            disabled_cause: self.disabled_cause.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        row.values()
    }

    fn from_values(values: Vec<Value>) -> Result<Self, Corrupt> {
        let row = WebhookRow::from_values(values)?;
        Ok(Self {
            webhook_id: row.webhook_id,
            owner: WebhookOwner::Tenant(row.tenant_id),
            name: row.name,
            url: row.url,
            events: row.events,
            retry_policy: row.retry_policy,
            max_per_second: row.max_per_second,
            max_in_flight: row.max_in_flight,
            timeout_seconds: row.timeout_seconds,
            format: row.format,
            enabled: row.enabled,
            disabled_at: row.disabled_at,
            disabled_cause: row.disabled_cause,
            version: 1,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
