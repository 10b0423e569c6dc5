//! Placements as responses show them.

use crate::document::Address;
use crate::word::Word;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::environment::IsolationLevel;
use tenancy_core::placement as core;
use tenancy_core::placement::PlacementKind;
use tenancy_core::tenant::Profile;
use utoipa::ToSchema;

/// A placement: a database server or a disk on which the places of environments are made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Placement<'a> {
    /// Name, chosen by the client. It never changes.
    #[schema(value_type = String, example = "disk-1")]
    pub name: Cow<'a, str>,
    /// Kind of its places. It never changes.
    #[schema(value_type = crate::schema::PlaceKind)]
    pub place_kind: Word<PlacementKind>,
    /// Region in which its places are. It never changes.
    #[schema(value_type = String, example = "eu-west-1")]
    pub region: Cow<'a, str>,
    /// Where clients reach its places, if that is not where the server reaches them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Profiles of tenants that it takes. Omitted if it takes all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<crate::schema::Profile>)]
    pub profiles: Vec<Word<Profile>>,
    /// Isolation levels of environments that it takes. Omitted if it takes all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<crate::schema::IsolationLevel>)]
    pub isolation_levels: Vec<Word<IsolationLevel>>,
    /// Maximum number of environments that have a place on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_environments: Option<i64>,
    /// Whether it takes no new environments. Those that it has stay.
    pub cordoned: bool,
    /// Number of environments that have a place on it, counted up to 10,000. Omitted in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_count: Option<i64>,
    /// Version. It increases by one with each accepted change.
    pub version: i64,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl<'a> Placement<'a> {
    /// Builds the response from a row. `count` is the number of environments on it, if it was counted.
    pub fn of(placement: &'a core::Placement, count: Option<usize>) -> Self {
        let address = placement.address.as_ref();
        Self {
            name: placement.name.as_str().into(),
            place_kind: placement.place_kind.into(),
            region: placement.region.as_str().into(),
            address: address.map(|address| Address { host: address.host.clone(), port: address.port }),
            profiles: placement.profiles.iter().map(|profile| (*profile).into()).collect(),
            isolation_levels: placement.isolation_levels.iter().map(|level| (*level).into()).collect(),
            max_environments: placement.max_environments,
            cordoned: placement.cordoned,
            environment_count: count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
            version: placement.version,
            created_at: placement.created_at,
            updated_at: placement.updated_at,
        }
    }
}

/// Returns the `ETag`: the version.
pub fn etag(placement: &core::Placement) -> String {
    placement.version.to_string()
}
