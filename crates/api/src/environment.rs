//! Environments as responses show them.

use crate::viewpoint::Viewpoint;
use crate::word::Word;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::environment::{self as core, IsolationLevel};
use tenancy_core::json::Object;
use tenancy_core::placement::EnvironmentPlacement;
use tenancy_core::tenant::State;
use utoipa::ToSchema;

/// An environment within the response of its tenant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentEntry<'a> {
    /// Name of the environment: a declared name, unique within the tenant.
    #[schema(value_type = String, example = "prod")]
    pub name: Cow<'a, str>,
    /// Region of the environment.
    #[schema(value_type = String, example = "eu-west-1")]
    pub region: Cow<'a, str>,
    /// Whether the environment follows the region of its tenant. False if its manifest gives it a region.
    #[serde(default)]
    pub region_follows_tenant: bool,
    /// Isolation from other tenants.
    #[schema(value_type = crate::schema::IsolationLevel)]
    pub isolation_level: Word<IsolationLevel>,
    /// Share of the environment in the quotas of the tenant.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub quotas: Cow<'a, Object>,
    /// Number of days that the data is kept. Defaults to policies.retentionDays, which is also its maximum. If neither
    /// is set, data is kept indefinitely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i64>,
    /// Id of the environment, unique across all tenants.
    #[schema(value_type = String)]
    pub env_id: Cow<'a, str>,
    /// Version of the environment. It starts at the version of the tenant that adds the environment and increases by
    /// one with each accepted change of the environment.
    pub version: i64,
    /// State of the tenant when a job last changed the environment.
    #[schema(value_type = crate::schema::State)]
    pub state: Word<State>,
    /// Time at which the environment was provisioned. Omitted if it is not provisioned yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub provisioned_at: Option<Timestamp>,
    /// Place where the data of the environment lives. Omitted until a place is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place<'a>>,
}

/// Place where the data of an environment lives.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Place<'a> {
    /// `sqlite`: a SQLite file of the environment's own. `postgres_database`: a PostgreSQL database of its own.
    /// `postgres_schema`: a schema of its own in a PostgreSQL database. `record`: the server only recorded that the environment is
    /// provisioned, and made nothing.
    #[schema(value_type = String, example = "sqlite")]
    pub kind: Cow<'a, str>,
    /// Placement that it is on, if it is on one. Only keys without a scope see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub placement: Option<Cow<'a, str>>,
    /// Where it is: for `sqlite`, the folder of the file in the server's folder of environments; otherwise the database, and the
    /// schema after a dot. Only keys without a scope see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub location: Option<Cow<'a, str>>,
    /// Random text in the place, by which the server recognizes it. Only keys without a scope see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fingerprint: Option<Cow<'a, str>>,
}

impl<'a> Place<'a> {
    /// Builds the response from the row of the place; without one, from whether the environment is provisioned.
    fn of(
        viewpoint: Viewpoint<'_>,
        environment: &core::Environment,
        placements: &'a [EnvironmentPlacement],
    ) -> Option<Self> {
        let Some(placement) = placements.iter().find(|placement| placement.env_id == environment.env_id) else {
            let recorded = || Self { kind: Cow::Borrowed(RECORD), placement: None, location: None, fingerprint: None };
            return environment.provisioned_at.is_some().then(recorded);
        };
        Some(Self {
            kind: placement.kind.as_str().into(),
            placement: viewpoint.internal(placement.placement.as_ref()).flatten().map(|name| name.as_str().into()),
            location: viewpoint.internal(placement.location.as_str().into()),
            fingerprint: viewpoint.internal(placement.fingerprint.as_str().into()),
        })
    }
}

/// Kind of the place of an environment that was provisioned by a server that makes nothing.
pub const RECORD: &str = "record";

/// An environment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Environment<'a> {
    /// Fields that the response of the tenant also shows.
    #[serde(flatten)]
    pub entry: EnvironmentEntry<'a>,
    /// Tenant that owns this environment.
    #[schema(value_type = String)]
    pub tenant_id: Cow<'a, str>,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl<'a> EnvironmentEntry<'a> {
    /// Builds the response from a row. `placements` are those of the tenant.
    pub fn of(
        viewpoint: Viewpoint<'_>,
        environment: &'a core::Environment,
        placements: &'a [EnvironmentPlacement],
    ) -> Self {
        Self {
            name: environment.name.as_str().into(),
            region: environment.region.as_str().into(),
            region_follows_tenant: !environment.region_given,
            isolation_level: environment.isolation_level.into(),
            quotas: Cow::Borrowed(&environment.quotas),
            retention_days: environment.retention_days,
            env_id: environment.env_id.as_str().into(),
            version: environment.version,
            state: environment.state.into(),
            provisioned_at: environment.provisioned_at,
            place: Place::of(viewpoint, environment, placements),
        }
    }
}

impl<'a> Environment<'a> {
    /// Builds the response from a row. `placements` are those of the tenant.
    pub fn of(
        viewpoint: Viewpoint<'_>,
        environment: &'a core::Environment,
        placements: &'a [EnvironmentPlacement],
    ) -> Self {
        Self {
            entry: EnvironmentEntry::of(viewpoint, environment, placements),
            tenant_id: environment.tenant_id.as_str().into(),
            created_at: environment.created_at,
            updated_at: environment.updated_at,
        }
    }
}
