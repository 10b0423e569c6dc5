//! The tables of the record.

use super::value::{Corrupt, Field, Type, Value};
use super::{Record, Table, described};
use jiff::Timestamp;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::environment::{Environment, EnvironmentVersion, IsolationLevel};
use tenancy_core::hold::{Held, Hold};
use tenancy_core::ids::{
    Alias, CorrelationId, EnvironmentId, HoldId, JobId, KeyId, OrganizationId, TenantId, WebhookId, WebhookName,
};
use tenancy_core::job::{Job, JobState, Step};
use tenancy_core::json::Object;
use tenancy_core::lifecycle::Action;
use tenancy_core::organization::{Caps, Organization};
use tenancy_core::rules::organizations::caps_document;
use tenancy_core::tenant::{DesiredState, Labels, Profile, State, Tenant, TenantVersion};
use tenancy_core::webhook::Webhook;

described!(
    /// Organizations.
    Organization as ORGANIZATIONS "organizations" [organization_id] {
        organization_id: OrganizationId,
        display_name: Option<String>,
        labels: Labels,
        caps: Caps,
        version: i64,
        counter: i64,
        settled_counter: i64,
        created_at: Timestamp,
        updated_at: Timestamp,
        closed_at: Option<Timestamp>,
    }
);

/// A row of `organization_usage`: what an organization's tenants are in sum after some commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Whose.
    pub organization_id: OrganizationId,
    /// One more than the row before; the newest counts.
    pub serial: i64,
    /// How many tenants.
    pub tenants: i64,
    /// Sums of quotas.
    pub quotas: BTreeMap<String, i64>,
}

described!(
    /// Usage of organizations.
    UsageRow as ORGANIZATION_USAGE "organization_usage" [organization_id, serial] {
        organization_id: OrganizationId,
        serial: i64,
        tenants: i64,
        quotas: BTreeMap<String, i64>,
    }
);

described!(
    /// Tenants.
    Tenant as TENANTS "tenants" [tenant_id] {
        tenant_id: TenantId,
        organization_id: OrganizationId,
        display_name: Option<String>,
        profile: Profile,
        state: State,
        desired_state: Option<DesiredState>,
        region: String,
        labels: Labels,
        quotas: Object,
        policies: Object,
        billing: Object,
        deletion_protection: bool,
        version: i64,
        counter: i64,
        created_at: Timestamp,
        updated_at: Timestamp,
        state_since: Timestamp,
        provisioned_at: Option<Timestamp>,
        archived_at: Option<Timestamp>,
        purge_after: Option<Timestamp>,
        purged_at: Option<Timestamp>,
    }
);

/// Says whether what is kept of a tenant has changed since it was read: everything that belongs to the tenant moves its
/// version or its counter, what its organization holds moves the organization's counter. (How far an open job is moves
/// neither.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Whose.
    pub tenant_id: TenantId,
    /// The tenant's version.
    pub version: i64,
    /// The tenant's counter.
    pub counter: i64,
    /// Its organization's counter.
    pub organization_counter: i64,
}

described!(
    /// Stamps of tenants: one look at two rows. Not a join: while tables are small, it would begin at another index.
    Stamp as STAMPS "(SELECT t.tenant_id, t.version, t.counter, (SELECT o.counter FROM organizations o WHERE o.organization_id = t.organization_id) AS organization_counter FROM tenants t) AS stamps" [tenant_id] {
        tenant_id: TenantId,
        version: i64,
        counter: i64,
        organization_counter: i64,
    }
);

described!(
    /// Kept versions of tenants.
    TenantVersion as TENANT_VERSIONS "tenant_versions" [tenant_id, version] {
        tenant_id: TenantId,
        version: i64,
        manifest: Json,
        actor: String,
        correlation_id: CorrelationId,
        created_at: Timestamp,
    }
);

