//! Webhooks of organizations and of the platform.

use crate::current_rows::{Read, columns};
use crate::rows::{Check, Column, Corrupt, Field, Record, Table, Type, Value, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::ids::{OrganizationId, WebhookId, WebhookName};
use tenancy_core::json::Object;
use tenancy_core::webhook::{Format, Webhook, WebhookOwner};

/// Webhook of an organization or of the platform, as a row of this table.
pub struct PlatformWebhook(pub Webhook);

/// Row of such a webhook.
struct WebhookRow {
    webhook_id: WebhookId,
    organization_id: Option<OrganizationId>,
    name: WebhookName,
    full_name: String,
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
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

described!(
    /// Webhooks, without their secrets and without the position from which they receive events, which have reads of their
    /// own.
    WebhookRow as TABLE "platform_webhooks" [webhook_id] {
        webhook_id: WebhookId,
        organization_id: Option<OrganizationId>,
        name: WebhookName,
        full_name: String,
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
        version: i64,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
);

/// The secrets of the same table.
const SECRETS: &Table = &Table {
    name: TABLE.name,
    key: TABLE.key,
    columns: &[Column { name: "webhook_id", ty: Type::Text }, Column { name: "secret", ty: Type::Text }],
};

/// Inserts webhooks.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates everything but the owner and the name.
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
        "disabled_at",
        "disabled_cause",
        "version",
        "updated_at",
    ],
    check: Check::OneLess("version"),
};
/// Updates the secrets.
pub const SET_SECRETS: WriteShape = WriteShape::Update { table: SECRETS, set: &["secret"], check: Check::None };
/// Deletes webhooks.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// Reads the versions of webhooks that are changed.
pub const CURRENT: Read = Read {
    columns: "webhook_id, version",
    table: "platform_webhooks",
    key: "webhook_id",
    and: "",
    lock: true,
    types: &[Type::Text, Type::Int],
    keys: |needs| &needs.webhooks,
    put: |found, row| {
        let [id, version] = columns(row)?;
        found.webhooks.insert(WebhookId::take(id)?, i64::take(version)?);
        Ok(())
    },
};

/// Reads the names that are taken.
pub const CURRENT_NAMES: Read = Read {
    columns: "full_name",
    table: "platform_webhooks",
    key: "full_name",
    and: "",
    lock: false,
    types: &[Type::Text],
    keys: |needs| &needs.webhook_names,
    put: |found, row| {
        let [name] = columns(row)?;
        found.webhook_names.insert(String::take(name)?);
        Ok(())
    },
};

impl Record for PlatformWebhook {
    const TABLE: &'static Table = TABLE;

    fn values(&self) -> Vec<Value> {
        let webhook = &self.0;
        let row = WebhookRow {
            webhook_id: webhook.webhook_id.clone(),
            organization_id: webhook.owner.organization_id().cloned(),
            name: webhook.name.clone(),
            full_name: webhook.full_name(),
            url: webhook.url.clone(),
            events: webhook.events.clone(),
            retry_policy: webhook.retry_policy.clone(),
            max_per_second: webhook.max_per_second,
            max_in_flight: webhook.max_in_flight,
            timeout_seconds: webhook.timeout_seconds,
            format: webhook.format,
            enabled: webhook.enabled,
            disabled_at: webhook.disabled_at,
            disabled_cause: webhook.disabled_cause.clone(),
            version: webhook.version,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        };
        row.values()
    }

    fn from_values(values: Vec<Value>) -> Result<Self, Corrupt> {
        let row = WebhookRow::from_values(values)?;
        Ok(Self(Webhook {
            webhook_id: row.webhook_id,
            owner: row.organization_id.map_or(WebhookOwner::Platform, WebhookOwner::Organization),
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
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }))
    }
}
