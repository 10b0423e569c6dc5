//! Documents that clients send, as OpenAPI describes them. The core reads them and checks rules that a schema cannot
//! express; a test compares the fields here with the fields that the core reads.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A document of a file of manifests: the fields of an organization or of a tenant, and its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"kind": "Organization", "organization_id": "acme"}))]
pub struct Document {
    /// Kind of the document. A document of kind `List` stands for its `items`.
    #[schema(example = "Tenant")]
    pub kind: String,
    /// Fields of the manifest.
    #[serde(flatten)]
    #[schema(ignore)]
    pub fields: BTreeMap<String, Value>,
}

/// Declares the desired configuration of a tenant, with its environments and webhooks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "tenant_id": "acme-eu", "organization_id": "acme", "display_name": "Acme Europe", "profile": "mt-standard",
    "desired_state": "Active", "region": "eu-west-1", "quotas": {"storageGiB": 500},
    "environments": [{"name": "prod", "isolation_level": "strict", "retention_days": 365}]
}))]
pub struct TenantManifest {
    /// Id of the tenant, chosen by the client: `[a-z0-9][a-z0-9-]{0,62}[a-z0-9]`. If omitted, the server generates one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// Organization that owns the tenant. It must exist.
    pub organization_id: String,
    /// Display name, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Profile of the tenant. Defaults to `mt-standard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::Profile>)]
    pub profile: Option<String>,
    /// State that the tenant should have; jobs bring it about. If omitted, the tenant stays in its current state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::DesiredState>)]
    pub desired_state: Option<String>,
    /// Home region of the tenant; a declared region.
    pub region: String,
    /// Labels: free text by which clients group and filter tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Names of the tenant in other systems, by kind: a text, or a list of texts. Aliases of kind `host` are host names,
    /// without scheme, port and path; they are stored in lower case and in ASCII.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<BTreeMap<String, Value>>,
    /// Quotas. Values of declared quotas are integers; other keys are kept unchanged, with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub quotas: Option<Value>,
    /// Policies: `dataResidency`, `encryption`, `retentionDays`, `purgeAfterDays`. Other keys are kept unchanged, with
    /// a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::Policies>)]
    pub policies: Option<Value>,
    /// Billing references: `plan` and `costCenter` are texts. Other keys are kept unchanged, with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::Billing>)]
    pub billing: Option<Value>,
    /// If true, the tenant cannot be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_protection: Option<bool>,
    /// Environments of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environments: Option<Vec<EnvironmentManifest>>,
    /// Webhooks of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Vec<WebhookManifest>>,
}

/// Declares an environment in the manifest of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "prod", "region": "eu-west-1", "isolation_level": "strict", "retention_days": 365}))]
pub struct EnvironmentManifest {
    /// Name of the environment: a declared name, unique within the tenant.
    pub name: String,
    /// Region of the environment. If omitted, the environment follows the region of the tenant and moves with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Isolation from other tenants. Defaults to `strict`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::IsolationLevel>)]
    pub isolation_level: Option<String>,
    /// Share of the environment in the quotas of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub quotas: Option<Value>,
    /// Number of days that the data is kept. Defaults to policies.retentionDays, which is also its maximum. If neither
    /// is set, data is kept indefinitely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i64>,
}

