//! Kept versions, as they are read.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::{environment, tenant};
use utoipa::ToSchema;

/// A kept version of a tenant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TenantVersion<'a> {
    /// Whose.
    #[schema(value_type = String)]
    pub tenant_id: Cow<'a, str>,
    /// Which.
    pub version: i64,
    /// The whole manifest that was accepted.
    #[schema(value_type = Object)]
    pub manifest: Cow<'a, Value>,
    /// Who had it accepted.
    #[schema(value_type = String)]
    pub actor: Cow<'a, str>,
    /// In which request.
    #[schema(value_type = String)]
    pub correlation_id: Cow<'a, str>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A kept version of an environment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentVersion<'a> {
    /// Whose.
    #[schema(value_type = String)]
    pub tenant_id: Cow<'a, str>,
    /// Which environment.
    #[schema(value_type = String)]
    pub env_id: Cow<'a, str>,
    /// Which version.
    pub version: i64,
    /// The environment's whole entry that was accepted.
    #[schema(value_type = Object)]
    pub manifest: Cow<'a, Value>,
    /// Who had it accepted.
    #[schema(value_type = String)]
    pub actor: Cow<'a, str>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl<'a> TenantVersion<'a> {
    /// Of a row.
    pub fn of(version: &'a tenant::TenantVersion) -> Self {
        Self {
            tenant_id: version.tenant_id.as_str().into(),
            version: version.version,
            manifest: Cow::Borrowed(&version.manifest),
            actor: version.actor.as_str().into(),
            correlation_id: version.correlation_id.as_str().into(),
            created_at: version.created_at,
        }
    }
}

impl<'a> EnvironmentVersion<'a> {
    /// Of a row.
    pub fn of(version: &'a environment::EnvironmentVersion) -> Self {
        Self {
            tenant_id: version.tenant_id.as_str().into(),
            env_id: version.env_id.as_str().into(),
            version: version.version,
            manifest: Cow::Borrowed(&version.manifest),
            actor: version.actor.as_str().into(),
            created_at: version.created_at,
        }
    }
}
