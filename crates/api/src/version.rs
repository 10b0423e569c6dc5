//! Versions of manifests as responses show them.

use crate::viewpoint::Viewpoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::{environment, tenant};
use utoipa::ToSchema;

/// Version of a tenant: a manifest that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TenantVersion<'a> {
    /// Id of the tenant.
    #[schema(value_type = String)]
    pub tenant_id: Cow<'a, str>,
    /// Version number.
    pub version: i64,
    /// Whole manifest that was accepted.
    #[schema(value_type = Object)]
    pub manifest: Cow<'a, Value>,
    /// Actor that made the change: `kind:subject`.
    #[schema(value_type = String)]
    pub actor: Cow<'a, str>,
    /// Name of the key, if the actor is a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub actor_name: Option<Cow<'a, str>>,
    /// Correlation id of the request.
    #[schema(value_type = String)]
    pub correlation_id: Cow<'a, str>,
    /// Time at which the version was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Version of an environment: an entry of a manifest that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentVersion<'a> {
    /// Tenant that owns the environment.
    #[schema(value_type = String)]
    pub tenant_id: Cow<'a, str>,
    /// Id of the environment.
    #[schema(value_type = String)]
    pub env_id: Cow<'a, str>,
    /// Version number.
    pub version: i64,
    /// Whole entry of the environment in the manifest that was accepted.
    #[schema(value_type = Object)]
    pub manifest: Cow<'a, Value>,
    /// Actor that made the change: `kind:subject`.
    #[schema(value_type = String)]
    pub actor: Cow<'a, str>,
    /// Name of the key, if the actor is a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub actor_name: Option<Cow<'a, str>>,
    /// Time at which the version was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl<'a> TenantVersion<'a> {
    /// Builds the response from a row.
    pub fn of(viewpoint: Viewpoint<'_>, version: &'a tenant::TenantVersion) -> Self {
        let (actor, actor_name) = viewpoint.actor(&version.actor);
        Self {
            tenant_id: version.tenant_id.as_str().into(),
            version: version.version,
            manifest: viewpoint.manifest(&version.manifest),
            actor,
            actor_name,
            correlation_id: version.correlation_id.as_str().into(),
            created_at: version.created_at,
        }
    }
}

impl<'a> EnvironmentVersion<'a> {
    /// Builds the response from a row.
    pub fn of(viewpoint: Viewpoint<'_>, version: &'a environment::EnvironmentVersion) -> Self {
        let (actor, actor_name) = viewpoint.actor(&version.actor);
        Self {
            tenant_id: version.tenant_id.as_str().into(),
            env_id: version.env_id.as_str().into(),
            version: version.version,
            manifest: Cow::Borrowed(&version.manifest),
            actor,
            actor_name,
            created_at: version.created_at,
        }
    }
}
