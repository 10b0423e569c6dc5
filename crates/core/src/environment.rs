//! Environments of a tenant: dev, stage, prod.

use crate::ids::{EnvironmentId, TenantId};
use crate::json::Object;
use crate::tenant::State;
use crate::words::words;
use jiff::Timestamp;
use serde_json::Value;

words!(
    /// Isolation of an environment from other tenants.
    IsolationLevel {
        /// Shares nothing with other tenants.
        Strict = "strict",
        /// Can share a database with other tenants.
        Shared = "shared",
    }
);

/// A row of `environments`.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Id, unique across all tenants.
    pub env_id: EnvironmentId,
    /// Tenant that owns this environment.
    pub tenant_id: TenantId,
    /// Declared name, unique within the tenant.
    pub name: String,
    /// Region in effect.
    pub region: String,
    /// Whether the manifest gives the environment a region of its own. Otherwise it follows the region of the tenant.
    pub region_given: bool,
    /// Isolation from other tenants.
    pub isolation_level: IsolationLevel,
    /// Share of the environment in the quotas of the tenant.
    pub quotas: Object,
    /// Number of days that the data is kept. Defaults to `policies.retentionDays`, which is also its maximum. If
    /// neither is set, data is kept indefinitely.
    pub retention_days: Option<i64>,
    /// Version. It starts at the version of the tenant that adds the environment and increases by one with each
    /// accepted change of the environment.
    pub version: i64,
    /// State of the tenant when a job last changed the environment.
    pub state: State,
    /// Time at which a job provisioned the environment; `None` if it is not provisioned yet.
    pub provisioned_at: Option<Timestamp>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

/// Version of an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentVersion {
    /// Tenant that owns the environment.
    pub tenant_id: TenantId,
    /// Id of the environment.
    pub env_id: EnvironmentId,
    /// Version number.
    pub version: i64,
    /// Whole entry of the environment in the manifest, canonical.
    pub manifest: Value,
    /// Actor that made the change.
    pub actor: String,
    /// Time at which the version was accepted.
    pub created_at: Timestamp,
}
