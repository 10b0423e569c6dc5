//! Environments, as they are read.

use crate::word::Word;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::environment::{self as core, IsolationLevel};
use tenancy_core::json::Object;
use tenancy_core::tenant::State;
use utoipa::ToSchema;

/// An environment, as it stands in its tenant's answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentEntry<'a> {
    /// Declared, unique within the tenant.
    #[schema(value_type = String, example = "prod")]
    pub name: Cow<'a, str>,
    /// Where.
    #[schema(value_type = String, example = "eu-west-1")]
    pub region: Cow<'a, str>,
    /// How far isolated from other tenants.
    #[schema(schema_with = super::schema::isolation_level)]
    pub isolation_level: Word<IsolationLevel>,
    /// Its share of the tenant's quotas.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub quotas: Cow<'a, Object>,
    /// How long its data is kept. Left out: the tenant's `policies.retentionDays`, or else without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i64>,
    /// Unique everywhere.
    #[schema(value_type = String)]
    pub env_id: Cow<'a, str>,
    /// Begins at its tenant's version when it is added; up by one per accepted change of this environment.
    pub version: i64,
    /// Its tenant's, as of the last job that touched it.
    #[schema(schema_with = super::schema::state)]
    pub state: Word<State>,
    /// When it was provisioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub provisioned_at: Option<Timestamp>,
}

/// An environment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Environment<'a> {
    /// As it stands in its tenant's answer.
    #[serde(flatten)]
    pub entry: EnvironmentEntry<'a>,
    /// Whose.
    #[schema(value_type = String)]
    pub tenant_id: Cow<'a, str>,
    /// When it was first accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl<'a> EnvironmentEntry<'a> {
    /// Of a row.
    pub fn of(environment: &'a core::Environment) -> Self {
        Self {
            name: environment.name.as_str().into(),
            region: environment.region.as_str().into(),
            isolation_level: environment.isolation_level.into(),
            quotas: Cow::Borrowed(&environment.quotas),
            retention_days: environment.retention_days,
            env_id: environment.env_id.as_str().into(),
            version: environment.version,
            state: environment.state.into(),
            provisioned_at: environment.provisioned_at,
        }
    }
}

impl<'a> Environment<'a> {
    /// Of a row.
    pub fn of(environment: &'a core::Environment) -> Self {
        Self {
            entry: EnvironmentEntry::of(environment),
            tenant_id: environment.tenant_id.as_str().into(),
            created_at: environment.created_at,
            updated_at: environment.updated_at,
        }
    }
}