described!(
    /// Environments.
    Environment as ENVIRONMENTS "environments" [env_id] {
        env_id: EnvironmentId,
        tenant_id: TenantId,
        name: String,
        region: String,
        isolation_level: IsolationLevel,
        quotas: Object,
        retention_days: Option<i64>,
        version: i64,
        state: State,
        provisioned_at: Option<Timestamp>,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
);

described!(
    /// Kept versions of environments.
    EnvironmentVersion as ENVIRONMENT_VERSIONS "environment_versions" [tenant_id, env_id, version] {
        tenant_id: TenantId,
        env_id: EnvironmentId,
        version: i64,
        manifest: Json,
        actor: String,
        created_at: Timestamp,
    }
);

/// A hold as it stands in its row: on a tenant or on an organization.
struct HoldRow {
    hold_id: HoldId,
    tenant_id: Option<TenantId>,
    organization_id: Option<OrganizationId>,
    kind: String,
    reason: Option<String>,
    placed_by: String,
    until: Option<Timestamp>,
    created_at: Timestamp,
}

described!(
    /// Holds.
    HoldRow as HOLDS "holds" [hold_id] {
        hold_id: HoldId,
        tenant_id: Option<TenantId>,
        organization_id: Option<OrganizationId>,
        kind: String,
        reason: Option<String>,
        placed_by: String,
        until: Option<Timestamp>,
        created_at: Timestamp,
    }
);

impl Record for Hold {
    const TABLE: &'static Table = HOLDS;

    fn values(&self) -> Vec<Value> {
        let (tenant_id, organization_id) = match &self.held {
            Held::Tenant(id) => (Some(id.clone()), None),
            Held::Organization(id) => (None, Some(id.clone())),
        };
        let row = HoldRow {
            hold_id: self.hold_id.clone(),
            tenant_id,
            organization_id,
            kind: self.kind.clone(),
            reason: self.reason.clone(),
            placed_by: self.placed_by.clone(),
            until: self.until,
            created_at: self.created_at,
        };
        row.values()
    }

    fn from_values(values: Vec<Value>) -> Result<Self, Corrupt> {
        let row = HoldRow::from_values(values)?;
        let held = match (row.tenant_id, row.organization_id) {
            (Some(id), None) => Held::Tenant(id),
            (None, Some(id)) => Held::Organization(id),
            _ => return Err(Corrupt("a hold stands on a tenant or on an organization".to_owned())),
        };
        Ok(Self {
            hold_id: row.hold_id,
            held,
            kind: row.kind,
            reason: row.reason,
            placed_by: row.placed_by,
            until: row.until,
            created_at: row.created_at,
        })
    }
}

/// A row of `aliases`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRow {
    /// `kind:value`.
    pub alias: Alias,
    /// Where it leads.
    pub tenant_id: TenantId,
    /// Since when.
    pub created_at: Timestamp,
}

described!(
    /// Aliases.
    AliasRow as ALIASES "aliases" [alias] {
        alias: Alias,
        tenant_id: TenantId,
        created_at: Timestamp,
    }
);

described!(
    /// Webhooks, but for their secrets, which are never read back.
    Webhook as TENANT_WEBHOOKS "tenant_webhooks" [webhook_id] {
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

described!(
    /// Jobs.
    Job as TENANT_JOBS "tenant_jobs" [job_id] {
        job_id: JobId,
        tenant_id: TenantId,
        action: Action,
        state: JobState,
        progress: f64,
        logs: String,
        steps: Vec<Step>,
        waiting_for: Option<String>,
        due_at: Timestamp,
        attempt: i64,
        lease_holder: Option<String>,
        lease_epoch: i64,
        error_code: Option<String>,
        error: Option<String>,
        correlation_id: CorrelationId,
        requested_by: String,
        created_at: Timestamp,
        updated_at: Timestamp,
        finished_at: Option<Timestamp>,
    }
);

described!(
    /// Stored answers.
    IdempotencyRecord as IDEMPOTENCY_RECORDS "idempotency_records" [digest] {
        digest: String,
        request_digest: String,
        status: i64,
        headers: Object,
        body: String,
        created_at: Timestamp,
        expires_at: Timestamp,
    }
);

described!(
    /// API keys.
    ApiKey as API_KEYS "api_keys" [key_id] {
        key_id: KeyId,
        name: String,
        role: Role,
        token_digest: String,
        version: i64,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
        revoked_at: Option<Timestamp>,
    }
);

/// Caps as they are written in a manifest.
impl Field for Caps {
    const TYPE: Type = Type::Json;

    fn put(&self) -> Value {
        caps_document(self).put()
    }

    fn take(value: Value) -> Result<Self, Corrupt> {
        // Most have none, and they are read in every batch.
        if matches!(&value, Value::Text(text) if text == "{}") {
            return Ok(Self::default());
        }
        let object = Object::take(value)?;
        let quotas = object.get("quotas").and_then(Json::as_object).into_iter().flatten();
        Ok(Self {
            tenants: object.get("tenants").and_then(Json::as_i64),
            quotas: quotas.filter_map(|(name, value)| Some((name.clone(), value.as_i64()?))).collect(),
        })
    }
}
