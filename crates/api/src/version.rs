//! Kept versions, as they are read.

use crate::viewpoint::Viewpoint;
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
    /// The name of the key, where the actor is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub actor_name: Option<Cow<'a, str>>,
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
    /// The name of the key, where the actor is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub actor_name: Option<Cow<'a, str>>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl<'a> TenantVersion<'a> {
    /// Of a row.
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
    /// Of a row.
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
