//! Organizations as responses show them.

use crate::document::Caps;
use crate::tenant::Hold;
use crate::viewpoint::Viewpoint;
use crate::webhook::Webhook;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tenancy_core::Timestamp;
use tenancy_core::hold;
use tenancy_core::organization as core;
use tenancy_core::tenant::Labels;
use tenancy_core::webhook;
use utoipa::ToSchema;

/// Usage of an organization: number of tenants and sums of their quotas.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Usage<'a> {
    /// Number of tenants that are not purged.
    pub tenants: i64,
    /// Sum of each quota over all tenants. It includes undeclared quotas and omits sums of 0.
    pub quotas: Cow<'a, BTreeMap<String, i64>>,
}

/// An organization: the customer that owns tenants.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Organization<'a> {
    /// Id of the organization: global, chosen by the client.
    #[schema(value_type = String, example = "acme")]
    pub organization_id: Cow<'a, str>,
    /// Display name, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub display_name: Option<Cow<'a, str>>,
    /// Labels of the organization.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = Object)]
    pub labels: Cow<'a, Labels>,
    /// Caps on all tenants together: `{"tenants": 10, "quotas": {"storageGiB": 1000}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caps: Option<Caps>,
    /// Usage of all tenants together. Omitted in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage<'a>>,
    /// Holds on the organization; they apply to all its tenants. Omitted in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<Vec<Hold<'a>>>,
    /// Webhooks of the organization, by name. Omitted in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook<'a>>,
    /// Version of the manifest. It increases by one with each accepted change.
    pub version: i64,
    /// Counter of all other changes, such as holds and closing.
    pub counter: i64,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Time at which the organization was closed. It accepts no new tenants since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
}

impl<'a> Organization<'a> {
    /// Builds the response from a row, its usage, its holds and its webhooks.
    pub fn whole(
        viewpoint: Viewpoint<'_>,
        organization: &'a core::Organization,
        usage: &'a core::Usage,
        holds: &'a [hold::Hold],
        webhooks: &'a [webhook::Webhook],
    ) -> Self {
        Self {
            usage: Some(Usage { tenants: usage.tenants, quotas: Cow::Borrowed(&usage.quotas) }),
            holds: Some(holds.iter().map(|hold| Hold::of(viewpoint, hold)).collect()),
            webhooks: webhooks.iter().map(|webhook| Webhook::of(viewpoint, webhook)).collect(),
            ..Self::of(viewpoint, organization)
        }
    }

    /// Builds the item of a list from a row.
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
            webhooks: Vec::new(),
            version: organization.version,
            counter: organization.counter,
            created_at: organization.created_at,
            updated_at: organization.updated_at,
            closed_at: organization.closed_at,
        }
    }
}

/// Returns the `ETag`: the version and the counter.
pub fn etag(organization: &core::Organization) -> String {
    format!("{}.{}", organization.version, organization.counter)
}
