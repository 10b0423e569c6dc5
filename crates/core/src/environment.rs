//! An environment of a tenant: dev, stage, prod.

use crate::ids::{EnvironmentId, TenantId};
use crate::json::Object;
use crate::tenant::State;
use crate::words::words;
use jiff::Timestamp;
use serde_json::Value;

words!(
    /// How far an environment is isolated from other tenants'.
    IsolationLevel {
        /// Nothing shared with other tenants.
        Strict = "strict",
        /// May share a database with other tenants.
        Shared = "shared",
    }
);

/// A row of `environments`.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Unique everywhere.
    pub env_id: EnvironmentId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Declared, unique within the tenant.
    pub name: String,
    /// Where.
    pub region: String,
    /// How far isolated.
    pub isolation_level: IsolationLevel,
    /// Its share of the tenant's quotas.
    pub quotas: Object,
    /// How long its data is kept. Left out: the tenant's `policies.retentionDays`, or else without end.
    pub retention_days: Option<i64>,
    /// Begins at its tenant's when it is added; up by one per accepted change of this environment.
    pub version: i64,
    /// Its tenant's, as of the last job that touched it.
    pub state: State,
    /// When it was provisioned; `None`: a job has yet to.
    pub provisioned_at: Option<Timestamp>,
    /// When it was first accepted.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

/// A kept version of an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentVersion {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which environment.
    pub env_id: EnvironmentId,
    /// Which version.
    pub version: i64,
    /// The environment's whole entry in the manifest, canonical.
    pub manifest: Value,
    /// Who had it accepted.
    pub actor: String,
    /// When.
    pub created_at: Timestamp,
}
