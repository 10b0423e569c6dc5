//! Documents that are sent, as OpenAPI describes them. They are read by core, which knows more rules than a schema can
//! say; a test holds the fields here equal to those that core takes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The declared wish for a tenant with its environments and webhooks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "tenant_id": "acme-eu", "organization_id": "acme", "display_name": "Acme Europe", "profile": "mt-standard",
    "desired_state": "Active", "region": "eu-west-1", "quotas": {"storageGiB": 500},
    "environments": [{"name": "prod", "isolation_level": "strict", "retention_days": 365}]
}))]
pub struct TenantManifest {
    /// The client's choice, `[a-z0-9][a-z0-9-]{0,62}[a-z0-9]`; one is made when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The owner. It must be there already.
    pub organization_id: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// `mt-standard` when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = super::schema::profile)]
    pub profile: Option<String>,
    /// The wish; jobs bring it about. Left out: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = super::schema::desired)]
    pub desired_state: Option<String>,
    /// The home region, declared.
    pub region: String,
    /// Free text to sort tenants by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Names elsewhere that lead to it, by kind: text, or a list of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<BTreeMap<String, Value>>,
    /// Declared quotas are whole numbers; others are kept as they come, with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub quotas: Option<Value>,
    /// `dataResidency`, `encryption`, `retentionDays`, `purgeAfterDays`; others are kept, with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub policies: Option<Value>,
    /// Billing references: `plan` and `costCenter` are texts; others are kept, with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub billing: Option<Value>,
    /// While it stands, the tenant cannot be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_protection: Option<bool>,
    /// Its environments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environments: Option<Vec<EnvironmentManifest>>,
    /// Its webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Vec<WebhookManifest>>,
}

/// An environment's entry in a manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "prod", "region": "eu-west-1", "isolation_level": "strict", "retention_days": 365}))]
pub struct EnvironmentManifest {
    /// Declared, unique within the tenant.
    pub name: String,
    /// The tenant's region when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `strict` when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = super::schema::isolation_level)]
    pub isolation_level: Option<String>,
    /// Its share of the tenant's quotas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub quotas: Option<Value>,
    /// How long its data is kept. Left out: the tenant's `policies.retentionDays`, or else without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i64>,
}

/// A webhook's entry in a manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "main", "url": "https://hooks.acme.example/tenancy", "events": ["TENANCY_*"]}))]
pub struct WebhookManifest {
    /// Unique within the tenant.
    pub name: String,
    /// Where events go.
    pub url: String,
    /// Event types; one may end in `*`.
    pub events: Vec<String>,
    /// `backoff` (`exponential` or `fixed`) and `max_retries`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub retry_policy: Option<Value>,
}

/// The manifest of an organization.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"organization_id": "acme", "display_name": "Acme Corp", "caps": {"tenants": 10}}))]
pub struct OrganizationManifest {
    /// The client's choice, `[a-z0-9][a-z0-9-]{0,62}[a-z0-9]`.
    pub organization_id: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Free text to sort organizations by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// What its tenants may be at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caps: Option<Caps>,
}

/// Caps of an organization; what is left out has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Caps {
    /// The sum of a quota over all its tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quotas: Option<BTreeMap<String, i64>>,
    /// How many tenants; what is not purged counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<i64>,
}

/// What `suspend` says; all of it may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"hold": "billing", "reason": "invoice 4711 is overdue"}))]
pub struct Suspension {
    /// A declared kind of hold; `operator` when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Until when; then it is released of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub until: Option<String>,
}

/// What `activate` says; all of it may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"hold": "billing"}))]
pub struct Activation {
    /// The hold to release; `operator` when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// What a DELETE may say, instead of `If-Match`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"version": 7}))]
pub struct DecidedOn {
    /// The version that it was decided on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

/// What `cancel` says; all of it may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"reason": "the certificate will not come"}))]
pub struct Cancellation {
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A key to make.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "gateway", "role": "viewer"}))]
pub struct KeyRequest {
    /// For people; unique among keys that are not revoked.
    pub name: String,
    /// What it may.
    #[schema(schema_with = super::schema::role)]
    pub role: String,
    /// What its bearer reaches: `all`, `organization:ID` or `tenant:ID`. Defaults to the scope of the key that makes it, which
    /// it cannot exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "organization:acme")]
    pub scope: Option<String>,
    /// From when on it is refused. Defaults to the end of the key that makes it, which it cannot exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// For how long a rotated key takes its former token.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyRotation {
    /// For how long the former token works, in seconds: 0 to 2,592,000; one day when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 86400, minimum = 0, maximum = 2_592_000)]
    pub overlap_seconds: Option<i64>,
}

/// What is revoked with a key.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyRevocation {
    /// Also revoke the keys that it made, and those that these made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_children: Option<bool>,
}
