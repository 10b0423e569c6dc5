//! Organizations, as they are read.

use crate::document::Caps;
use crate::tenant::Hold;
use crate::viewpoint::Viewpoint;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tenancy_core::Timestamp;
use tenancy_core::hold;
use tenancy_core::organization as core;
use tenancy_core::tenant::Labels;
use utoipa::ToSchema;

/// What an organization's tenants are in sum.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Usage<'a> {
    /// How many tenants; what is not purged counts.
    pub tenants: i64,
    /// Sums of quotas, declared or not; those that are 0 are left out.
    pub quotas: Cow<'a, BTreeMap<String, i64>>,
}

/// An organization.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Organization<'a> {
    /// Global, chosen by the client.
    #[schema(value_type = String, example = "acme")]
    pub organization_id: Cow<'a, str>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub display_name: Option<Cow<'a, str>>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = Object)]
    pub labels: Cow<'a, Labels>,
    /// What its tenants may be at most: `{"tenants": 10, "quotas": {"storageGiB": 1000}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub caps: Option<Caps>,
    /// What its tenants are in sum; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage<'a>>,
    /// The holds that stand on it, and so on all its tenants; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<Vec<Hold<'a>>>,
    /// Up by one per accepted manifest change.
    pub version: i64,
    /// Up by one per change of anything else.
    pub counter: i64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Since when it takes no new tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
}

impl<'a> Organization<'a> {
    /// Of a row, its holds, and what its tenants are in sum.
    pub fn whole(
        viewpoint: Viewpoint<'_>,
        organization: &'a core::Organization,
        usage: &'a core::Usage,
        holds: &'a [hold::Hold],
    ) -> Self {
        Self {
            usage: Some(Usage { tenants: usage.tenants, quotas: Cow::Borrowed(&usage.quotas) }),
            holds: Some(holds.iter().map(|hold| Hold::of(viewpoint, hold)).collect()),
            ..Self::of(viewpoint, organization)
        }
    }

    /// Of a row.
    pub fn of(viewpoint: Viewpoint<'_>, organization: &'a core::Organization) -> Self {
        let core::Caps { tenants, quotas } = &organization.caps;
        let caps = Caps { quotas: (!quotas.is_empty()).then(|| quotas.clone()), tenants: *tenants };
        Self {
            organization_id: organization.organization_id.as_str().into(),
            display_name: organization.display_name.as_deref().map(Cow::Borrowed),
            labels: viewpoint.labels(&organization.labels),
            caps: (caps != Caps::default()).then_some(caps),
            usage: None,
            holds: None,
            version: organization.version,
            counter: organization.counter,
            created_at: organization.created_at,
            updated_at: organization.updated_at,
            closed_at: organization.closed_at,
        }
    }
}

/// `ETag`: the version, and the counter of everything else.
pub fn etag(organization: &core::Organization) -> String {
    format!("{}.{}", organization.version, organization.counter)
}
