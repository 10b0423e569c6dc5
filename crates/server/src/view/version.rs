//! Kept versions, as they are read.

use serde::Serialize;
use serde_json::Value;
use tenancy_core::Timestamp;
use tenancy_core::environment::EnvironmentVersion;
use tenancy_core::ids::{CorrelationId, EnvironmentId, TenantId};
use tenancy_core::tenant::TenantVersion;
use utoipa::ToSchema;

/// A kept version of a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantVersion)]
pub struct TenantVersionView<'a> {
    /// Whose.
    #[schema(value_type = String)]
    pub tenant_id: &'a TenantId,
    /// Which.
    pub version: i64,
    /// The whole manifest that was accepted.
    #[schema(value_type = Object)]
    pub manifest: &'a Value,
    /// Who had it accepted.
    pub actor: &'a str,
    /// In which request.
    #[schema(value_type = String)]
    pub correlation_id: &'a CorrelationId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A kept version of an environment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnvironmentVersion)]
pub struct EnvironmentVersionView<'a> {
    /// Whose.
    #[schema(value_type = String)]
    pub tenant_id: &'a TenantId,
    /// Which environment.
    #[schema(value_type = String)]
    pub env_id: &'a EnvironmentId,
    /// Which version.
    pub version: i64,
    /// The environment's whole entry that was accepted.
    #[schema(value_type = Object)]
    pub manifest: &'a Value,
    /// Who had it accepted.
    pub actor: &'a str,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl<'a> TenantVersionView<'a> {
    /// Of a row.
    pub fn of(version: &'a TenantVersion) -> Self {
        Self {
            tenant_id: &version.tenant_id,
            version: version.version,
            manifest: &version.manifest,
            actor: &version.actor,
            correlation_id: &version.correlation_id,
            created_at: version.created_at,
        }
    }
}

impl<'a> EnvironmentVersionView<'a> {
    /// Of a row.
    pub fn of(version: &'a EnvironmentVersion) -> Self {
        Self {
            tenant_id: &version.tenant_id,
            env_id: &version.env_id,
            version: version.version,
            manifest: &version.manifest,
            actor: &version.actor,
            created_at: version.created_at,
        }
    }
}