/// Declares a webhook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "main", "url": "https://hooks.acme.example/tenancy", "events": ["TENANCY_*"]}))]
pub struct WebhookManifest {
    /// Name of the webhook, unique within its owner.
    pub name: String,
    /// URL that receives the events: `https` or `http`, without a user.
    pub url: String,
    /// Event types that the webhook receives. An entry may end in `*`.
    pub events: Vec<String>,
    /// When a failed delivery is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::RetryPolicy>)]
    pub retry_policy: Option<Value>,
    /// Maximum number of attempts per second. No limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_second: Option<i64>,
    /// Maximum number of attempts at the same time. Defaults to 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<i64>,
    /// Time limit of one attempt, in seconds. Defaults to 15.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// Format of the requests: `standard` (Standard Webhooks 1.0), which is the default, or `cloudevents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::WebhookFormat>)]
    pub format: Option<String>,
    /// Whether the webhook receives events. Defaults to `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Declares a webhook to create.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "main", "url": "https://hooks.acme.example/tenancy", "events": ["TENANCY_*"]}))]
pub struct WebhookRequest {
    /// The webhook.
    #[serde(flatten)]
    #[schema(inline)]
    pub webhook: WebhookManifest,
    /// Secret with which requests are signed: `whsec_` and base64 of 24 to 64 random bytes. By default, the server makes one
    /// and returns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Gives a webhook a new secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"overlap_seconds": 3600}))]
pub struct WebhookRotation {
    /// New secret: `whsec_` and base64 of 24 to 64 random bytes. By default, the server makes one and returns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Time during which requests are also signed with the former secrets, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<i64>,
}

/// Declares the desired configuration of an organization, with its webhooks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"organization_id": "acme", "display_name": "Acme Corp", "caps": {"tenants": 10}}))]
pub struct OrganizationManifest {
    /// Id of the organization, chosen by the client: `[a-z0-9][a-z0-9-]{0,62}[a-z0-9]`.
    pub organization_id: String,
    /// Display name, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Labels: free text by which clients group organizations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Caps on the tenants of the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caps: Option<Caps>,
    /// Webhooks of the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Vec<WebhookManifest>>,
}

/// Caps of an organization. If a cap is omitted, there is no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Caps {
    /// Maximum sum of each quota over all tenants of the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quotas: Option<BTreeMap<String, i64>>,
    /// Maximum number of tenants. Tenants that are not purged count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<i64>,
}

/// Declares a placement: a database server or a disk on which the places of environments are made. How the server reaches it,
/// and with which credentials, is in the configuration of the server, under the same name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "disk-1", "place_kind": "sqlite", "region": "eu-west-1", "max_environments": 500}))]
pub struct PlacementManifest {
    /// Name, chosen by the client: `[a-z0-9][a-z0-9-]{0,62}[a-z0-9]`. It never changes.
    pub name: String,
    /// Kind of its places. It never changes.
    #[schema(value_type = crate::schema::PlaceKind)]
    pub place_kind: String,
    /// Region in which its places are. It never changes. An environment is placed only in its own region.
    pub region: String,
    /// Where clients reach its places, if that is not where the server reaches them: a pooler, for example.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Profiles of tenants that it takes. If it is omitted, it takes all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<crate::schema::Profile>>)]
    pub profiles: Option<Vec<String>>,
    /// Isolation levels of environments that it takes. If it is omitted, it takes all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<crate::schema::IsolationLevel>>)]
    pub isolation_levels: Option<Vec<String>>,
    /// Maximum number of environments that have a place on it, 0 to 10,000. If it is omitted, there is no maximum. Required for
    /// `postgres_schema`, at most 2,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_environments: Option<i64>,
    /// Whether it takes no new environments. Those that it has stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cordoned: Option<bool>,
}

/// Where clients reach the places of a placement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// Port.
    pub port: i64,
}

/// Body of `suspend`. All fields are optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"hold": "billing", "reason": "invoice 4711 is overdue"}))]
pub struct Suspension {
    /// Declared kind of hold to place. Defaults to `operator`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Reason, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time at which the server releases the hold. If omitted, the hold has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub until: Option<String>,
}

/// Body of `purge`. All fields are optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"early": true}))]
pub struct Purge {
    /// Purge before the grace period ends. This requires a permission of its own, which admins have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early: Option<bool>,
}

/// Body of `activate`. All fields are optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"hold": "billing"}))]
pub struct Activation {
    /// Kind of the hold to release. Defaults to `operator`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// Body of a DELETE, as an alternative to `If-Match`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"version": 7}))]
pub struct DecidedOn {
    /// Version that the caller has read; the request is refused if the current version differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

/// Body of `cancel`. All fields are optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"reason": "the certificate will not come"}))]
pub struct Cancellation {
    /// Reason, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Body of `connection`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"reason": "ticket 4711: an invoice is missing", "access": "read_only"}))]
pub struct Connecting {
    /// Why the caller connects, for people. Required.
    pub reason: String,
    /// What the connection may do: `full` or `read_only`. Defaults to `read_only`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// Time for which a login of PostgreSQL is valid, in seconds: 60 to 604,800. Defaults to 3,600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<i64>,
}

/// API key to create.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"name": "gateway", "role": "viewer"}))]
pub struct KeyRequest {
    /// Name of the key, unique among keys that are not revoked.
    pub name: String,
    /// Role of the key: the operations that it permits.
    #[schema(value_type = crate::schema::Role)]
    pub role: String,
    /// Scope of the key: `all`, `organization:ID` or `tenant:ID`. Defaults to the scope of the key that creates it,
    /// which it cannot exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "organization:acme")]
    pub scope: Option<String>,
    /// Time from which the key is refused. Defaults to the expiry of the key that creates it, which it cannot exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// Body of `rotate`.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyRotation {
    /// Time during which the previous token remains valid, in seconds: 0 to 2,592,000. Defaults to one day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 86400)]
    pub overlap_seconds: Option<i64>,
}

/// Body of `revoke`.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyRevocation {
    /// Also revoke the keys that were created by this key, directly or indirectly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_children: Option<bool>,
}
